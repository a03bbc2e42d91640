//! Rows of the workload rules.

use serde_json::json;

use super::*;
use crate::verdict::Status;

fn object(kind: &str, spec: &Value, status: &Value) -> Object {
    let metadata = json!({"name": "x", "generation": 1});
    Object::new(
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}),
    )
    .unwrap()
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
fn check(kind: &str, spec: Value, status: Value, expect: Status, message: &str) {
    let object = object(kind, &spec, &status);
    let verdict = match kind {
        "Deployment" => deployment(&object),
        "ReplicaSet" => replica_set(&object),
        "StatefulSet" => stateful_set(&object),
        _ => daemon_set(&object),
    };
    assert_eq!((verdict.status, verdict.message.as_str()), (expect, message));
}

fn deployed(change: impl FnOnce(&mut Value)) -> Value {
    let mut status = json!({
        "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3,
        "conditions": [
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            {"type": "Available", "status": "True"},
        ],
    });
    change(&mut status);
    status
}

fn deployment_row(change: impl FnOnce(&mut Value), expect: Status, message: &str) {
    check(
        "Deployment",
        json!({"replicas": 3, "progressDeadlineSeconds": 600}),
        deployed(change),
        expect,
        message,
    );
}

#[test]
fn a_deployment_is_current_when_all_replicas_are_new_available_and_ready() {
    deployment_row(|_| (), Status::Current, "the Deployment is available, replicas: 3");
    deployment_row(|status| status["replicas"] = 2.into(), Status::InProgress, "Replicas: 2/3");
    deployment_row(|status| status["updatedReplicas"] = 1.into(), Status::InProgress, "Updated: 1/3");
    deployment_row(|status| status["replicas"] = 4.into(), Status::InProgress, "Pending termination: 3/4");
    deployment_row(|status| status["availableReplicas"] = 2.into(), Status::InProgress, "Available: 2/3");
    deployment_row(|status| status["readyReplicas"] = 0.into(), Status::InProgress, "Ready: 0/3");
}

#[test]
fn a_deployment_needs_its_conditions_too() {
    deployment_row(
        |status| status["conditions"][0]["reason"] = "ReplicaSetUpdated".into(),
        Status::InProgress,
        "the new ReplicaSet is not available",
    );
    deployment_row(
        |status| status["conditions"][1]["status"] = "False".into(),
        Status::InProgress,
        "the Deployment is not available",
    );
    deployment_row(
        |status| status["conditions"][0]["reason"] = "ProgressDeadlineExceeded".into(),
        Status::Failed,
        "the progress deadline was exceeded",
    );
}

#[test]
fn a_deployment_without_deadline_needs_no_progressing_condition() {
    let status = deployed(|status| status["conditions"] = json!([{"type": "Available", "status": "True"}]));
    check(
        "Deployment",
        json!({"replicas": 3}),
        status,
        Status::Current,
        "the Deployment is available, replicas: 3",
    );
}

#[test]
fn a_workload_that_no_controller_observed_is_in_progress() {
    check("Deployment", json!({}), json!({}), Status::InProgress, "Replicas: 0/1");
    check("ReplicaSet", json!({}), json!({}), Status::InProgress, "Labelled: 0/1");
    check("StatefulSet", json!({}), json!({}), Status::InProgress, "Replicas: 0/1");
    check("DaemonSet", json!({}), json!({}), Status::InProgress, "status.observedGeneration is not set");
}

#[test]
fn a_replica_set_counts_labelled_available_and_ready_replicas() {
    let full = json!({"replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1});
    check("ReplicaSet", json!({}), full, Status::Current, "the ReplicaSet is available, replicas: 1");
    let failing = json!({"conditions": [{"type": "ReplicaFailure", "status": "True"}]});
    check("ReplicaSet", json!({}), failing, Status::InProgress, "Pods could not be created or deleted");
    let extra = json!({"replicas": 2, "fullyLabeledReplicas": 2, "availableReplicas": 2, "readyReplicas": 2});
    check("ReplicaSet", json!({}), extra, Status::InProgress, "Pending termination: 1/2");
}

#[test]
fn a_stateful_set_waits_for_its_revision() {
    let mut status = json!({
        "replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "updatedReplicas": 1,
        "currentRevision": "a", "updateRevision": "a",
    });
    check("StatefulSet", json!({}), status.clone(), Status::Current, "all replicas are there, replicas: 1");
    status["updateRevision"] = "b".into();
    check(
        "StatefulSet",
        json!({}),
        status.clone(),
        Status::InProgress,
        "the updated revision is not the current one yet",
    );
    status["currentReplicas"] = 0.into();
    check("StatefulSet", json!({}), status, Status::InProgress, "Current: 0/1");
}

#[test]
fn a_partitioned_stateful_set_waits_for_its_part_only() {
    let spec = json!({"replicas": 4, "updateStrategy": {"rollingUpdate": {"partition": 2}}});
    let mut status = json!({"replicas": 4, "readyReplicas": 4, "updatedReplicas": 1});
    check("StatefulSet", spec.clone(), status.clone(), Status::InProgress, "Updated: 1/2");
    status["updatedReplicas"] = 2.into();
    check("StatefulSet", spec, status, Status::Current, "the partition is rolled out, updated: 2");
}

#[test]
fn a_stateful_set_updated_on_delete_is_current() {
    let spec = json!({"updateStrategy": {"type": "OnDelete"}});
    check("StatefulSet", spec, json!({}), Status::Current, "the StatefulSet is updated by hand (OnDelete)");
}

#[test]
fn a_daemon_set_counts_nodes() {
    let mut status = json!({
        "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "updatedNumberScheduled": 2,
        "numberAvailable": 2, "numberReady": 2,
    });
    check("DaemonSet", json!({}), status.clone(), Status::Current, "all replicas are there, replicas: 2");
    for (key, name) in [
        ("numberReady", "Ready"),
        ("numberAvailable", "Available"),
        ("updatedNumberScheduled", "Updated"),
        ("currentNumberScheduled", "Current"),
    ] {
        status[key] = 1.into();
        check("DaemonSet", json!({}), status.clone(), Status::InProgress, &format!("{name}: 1/2"));
    }
    status["desiredNumberScheduled"] = 0.into();
    check("DaemonSet", json!({}), status, Status::Current, "all replicas are there, replicas: 0");
}
