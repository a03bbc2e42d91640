//! The driver of attempts: it takes keys from the queue, makes one attempt at each, and whatever happens writes one
//! status, emits the events and decides when to reconcile again. What an attempt does never enters.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _};
use plumb_api::meta::Reconciled as _;
use plumb_cluster::{NamespacedName, ObjectCache};
use plumb_status::cadence::PeriodRange;
use plumb_status::condition::READY;
use plumb_status::{
    AttemptOutcome, ConditionStatus, ConditionType, Detail, Ledger, Next, Reason, RetryPolicy, Severity,
    Summary, cadence, chain, summarize,
};
use serde_json::Map;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::events::Recorder;
use crate::finalizer;
use crate::kind::{ConditionOf, Object, ReconciledKind};
use crate::metrics::Metrics;
use crate::periods::PeriodReporter;
use crate::queue::{Again, Priority, Queue, Taken};
use crate::report::{Draft, ReportError, Reporter};
use crate::suspension::{self, Suspensions};
use crate::visit::{Visit, Worker};

/// After this time a status says that an attempt goes on.
const EARLY: Duration = Duration::from_secs(1);
/// How long attempts may take to end when the process ends.
const DRAIN: Duration = Duration::from_secs(8);

/// What drives the attempts at one kind.
pub(crate) struct Driver<K: ReconciledKind> {
    pub(crate) kind: Arc<K>,
    pub(crate) store: ObjectCache<K::Object>,
    pub(crate) queue: Queue,
    pub(crate) reporter: Reporter<K::Object>,
    pub(crate) recorder: Recorder,
    pub(crate) periods: PeriodReporter,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) concurrent: usize,
    pub(crate) jitter: u8,
    pub(crate) suspensions: Suspensions,
}

/// What helps where the API server does not take a status.
const REJECTED_REMEDY: &str =
    "split the object so that each part manages less, or raise etcd's --max-request-bytes";

/// A ledger that says nothing: what it would say made the status too large.
struct Unknown<C>(PhantomData<C>);

impl<C> Default for Unknown<C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<C: ConditionType> Ledger for Unknown<C> {
    type Condition = C;
}

/// How a visit ended, for the log and the metrics.
struct End {
    ending: &'static str,
    reason: Option<Reason>,
    error: Option<String>,
    again: Again,
}

impl<K: ReconciledKind> Driver<K> {
    /// Works until the shutdown is requested; then lets attempts end.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let driver = Arc::new(self);
        let visits = TaskTracker::new();
        loop {
            let taken = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                taken = driver.queue.next_within(driver.concurrent) => taken,
            };
            let (active, depth) = (driver.queue.active(), driver.queue.depth());
            driver.metrics.workers(&kind_name::<K>(), active, driver.concurrent, depth);
            visits.spawn(Arc::clone(&driver).guarded(taken));
        }
        driver.queue.stop_all("the end of the process");
        visits.close();
        if tokio::time::timeout(DRAIN, visits.wait()).await.is_err() {
            tracing::warn!(kind = %kind_name::<K>(), open = visits.len(), "shutdown timed out, reconciliations aborted");
        }
    }

    /// A visit that gives its key back even if the driver itself is at fault.
    async fn guarded(self: Arc<Self>, taken: Taken) {
        let (spare, queue) = (taken.clone(), self.queue.clone());
        let seed = self.seed(&taken);
        if AssertUnwindSafe(self.visit(taken)).catch_unwind().await.is_err() {
            let NamespacedName { namespace, name } = &spare.key;
            tracing::error!(kind = kind_name::<K>(), name, namespace, "reconciliation panicked");
            queue.done(&spare, Again::Backoff { seed });
        }
    }

    async fn visit(self: Arc<Self>, taken: Taken) {
        let span = tracing::info_span!(
            "attempt",
            controller = kind_name::<K>().to_lowercase(),
            controllerKind = kind_name::<K>(),
            name = taken.key.name,
            namespace = taken.key.namespace,
            reconcileID = %uuid::Uuid::new_v4(),
            revision = tracing::field::Empty,
        );
        let again = async {
            let began = Instant::now();
            let key = taken.key.clone();
            let Some(object) = self.store.get(&key) else {
                if self.store.is_unreadable(&key) {
                    // As if it were suspended: what it was told to do before is neither gone on with nor forgotten.
                    return (taken, Again::Never);
                }
                self.forget(&key);
                return (taken, Again::Forget);
            };
            let going = self.metrics.reconciling(&kind_name::<K>());
            let (taken, end) = self.attempt(taken, object, began).await;
            drop(going);
            self.log(&key, &end, began.elapsed());
            (taken, end.again)
        };
        let (taken, again) = again.instrument(span).await;
        self.queue.done(&taken, again);
    }

    fn forget(&self, key: &NamespacedName) {
        self.metrics.forget(&kind_name::<K>(), key);
        self.reporter.forget(key);
        self.periods.forget(key);
        self.suspensions.forget(key);
        self.kind.forgotten(key);
    }

    fn log(&self, key: &NamespacedName, end: &End, took: Duration) {
        let seconds = took.as_secs_f64();
        let reason = end.reason.map(Reason::as_str).unwrap_or_default();
        if let Some(error) = &end.error {
            tracing::error!(ending = end.ending, reason, seconds, error, "reconciliation failed");
        } else {
            tracing::info!(ending = end.ending, reason, seconds, "reconciliation finished");
        }
        let result = match (&end.error, end.again) {
            (Some(_), _) => "error",
            (None, Again::Interval(_) | Again::After(_)) => "requeue_after",
            (None, Again::Now) => "requeue",
            _ => "success",
        };
        self.metrics.attempt_ended(&kind_name::<K>(), key, result, took);
    }

    async fn attempt(&self, taken: Taken, object: Arc<K::Object>, began: Instant) -> (Taken, End) {
        let object = match self.with_finalizer(object).await {
            Ok(Some(object)) => object,
            Ok(None) => return (taken, End::quiet("gone", Again::Forget)),
            Err(error) => {
                let again = Again::Backoff { seed: self.seed(&taken) };
                return (taken, End::fault(format!("cannot add the finalizer: {}", chain(&error)), again));
            }
        };
        self.report_suspension(&taken.key, object.as_ref()).await;
        let visit = Visit {
            ledger: Mutex::new(self.kind.ledger(&object)),
            rest_again: Mutex::default(),
            current: tokio::sync::Mutex::new(Arc::clone(&object)),
            kind: Arc::clone(&self.kind),
            reporter: self.reporter.clone(),
            recorder: self.recorder.clone(),
            clock: self.clock.clone(),
            worker: Worker { queue: self.queue.clone(), taken: taken.clone() },
            began,
            object,
            taken,
        };
        let ending = self.end(&visit).await;
        let end = self.settle(&visit, ending).await;
        (visit.taken, end)
    }

    /// Tells when the object was suspended or resumed since the last visit, and who did it, if that can be found out.
    async fn report_suspension(&self, key: &NamespacedName, object: &K::Object) {
        let suspended = object.suspended();
        if !self.suspensions.has_changed(key, suspended) {
            return;
        }
        let api = self.reporter.api(&key.namespace);
        // Our copies have no managedFields.
        let writer = match plumb_cluster::call(api.get_metadata(&key.name)).await {
            Ok(found) => {
                suspension::suspend_writer(found.metadata.managed_fields.as_deref().unwrap_or_default())
            }
            Err(error) => {
                tracing::debug!(error = chain(&error), "failed to look up who wrote spec.suspend");
                None
            }
        };
        self.recorder.emit(object, suspension::event(suspended, writer.as_ref()));
    }

    /// The object with our finalizer. None if it is gone, or is going and was never ours.
    async fn with_finalizer(
        &self,
        object: Arc<K::Object>,
    ) -> Result<Option<Arc<K::Object>>, plumb_cluster::CallError> {
        if object.meta().deletion_timestamp.is_some() {
            return Ok(finalizer::is_set(object.as_ref()).then_some(object));
        }
        if !self.kind.needs_finalizer(&object) || finalizer::is_set(object.as_ref()) {
            return Ok(Some(object));
        }
        let api = self.reporter.api(&object.namespace().unwrap_or_default());
        let added = finalizer::add(&api, object.as_ref().clone(), self.reporter.manager()).await?;
        Ok(added.map(|added| self.reporter.observed(added)))
    }

    /// Makes the attempt, and says how it ended, whatever happened.
    async fn end(&self, visit: &Visit<K>) -> AttemptOutcome<ConditionOf<K>> {
        let going = visit.object.meta().deletion_timestamp.is_some();
        let suspended = visit.object.suspended() && !going;
        let deadline = self.kind.deadline(&visit.object);
        let work = async {
            if going {
                self.kind.teardown(visit).await
            } else if suspended {
                let again = self.kind.reconcile_suspended(visit).await;
                *visit.rest_again.lock().unwrap_or_else(PoisonError::into_inner) = again;
                AttemptOutcome::Suspended
            } else {
                self.periods.report(visit.object.as_ref());
                self.kind.reconcile(visit).await
            }
        };
        let work = tokio::time::timeout(deadline, AssertUnwindSafe(work).catch_unwind());
        let early = async {
            tokio::time::sleep(EARLY).await;
            if !going
                && !suspended
                && let Err(error) = visit.write_ahead().await
            {
                tracing::debug!(error = chain(&error), "failed to write early status");
            }
            std::future::pending::<Infallible>().await
        };
        let ended = tokio::select! {
            biased;
            ended = work => ended,
            never = early => match never {},
        };
        match ended {
            Ok(Ok(ending)) => ending,
            Ok(Err(_)) => {
                let detail = Detail::new(
                    Reason::InternalError,
                    "internal error: the reconciliation panicked, see the log of the controller",
                );
                AttemptOutcome::Failed { condition: None, detail, retry: RetryPolicy::Backoff }
            }
            Err(_) => {
                let limit = plumb_api::meta::GoDuration::from(deadline);
                let detail =
                    Detail::new(Reason::TimedOut, format!("reconciliation did not finish within {limit}"));
                AttemptOutcome::Failed { condition: None, detail, retry: RetryPolicy::Backoff }
            }
        }
    }

    /// Writes the status, emits the events, and says when to reconcile again.
    async fn settle(&self, visit: &Visit<K>, ending: AttemptOutcome<ConditionOf<K>>) -> End {
        let mut current = visit.current.lock().await;
        let now = self.clock.now();
        let going = visit.object.meta().deletion_timestamp.is_some();
        let summary = self.summary(visit, &current, &ending, now);
        let mut end = End {
            ending: ending.as_str(),
            reason: ending.detail().map(|detail| detail.reason),
            error: match &ending {
                AttemptOutcome::Failed { detail, .. } | AttemptOutcome::Stalled { detail, .. } => {
                    Some(detail.message.clone())
                }
                _ => None,
            },
            again: self.again(visit, &ending, summary.next),
        };
        let written = match ending {
            AttemptOutcome::Gone => self.release(visit, &current).await,
            AttemptOutcome::Static => self.make_static(&mut current).await,
            _ => match self.report(visit, &mut current, &ending, now).await {
                Err(rejected @ ReportError::Rejected { .. }) => {
                    self.report_rejected(visit, &mut current, &rejected, now).await.and(Err(rejected))
                }
                written => written,
            },
        };
        for event in summary.events {
            if event.severity != Severity::Trace {
                tracing::debug!(reason = event.reason.as_str(), message = event.message, "event emitted");
            }
            self.recorder.emit(visit.object.as_ref(), event);
        }
        match written {
            Ok(()) if matches!(ending, AttemptOutcome::Gone) => end.again = Again::Forget,
            Ok(()) => {}
            Err(ReportError::Gone) if going => end.again = Again::Forget,
            Err(ReportError::Gone) => end.again = Again::Never,
            Err(error) => {
                end.error = Some(chain(&error));
                end.again = Again::Backoff { seed: self.seed(&visit.taken) };
            }
        }
        end
    }

    async fn report(
        &self,
        visit: &Visit<K>,
        current: &mut Arc<K::Object>,
        ending: &AttemptOutcome<ConditionOf<K>>,
        now: Timestamp,
    ) -> Result<(), ReportError> {
        let compose = |object: &K::Object| {
            let summary = self.summary(visit, object, ending, now);
            let before = crate::report::status_of(object);
            Draft {
                status: summary.status.unwrap_or(before),
                fields: self.kind.status(object, &visit.ledger()),
            }
        };
        self.reporter.write(current, compose).await
    }

    /// A status that the API server does not take must not leave an older Ready=True: says so, without the kind's own
    /// fields, which keep what was recorded last.
    async fn report_rejected(
        &self,
        visit: &Visit<K>,
        current: &mut Arc<K::Object>,
        rejected: &ReportError,
        now: Timestamp,
    ) -> Result<(), ReportError> {
        let message = format!("cannot write the status: {} ({REJECTED_REMEDY})", chain(rejected));
        let detail = Detail::new(Reason::PatchOperationFailed, message);
        let ending = AttemptOutcome::Failed { condition: None, detail, retry: RetryPolicy::Backoff };
        let compose = |object: &K::Object| {
            let before = self.reporter.before(object, visit.object.as_ref(), now);
            let summary = summarize(&before.as_ref(), &Unknown::<ConditionOf<K>>::default(), &ending);
            Draft { status: summary.status.unwrap_or(crate::report::status_of(object)), fields: Map::new() }
        };
        self.reporter.write(current, compose).await
    }

    fn summary(
        &self,
        visit: &Visit<K>,
        object: &K::Object,
        ending: &AttemptOutcome<ConditionOf<K>>,
        now: Timestamp,
    ) -> Summary {
        let before = self.reporter.before(object, visit.object.as_ref(), now);
        summarize(&before.as_ref(), &*visit.ledger(), ending)
    }

    async fn release(&self, visit: &Visit<K>, current: &Arc<K::Object>) -> Result<(), ReportError> {
        if !K::FINALIZER || visit.object.meta().deletion_timestamp.is_none() {
            return Ok(());
        }
        let api = self.reporter.api(&visit.key().namespace);
        let released = finalizer::remove(&api, current.as_ref().clone(), self.reporter.manager()).await?;
        drop(released);
        Ok(())
    }

    /// Empties the status, then releases the finalizer: in this order, so that whoever sees it released sees no old status.
    async fn make_static(&self, current: &mut Arc<K::Object>) -> Result<(), ReportError> {
        self.reporter.clear(current).await?;
        let api = self.reporter.api(&current.namespace().unwrap_or_default());
        let released = finalizer::remove(&api, current.as_ref().clone(), self.reporter.manager()).await?;
        if let Some(released) = released {
            self.reporter.observed(released);
        }
        Ok(())
    }

    /// When to look again. Every wait is held in its range here, whoever requested it: nothing spins.
    fn again(&self, visit: &Visit<K>, ending: &AttemptOutcome<ConditionOf<K>>, next: Next) -> Again {
        let held = |wait| PeriodRange::REQUEUE.clamp(wait);
        match (next, ending) {
            (Next::Now, _) => Again::Now,
            (Next::Interval, _) => match visit.object.interval() {
                Some(interval) => {
                    let interval = held(interval.to_std());
                    Again::Interval(cadence::jittered(interval, self.jitter, self.seed(&visit.taken)))
                }
                None => Again::Never,
            },
            (Next::After(delay), AttemptOutcome::Failed { .. }) => Again::FailedAfter(held(delay)),
            (Next::After(delay), _) => Again::After(held(delay)),
            (Next::Backoff, _) => Again::Backoff { seed: self.seed(&visit.taken) },
            (Next::Never, AttemptOutcome::Suspended) => {
                let again = *visit.rest_again.lock().unwrap_or_else(PoisonError::into_inner);
                again.map_or(Again::Never, |wait| Again::FailedAfter(held(wait)))
            }
            (Next::Never, _) => Again::Never,
        }
    }

    fn seed(&self, taken: &Taken) -> u64 {
        // Spread, not secrecy: objects that failed together are not tried again together.
        let mut hasher = DefaultHasher::new();
        (&taken.key, taken.failures, self.clock.now().as_nanosecond()).hash(&mut hasher);
        hasher.finish()
    }
}

impl End {
    fn quiet(ending: &'static str, again: Again) -> Self {
        Self { ending, reason: None, error: None, again }
    }

    fn fault(error: String, again: Again) -> Self {
        Self { ending: "failed", reason: None, error: Some(error), again }
    }
}

fn kind_name<K: ReconciledKind>() -> String {
    K::Object::kind(&()).into_owned()
}

/// How urgent an attempt is that a change of an object asks for; none if it asks for nothing.
pub(crate) fn urgency<K: ReconciledKind>(
    kind: &K,
    old: Option<&K::Object>,
    new: &K::Object,
) -> Option<Priority> {
    let Some(old) = old else {
        return Some(if new.meta().deletion_timestamp.is_some() {
            Priority::Deletion
        } else if new.observed_generation() == new.meta().generation {
            // It was seen before: a restart.
            Priority::Interval
        } else {
            Priority::Revision
        });
    };
    let made_anew = old.meta().uid != new.meta().uid;
    if new.meta().deletion_timestamp.is_some() {
        // Whoever removes a finalizer changes nothing for us.
        return (made_anew || old.meta().deletion_timestamp.is_none()).then_some(Priority::Deletion);
    }
    if crate::visit::requested_at(old) != crate::visit::requested_at(new) {
        return Some(Priority::Forced);
    }
    if made_anew || old.meta().generation != new.meta().generation {
        return Some(Priority::Revision);
    }
    kind.triggers(old, new)
}

/// Whether a status says that an attempt goes on. Where none does, a write came late: of this process, whose outcome
/// was not known, or of one that was killed.
pub(crate) fn claims_progress<O: Object>(object: &O) -> bool {
    object
        .conditions()
        .iter()
        .filter(|condition| condition.type_ == READY && condition.status == ConditionStatus::Unknown)
        .any(|condition| condition.reason == Reason::Progressing.as_str())
}

#[cfg(test)]
mod tests;
