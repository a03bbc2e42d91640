//! The algebra of a finished attempt: why something failed, what follows from it, and which status, events and
//! next visit it leads to.
//!
//! Words only: no clock, no network, no runtime. `now` and seeds are arguments, so every rule here is a table that
//! needs no cluster to be tested. Wire types of single kinds and the sending of anything never enter.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod cadence;
pub mod condition;
pub mod consequence;
pub mod event;
pub mod lint;
pub mod message;
pub mod outcome;
pub mod reason;
pub mod summary;
pub mod unsupported;

pub use condition::{Condition, ConditionStatus, ConditionType, Polarity};
pub use consequence::{Classify, Consequence, Detail, chain};
pub use event::{Audience, EventDraft, Severity, Transition};
pub use lint::breaches;
pub use outcome::{AttemptOutcome, ConditionUpdate, Ledger, RetryPolicy};
pub use reason::Reason;
pub use summary::{Before, Next, Status, Summary, in_progress, summarize};
pub use unsupported::{UnsupportedField, UnsupportedFields};
