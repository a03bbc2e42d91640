//! The rules of drift: how a difference is classified, attributed, corrected, reported and slowed down.
//!
//! Pure: everything is a value and a function of values; `now` is an argument.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod aggregate;
pub mod attribution;
pub mod contention;
pub mod correction;
pub mod debounce;
pub mod event;
pub mod finding;
pub mod message;
pub mod open;
pub mod report;
pub mod restore;
pub mod tools;
pub mod vanish;

pub use aggregate::EventAggregator;
pub use attribution::Writer;
pub use contention::Contention;
pub use debounce::{Debounce, Due, ReportPace};
pub use event::DriftEvent;
pub use finding::{FieldDrift, Finding};
pub use open::OpenDrift;
pub use restore::Restore;
pub use tools::Tools;
