//! Carries a decision out: fetch, store, announce, collect. It makes no choice. What it has done stands in the ledger at once, so
//! that nothing true is lost if the next step fails.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use jiff::Timestamp;
use plumb_api::{meta::Artifact, source::GitRepository};
use plumb_git::{Checkout, Session};
use plumb_status::{EventDraft, Reason, chain};
use plumb_store::{ArtifactStore, Collected, StoreError};

use super::{
    Context,
    decide::Decision,
    error::SourceError,
    ledger::{GitRepositoryLedger, announced},
    location,
    validate::Valid,
};

/// Whether the world is different now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Nothing was built.
    Kept,
    /// A new artifact is stored.
    Built,
}

/// Who lends a ledger to an attempt: the runtime's visit, or a test. The guard is never held across an await.
pub trait Lender: Sync {
    /// The ledger, until the guard is dropped.
    fn lend(&self) -> MutexGuard<'_, GitRepositoryLedger>;
    /// Gives the worker back before something outside is waited for; the attempt goes on. From here on the slots of the Git
    /// client bound how many attempts run, each namespace by its share.
    fn park(&self);
}

/// A lender of any kind.
pub type Shared = dyn Lender;

impl Lender for Mutex<GitRepositoryLedger> {
    fn lend(&self) -> MutexGuard<'_, GitRepositoryLedger> {
        // Each change of a ledger is whole before anything can panic.
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn park(&self) {}
}

/// Carries the decision out.
pub async fn act(
    decision: Decision,
    session: Session,
    repository: &GitRepository,
    valid: &Valid,
    context: &Context,
    ledger: &Shared,
    now: Timestamp,
) -> Result<Receipt, SourceError> {
    // Before anything is built: the artifact that the status tells of stays until another one is told of.
    collect(repository, context, ledger, now).await;
    let receipt = match decision {
        Decision::Keep(_) => Receipt::Kept,
        Decision::Build(_) => {
            let checkout = context
                .git
                .checkout(session, valid.ignore.as_deref(), valid.timeout)
                .await
                .map_err(SourceError::of_git)?;
            let subject = checkout.summary.clone();
            let artifact = store(checkout, repository, valid.ignore.as_deref(), context, now).await?;
            ledger.lend().note_built(artifact, valid.ignore.clone(), subject);
            Receipt::Built
        }
    };
    Ok(receipt)
}

/// Removes everything that was stored for a repository.
pub async fn remove(
    repository: &GitRepository,
    context: &Context,
    ledger: &Shared,
) -> Result<(), SourceError> {
    let location = location(repository).map_err(|source| StoreError::Location { source })?;
    let Collected { artifacts } = context.on_store(move |store| store.remove(&location)).await?;
    if artifacts > 0 {
        let text = "garbage collected artifacts for deleted resource";
        ledger.lend().note(EventDraft::trace(Reason::GarbageCollectionSucceeded, text));
    }
    Ok(())
}

async fn store(
    checkout: Checkout,
    repository: &GitRepository,
    ignore: Option<&str>,
    context: &Context,
    now: Timestamp,
) -> Result<Artifact, SourceError> {
    let Checkout { found, summary: _, tree, memory } = checkout;
    let location = location(repository).map_err(|source| StoreError::Location { source })?;
    let file = file_name(&found.commit_hex(), ignore);
    let put = move |store: &ArtifactStore| {
        let written = store.put(&location, &file, &tree);
        // The files go first, then what they are charged to.
        drop(tree);
        drop(memory);
        written
    };
    let written = context.on_store(put).await?;
    let artifact = Artifact {
        digest: written.digest,
        last_update_time: now,
        metadata: std::collections::BTreeMap::new(),
        path: written.path,
        revision: found.revision(),
        size: i64::try_from(written.size).ok(),
        url: String::new(),
    };
    Ok(announced(artifact, &context.advertised))
}

/// The file of a commit, as Flux names it. Other ignore rules make another file of the same commit: the one that the status
/// tells of is never written over.
fn file_name(commit: &str, ignore: Option<&str>) -> String {
    match ignore {
        None => format!("{commit}.tar.gz"),
        Some(rules) => {
            let rules = plumb_filetree::digest::sha256_hex(rules.as_bytes());
            format!("{commit}-{}.tar.gz", rules.get(..8).unwrap_or(&rules))
        }
    }
}

/// Files that are left over do no harm, so a failure is told and not more.
async fn collect(repository: &GitRepository, context: &Context, ledger: &Shared, now: Timestamp) {
    let Ok(location) = location(repository) else { return };
    let current = ledger.lend().artifact().map(|artifact| artifact.path.clone());
    let (retention, now) = (context.retention, SystemTime::from(now));
    let collected =
        context.on_store(move |store| store.collect(&location, current.as_deref(), retention, now)).await;
    match collected {
        Ok(Collected { artifacts: 0 }) => {}
        Ok(Collected { artifacts }) => {
            let text = format!("garbage collected {artifacts} artifacts");
            ledger.lend().note(EventDraft::trace(Reason::GarbageCollectionSucceeded, text));
        }
        Err(error) => {
            let text = format!("garbage collection failed: {}", chain(&error));
            ledger.lend().note(EventDraft::error(Reason::GarbageCollectionFailed, text));
        }
    }
}
