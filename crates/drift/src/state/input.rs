//! What goes into the state machine and what comes out of it. Values only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::kustomize::{DriftClass, DriftMode, DriftStatus};
use plumb_api::meta::NamespacedName;
use plumb_manifests::{Object, ObjectId};
use plumb_planning::inventory::Inventory;
use plumb_planning::ownership::Owner;
use plumb_planning::plan::Planned;
use plumb_planning::record::Seen;
use plumb_status::EventDraft;
use serde_json::Value;

use super::object::{CompareRequest, Gone};
use super::owner::DriftReport;
use crate::rules::correction::Situation;
use crate::rules::open::ReportAfter;
use crate::rules::{Contention, Finding};

/// Group, version and kind.
pub type Kind = (String, String, String);

/// The object that manages others: its kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerRef {
    /// The kind, as labels of metrics and messages name it.
    pub kind: &'static str,
    /// Namespace and name.
    pub name: NamespacedName,
}

/// How drift of the objects of one owner is handled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftPolicy {
    /// The revision that is applied: every event names it.
    pub revision: String,
    /// The revision of the artifact's origin, where it has one.
    pub origin_revision: Option<String>,
    /// What is done about drift.
    pub mode: DriftMode,
    /// Nothing may be applied or corrected.
    pub suspended: bool,
    /// The interval: corrections that were slowed down come no later than this.
    pub interval: Duration,
}

/// What is desired, and what an attempt did about it.
#[derive(Debug, Clone, Default)]
pub struct Managed {
    /// The policy.
    pub policy: DriftPolicy,
    /// Every desired object, whether it was applied in this attempt or not.
    pub objects: Vec<Arc<Planned>>,
    /// What the attempt did.
    pub applied: Vec<Applied>,
}

/// What an attempt did to one object.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Which object.
    pub id: ObjectId,
    /// What was done.
    pub change: ApplyChange,
    /// Its metadata from the response of the API server.
    pub live: Object,
}

/// What an apply changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyChange {
    /// It was created or configured.
    Written,
    /// It was as it should be.
    Unchanged,
    /// It was excluded.
    Skipped,
}

/// A restore that an annotation requests.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The annotation.
    pub raw: String,
    /// What the status echoes.
    pub echoed: Option<String>,
    /// Whether the installed definition keeps the echo.
    pub crd_echoes: bool,
    /// What may be meant.
    pub inventory: Inventory,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// An attempt begins: no correction of its objects begins until [`Input::Release`].
    Hold(OwnerRef),
    /// An attempt has ended: objects with events meanwhile are compared now.
    Release(OwnerRef),
    /// After an apply, whole or partial: what is desired now and what was done.
    Adopt(OwnerRef, Managed),
    /// After a restart, when nothing needs applying: each object is compared once, in the background.
    AdoptUnverified(OwnerRef, Managed),
    /// After a restart: what an apply is about to overwrite.
    BeforeApply(OwnerRef, BTreeMap<ObjectId, Finding>),
    /// Mode, suspension, interval or revision may have changed.
    Policy(OwnerRef, DriftPolicy),
    /// Mode, suspension or interval of the owner's current spec, regardless of its attempts.
    Spec {
        /// Whose.
        owner: OwnerRef,
        /// What is done about drift.
        mode: DriftMode,
        /// Nothing may be applied or corrected.
        suspended: bool,
        /// The interval.
        interval: Duration,
    },
    /// The owner cannot be read: nothing of it is corrected until the next [`Input::Spec`].
    Unreadable(OwnerRef),
    /// After a restart: the drift in the status, which was reported.
    Remember(OwnerRef, DriftStatus),
    /// The interval has passed: what no watch shows is compared.
    Interval(OwnerRef),
    /// Everything is compared once, in the background.
    Audit(OwnerRef),
    /// A user requests to restore objects once.
    Restore(OwnerRef, RestoreRequest),
    /// The owner was deleted.
    Forget(OwnerRef),
    /// A watch shows an object.
    Seen(Kind, ObjectId, Box<Seen>),
    /// An object left its watch, with its last metadata.
    Missed(Kind, ObjectId, Value),
    /// A list of a kind is complete: namespace and name of all that is there.
    Listed(Kind, BTreeSet<(String, String)>),
    /// A kind may not be watched, and why.
    Denied(Kind, String),
    /// A kind is not served.
    Unserved(Kind),
    /// A look has ended.
    Finished(Box<Finished>),
    /// A read of what an attempt may overwrite has ended.
    Read(Box<PreApplyRead>, Option<Finding>),
    /// A time that [`Effect::WakeAt`] named has come.
    Tick,
}

/// Something that is to be done.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Compare one object, and correct it if that is allowed.
    Look(Box<CompareJob>),
    /// Read one object before an attempt overwrites it.
    Read(Box<PreApplyRead>),
    /// Emit an event; its involved object is the owner.
    Report(OwnerRef, EventDraft),
    /// What is reported of an owner; `None`: not known yet.
    Publish(OwnerRef, Option<Box<DriftReport>>),
    /// The condition or `status.drift` of an owner has changed.
    WriteStatus(OwnerRef),
    /// Watch exactly these kinds.
    WatchKinds(BTreeSet<Kind>),
    /// A definition was seen while a kind is not served.
    KindsChanged,
    /// Do not wait for slow responses in the comparisons of this owner's objects.
    Hurry(OwnerRef),
    /// Count something.
    Measure(Measurement),
    /// Send [`Input::Tick`] at this time; an earlier one is harmless.
    WakeAt(Timestamp),
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measurement {
    /// The time from an event to the evidence.
    Detected(Duration),
    /// The time from an event to the correction.
    Corrected(OwnerRef, Duration),
    /// Managed and unverified objects of an owner, before and now; and its open drift by class.
    Objects {
        /// Whose.
        owner: OwnerRef,
        /// Managed and unverified objects as they were counted before.
        before: (usize, usize),
        /// Managed and unverified objects now.
        now: (usize, usize),
        /// Open drift.
        open: Vec<DriftClass>,
    },
    /// The owner was deleted: drop its counters.
    Forgotten(OwnerRef, (usize, usize)),
}

/// One look at one object.
#[derive(Debug, Clone)]
pub struct CompareJob {
    /// Whose object.
    pub owner: OwnerRef,
    /// Which object.
    pub id: ObjectId,
    /// What is desired.
    pub planned: Arc<Planned>,
    /// Why it is compared.
    pub request: CompareRequest,
    /// Mode, suspension and policy; whether the live object is being deleted is found out by the look.
    pub situation: Situation,
    /// Which corrections wait.
    pub contention: Contention,
    pub(super) incarnation: u64,
    pub(super) epoch: u64,
    pub(super) deferred: bool,
}

/// How a look ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The look.
    pub job: CompareJob,
    /// The outcome.
    pub outcome: Outcome,
    /// Whether it was allowed to write.
    pub wrote: bool,
    /// The time from the event until the evidence was complete.
    pub detected: Option<Duration>,
}

/// The outcome of a comparison.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Live and desired are the same.
    Clean {
        /// The live object.
        live: Object,
        /// Our entry lacks fields of it, so that it has to be watched more closely.
        lacks_fields: bool,
    },
    /// It was corrected.
    Corrected {
        /// What differed.
        finding: Finding,
        /// The live object after it.
        live: Object,
        /// What a controller holds.
        rest: Option<Finding>,
    },
    /// The object still differs from its declared state.
    Open(Box<OpenOutcome>),
    /// It is not there any more, and that is as it should be.
    Vanished,
    /// It is being deleted: its end will be seen.
    Deleting {
        /// The live object.
        live: Object,
    },
    /// An attempt was faster: look again.
    Postponed,
    /// Nothing could be found out.
    Failed(LookFailure),
    /// The process ends, or the job did.
    Abandoned,
}

/// Drift that is not corrected now.
#[derive(Debug, Clone)]
pub struct OpenOutcome {
    /// What differs.
    pub finding: Finding,
    /// The live object; `None` when there is none, or it could not be read.
    pub live: Option<Object>,
    /// Why it is not corrected.
    pub why: String,
    /// When it is reported.
    pub report: ReportAfter,
    /// When it is compared again without a further event.
    pub again: CompareAgain,
    /// Whether a controller holds the fields.
    pub held_by_controller: bool,
}

/// When an object is compared again without a further event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareAgain {
    /// Not before something is seen.
    Never,
    /// At this time.
    At(Timestamp),
    /// After a pause that doubles with each failure.
    Backoff,
    /// After the interval.
    Interval,
}

/// Why nothing could be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookFailure {
    /// The error.
    pub message: String,
    /// The identity may not do it.
    pub denied: bool,
    /// It passes by itself.
    pub passing: bool,
    /// The API server does not respond.
    pub away: bool,
}

/// A read of an object that another manager changed while an attempt may overwrite it.
#[derive(Debug, Clone)]
pub struct PreApplyRead {
    /// Whose object.
    pub owner: OwnerRef,
    /// Which object.
    pub id: ObjectId,
    /// What was applied: the change is reported against this.
    pub planned: Arc<Planned>,
    /// The version that the watch showed; a later one may be the attempt's own. A list shows none for what it lacks: then that
    /// of what is read.
    pub version: Option<Box<str>>,
    /// When it was seen.
    pub seen: Timestamp,
    pub(super) incarnation: u64,
    pub(super) epoch: u64,
}

impl OwnerRef {
    /// A Kustomization.
    pub fn kustomization(name: &NamespacedName) -> Self {
        Self { kind: "Kustomization", name: name.clone() }
    }

    /// As the owner labels name it.
    pub fn labels(&self) -> Owner {
        Owner { name: self.name.name.clone(), namespace: self.name.namespace.clone() }
    }
}

impl fmt::Display for OwnerRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind, self.name)
    }
}

impl CompareJob {
    /// Whether the absence of the object is no drift: a controller deleted it after it finished. A user who requests
    /// it gets it back.
    pub fn has_vanished(&self, now: Timestamp) -> bool {
        let request = &self.request;
        !request.restore
            && request.gone == Gone::Unexplained
            && crate::rules::vanish::may_vanish(&self.planned.object, now)
    }
}
