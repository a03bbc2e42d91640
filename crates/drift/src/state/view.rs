//! Read-only views of the state.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plumb_api::kustomize::DriftMode;
use plumb_manifests::ObjectId;
use plumb_planning::fingerprint::Fingerprint;
use plumb_planning::record::Record;

use super::State;
use super::input::OwnerRef;
use super::object::TrackedObject;
use super::owner::{DriftReport, OwnerState};

impl State {
    /// Whether the objects of an owner are known; false after a restart.
    pub fn is_known(&self, owner: &OwnerRef) -> bool {
        self.owners.get(owner).is_some_and(|owner| owner.adopted)
    }

    /// The owner of an object.
    pub fn owner_of(&self, id: &ObjectId) -> Option<&OwnerRef> {
        self.index.owner(id)
    }

    /// Whether corrections of the objects of an owner are in flight.
    pub fn is_writing(&self, owner: &OwnerRef) -> bool {
        self.owners.get(owner).is_some_and(|owner| !owner.writing.is_empty())
    }

    /// What was applied last, for each object of an owner; empty after a restart.
    pub fn applied(&self, owner: &OwnerRef) -> BTreeMap<ObjectId, Fingerprint> {
        self.objects(owner).map(|(id, object)| (id.clone(), object.planned.digest)).collect()
    }

    /// What was seen last, for each object of an owner that was compared.
    pub fn records(&self, owner: &OwnerRef) -> BTreeMap<ObjectId, Record> {
        self.objects(owner).filter_map(|(id, object)| Some((id.clone(), object.record.clone()?))).collect()
    }

    /// The version of each object of an owner that a watch shows, as it was shown last.
    pub fn watched_versions(&self, owner: &OwnerRef) -> BTreeMap<ObjectId, Box<str>> {
        self.objects(owner)
            .filter(|(_, object)| object.is_watched() && !self.denied.contains_key(&object.kind()))
            .filter_map(|(id, object)| Some((id.clone(), object.record.as_ref()?.version.clone())))
            .collect()
    }

    /// The objects of an owner that are applied at the interval: those that are compared only then, and those of which a
    /// controller holds fields.
    pub fn applied_at_interval(&self, owner: &OwnerRef) -> BTreeSet<ObjectId> {
        let suspended = self.owners.get(owner).is_none_or(|owner| owner.policy.suspended);
        self.objects(owner)
            .filter(|(_, object)| !suspended && is_applied_at_interval(object))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// What is reported of an owner; `None` while it is not known yet.
    pub fn report(&self, owner: &OwnerRef, now: Timestamp) -> Option<DriftReport> {
        self.owners.get(owner).and_then(|owner| owner.report(now))
    }

    /// Whether nothing is under way and nothing waits, except for its time.
    pub fn is_idle(&self) -> bool {
        let idle = |owner: &OwnerState| {
            owner.holds == 0 && owner.writing.is_empty() && owner.objects.values().all(TrackedObject::is_idle)
        };
        self.schedule.is_idle() && self.reads == 0 && self.owners.values().all(idle)
    }

    /// How drift of an owner is handled.
    #[cfg(test)]
    pub(crate) fn policy(&self, owner: &OwnerRef) -> Option<&super::DriftPolicy> {
        self.owners.get(owner).map(|owner| &owner.policy)
    }

    /// What was applied last of an owner.
    #[cfg(test)]
    pub(crate) fn desired(&self, owner: &OwnerRef) -> impl Iterator<Item = &plumb_planning::plan::Planned> {
        self.objects(owner).map(|(_, object)| object.planned.as_ref())
    }

    fn objects(&self, owner: &OwnerRef) -> impl Iterator<Item = (&ObjectId, &TrackedObject)> {
        self.owners.get(owner).into_iter().flat_map(|owner| &owner.objects)
    }
}

/// Whether an object is applied at the interval: drift of it is not detected before, or a controller holds fields of it.
fn is_applied_at_interval(object: &TrackedObject) -> bool {
    let held = object.held_by_controller && object.mode == DriftMode::Enabled;
    held || object.mode == DriftMode::Disabled && object.planned.policy.corrects()
}
