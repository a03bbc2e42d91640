//! What the state takes over of one object from an attempt.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plumb_planning::plan::Planned;

use super::input::{Applied, ApplyChange};
use super::object::TrackedObject;
use super::owner::OwnerState;
use crate::rules::DriftEvent;

/// One object of an attempt.
pub(super) struct Taken {
    /// What is desired.
    pub planned: Arc<Planned>,
    /// What was known of it.
    pub before: Option<TrackedObject>,
    /// What the attempt did to it, if it got that far.
    pub applied: Option<Applied>,
    /// Nothing was done, and nothing is known.
    pub unverified: bool,
    /// Its number, if it was not managed before.
    pub incarnation: u64,
}

/// Takes one object over. `None`: it was never applied, so there is nothing to compare it with.
pub(super) fn take(
    owner: &mut OwnerState,
    taken: Taken,
    now: Timestamp,
    events: &mut Vec<DriftEvent>,
) -> Option<TrackedObject> {
    let Taken { planned, before, applied, unverified, incarnation } = taken;
    let Some(applied) = applied else {
        // Not applied: what was applied before is still what counts.
        let mut object = match before {
            Some(object) => object,
            None if unverified => {
                let mode = owner.mode_of(&planned.object);
                TrackedObject::new(planned, mode, incarnation)
            }
            None => return None,
        };
        object.mode = owner.mode_of(&object.planned.object);
        return Some(object);
    };
    let moved = before.as_ref().is_none_or(|before| before.planned.digest != planned.digest);
    owner.remembered.remove(&applied.id);
    owner.note_restored(&applied.id);
    report(owner, &applied, moved, now, events);
    let mode = owner.mode_of(&planned.object);
    let mut object = TrackedObject::new(planned, mode, incarnation);
    if let Some(before) = before {
        // A look that is under way comes back to find that it was overtaken.
        object.epoch = before.epoch + 1;
        object.incarnation = before.incarnation;
        object.phase = before.phase;
        object.late = before.late;
        object.due = before.due;
        // The desired object may now be what the other manager wrote.
        if !moved {
            object.contention = before.contention;
        }
    }
    let calm = object.calm();
    object.remember(&applied.live, calm);
    Some(object)
}

/// Reports what the apply of an object overwrote, or that it was not needed.
fn report(
    owner: &mut OwnerState,
    applied: &Applied,
    moved: bool,
    now: Timestamp,
    events: &mut Vec<DriftEvent>,
) {
    let id = &applied.id;
    let open = owner.open.get(id).map(|drift| (drift.finding.clone(), drift.since));
    let before = owner.before_apply.remove(id).filter(|before| before.is_overwritten_by(&applied.live));
    let found = open.or(before.map(|before| (before.finding.clone(), before.finding.seen)));
    match (found, applied.change) {
        (Some((finding, since)), ApplyChange::Written) => {
            let took = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            let revision = moved.then(|| owner.policy.revision.clone());
            events.extend(owner.open.corrected(id, &finding, took, revision.as_deref(), now));
        }
        // Written without a finding: only a status of before a restart may name it.
        (_, ApplyChange::Unchanged) | (None, ApplyChange::Written) => {
            events.extend(owner.open.clean(id, now));
        }
        (_, ApplyChange::Skipped) => {}
    }
}
