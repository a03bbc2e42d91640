//! One owner: its objects, its open drift, and what was reported of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plumb_api::kustomize::{DriftMode, DriftStatus};
use plumb_manifests::{Object, ObjectId};
use plumb_status::Detail;

use super::input::{DriftPolicy, Kind, OwnerRef};
use super::object::{TrackedObject, is_unverified};
use super::pre_apply::BeforeApply;
use crate::rules::{Due, EventAggregator, OpenDrift, ReportPace, correction, report};

/// Owners of up to so many objects are reviewed after each input; larger ones every [`REVIEW_PAUSE`].
const REVIEWED_AT_ONCE: usize = 256;
/// The pause between two reviews of a large owner: a review reads all its objects.
const REVIEW_PAUSE: SignedDuration = SignedDuration::from_millis(100);

/// Interval of the full comparison, regardless of watches; up to a tenth is added by a hash of the owner's name.
const AUDIT_EVERY: Duration = Duration::from_hours(24);

/// What is reported of an owner's drift as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftReport {
    /// The condition `Drifted`; it is removed when there is no open drift.
    pub condition: Option<Detail>,
    /// `status.drift`.
    pub drift: Option<DriftStatus>,
}

/// One owner.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnerState {
    /// Whether its objects are known: false after a restart.
    pub adopted: bool,
    pub policy: DriftPolicy,
    pub objects: BTreeMap<ObjectId, TrackedObject>,
    /// The kinds of those that are watched, as they were counted.
    pub kinds: BTreeSet<Kind>,
    pub open: OpenDrift,
    pub aggregator: EventAggregator,
    /// IDs that the status of before the restart names, not compared yet: until then nothing new is reported of the whole.
    pub remembered: BTreeSet<ObjectId>,
    /// What an apply is about to overwrite.
    pub before_apply: BTreeMap<ObjectId, BeforeApply>,
    /// How many attempts hold it.
    pub holds: usize,
    /// Objects whose corrections are in flight, by incarnation.
    pub writing: BTreeSet<u64>,
    /// The request for a restore that was handled last.
    pub restored: Option<String>,
    pub restoring: Option<Restoring>,
    /// The last report; `None`: nothing by this process, and the status has one of an earlier process.
    pub reported: Option<(Option<Detail>, Option<DriftStatus>)>,
    pub report_pace: ReportPace,
    /// When the report is tried again because it was rate-limited.
    pub report_at: Option<Timestamp>,
    pub audit_at: Option<Timestamp>,
    reviewed_at: Option<Timestamp>,
    /// When it is reviewed again without a further input.
    pub due: Option<Timestamp>,
    /// How many objects are managed and how many of them are unverified, as they were counted.
    pub counted: (usize, usize),
}

/// A restore under way.
#[derive(Debug, Clone)]
pub(super) struct Restoring {
    pub raw: String,
    pub left: BTreeSet<ObjectId>,
}

impl OwnerState {
    /// One of which nothing was ever reported.
    pub fn unreported() -> Self {
        Self { reported: Some((None, None)), ..Self::default() }
    }

    /// `None` until everything that the status of before a restart names was compared.
    pub fn report(&self, now: Timestamp) -> Option<DriftReport> {
        if !self.adopted || !self.remembered.is_empty() {
            return None;
        }
        Some(DriftReport {
            condition: report::condition(&self.open, now),
            drift: report::status(&self.open, self.restored.as_deref(), now),
        })
    }

    /// When it may be reviewed: now, or at a later time where it was reviewed just before.
    pub fn review_at(&self, now: Timestamp) -> Timestamp {
        let next = self.reviewed_at.map_or(now, |at| at.saturating_add(REVIEW_PAUSE).unwrap_or(now));
        if self.objects.len() <= REVIEWED_AT_ONCE { now } else { next.max(now) }
    }

    /// It is reviewed now.
    pub fn note_review(&mut self, now: Timestamp) {
        self.reviewed_at = Some(now);
        if self.restoring.as_ref().is_some_and(|restoring| restoring.left.is_empty()) {
            self.restored = self.restoring.take().map(|restoring| restoring.raw);
        }
    }

    /// Whether this report is to be written: it differs from the last one, and the rate limit of reports allows it.
    pub fn is_due(&mut self, report: &DriftReport, now: Timestamp) -> bool {
        if self.report_at.is_some_and(|at| at > now) {
            return false;
        }
        let new = Some((report.condition.clone(), report.drift.clone()));
        if new == self.reported {
            self.report_at = None;
            return false;
        }
        match self.report_at {
            Some(_) => self.report_pace.begin(now),
            None => match self.report_pace.request(now) {
                Due::Now => {}
                Due::At(at) => {
                    self.report_at = Some(at);
                    return false;
                }
                Due::Joined => self.report_pace.begin(now),
            },
        }
        self.report_at = None;
        self.reported = new;
        true
    }

    /// Managed and unverified objects now.
    pub fn count(&self) -> (usize, usize) {
        (self.objects.len(), self.objects.iter().filter(is_unverified).count())
    }

    /// When something is due of the whole.
    pub fn next_due(&self) -> Option<Timestamp> {
        let next = [self.aggregator.next_due(), self.open.next_due(), self.report_at, self.audit_at];
        next.into_iter().flatten().min()
    }

    /// The mode of an object. One that cannot be read is never taken for `enabled`.
    pub fn mode_of(&self, desired: &Object) -> DriftMode {
        correction::mode_of(self.policy.mode, desired).unwrap_or(DriftMode::Warn)
    }

    /// An object had its turn in a restore.
    pub fn note_restored(&mut self, id: &ObjectId) {
        if let Some(restoring) = &mut self.restoring {
            restoring.left.remove(id);
        }
    }
}

/// Spread by name, so that a restart does not bring all audits at once.
pub(super) fn next_audit(owner: &OwnerRef, now: Timestamp) -> Timestamp {
    let name = &owner.name;
    let spread = name
        .name
        .bytes()
        .chain(name.namespace.bytes())
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let wait = AUDIT_EVERY + AUDIT_EVERY.mul_f64(f64::from(spread % 1000) / 10_000.0);
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(now)
}
