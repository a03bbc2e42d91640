//! Kustomization: the manifests of a source, kept applied. The phases of an attempt, one file each: `facts`,
//! `validate`, `build`, `decide`, `act`, joined by `reconcile`; `teardown` is the same with nothing desired; the
//! `ledger` is what an attempt has made true so far. Drift between attempts belongs to `drift`.

pub mod act;
pub mod build;
pub mod claims;
pub mod decide;
pub mod error;
pub mod facts;
pub mod health;
pub mod identity;
mod leaving;
pub mod ledger;
pub mod reconcile;
mod record;
pub mod reread;
pub mod retyped;
pub mod teardown;
pub mod threads;
pub mod validate;
pub mod variables;
pub mod warnings;

use std::time::Duration;

use plumb_cluster::Cluster;
use plumb_drift::DriftLoop;
use plumb_fetch::Fetcher;
use plumb_memory::MemoryPool;
use plumb_planning::fingerprint::HashKey;
use plumb_planning::takeover::Takeover;
use tokio_util::sync::CancellationToken;

use crate::sources::Sources;

/// What every attempt works with.
pub struct Context {
    /// The cluster that is applied to.
    pub cluster: Cluster,
    /// Artifacts.
    pub fetcher: Fetcher,
    /// The threads on which builds run.
    pub threads: threads::BuildThreads,
    /// The budget for memory that input can claim.
    pub memory: MemoryPool,
    /// Builds that may be used again.
    pub builds: build::Builds,
    /// Warnings of builds that were reported.
    pub build_warnings: warnings::ReportedWarnings,
    /// What was healthy when it was looked at last.
    pub healthy: health::Healthy,
    /// What is not pruned on account of other Kustomizations.
    pub holds: claims::Holds,
    /// Drift between attempts.
    pub drift: DriftLoop,
    /// The sources.
    pub sources: Sources,
    /// What digests of Secrets are keyed with.
    pub hash_key: HashKey,
    /// Whose fields become ours.
    pub takeover: Takeover,
    /// How many objects are applied at a time.
    pub concurrency: usize,
    /// How soon something that is waited for is looked at again.
    pub requeue: Duration,
    /// Whether a rendering without objects may prune everything.
    pub allow_empty: bool,
    /// Which Kustomizations are watched.
    pub scope: claims::Scope,
    /// What a spec may have.
    pub rules: validate::Rules,
    /// The end of the process.
    pub shutdown: CancellationToken,
}
