//! A node without a machine: it binds pods to itself, makes them Running and Ready after a delay, completes those of
//! Jobs, and finalizes those that are deleted. It replaces scheduler and kubelet, so that Deployments become Available.
//!
//! The annotation `fake-node.plumb.dev/hold` on a pod keeps it Pending: for tests of a rollout that hangs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The default delay of planes.
pub const READY_AFTER: Duration = Duration::from_millis(200);
/// The node's name.
pub const NAME: &str = "plumb-fake-node";
/// A pod with this annotation stays Pending.
pub const HOLD: &str = "fake-node.plumb.dev/hold";

const MANAGER: &str = "plumb-fake-node";
/// How many pods a machine of this size would never hold.
const PODS_MAX: &str = "10000";
/// How often an action on a pod is tried, and how long it waits between.
const TRIES_MAX: u32 = 5;
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// Recorded actions, at most. Beyond, all are dropped: doing one twice is harmless.
const BEGUN_MAX: usize = 100_000;

/// Runs the node until it is dropped.
pub async fn run(client: Client, ready_after: Duration) {
    while let Err(error) = register(&client).await {
        tracing::warn!("the fake node cannot register: {error}");
        tokio::time::sleep(TRY_AGAIN).await;
    }
    let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default());
    let mut pods = pods.default_backoff().applied_objects().boxed();
    // What was started for a pod, by uid: each action once, however many events the watch has for the pod.
    let mut begun: BTreeSet<(String, Act)> = BTreeSet::new();
    let mut acts = JoinSet::new();
    let mut address = 1_u16;
    loop {
        match pods.try_next().await {
            Ok(Some(pod)) => {
                let uid = pod.uid().unwrap_or_default();
                if begun.len() >= BEGUN_MAX {
                    begun.clear();
                }
                if let Some(act) = next_act(&pod)
                    && begun.insert((uid, act))
                {
                    address = address.wrapping_add(1).max(1);
                    acts.spawn(perform(client.clone(), pod, act, ready_after, address));
                }
            }
            Ok(None) => return,
            Err(error) => tracing::debug!("the fake node's watch: {error}"),
        }
        while acts.try_join_next().is_some() {}
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Bind,
    Ready,
    Complete,
    Release,
}

fn next_act(pod: &Pod) -> Option<Act> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    match node {
        Some(node) if node != NAME => None,
        _ if pod.metadata.deletion_timestamp.is_some() => node.map(|_| Act::Release),
        _ if pod.annotations().contains_key(HOLD) => None,
        None => Some(Act::Bind),
        Some(_) if phase != "Pending" => None,
        Some(_) if is_of_job(pod.owner_references()) => Some(Act::Complete),
        Some(_) => Some(Act::Ready),
    }
}

fn is_of_job(owners: &[OwnerReference]) -> bool {
    owners.iter().any(|owner| owner.kind == "Job")
}

async fn perform(client: Client, pod: Pod, act: Act, ready_after: Duration, address: u16) {
    let pods: Api<Pod> = Api::namespaced(client, &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    if matches!(act, Act::Ready | Act::Complete) {
        tokio::time::sleep(ready_after).await;
    }
    for _ in 0..TRIES_MAX {
        let done = match act {
            Act::Bind => bind(&pods, &name).await,
            Act::Ready => set_status(&pods, &name, &running(&pod, address)).await,
            Act::Complete => set_status(&pods, &name, &succeeded(&pod)).await,
            Act::Release => pods.delete(&name, &DeleteParams::default().grace_period(0)).await.map(drop),
        };
        match done {
            Ok(()) => return,
            // Deleted meanwhile, or bound by another: nothing left to do.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(error) => tracing::debug!("the fake node cannot {act:?} {name}: {error}"),
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

async fn bind(pods: &Api<Pod>, name: &str) -> kube::Result<()> {
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NAME},
    });
    let _: Value = pods.create_subresource("binding", name, &PostParams::default(), &binding).await?;
    Ok(())
}

async fn set_status(pods: &Api<Pod>, name: &str, status: &Value) -> kube::Result<()> {
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    pods.patch_status(name, &parameters, &Patch::Strategic(json!({"status": status}))).await.map(drop)
}

fn running(pod: &Pod, address: u16) -> Value {
    let [high, low] = address.to_be_bytes();
    let ip = format!("10.244.{high}.{low}");
    let started = json!({"running": {"startedAt": now()}});
    let conditions =
        ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(|kind| condition(kind, "True"));
    json!({
        "phase": "Running", "startTime": now(), "hostIP": "127.0.0.1", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": conditions,
        "containerStatuses": containers(pod, &started, true),
    })
}

fn succeeded(pod: &Pod) -> Value {
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now()}});
    json!({
        "phase": "Succeeded", "startTime": now(),
        "conditions": [condition("Ready", "False")],
        "containerStatuses": containers(pod, &ended, false),
    })
}

fn containers(pod: &Pod, state: &Value, ready: bool) -> Vec<Value> {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let one = |container: &k8s_openapi::api::core::v1::Container| {
        json!({
            "name": container.name, "image": container.image, "imageID": "", "restartCount": 0,
            "ready": ready, "started": ready, "state": state,
        })
    };
    containers.iter().map(one).collect()
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "lastTransitionTime": now()})
}

/// A fake kubelet has no other clock to be given: its times are the machine's.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

async fn register(client: &Client) -> kube::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let labels = BTreeMap::from([("kubernetes.io/hostname", NAME), ("kubernetes.io/os", "linux")]);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "labels": labels}});
    nodes.patch(NAME, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&node)).await?;
    let room = json!({"cpu": "1000", "memory": "1000Gi", "pods": PODS_MAX});
    let status = json!({
        "capacity": room, "allocatable": room,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the fake node is ready",
            "lastTransitionTime": now(), "lastHeartbeatTime": now()}],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
    });
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    nodes.patch_status(NAME, &parameters, &Patch::Merge(json!({"status": status}))).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pod: Value, expect: Option<Act>) {
        assert_eq!(next_act(&serde_json::from_value(pod).unwrap()), expect);
    }

    #[test]
    fn a_pod_is_bound_then_made_ready_then_unchanged() {
        check(json!({"metadata": {"name": "a"}}), Some(Act::Bind));
        check(json!({"spec": {"nodeName": NAME, "containers": []}}), Some(Act::Ready));
        check(json!({"spec": {"nodeName": NAME, "containers": []}, "status": {"phase": "Running"}}), None);
        check(json!({"spec": {"nodeName": "another", "containers": []}}), None);
    }

    #[test]
    fn a_held_pod_stays_pending() {
        check(json!({"metadata": {"annotations": {(HOLD): ""}}}), None);
    }

    #[test]
    fn a_pod_of_a_job_completes_and_a_deleted_one_is_finalized() {
        let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1"}]);
        check(
            json!({"metadata": {"ownerReferences": owner}, "spec": {"nodeName": NAME, "containers": []}}),
            Some(Act::Complete),
        );
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"nodeName": NAME, "containers": []}});
        check(deleted, Some(Act::Release));
    }
}
