//! Deleting a Kustomization or a source: what goes with it, and what stays.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    cluster::Stand,
    main_loop::gauge,
    sample::config_map,
    seen::{self, is_failed, is_ready},
};

/// A finalizer of a person's tool would be drift.
const MANAGER: &str = "--field-manager=example-controller";

/// Deletes a Kustomization with these fields, and says whether its objects are still there.
async fn objects_stay(fields: &Value) -> Result<bool> {
    let stand = Stand::new("deletion").await?;
    let repository = stand.sample("app")?;
    stand.create(stand.source("app")).await?;
    stand.create(stand.kustomization("app", fields)).await?;
    stand.applied("app", &repository.revision()?).await?;
    stand.delete("Kustomization", "app").await?;
    stand.gone("Kustomization", "app").await?;
    let stay = stand.find("ConfigMap", "settings").await?.is_some();
    if stay {
        stand.stays("ConfigMap", "settings", "stays", |_| true).await?;
    } else {
        stand.gone("Deployment", "web").await?;
    }
    stand.close().await?;
    Ok(stay)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_prune_the_objects_go_along() -> Result<()> {
    assert!(!objects_stay(&json!({"prune": true})).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_prune_the_objects_stay() -> Result<()> {
    assert!(objects_stay(&json!({"prune": false, "deletionPolicy": "MirrorPrune"})).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_delete_wins_over_prune() -> Result<()> {
    assert!(!objects_stay(&json!({"prune": false, "deletionPolicy": "Delete"})).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_orphan_wins_over_prune() -> Result<()> {
    assert!(objects_stay(&json!({"prune": true, "deletionPolicy": "Orphan"})).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_not_honoured_is_refused() -> Result<()> {
    let stand = Stand::new("policy").await?;
    stand.sample("app")?;
    stand.create(stand.source("app")).await?;
    stand.create(stand.kustomization("app", &json!({"deletionPolicy": "WaitForTermination"}))).await?;
    let refused = |seen: &Value| is_failed(seen, "UnsupportedField");
    stand.until("Kustomization", "app", "is refused", refused).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_kustomization_leaves_its_objects() -> Result<()> {
    let stand = Stand::new("suspended").await?;
    stand.app("enabled").await?;
    stand.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    stand.delete("Kustomization", "app").await?;
    stand.gone("Kustomization", "app").await?;
    stand.stays("ConfigMap", "settings", "stays", |_| true).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_source_takes_nothing_from_the_cluster() -> Result<()> {
    let stand = Stand::new("no-more").await?;
    let app = stand.app("enabled").await?;
    stand.delete("GitRepository", "app").await?;
    stand.gone("GitRepository", "app").await?;
    stand.stays("ConfigMap", "settings", "stays", |_| true).await?;
    stand.request("Kustomization", "app").await?;
    stand
        .until("Kustomization", "app", "misses its source", |seen| {
            seen::reason(seen, "Ready") == "ArtifactFailed"
        })
        .await?;
    stand.get("Deployment", "web").await?;
    stand.create(stand.source("app")).await?;
    stand.until("GitRepository", "app", "is ready", is_ready).await?;
    stand.applied("app", &app.revision).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_is_deleted_although_its_namespace_terminates_and_its_kind_is_gone() -> Result<()> {
    let stand = Stand::new("ending").await?;
    let (inner, group) = (format!("{}-inner", stand.namespace), format!("{}.example.com", stand.namespace));
    let repository = stand.sample("app")?;
    for name in ["held", "free"] {
        repository.write(&format!("team/{name}.yaml"), &config_map(name, "a"))?;
    }
    let (definition, resource) = gauge(&group);
    repository.write("gauges/gauge.yaml", &resource.to_string())?;
    let revision = repository.push("a team and a gauge").and_then(|_| repository.revision())?;
    stand.kubectl(&["create", "namespace", &inner])?;
    stand.create_from_file(&definition)?;
    stand.kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        &format!("crd/gauges.{group}"),
    ])?;
    stand.create(stand.source("app")).await?;
    let team = json!({"path": "./team", "targetNamespace": inner});
    stand.create(stand.kustomization("team", &team)).await?;
    stand.create(stand.kustomization("gauges", &json!({"path": "./gauges"}))).await?;
    for name in ["team", "gauges"] {
        stand.applied(name, &revision).await?;
    }

    // The kind goes first, and its object with it.
    stand.kubectl(&["delete", "crd", &format!("gauges.{group}")])?;
    stand.delete("Kustomization", "gauges").await?;
    stand.gone("Kustomization", "gauges").await?;

    // The namespace terminates as long as one of its objects is held.
    let finalizers = |list: &str| {
        let patch = format!(r#"{{"metadata": {{"finalizers": {list}}}}}"#);
        stand.kubectl(&["patch", "configmap", "held", "-n", &inner, "--type=merge", "-p", &patch, MANAGER])
    };
    finalizers(r#"["example.com/hold"]"#)?;
    stand.kubectl(&["delete", "namespace", &inner, "--wait=false"])?;
    stand.kubectl(&["wait", "--for=delete", "--timeout=60s", "-n", &inner, "configmap/free"])?;
    stand.delete("Kustomization", "team").await?;
    let waits = |seen: &Value| seen::message(seen, "Ready").contains("/held is terminating");
    let held = stand.until("Kustomization", "team", "names what is left", waits).await?;
    assert!(!seen::message(&held, "Ready").contains("/free"), "{held:#}");
    finalizers("null")?;
    stand.gone("Kustomization", "team").await?;
    stand.kubectl(&["wait", "--for=delete", "--timeout=60s", &format!("namespace/{inner}")])?;
    stand.close().await
}
