//! One real start and end of a plane: the fake node carries a Deployment, and nothing is left behind.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, ResourceExt as _, api::PostParams, runtime::wait};
use plumb_plane::{ADMIN, Plane, PlaneOptions, process};
use serde_json::json;
use tokio::time::timeout;

async fn a_deployment_becomes_available(plane: &Plane) -> Result<()> {
    let labels = json!({"app": "web"});
    let deployment = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
        },
    }))?;
    let client = plane.client().await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    deployments.create(&PostParams::default(), &deployment).await?;
    let available = |found: Option<&Deployment>| {
        found.and_then(|it| it.status.as_ref()).and_then(|status| status.available_replicas) == Some(2)
    };
    let waited = wait::await_condition(deployments, "web", available);
    timeout(Duration::from_secs(20), waited).await.context("the pods are not ready in time")??;
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let name = pods.list(&kube::api::ListParams::default()).await?.items[0].name_any();
    pods.delete(&name, &kube::api::DeleteParams::default()).await?;
    let gone = wait::await_condition(pods, &name, |pod: Option<&Pod>| pod.is_none());
    timeout(Duration::from_secs(20), gone).await.context("the pod was not finalized in time")??;
    Ok(())
}

/// The processes whose command line names the folder.
fn children(folder: &str) -> Result<Vec<u32>> {
    let holds = |id: u32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        id != std::process::id() && String::from_utf8_lossy(&line).contains(folder)
    };
    let ids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(ids.filter(|id| holds(*id)).collect())
}

#[test]
fn a_plane_starts_runs_pods_and_leaves_nothing_behind() {
    let progress = |line: &str| println!("{line}");
    let options = PlaneOptions { audit: true, progress, ..PlaneOptions::default() };
    let plane = Plane::start(&options).unwrap();
    println!("{}; ready in {:.1} s", plane.origin(), plane.started_in().as_secs_f32());
    let folder = plane.description().parent().unwrap().to_owned();
    let borrowed = Plane::from_file(&plane.description()).unwrap();
    assert_eq!(borrowed.kubeconfig(ADMIN), plane.kubeconfig(ADMIN));
    drop(borrowed);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(a_deployment_becomes_available(&plane)).unwrap();
    let audit = fs::read_to_string(plane.audit_log().unwrap()).unwrap();
    assert!(audit.contains("\"username\":\"admin\""), "the audit log names the user");

    let processes = children(folder.to_str().unwrap()).unwrap();
    assert!(processes.len() >= 3, "etcd, API server, controller manager: {processes:?}");
    drop(plane);
    assert!(processes.into_iter().all(process::wait_until_gone));
    assert!(!folder.exists());
}
