//! Artifacts on disk or in a bucket: written as a whole or not at all, served over HTTP, garbage-collected when they have expired. What goes into
//! an artifact, and when, is decided elsewhere.

mod abandoned;
mod bucket;
#[cfg(test)]
mod crash;
mod file_body;
mod layout;
mod retention;
mod serve;
mod spool;
mod store;

pub use bucket::{
    AccessSource, BucketProblem, BucketSettings, BucketStore, KeyPrefix, Operation, PrefixError,
};
pub use layout::{Location, LocationError};
pub use retention::{Retention, Stored, expired};
pub use serve::{Artifacts, router};
pub use spool::Spool;
pub use store::{Advertised, ArtifactStore, Collected, Integrity, StoreError, Written};
