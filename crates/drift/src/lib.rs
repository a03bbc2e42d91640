//! Drift: an object that differs from Git; how it is detected, attributed, corrected and reported.
//!
//! [`rules`] and [`state`] are pure: values and functions of values, with the time as an argument. [`state::State`] is a machine
//! that takes inputs and returns effects. The rest carries the effects out at one cluster: `drift_loop` (the handle of a
//! controller), `worker` (comparisons and corrections), `watches`, `metrics`. No Secret value is stored or reported.

mod clock;
mod drift_loop;
mod metrics;
pub mod rules;
pub mod state;
mod watches;
mod worker;

#[cfg(test)]
mod dice;
#[cfg(test)]
mod tests;

pub use drift_loop::{Attempt, DriftDeps, DriftLoop, DriftSnapshot, EventSink};
pub use metrics::DriftMetrics;
