//! Drift: the desk at which everything about drift is done that planning decides: hear the watches, look at live objects,
//! put them back or flag them, tell of it.
//!
//! No rule lives here (see `plumb_planning::drift`), no status is written here, and no Secret value is ever kept or told.

mod book;
mod compare;
mod correct;
mod desk;
mod finish;
mod keeping;
mod kinds;
mod measures;
mod restoring;
mod sitting;
mod standing;
mod turns;
mod unverified;
mod watch;

#[cfg(test)]
mod tests;

pub use book::{DriftPolicy, Managed};
pub use desk::{DriftDeps, DriftLoop, EventSink};
pub use measures::DriftMetrics;
pub use restoring::RestoreRequest;
