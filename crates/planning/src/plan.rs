//! Plan: everything one attempt will do to the cluster, as a value that leaves no choice to the executor.
//!
//! Built from a complete, error-free set of desired objects only; a plan from a part of a build would delete the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plumb_manifests::{Object, ObjectId};
use serde_json::Value;

use crate::exclusion::Policy;
use crate::fingerprint::{self, Fingerprint, HashKey};
use crate::inventory::Inventory;
use crate::ownership::Owner;
use crate::prune::{self, Candidate, SkipReason};
use crate::stage::{self, Wave};
use crate::{computed, typed_form};

/// A desired object, ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Which object.
    pub id: ObjectId,
    /// What to apply: labelled, normalised.
    pub object: Object,
    /// The desired content (D), to compare with what was applied (A).
    pub digest: Fingerprint,
    /// Apply policy.
    pub policy: Policy,
}

/// What an attempt will do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// What is applied, wave after wave.
    pub waves: Vec<Wave>,
    /// What left the desired state, in deletion order. Permission is given by the live object: [`prune::may_delete`].
    pub prune: Vec<Candidate>,
    /// Skipped objects, and why.
    pub skipped: Vec<(ObjectId, SkipReason)>,
    /// Every desired object, skipped ones included: the inventory after success.
    pub desired: Inventory,
    /// Old and desired together: the inventory that is written before the first apply.
    pub write_ahead: Inventory,
}

impl Plan {
    /// Whether there is nothing to apply and nothing to delete.
    pub fn is_idle(&self) -> bool {
        self.waves.is_empty() && self.prune.is_empty()
    }

    /// Ids that will be applied, in order.
    pub fn applies(&self) -> impl Iterator<Item = &ObjectId> {
        self.waves.iter().flat_map(|wave| wave.objects.iter().map(|planned| &planned.id))
    }
}

/// Which of the desired objects need applying.
#[derive(Debug, Clone, Copy)]
pub enum Selection<'a> {
    /// All of them: nothing is known about the cluster (first time, requested, drift detection disabled).
    Everything,
    /// Those whose desired state differs from what was applied, and the listed ones.
    Changed {
        /// What was last applied, per object (A).
        applied: &'a BTreeMap<ObjectId, Fingerprint>,
        /// Objects to apply though nothing changed in Git: drift that is due, or a restore.
        also: &'a BTreeSet<ObjectId>,
    },
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The complete output of an error-free build, prepared by [`prepare`].
    pub desired: &'a [Arc<Planned>],
    /// The inventory of the status.
    pub before: &'a Inventory,
    /// What needs applying.
    pub selection: Selection<'a>,
    /// Whether objects that left Git are deleted.
    pub prunes: bool,
}

/// Two desired objects with one id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id} is defined twice")]
pub struct DuplicateId {
    /// The id.
    pub id: ObjectId,
}

/// Prepares desired objects: owner labels, normal form, digest, policy. Rejects two objects with one id.
pub fn prepare(objects: Vec<Object>, owner: &Owner, key: &HashKey) -> Result<Vec<Arc<Planned>>, DuplicateId> {
    let mut seen = BTreeSet::new();
    let mut ready = Vec::with_capacity(objects.len());
    for mut object in objects {
        normalise(&mut object);
        owner.label(&mut object);
        let id = object.id();
        if !seen.insert(id.clone()) {
            return Err(DuplicateId { id });
        }
        let digest = fingerprint::of_object(&object, key);
        let policy = Policy::of(&object);
        ready.push(Arc::new(Planned { id, object, digest, policy }));
    }
    Ok(ready)
}

/// Plans.
pub fn plan(request: Request<'_>) -> Plan {
    let Request { desired, before, selection, prunes } = request;
    let inventory: Inventory =
        desired.iter().map(|planned| (planned.id.clone(), planned.object.version().to_owned())).collect();
    let inventory = inventory.with_unreadable_of(before);
    let mut apply = Vec::new();
    let mut skipped = Vec::new();
    for planned in desired {
        match skip_reason(planned, selection) {
            Some(why) => skipped.push((planned.id.clone(), why)),
            None => apply.push(Arc::clone(planned)),
        }
    }
    let stale = prune::candidates(before, &inventory);
    let prune = if prunes {
        stale
    } else {
        skipped.extend(stale.into_iter().map(|candidate| (candidate.id, SkipReason::PruneOff)));
        Vec::new()
    };
    let write_ahead = before.union(&inventory);
    Plan { waves: stage::waves(apply), prune, skipped, desired: inventory, write_ahead }
}

fn skip_reason(planned: &Planned, selection: Selection<'_>) -> Option<SkipReason> {
    match planned.policy {
        Policy::Disabled => return Some(SkipReason::ReconcileDisabled),
        Policy::Ignore => return Some(SkipReason::SsaIgnore),
        Policy::Override | Policy::Merge | Policy::IfNotPresent => {}
    }
    match selection {
        Selection::Everything => None,
        Selection::Changed { applied, also } => {
            let same = applied.get(&planned.id) == Some(&planned.digest);
            (same && !also.contains(&planned.id)).then_some(SkipReason::Unchanged)
        }
    }
}

/// The plan of a Kustomization that goes away: nothing is desired.
pub fn teardown(before: &Inventory, prunes: bool) -> Plan {
    plan(Request { desired: &[], before, selection: Selection::Everything, prunes })
}

/// Brings an object into the form that the server stores: no fields that only the server writes, and a Secret's `stringData`
/// folded into `data` (else a later edit of `data` would not change our entry, and drift would not be detected).
///
/// Fields of built-in kinds are those that Flux sends, see [`typed_form`], without those that a controller computes, see
/// [`computed`].
pub fn normalise(object: &mut Object) {
    clean(object);
    computed::strip(object);
    typed_form::complete(object);
}

fn clean(object: &mut Object) {
    let secret = fingerprint::is_secret(object);
    let Some(root) = object.value_mut().as_object_mut() else { return };
    if let Some(metadata) = root.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in ["creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink"]
        {
            metadata.remove(key);
        }
    }
    if !secret {
        return;
    }
    let Some(Value::Object(plain)) = root.remove("stringData") else { return };
    let data = root.entry("data").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if data.is_null() {
        *data = Value::Object(serde_json::Map::new());
    }
    if let Some(data) = data.as_object_mut() {
        for (key, value) in plain {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            data.insert(key, Value::String(STANDARD.encode(text)));
        }
    }
}

#[cfg(test)]
mod tests;
