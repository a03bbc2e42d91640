//! Apply: carries out what planning decided, on one cluster under one identity, and reads the live objects.
//!
//! Adapter: requests to the API server and nothing else. What to apply, delete or correct is decided elsewhere (planning);
//! status, events and logs of a Kustomization never enter. Every call has a deadline and can be cancelled.

pub mod delete;
mod establish;
pub mod execute;
pub mod observe;
pub mod settle;
pub mod write;

pub use delete::{PruneOutcome, Pruned, prune};
pub use execute::{Applied, ApplyOptions, Ended, ObjectChange, execute};
pub use settle::{End, Settled, Target, WATCHES_MAX, Wait, settle};
pub use write::{Action, Written};
