//! Kubernetes objects without a cluster: the dynamic object, its identity, its YAML.
//!
//! Pure. Typed structs of Kubernetes kinds never enter: an unknown field must be preserved unchanged.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod id;
pub mod mask;
pub mod object;
pub mod scope;
mod scope_table;
pub mod yaml;

pub use id::{IdError, ObjectId, VersionedId};
pub use object::{NotAnObject, Object};
