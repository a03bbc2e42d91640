//! Workload: Deployment, ReplicaSet, StatefulSet and DaemonSet count their replicas.

use plumb_manifests::Object;
use serde_json::Value;

use crate::reading::{conditions, number};
use crate::verdict::Verdict;

/// A deadline of this length means that there is none: the controller then never writes `Progressing`.
const NO_DEADLINE: i64 = i32::MAX as i64;

pub fn deployment(object: &Object) -> Verdict {
    let mut progressed = number(object, &["spec", "progressDeadlineSeconds"], NO_DEADLINE) == NO_DEADLINE;
    let mut available = false;
    for condition in conditions(object) {
        if condition.type_ == "Progressing" && condition.reason == "ProgressDeadlineExceeded" {
            return Verdict::failed("the progress deadline was exceeded");
        }
        progressed |= condition.is_true("Progressing") && condition.reason == "NewReplicaSetAvailable";
        available |= condition.is_true("Available");
    }
    let wanted = number(object, &["spec", "replicas"], 1);
    let count = |key: &str| number(object, &["status", key], 0);
    let (total, updated) = (count("replicas"), count("updatedReplicas"));
    first_gap(&[
        ("Replicas", total, wanted),
        ("Updated", updated, wanted),
        ("Pending termination", wanted, total),
        ("Available", count("availableReplicas"), updated),
        ("Ready", count("readyReplicas"), wanted),
    ])
    .unwrap_or_else(|| match (progressed, available) {
        (false, _) => Verdict::in_progress("the new ReplicaSet is not available"),
        (true, false) => Verdict::in_progress("the Deployment is not available"),
        (true, true) => Verdict::current(format!("the Deployment is available, replicas: {total}")),
    })
}

pub fn replica_set(object: &Object) -> Verdict {
    if conditions(object).any(|condition| condition.is_true("ReplicaFailure")) {
        return Verdict::in_progress("Pods could not be created or deleted");
    }
    let wanted = number(object, &["spec", "replicas"], 1);
    let count = |key: &str| number(object, &["status", key], 0);
    first_gap(&[
        ("Labelled", count("fullyLabeledReplicas"), wanted),
        ("Available", count("availableReplicas"), wanted),
        ("Ready", count("readyReplicas"), wanted),
        ("Pending termination", wanted, count("replicas")),
    ])
    .unwrap_or_else(|| Verdict::current(format!("the ReplicaSet is available, replicas: {wanted}")))
}

pub fn stateful_set(object: &Object) -> Verdict {
    if object.text(&["spec", "updateStrategy", "type"]) == Some("OnDelete") {
        return Verdict::current("the StatefulSet is updated by hand (OnDelete)");
    }
    let wanted = number(object, &["spec", "replicas"], 1);
    let count = |key: &str| number(object, &["status", key], 0);
    let (total, updated) = (count("replicas"), count("updatedReplicas"));
    let gap = first_gap(&[
        ("Replicas", total, wanted),
        ("Ready", count("readyReplicas"), wanted),
        ("Pending termination", wanted, total),
    ]);
    if let Some(gap) = gap {
        return gap;
    }
    let partition = number(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], -1);
    if partition >= 0 {
        return first_gap(&[("Updated", updated, wanted - partition)])
            .unwrap_or_else(|| Verdict::current(format!("the partition is rolled out, updated: {updated}")));
    }
    if let Some(gap) = first_gap(&[("Current", count("currentReplicas"), wanted)]) {
        return gap;
    }
    if object.text(&["status", "currentRevision"]) != object.text(&["status", "updateRevision"]) {
        return Verdict::in_progress("the updated revision is not the current one yet");
    }
    Verdict::current(format!("all replicas are there, replicas: {total}"))
}

pub fn daemon_set(object: &Object) -> Verdict {
    // The controller always writes both, so their absence means that it has not looked yet.
    for path in [["metadata", "generation"], ["status", "observedGeneration"]] {
        if object.at(&path).and_then(Value::as_i64).is_none() {
            return Verdict::in_progress(format!("{} is not set", path.join(".")));
        }
    }
    let count = |key: &str| number(object, &["status", key], 0);
    let wanted = number(object, &["status", "desiredNumberScheduled"], -1);
    if wanted < 0 {
        return Verdict::in_progress("status.desiredNumberScheduled is not set");
    }
    first_gap(&[
        ("Current", count("currentNumberScheduled"), wanted),
        ("Updated", count("updatedNumberScheduled"), wanted),
        ("Available", count("numberAvailable"), wanted),
        ("Ready", count("numberReady"), wanted),
    ])
    .unwrap_or_else(|| Verdict::current(format!("all replicas are there, replicas: {wanted}")))
}

/// The first number that is smaller than the one it should reach.
fn first_gap(rows: &[(&str, i64, i64)]) -> Option<Verdict> {
    rows.iter()
        .find(|(_, is, should)| is < should)
        .map(|(name, is, should)| Verdict::in_progress(format!("{name}: {is}/{should}")))
}

#[cfg(test)]
#[path = "workload_tests.rs"]
mod tests;
