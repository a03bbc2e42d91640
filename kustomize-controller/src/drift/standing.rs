//! Standing: what is said of a Kustomization's drift as a whole, and when it has to be said anew.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use plumb_api::kustomize::DriftStatus;
use plumb_cluster::NamespacedName;
use plumb_manifests::ObjectId;
use plumb_planning::drift::{Due, report};
use plumb_status::Detail;
use tokio::time::Instant;

use super::book::KustomizationState;
use super::sitting::{Step, Timer};

/// What stands.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftReport {
    /// The condition `Drifted`; it is removed when nothing stands.
    pub condition: Option<Detail>,
    /// `status.drift`.
    pub drift: Option<DriftStatus>,
    /// The objects that stand.
    pub flagged: BTreeSet<ObjectId>,
}

impl DriftReport {
    /// `None` until everything that the status of before a restart names was compared.
    pub(super) fn of(book: &KustomizationState, now: Timestamp) -> Option<Self> {
        if !book.adopted || !book.recalled.is_empty() {
            return None;
        }
        let restored = book.restored.as_deref();
        Some(Self {
            condition: report::condition(&book.standings, now),
            drift: report::status(&book.standings, restored, now),
            flagged: book.standings.visible(now).map(|(id, _)| id.clone()).collect(),
        })
    }
}

/// Books of up to so many objects are reviewed after each thing that happens; larger ones every [`REVIEW_PAUSE`].
const REVIEWED_AT_ONCE: usize = 256;
/// The pause between two reviews of a large book: a review looks at all its objects.
const REVIEW_PAUSE: SignedDuration = SignedDuration::from_millis(100);

impl Step<'_> {
    /// Whether a book is reviewed now; if not, its time is set.
    pub fn may_review(&mut self, key: &NamespacedName) -> bool {
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key) else { return false };
        let next = book.reviewed_at.map_or(now, |at| at.saturating_add(REVIEW_PAUSE).unwrap_or(now));
        if book.objects.len() <= REVIEWED_AT_ONCE || next <= now {
            book.reviewed_at = Some(now);
            return true;
        }
        let at = self.instant(next);
        if self.state.books.get(key).is_some_and(|book| book.due.is_none_or(|due| due > at)) {
            self.set_book_time(key, Some(at));
        }
        false
    }

    /// Looks at a book after something happened to it: what to tell, what to report, when to come back.
    pub fn review(&mut self, key: &NamespacedName) {
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key) else { return };
        if book.restoring.as_ref().is_some_and(|restoring| restoring.left.is_empty()) {
            book.restored = book.restoring.take().map(|restoring| restoring.raw);
        }
        let events = book.burst.due(now);
        let changed = book.report(now);
        book.count(key, &self.shared.deps.metrics, now);
        self.send(key, events);
        if changed {
            self.changed(key);
        }
        self.schedule(key);
    }

    fn schedule(&mut self, key: &NamespacedName) {
        let Some(book) = self.state.books.get(key) else { return };
        let next = [book.burst.next_due(), book.standings.next_due(), book.report_at, book.audit_at];
        let due = next.into_iter().flatten().min().map(|when| self.instant(when));
        self.set_book_time(key, due);
    }

    fn set_book_time(&mut self, key: &NamespacedName, due: Option<Instant>) {
        let place = Timer { key: key.clone(), id: None };
        let Some(book) = self.state.books.get_mut(key) else { return };
        if book.due == due {
            return;
        }
        if let Some(before) = std::mem::replace(&mut book.due, due) {
            self.state.times.remove(&(before, place.clone()));
        }
        self.state.times.extend(due.map(|due| (due, place)));
    }
}

impl KustomizationState {
    /// Whether what is reported is another now; said as the pace of reports allows.
    fn report(&mut self, now: Timestamp) -> bool {
        if self.report_at.is_some_and(|at| at > now) {
            return false;
        }
        let Some(standing) = DriftReport::of(self, now) else { return false };
        let report = Some((standing.condition, standing.drift));
        if report == self.reported {
            self.report_at = None;
            return false;
        }
        match self.report_at {
            Some(_) => self.report_pace.begin(now),
            None => match self.report_pace.ask(now) {
                Due::Now => {}
                Due::At(at) => {
                    self.report_at = Some(at);
                    return false;
                }
                Due::Joined => self.report_pace.begin(now),
            },
        }
        self.report_at = None;
        self.reported = report;
        true
    }

    fn count(&mut self, key: &NamespacedName, metrics: &super::DriftMetrics, now: Timestamp) {
        let unverified =
            self.objects.values().filter(|kept| kept.is_watched() && kept.record.is_none()).count();
        let counts = (self.objects.len(), unverified);
        metrics.counted(self.counted, counts);
        self.counted = counts;
        metrics.standing(key, self.standings.visible(now).map(|(_, stand)| stand.finding.class));
    }
}
