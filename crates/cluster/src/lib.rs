//! One API server as one identity sees it: the time that each call may take, outages, what it serves, requests and their
//! errors, watches, and a cache of its objects.
//!
//! Adapter: what to apply, delete or correct is decided elsewhere (planning, drift) and carried out by apply; status, events and
//! logs of a kind never enter. Every call has a deadline and can be cancelled.

pub mod budget;
mod cause;
pub mod client;
pub mod cluster;
mod connection;
mod discovery;
pub mod error;
pub mod mapper;
mod object_cache;
pub mod outage;
mod pauses;
mod rate_limit;
mod repeatable;
pub mod request;
pub mod unanswered;
pub mod watch;
pub mod watchers;

pub use budget::Budget;
pub use cause::{cause, watch_cause};
pub use client::{CallError, ConnectError, Connector, call, call_within};
pub use cluster::{Clock, Cluster};
pub use connection::MaySend;
pub use error::{Absent, ApiRejection, Attempt, Failure, RequestError};
pub use kube::core::GroupVersionKind;
pub use mapper::{Mapper, Mapping};
pub use object_cache::{ObjectCache, ObjectEvent, is_newer};
pub use outage::{OutageEnds, Outages};
pub use plumb_api::meta::NamespacedName;
pub use rate_limit::RateLimit;
pub use unanswered::Unanswered;
pub use watchers::{KINDS_MAX, WatchChange, WatchEvent, Watchers};

/// An error of any kind.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
