//! A source as the runtime uses it. Every method is one line: what an attempt does is in `reconcile` and in the kind.

use std::{sync::MutexGuard, time::Duration};

use plumb_cluster::{NamespacedName, ObjectEvent};
use plumb_runtime::{Handle, ReconciledKind, Runtime, Visit};
use plumb_status::AttemptOutcome;
use serde_json::{Map, Value};

use super::{
    ledger::ArtifactLedger,
    reconcile::{self, LedgerAccess},
    source::{ConditionOf, Source, SourceObject, Validated},
    storage::Storage,
    sweep::sweep,
};

/// Operations of an attempt on its source: `resolve`, `verify`, `fetch`.
const OPERATIONS: u32 = 3;

/// A kind of source with the storage of its artifacts.
pub struct SourceKind<S: Source> {
    /// The steps of the kind.
    pub source: S,
    /// Where its artifacts are.
    pub storage: Storage,
    /// Sees every change of an object after the source: other kinds wait for its artifact.
    pub on_change: OnChange<S::Object>,
}

/// What sees every change of the objects of a kind.
pub type OnChange<O> = Box<dyn Fn(&ObjectEvent<O>) + Send + Sync>;

impl<S: Source> ReconciledKind for SourceKind<S> {
    type Object = S::Object;
    type Ledger = ArtifactLedger<ConditionOf<S>>;

    fn ledger(&self, object: &S::Object) -> Self::Ledger {
        ArtifactLedger::of(object, &self.storage)
    }

    fn needs_finalizer(&self, object: &S::Object) -> bool {
        !matches!(S::validate(object), Ok(Validated::Static))
    }

    async fn reconcile(&self, visit: &Visit<Self>) -> AttemptOutcome<ConditionOf<S>> {
        reconcile::reconcile(&self.source, visit.object(), &self.storage, visit, visit.now()).await
    }

    async fn teardown(&self, visit: &Visit<Self>) -> AttemptOutcome<ConditionOf<S>> {
        reconcile::teardown::<S>(visit.object(), &self.storage, visit).await
    }

    fn status(&self, _object: &S::Object, ledger: &Self::Ledger) -> Map<String, Value> {
        ledger.status()
    }

    fn changed(&self, change: &ObjectEvent<S::Object>) {
        self.source.changed(change);
        (self.on_change)(change);
    }

    fn deadline(&self, object: &S::Object) -> Duration {
        object.timeout().saturating_mul(OPERATIONS).saturating_add(self.storage.allowance())
    }
}

impl<S: Source> LedgerAccess<ArtifactLedger<ConditionOf<S>>> for Visit<SourceKind<S>> {
    fn lock_ledger(&self) -> MutexGuard<'_, ArtifactLedger<ConditionOf<S>>> {
        self.ledger()
    }

    fn park(&self) {
        Visit::park(self);
    }
}

/// Installs a kind of source: its objects are reconciled, and artifacts of objects that are gone are removed.
pub fn install<S: Source>(runtime: &mut Runtime, source: S, storage: &Storage) -> Handle<SourceKind<S>> {
    install_watched(runtime, source, storage, Box::new(|_| ()))
}

/// The same, and `on_change` sees every change of an object.
pub fn install_watched<S: Source>(
    runtime: &mut Runtime,
    source: S,
    storage: &Storage,
    on_change: OnChange<S::Object>,
) -> Handle<SourceKind<S>> {
    let handle = runtime.install(SourceKind { source, storage: storage.clone(), on_change });
    let (known, client) = (handle.store.clone(), runtime.client());
    runtime.spawn_leading("artifacts of objects that are gone", sweep(known, storage.clone(), client));
    handle
}

/// Writes the URLs that hold today into every status of the kind that has another one. Once, at the start.
pub async fn renew_urls<S: Source>(handle: &Handle<SourceKind<S>>) {
    handle.store.synced().await;
    for object in handle.store.all() {
        if object.artifact().is_some() {
            handle.amend(&NamespacedName::of(object.as_ref())).await;
        }
    }
}
