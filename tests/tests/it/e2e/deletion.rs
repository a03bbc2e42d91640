//! Deleting a Kustomization or a source: what goes with it, and what stays.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    environment::Environment,
    main_loop::gauge,
    sample::config_map,
    seen::{self, is_failed, is_ready},
};

/// A finalizer of a person's tool would be drift.
const MANAGER: &str = "--field-manager=example-controller";

/// Deletes a Kustomization with these fields, and returns whether its objects still exist.
async fn objects_stay(fields: &Value) -> Result<bool> {
    let environment = Environment::new("deletion").await?;
    let repository = environment.sample("app")?;
    environment.create(environment.source("app")).await?;
    environment.create(environment.kustomization("app", fields)).await?;
    environment.applied("app", &repository.revision()?).await?;
    environment.delete("Kustomization", "app").await?;
    environment.gone("Kustomization", "app").await?;
    let stay = environment.find("ConfigMap", "settings").await?.is_some();
    if stay {
        environment.stays("ConfigMap", "settings", "stays", |_| true).await?;
    } else {
        environment.gone("Deployment", "web").await?;
    }
    environment.close().await?;
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
async fn an_unsupported_policy_is_rejected() -> Result<()> {
    let environment = Environment::new("policy").await?;
    environment.sample("app")?;
    environment.create(environment.source("app")).await?;
    environment
        .create(environment.kustomization("app", &json!({"deletionPolicy": "WaitForTermination"})))
        .await?;
    let rejected = |seen: &Value| is_failed(seen, "UnsupportedField");
    environment.until("Kustomization", "app", "is rejected", rejected).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_kustomization_leaves_its_objects() -> Result<()> {
    let environment = Environment::new("suspended").await?;
    environment.app("enabled").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    environment.delete("Kustomization", "app").await?;
    environment.gone("Kustomization", "app").await?;
    environment.stays("ConfigMap", "settings", "stays", |_| true).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_source_takes_nothing_from_the_cluster() -> Result<()> {
    let environment = Environment::new("no-more").await?;
    let app = environment.app("enabled").await?;
    environment.delete("GitRepository", "app").await?;
    environment.gone("GitRepository", "app").await?;
    environment.stays("ConfigMap", "settings", "stays", |_| true).await?;
    environment.request("Kustomization", "app").await?;
    environment
        .until("Kustomization", "app", "misses its source", |seen| {
            seen::reason(seen, "Ready") == "ArtifactFailed"
        })
        .await?;
    environment.get("Deployment", "web").await?;
    environment.create(environment.source("app")).await?;
    environment.until("GitRepository", "app", "is ready", is_ready).await?;
    environment.applied("app", &app.revision).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_is_deleted_although_its_namespace_terminates_and_its_kind_is_removed() -> Result<()>
{
    let environment = Environment::new("ending").await?;
    let (inner, group) =
        (format!("{}-inner", environment.namespace), format!("{}.example.com", environment.namespace));
    let repository = environment.sample("app")?;
    for name in ["held", "free"] {
        repository.write(&format!("team/{name}.yaml"), &config_map(name, "a"))?;
    }
    let (definition, resource) = gauge(&group);
    repository.write("gauges/gauge.yaml", &resource.to_string())?;
    let revision = repository.push("a team and a gauge").and_then(|_| repository.revision())?;
    environment.kubectl(&["create", "namespace", &inner])?;
    environment.create_from_file(&definition)?;
    environment.kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        &format!("crd/gauges.{group}"),
    ])?;
    environment.create(environment.source("app")).await?;
    let team = json!({"path": "./team", "targetNamespace": inner});
    environment.create(environment.kustomization("team", &team)).await?;
    environment.create(environment.kustomization("gauges", &json!({"path": "./gauges"}))).await?;
    for name in ["team", "gauges"] {
        environment.applied(name, &revision).await?;
    }

    // The kind goes first, and its object with it.
    environment.kubectl(&["delete", "crd", &format!("gauges.{group}")])?;
    environment.delete("Kustomization", "gauges").await?;
    environment.gone("Kustomization", "gauges").await?;

    // The namespace terminates as long as one of its objects is held.
    let finalizers = |list: &str| {
        let patch = format!(r#"{{"metadata": {{"finalizers": {list}}}}}"#);
        environment.kubectl(&[
            "patch",
            "configmap",
            "held",
            "-n",
            &inner,
            "--type=merge",
            "-p",
            &patch,
            MANAGER,
        ])
    };
    finalizers(r#"["example.com/hold"]"#)?;
    environment.kubectl(&["delete", "namespace", &inner, "--wait=false"])?;
    environment.kubectl(&["wait", "--for=delete", "--timeout=60s", "-n", &inner, "configmap/free"])?;
    environment.delete("Kustomization", "team").await?;
    let waits = |seen: &Value| seen::message(seen, "Ready").contains("/held is terminating");
    let held = environment.until("Kustomization", "team", "names what is left", waits).await?;
    assert!(!seen::message(&held, "Ready").contains("/free"), "{held:#}");
    finalizers("null")?;
    environment.gone("Kustomization", "team").await?;
    environment.kubectl(&["wait", "--for=delete", "--timeout=60s", &format!("namespace/{inner}")])?;
    environment.close().await
}
