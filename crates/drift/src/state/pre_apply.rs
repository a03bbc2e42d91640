//! What attempts may overwrite: an attempt that overwrites what another manager did reports it.

use plumb_manifests::{Object, ObjectId};
use plumb_planning::record::is_older;

use super::input::{Effect, OwnerRef, PreApplyRead};
use super::{State, Step};
use crate::rules::Finding;

/// Reads of what attempts may overwrite, at a time; what is over is compared when the attempt has ended.
const PRE_APPLY_READS_MAX: usize = 32;

/// Drift that was seen before an apply that may overwrite it.
#[derive(Debug, Clone)]
pub(super) struct BeforeApply {
    pub finding: Finding,
    /// What showed it; the response of the apply tells whether it was overwritten.
    shown_by: ShownBy,
}

/// What showed drift before an apply.
#[derive(Debug, Clone)]
enum ShownBy {
    /// A read before the attempt began to write.
    Read,
    /// A watch while the attempt was writing; the object had this version.
    Version(Box<str>),
    /// A watch while the attempt was writing; the object that is not there any more had this UID.
    AbsenceOf(Box<str>),
}

impl BeforeApply {
    /// What a read before the attempt found.
    pub fn read(finding: Finding) -> Self {
        Self { finding, shown_by: ShownBy::Read }
    }

    /// Whether the apply whose response is this object has overwritten it. A version that is not older is the
    /// attempt's own write, or one of another manager after it. An object of the same UID was not deleted: it lost its labels,
    /// or the list that lacks it began before it was created.
    pub fn is_overwritten_by(&self, answered: &Object) -> bool {
        let text = |key| answered.text(&["metadata", key]);
        match &self.shown_by {
            ShownBy::Read => true,
            ShownBy::Version(seen) => text("resourceVersion").is_none_or(|answered| is_older(seen, answered)),
            ShownBy::AbsenceOf(uid) => text("uid").is_none_or(|answered| **uid != *answered),
        }
    }
}

impl State {
    /// Reads what an attempt may be about to overwrite.
    pub(super) fn read_before_apply(
        &mut self,
        owner: &OwnerRef,
        id: &ObjectId,
        version: Option<Box<str>>,
        step: &mut Step,
    ) {
        if self.reads >= PRE_APPLY_READS_MAX {
            return;
        }
        let Some(object) = self.object(owner, id).filter(|object| object.is_watched()) else { return };
        let read = PreApplyRead {
            owner: owner.clone(),
            id: id.clone(),
            planned: object.planned.clone(),
            version,
            seen: step.now,
            incarnation: object.incarnation,
            epoch: object.epoch,
        };
        self.reads += 1;
        step.effects.push(Effect::Read(Box::new(read)));
    }

    /// An object left its watch while an attempt may overwrite it: it was deleted, which the UID of the response tells, or it lost
    /// its labels, which is read.
    pub(super) fn missed_before_apply(
        &mut self,
        owner_ref: &OwnerRef,
        id: &ObjectId,
        version: Option<Box<str>>,
        step: &mut Step,
    ) {
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        let record = owner.objects.get(id).and_then(|object| object.record.as_ref());
        let Some(uid) = record.map(|record| &record.uid).filter(|uid| !uid.is_empty()) else { return };
        let (finding, shown_by) = (Finding::missing(step.now), ShownBy::AbsenceOf(uid.clone()));
        owner.before_apply.insert(id.clone(), BeforeApply { finding, shown_by });
        self.read_before_apply(owner_ref, id, version, step);
    }

    pub(super) fn note_read(&mut self, read: PreApplyRead, found: Option<Finding>) {
        self.reads = self.reads.saturating_sub(1);
        let Some(owner) = self.owners.get_mut(&read.owner).filter(|owner| owner.holds > 0) else { return };
        let of = (read.incarnation, read.epoch);
        let current =
            owner.objects.get(&read.id).is_some_and(|object| (object.incarnation, object.epoch) == of);
        let Some((finding, version)) = found.zip(read.version).filter(|_| current) else { return };
        // A correction that was in flight when the attempt began may have undone it, and was reported.
        let known = owner.objects.get(&read.id).and_then(|object| object.record.as_ref());
        if known.is_none_or(|record| !is_older(&version, &record.version)) {
            let before = BeforeApply { finding, shown_by: ShownBy::Version(version) };
            owner.before_apply.insert(read.id, before);
        }
    }
}
