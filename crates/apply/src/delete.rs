//! Delete: deletes objects that were removed from Git, if the live object has our owner labels, bound to the version that was read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::Method;
use kube::core::GroupVersionKind;
use plumb_cluster::error::{Attempt, Failure, RequestError};
use plumb_cluster::mapper::Mapping;
use plumb_cluster::request::{self, Request};
use plumb_cluster::{Budget, Cluster};
use plumb_manifests::ObjectId;
use plumb_planning::claims::Claims;
use plumb_planning::ownership::Owner;
use plumb_planning::prune::{self, Candidate, Deletion, SkipReason};
use plumb_planning::stage::deletion_rank;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::observe;

/// How often a deletion is tried whose object keeps changing.
const ATTEMPTS_MAX: usize = 6;
/// The pause between two such tries.
const PAUSE: Duration = Duration::from_millis(50);

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PruneOutcome {
    /// Deleted by us, and absent now.
    Deleted,
    /// The server took the deletion; the object goes when its finalizers let it.
    Terminating,
    /// It was absent already, or its kind was.
    Absent,
    /// Not deleted.
    Skipped(SkipReason),
}

/// What a prune did, in its order.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// What became of each candidate that was decided.
    pub outcomes: Vec<(ObjectId, PruneOutcome)>,
    /// What could not be decided or done.
    pub failures: Vec<Failure>,
    /// Deletions that were not started, because the server left a request without a response when there was hurry.
    pub untouched: usize,
}

impl Pruned {
    /// The lines of the event: what was deleted, what is being deleted, and what was released.
    pub fn lines(&self) -> Vec<String> {
        let line = |(id, outcome): &(ObjectId, PruneOutcome)| match outcome {
            PruneOutcome::Deleted => Some(format!("{id} deleted")),
            PruneOutcome::Terminating => Some(format!("{id} deletion requested, finalizers hold it")),
            PruneOutcome::Skipped(why) if why.releases() => Some(format!("{id} left in the cluster: {why}")),
            PruneOutcome::Skipped(_) | PruneOutcome::Absent => None,
        };
        self.outcomes.iter().filter_map(line).collect()
    }

    /// How many deletions the server took.
    pub fn deletions(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|(_, outcome)| matches!(outcome, PruneOutcome::Deleted | PruneOutcome::Terminating))
            .count()
    }

    /// Objects that stay in the inventory although the server has not started to delete them.
    pub fn held(&self) -> impl Iterator<Item = (&ObjectId, &SkipReason)> {
        self.outcomes.iter().filter_map(|(id, outcome)| match outcome {
            PruneOutcome::Skipped(SkipReason::BeingDeleted)
            | PruneOutcome::Deleted
            | PruneOutcome::Terminating
            | PruneOutcome::Absent => None,
            PruneOutcome::Skipped(why) => (!why.releases()).then_some((id, why)),
        })
    }

    /// What the server has begun to delete and finalizers still hold.
    pub fn terminating(&self) -> impl Iterator<Item = &ObjectId> {
        self.outcomes.iter().filter_map(|(id, outcome)| match outcome {
            PruneOutcome::Terminating | PruneOutcome::Skipped(SkipReason::BeingDeleted) => Some(id),
            PruneOutcome::Skipped(_) | PruneOutcome::Deleted | PruneOutcome::Absent => None,
        })
    }

    /// Ids that leave the inventory: confirmed deleted, or not ours to delete.
    pub fn released(&self) -> impl Iterator<Item = &ObjectId> {
        self.outcomes.iter().filter_map(|(id, outcome)| match outcome {
            PruneOutcome::Deleted | PruneOutcome::Absent => Some(id),
            PruneOutcome::Skipped(why) if why.releases() => Some(id),
            PruneOutcome::Terminating | PruneOutcome::Skipped(_) => None,
        })
    }

    /// Every failure in one line, as Flux writes it.
    pub fn error_summary(&self) -> Option<String> {
        if self.failures.is_empty() {
            return None;
        }
        let mut all: Vec<String> = self.failures.iter().map(ToString::to_string).collect();
        if self.untouched > 0 {
            all.push(format!("{} more objects are deleted by the next attempt", self.untouched));
        }
        Some(format!("delete failed, errors: {};", all.join(";")))
    }
}

/// Deletes candidates in their order; those of one rank in parallel. A failure does not stop the rest, but what it leaves
/// keeps its Namespace and its definition, as a claim does.
pub async fn prune(
    cluster: &Cluster,
    candidates: &[Candidate],
    owner: &Owner,
    mut claims: Claims,
    concurrency: usize,
    budget: &Budget,
) -> Pruned {
    let mut pruned = Pruned::default();
    let mut kinds = BTreeMap::new();
    for group in candidates.chunk_by(|left, right| deletion_rank(&left.id) == deletion_rank(&right.id)) {
        for candidate in group {
            let kind = kind_of(candidate);
            let key = (kind.group.clone(), kind.version.clone(), kind.kind.clone());
            if let std::collections::btree_map::Entry::Vacant(slot) = kinds.entry(key) {
                slot.insert(cluster.mapper().resolve_any(&kind, budget).await);
            }
        }
        let (kinds, claims_read) = (&kinds, &claims);
        // A loop and no closure over references: futures of those are not `Send` to the compiler.
        let mut deletions = Vec::with_capacity(group.len());
        for candidate in group {
            deletions.push(async move {
                let kind = kind_of(candidate);
                let mapping = kinds.get(&(kind.group, kind.version, kind.kind)).cloned();
                let mapping = mapping.unwrap_or(Err(RequestError::TimedOut));
                (&candidate.id, delete(cluster, candidate, mapping, (owner, claims_read), budget).await)
            });
        }
        let outcomes: Vec<_> = stream::iter(deletions).buffered(concurrency.max(1)).collect().await;
        for (id, outcome) in outcomes {
            match outcome {
                Ok(outcome) => {
                    if matches!(&outcome, PruneOutcome::Skipped(why) if !why.releases() && *why != SkipReason::BeingDeleted)
                    {
                        claims.keep(id);
                    }
                    pruned.outcomes.push((id.clone(), outcome));
                }
                Err(failure) => {
                    claims.keep(id);
                    if budget.is_stopped() && failure.error.is_cut_short() {
                        pruned.untouched += 1;
                    } else {
                        pruned.failures.push(failure);
                    }
                }
            }
        }
    }
    pruned
}

fn kind_of(candidate: &Candidate) -> GroupVersionKind {
    GroupVersionKind::gvk(&candidate.id.group, &candidate.version, &candidate.id.kind)
}

async fn delete(
    cluster: &Cluster,
    candidate: &Candidate,
    mapping: Result<Arc<Mapping>, RequestError>,
    (owner, claims): (&Owner, &Claims),
    budget: &Budget,
) -> Result<PruneOutcome, Failure> {
    let id = &candidate.id;
    let failed = |attempt| move |error| Failure { id: id.clone(), attempt, error };
    let mapping = match mapping {
        Ok(mapping) => mapping,
        // Fresh discovery has no such kind: its objects were deleted with it.
        Err(RequestError::NoMatch { .. }) => return Ok(PruneOutcome::Absent),
        Err(error) => return Err(failed(Attempt::Query)(error)),
    };
    match (mapping.namespaced, id.namespace.is_empty()) {
        // No object of a namespaced kind is without a namespace: it went with an earlier definition of the kind.
        (true, true) => return Ok(PruneOutcome::Absent),
        // Without its namespace the id may be that of a desired object: the next attempt has the scope.
        (false, false) => return Err(failed(Attempt::Query)(RequestError::ClusterScoped)),
        (true, false) | (false, true) => {}
    }
    for _ in 0..ATTEMPTS_MAX {
        // An apply of it without a response may still create it, regardless of what is read or deleted now.
        if cluster.unanswered().may_be_created(id) {
            return Ok(PruneOutcome::Skipped(SkipReason::OutcomeUnknown));
        }
        let began = Instant::now();
        let live = observe::live_as(cluster, &mapping, id, budget).await.map_err(failed(Attempt::Query))?;
        let Some(live) = live else {
            cluster.unanswered().verified(id, began);
            return Ok(PruneOutcome::Absent);
        };
        let deletion = match prune::may_delete(id, &live, owner, claims) {
            Ok(deletion) => deletion,
            Err(why) => return Ok(PruneOutcome::Skipped(why)),
        };
        match remove(cluster, &mapping, id, &deletion, budget).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) if error.is_absence() => return Ok(PruneOutcome::Absent),
            // The object changed since it was read: read it again.
            Err(error) if error.rejection().is_some_and(|rejection| rejection.code == 409) => {
                budget.pause(PAUSE).await.map_err(failed(Attempt::Delete))?;
            }
            Err(error) => return Err(failed(Attempt::Delete)(error)),
        }
    }
    Err(failed(Attempt::Delete)(RequestError::Contended { attempts: ATTEMPTS_MAX }))
}

async fn remove(
    cluster: &Cluster,
    mapping: &Arc<Mapping>,
    id: &ObjectId,
    deletion: &Deletion,
    budget: &Budget,
) -> Result<PruneOutcome, RequestError> {
    let Deletion { uid, resource_version } = deletion;
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": uid, "resourceVersion": resource_version},
    });
    let path = mapping.path(&id.namespace, &id.name);
    let request = Request::write(Method::DELETE, path, "application/json", &options, observe::is_secret(id));
    let response = request::write(cluster, id, &request, budget).await?;
    // The server responds with the object itself while a finalizer still holds it.
    let gone = response.body.get("kind").and_then(Value::as_str) == Some("Status")
        || response.body.pointer("/metadata/deletionTimestamp").is_none();
    Ok(if gone { PruneOutcome::Deleted } else { PruneOutcome::Terminating })
}
