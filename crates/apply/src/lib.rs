//! Apply: carries out what planning decided, on one cluster under one identity, and looks at what is there.
//!
//! Adapter: requests to the API server and nothing else. What to apply, delete or correct is decided elsewhere (planning);
//! status, events and logs of a Kustomization never enter. Every call has a deadline and can be cancelled.

pub mod budget;
pub mod cluster;
pub mod delete;
mod discovery;
mod establish;
pub mod execute;
pub mod mapper;
pub mod observe;
pub mod refusal;
pub mod settle;
mod unanswered;
pub mod watchers;
mod wire;
pub mod write;

pub use budget::Budget;
pub use cluster::{Clock, Cluster};
pub use delete::{Fate, Pruned, prune};
pub use execute::{Applied, ApplyOptions, Ended, ObjectChange, execute};
pub use kube::core::GroupVersionKind;
pub use mapper::{Mapper, Mapping};
pub use refusal::{ApiRefusal, Attempt, Failure, RequestError};
pub use settle::{End, Settled, Target, WATCHES_MAX, Wait, settle};
pub use unanswered::Unanswered;
pub use watchers::{WatchChange, WatchEvent, Watchers};
pub use write::{Action, Written};
