//! The life of an artifact, for every kind of source: checked, resolved, fetched, stored, advertised, collected, removed.
//! A kind supplies three steps and nothing else ([`Source`]): `validate` its spec, `resolve` which revision is there now, `fetch`
//! its content; and `verify` between the last two, where its revisions are signed. Ledger, conditions, events, retention, storage errors, restarts and teardown are here, once. Git, registries and
//! buckets never enter.

mod decide;
mod error;
mod ignored;
mod inputs;
mod kind;
mod ledger;
mod reconcile;
mod source;
mod storage;
mod sweep;
#[cfg(test)]
mod tests;
mod turn;

pub use ignored::{IgnoreError, without_ignored};
pub use inputs::{Input, Inputs};
pub use kind::{OnChange, SourceKind, install, install_watched, renew_urls};
pub use ledger::ArtifactCondition;
#[cfg(test)]
pub use ledger::ArtifactLedger;
#[cfg(test)]
pub use reconcile::{LedgerAccess, reconcile, teardown};
#[cfg(test)]
pub use source::ConditionOf;
pub use source::{
    BreaksCondition, Content, Fetched, MediaType, Payload, Resolved, Source, SourceObject, Validated,
    Verified,
};
pub use storage::{ReadError, Storage};
pub use sweep::sweep_uploads;
pub use turn::{Interrupted, on_thread, slot};
