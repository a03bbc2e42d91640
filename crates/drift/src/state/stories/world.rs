//! The simulated world of a run: live objects, their watch, the comparisons under way, and attempts. Everything takes a
//! random time, so that every order of events occurs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plumb_api::kustomize::DriftMode;
use plumb_api::meta::NamespacedName;
use plumb_manifests::{Object, ObjectId};
use plumb_planning::fingerprint::HashKey;
use plumb_planning::inventory::Inventory;
use plumb_planning::plan::{self, Planned};
use plumb_planning::prune::SkipReason;
use plumb_planning::takeover::Takeover;
use serde_json::{Value, json};

use super::super::*;
use super::kinds::KindState;
use super::reported::ReportedDrift;
use crate::dice::Dice;
use crate::rules::contention::ContentionChange;
use crate::rules::open::ReportAfter;

pub const NAMES: [&str; 3] = ["one", "two", "three"];
/// The value of the objects that only make an owner large, in every revision.
const FILLER_VALUE: &str = "filler";
/// How long what is published may be older than what is known. Reviews of a large owner have a pause of 100 ms.
const STALE_MAX: u64 = 150;
/// The interval of the Kustomization.
pub const INTERVAL_MS: u64 = 60_000;
/// Start of a run: 2026-05-01T12:00:00Z.
const NOON: Timestamp = Timestamp::constant(1_777_636_800, 0);
/// Maximum concurrent comparisons.
const CONCURRENCY: usize = 2;

/// Names of objects that only make an owner large.
static FILLERS: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..400).map(|number| format!("filler-{number}")).collect());

/// A live object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    uid: u64,
    version: u64,
    value: String,
    writer: &'static str,
    owned: bool,
}

/// A look under way.
#[derive(Debug, Clone)]
struct Running {
    job: CompareJob,
    evidence: Option<Live>,
    wrote: bool,
    conflicts: usize,
}

#[derive(Debug, Clone)]
enum Happening {
    /// The oldest event of the watch arrives.
    Deliver,
    /// The look reads.
    LookReads(Box<Running>),
    /// The worker requests to write.
    WorkerWrites(Box<Running>),
    /// The write of the look is carried out.
    LookWrites(Box<Running>),
    /// The response to the read for an attempt.
    ReadEnds(Box<PreApplyRead>),
    /// The attempt applies its next object, or ends.
    ContinueAttempt(Attempt),
    /// The attempt is over.
    AttemptReleases,
    Tick,
}

#[derive(Debug, Clone)]
struct Attempt {
    left: VecDeque<&'static str>,
    applied: Vec<Applied>,
    fails: bool,
    began: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub struct World {
    pub state: State,
    pub looks: usize,
    pub writes: usize,
    pub reported: ReportedDrift,
    /// The status, as it was written last.
    written: Option<DriftReport>,
    dice: Dice,
    now: u64,
    next: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    pub(super) live: BTreeMap<&'static str, Live>,
    /// What the watch has shown and the machine has not got yet.
    watch: VecDeque<Input>,
    /// What was applied last, with its desired state at that time.
    applied: BTreeMap<&'static str, Arc<Planned>>,
    desired: u64,
    pub(super) policy: DriftPolicy,
    published: Option<DriftReport>,
    faults: BTreeSet<String>,
    attempt: bool,
    /// Nothing of the worker may write.
    locked: bool,
    slow: bool,
    looking: BTreeSet<ObjectId>,
    /// Counts restarts: work of an earlier process is dropped.
    process: u64,
    /// Something went unseen that no list has shown since.
    lost: bool,
    /// Objects that only make the owner large.
    fillers: Vec<&'static str>,
    /// Since when what is published differs from what is known.
    stale: Option<u64>,
    pub(super) kind: KindState,
    /// The kind is watched, or would be if it were served.
    watching: bool,
    /// What was planned before, by name and value.
    plans: BTreeMap<(&'static str, String), Arc<Planned>>,
    log: Vec<String>,
}

pub(super) fn owner() -> OwnerRef {
    OwnerRef::kustomization(&NamespacedName::new("flux-system", "apps"))
}

pub(super) fn kind() -> Kind {
    (String::new(), "v1".to_owned(), "ConfigMap".to_owned())
}

fn plan_of(name: &str, value: &str) -> Arc<Planned> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "prod"},
        "data": {"a": value},
    });
    let objects = vec![Object::new(object).unwrap()];
    plan::prepare(objects, &owner().labels(), &HashKey::new([7; 32])).unwrap().remove(0)
}

impl Live {
    fn metadata(&self, name: &str) -> Value {
        let entry = |manager: &str, operation: &str, fields: Value| {
            json!({
                "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": fields, "time": "2026-05-01T12:00:00Z",
            })
        };
        let labels = json!({"f:labels": {
            "f:kustomize.toolkit.fluxcd.io/name": {}, "f:kustomize.toolkit.fluxcd.io/namespace": {},
        }});
        let data = json!({"f:a": {}});
        let (mut ours, mut entries) = (json!({}), Vec::new());
        if self.owned {
            ours["f:metadata"] = labels;
        }
        if self.writer == "ours" {
            ours["f:data"] = data;
        } else {
            // The time of a write of the same manager moves: what changes is the version.
            entries.push(entry(self.writer, "Update", json!({"f:data": data})));
        }
        entries.push(entry("kustomize-controller", "Apply", ours));
        let owner = owner().labels();
        let labels = if self.owned {
            json!({
                "kustomize.toolkit.fluxcd.io/name": owner.name,
                "kustomize.toolkit.fluxcd.io/namespace": owner.namespace,
            })
        } else {
            json!({})
        };
        json!({
            "name": name, "namespace": "prod", "uid": format!("u{}", self.uid),
            "resourceVersion": self.version.to_string(), "labels": labels, "managedFields": entries,
        })
    }

    fn object(&self, name: &str) -> Object {
        let value = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(name),
            "data": {"a": self.value},
        });
        Object::new(value).unwrap()
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self::large(seed, 0)
    }

    /// A world whose owner has so many objects more.
    pub fn large(seed: u64, fillers: usize) -> Self {
        let mut world = Self {
            state: State::new(settings()),
            looks: 0,
            writes: 0,
            reported: ReportedDrift::default(),
            written: None,
            dice: Dice(seed ^ 0x5eed),
            now: 0,
            next: 0,
            queue: BTreeMap::new(),
            live: BTreeMap::new(),
            watch: VecDeque::new(),
            applied: BTreeMap::new(),
            desired: 0,
            policy: DriftPolicy {
                revision: "main@sha1:0".to_owned(),
                interval: Duration::from_millis(INTERVAL_MS),
                ..DriftPolicy::default()
            },
            published: None,
            faults: BTreeSet::new(),
            attempt: false,
            locked: false,
            slow: false,
            looking: BTreeSet::new(),
            process: 0,
            lost: false,
            fillers: FILLERS[..fillers].iter().map(String::as_str).collect(),
            stale: None,
            kind: KindState::Served,
            watching: false,
            plans: BTreeMap::new(),
            log: Vec::new(),
        };
        world.begin_attempt(false);
        world.run(2_000);
        world
    }

    // Events of a run.

    pub fn edit(&mut self, name: &'static str, value: &str, manager: &'static str) {
        self.note(&format!("edit {name}={value} by {manager}"));
        let Some(live) = self.live.get(name).filter(|live| live.value != value).cloned() else { return };
        let live = Live { value: value.to_owned(), writer: manager, ..live };
        self.put(name, live);
    }

    /// A user deletes an object; its event may be lost.
    pub fn delete(&mut self, name: &'static str, seen: bool) {
        self.note(&format!("delete {name}, seen {seen}"));
        self.lost |= !seen;
        if let Some(live) = self.live.remove(name)
            && seen
            && live.owned
        {
            let live = Live { version: self.version(), ..live };
            self.shows(Input::Missed(kind(), id(name), live.metadata(name)));
        }
    }

    /// A user removes the owner labels: the object leaves the watch.
    pub fn strip(&mut self, name: &'static str) {
        self.note(&format!("strip {name}"));
        let Some(live) = self.live.get(name).filter(|live| live.owned).cloned() else { return };
        let version = self.version();
        // The event has what was there before, with the version of what took it out of the selection.
        let metadata = Live { version, ..live.clone() }.metadata(name);
        self.live.insert(name, Live { owned: false, version, ..live });
        self.shows(Input::Missed(kind(), id(name), metadata));
    }

    /// The watch restarts: undelivered events are lost, and all objects are listed.
    pub fn relist(&mut self) {
        if self.is_shown() {
            self.watch.clear();
            self.list();
        }
    }

    /// All objects are listed.
    pub(super) fn list(&mut self) {
        self.note("list");
        self.lost = false;
        let owned: Vec<(&'static str, Live)> = self
            .live
            .iter()
            .filter(|(_, live)| live.owned)
            .map(|(name, live)| (*name, live.clone()))
            .collect();
        for (name, live) in &owned {
            self.shows(seen(name, live, true));
        }
        let present = owned.iter().map(|(name, _)| ("prod".to_owned(), (*name).to_owned())).collect();
        self.shows(Input::Listed(kind(), present));
    }

    /// The watch restarts, if an event was lost.
    pub fn relist_if_lost(&mut self) {
        if self.lost {
            self.relist();
        }
    }

    pub fn fail_next(&mut self, name: &str) {
        self.faults.insert(name.to_owned());
    }

    pub fn slow_down(&mut self) {
        self.slow = true;
    }

    pub fn set_policy(&mut self, mode: DriftMode, suspended: bool) {
        self.note(&format!("policy {mode} suspended {suspended}"));
        if mode == DriftMode::Disabled {
            self.reported.disabled();
        }
        self.policy = DriftPolicy { mode, suspended, ..self.policy.clone() };
        self.pass(Input::Policy(owner(), self.policy.clone()));
    }

    /// A new revision is applied, or the attempt fails on the way.
    pub fn begin_attempt(&mut self, fails: bool) {
        if self.attempt || self.policy.suspended {
            return;
        }
        self.note(&format!("attempt, fails {fails}"));
        self.attempt = true;
        self.desired += 1;
        self.pass(Input::Hold(owner()));
        let attempt = Attempt { left: NAMES.into(), applied: Vec::new(), fails, began: false };
        self.later(Happening::ContinueAttempt(attempt));
    }

    /// The process restarts: the new one has the status and the applied objects.
    pub fn restart(&mut self) {
        if self.attempt || self.applied.len() < NAMES.len() + self.fillers.len() {
            return;
        }
        self.note("restart");
        self.process += 1;
        self.queue.clear();
        self.watch.clear();
        self.watching = false;
        self.looking.clear();
        self.locked = false;
        self.state = State::new(Settings { started: self.time(), ..settings() });
        self.published = None;
        let status = self.written.as_ref().and_then(|report| report.drift.clone());
        self.reported.restarted(status.as_ref());
        if let Some(status) = status {
            self.pass(Input::Remember(owner(), status));
        }
        let objects = self.applied.values().cloned().collect();
        let managed = Managed { policy: self.policy.clone(), objects, applied: Vec::new() };
        self.pass(Input::AdoptUnverified(owner(), managed));
    }

    pub fn restore(&mut self) {
        self.note("restore");
        let request = RestoreRequest {
            raw: self.time().to_string(),
            echoed: None,
            crd_echoes: true,
            inventory: NAMES.iter().map(|name| (id(name), "v1".to_owned())).collect::<Inventory>(),
        };
        self.pass(Input::Restore(owner(), request));
    }

    pub fn at_interval(&mut self) {
        self.pass(Input::Interval(owner()));
    }

    pub fn forget(&mut self) {
        self.pass(Input::Forget(owner()));
    }

    /// Nothing fails and nothing is slow any more.
    pub fn heal(&mut self) {
        self.faults.clear();
        self.slow = false;
    }

    // Queries of a run.

    pub fn live_value(&self, name: &str) -> Option<String> {
        self.live.get(name).map(|live| live.value.clone())
    }

    pub fn applied_value(&self, name: &str) -> Option<String> {
        self.applied.get(name).and_then(|planned| planned.object.text(&["data", "a"])).map(str::to_owned)
    }

    pub fn is_owned(&self, name: &str) -> bool {
        self.live.get(name).is_some_and(|live| live.owned)
    }

    pub fn report(&self) -> Option<DriftReport> {
        assert_eq!(self.published, self.state.report(&owner(), self.time()), "what is published is as new");
        self.published.clone()
    }

    /// What is in the status is what is to be reported, and events have told of it.
    pub fn check_reported(&self) {
        let nothing = DriftReport { condition: None, drift: None };
        let report = self.report().unwrap_or_else(|| nothing.clone());
        assert_eq!(self.written.as_ref().unwrap_or(&nothing), &report, "{}", self.log());
        self.reported.check(report.drift.as_ref(), &self.log());
    }

    /// What is published is not older than a review of a large owner may be late.
    fn check_published(&mut self) {
        if self.published == self.state.report(&owner(), self.time()) {
            self.stale = None;
            return;
        }
        let since = *self.stale.get_or_insert(self.now);
        assert!(self.now - since <= STALE_MAX, "published {} ms late\n{}", self.now - since, self.log());
    }

    pub fn log(&self) -> String {
        self.log[self.log.len().saturating_sub(80)..].join("\n")
    }

    // Time.

    fn time(&self) -> Timestamp {
        NOON + SignedDuration::from_millis(i64::try_from(self.now).unwrap())
    }

    pub fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while let Some(((at, _), _)) = self.queue.first_key_value()
            && *at <= end
            && let Some(((at, _), happening)) = self.queue.pop_first()
        {
            self.now = self.now.max(at);
            self.happens(happening);
        }
        self.now = end;
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.next += 1;
        self.queue.insert((at, self.next), happening);
    }

    fn later(&mut self, happening: Happening) {
        let slow = self.slow && self.dice.one_in(4);
        let wait = if slow { 2_000 + self.dice.roll(3_000) } else { 1 + self.dice.roll(20) };
        self.at(self.now + wait, happening);
    }

    pub(super) fn note(&mut self, text: &str) {
        self.log.push(format!("{:>9} {text}", self.now));
    }

    // The cluster.

    fn version(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn put(&mut self, name: &'static str, live: Live) {
        let live = Live { version: self.version(), ..live };
        if live.owned {
            self.shows(seen(name, &live, false));
        }
        self.live.insert(name, live);
    }

    /// We apply: value, fields and labels are ours.
    fn apply(&mut self, name: &'static str, value: &str) -> bool {
        let before = self.live.get(name).cloned();
        if before.as_ref().is_some_and(|live| live.value == value && live.owned && live.writer == "ours") {
            return false;
        }
        let uid = before.map_or_else(|| self.version(), |live| live.uid);
        let live = Live { uid, version: 0, value: value.to_owned(), writer: "ours", owned: true };
        self.put(name, live);
        true
    }

    fn planned(&mut self, name: &'static str, value: &str) -> Arc<Planned> {
        let plan = || plan_of(name, value);
        self.plans.entry((name, value.to_owned())).or_insert_with(plan).clone()
    }

    /// An event joins those that the watch has still to show.
    fn shows(&mut self, input: Input) {
        if self.is_shown() {
            self.will_arrive(input);
        } else {
            self.lost = true;
        }
    }

    fn is_shown(&self) -> bool {
        self.watching && self.kind == KindState::Served
    }

    /// An input joins those that are on their way.
    pub(super) fn will_arrive(&mut self, input: Input) {
        self.watch.push_back(input);
        self.later(Happening::Deliver);
    }

    /// The machine wants these kinds to be watched.
    fn watch_kinds(&mut self, kinds: &BTreeSet<Kind>) {
        let watched = kinds.contains(&kind());
        if watched && !self.watching {
            self.watching = true;
            self.begin_watch();
        } else if !watched {
            self.watching = false;
            self.reported.denied = false;
        }
    }

    // What happens by itself.

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver => {
                if let Some(input) = self.watch.pop_front() {
                    self.pass(input);
                }
            }
            Happening::LookReads(running) => self.look_reads(*running),
            Happening::WorkerWrites(running) => self.worker_writes(*running),
            Happening::LookWrites(running) => self.look_writes(*running),
            Happening::ReadEnds(mut read) => {
                let name = name_of(&read.id);
                let found = self.live.get(name).filter(|live| {
                    let version = live.version.to_string();
                    **read.version.get_or_insert_with(|| version.as_str().into()) == *version
                });
                let found = found.and_then(|live| {
                    let desired = desired(name, &read.planned);
                    crate::rules::Finding::compare_foreign(&live.object(name), &desired, read.seen)
                });
                self.pass(Input::Read(read, found));
            }
            Happening::ContinueAttempt(attempt) => self.continue_attempt(attempt),
            Happening::AttemptReleases => {
                self.locked = false;
                self.attempt = false;
                self.pass(Input::Release(owner()));
            }
            Happening::Tick => self.pass(Input::Tick),
        }
    }

    fn continue_attempt(&mut self, mut attempt: Attempt) {
        if !attempt.began && self.state.is_writing(&owner()) {
            self.later(Happening::ContinueAttempt(attempt));
            return;
        }
        attempt.began = true;
        self.locked = true;
        let stops = attempt.fails && attempt.left.len() == 1 || self.kind == KindState::Unserved;
        if let Some(name) = attempt.left.pop_front().filter(|_| !stops) {
            let value = self.desired.to_string();
            let ours = |live: &Live| live.owned && live.writer == "ours";
            if !self.live.get(name).is_some_and(ours) {
                self.reported.overwritten(name);
            }
            let change = if self.apply(name, &value) { ApplyChange::Written } else { ApplyChange::Unchanged };
            let live = self.live[name].object(name);
            let planned = self.planned(name, &value);
            self.applied.insert(name, planned);
            attempt.applied.push(Applied { id: id(name), change, live });
            self.later(Happening::ContinueAttempt(attempt));
        } else {
            self.policy.revision = format!("main@sha1:{}", self.desired);
            let value = self.desired.to_string();
            let mut objects: Vec<_> = NAMES.map(|name| self.planned(name, &value)).into();
            self.apply_fillers(&mut objects, &mut attempt.applied);
            let managed = Managed { policy: self.policy.clone(), objects, applied: attempt.applied };
            self.pass(Input::Adopt(owner(), managed));
            self.later(Happening::AttemptReleases);
        }
    }

    /// An attempt applies the objects that only make the owner large, which are the same in every revision.
    fn apply_fillers(&mut self, objects: &mut Vec<Arc<Planned>>, applied: &mut Vec<Applied>) {
        for name in self.fillers.clone() {
            let planned = self.planned(name, FILLER_VALUE);
            objects.push(planned.clone());
            if self.kind == KindState::Unserved {
                continue;
            }
            let written = self.apply(name, FILLER_VALUE);
            let change = if written { ApplyChange::Written } else { ApplyChange::Unchanged };
            self.applied.insert(name, planned);
            applied.push(Applied { id: id(name), change, live: self.live[name].object(name) });
        }
    }

    // The worker.

    fn fault(&mut self, name: &str) -> Option<LookFailure> {
        let failure = |passing| LookFailure {
            message: "the server says no".to_owned(),
            denied: false,
            passing,
            away: false,
        };
        self.faults.remove(name).then(|| failure(self.dice.one_in(2)))
    }

    fn look_reads(&mut self, mut running: Running) {
        let name = name_of(&running.job.id);
        if let Some(failure) = self.fault(name) {
            return self.look_ends(running, Outcome::Failed(failure));
        }
        running.evidence = self.live.get(name).cloned();
        let job = &running.job;
        let restore = job.request.restore;
        let finding = finding(job, running.evidence.as_ref());
        let Some(finding) = finding else {
            let live = self.live[name].object(name);
            return self.look_ends(running, Outcome::Clean { live, lacks_fields: false });
        };
        let mode = if restore { DriftMode::Enabled } else { job.situation.mode };
        let open = |why: &SkipReason, report, again| {
            Outcome::Open(Box::new(OpenOutcome {
                finding: finding.clone(),
                live: running.evidence.as_ref().map(|live| live.object(name)),
                why: why.to_string(),
                report,
                again,
                held_by_controller: false,
            }))
        };
        let outcome = match (Situation { mode, ..job.situation }).allows() {
            Err(why) => open(&why, ReportAfter::AtOnce, CompareAgain::Never),
            Ok(()) => match job.contention.check(&finding, self.time()) {
                ContentionChange::Later(at) if !restore => {
                    open(&SkipReason::Contended, ReportAfter::AfterGrace, CompareAgain::At(at))
                }
                ContentionChange::Later(_) | ContentionChange::Now => {
                    return self.later(Happening::WorkerWrites(Box::new(running)));
                }
            },
        };
        self.look_ends(running, outcome);
    }

    fn worker_writes(&mut self, mut running: Running) {
        if !running.wrote {
            running.wrote = self.state.may_write(&running.job);
            if !running.wrote {
                return self.look_ends(running, Outcome::Postponed);
            }
            let allowed = self.policy.mode == DriftMode::Enabled || running.job.request.restore;
            assert!(allowed && !self.policy.suspended, "a write that nobody allows\n{}", self.log());
        }
        self.later(Happening::LookWrites(Box::new(running)));
    }

    fn look_writes(&mut self, mut running: Running) {
        assert!(!self.locked, "a write while an attempt runs\n{}", self.log());
        let name = name_of(&running.job.id);
        if let Some(failure) = self.fault(name) {
            return self.look_ends(running, Outcome::Failed(failure));
        }
        if self.kind == KindState::Unserved {
            let failure = LookFailure {
                message: "no matches for kind".to_owned(),
                denied: false,
                passing: false,
                away: false,
            };
            return self.look_ends(running, Outcome::Failed(failure));
        }
        let live = self.live.get(name).cloned();
        if live.as_ref().map(|live| live.version) != running.evidence.as_ref().map(|live| live.version)
            && running.conflicts == 0
        {
            running.conflicts += 1;
            return self.look_reads(running);
        }
        let finding = finding(&running.job, live.as_ref());
        let value = running.job.planned.object.text(&["data", "a"]).unwrap().to_owned();
        self.apply(name, &value);
        self.writes += 1;
        self.note(&format!("correct {name}={value}"));
        let live = self.live[name].object(name);
        let outcome = match finding {
            Some(finding) => Outcome::Corrected { finding, live, rest: None },
            None => Outcome::Clean { live, lacks_fields: false },
        };
        self.look_ends(running, outcome);
    }

    fn look_ends(&mut self, running: Running, outcome: Outcome) {
        let Running { job, wrote, .. } = running;
        if matches!(outcome, Outcome::Corrected { .. }) {
            self.reported.corrected(name_of(&job.id));
        }
        self.looking.remove(&job.id);
        self.pass(Input::Finished(Box::new(Finished { job, outcome, wrote, detected: None })));
    }

    // The shell.

    pub(super) fn pass(&mut self, input: Input) {
        if matches!(input, Input::Seen(..) | Input::Listed(..)) {
            self.reported.denied = false;
        }
        let effects = self.state.step(input, self.time());
        for effect in effects {
            match effect {
                Effect::Look(job) => {
                    self.looks += 1;
                    assert!(self.looking.insert(job.id.clone()), "two looks at {}\n{}", job.id, self.log());
                    assert!(self.looking.len() <= CONCURRENCY, "too many looks\n{}", self.log());
                    let running = Running { job: *job, evidence: None, wrote: false, conflicts: 0 };
                    self.later(Happening::LookReads(Box::new(running)));
                }
                Effect::Read(read) => self.later(Happening::ReadEnds(read)),
                Effect::Report(_, event) => {
                    self.note(&format!("{}: {}", event.reason.as_str(), event.message));
                    if let Err(wrong) = self.reported.event(&event) {
                        panic!("{wrong}\n{}", self.log());
                    }
                }
                Effect::Publish(_, report) => self.published = report.map(|report| *report),
                Effect::WakeAt(at) => {
                    let wait = at.duration_since(self.time()).as_millis().max(0);
                    // Timers are not exact: one comes early now and then.
                    let wait = u64::try_from(wait).unwrap() + 1;
                    let early = if self.dice.one_in(8) { wait / 2 } else { wait };
                    self.at(self.now + early, Happening::Tick);
                }
                Effect::WriteStatus(_) => {
                    self.written.clone_from(&self.published);
                    if let Err(wrong) = self.reported.writes(self.now) {
                        panic!("{wrong}\n{}", self.log());
                    }
                }
                Effect::WatchKinds(kinds) => self.watch_kinds(&kinds),
                Effect::KindsChanged | Effect::Hurry(_) | Effect::Measure(_) => {}
            }
        }
        if !self.fillers.is_empty() {
            self.check_published();
        }
    }
}

fn settings() -> Settings {
    Settings { concurrency: CONCURRENCY, started: "2026-05-01T11:00:00Z".parse().unwrap() }
}

fn id(name: &str) -> ObjectId {
    ObjectId {
        namespace: "prod".to_owned(),
        name: name.to_owned(),
        group: String::new(),
        kind: "ConfigMap".to_owned(),
    }
}

fn name_of(id: &ObjectId) -> &'static str {
    let filler = || FILLERS.iter().map(String::as_str).find(|name| *name == id.name);
    NAMES.into_iter().find(|name| *name == id.name).or_else(filler).unwrap()
}

fn finding(job: &CompareJob, live: Option<&Live>) -> Option<crate::rules::Finding> {
    let name = name_of(&job.id);
    match live {
        None => Some(crate::rules::Finding::missing(job.request.arrived)),
        Some(live) => crate::rules::Finding::compare(
            &live.object(name),
            &desired(name, &job.planned),
            job.request.arrived,
        ),
    }
}

/// What the server would make of the desired object.
fn desired(name: &str, planned: &Planned) -> Object {
    let value = planned.object.text(&["data", "a"]).unwrap().to_owned();
    Live { uid: 0, version: 0, value, writer: "ours", owned: true }.object(name)
}

fn seen(name: &str, live: &Live, listed: bool) -> Input {
    let seen = Seen::of(&live.metadata(name), &owner().labels(), &Takeover::default(), listed);
    Input::Seen(kind(), id(name), Box::new(seen))
}
