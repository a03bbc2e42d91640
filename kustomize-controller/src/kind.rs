//! Kustomization as the runtime sees it. What an attempt does lives in `kustomization`; here stands who is woken by what.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plumb_api::kustomize::{DriftMode, Kustomization, KustomizationCondition};
use plumb_api::meta::Artifact;
use plumb_api::meta::{DRIFT_DETECTION, RESTORE, Reconciled as _};
use plumb_cluster::{NamespacedName, ObjectCache, ObjectEvent};
use plumb_drift::state::{Input, OwnerRef};
use plumb_runtime::{Handle, Priority, Queue, ReconciledKind, Visit};
use plumb_status::condition::{READY, find};
use plumb_status::{AttemptOutcome, Reason};
use serde_json::{Map, Value};

use crate::kustomization::ledger::KustomizationLedger;
use crate::kustomization::{Context, facts, reconcile, teardown};
use crate::references::References;
use crate::source_ref::SourceRef;

/// What an attempt may take beside waiting for health.
const WORK_ALLOWANCE: Duration = Duration::from_mins(45);

/// The kind.
pub struct Kustomizations {
    /// What attempts work with.
    pub context: Arc<Context>,
    /// Whether the installed CRD keeps `status.drift`.
    pub crd_echoes: bool,
    /// Filled when the kind is installed.
    pub handle: Arc<OnceLock<Handle<Kustomizations>>>,
    /// Who refers to whom.
    pub references: Arc<References>,
}

impl Kustomizations {
    /// All Kustomizations that are known.
    pub fn others(&self) -> ObjectCache<Kustomization> {
        self.handle.get().map(|handle| handle.store.clone()).unwrap_or_default()
    }

    /// Whoever keeps objects on account of this one asks again when it has moved.
    fn wake_holders(&self, old: Option<&Kustomization>, new: Option<&Kustomization>) {
        let moves = |object: &Kustomization| {
            let status = object.status.clone().unwrap_or_default();
            let meta = &object.metadata;
            let applied = (status.inventory, status.last_applied_revision, status.last_attempted_revision);
            (applied, facts::is_ready(object), meta.generation, meta.deletion_timestamp.is_some())
        };
        let (Some(key), Some(handle)) = (new.or(old).map(NamespacedName::of), self.handle.get()) else {
            return;
        };
        // Asked first: mostly there are none, and a comparison copies both inventories.
        let holders = self.context.holds.waiting_for(&key);
        if holders.is_empty() || old.map(moves) == new.map(moves) {
            return;
        }
        for holder in holders {
            handle.queue.add(&holder, Priority::Revision);
        }
    }

    /// A cycle of dependencies ends by a change of any Kustomization in it.
    fn wake_cycles(&self, old: Option<&Kustomization>, new: Option<&Kustomization>) {
        // One without dependencies is in no cycle: at the start of the process no look at all the others for each.
        let references = |object: Option<&Kustomization>| object.map(|object| object.spec.depends_on.clone());
        let changed = references(old).unwrap_or_default() != references(new).unwrap_or_default();
        let Some(handle) = self.handle.get().filter(|_| changed) else { return };
        for other in handle.store.all() {
            let ready = find(other.conditions(), READY);
            if ready.is_some_and(|ready| ready.reason == Reason::DependencyCycle.as_str()) {
                handle.queue.add(&NamespacedName::of(other.as_ref()), Priority::Revision);
            }
        }
    }

    /// Whoever waits for this one looks again as soon as it is Ready, or has applied another revision.
    fn wake_dependents(&self, old: Option<&Kustomization>, new: &Kustomization) {
        let applied = |object: &Kustomization| {
            object.status.as_ref().and_then(|status| status.last_applied_revision.clone())
        };
        let news = facts::is_ready(new)
            && old.is_none_or(|old| !facts::is_ready(old) || applied(old) != applied(new));
        if news {
            self.wake_waiting(&NamespacedName::of(new));
        }
    }

    /// Those that wait for this one are reconciled at once.
    fn wake_waiting(&self, key: &NamespacedName) {
        let Some(handle) = self.handle.get() else { return };
        for dependent in self.references.dependents(key) {
            let waits = || handle.store.get(&dependent).is_some_and(|object| !facts::is_ready(&object));
            // One that runs may have looked a moment ago; what it will write is not in the store yet.
            if handle.queue.is_running(&dependent) || waits() {
                handle.queue.add(&dependent, Priority::Revision);
            }
        }
    }
}

impl ReconciledKind for Kustomizations {
    type Object = Kustomization;
    type Ledger = KustomizationLedger;

    fn ledger(&self, object: &Kustomization) -> KustomizationLedger {
        KustomizationLedger::of(object, &self.context.drift)
    }

    async fn reconcile(&self, visit: &Visit<Self>) -> AttemptOutcome<KustomizationCondition> {
        reconcile::reconcile(visit, self).await
    }

    async fn reconcile_suspended(&self, visit: &Visit<Self>) -> Option<Duration> {
        reconcile::reconcile_suspended(visit, self).await
    }

    async fn teardown(&self, visit: &Visit<Self>) -> AttemptOutcome<KustomizationCondition> {
        teardown::teardown(visit, self).await
    }

    fn status(&self, object: &Kustomization, ledger: &KustomizationLedger) -> Map<String, Value> {
        ledger.status(object)
    }

    fn deadline(&self, object: &Kustomization) -> Duration {
        object.spec.effective_timeout().to_std().saturating_add(WORK_ALLOWANCE)
    }

    fn triggers(&self, old: &Kustomization, new: &Kustomization) -> Option<Priority> {
        let differs = |name: &str| {
            let of = |object: &Kustomization| {
                object.metadata.annotations.as_ref().and_then(|all| all.get(name).cloned())
            };
            of(old) != of(new)
        };
        (differs(DRIFT_DETECTION) || differs(RESTORE)).then_some(Priority::Forced)
    }

    fn changed(&self, change: &ObjectEvent<Kustomization>) {
        match change {
            ObjectEvent::Applied { old, new } => {
                self.references.put(new);
                if old.as_ref().is_some_and(|old| old.spec.suspend) && !new.spec.suspend {
                    // What it holds then is news to whoever is to take it over.
                    self.context.holds.forget(&NamespacedName::of(new.as_ref()));
                }
                // A mode that cannot be read corrects nothing: the attempt says what is wrong with it.
                let mode = new.drift_mode().unwrap_or(DriftMode::Warn);
                let (suspended, interval) = (new.spec.suspend, new.spec.effective_interval().to_std());
                let owner = OwnerRef::kustomization(&NamespacedName::of(new.as_ref()));
                self.context.drift.step(Input::Spec { owner, mode, suspended, interval });
                self.wake_dependents(old.as_deref(), new);
                self.wake_holders(old.as_deref(), Some(new));
                self.wake_cycles(old.as_deref(), Some(new));
            }
            ObjectEvent::Deleted { old } => {
                self.references.remove(&NamespacedName::of(old.as_ref()));
                let owner = OwnerRef::kustomization(&NamespacedName::of(old.as_ref()));
                self.context.drift.step(Input::Forget(owner));
                // Whoever waits for it says now that it is gone.
                self.wake_waiting(&NamespacedName::of(old.as_ref()));
                self.wake_holders(Some(old), None);
                self.wake_cycles(Some(old), None);
            }
            // Who cannot be read may have asked to be left alone.
            ObjectEvent::Unreadable { key, .. } => {
                self.context.drift.step(Input::Unreadable(OwnerRef::kustomization(key)));
            }
        }
    }

    fn forgotten(&self, key: &NamespacedName) {
        self.context.drift.step(Input::Forget(OwnerRef::kustomization(key)));
        self.context.builds.forget(key);
        self.context.build_warnings.forget(key);
        self.context.healthy.forget(key);
        self.context.holds.forget(key);
    }
}

/// Wakes the Kustomizations of a source that has something new.
pub fn wake_by_source(
    source: &SourceRef,
    artifact: &Artifact,
    handle: &Handle<Kustomizations>,
    references: &References,
) {
    let queue: &Queue = &handle.queue;
    for user in references.users(source) {
        let Some(object) = handle.store.get(&user) else { continue };
        let attempted = object.status.as_ref().and_then(|status| status.last_attempted_revision.as_ref());
        let done = attempted == Some(&artifact.revision) && facts::is_ready(&object);
        if !done {
            queue.supersede(&user, Priority::Revision, source.to_string());
        }
    }
}
