//! The state of drift detection at one cluster, as a pure machine: [`State::step`] takes an input and the time, and returns
//! effects. Nothing here awaits, reads a clock or sends a request; the worker does, and reports back.
//!
//! The rules (what is a difference, which manager made it, whether it may be corrected, when it is reported) are in [`crate::rules`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod adopt;
mod input;
mod kinds;
mod object;
mod owner;
mod pre_apply;
mod restore;
mod schedule;
mod settle;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plumb_api::kustomize::{DriftClass, DriftMode, DriftStatus};
use plumb_manifests::ObjectId;
use plumb_planning::record::{Seen, Via};
use plumb_planning::stage;
use plumb_status::EventDraft;

pub use input::{
    Applied, ApplyChange, CompareAgain, CompareJob, DriftPolicy, Effect, Finished, Input, Kind, LookFailure,
    Managed, Measurement, OpenOutcome, Outcome, OwnerRef, PreApplyRead, RestoreRequest,
};
pub use object::{CompareRequest, Gone};
pub use owner::DriftReport;

use self::kinds::{Index, KindCounts};
use self::object::{Late, Phase, TrackedObject};
use self::owner::{OwnerState, next_audit};
use self::pre_apply::BeforeApply;
use self::schedule::{Schedule, Timer};
use crate::rules::correction::Situation;
use crate::rules::{DriftEvent, Due, report};

/// What does not change while the process runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Maximum concurrent comparisons; at least one.
    pub concurrency: usize,
    /// When the process started.
    pub started: Timestamp,
}

/// Everything that is known of drift at one cluster.
#[derive(Debug, Clone)]
pub struct State {
    settings: Settings,
    owners: BTreeMap<OwnerRef, OwnerState>,
    index: Index,
    schedule: Schedule,
    /// The kinds that are watched.
    kinds: KindCounts,
    /// Kinds that may not be watched, and why.
    denied: BTreeMap<Kind, String>,
    /// Kinds that are not served.
    unserved: BTreeSet<Kind>,
    /// Owners that cannot be read: they are suspended regardless of their last policy.
    unreadable: BTreeSet<OwnerRef>,
    /// Reads of what attempts may overwrite that are under way.
    reads: usize,
    /// Incarnations of tracked objects that were numbered.
    incarnations: u64,
    /// The last requested tick.
    wake_at: Option<Timestamp>,
}

/// One step: the time and the effects.
struct Step {
    now: Timestamp,
    effects: Vec<Effect>,
    /// Owners of which something may have to be reported, or that have another time to wait for.
    touched: BTreeSet<OwnerRef>,
}

impl Step {
    fn report(&mut self, owner: &OwnerRef, origin: Option<&String>, events: Vec<EventDraft>) {
        for event in events {
            let event = match origin {
                Some(origin) => event.with(plumb_api::meta::ORIGIN_REVISION_KEY, origin),
                None => event,
            };
            self.effects.push(Effect::Report(owner.clone(), event));
        }
    }

    fn touch(&mut self, owner: &OwnerRef) {
        self.touched.insert(owner.clone());
    }
}

impl State {
    /// Nothing is known yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            owners: BTreeMap::new(),
            index: Index::default(),
            schedule: Schedule::default(),
            kinds: KindCounts::default(),
            denied: BTreeMap::new(),
            unserved: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            reads: 0,
            incarnations: 0,
            wake_at: None,
        }
    }

    /// Takes what happened, and returns what is to be done, in this order. `now` never goes back.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let mut step = Step { now, effects: Vec::new(), touched: BTreeSet::new() };
        if matches!(input, Input::Tick) {
            // The requested tick was used, also if it came too early.
            self.wake_at = None;
        }
        self.take(input, &mut step);
        for owner in std::mem::take(&mut step.touched) {
            self.review(&owner, &mut step);
        }
        while let Some(((owner, id), deferred)) = self.schedule.next(self.settings.concurrency) {
            if let Some(job) = self.start_look(owner, id, deferred, &mut step) {
                self.schedule.begin(deferred);
                step.effects.push(Effect::Look(Box::new(job)));
            }
        }
        let next = self.schedule.first();
        if next != self.wake_at {
            self.wake_at = next;
            step.effects.extend(next.map(Effect::WakeAt));
        }
        step.effects
    }

    fn take(&mut self, input: Input, step: &mut Step) {
        match input {
            Input::Hold(owner) => {
                self.owner(&owner).holds += 1;
                // A correction in flight is awaited, but no slow response to it.
                step.effects.push(Effect::Hurry(owner));
            }
            Input::Release(owner) => self.release(&owner, step),
            Input::Adopt(owner, managed) => self.adopt(&owner, managed, false, step),
            Input::AdoptUnverified(owner, managed) => self.adopt(&owner, managed, true, step),
            Input::BeforeApply(owner, found) => {
                let found = found.into_iter().map(|(id, finding)| (id, BeforeApply::read(finding)));
                self.owner(&owner).before_apply = found.collect();
            }
            Input::Policy(owner, policy) => self.set_policy(&owner, policy, step),
            Input::Spec { owner, mode, suspended, interval } => {
                self.unreadable.remove(&owner);
                let policy =
                    |before: &DriftPolicy| DriftPolicy { mode, suspended, interval, ..before.clone() };
                self.change_policy(&owner, policy, step);
            }
            Input::Unreadable(owner) => {
                self.unreadable.insert(owner.clone());
                self.change_policy(&owner, DriftPolicy::clone, step);
            }
            Input::Remember(owner, status) => self.remember(&owner, &status),
            Input::Interval(owner) => self.interval(&owner, step),
            Input::Audit(owner) => self.audit(&owner, step),
            Input::Restore(owner, request) => self.restore(&owner, &request, step),
            Input::Forget(owner) => self.forget(&owner, step),
            Input::Seen(kind, id, seen) => self.seen(&kind, &id, *seen, step),
            Input::Missed(_, id, metadata) => self.deleted(&id, &metadata, step),
            Input::Listed(kind, present) => {
                self.denied.remove(&kind);
                self.unserved.remove(&kind);
                self.missed_all(
                    &kind,
                    |id| !present.contains(&(id.namespace.clone(), id.name.clone())),
                    step,
                );
            }
            Input::Denied(kind, message) => self.deny(&kind, message, step),
            Input::Unserved(kind) => {
                self.unserved.insert(kind.clone());
                self.missed_all(&kind, |_| true, step);
            }
            Input::Finished(finished) => self.finish(*finished, step),
            Input::Read(read, found) => self.note_read(*read, found),
            Input::Tick => self.tick(step),
        }
    }

    /// The state of an owner, a new one if there is none.
    fn owner(&mut self, owner: &OwnerRef) -> &mut OwnerState {
        self.owners.entry(owner.clone()).or_insert_with(OwnerState::unreported)
    }

    /// An owner whose objects are known.
    fn adopted(&mut self, owner: &OwnerRef) -> Option<&mut OwnerState> {
        self.owners.get_mut(owner).filter(|owner| owner.adopted)
    }

    fn object(&mut self, owner: &OwnerRef, id: &ObjectId) -> Option<&mut TrackedObject> {
        self.owners.get_mut(owner)?.objects.get_mut(id)
    }

    // Attempts.

    /// Whether a look may write now. It counts as a correction in flight until it has [`Finished`].
    pub fn may_write(&mut self, job: &CompareJob) -> bool {
        let Some(owner) = self.owners.get_mut(&job.owner) else { return false };
        let incarnation = job.incarnation;
        if owner.holds > 0 || owner.policy.suspended {
            return false;
        }
        let current = owner.objects.get(&job.id).is_some_and(|object| {
            let same = object.incarnation == incarnation && object.epoch == job.epoch;
            same && (job.request.restore || object.mode == job.situation.mode)
        });
        owner.writing.extend(current.then_some(incarnation));
        current
    }

    fn release(&mut self, owner_ref: &OwnerRef, step: &mut Step) {
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        owner.holds = owner.holds.saturating_sub(1);
        if owner.holds > 0 {
            return;
        }
        if !owner.adopted && owner.remembered.is_empty() && owner.before_apply.is_empty() {
            self.owners.remove(owner_ref);
            return;
        }
        let waiting = |object: &TrackedObject| object.request.is_some() || object.has_late();
        let ids: Vec<ObjectId> =
            owner.objects.iter().filter(|(_, object)| waiting(object)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.catch_up(owner_ref, &id, step);
        }
    }

    fn adopt(&mut self, owner_ref: &OwnerRef, managed: Managed, unverified: bool, step: &mut Step) {
        let Managed { policy, objects, applied } = managed;
        let policy = self.in_force(owner_ref, policy);
        let mut applied: BTreeMap<ObjectId, Applied> =
            applied.into_iter().map(|applied| (applied.id.clone(), applied)).collect();
        let owner = self.owner(owner_ref);
        owner.adopted = true;
        owner.open.set_revision(&policy.revision);
        owner.policy = policy;
        let mut before = std::mem::take(&mut owner.objects);
        let (mut kept, mut events, mut unseen) = (BTreeMap::new(), Vec::new(), Vec::new());
        for planned in objects {
            let id = planned.id.clone();
            let is_applied = applied.contains_key(&id);
            self.incarnations += 1;
            let taken = adopt::Taken {
                planned,
                before: before.remove(&id),
                applied: applied.remove(&id),
                unverified,
                incarnation: self.incarnations,
            };
            let owner = self.owner(owner_ref);
            let Some(mut object) = adopt::take(owner, taken, step.now, &mut events) else { continue };
            if is_applied {
                // That contention has ended is found by a look.
                let end = object.contention.next_end();
                self.schedule.set(timer_of(owner_ref, &id), &mut object.due, end);
            }
            if object.record.is_none() {
                unseen.push(id.clone());
            }
            self.index.insert(&id, owner_ref);
            kept.insert(id, object);
        }
        for (id, object) in before {
            self.drop_object(owner_ref, &id, object, step);
        }
        let now = step.now;
        let owner = self.owner(owner_ref);
        owner.before_apply.clear();
        owner.open.retain(|id| kept.contains_key(id), now);
        // What is not watched is not compared: nothing waits for it.
        owner.remembered.retain(|id| kept.get(id).is_some_and(TrackedObject::is_watched));
        if let Some(restoring) = &mut owner.restoring {
            restoring.left.retain(|id| kept.contains_key(id));
        }
        owner.objects = kept;
        owner.audit_at.get_or_insert_with(|| next_audit(owner_ref, now));
        for id in unseen {
            self.request(owner_ref, &id, CompareRequest::background(now), now);
        }
        self.emit(owner_ref, events, step);
        self.watch_kinds(owner_ref, step);
    }

    /// What is no longer desired is no longer compared. Another owner that has it as well did not see its events.
    fn drop_object(&mut self, owner: &OwnerRef, id: &ObjectId, mut object: TrackedObject, step: &mut Step) {
        self.schedule.set(timer_of(owner, id), &mut object.due, None);
        if let Some(heir) = self.index.remove(id, owner) {
            self.request(&heir, id, CompareRequest::background(step.now), step.now);
        }
    }

    fn forget(&mut self, owner_ref: &OwnerRef, step: &mut Step) {
        self.unreadable.remove(owner_ref);
        let Some(mut owner) = self.owners.remove(owner_ref) else { return };
        for (id, object) in std::mem::take(&mut owner.objects) {
            self.drop_object(owner_ref, &id, object, step);
        }
        self.schedule.set(Timer { owner: owner_ref.clone(), id: None }, &mut owner.due, None);
        step.effects.push(Effect::Measure(Measurement::Forgotten(owner_ref.clone(), owner.counted)));
        step.effects.push(Effect::Publish(owner_ref.clone(), None));
        self.replace_kinds(&owner.kinds, &BTreeSet::new(), step);
    }

    /// Records drift that was reported before a restart.
    fn remember(&mut self, owner: &OwnerRef, status: &DriftStatus) {
        let owner = self.owner(owner);
        if owner.adopted || !owner.remembered.is_empty() {
            return;
        }
        report::remember(&mut owner.open, status);
        owner.reported = None;
        owner.restored.clone_from(&status.last_handled_restore);
        let ids = status.entries.iter().filter_map(|entry| ObjectId::parse_inventory(&entry.id).ok());
        owner.remembered = ids.collect();
    }

    // Policy.

    /// A policy as it counts: what cannot be read is suspended.
    fn in_force(&self, owner: &OwnerRef, policy: DriftPolicy) -> DriftPolicy {
        DriftPolicy { suspended: policy.suspended || self.unreadable.contains(owner), ..policy }
    }

    fn change_policy(
        &mut self,
        owner: &OwnerRef,
        change: impl FnOnce(&DriftPolicy) -> DriftPolicy,
        step: &mut Step,
    ) {
        if let Some(policy) = self.adopted(owner).map(|owner| change(&owner.policy)) {
            self.set_policy(owner, policy, step);
        }
    }

    fn set_policy(&mut self, owner_ref: &OwnerRef, policy: DriftPolicy, step: &mut Step) {
        let policy = self.in_force(owner_ref, policy);
        let now = step.now;
        let Some(owner) = self.adopted(owner_ref).filter(|owner| owner.policy != policy) else { return };
        owner.open.set_revision(&policy.revision);
        let resumed = owner.policy.suspended != policy.suspended;
        owner.policy = policy;
        let modes: Vec<(ObjectId, DriftMode)> = owner
            .objects
            .iter()
            .map(|(id, object)| (id.clone(), owner.mode_of(&object.planned.object)))
            .collect();
        let mut requests = Vec::new();
        for (id, mode) in modes {
            let Some(object) = owner.objects.get_mut(&id) else { continue };
            let before = std::mem::replace(&mut object.mode, mode);
            if mode == DriftMode::Disabled && before != mode {
                owner.open.forget(&id, now);
                owner.remembered.remove(&id);
            }
            if before == DriftMode::Disabled && mode != before {
                requests.push((id, CompareRequest::background(now)));
            } else if owner.open.is_open(&id) && (resumed || before != mode) {
                requests.push((id, CompareRequest::urgent(now)));
            }
        }
        for (id, request) in requests {
            self.request(owner_ref, &id, request, now);
        }
        step.touch(owner_ref);
        self.watch_kinds(owner_ref, step);
    }

    // What the watches show.

    fn seen(&mut self, kind: &Kind, id: &ObjectId, seen: Seen, step: &mut Step) {
        self.denied.remove(kind);
        self.unserved.remove(kind);
        if stage::is_definition(id) && seen.via == Via::Event && !self.unserved.is_empty() {
            step.effects.push(Effect::KindsChanged);
        }
        let Some(owner) = self.index.owner(id).cloned() else { return };
        if is_namespace(id) && !seen.deleting {
            self.end_backoffs_in(&id.name, step);
        }
        self.observe(&owner, id, seen, step);
    }

    fn observe(&mut self, owner_ref: &OwnerRef, id: &ObjectId, seen: Seen, step: &mut Step) {
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        let held = owner.holds > 0;
        let Some(object) = owner.objects.get_mut(id) else { return };
        if held || object.phase == Phase::Running {
            let triggers = object.would_trigger(&seen);
            let version = seen.version.clone();
            object.late = Late { seen: Some(seen), gone: None };
            if held && triggers {
                self.read_before_apply(owner_ref, id, Some(version), step);
            }
            return;
        }
        if let Some(cause) = object.record_event(&seen) {
            let request = CompareRequest { cause: Some(cause), ..CompareRequest::urgent(step.now) };
            self.request(owner_ref, id, request, step.now);
        }
    }

    fn missed_all(&mut self, kind: &Kind, is_missed: impl Fn(&ObjectId) -> bool, step: &mut Step) {
        for (owner, id) in self.index.objects_of(kind) {
            if is_missed(&id) {
                self.missed(&owner, &id, Gone::Unexplained, None, step);
            }
        }
    }

    /// A managed object left its watch: it was deleted, or its owner labels were.
    /// `version`: that of the event; a list has none.
    fn missed(
        &mut self,
        owner_ref: &OwnerRef,
        id: &ObjectId,
        gone: Gone,
        version: Option<Box<str>>,
        step: &mut Step,
    ) {
        let now = step.now;
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        let held = owner.holds > 0;
        let open = owner.open.get(id).map(|drift| drift.finding.class);
        let Some(object) = owner.objects.get_mut(id) else { return };
        let vanished = gone == Gone::Unexplained && object.may_vanish(now);
        if held || object.phase == Phase::Running {
            object.late = Late { seen: None, gone: Some(gone) };
            if held && !vanished {
                self.missed_before_apply(owner_ref, id, version, step);
            }
            return;
        }
        // A list does not show what was found missing or disowned already.
        let known = (vanished || open == Some(DriftClass::Missing)) && object.is_known_absent();
        if object.record.is_none() || known {
            return;
        }
        if vanished && open.is_none() {
            // Nothing to report or compare: an object that is recreated under its name is compared.
            object.remember_absence();
            return;
        }
        self.request(owner_ref, id, CompareRequest { gone, ..CompareRequest::urgent(now) }, now);
    }

    /// Compares an object with events that arrived while it could not be compared.
    fn catch_up(&mut self, owner: &OwnerRef, id: &ObjectId, step: &mut Step) {
        let Some(object) = self.object(owner, id).filter(|object| object.phase != Phase::Running) else {
            return;
        };
        let request = object.request.take();
        let Late { seen, gone } = std::mem::take(&mut object.late);
        if let Some(gone) = gone {
            self.missed(owner, id, gone, None, step);
        } else if let Some(seen) = seen {
            // A list that began before our write shows the state before it: no sign of a restored cluster.
            self.observe(owner, id, Seen { via: Via::Event, ..seen }, step);
        }
        if let Some(request) = request {
            self.request(owner, id, request, step.now);
        }
    }

    // Comparisons.

    /// Requests a comparison of an object. Further reasons join the one that is already queued.
    fn request(&mut self, owner_ref: &OwnerRef, id: &ObjectId, request: CompareRequest, now: Timestamp) {
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        let held = owner.holds > 0;
        let Some(object) = owner.objects.get_mut(id) else { return };
        if !object.is_watched() && !request.restore {
            return;
        }
        object.request = Some(CompareRequest::joined(object.request.take(), request));
        if held {
            return;
        }
        match object.phase {
            Phase::Running | Phase::Queued => {}
            Phase::Deferred if request.background => {}
            Phase::Idle if request.background => {
                object.phase = Phase::Deferred;
                self.schedule.deferred.push_back((owner_ref.clone(), id.clone()));
            }
            Phase::Idle | Phase::Deferred => match object.debounce.request(now) {
                Due::Now => {
                    object.phase = Phase::Queued;
                    self.schedule.ready.push_back((owner_ref.clone(), id.clone()));
                }
                Due::At(at) => self.schedule.set_earlier(timer_of(owner_ref, id), &mut object.due, at),
                Due::Joined => {}
            },
        }
    }

    fn start_look(
        &mut self,
        owner_ref: OwnerRef,
        id: ObjectId,
        deferred: bool,
        step: &mut Step,
    ) -> Option<CompareJob> {
        let owner = self.owners.get_mut(&owner_ref)?;
        let (suspended, held) = (owner.policy.suspended, owner.holds > 0);
        let object = owner.objects.get_mut(&id)?;
        // A place in a queue is only a hint: the object may have had its turn already.
        if object.phase != if deferred { Phase::Deferred } else { Phase::Queued } {
            return None;
        }
        object.phase = Phase::Idle;
        if held {
            return None;
        }
        let mut request = object.request.take()?;
        request.restore |= std::mem::take(&mut object.restore_again);
        if !object.is_watched() && !request.restore {
            return None;
        }
        object.phase = Phase::Running;
        object.debounce.begin(step.now);
        self.schedule.set(timer_of(&owner_ref, &id), &mut object.due, None);
        let policy = object.planned.policy;
        let situation = Situation { mode: object.mode, suspended, policy, deleting: false };
        let (planned, contention, epoch) = (object.planned.clone(), object.contention.clone(), object.epoch);
        let incarnation = object.incarnation;
        let owner = owner_ref;
        Some(CompareJob { owner, id, planned, request, situation, contention, incarnation, epoch, deferred })
    }

    fn finish(&mut self, finished: Finished, step: &mut Step) {
        let Finished { job, outcome, wrote, detected } = finished;
        self.schedule.end(job.deferred);
        let now = step.now;
        let Some(owner) = self.owners.get_mut(&job.owner) else { return };
        if wrote {
            owner.writing.remove(&job.incarnation);
        }
        let suspended = owner.policy.suspended;
        let object = owner.objects.get_mut(&job.id);
        // An object that was dropped meanwhile, and is managed again, has comparisons of its own.
        let Some(object) = object.filter(|object| object.incarnation == job.incarnation) else { return };
        object.phase = Phase::Idle;
        // An attempt applied it in between: that was the restore, if one was requested.
        let reapplied = object.epoch != job.epoch;
        let overtaken =
            reapplied || object.mode != job.situation.mode || suspended != job.situation.suspended;
        if overtaken && !matches!(outcome, Outcome::Corrected { .. }) {
            let request = CompareRequest { restore: job.request.restore && !reapplied, ..job.request };
            object.request = Some(CompareRequest::joined(object.request.take(), request));
            self.catch_up(&job.owner, &job.id, step);
            return;
        }
        if let (Some(detected), false) = (detected, job.request.background) {
            step.effects.push(Effect::Measure(Measurement::Detected(detected)));
        }
        let corrected = matches!(outcome, Outcome::Corrected { .. });
        let settled = settle::settle(owner, &job, outcome, now);
        step.effects.extend(settled.measured.map(Effect::Measure));
        if !settled.repeat {
            if !settled.undecided || owner.open.is_open(&job.id) {
                owner.remembered.remove(&job.id);
            }
            if job.request.restore && !settled.undecided {
                owner.note_restored(&job.id);
            }
        }
        let Some(object) = owner.objects.get_mut(&job.id) else { return };
        object.restore_again = job.request.restore && settled.undecided;
        if settled.repeat {
            object.request = Some(CompareRequest::joined(object.request.take(), job.request));
        } else if let Some(again) = settled.again {
            self.schedule.set_earlier(timer_of(&job.owner, &job.id), &mut object.due, again);
        }
        // What left its watch before its correction ended may be what was corrected: an attempt does not report it again.
        let reported = corrected && object.late.gone.is_some() && owner.holds > 0;
        if corrected {
            owner.before_apply.remove(&job.id);
        }
        self.emit(&job.owner, settled.events, step);
        if !reported {
            self.catch_up(&job.owner, &job.id, step);
        }
        if corrected && is_namespace(&job.id) {
            self.end_backoffs_in(&job.id.name, step);
        }
    }

    // Times.

    fn tick(&mut self, step: &mut Step) {
        while let Some(Timer { owner, id }) = self.schedule.pop(step.now) {
            match id {
                Some(id) => self.tick_object(&owner, &id, step),
                None => self.tick_owner(&owner, step),
            }
        }
    }

    fn tick_object(&mut self, owner_ref: &OwnerRef, id: &ObjectId, step: &mut Step) {
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        let held = owner.holds > 0;
        let Some(object) = owner.objects.get_mut(id) else { return };
        object.due = None;
        let request = object.request.get_or_insert_with(|| CompareRequest::urgent(step.now));
        request.restore |= std::mem::take(&mut object.restore_again);
        // The time that was planned has come, whether or not it is used.
        object.debounce.begin(step.now);
        if !held && matches!(object.phase, Phase::Idle | Phase::Deferred) {
            object.phase = Phase::Queued;
            self.schedule.ready.push_back((owner_ref.clone(), id.clone()));
        }
    }

    fn tick_owner(&mut self, owner_ref: &OwnerRef, step: &mut Step) {
        let now = step.now;
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        owner.due = None;
        let events = owner.open.due(now);
        let audits = owner.audit_at.is_some_and(|at| at <= now);
        self.emit(owner_ref, events, step);
        if audits {
            self.audit(owner_ref, step);
        }
    }

    fn interval(&mut self, owner_ref: &OwnerRef, step: &mut Step) {
        let Some(owner) = self.owners.get(owner_ref).filter(|owner| owner.adopted) else { return };
        let applied = self.applied_at_interval(owner_ref);
        // No watch shows objects that lost their labels, or kinds that may not be watched.
        let is_unwatched = |id: &ObjectId, object: &TrackedObject| {
            let class = owner.open.get(id).map(|drift| drift.finding.class);
            matches!(class, Some(DriftClass::Disowned | DriftClass::Unknown | DriftClass::Missing))
                || self.denied.contains_key(&object.kind())
        };
        let ids: Vec<ObjectId> = owner
            .objects
            .iter()
            .filter(|(id, object)| !applied.contains(*id) && is_unwatched(id, object))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.request(owner_ref, &id, CompareRequest::background(step.now), step.now);
        }
    }

    fn audit(&mut self, owner_ref: &OwnerRef, step: &mut Step) {
        let now = step.now;
        let Some(owner) = self.adopted(owner_ref) else { return };
        owner.audit_at = Some(next_audit(owner_ref, now));
        let ids: Vec<ObjectId> = owner.objects.keys().cloned().collect();
        for id in ids {
            self.request(owner_ref, &id, CompareRequest::background(now), now);
        }
        step.touch(owner_ref);
    }

    // Reports.

    /// Reports events, many at once if there are many.
    fn emit(&mut self, owner_ref: &OwnerRef, events: Vec<DriftEvent>, step: &mut Step) {
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        let events = owner.aggregator.offer(events, step.now);
        let origin = owner.policy.origin_revision.clone();
        step.report(owner_ref, origin.as_ref(), events);
        step.touch(owner_ref);
    }

    /// After something happened to an owner: what to report, what to count, when to come back.
    fn review(&mut self, owner_ref: &OwnerRef, step: &mut Step) {
        let now = step.now;
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        let timer = Timer { owner: owner_ref.clone(), id: None };
        let at = owner.review_at(now);
        if at > now {
            self.schedule.set_earlier(timer, &mut owner.due, at);
            return;
        }
        owner.note_review(now);
        let events = owner.aggregator.due(now);
        let origin = owner.policy.origin_revision.clone();
        let report = owner.report(now);
        let is_due = report.as_ref().is_some_and(|report| owner.is_due(report, now));
        let (before, counted) = (owner.counted, owner.count());
        owner.counted = counted;
        let open = owner.open.visible(now).map(|(_, drift)| drift.finding.class).collect();
        let next = owner.next_due();
        self.schedule.set(timer, &mut owner.due, next);
        step.report(owner_ref, origin.as_ref(), events);
        let measured = Measurement::Objects { owner: owner_ref.clone(), before, now: counted, open };
        step.effects.push(Effect::Measure(measured));
        step.effects.push(Effect::Publish(owner_ref.clone(), report.map(Box::new)));
        if is_due {
            step.effects.push(Effect::WriteStatus(owner_ref.clone()));
        }
    }
}

fn timer_of(owner: &OwnerRef, id: &ObjectId) -> Timer {
    Timer { owner: owner.clone(), id: Some(id.clone()) }
}

fn is_namespace(id: &ObjectId) -> bool {
    id.kind == "Namespace" && id.group.is_empty()
}

#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;
