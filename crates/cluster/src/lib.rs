//! The connection to one API server: the time that each call may take, outages, and watches that go on after an error.

pub mod client;
pub mod outage;
mod pauses;
pub mod watch;

pub use client::{CallError, ConnectError, call, connect};
pub use outage::{OutageEnds, Outages};

/// An error of any kind.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
