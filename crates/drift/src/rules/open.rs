//! Open drift: drift of one Kustomization that is not corrected, and what was reported of it.
//!
//! A state machine over findings: each step returns the events that it causes. Drift that is corrected within
//! [`GRACE`] is reported once, as corrected, and never appears in a status.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use plumb_manifests::ObjectId;
use plumb_status::{Reason, Severity};

use crate::rules::contention::{Dispute, later};
use plumb_api::kustomize::DriftClass;

use crate::rules::event::DriftEvent;
use crate::rules::finding::Finding;
use crate::rules::message;

/// Drift corrected within this time is reported once, as corrected.
pub const GRACE: Duration = Duration::from_secs(5);

/// Open drift is reported again after this time.
pub const REPORT_AGAIN: Duration = Duration::from_hours(24);

/// Whether drift is reported at once or only if it is not corrected soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportAfter {
    /// It stays open by decision (warn, suspended, a controller's field): reported at once.
    AtOnce,
    /// A correction is under way: reported only when it is open longer than [`GRACE`].
    AfterGrace,
}

/// Drift of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What was found last.
    pub finding: Finding,
    /// Time since which the object has drifted.
    pub since: Timestamp,
    /// Why it is not corrected, in words.
    pub why: String,
    /// Time from which it is reported and listed in the status.
    visible_from: Timestamp,
    /// The last report and its time.
    reported: Option<Reported>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reported {
    class: DriftClass,
    paths: Vec<String>,
    at: Timestamp,
}

/// All open drift of one Kustomization.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenDrift {
    objects: BTreeMap<ObjectId, Drift>,
    /// Drift reported before a restart, from the status: not reported again as new.
    recorded: BTreeMap<ObjectId, (Timestamp, Reported)>,
    changed_at: Option<Timestamp>,
    revision: String,
}

impl OpenDrift {
    /// The revision that every event names.
    pub fn set_revision(&mut self, revision: &str) {
        revision.clone_into(&mut self.revision);
    }

    /// The revision that every event names.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Records drift that was reported before a restart.
    pub fn remember(&mut self, id: ObjectId, class: DriftClass, since: Timestamp, mut paths: Vec<String>) {
        paths.sort();
        self.recorded.insert(id, (since, Reported { class, paths, at: since }));
    }

    /// Drift that is not corrected now.
    pub fn open(
        &mut self,
        id: &ObjectId,
        finding: Finding,
        why: &str,
        telltime: ReportAfter,
        now: Timestamp,
    ) -> Vec<DriftEvent> {
        let recorded = self.recorded.remove(id);
        let before = self.objects.remove(id);
        let since = before
            .as_ref()
            .map(|drift| drift.since)
            .or_else(|| recorded.as_ref().map(|(since, _)| *since))
            .unwrap_or(finding.seen);
        let visible_from = match (telltime, &before) {
            (ReportAfter::AtOnce, _) => now,
            (ReportAfter::AfterGrace, Some(drift)) => drift.visible_from,
            (ReportAfter::AfterGrace, None) => later(since, GRACE),
        };
        let reported = before
            .as_ref()
            .and_then(|drift| drift.reported.clone())
            .or(recorded.map(|(_, reported)| reported));
        let same = before.as_ref().is_some_and(|drift| drift.finding == finding);
        if !same {
            self.changed_at = Some(now);
        }
        let drift = Drift { finding, since, why: why.to_owned(), visible_from, reported };
        self.objects.insert(id.clone(), drift);
        self.report(id, now).into_iter().collect()
    }

    /// A correction was made. `found` is what was corrected; its drift is no longer open.
    pub fn corrected(
        &mut self,
        id: &ObjectId,
        found: &Finding,
        took: Duration,
        overwritten_by: Option<&str>,
        now: Timestamp,
    ) -> Vec<DriftEvent> {
        let remembered = self.recorded.remove(id).map(|(since, _)| since);
        let since = self.take(id, now).map(|drift| drift.since).or(remembered).unwrap_or(found.seen);
        let text = message::corrected(id, found, took, overwritten_by, now);
        vec![DriftEvent::new(id, found, since, &self.revision, Reason::DriftCorrected, text)]
    }

    /// All was corrected but the fields of a controller: their drift stays open, and is reported if it is new.
    pub fn corrected_in_part(
        &mut self,
        id: &ObjectId,
        found: &Finding,
        took: Duration,
        rest: (Finding, &str),
        now: Timestamp,
    ) -> Vec<DriftEvent> {
        let text = message::corrected(id, found, took, None, now);
        let mut reported =
            vec![DriftEvent::new(id, found, found.seen, &self.revision, Reason::DriftCorrected, text)];
        reported.extend(self.open(id, rest.0, rest.1, ReportAfter::AtOnce, now));
        reported
    }

    /// The object matches Git without a correction.
    pub fn clean(&mut self, id: &ObjectId, now: Timestamp) -> Vec<DriftEvent> {
        let recorded = self.recorded.remove(id).map(|(since, reported)| (since, reported.class));
        let previous = self.take(id, now).map(|drift| (drift.since, drift.finding));
        let (since, finding) = match (previous, recorded) {
            (Some((since, finding)), _) => (since, finding),
            (None, Some((since, class))) => {
                (since, Finding { class, fields: Vec::new(), obstacle: String::new(), seen: since })
            }
            (None, None) => return Vec::new(),
        };
        let text = message::resolved(id, finding.class, since, now);
        vec![DriftEvent::new(id, &finding, since, &self.revision, Reason::DriftResolved, text)]
    }

    /// Contention that begins.
    pub fn contended(&self, id: &ObjectId, dispute: &Dispute, now: Timestamp) -> DriftEvent {
        DriftEvent::contention(id, dispute, now, &self.revision, message::contention(id, dispute))
    }

    /// Contention that has ended.
    pub fn contention_ended(&self, id: &ObjectId, dispute: &Dispute, now: Timestamp) -> DriftEvent {
        let mut drift_event =
            DriftEvent::contention(id, dispute, now, &self.revision, message::contention_ended(id, dispute));
        drift_event.event.severity = Severity::Info;
        drift_event
    }

    /// The object is no longer managed: nothing is reported.
    pub fn forget(&mut self, id: &ObjectId, now: Timestamp) {
        self.recorded.remove(id);
        self.take(id, now);
    }

    /// Drops objects that are no longer managed.
    pub fn retain(&mut self, keeps: impl Fn(&ObjectId) -> bool, now: Timestamp) {
        let gone: Vec<ObjectId> =
            self.objects.keys().chain(self.recorded.keys()).filter(|id| !keeps(id)).cloned().collect();
        for id in gone {
            self.forget(&id, now);
        }
    }

    /// Due events: the grace has ended, or a repeated report is due.
    pub fn due(&mut self, now: Timestamp) -> Vec<DriftEvent> {
        let ids: Vec<ObjectId> = self.objects.keys().cloned().collect();
        ids.iter().filter_map(|id| self.report(id, now)).collect()
    }

    /// When [`Self::due`] has something next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.objects
            .values()
            .map(|drift| match &drift.reported {
                Some(reported) if reported.matches(&drift.finding) => later(reported.at, REPORT_AGAIN),
                Some(_) | None => drift.visible_from,
            })
            .min()
    }

    /// Whether the drift of the object is open, reported or not.
    pub fn is_open(&self, id: &ObjectId) -> bool {
        self.objects.contains_key(id)
    }

    /// The open drift of the object.
    pub fn get(&self, id: &ObjectId) -> Option<&Drift> {
        self.objects.get(id)
    }

    /// Every object with open drift, reported or not.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys()
    }

    /// Drift that is listed in the status at this time.
    pub fn visible(&self, now: Timestamp) -> impl Iterator<Item = (&ObjectId, &Drift)> {
        self.objects.iter().filter(move |(_, drift)| drift.visible_from <= now)
    }

    /// When something changed last.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.changed_at
    }

    fn take(&mut self, id: &ObjectId, now: Timestamp) -> Option<Drift> {
        let taken = self.objects.remove(id);
        if taken.is_some() {
            self.changed_at = Some(now);
        }
        taken
    }

    fn report(&mut self, id: &ObjectId, now: Timestamp) -> Option<DriftEvent> {
        let drift = self.objects.get_mut(id)?;
        let known = drift.reported.as_ref().is_some_and(|reported| {
            reported.matches(&drift.finding) && now < later(reported.at, REPORT_AGAIN)
        });
        if known || now < drift.visible_from {
            return None;
        }
        let finding = &drift.finding;
        drift.reported = Some(Reported { class: finding.class, paths: finding.paths(), at: now });
        let reason = match finding.class {
            DriftClass::Unknown => Reason::DriftUnknown,
            DriftClass::Drifted | DriftClass::Missing | DriftClass::Disowned | DriftClass::Extra => {
                Reason::DriftDetected
            }
        };
        let text = message::detected(id, finding, &drift.why, drift.since, now);
        Some(DriftEvent::new(id, finding, drift.since, &self.revision, reason, text))
    }
}

impl Reported {
    fn matches(&self, finding: &Finding) -> bool {
        self.class == finding.class && self.paths == finding.paths()
    }
}

#[cfg(test)]
mod tests;
