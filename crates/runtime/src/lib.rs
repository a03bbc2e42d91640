//! What every controller is built on: watches, a work queue, one attempt at a time per object, one status write per
//! attempt, events, leader election, probes and metrics. What a kind does with its objects never enters.
//!
//! A controller hands [`start()`] a function that installs its kinds, with its flags, [`ControllerOptions`]; see [`ReconciledKind`] for what a kind says.

pub mod admin;
mod attempt;
mod background;
pub mod clock;
pub mod config;
mod event_token;
mod events;
mod finalizer;
mod kind;
mod leader;
mod lease;
mod logs;
mod memory;
mod metrics;
mod options;
mod periods;
mod process;
mod processing;
mod queue;
mod report;
mod reported;
mod requests;
mod runtime;
mod start;
mod suspension;
mod unreadable;
mod visit;
mod watch;

pub use admin::ReadinessGate;
pub use background::{BoxError, Outcome};
pub use clock::Clock;
pub use event_token::read_event_token;
pub use events::Recorder;
pub use kind::{ConditionOf, DEADLINE, Object, ReconciledKind};
pub use logs::filter as log_filter;
pub use metrics::Metrics;
pub use options::ControllerOptions;
pub use queue::{Again, Priority, Queue, Taken};
pub use report::ReportError;
pub use reported::ReportedGenerations;
pub use runtime::{Handle, Identity, Runtime};
pub use start::start;
pub use visit::{Visit, Worker};
pub use watch::{Watched, Watching};
