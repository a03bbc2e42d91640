//! One real start and end of a plane: the fake node carries a Deployment, and nothing is left behind.

use std::{fs, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, ResourceExt as _, api::PostParams, runtime::wait};
use plumb_plane::{ADMIN, Plane, PlaneOptions, process};
use serde_json::json;

fn deployment() -> Deployment {
    let labels = json!({"app": "web"});
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
        },
    }))
    .unwrap()
}

async fn a_deployment_becomes_available(plane: &Plane) {
    let client = plane.client().await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    deployments.create(&PostParams::default(), &deployment()).await.unwrap();
    let available = |found: Option<&Deployment>| {
        found.and_then(|it| it.status.as_ref()).and_then(|status| status.available_replicas) == Some(2)
    };
    let waited = wait::await_condition(deployments, "web", available);
    tokio::time::timeout(Duration::from_secs(20), waited)
        .await
        .expect("the pods became ready in time")
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let name = pods.list(&kube::api::ListParams::default()).await.unwrap().items[0].name_any();
    pods.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
    let gone = wait::await_condition(pods, &name, |pod: Option<&Pod>| pod.is_none());
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the pod was let go in time").unwrap();
}

fn children(folder: &str) -> Vec<u32> {
    let holds = |id: u32| {
        fs::read(format!("/proc/{id}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(folder))
    };
    let ids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| *id != std::process::id() && holds(*id)).collect()
}

#[test]
fn a_plane_starts_carries_pods_and_leaves_nothing_behind() {
    let tell = |line: &str| println!("{line}");
    let options = PlaneOptions { audit: true, tell, ..PlaneOptions::default() };
    let plane = Plane::start(&options).unwrap();
    println!("{}; ready in {:.1} s", plane.origin(), plane.started_in().as_secs_f32());
    let folder = plane.description().parent().unwrap().to_owned();
    let borrowed = Plane::from_file(&plane.description()).unwrap();
    assert_eq!(borrowed.kubeconfig(ADMIN), plane.kubeconfig(ADMIN));
    drop(borrowed);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(a_deployment_becomes_available(&plane));
    let audit = fs::read_to_string(plane.audit_log().unwrap()).unwrap();
    assert!(audit.contains("\"username\":\"admin\""), "the audit log names the user");

    let processes = children(folder.to_str().unwrap());
    assert!(processes.len() >= 3, "etcd, API server, controller manager: {processes:?}");
    drop(plane);
    assert!(processes.into_iter().all(process::wait_until_gone));
    assert!(!folder.exists());
}
