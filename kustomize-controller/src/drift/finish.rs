//! Finish: what a look leads to: what is remembered of the object, what is told, and when it is looked at again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plumb_cluster::RequestError;
use plumb_planning::drift::contention::Dispute;
use plumb_planning::drift::standing::ReportAfter;
use plumb_planning::drift::{DriftEvent, Finding, OpenDrift};
use plumb_planning::prune::WhyNot;

use super::book::{CompareRequest, KustomizationState, Phase, TrackedObject};
use super::compare::{CompareAgain, Outcome, Stands};
use super::sitting::Step;
use super::turns::CompareJob;

/// The first pause after a failure; it doubles, up to the interval.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause while the API server does not answer.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(15);
/// Doublings at most.
const DOUBLINGS_MAX: u32 = 16;
/// Failures in a row that pass by themselves before they are told.
const FAILURES_UNTOLD: u32 = 3;

impl Step<'_> {
    /// A job ended.
    pub fn finish(&mut self, job: &CompareJob, outcome: Outcome, wrote: bool, detected: Option<Duration>) {
        self.state.running = self.state.running.saturating_sub(1);
        self.state.running_deferred = self.state.running_deferred.saturating_sub(usize::from(job.deferred));
        let now = self.now;
        let Some(book) = self.state.books.get_mut(&job.key) else { return };
        if wrote {
            book.writing = book.writing.saturating_sub(1);
        }
        let suspended = book.terms.suspended;
        let Some(kept) = book.objects.get_mut(&job.id) else { return };
        kept.phase = Phase::Idle;
        // Other terms, or an attempt, came in between: what was decided under the old ones is worth nothing.
        let overtaken = kept.epoch != job.epoch
            || kept.mode != job.situation.mode
            || suspended != job.situation.suspended;
        if overtaken && !matches!(outcome, Outcome::Corrected { .. }) {
            kept.errand = Some(CompareRequest::joined(kept.errand.take(), job.errand));
            self.catch_up(&job.key, &job.id);
            return;
        }
        if let (Some(detected), false) = (detected, job.errand.background) {
            self.shared.deps.metrics.detected(detected);
        }
        let mut settled = Settled { tellings: Vec::new(), again: None };
        settle(book, job, outcome, now, &mut settled, &self.shared.deps.metrics);
        if settled.again != Some(now) {
            book.recalled.remove(&job.id);
            if let (Some(restoring), true) = (&mut book.restoring, job.errand.restore) {
                restoring.left.remove(&job.id);
            }
        }
        self.tell(&job.key, settled.tellings);
        match settled.again {
            Some(again) if again <= now => {
                if let Some(kept) =
                    self.state.books.get_mut(&job.key).and_then(|book| book.objects.get_mut(&job.id))
                {
                    kept.errand = Some(CompareRequest::joined(kept.errand.take(), job.errand));
                }
            }
            Some(again) => self.set_time(&job.key, &job.id, again),
            None => {}
        }
        self.catch_up(&job.key, &job.id);
        self.touch(&job.key);
    }
}

struct Settled {
    tellings: Vec<DriftEvent>,
    /// When it is looked at again; now: the look counts for nothing.
    again: Option<Timestamp>,
}

fn settle(
    book: &mut KustomizationState,
    job: &CompareJob,
    outcome: Outcome,
    now: Timestamp,
    settled: &mut Settled,
    metrics: &super::DriftMetrics,
) {
    let KustomizationState { objects, standings, terms, .. } = book;
    let Some(kept) = objects.get_mut(&job.id) else { return };
    match outcome {
        Outcome::Clean { live, lacks } => {
            calm_down(kept);
            let watchfulness = if lacks { kept.flagged() } else { kept.calm() };
            kept.remember(&live, watchfulness);
            settled.tellings = standings.clean(&job.id, now);
            if let Some(dispute) = kept.contention.ended(now) {
                settled.tellings.push(standings.contention_ended(&job.id, &dispute, now));
            }
            settled.again = kept.contention.next_end();
        }
        Outcome::Corrected { finding, live, rest } => {
            calm_down(kept);
            let dispute = dispute(kept, standings, job, &finding, terms.interval, now);
            settled.again = kept.contention.next_end();
            let watchfulness = if rest.is_some() { kept.flagged() } else { kept.calm() };
            kept.remember(&live, watchfulness);
            let took = Duration::try_from(now.duration_since(job.errand.arrived)).unwrap_or_default();
            metrics.corrected(&job.key, took);
            settled.tellings = match rest {
                None => standings.corrected(&job.id, &finding, took, None, now),
                Some(rest) => {
                    kept.taken = true;
                    let manager = rest.managers().first().copied().unwrap_or_default().to_owned();
                    let why = WhyNot::HeldByController(manager).to_string();
                    standings.corrected_in_part(&job.id, &finding, took, (rest, &why), now)
                }
            };
            settled.tellings.extend(dispute.map(|dispute| standings.contended(&job.id, &dispute, now)));
        }
        Outcome::Stands(stands) => {
            let Stands { finding, live, why, telltime, retry, taken } = *stands;
            match &live {
                Some(live) => {
                    let flagged = kept.flagged();
                    kept.remember(live, flagged);
                }
                None => kept.remember_absence(),
            }
            kept.taken = taken;
            settled.again = again(kept, retry, terms.interval, now);
            settled.tellings.extend(standings.open(&job.id, finding, &why, telltime, now));
        }
        Outcome::Vanished => {
            calm_down(kept);
            kept.remember_absence();
            settled.tellings = standings.clean(&job.id, now);
        }
        Outcome::Going { live } => {
            let flagged = kept.flagged();
            kept.remember(&live, flagged);
            settled.tellings = standings.clean(&job.id, now);
        }
        Outcome::Postponed => settled.again = Some(now),
        Outcome::Failed(error) => {
            let retry = if is_denied(&error) { CompareAgain::Interval } else { CompareAgain::Backoff };
            // That the API server is away has nothing to do with the object.
            let most = if error.is_away() { terms.interval.min(AWAY_PAUSE_MAX) } else { terms.interval };
            settled.again = again(kept, retry, most, now);
            if !error.is_passing() || kept.failures >= FAILURES_UNTOLD {
                let finding = Finding::unknown(error.to_string(), job.errand.arrived);
                settled.tellings = standings.open(&job.id, finding, "", ReportAfter::AtOnce, now);
            }
        }
        Outcome::Abandoned => settled.again = again(kept, CompareAgain::Backoff, terms.interval, now),
    }
}

/// Contention that begins with a correction. What a person asks for is none.
fn dispute(
    kept: &mut TrackedObject,
    standings: &OpenDrift,
    job: &CompareJob,
    finding: &Finding,
    interval: Duration,
    now: Timestamp,
) -> Option<Dispute> {
    // It may have stood while its correction waited.
    let since = standings.get(&job.id).map_or(finding.seen, |stand| stand.since.min(finding.seen));
    if job.errand.restore { None } else { kept.contention.corrected(finding, since, now, interval) }
}

fn calm_down(kept: &mut TrackedObject) {
    kept.failures = 0;
    kept.taken = false;
}

fn again(
    kept: &mut TrackedObject,
    retry: CompareAgain,
    interval: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let most = interval.max(PAUSE_FIRST);
    let wait = match retry {
        CompareAgain::Never => {
            kept.failures = 0;
            return None;
        }
        CompareAgain::At(at) => return Some(at),
        CompareAgain::Interval => most,
        CompareAgain::Backoff => {
            let pause = PAUSE_FIRST.saturating_mul(1 << kept.failures.min(DOUBLINGS_MAX)).min(most);
            kept.failures = kept.failures.saturating_add(1);
            pause
        }
    };
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok())
}

fn is_denied(error: &RequestError) -> bool {
    error.refusal().is_some_and(|refusal| matches!(refusal.code, 401 | 403))
}
