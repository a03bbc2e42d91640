//! One visit of an object: what an attempt may know and do. The attempt itself belongs to the kind.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use plumb_api::meta::RECONCILE_REQUESTED_AT;
use plumb_cluster::NamespacedName;
use plumb_status::{AttemptOutcome, EventDraft};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::events::Recorder;
use crate::kind::{ConditionOf, ReconciledKind};
use crate::queue::{Priority, Queue, Taken};
use crate::report::{Draft, ReportError, Reporter};

/// A visit.
pub struct Visit<K: ReconciledKind> {
    pub(crate) kind: Arc<K>,
    pub(crate) taken: Taken,
    pub(crate) object: Arc<K::Object>,
    pub(crate) ledger: Mutex<K::Ledger>,
    /// When to come back to a suspended object whose [`ReconciledKind::reconcile_suspended`] did not work.
    pub(crate) rest_again: Mutex<Option<Duration>>,
    pub(crate) reporter: Reporter<K::Object>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Clock,
    pub(crate) began: Instant,
    /// The object as the API server answered last. Held over each write, so that writes come one after the other.
    pub(crate) current: tokio::sync::Mutex<Arc<K::Object>>,
    pub(crate) worker: Worker,
}

/// The worker of a visit.
#[derive(Clone)]
pub struct Worker {
    pub(crate) queue: Queue,
    pub(crate) taken: Taken,
}

impl Worker {
    /// Waits for a slow peer without a worker, and takes one again before it goes on. Parked visits are bounded: a
    /// namespace with too many of them starts no further visit until one has ended.
    pub async fn parked<T>(&self, wait: impl Future<Output = T>) -> T {
        self.queue.park(&self.taken);
        let done = wait.await;
        self.queue.resume(&self.taken).await;
        done
    }
}

impl<K: ReconciledKind> Visit<K> {
    /// The object as it was when the attempt began.
    pub fn object(&self) -> &Arc<K::Object> {
        &self.object
    }

    /// Its name.
    pub fn key(&self) -> &NamespacedName {
        &self.taken.key
    }

    /// How urgent the visit is.
    pub fn priority(&self) -> Priority {
        self.taken.priority
    }

    /// How often the visits before this one failed in a row.
    pub fn failures(&self) -> u32 {
        self.taken.failures
    }

    /// Whether the interval has passed since the last visit that was due to it, whatever the priority says.
    pub fn interval_due(&self) -> bool {
        self.taken.interval_due
    }

    /// Whether this visit was requested and the request was not answered yet.
    pub fn forced(&self) -> bool {
        requested_at(self.object.as_ref()).is_some_and(|asked| {
            plumb_api::meta::Reconciled::last_handled_reconcile_at(self.object.as_ref()) != Some(asked)
        })
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long the visit has lasted.
    pub fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// What the attempt has made true so far. Never to be held across an await.
    pub fn ledger(&self) -> MutexGuard<'_, K::Ledger> {
        // Kinds keep each change of a ledger whole, so a panic while it was held leaves nothing half done.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the kind's own fields of the status, and that the attempt goes on, before it returns.
    pub async fn write_ahead(&self) -> Result<(), ReportError> {
        let mut current = self.current.lock().await;
        self.reporter
            .write(&mut current, |object| {
                let ledger = self.ledger();
                let (ready, progress) = self.kind.in_progress(&ledger);
                let before = self.reporter.before(object, self.object.as_ref(), self.now());
                Draft {
                    status: plumb_status::in_progress(&before.as_ref(), &ready, &progress),
                    fields: self.kind.status(object, &ledger),
                }
            })
            .await
    }

    /// Gives the worker back for the rest of the attempt: what follows is a wait and a status.
    pub fn park(&self) {
        self.worker.queue.park(&self.taken);
    }

    /// The worker, for a wait in the middle of the attempt.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Resolves when something newer arrived, or the process ends: by whom.
    pub async fn superseded(&self) -> String {
        self.taken.superseded().await
    }

    /// By whom the visit was made pointless; empty if it was not.
    pub fn superseded_by(&self) -> String {
        self.taken.superseded_by()
    }

    /// Whether something newer arrived, or the process ends.
    pub fn is_superseded(&self) -> bool {
        self.taken.is_superseded()
    }

    /// Cancelled when something newer arrived, or the process ends.
    pub fn token(&self) -> CancellationToken {
        self.taken.token()
    }

    /// The work, unless something newer arrives before it is done.
    pub async fn unless_superseded<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, AttemptOutcome<ConditionOf<K>>> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            by = self.superseded() => Err(AttemptOutcome::Superseded { by }),
        }
    }

    /// Tells something at once, in the middle of the attempt.
    pub fn emit(&self, event: EventDraft) {
        self.recorder.emit(self.object.as_ref(), event);
    }
}

/// The request of an object, if it has one.
pub(crate) fn requested_at<O: kube::Resource>(object: &O) -> Option<&str> {
    object.annotations().get(RECONCILE_REQUESTED_AT).map(String::as_str)
}
