//! Planning: from the desired state and the observed state to the actions, as values.
//!
//! Pure: nothing here awaits, reads a clock, the environment, a file or the network; `now` is an argument.
//! Decisions about apply order, inventory, prune and field ownership are made here; other crates carry them out.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod claims;
pub mod computed;
pub mod diff;
pub mod exclusion;
pub mod fields;
mod fields_table;
pub mod fingerprint;
pub mod identity;
pub mod inventory;
pub mod managed_fields;
pub mod obstruction;
pub mod ownership;
pub mod plan;
pub mod prune;
pub mod record;
pub mod stage;
pub mod takeover;
pub mod typed_form;

#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
