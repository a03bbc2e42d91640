//! What is done, from what is the case. Pure: every choice of an attempt is made here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::kustomize::{DriftMode, Kustomization};
use plumb_api::meta::{ALLOW_EMPTY, Artifact};
use plumb_manifests::ObjectId;
use plumb_planning::fingerprint::Fingerprint;
use plumb_planning::inventory::Inventory;
use plumb_planning::plan::{self, Plan, Planned, Request, Selection};
use plumb_runtime::Priority;

use super::error::KustomizationError;
use super::facts::{DependencyState, Facts};
use super::validate::Valid;
use crate::sources::Source;

/// The share of the inventory from which a prune gets an event of its own, in percent.
const LARGE_PRUNE_PERCENT: usize = 95;
/// A prune of fewer objects is never told by itself.
const LARGE_PRUNE_MIN: usize = 10;

/// The artifact to work with, or what is waited for.
pub fn ready<'a>(facts: &'a Facts, valid: &Valid) -> Result<&'a Artifact, KustomizationError> {
    let artifact = match &facts.source {
        Source::Missing => {
            return Err(KustomizationError::SourceMissing { source_ref: valid.source_ref.clone() });
        }
        Source::Empty => return Err(KustomizationError::ArtifactMissing),
        Source::Holds(artifact) => artifact,
    };
    if let Some(cycle) = &facts.cycle {
        let way: Vec<String> = cycle.iter().map(ToString::to_string).collect();
        return Err(KustomizationError::DependencyCycle { way: way.join(" -> ") });
    }
    for (key, standing) in &facts.dependencies {
        let problem = match standing {
            DependencyState::Missing => "not found",
            DependencyState::There { ready: false, .. } => "is not ready",
            DependencyState::There { source, revision, .. }
                if *source == valid.source && revision.as_ref() != Some(&artifact.revision) =>
            {
                "revision is not up to date"
            }
            DependencyState::There { .. } => continue,
        };
        return Err(KustomizationError::Dependency { name: key.to_string(), problem });
    }
    Ok(artifact)
}

/// Refuses a rendering without objects where it would prune everything (`spec.prune`, an inventory that is not empty), unless
/// that is allowed.
pub fn reject_empty(
    object: &Kustomization,
    planned: &[Arc<Planned>],
    before: &Inventory,
    allow_empty: bool,
) -> Result<(), KustomizationError> {
    let annotation = object.metadata.annotations.as_ref().and_then(|all| all.get(ALLOW_EMPTY));
    let allowed = allow_empty || annotation.is_some_and(|value| value == "true");
    if !planned.is_empty() || before.is_empty() || !object.spec.prune || allowed {
        return Ok(());
    }
    Err(KustomizationError::EmptyRendering { count: before.len() })
}

/// Whether a prune has deleted so much of what there was that people should hear of it.
pub fn is_large(deleted: usize, before: usize) -> bool {
    deleted >= LARGE_PRUNE_MIN && deleted.saturating_mul(100) >= before.saturating_mul(LARGE_PRUNE_PERCENT)
}

/// What is remembered of earlier attempts, in the status and in the drift loop.
#[derive(Debug, Clone)]
pub struct Past {
    /// What the status says is ours.
    pub inventory: Inventory,
    /// The revision that was applied last.
    pub revision: Option<String>,
    /// Whether the last attempt at this very spec succeeded.
    pub whole: bool,
    /// Whether this process knows the objects.
    pub known: bool,
    /// What this process applied last, by object.
    pub applied: BTreeMap<ObjectId, Fingerprint>,
    /// What is due now although Git does not ask for it: fields that a controller took.
    pub due: BTreeSet<ObjectId>,
}

/// Whether an attempt compares what is compared at the interval only: fields that a controller took, kinds that cannot
/// be watched. An interval that passed counts however urgent the attempt is: under frequent commits there is no other.
pub fn is_at_interval(priority: Priority, interval_due: bool) -> bool {
    interval_due || matches!(priority, Priority::Interval | Priority::Forced)
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is applied and pruned.
    pub plan: Plan,
    /// How the drift loop comes to know the objects.
    pub memory: Memory,
}

/// How the drift loop comes to know the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It knows them.
    Kept,
    /// The process was restarted and nothing needs applying: each is compared once, in the background.
    Unverified,
    /// The process was restarted and the revision has moved: what is about to be overwritten is kept as evidence.
    Witnessed,
    /// Nothing was ever applied.
    Fresh,
}

/// Decides.
pub fn decide(
    planned: &[Arc<Planned>],
    past: &Past,
    revision: &str,
    mode: DriftMode,
    prunes: bool,
) -> Decision {
    let memory = if past.known {
        Memory::Kept
    } else if past.whole
        && past.revision.as_deref() == Some(revision)
        && is_recorded(planned, &past.inventory)
    {
        Memory::Unverified
    } else if past.revision.is_some() {
        Memory::Witnessed
    } else {
        Memory::Fresh
    };
    let adopted: BTreeMap<ObjectId, Fingerprint>;
    let selection = match memory {
        // Without watches only applying everything corrects drift, as Flux does.
        Memory::Kept | Memory::Unverified if mode == DriftMode::Disabled => Selection::Everything,
        Memory::Kept => Selection::Changed { applied: &past.applied, also: &past.due },
        Memory::Unverified => {
            adopted = planned.iter().map(|planned| (planned.id.clone(), planned.digest)).collect();
            Selection::Changed { applied: &adopted, also: &past.due }
        }
        Memory::Witnessed | Memory::Fresh => Selection::Everything,
    };
    let plan = plan::plan(Request { desired: planned, before: &past.inventory, selection, prunes });
    Decision { plan, memory }
}

fn is_recorded(planned: &[Arc<Planned>], inventory: &Inventory) -> bool {
    planned.iter().all(|planned| inventory.version(&planned.id) == Some(planned.object.version()))
}

#[cfg(test)]
mod tests;
