//! What all kinds share: references, durations, revisions, artifacts, the names of labels and annotations, and the
//! view of a status that the runtime needs. Fields of a single kind never enter.

mod artifact;
mod duration;
pub mod keys;
mod namespaced_name;
mod period;
mod reconciled;
mod reference;
mod revision;
pub(crate) mod time;

pub use artifact::Artifact;
pub use duration::{DurationError, GoDuration};
pub use keys::*;
pub use namespaced_name::NamespacedName;
pub use period::{Period, Periods};
pub use reconciled::Reconciled;
pub(crate) use reconciled::reconciled;
pub use reference::{LocalObjectReference, NamespacedObjectKindReference, NamespacedObjectReference};
pub use revision::{Digest, DigestError, Revision, RevisionError};

/// The pattern of an interval: hours down to milliseconds.
pub(crate) const INTERVAL_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// The pattern of the timeout of a source or provider: minutes down to milliseconds.
pub(crate) const TIMEOUT_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";
