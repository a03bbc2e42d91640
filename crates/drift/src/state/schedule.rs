//! The queues of comparisons, and the times at which something is due. Each object is in each queue at most once and has
//! at most one time.

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;
use plumb_manifests::ObjectId;

use super::input::OwnerRef;

/// Background comparisons take at most this part of the slots.
const DEFERRED_PART: usize = 2;

/// One object of an owner.
pub(super) type Place = (OwnerRef, ObjectId);

/// An owner, or one object of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub owner: OwnerRef,
    pub id: Option<ObjectId>,
}

/// Queues, slots and times.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedule {
    pub ready: VecDeque<Place>,
    pub deferred: VecDeque<Place>,
    timers: BTreeSet<(Timestamp, Timer)>,
    running: usize,
    running_deferred: usize,
}

impl Schedule {
    /// The next place in the queues that has a slot, and whether it is one without hurry.
    pub fn next(&mut self, slots: usize) -> Option<(Place, bool)> {
        if self.running >= slots.max(1) {
            return None;
        }
        if let Some(place) = self.ready.pop_front() {
            return Some((place, false));
        }
        if self.running_deferred < (slots / DEFERRED_PART).max(1) {
            return Some((self.deferred.pop_front()?, true));
        }
        None
    }

    /// A look begins.
    pub fn begin(&mut self, deferred: bool) {
        self.running += 1;
        self.running_deferred += usize::from(deferred);
    }

    /// A look has ended.
    pub fn end(&mut self, deferred: bool) {
        self.running = self.running.saturating_sub(1);
        self.running_deferred = self.running_deferred.saturating_sub(usize::from(deferred));
    }

    /// Whether no look runs or waits.
    pub fn is_idle(&self) -> bool {
        self.running == 0 && self.ready.is_empty() && self.deferred.is_empty()
    }

    /// The earliest time.
    pub fn first(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A timer whose time has come.
    pub fn pop(&mut self, now: Timestamp) -> Option<Timer> {
        if self.first()? > now {
            return None;
        }
        self.timers.pop_first().map(|(_, timer)| timer)
    }

    /// Moves a timer from one time to another.
    pub fn set(&mut self, timer: Timer, due: &mut Option<Timestamp>, at: Option<Timestamp>) {
        if *due == at {
            return;
        }
        let timer = match std::mem::replace(due, at) {
            Some(before) => self.timers.take(&(before, timer.clone())).map_or(timer, |(_, timer)| timer),
            None => timer,
        };
        self.timers.extend(at.map(|at| (at, timer)));
    }

    /// Moves a timer to a time, unless it has an earlier one.
    pub fn set_earlier(&mut self, timer: Timer, due: &mut Option<Timestamp>, at: Timestamp) {
        if due.is_none_or(|due| due > at) {
            self.set(timer, due, Some(at));
        }
    }
}
