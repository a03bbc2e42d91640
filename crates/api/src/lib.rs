//! The words that the controllers share: the custom resources of the toolkit, field for field as Flux has them, and
//! the values inside them (durations, revisions, artifacts, events).
//!
//! Words only: no clock, no environment, no network, no client. How a kind is reconciled never enters.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod resource;
mod string_enum;

pub mod crd;
pub mod event;
pub mod kustomize;
pub mod meta;
pub mod notification;
pub mod sealed;
pub mod source;

pub use kube_core::ApiResource;
pub use resource::resource;
