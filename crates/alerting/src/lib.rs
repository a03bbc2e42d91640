//! Events to deliveries, deliveries to requests, webhooks to verdicts.
//!
//! Pure: no network, no clock, no cluster. Waiting, retrying and the reading of Secrets never enter: they belong to
//! the notification-controller.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod incoming;
pub mod metadata;
pub mod pattern;
pub mod receiver;
pub mod redact;
pub mod render;
pub mod rule;
pub mod validate;

#[cfg(test)]
mod fixtures;
