//! Keeping: what the desk takes over from an attempt, and under which terms; and how it lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plumb_api::kustomize::DriftStatus;
use plumb_apply::{Action, ObjectChange};
use plumb_cluster::{KINDS_MAX, NamespacedName};
use plumb_manifests::ObjectId;
use plumb_planning::drift::record::Via;
use plumb_planning::drift::{Class, DriftEvent, Mode, Seen, report};
use plumb_planning::plan::Planned;
use tokio_util::sync::CancellationToken;

use super::book::{CompareRequest, DriftPolicy, Kind, Late, Managed, Phase, TrackedObject, mode_of};
use super::sitting::{Step, Timer};

/// How often everything is compared, whatever the watches say; up to a tenth is added by chance of the name.
const AUDIT_EVERY: Duration = Duration::from_hours(24);

impl Step<'_> {
    /// Takes over what is desired and what was done. `unverified`: nothing was done, and nothing is known.
    pub fn adopt(&mut self, key: &NamespacedName, managed: Managed, unverified: bool) {
        let Managed { terms, objects, changes } = managed;
        let terms = self.in_force(key, terms);
        let mut changes: BTreeMap<ObjectId, ObjectChange> =
            changes.into_iter().map(|change| (change.id.clone(), change)).collect();
        let book = self.book(key);
        book.adopted = true;
        book.standings.set_revision(&terms.revision);
        book.terms = terms;
        let mut before = std::mem::take(&mut book.objects);
        let mut tellings = Vec::new();
        let mut unseen = Vec::new();
        for planned in objects {
            let id = planned.id.clone();
            let change = changes.remove(&id);
            let Some(kept) = self.take(key, planned, before.remove(&id), change, unverified, &mut tellings)
            else {
                continue;
            };
            if kept.record.is_none() {
                unseen.push(id.clone());
            }
            self.state.enter(&id, key);
            self.book(key).objects.insert(id, kept);
        }
        for (id, kept) in before {
            self.let_go(key, &id, kept.due);
        }
        let (now, book) = (self.now, self.book(key));
        book.witnessed.clear();
        let kept: BTreeSet<ObjectId> = book.objects.keys().cloned().collect();
        book.standings.retain(|id| kept.contains(id), now);
        book.recalled.retain(|id| kept.contains(id));
        if let Some(restoring) = &mut book.restoring {
            restoring.left.retain(|id| kept.contains(id));
        }
        if book.audit_at.is_none() {
            book.audit_at = Some(next_audit(key, now));
        }
        for id in unseen {
            self.request(key, &id, CompareRequest::quiet(now));
        }
        self.tell(key, tellings);
        self.watch_kinds(key);
    }

    fn take(
        &mut self,
        key: &NamespacedName,
        planned: Planned,
        before: Option<TrackedObject>,
        change: Option<ObjectChange>,
        unverified: bool,
        tellings: &mut Vec<DriftEvent>,
    ) -> Option<TrackedObject> {
        let now = self.now;
        let book = self.book(key);
        let mode = mode_of(&book.terms, &planned);
        let Some(change) = change else {
            // Not applied: what was applied before is still what counts.
            let mut kept = match before {
                Some(kept) => kept,
                None if unverified => TrackedObject::new(planned, mode),
                None => return None,
            };
            kept.mode = mode_of(&book.terms, &kept.planned);
            return Some(kept);
        };
        let id = &change.id;
        let moved = before.as_ref().is_none_or(|kept| kept.planned.digest != planned.digest);
        let revision = moved.then(|| book.terms.revision.clone());
        book.recalled.remove(id);
        if let Some(restoring) = &mut book.restoring {
            restoring.left.remove(id);
        }
        let stood = book.standings.get(id).map(|stand| (stand.finding.clone(), stand.since));
        let witnessed = book.witnessed.remove(id).filter(|one| one.is_overwritten_by(&change.live));
        let witnessed = witnessed.map(|one| (one.finding.clone(), one.finding.seen));
        let found = stood.or(witnessed);
        match (found, &change.action) {
            (Some((finding, since)), Action::Created | Action::Configured) => {
                let took = Duration::try_from(now.duration_since(since)).unwrap_or_default();
                tellings.extend(book.standings.corrected(id, &finding, took, revision.as_deref(), now));
            }
            (_, Action::Unchanged) => tellings.extend(book.standings.clean(id, now)),
            (None, _) | (Some(_), Action::Skipped(_)) => {}
        }
        let mut kept = TrackedObject::new(planned, mode);
        if let Some(before) = before {
            // A job that is under way comes back to find that it was overtaken.
            kept.epoch = before.epoch + 1;
            kept.phase = before.phase;
            kept.late = before.late;
            // What Git says now may be what the other manager wants.
            if !moved {
                kept.contention = before.contention;
            }
            if let Some(due) = before.due {
                self.state.times.remove(&(due, Timer { key: key.clone(), id: Some(change.id.clone()) }));
            }
        }
        let calm = kept.calm();
        kept.remember(&change.live, calm);
        Some(kept)
    }

    /// What is no longer desired is no longer ours to compare.
    fn let_go(&mut self, key: &NamespacedName, id: &ObjectId, due: Option<tokio::time::Instant>) {
        self.state.strike(id, key);
        if let Some(due) = due {
            self.state.times.remove(&(due, Timer { key: key.clone(), id: Some(id.clone()) }));
        }
    }

    /// Takes other terms.
    pub fn conduct(&mut self, key: &NamespacedName, mode: Mode, suspended: bool, interval: Duration) {
        self.state.unreadable.remove(key);
        let Some(book) = self.state.books.get(key).filter(|book| book.adopted) else { return };
        let terms = DriftPolicy { mode, suspended, interval, ..book.terms.clone() };
        self.set_terms(key, terms);
    }

    /// Nothing is put back until the Kustomization can be read again.
    pub fn suspend_unreadable(&mut self, key: &NamespacedName) {
        self.state.unreadable.insert(key.clone());
        if let Some(book) = self.state.books.get(key).filter(|book| book.adopted) {
            let terms = book.terms.clone();
            self.set_terms(key, terms);
        }
    }

    /// Terms as they count: what cannot be read is suspended.
    fn in_force(&self, key: &NamespacedName, terms: DriftPolicy) -> DriftPolicy {
        DriftPolicy { suspended: terms.suspended || self.state.unreadable.contains(key), ..terms }
    }

    /// Mode, suspension, interval or revision may have changed.
    pub fn set_terms(&mut self, key: &NamespacedName, terms: DriftPolicy) {
        let terms = self.in_force(key, terms);
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key).filter(|book| book.adopted) else { return };
        if book.terms == terms {
            return;
        }
        book.standings.set_revision(&terms.revision);
        let resumed = book.terms.suspended != terms.suspended;
        book.terms = terms;
        let mut again = Vec::new();
        for (id, kept) in &mut book.objects {
            let mode = mode_of(&book.terms, &kept.planned);
            let before = std::mem::replace(&mut kept.mode, mode);
            if mode == Mode::Disabled && before != mode {
                book.standings.forget(id, now);
                book.recalled.remove(id);
            }
            if before == Mode::Disabled && mode != before {
                again.push((id.clone(), CompareRequest::quiet(now)));
            } else if book.standings.is_open(id) && (resumed || before != mode) {
                again.push((id.clone(), CompareRequest::urgent(now)));
            }
        }
        for (id, errand) in again {
            self.request(key, &id, errand);
        }
        self.touch(key);
        self.watch_kinds(key);
    }

    /// Remembers what was told before a restart.
    pub fn recall(&mut self, key: &NamespacedName, drift: &DriftStatus) {
        let book = self.book(key);
        if book.adopted || !book.recalled.is_empty() {
            return;
        }
        report::remember(&mut book.standings, drift);
        book.reported = None;
        book.restored.clone_from(&drift.last_handled_restore);
        let ids = drift.entries.iter().filter_map(|entry| ObjectId::parse_inventory(&entry.id).ok());
        book.recalled = ids.collect();
    }

    /// The pen is put down: what was seen meanwhile is judged now.
    pub fn release(&mut self, key: &NamespacedName) {
        let Some(book) = self.state.books.get_mut(key) else { return };
        book.holds = book.holds.saturating_sub(1);
        if book.holds > 0 {
            return;
        }
        book.hurry = CancellationToken::new();
        if !book.adopted && book.recalled.is_empty() && book.witnessed.is_empty() {
            self.state.books.remove(key);
            return;
        }
        let waiting = book.objects.iter().filter(|(_, kept)| {
            kept.errand.is_some() || kept.late.gone.is_some() || kept.late.seen.is_some()
        });
        let waiting: Vec<ObjectId> = waiting.map(|(id, _)| id.clone()).collect();
        for id in waiting {
            self.catch_up(key, &id);
        }
    }

    /// Judges what was seen of an object while it was in hand.
    pub fn catch_up(&mut self, key: &NamespacedName, id: &ObjectId) {
        let Some(kept) = self.state.books.get_mut(key).and_then(|book| book.objects.get_mut(id)) else {
            return;
        };
        if kept.phase == Phase::Running {
            return;
        }
        let errand = kept.errand.take();
        let Late { seen, gone } = std::mem::take(&mut kept.late);
        if let Some(gone) = gone {
            self.missed(key, id, gone);
        } else if let Some(seen) = seen {
            // A list that was begun before our write shows what was before it: no news of a restored cluster.
            self.saw(key, id, Seen { via: Via::Event, ..seen });
        }
        if let Some(errand) = errand {
            self.request(key, id, errand);
        }
    }

    /// What the reconcile applies at the interval; and what can be compared only then.
    pub fn at_interval(&mut self, key: &NamespacedName) -> BTreeSet<ObjectId> {
        let now = self.now;
        let Some(book) = self.state.books.get(key).filter(|book| book.adopted) else {
            return BTreeSet::new();
        };
        let mut apply = BTreeSet::new();
        let mut look = Vec::new();
        for (id, kept) in &book.objects {
            let left_to_the_interval = kept.mode == Mode::Disabled && kept.planned.policy.corrects();
            let taken = kept.taken && kept.mode == Mode::Enabled;
            if (taken || left_to_the_interval) && !book.terms.suspended {
                apply.insert(id.clone());
                continue;
            }
            let class = book.standings.get(id).map(|stand| stand.finding.class);
            // No watch shows what lost its labels, or is of a kind that may not be watched.
            let unwatched = matches!(class, Some(Class::Disowned | Class::Unknown | Class::Missing));
            if unwatched || self.state.blind.contains(&kept.kind()) {
                look.push(id.clone());
            }
        }
        for id in look {
            self.request(key, &id, CompareRequest::quiet(now));
        }
        apply
    }

    /// Compares everything once.
    pub fn audit(&mut self, key: &NamespacedName) {
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key).filter(|book| book.adopted) else { return };
        book.audit_at = Some(next_audit(key, now));
        let ids: Vec<ObjectId> = book.objects.keys().cloned().collect();
        for id in ids {
            self.request(key, &id, CompareRequest::quiet(now));
        }
        self.touch(key);
    }

    /// Lets a Kustomization go.
    pub fn forget(&mut self, key: &NamespacedName) {
        self.state.unreadable.remove(key);
        let Some(book) = self.state.books.remove(key) else { return };
        for (id, kept) in &book.objects {
            self.let_go(key, id, kept.due);
        }
        if let Some(due) = book.due {
            self.state.times.remove(&(due, Timer { key: key.clone(), id: None }));
        }
        self.shared.deps.metrics.forget(key, book.counted);
        self.replace_kinds(&book.kinds, &BTreeSet::new());
    }

    /// Makes the watched kinds those of the kept objects, after the objects or the terms of one Kustomization changed.
    fn watch_kinds(&mut self, key: &NamespacedName) {
        let Some(book) = self.state.books.get_mut(key) else { return };
        let watched = book.objects.values().filter(|kept| kept.is_watched());
        let kinds: BTreeSet<Kind> = watched.map(TrackedObject::kind).collect();
        let before = std::mem::replace(&mut book.kinds, kinds.clone());
        self.replace_kinds(&before, &kinds);
    }

    fn replace_kinds(&mut self, before: &BTreeSet<Kind>, after: &BTreeSet<Kind>) {
        if !self.state.kinds.replace(before, after) {
            return;
        }
        let counts = &self.state.kinds;
        self.state.gone.retain(|kind| counts.contains(kind));
        self.state.blind.retain(|kind| counts.contains(kind));
        let kinds = counts.kinds();
        for kind in self.shared.watchers.watch(&kinds) {
            self.denied(&kind, &format!("{KINDS_MAX} kinds are watched already"));
        }
    }
}

/// Spread by name, so that a restart does not bring all audits at once.
fn next_audit(key: &NamespacedName, now: Timestamp) -> Timestamp {
    let spread = key
        .name
        .bytes()
        .chain(key.namespace.bytes())
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let wait = AUDIT_EVERY + AUDIT_EVERY.mul_f64(f64::from(spread % 1000) / 10_000.0);
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(now)
}
