//! Desk: the handle by which the rest of the controller speaks of drift. Cheap to clone; all clones are one desk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::kustomize::DriftStatus;
use plumb_cluster::{Budget, Cluster, NamespacedName, Watchers};
use plumb_manifests::ObjectId;
use plumb_planning::drift::mode::Mode;
use plumb_planning::drift::{Record, Tools};
use plumb_planning::fingerprint::Fingerprint;
use plumb_planning::plan::Planned;
use plumb_planning::takeover::Takeover;
use plumb_status::EventDraft;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::book::{DriftPolicy, Managed};
use super::measures::DriftMetrics;
use super::restoring::RestoreRequest;
use super::sitting::{Effects, State, Step};
use super::standing::DriftReport;
use super::{turns, watch};

/// Who passes on what the desk has to say. Called without any lock held; must not block.
pub trait EventSink: Send + Sync + 'static {
    /// An event; its involved object is the Kustomization.
    fn emit(&self, key: &NamespacedName, event: EventDraft);
    /// The condition `Drifted` or `status.drift` is another now. A few times at once, then at most once a second for each Kustomization.
    fn drift_changed(&self, key: &NamespacedName);
    /// Whether there is a Kustomization of this name.
    fn exists(&self, key: &NamespacedName) -> bool;
}

/// What a desk stands on.
#[derive(Clone)]
pub struct DriftDeps {
    /// The cluster.
    pub cluster: Cluster,
    /// Who passes on what is found.
    pub events: Arc<dyn EventSink>,
    /// Whose fields become ours.
    pub takeover: Takeover,
    /// Which managers are people's tools.
    pub tools: Tools,
    /// How many objects are looked at at a time.
    pub concurrency: usize,
    /// When the process started.
    pub started: Timestamp,
    /// Ends the desk.
    pub shutdown: CancellationToken,
    /// What is counted.
    pub metrics: DriftMetrics,
}

/// The desk.
#[derive(Clone)]
pub struct DriftLoop(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub deps: DriftDeps,
    pub watchers: Arc<Watchers>,
    pub state: Mutex<State>,
    /// There is something to start, or a time to wait for.
    pub stir: Notify,
    /// A correction ended.
    pub put_down: Notify,
    pub tasks: TaskTracker,
}

impl DriftLoop {
    /// Opens the desk inside a tokio runtime; its tasks end with `shutdown`.
    pub fn start(deps: DriftDeps) -> Self {
        let (watchers, sights) =
            Watchers::new(deps.cluster.clone(), &plumb_planning::ownership::Owner::selector());
        let shared = Arc::new(Shared {
            deps,
            watchers,
            state: Mutex::default(),
            stir: Notify::new(),
            put_down: Notify::new(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(watch::listen(shared.clone(), sights));
        shared.tasks.spawn(turns::take(shared.clone()));
        Self(shared)
    }

    /// Takes the pen for an attempt: waits until no correction of this Kustomization is in flight; none begins until the
    /// guard is dropped, and what is seen meanwhile is judged then.
    pub async fn lock_for_attempt(&self, key: &NamespacedName) -> ReconcileLock {
        self.0.sit(|sitting| {
            let book = sitting.book(key);
            book.holds += 1;
            // A correction in flight is awaited, but no slow answer to it.
            book.hurry.cancel();
        });
        let hold = ReconcileLock { shared: self.0.clone(), key: key.clone() };
        loop {
            let put_down = self.0.put_down.notified();
            tokio::pin!(put_down);
            put_down.as_mut().enable();
            if self.0.sit(|sitting| sitting.book(key).writing) == 0 {
                return hold;
            }
            put_down.await;
        }
    }

    /// After an apply, whole or partial: what is desired now and what was done.
    pub fn adopt(&self, key: &NamespacedName, managed: Managed) {
        self.0.sit(|sitting| sitting.adopt(key, managed, false));
    }

    /// After a restart, when nothing needs applying: each object is compared once, in the background.
    pub fn adopt_unverified(&self, key: &NamespacedName, managed: Managed) {
        self.0.sit(|sitting| sitting.adopt(key, managed, true));
    }

    /// Mode, suspension, interval or revision may have changed.
    pub fn set_policy(&self, key: &NamespacedName, terms: DriftPolicy) {
        self.0.sit(|sitting| sitting.set_terms(key, terms));
    }

    /// Mode, suspension or interval as the Kustomization says them now, whatever becomes of its attempts: what the user
    /// asks to be left alone is left alone at once.
    pub fn set_mode(&self, key: &NamespacedName, mode: Mode, suspended: bool, interval: Duration) {
        self.0.sit(|sitting| sitting.conduct(key, mode, suspended, interval));
    }

    /// The Kustomization cannot be read: nothing of it is put back until [`DriftLoop::set_mode`] says how to go on, whatever an
    /// attempt that still runs says.
    pub fn suspend_unreadable(&self, key: &NamespacedName) {
        self.0.sit(|sitting| sitting.suspend_unreadable(key));
    }

    /// Whether its objects are known; false after a restart.
    pub fn is_known(&self, key: &NamespacedName) -> bool {
        self.0.lock().books.get(key).is_some_and(|book| book.adopted)
    }

    /// Takes what a status says into the memory of a new process.
    pub fn restore_status(&self, key: &NamespacedName, drift: &DriftStatus) {
        self.0.sit(|sitting| sitting.recall(key, drift));
    }

    /// After a restart, when the revision has moved: looks at what the coming apply will overwrite, so that it can be told.
    pub async fn read_before_apply(&self, key: &NamespacedName, objects: &[Planned], budget: &Budget) {
        super::unverified::witness(&self.0, key, objects, budget).await;
    }

    /// What was applied last, for each object; empty after a restart.
    pub fn applied(&self, key: &NamespacedName) -> BTreeMap<ObjectId, Fingerprint> {
        let state = self.0.lock();
        let objects = state.books.get(key).into_iter().flat_map(|book| &book.objects);
        objects.map(|(id, kept)| (id.clone(), kept.planned.digest)).collect()
    }

    /// What was seen last, for each object that was compared.
    pub fn known(&self, key: &NamespacedName) -> BTreeMap<ObjectId, Record> {
        let state = self.0.lock();
        let objects = state.books.get(key).into_iter().flat_map(|book| &book.objects);
        objects.filter_map(|(id, kept)| Some((id.clone(), kept.record.clone()?))).collect()
    }

    /// The version of each object that a watch shows, as it was shown last.
    pub fn watched_versions(&self, key: &NamespacedName) -> BTreeMap<ObjectId, Box<str>> {
        let state = self.0.lock();
        let objects = state.books.get(key).into_iter().flat_map(|book| &book.objects);
        objects
            .filter(|(_, kept)| kept.is_watched() && !state.blind.contains(&kept.kind()))
            .filter_map(|(id, kept)| Some((id.clone(), kept.record.as_ref()?.version.clone())))
            .collect()
    }

    /// What the reconcile should apply at the interval: objects with fields that a controller took. Starts the comparisons
    /// that are due only now.
    pub fn at_interval(&self, key: &NamespacedName) -> BTreeSet<ObjectId> {
        self.0.sit(|sitting| sitting.at_interval(key))
    }

    /// Compares everything once, in the background.
    pub fn audit(&self, key: &NamespacedName) {
        self.0.sit(|sitting| sitting.audit(key));
    }

    /// Puts flagged objects back once, as a person asks.
    pub fn restore(&self, key: &NamespacedName, request: RestoreRequest<'_>) {
        self.0.sit(|sitting| sitting.restore(key, request));
    }

    /// What stands; `None` while it is not known yet.
    pub fn report(&self, key: &NamespacedName) -> Option<DriftReport> {
        let now = self.0.deps.cluster.now();
        self.0.lock().books.get(key).and_then(|book| DriftReport::of(book, now))
    }

    /// The Kustomization is gone.
    pub fn forget(&self, key: &NamespacedName) {
        self.0.sit(|sitting| sitting.forget(key));
    }

    /// After `shutdown`: until all tasks are done.
    pub async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// While it lives, no correction of one Kustomization begins.
#[must_use]
pub struct ReconcileLock {
    shared: Arc<Shared>,
    key: NamespacedName,
}

impl Drop for ReconcileLock {
    fn drop(&mut self) {
        self.shared.sit(|sitting| sitting.release(&self.key));
    }
}

impl Shared {
    /// Works on the state, then passes on what came of it, with the lock put down.
    pub fn sit<R>(&self, work: impl FnOnce(&mut Step<'_>) -> R) -> R {
        let mut state = self.lock();
        let mut sitting = Step::new(self, &mut state);
        let result = work(&mut sitting);
        let post = sitting.close();
        drop(state);
        self.pass_on(post);
        self.stir.notify_one();
        result
    }

    pub fn pass_on(&self, post: Effects) {
        for (key, event) in post.events {
            self.deps.events.emit(&key, event);
        }
        for key in post.changed {
            self.deps.events.drift_changed(&key);
        }
    }

    pub fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
