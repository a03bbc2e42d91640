//! What is said about Kubernetes objects without asking a cluster: the dynamic object, its identity, its YAML.
//!
//! Pure. Typed structs of Kubernetes kinds never enter: a field that we do not know must survive unchanged.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod id;
pub mod mask;
pub mod object;
pub mod scope;
mod scope_table;
pub mod yaml;

pub use id::{IdError, ObjectId, VersionedId};
pub use object::{NotAnObject, Object};
