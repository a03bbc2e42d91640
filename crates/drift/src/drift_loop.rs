//! The drift loop of one cluster: passes inputs to the state machine and carries out its effects. It is the handle of a
//! controller. Cheap to clone; all clones are one loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use plumb_apply::{Action, ObjectChange};
use plumb_cluster::{Budget, Cluster, GroupVersionKind, KINDS_MAX, Watchers};
use plumb_manifests::ObjectId;
use plumb_planning::fingerprint::Fingerprint;
use plumb_planning::ownership::Owner;
use plumb_planning::plan::Planned;
use plumb_planning::record::Record;
use plumb_planning::takeover::Takeover;
use plumb_status::EventDraft;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::MonotonicClock;
use crate::metrics::DriftMetrics;
use crate::rules::Tools;
use crate::state::{
    Applied, ApplyChange, DriftReport, Effect, Input, Managed, Measurement, OwnerRef, Settings, State,
};
use crate::{watches, worker};

/// Receives what is found. Called without any lock held; must not block.
pub trait EventSink: Send + Sync + 'static {
    /// Emits an event; its involved object is the owner.
    fn emit(&self, owner: &OwnerRef, event: EventDraft);
    /// The condition `Drifted` or `status.drift` has changed. A few times at once, then at most once a second for each owner.
    fn drift_changed(&self, owner: &OwnerRef);
    /// Whether there is an owner of this name.
    fn exists(&self, owner: &OwnerRef) -> bool;
}

/// What a loop works with.
#[derive(Clone)]
pub struct DriftDeps {
    /// The cluster.
    pub cluster: Cluster,
    /// Receives what is found.
    pub events: Arc<dyn EventSink>,
    /// Whose fields become ours.
    pub takeover: Takeover,
    /// Which managers are people's tools.
    pub tools: Tools,
    /// Maximum concurrent comparisons.
    pub concurrency: usize,
    /// When the process started.
    pub started: Timestamp,
    /// Ends the loop.
    pub shutdown: CancellationToken,
    /// What is counted.
    pub metrics: DriftMetrics,
}

/// The loop.
#[derive(Clone)]
pub struct DriftLoop(pub(crate) Arc<Shared>);

/// What is reported of an owner, as of the last change. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct DriftSnapshot(Arc<Mutex<Option<DriftReport>>>);

pub(crate) struct Shared {
    pub deps: DriftDeps,
    state: Mutex<State>,
    watchers: Arc<Watchers>,
    clock: MonotonicClock,
    snapshots: Mutex<BTreeMap<OwnerRef, DriftSnapshot>>,
    /// By owner: cancelled when its comparisons must no longer wait for slow responses.
    hurry: Mutex<BTreeMap<OwnerRef, CancellationToken>>,
    wake_at: watch::Sender<Option<Timestamp>>,
    /// A look that was allowed to write has ended.
    pub written: Notify,
    tasks: TaskTracker,
}

impl DriftLoop {
    /// Starts the loop inside a tokio runtime; its tasks end with `shutdown`.
    pub fn start(deps: DriftDeps) -> Self {
        let (watchers, events) = Watchers::new(deps.cluster.clone(), &Owner::selector());
        let settings = Settings { concurrency: deps.concurrency.max(1), started: deps.started };
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(settings)),
            watchers,
            clock: MonotonicClock::default(),
            snapshots: Mutex::default(),
            hurry: Mutex::default(),
            wake_at: watch::Sender::new(None),
            written: Notify::new(),
            tasks: TaskTracker::new(),
            deps,
        });
        shared.tasks.spawn(watches::listen(shared.clone(), events));
        shared.tasks.spawn(keep_time(shared.clone()));
        Self(shared)
    }

    /// Passes on what happened.
    pub fn step(&self, input: Input) {
        self.0.step(input);
    }

    /// Begins an attempt: waits until no correction of an object of this owner is in flight. None begins until the attempt has
    /// ended, and objects with events meanwhile are compared then.
    pub async fn begin(&self, owner: &OwnerRef) -> Attempt {
        self.0.step(Input::Hold(owner.clone()));
        let attempt = Attempt { shared: self.0.clone(), owner: owner.clone() };
        loop {
            let written = self.0.written.notified();
            tokio::pin!(written);
            written.as_mut().enable();
            if !self.0.lock().is_writing(owner) {
                return attempt;
            }
            written.await;
        }
    }

    /// What is reported of an owner from now on.
    pub fn snapshot(&self, owner: &OwnerRef) -> DriftSnapshot {
        self.0.snapshot(owner)
    }

    /// Whether the objects of an owner are known; false after a restart.
    pub fn is_known(&self, owner: &OwnerRef) -> bool {
        self.0.lock().is_known(owner)
    }

    /// What was applied last, for each object; empty after a restart.
    pub fn applied(&self, owner: &OwnerRef) -> BTreeMap<ObjectId, Fingerprint> {
        self.0.lock().applied(owner)
    }

    /// The version of each object that a watch shows, as it was shown last.
    pub fn watched_versions(&self, owner: &OwnerRef) -> BTreeMap<ObjectId, Box<str>> {
        self.0.lock().watched_versions(owner)
    }

    /// The interval has passed: the objects that the reconcile applies, those that are compared only then and those of which a
    /// controller holds fields. Comparisons of objects that no watch shows are started.
    pub fn at_interval(&self, owner: &OwnerRef) -> BTreeSet<ObjectId> {
        let applied = self.0.lock().applied_at_interval(owner);
        self.0.step(Input::Interval(owner.clone()));
        applied
    }

    /// After `shutdown`: until all tasks are done.
    pub async fn closed(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// An attempt of an owner. While it is held, no correction of its objects begins.
#[must_use]
pub struct Attempt {
    shared: Arc<Shared>,
    owner: OwnerRef,
}

impl Attempt {
    /// What was seen last, for each object that was compared.
    pub fn known(&self) -> BTreeMap<ObjectId, Record> {
        self.shared.lock().records(&self.owner)
    }

    /// After a restart, when the revision has changed: reads what the coming apply will overwrite, so that it can be reported.
    pub async fn read_before_apply(&self, objects: &[Arc<Planned>], budget: &Budget) {
        let found = worker::overwritten(&self.shared, objects, budget).await;
        self.shared.step(Input::BeforeApply(self.owner.clone(), found));
    }

    /// Ends the attempt with what is desired and what was done, whether all of it went well or not.
    pub fn finish(self, managed: Managed) {
        self.shared.step(Input::Adopt(self.owner.clone(), managed));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.shared.step(Input::Release(self.owner.clone()));
    }
}

impl DriftSnapshot {
    /// What is reported; `None` while it is not known yet.
    pub fn get(&self) -> Option<DriftReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl From<ObjectChange> for Applied {
    fn from(change: ObjectChange) -> Self {
        let ObjectChange { id, action, live, .. } = change;
        let change = match action {
            Action::Created | Action::Configured => ApplyChange::Written,
            Action::Unchanged => ApplyChange::Unchanged,
            Action::Skipped(_) => ApplyChange::Skipped,
        };
        Self { id, change, live }
    }
}

impl Shared {
    /// The time now: it never goes back.
    pub fn now(&self) -> Timestamp {
        self.clock.now(self.deps.cluster.now())
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes an input to the state, then carries out its effects. Effects that depend on the order of steps are carried out
    /// under the lock; effects that may call back or wake tasks are carried out after it is released.
    pub fn step(self: &Arc<Self>, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut later = Vec::new();
            {
                let mut state = self.lock();
                let now = self.now();
                for effect in state.step(input, now) {
                    match self.carry_out_in_order(effect) {
                        InOrder::Done(refused) => inputs.extend(refused),
                        InOrder::Later(effect, hurry) => later.push((effect, hurry)),
                    }
                }
            }
            for (effect, hurry) in later {
                self.carry_out(effect, hurry);
            }
        }
    }

    fn carry_out_in_order(&self, effect: Effect) -> InOrder {
        match effect {
            Effect::Publish(owner, report) => self.publish(&owner, report.map(|report| *report)),
            Effect::WatchKinds(kinds) => {
                return InOrder::Done(self.watchers.watch(&kinds).iter().map(too_many).collect());
            }
            Effect::Hurry(owner) => {
                if let Some(token) = self.hurry().remove(&owner) {
                    token.cancel();
                }
            }
            Effect::Measure(measurement) => {
                if let Measurement::Forgotten(owner, _) = &measurement {
                    self.hurry().remove(owner);
                    // A ledger that outlives the owner keeps its own, which says nothing from now on.
                    self.publish(owner, None);
                    self.snapshots().remove(owner);
                }
                self.deps.metrics.measure(measurement);
            }
            Effect::WakeAt(at) => drop(self.wake_at.send_replace(Some(at))),
            Effect::Look(job) => {
                let hurry = self.hurry().entry(job.owner.clone()).or_default().clone();
                return InOrder::Later(Effect::Look(job), hurry);
            }
            Effect::Read(_) | Effect::Report(..) | Effect::WriteStatus(_) | Effect::KindsChanged => {
                return InOrder::Later(effect, CancellationToken::new());
            }
        }
        InOrder::Done(Vec::new())
    }

    fn carry_out(self: &Arc<Self>, effect: Effect, hurry: CancellationToken) {
        match effect {
            Effect::Look(job) => drop(self.tasks.spawn(worker::run(self.clone(), *job, hurry))),
            Effect::Read(read) => drop(self.tasks.spawn(worker::read(self.clone(), *read))),
            Effect::Report(owner, event) => self.deps.events.emit(&owner, event),
            Effect::WriteStatus(owner) => self.deps.events.drift_changed(&owner),
            Effect::KindsChanged => self.watchers.kinds_changed(),
            Effect::Publish(..)
            | Effect::WatchKinds(_)
            | Effect::Hurry(_)
            | Effect::Measure(_)
            | Effect::WakeAt(_) => {}
        }
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<OwnerRef, DriftSnapshot>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub fn snapshots_kept(&self) -> usize {
        self.snapshots().len()
    }

    fn snapshot(&self, owner: &OwnerRef) -> DriftSnapshot {
        self.snapshots().entry(owner.clone()).or_default().clone()
    }

    fn publish(&self, owner: &OwnerRef, report: Option<DriftReport>) {
        let snapshot = self.snapshot(owner);
        let is_unknown = report.is_none();
        *snapshot.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
        drop(snapshot);
        if is_unknown {
            let mut snapshots = self.snapshots();
            // A ledger that holds one keeps reading it.
            if snapshots.get(owner).is_some_and(|snapshot| Arc::strong_count(&snapshot.0) == 1) {
                snapshots.remove(owner);
            }
        }
    }

    fn hurry(&self) -> MutexGuard<'_, BTreeMap<OwnerRef, CancellationToken>> {
        self.hurry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of an effect under the lock.
enum InOrder {
    /// It was carried out; what it leads to.
    Done(Vec<Input>),
    /// It is carried out after the lock is released. A comparison waits for no slow response once the token is cancelled.
    Later(Effect, CancellationToken),
}

fn too_many(kind: &GroupVersionKind) -> Input {
    let kind = (kind.group.clone(), kind.version.clone(), kind.kind.clone());
    Input::Denied(kind, format!("{KINDS_MAX} kinds are watched already"))
}

/// Sends a tick when the state requests one, until the loop ends.
async fn keep_time(shared: Arc<Shared>) {
    let shutdown = shared.deps.shutdown.clone();
    let mut wake_at = shared.wake_at.subscribe();
    loop {
        let at = *wake_at.borrow_and_update();
        let alarm = async {
            match at {
                Some(at) => {
                    let wait = at.duration_since(shared.now());
                    tokio::time::sleep_until(after(wait)).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = wake_at.changed() => if changed.is_err() { return },
            () = alarm => {
                shared.wake_at.send_replace(None);
                shared.step(Input::Tick);
            }
        }
    }
}

/// A time that is never reached.
const FAR: std::time::Duration = std::time::Duration::from_hours(24 * 365);

fn after(wait: jiff::SignedDuration) -> Instant {
    let wait = std::time::Duration::try_from(wait).unwrap_or_default();
    Instant::now() + wait.min(FAR)
}
