//! The result of a comparison: what is recorded of the object, what is reported, and when it is compared again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plumb_planning::prune::SkipReason;
use plumb_status::cadence::Backoff;

use super::input::{CompareAgain, CompareJob, LookFailure, Measurement, OpenOutcome, Outcome};
use super::object::{CompareRequest, TrackedObject};
use super::owner::OwnerState;
use super::{State, Step};
use crate::rules::contention::Dispute;
use crate::rules::open::ReportAfter;
use crate::rules::{DriftEvent, Finding, OpenDrift};

/// The first pause after a failure; it doubles, up to the interval.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause while the API server does not respond.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(15);
/// Failures in a row that pass by themselves before they are reported.
const FAILURES_UNREPORTED: u32 = 3;

/// What a look leads to.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub events: Vec<DriftEvent>,
    /// When the object is compared again.
    pub again: Option<Timestamp>,
    /// The look counts for nothing: the same again.
    pub repeat: bool,
    /// Nothing was found out, and that passes: what waits for a comparison still does.
    pub undecided: bool,
    pub measured: Option<Measurement>,
}

impl State {
    /// A namespace is there (again): objects that failed without it are retried at once.
    pub(super) fn end_backoffs_in(&mut self, namespace: &str, step: &mut Step) {
        let mut waiting = Vec::new();
        for (owner_ref, owner) in &mut self.owners {
            let inside = owner.objects.iter_mut().filter(|(id, _)| id.namespace == namespace);
            for (id, object) in inside.filter(|(_, object)| object.failures > 0 && object.due.is_some()) {
                object.failures = 0;
                waiting.push((owner_ref.clone(), id.clone()));
            }
        }
        for (owner, id) in waiting {
            self.request(&owner, &id, CompareRequest::urgent(step.now), step.now);
        }
    }
}

/// Takes the outcome of a look into what is known.
pub(super) fn settle(owner: &mut OwnerState, job: &CompareJob, outcome: Outcome, now: Timestamp) -> Settled {
    let OwnerState { objects, open, policy, .. } = owner;
    let Some(object) = objects.get_mut(&job.id) else { return Settled::default() };
    let mut settled = Settled::default();
    match outcome {
        Outcome::Clean { live, lacks_fields } => {
            calm_down(object);
            let watchfulness = if lacks_fields { object.flagged() } else { object.calm() };
            object.remember(&live, watchfulness);
            settled.events = open.clean(&job.id, now);
            if let Some(dispute) = object.contention.ended(now) {
                settled.events.push(open.contention_ended(&job.id, &dispute, now));
            }
            settled.again = object.contention.next_end();
        }
        Outcome::Corrected { finding, live, rest } => {
            calm_down(object);
            let dispute = dispute(object, open, job, &finding, policy.interval, now);
            settled.again = object.contention.next_end();
            let watchfulness = if rest.is_some() { object.flagged() } else { object.calm() };
            object.remember(&live, watchfulness);
            let took = Duration::try_from(now.duration_since(job.request.arrived)).unwrap_or_default();
            settled.measured = Some(Measurement::Corrected(job.owner.clone(), took));
            settled.events = match rest {
                None => open.corrected(&job.id, &finding, took, None, now),
                Some(rest) => {
                    object.held_by_controller = true;
                    let manager = rest.managers().first().copied().unwrap_or_default().to_owned();
                    let why = SkipReason::HeldByController(manager).to_string();
                    open.corrected_in_part(&job.id, &finding, took, (rest, &why), now)
                }
            };
            settled.events.extend(dispute.map(|dispute| open.contended(&job.id, &dispute, now)));
        }
        Outcome::Open(outcome) => {
            let OpenOutcome { finding, live, why, report, again, held_by_controller } = *outcome;
            match &live {
                Some(live) => {
                    let flagged = object.flagged();
                    object.remember(live, flagged);
                }
                None => object.remember_absence(),
            }
            object.held_by_controller = held_by_controller;
            settled.again = look_again(object, again, policy.interval, now);
            settled.events.extend(open.open(&job.id, finding, &why, report, now));
        }
        Outcome::Vanished => {
            calm_down(object);
            object.remember_absence();
            settled.events = open.clean(&job.id, now);
        }
        Outcome::Deleting { live } => {
            let flagged = object.flagged();
            object.remember(&live, flagged);
            settled.events = open.clean(&job.id, now);
        }
        Outcome::Postponed => settled.repeat = true,
        Outcome::Failed(failure) => fail(object, open, job, failure, policy.interval, now, &mut settled),
        Outcome::Abandoned => {
            settled.undecided = true;
            settled.again = look_again(object, CompareAgain::Backoff, policy.interval, now);
        }
    }
    settled
}

fn fail(
    object: &mut TrackedObject,
    open: &mut OpenDrift,
    job: &CompareJob,
    failure: LookFailure,
    interval: Duration,
    now: Timestamp,
    settled: &mut Settled,
) {
    let LookFailure { message, denied, passing, away } = failure;
    settled.undecided = passing;
    let again = if denied { CompareAgain::Interval } else { CompareAgain::Backoff };
    // That the API server is away has nothing to do with the object.
    let most = if away { interval.min(AWAY_PAUSE_MAX) } else { interval };
    settled.again = look_again(object, again, most, now);
    if !passing || object.failures >= FAILURES_UNREPORTED {
        let finding = Finding::unknown(message, job.request.arrived);
        settled.events = open.open(&job.id, finding, "", ReportAfter::AtOnce, now);
    }
}

/// Contention that begins with a correction. A requested restore is none.
fn dispute(
    object: &mut TrackedObject,
    open: &OpenDrift,
    job: &CompareJob,
    finding: &Finding,
    interval: Duration,
    now: Timestamp,
) -> Option<Dispute> {
    // It may have been open while its correction waited.
    let since = open.get(&job.id).map_or(finding.seen, |drift| drift.since.min(finding.seen));
    if job.request.restore { None } else { object.contention.corrected(finding, since, now, interval) }
}

fn calm_down(object: &mut TrackedObject) {
    object.failures = 0;
    object.held_by_controller = false;
}

fn look_again(
    object: &mut TrackedObject,
    again: CompareAgain,
    interval: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let most = interval.max(PAUSE_FIRST);
    let wait = match again {
        CompareAgain::Never => {
            object.failures = 0;
            return None;
        }
        CompareAgain::At(at) => return Some(at),
        CompareAgain::Interval => most,
        CompareAgain::Backoff => {
            object.failures = object.failures.saturating_add(1);
            Backoff { min: PAUSE_FIRST, max: most }.without_jitter(object.failures)
        }
    };
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok())
}
