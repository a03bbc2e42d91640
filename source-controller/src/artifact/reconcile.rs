//! One attempt at a source: a table of contents. Policy is in the kind's `validate` and in `decide`.

use std::{
    error::Error,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use plumb_runtime::Object;
use plumb_status::{
    AttemptOutcome, Classify, ConditionStatus, ConditionType, ConditionUpdate, Consequence, Detail,
    EventDraft, Polarity, Reason, RetryPolicy, chain,
};
use serde_json::Value;

use super::{
    decide::{Decision, decide},
    error::SourceError,
    ledger::{ArtifactCondition, ArtifactLedger},
    source::{BreaksCondition, ConditionOf, Fetched, Resolved, Source, Validated, Verified},
    storage::Storage,
};

/// Gives an attempt its ledger: the runtime's visit, or a test. The guard is never held across an await.
pub trait LedgerAccess<L>: Sync {
    /// The ledger, until the guard is dropped.
    fn lock_ledger(&self) -> MutexGuard<'_, L>;
    /// Releases the worker before it waits for a slow peer; the attempt continues. From here on the kind bounds how many
    /// attempts run, each namespace by its share.
    fn park(&self);
}

impl<L: Send> LedgerAccess<L> for Mutex<L> {
    fn lock_ledger(&self) -> MutexGuard<'_, L> {
        // Each change of a ledger is whole before anything can panic.
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn park(&self) {}
}

/// Access to the ledger of a kind.
pub(super) type LedgerOf<S> = dyn LedgerAccess<ArtifactLedger<ConditionOf<S>>>;

/// Whether the world is different now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receipt {
    /// Nothing was built.
    Kept,
    /// A new artifact is stored.
    Built,
}

/// How an attempt at a source that has, or shall have, an artifact went.
enum Done {
    Artifact(Receipt),
    /// There is none, and no status: the spec has settings for others.
    Static,
}

/// One attempt, and how it ends.
pub async fn reconcile<S: Source>(
    source: &S,
    object: &S::Object,
    storage: &Storage,
    ledger: &LedgerOf<S>,
    now: Timestamp,
) -> AttemptOutcome<ConditionOf<S>> {
    match attempt(source, object, storage, ledger, now).await {
        Ok(done) => succeeded(done, ledger.lock_ledger().stored_detail()),
        Err(error) => failed(&error),
    }
}

/// The attempt for an object that is being deleted.
pub async fn teardown<S: Source>(
    object: &S::Object,
    storage: &Storage,
    ledger: &LedgerOf<S>,
) -> AttemptOutcome<ConditionOf<S>> {
    park_for::<S>(storage, ledger);
    match storage.remove(object).await {
        Ok(removed) => {
            ledger.lock_ledger().note_collected(removed, "garbage collected artifacts for deleted resource");
            AttemptOutcome::Gone
        }
        Err(error) => failed(&SourceError::<S::Error>::Storage(error)),
    }
}

async fn attempt<S: Source>(
    source: &S,
    object: &S::Object,
    storage: &Storage,
    ledger: &LedgerOf<S>,
    now: Timestamp,
) -> Result<Done, SourceError<S::Error>> {
    park_for::<S>(storage, ledger);
    let valid = match S::validate(object).map_err(|error| waited::<S>(error, ledger))? {
        Validated::Artifact(valid) => valid,
        Validated::Static => return make_static::<S>(object, storage, ledger).await,
    };
    let stored = storage.check(object).await.map_err(SourceError::Storage)?;
    ledger.lock_ledger().note_stored(&stored);
    // A server may be silent for the whole timeout: that must not block a worker.
    ledger.park();
    let resolved = source.resolve(object, &valid).await.map_err(|error| waited::<S>(error, ledger))?;
    ledger.lock_ledger().note_reached();
    let resolved = verify(source, object, &valid, resolved, ledger).await?;
    ledger.lock_ledger().note_observed(source.observed(&resolved.remote));
    let decision = decide(&stored, &resolved.revision, &resolved.inputs, &status_of(object));
    ledger.lock_ledger().note_resolved(&decision, &resolved);
    // Before anything is built: the artifact that the status announces stays until another one is announced.
    collect::<S>(object, storage, ledger, now).await;
    match decision {
        Decision::Keep => Ok(Done::Artifact(Receipt::Kept)),
        Decision::Build(_) => build(source, object, &valid, resolved, storage, ledger, now).await,
    }
}

/// An object store may be silent, as every server: then no worker is held from the beginning.
fn park_for<S: Source>(storage: &Storage, ledger: &LedgerOf<S>) {
    if storage.is_remote() {
        ledger.park();
    }
}

async fn verify<S: Source>(
    source: &S,
    object: &S::Object,
    valid: &S::Valid,
    resolved: Resolved<S::Remote, ConditionOf<S>>,
    ledger: &LedgerOf<S>,
) -> Result<Resolved<S::Remote, ConditionOf<S>>, SourceError<S::Error>> {
    let Resolved { revision, inputs, mut conditions, remote } = resolved;
    let verified = source.verify(object, valid, remote).await.map_err(|error| waited::<S>(error, ledger))?;
    let Verified { remote, conditions: of_verification, status, events } = verified;
    conditions.extend(of_verification);
    let mut ledger = ledger.lock_ledger();
    ledger.note_observed(status);
    for event in events {
        ledger.note_event(event);
    }
    Ok(Resolved { revision, inputs, conditions, remote })
}

async fn build<S: Source>(
    source: &S,
    object: &S::Object,
    valid: &S::Valid,
    resolved: Resolved<S::Remote, ConditionOf<S>>,
    storage: &Storage,
    ledger: &LedgerOf<S>,
    now: Timestamp,
) -> Result<Done, SourceError<S::Error>> {
    let Resolved { revision, inputs, conditions: _, remote } = resolved;
    let fetched = source.fetch(object, valid, remote).await.map_err(|error| waited::<S>(error, ledger))?;
    let Fetched { file_stem, content, mut metadata, announcement, status, conditions } = fetched;
    metadata.extend(inputs.metadata());
    ledger.lock_ledger().note_conditions(conditions);
    let stored = storage.put(object, &file_stem, content).await.map_err(SourceError::Storage)?;
    let artifact = storage.artifact(stored, revision, metadata, now);
    ledger.lock_ledger().note_built(object, artifact, announcement, &inputs, status);
    Ok(Done::Artifact(Receipt::Built))
}

async fn make_static<S: Source>(
    object: &S::Object,
    storage: &Storage,
    ledger: &LedgerOf<S>,
) -> Result<Done, SourceError<S::Error>> {
    let removed = storage.remove(object).await.map_err(SourceError::Storage)?;
    ledger
        .lock_ledger()
        .note_collected(removed, "garbage collected artifacts of a resource that has none any more");
    Ok(Done::Static)
}

/// Leftover files are harmless, so a failure is only reported.
async fn collect<S: Source>(object: &S::Object, storage: &Storage, ledger: &LedgerOf<S>, now: Timestamp) {
    let current = ledger.lock_ledger().path();
    let collected = storage.collect(object, current, now).await;
    let mut ledger = ledger.lock_ledger();
    match collected {
        Ok(collected) => {
            let message = format!("garbage collected {} artifacts", collected.artifacts);
            ledger.note_collected(collected, &message);
        }
        Err(error) => {
            let text = format!("garbage collection failed: {}", chain(&error));
            ledger.note_event(EventDraft::error(Reason::GarbageCollectionFailed, text));
        }
    }
}

fn succeeded<C>(done: Done, stored: Option<Detail>) -> AttemptOutcome<C> {
    match (done, stored) {
        (Done::Artifact(receipt), Some(detail)) => {
            AttemptOutcome::Succeeded { detail, changed: receipt == Receipt::Built }
        }
        (Done::Static, _) => AttemptOutcome::Static,
        (Done::Artifact(_), None) => {
            let text = "internal error: reconciliation finished without an artifact";
            let detail = Detail::new(Reason::InternalError, text);
            AttemptOutcome::Failed { condition: None, detail, retry: RetryPolicy::Backoff }
        }
    }
}

fn failed<E>(error: &SourceError<E>) -> AttemptOutcome<E::Condition>
where
    E: Error + Classify + BreaksCondition<Condition: ArtifactCondition>,
{
    AttemptOutcome::of(error, error.condition())
}

/// An attempt that waits breaks its condition as well, but its outcome does not carry one: the ledger does.
fn waited<S: Source>(error: S::Error, ledger: &LedgerOf<S>) -> SourceError<S::Error> {
    if let Some(settled) = error.settles() {
        ledger.lock_ledger().note_conditions(vec![(settled, ConditionUpdate::Clear)]);
    }
    if error.consequence() == Consequence::Wait
        && let Some(condition) = error.condition()
    {
        let status = match condition.polarity() {
            Polarity::Negative => ConditionStatus::True,
            Polarity::Positive => ConditionStatus::False,
        };
        ledger
            .lock_ledger()
            .note_conditions(vec![(condition, ConditionUpdate::Set(status, Detail::of(&error)))]);
    }
    SourceError::Step(error)
}

/// The status, for a comparison of single fields.
fn status_of<O: Object>(object: &O) -> Value {
    // An object from the API server can be written as JSON.
    let mut object = serde_json::to_value(object).unwrap_or_default();
    object.get_mut("status").map(Value::take).unwrap_or_default()
}
