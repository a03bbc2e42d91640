//! Stage: in which order kinds are applied. A wave is applied in parallel and ends before the next begins.
//!
//! The order is Flux's (flux-api.md §3.7.2), by kind alone. What a wave contains is decided here; that a rejected object
//! stops later waves is the executor's business.

use std::cmp::Ordering;
use std::sync::Arc;

use plumb_manifests::ObjectId;

use crate::plan::Planned;

/// The kind whose instances define other kinds.
const DEFINITION: &str = "CustomResourceDefinition";

/// Kinds applied before everything else, each a wave of its own.
const FIRST: [&str; 23] = [
    DEFINITION,
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// Position in [`FIRST`] after which kinds that end in `Class` and are not in the list are applied.
const CLASSES_AFTER: usize = 9;

/// Kinds applied after everything else: an admission webhook must not block its own workload.
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// Objects that are applied together.
#[derive(Debug, Clone, PartialEq)]
pub struct Wave {
    /// The place of this wave in the order.
    pub rank: Rank,
    /// What is applied, ordered by group, kind, namespace, name.
    pub objects: Vec<Arc<Planned>>,
}

impl Wave {
    /// Whether the executor waits after this wave until every definition is established, and discovers the served kinds again.
    pub fn defines_kinds(&self) -> bool {
        self.objects.iter().any(|planned| is_definition(&planned.id))
    }
}

/// The place of a kind in the apply order; smaller is applied earlier and deleted later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u8);

impl Rank {
    /// The rank of a kind.
    pub fn of(kind: &str) -> Self {
        let position = if let Some(at) = FIRST.iter().position(|first| *first == kind) {
            // Two steps per kind leave a gap for the classes that are not in the list.
            at * 2
        } else if let Some(at) = LAST.iter().position(|last| *last == kind) {
            (FIRST.len() + 1 + at) * 2
        } else if kind.ends_with("Class") {
            CLASSES_AFTER * 2 + 1
        } else {
            FIRST.len() * 2
        };
        Self(u8::try_from(position).unwrap_or(u8::MAX))
    }
}

/// Whether this object defines a kind.
pub fn is_definition(id: &ObjectId) -> bool {
    id.kind == DEFINITION && id.group == "apiextensions.k8s.io"
}

/// Whether this object is a Namespace of the core group.
pub fn is_namespace(id: &ObjectId) -> bool {
    id.kind == "Namespace" && id.group.is_empty()
}

/// The place of an object in the order of deletion; smaller is deleted later. As [`Rank::of`] its kind, but a custom kind
/// that is named like a Namespace or a definition does not wait for the end: it may live in one of them.
pub fn deletion_rank(id: &ObjectId) -> Rank {
    let borrowed =
        (id.kind == "Namespace" && !is_namespace(id)) || (id.kind == DEFINITION && !is_definition(id));
    if borrowed { Rank::of("") } else { Rank::of(&id.kind) }
}

/// The deletion order of two objects: the reverse of the apply order, by [`deletion_rank`].
pub fn deletion_order(left: &ObjectId, right: &ObjectId) -> Ordering {
    let key = |id: &'_ ObjectId| {
        (deletion_rank(id), id.group.clone(), id.kind.clone(), id.namespace.clone(), id.name.clone())
    };
    key(right).cmp(&key(left))
}

/// The apply order of two objects: rank, then group, kind, namespace, name.
pub fn order(left: &ObjectId, right: &ObjectId) -> Ordering {
    key(left).cmp(&key(right))
}

fn key(id: &ObjectId) -> (Rank, &str, &str, &str, &str) {
    (Rank::of(&id.kind), &id.group, &id.kind, &id.namespace, &id.name)
}

/// Sorts planned objects into waves, first to last.
pub fn waves(mut objects: Vec<Arc<Planned>>) -> Vec<Wave> {
    objects.sort_by(|left, right| order(&left.id, &right.id));
    let mut waves: Vec<Wave> = Vec::new();
    for planned in objects {
        let rank = Rank::of(&planned.id.kind);
        match waves.last_mut() {
            Some(wave) if wave.rank == rank => wave.objects.push(planned),
            _ => waves.push(Wave { rank, objects: vec![planned] }),
        }
    }
    waves
}
