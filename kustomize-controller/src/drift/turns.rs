//! Turns: whose turn it is: times that have come, jobs that may start, and the gate before each write.

use std::sync::Arc;

use plumb_cluster::NamespacedName;
use plumb_manifests::ObjectId;
use plumb_planning::drift::contention::ContentionChange;
use plumb_planning::drift::correction::Situation;
use plumb_planning::drift::{Contention, Finding};
use plumb_planning::plan::Planned;
use tokio::time::Instant;

use super::book::{CompareRequest, Phase};
use super::desk::Shared;
use super::sitting::{Step, Timer};
use super::unverified::PreApplyRead;
use super::{compare, unverified};

/// The part of all looks that may be looks without hurry.
const DEFERRED_PART: usize = 2;

/// One look at one object.
pub(super) struct CompareJob {
    pub key: NamespacedName,
    pub id: ObjectId,
    pub planned: Arc<Planned>,
    pub errand: CompareRequest,
    /// Without the live object's part: whether it is being deleted.
    pub situation: Situation,
    pub epoch: u64,
    pub deferred: bool,
}

/// Whether a job may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteGate {
    Open,
    /// An attempt holds the pen, or has written since the job began.
    Shut,
}

/// Starts what is due until the desk closes.
pub(super) async fn take(shared: Arc<Shared>) {
    let shutdown = shared.deps.shutdown.clone();
    loop {
        let next = {
            let (jobs, glances, next) = shared.sit_down();
            for glance in glances {
                shared.tasks.spawn(unverified::glance(shared.clone(), glance));
            }
            for job in jobs {
                let running = shared.clone();
                shared.tasks.spawn(compare::run(running, job));
            }
            next
        };
        let alarm = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = shared.stir.notified() => {}
            () = alarm => {}
        }
    }
}

impl Shared {
    /// What starts now, and when something is due next.
    fn sit_down(&self) -> (Vec<CompareJob>, Vec<PreApplyRead>, Option<Instant>) {
        // Not `sit`: that would stir the very task that is here.
        let mut state = self.lock();
        let mut sitting = Step::new(self, &mut state);
        sitting.ring();
        let mut jobs = Vec::new();
        while let Some(job) = sitting.next_job() {
            jobs.push(job);
        }
        let post = sitting.close();
        let glances: Vec<PreApplyRead> = state.glances.drain(..).collect();
        state.glancing += glances.len();
        let next = state.times.first().map(|(at, _)| *at);
        drop(state);
        self.pass_on(post);
        (jobs, glances, next)
    }
}

impl Step<'_> {
    /// Times that have come.
    fn ring(&mut self) {
        while let Some((at, _)) = self.state.times.first()
            && *at <= self.at
            && let Some((_, Timer { key, id })) = self.state.times.pop_first()
        {
            match id {
                Some(id) => self.ring_object(&key, &id),
                None => self.ring_book(&key),
            }
        }
    }

    fn ring_object(&mut self, key: &NamespacedName, id: &ObjectId) {
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key) else { return };
        let held = book.holds > 0;
        let Some(kept) = book.objects.get_mut(id) else { return };
        kept.due = None;
        kept.errand.get_or_insert_with(|| CompareRequest::urgent(now));
        // The time that was planned has come, whether or not it is used.
        kept.pace.begin(now);
        if !held && matches!(kept.phase, Phase::Idle | Phase::Deferred) {
            kept.phase = Phase::Queued;
            self.state.ready.push_back((key.clone(), id.clone()));
        }
    }

    fn ring_book(&mut self, key: &NamespacedName) {
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key) else { return };
        book.due = None;
        let tellings = book.standings.due(now);
        let audits = book.audit_at.is_some_and(|at| at <= now);
        self.tell(key, tellings);
        if audits {
            self.audit(key);
        }
        self.touch(key);
    }

    fn next_job(&mut self) -> Option<CompareJob> {
        let most = self.shared.deps.concurrency.max(1);
        while self.state.running < most {
            let (deferred, (key, id)) = if let Some(place) = self.state.ready.pop_front() {
                (false, place)
            } else if self.state.running_deferred < (most / DEFERRED_PART).max(1) {
                (true, self.state.deferred.pop_front()?)
            } else {
                return None;
            };
            if let Some(job) = self.start(key, id, deferred) {
                self.state.running += 1;
                self.state.running_deferred += usize::from(job.deferred);
                return Some(job);
            }
        }
        None
    }

    fn start(&mut self, key: NamespacedName, id: ObjectId, deferred: bool) -> Option<CompareJob> {
        let now = self.now;
        let book = self.state.books.get_mut(&key)?;
        let suspended = book.terms.suspended;
        let held = book.holds > 0;
        let kept = book.objects.get_mut(&id)?;
        // A place in a queue is only a hint: the object may have had its turn already.
        let waits = if deferred { Phase::Deferred } else { Phase::Queued };
        if kept.phase != waits {
            return None;
        }
        kept.phase = Phase::Idle;
        if held {
            return None;
        }
        let errand = kept.errand.take()?;
        if !kept.is_watched() && !errand.restore {
            return None;
        }
        kept.phase = Phase::Running;
        kept.pace.begin(now);
        let situation =
            Situation { mode: kept.mode, suspended, policy: kept.planned.policy, deleting: false };
        let (planned, epoch) = (kept.planned.clone(), kept.epoch);
        self.clear_time(&key, &id);
        Some(CompareJob { key, id, planned, errand, situation, epoch, deferred })
    }

    /// Whether corrections of some field of the object are slowed down.
    pub fn is_contended(&self, job: &CompareJob) -> bool {
        self.contention(job).is_some_and(Contention::is_active)
    }

    /// When an object that differs so may be corrected.
    pub fn turn(&self, job: &CompareJob, finding: &Finding) -> ContentionChange {
        self.contention(job).map_or(ContentionChange::Now, |contention| contention.check(finding, self.now))
    }

    fn contention(&self, job: &CompareJob) -> Option<&Contention> {
        Some(&self.state.books.get(&job.key)?.objects.get(&job.id)?.contention)
    }

    /// Whether a job may write now. An open gate is closed by the job's end.
    pub fn gate(&mut self, job: &CompareJob) -> WriteGate {
        let Some(book) = self.state.books.get_mut(&job.key) else { return WriteGate::Shut };
        if book.holds > 0 || book.terms.suspended {
            return WriteGate::Shut;
        }
        let Some(kept) = book.objects.get_mut(&job.id).filter(|kept| kept.epoch == job.epoch) else {
            return WriteGate::Shut;
        };
        if !job.errand.restore && kept.mode != job.situation.mode {
            return WriteGate::Shut;
        }
        book.writing += 1;
        WriteGate::Open
    }
}
