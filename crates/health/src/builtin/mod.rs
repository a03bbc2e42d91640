//! Builtin: the rules of the kinds of Kubernetes itself, one module per family.

mod claim;
mod definition;
mod job;
mod pod;
mod service;
mod workload;

use jiff::Timestamp;
use plumb_manifests::Object;

use crate::verdict::Verdict;

/// The verdict of the kind's own rule; `None` where the kind has none.
pub fn assess(object: &Object, now: Timestamp) -> Option<Verdict> {
    let verdict = match (object.group(), object.kind()) {
        ("apps" | "extensions", "Deployment") => workload::deployment(object),
        ("apps" | "extensions", "ReplicaSet") => workload::replica_set(object),
        ("apps" | "extensions", "DaemonSet") => workload::daemon_set(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("", "Pod") => pod::assess(object, now),
        ("", "PersistentVolumeClaim") => claim::assess(object),
        ("", "Service") => service::assess(object),
        ("batch", "Job") => job::assess(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition::assess(object),
        _ => return None,
    };
    Some(verdict)
}
