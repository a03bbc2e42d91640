//! One managed object: what is known of it, and what has to be done about it.

use std::sync::Arc;

use jiff::Timestamp;
use plumb_api::kustomize::DriftMode;
use plumb_manifests::{Object, ObjectId};
use plumb_planning::exclusion::Policy;
use plumb_planning::managed_fields::Hashes;
use plumb_planning::plan::Planned;
use plumb_planning::record::{Cause, EventAction, Record, Seen, Watchfulness, action_for};

use super::input::Kind;
use crate::rules::{Contention, Debounce, vanish};

/// One managed object.
#[derive(Debug, Clone)]
pub(super) struct TrackedObject {
    /// What was applied last.
    pub planned: Arc<Planned>,
    /// Its own mode.
    pub mode: DriftMode,
    /// What was seen last; `None`: never compared since the start.
    pub record: Option<Record>,
    pub debounce: Debounce,
    pub contention: Contention,
    pub phase: Phase,
    /// What is to be compared once its turn comes.
    pub request: Option<CompareRequest>,
    /// Events while it could not be compared.
    pub late: Late,
    /// When it is compared again without a further event.
    pub due: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Counts applies by attempts: a look from before one counts for nothing after it.
    pub epoch: u64,
    /// Distinguishes it from one of the same ID that was managed before. A number of its own in the whole state.
    pub incarnation: u64,
    /// The next look is the requested restore of which the last one found nothing out.
    pub restore_again: bool,
    /// Whether a controller holds fields of it, which are applied at the interval.
    pub held_by_controller: bool,
}

/// Where an object is on its way to a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    Queued,
    /// Queued behind everything that is urgent.
    Deferred,
    Running,
}

/// Why an object is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompareRequest {
    /// When the event arrived.
    pub arrived: Timestamp,
    /// Nothing may be written unless a dry run shows a difference.
    pub careful: bool,
    /// A user requested to restore it, regardless of the mode.
    pub restore: bool,
    /// It can wait for everything that is urgent.
    pub background: bool,
    /// How the object left its watch, if it did.
    pub gone: Gone,
    /// What a watch showed, if that was the reason.
    pub cause: Option<Cause>,
}

/// How an object left its watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The observed metadata does not show why it was deleted.
    Unexplained,
    /// It was deleted before its time had come.
    CutShort,
}

/// Events of an object that could not be compared.
#[derive(Debug, Clone, Default)]
pub(super) struct Late {
    pub seen: Option<Seen>,
    pub gone: Option<Gone>,
}

impl CompareRequest {
    /// Something was seen just now.
    pub fn urgent(arrived: Timestamp) -> Self {
        Self {
            arrived,
            careful: false,
            restore: false,
            background: false,
            gone: Gone::Unexplained,
            cause: None,
        }
    }

    /// Nothing was seen; a look, when there is time.
    pub fn background(arrived: Timestamp) -> Self {
        Self {
            arrived,
            careful: true,
            restore: false,
            background: true,
            gone: Gone::Unexplained,
            cause: None,
        }
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
            cause: before.cause.or(other.cause),
        }
    }
}

impl TrackedObject {
    pub fn new(planned: Arc<Planned>, mode: DriftMode, incarnation: u64) -> Self {
        Self {
            planned,
            mode,
            record: None,
            debounce: Debounce::default(),
            contention: Contention::default(),
            phase: Phase::Idle,
            request: None,
            late: Late::default(),
            due: None,
            failures: 0,
            epoch: 0,
            incarnation,
            restore_again: false,
            held_by_controller: false,
        }
    }

    /// Whether drift of it is detected between intervals.
    pub fn is_watched(&self) -> bool {
        self.mode != DriftMode::Disabled && self.planned.policy.corrects()
    }

    /// Group, version and kind.
    pub fn kind(&self) -> Kind {
        let object = &self.planned.object;
        (object.group().to_owned(), object.version().to_owned(), object.kind().to_owned())
    }

    /// How closely it is watched when it does not drift.
    pub fn calm(&self) -> Watchfulness {
        if self.planned.policy == Policy::Merge { Watchfulness::ByVersion } else { Watchfulness::Calm }
    }

    /// How closely it is watched while it drifts.
    pub fn flagged(&self) -> Watchfulness {
        if self.planned.policy == Policy::Merge { Watchfulness::ByVersion } else { Watchfulness::Flagged }
    }

    /// Takes a live object as what is known.
    pub fn remember(&mut self, live: &Object, watchfulness: Watchfulness) {
        self.record = Some(Record::baseline(live, self.planned.digest, watchfulness));
    }

    /// Records its absence: the next object seen is another incarnation.
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

    /// Takes an event into the record. Returns whether it triggers a comparison; an object that was never compared waits for its first
    /// comparison, which covers all earlier events.
    pub fn record_event(&mut self, seen: &Seen) -> Option<Cause> {
        let record = self.record.as_mut()?;
        let trigger = action_for(record, seen);
        if trigger != EventAction::Stale {
            record.advance(seen);
        }
        match trigger {
            EventAction::Compare(cause) => Some(cause),
            EventAction::Stale | EventAction::Explained => None,
        }
    }

    /// Whether an event would be a reason to compare.
    pub fn would_trigger(&self, seen: &Seen) -> bool {
        self.record.as_ref().is_some_and(|record| matches!(action_for(record, seen), EventAction::Compare(_)))
    }

    /// Whether nothing is to be done about it.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.request.is_none() && !self.has_late()
    }

    /// Whether there were events while it could not be compared.
    pub fn has_late(&self) -> bool {
        self.late.seen.is_some() || self.late.gone.is_some()
    }
}

/// The IDs of those that are watched and have never been compared.
pub(super) fn is_unverified((_, object): &(&ObjectId, &TrackedObject)) -> bool {
    object.is_watched() && object.record.is_none()
}
