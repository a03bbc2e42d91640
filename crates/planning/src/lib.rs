//! Planning: from what Git wants and what the cluster shows to what should be done, as values.
//!
//! Pure: nothing here awaits, reads a clock, the environment, a file or the network; `now` is an argument.
//! Decisions about apply order, inventory, prune and field ownership live here; carrying them out does not.

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
