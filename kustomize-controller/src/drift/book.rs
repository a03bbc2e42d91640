//! Book: what the desk keeps of one Kustomization: its objects, what stands, what was told. Only data and small questions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::kustomize::DriftStatus;
use plumb_apply::ObjectChange;
use plumb_manifests::{Object, ObjectId};
use plumb_planning::drift::record::{Cause, Watchfulness, is_older};
use plumb_planning::drift::{
    Contention, Debounce, EventAggregator, Finding, Mode, OpenDrift, Record, ReportPace, Seen, vanish,
};
use plumb_planning::exclusion::Policy;
use plumb_planning::managed_fields::Hashes;
use plumb_planning::plan::Planned;
use plumb_status::Detail;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Group, version and kind.
pub(super) type Kind = (String, String, String);

/// Under which terms a Kustomization's objects are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftPolicy {
    /// The revision that is applied: every event names it.
    pub revision: String,
    /// The revision of the artifact's origin, where it has one.
    pub origin_revision: Option<String>,
    /// What is done about drift.
    pub mode: Mode,
    /// Whether nothing may be applied or corrected.
    pub suspended: bool,
    /// The interval: corrections that were slowed down come no later than this.
    pub interval: Duration,
}

/// What is desired, and what an attempt did about it.
#[derive(Debug, Clone, Default)]
pub struct Managed {
    /// The terms.
    pub terms: DriftPolicy,
    /// Every desired object, whether it was applied in this attempt or not.
    pub objects: Vec<Planned>,
    /// What the attempt did.
    pub changes: Vec<ObjectChange>,
}

/// One Kustomization.
#[derive(Default)]
pub(super) struct KustomizationState {
    /// Whether its objects are known: false after a restart.
    pub adopted: bool,
    pub terms: DriftPolicy,
    pub objects: BTreeMap<ObjectId, TrackedObject>,
    /// The kinds of those that are watched, as they were counted.
    pub kinds: BTreeSet<Kind>,
    pub standings: OpenDrift,
    pub burst: EventAggregator,
    /// Ids that the status of before the restart names, not compared yet: until then nothing new is said of the whole.
    pub recalled: BTreeSet<ObjectId>,
    /// What an apply is about to overwrite.
    pub witnessed: BTreeMap<ObjectId, Witnessed>,
    /// How many attempts hold the pen.
    pub holds: usize,
    /// Cancelled while an attempt holds the pen: corrections that are in flight wait for no slow answer.
    pub hurry: CancellationToken,
    /// How many corrections are in flight.
    pub writing: usize,
    pub restored: Option<String>,
    pub restoring: Option<Restoring>,
    /// What was reported last; `None`: nothing by this process, and a status of before it says something.
    pub reported: Option<(Option<Detail>, Option<DriftStatus>)>,
    pub report_pace: ReportPace,
    /// When the report is looked at again because it came too soon.
    pub report_at: Option<Timestamp>,
    pub audit_at: Option<Timestamp>,
    pub reviewed_at: Option<Timestamp>,
    pub due: Option<Instant>,
    /// How many objects are kept and how many of them are unverified, as the gauges were told.
    pub counted: (usize, usize),
}

/// A restore that goes on.
pub(super) struct Restoring {
    pub raw: String,
    pub left: BTreeSet<ObjectId>,
}

/// Drift that was seen before an apply that may overwrite it.
pub(super) struct Witnessed {
    pub finding: Finding,
    /// The version of the object that shows it, where a watch showed it while the attempt was writing.
    pub version: Option<Box<str>>,
}

impl Witnessed {
    /// Drift of which the watch showed no version: seen before the attempt wrote, or the object is missing.
    pub fn before(finding: Finding) -> Self {
        Self { finding, version: None }
    }

    /// Whether the apply that was answered with this object has overwritten it. A version that is not older is the
    /// attempt's own write, or somebody's after it.
    pub fn is_overwritten_by(&self, answered: &Object) -> bool {
        match (&self.version, answered.text(&["metadata", "resourceVersion"])) {
            (Some(seen), Some(answered)) => is_older(seen, answered),
            (None, _) | (_, None) => true,
        }
    }
}

/// One object.
pub(super) struct TrackedObject {
    /// What was applied last.
    pub planned: Arc<Planned>,
    /// Its own mode.
    pub mode: Mode,
    /// `None`: never compared since the start.
    pub record: Option<Record>,
    pub pace: Debounce,
    pub contention: Contention,
    pub phase: Phase,
    /// What is to be done once its turn comes.
    pub errand: Option<CompareRequest>,
    /// What was seen while it was in hand.
    pub late: Late,
    pub due: Option<Instant>,
    /// Failures in a row.
    pub failures: u32,
    /// Counts applies by the attempts: a look from before one is worth nothing after it.
    pub epoch: u64,
    /// Whether a controller holds fields of it, which are put back at the interval.
    pub taken: bool,
}

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    Queued,
    /// Queued behind everything that is urgent.
    Deferred,
    Running,
}

/// Why an object is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CompareRequest {
    /// When the news arrived.
    pub arrived: Timestamp,
    /// Whether nothing may be written unless a dry run shows a difference.
    pub careful: bool,
    /// Whether a person asked to put it back, whatever the mode.
    pub restore: bool,
    /// Whether it can wait.
    pub background: bool,
    /// How the object left its watch, if it did.
    pub gone: Gone,
}

/// News of an object that is in hand.
#[derive(Default)]
pub(super) struct Late {
    pub seen: Option<Seen>,
    pub gone: Option<Gone>,
}

/// An object left its watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// What was seen of its end does not tell why.
    Somehow,
    /// It was deleted before its time had come.
    CutShort,
}

impl CompareRequest {
    /// Something was seen just now.
    pub fn urgent(arrived: Timestamp) -> Self {
        Self { arrived, careful: false, restore: false, background: false, gone: Gone::Somehow }
    }

    /// Nothing was seen; a look, when there is time.
    pub fn quiet(arrived: Timestamp) -> Self {
        Self { arrived, careful: true, restore: false, background: true, gone: Gone::Somehow }
    }

    /// Two reasons to look, in one look.
    pub fn joined(before: Option<Self>, other: Self) -> Self {
        let Some(before) = before else { return other };
        Self {
            arrived: before.arrived.min(other.arrived),
            careful: before.careful && other.careful,
            restore: before.restore || other.restore,
            background: before.background && other.background,
            gone: if before.gone == Gone::CutShort { before.gone } else { other.gone },
        }
    }
}

impl TrackedObject {
    pub fn new(planned: Planned, mode: Mode) -> Self {
        Self {
            planned: Arc::new(planned),
            mode,
            record: None,
            pace: Debounce::default(),
            contention: Contention::default(),
            phase: Phase::Idle,
            errand: None,
            late: Late::default(),
            due: None,
            failures: 0,
            epoch: 0,
            taken: false,
        }
    }

    /// Whether drift of it is looked for between intervals.
    pub fn is_watched(&self) -> bool {
        self.mode != Mode::Disabled && self.planned.policy.corrects()
    }

    pub fn kind(&self) -> Kind {
        let object = &self.planned.object;
        (object.group().to_owned(), object.version().to_owned(), object.kind().to_owned())
    }

    /// How closely it is watched when nothing stands.
    pub fn calm(&self) -> Watchfulness {
        if self.planned.policy == Policy::Merge { Watchfulness::ByVersion } else { Watchfulness::Calm }
    }

    /// How closely it is watched while something stands.
    pub fn flagged(&self) -> Watchfulness {
        if self.planned.policy == Policy::Merge { Watchfulness::ByVersion } else { Watchfulness::Flagged }
    }

    /// Takes a live object as what is known.
    pub fn remember(&mut self, live: &Object, watchfulness: Watchfulness) {
        self.record = Some(Record::baseline(live, self.planned.digest, watchfulness));
    }

    /// Takes its absence as what is known: whatever is seen next is another incarnation.
    pub fn remember_absence(&mut self) {
        self.record = Some(Record {
            uid: Box::default(),
            version: Box::default(),
            generation: None,
            hashes: Hashes::default(),
            applied: self.planned.digest,
            watchfulness: self.flagged(),
        });
    }

    /// Whether its absence is no drift: objects like it are removed when their time has come.
    pub fn may_vanish(&self, now: Timestamp) -> bool {
        vanish::may_vanish(&self.planned.object, now)
    }

    pub fn is_known_absent(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.uid.is_empty())
    }
}

/// Whether a cause is worth a line in the log.
pub(super) fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::OwnEntry => "our entry changed",
        Cause::Generation => "the generation moved",
        Cause::Version => "the version moved",
        Cause::Flagged => "a flagged object changed",
        Cause::Recreated => "it was recreated",
        Cause::Unlabelled => "the owner labels are gone",
        Cause::Leftover => "a person's tool wrote",
    }
}

/// The mode of an object. One that cannot be read is never taken for `enabled`.
pub(super) fn mode_of(terms: &DriftPolicy, planned: &Planned) -> Mode {
    terms.mode.of_object(&planned.object).unwrap_or(Mode::Warn)
}
