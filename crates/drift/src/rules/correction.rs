//! Correction: whether drift may be corrected, when, and with what.
//!
//! A controller's write is not a person's: tearing an autoscaled workload down within milliseconds is an outage.

use std::collections::BTreeSet;

use plumb_api::kustomize::{DriftMode, InvalidDriftMode};
use plumb_api::meta::DRIFT_DETECTION;
use plumb_manifests::Object;
use serde_json::Value;

use crate::rules::finding::FieldDrift;
use crate::rules::tools::{Tools, WriterKind};
use plumb_planning::exclusion::Policy;
use plumb_planning::fields::{FieldPath, FieldSet, Step};
use plumb_planning::managed_fields;
use plumb_planning::prune::SkipReason;

/// What is known of a drifted object when it is decided whether to correct it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Its mode.
    pub mode: DriftMode,
    /// Whether the Kustomization is suspended.
    pub suspended: bool,
    /// Apply policy of the object.
    pub policy: Policy,
    /// Whether the live object is being deleted.
    pub deleting: bool,
}

impl Situation {
    /// Whether a correction is allowed at all.
    pub fn allows(self) -> Result<(), SkipReason> {
        let Self { mode, suspended, policy, deleting } = self;
        if deleting {
            return Err(SkipReason::BeingDeleted);
        }
        match policy {
            Policy::Disabled => return Err(SkipReason::ReconcileDisabled),
            Policy::Ignore => return Err(SkipReason::SsaIgnore),
            Policy::IfNotPresent => return Err(SkipReason::Present),
            Policy::Override | Policy::Merge => {}
        }
        if suspended {
            return Err(SkipReason::Suspended);
        }
        match mode {
            DriftMode::Enabled => Ok(()),
            DriftMode::Warn => Err(SkipReason::WarnMode),
            DriftMode::Disabled => Err(SkipReason::DriftDisabled),
        }
    }
}

/// The mode of one managed object: its annotation in Git, else the mode of its Kustomization.
pub fn mode_of(default: DriftMode, desired: &Object) -> Result<DriftMode, InvalidDriftMode> {
    match desired.at(&["metadata", "annotations", DRIFT_DETECTION]).and_then(Value::as_str) {
        Some(value) => DriftMode::of_annotation(value, desired.id()),
        None => Ok(default),
    }
}

/// Whether a controller may hold a field that we apply; then the object is compared by dry run before it is corrected.
pub fn controller_may_hold(desired: &Object, live: &Object, tools: &Tools) -> bool {
    let entries = managed_fields::entries(live.at(&["metadata", "managedFields"]));
    let suspects: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.is_own() && !entry.is_status_only())
        .filter(|entry| tools.writer_kind(&entry.manager, &entry.subresource) == WriterKind::Controller)
        .collect();
    if suspects.is_empty() {
        return false;
    }
    let own = entries.iter().find(|entry| entry.is_own());
    FieldSet::of_desired(desired.value()).leaves().iter().any(|path| {
        !own.is_some_and(|entry| entry.fields.contains(path))
            && suspects.iter().any(|entry| entry.fields.touches(path))
    })
}

/// Parts the fields that are corrected now from those that a controller took: (now, at the interval).
pub fn split(fields: Vec<FieldDrift>, tools: &Tools) -> (Vec<FieldDrift>, Vec<FieldDrift>) {
    fields.into_iter().partition(|field| tools.kind_of(&field.writer) != WriterKind::Controller)
}

/// The desired object without the fields that a controller took, for a correction of the rest.
#[must_use]
pub fn without(desired: &Object, fields: &[FieldDrift]) -> Object {
    let mut rest = desired.clone();
    let paths: BTreeSet<&FieldPath> = fields.iter().map(|field| &field.change.path).collect();
    for path in paths {
        remove(rest.value_mut(), &path.0);
    }
    rest
}

fn remove(value: &mut Value, steps: &[Step]) {
    match steps {
        [Step::Field(name)] => {
            if let Some(map) = value.as_object_mut() {
                map.remove(name);
            }
        }
        [step, rest @ ..] => {
            if let Some(below) = get_mut(value, step) {
                remove(below, rest);
            }
        }
        [] => {}
    }
}

fn get_mut<'v>(value: &'v mut Value, step: &Step) -> Option<&'v mut Value> {
    match step {
        Step::Field(name) => value.get_mut(name),
        Step::Key(fields) => {
            value.as_array_mut()?.iter_mut().find(|item| plumb_planning::fields::matches_key(item, fields))
        }
        Step::Item(_) => None,
        Step::Index(at) => value.get_mut(at),
    }
}

#[cfg(test)]
mod tests;
