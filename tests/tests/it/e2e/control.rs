//! What people steer with: suspend, requests, dependencies, health.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::{
    cluster::Stand,
    sample::{SETTINGS, WEB, config_map},
    seen::{is_ready, is_true, message, reason, text},
};

/// Well below the 30 s after which dependencies are looked at anyway.
const WOKEN_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_object_rests_until_it_is_resumed() -> Result<()> {
    let stand = Stand::new("suspend").await?;
    let app = stand.app("enabled").await?;
    stand.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    app.repository.replace(SETTINGS, "hello", "hola")?;
    let second = stand.commit(&app.repository, "second").await?;
    let revision = |seen: &serde_json::Value| seen["status"]["artifact"]["revision"].clone();
    stand.until("GitRepository", "app", "has the commit", |seen| revision(seen) == second.as_str()).await?;
    stand.request("Kustomization", "app").await?;
    stand.stays("ConfigMap", "settings", "says hello", |seen| seen["data"]["greeting"] == "hello").await?;
    stand.edit("Kustomization", "app", &json!({"spec": {"suspend": false}})).await?;
    stand.applied("app", &second).await?;

    stand.edit("GitRepository", "app", &json!({"spec": {"suspend": true}})).await?;
    app.repository.replace(SETTINGS, "hola", "salut")?;
    let third = stand.commit(&app.repository, "third").await?;
    stand
        .stays("GitRepository", "app", "keeps its artifact", |seen| revision(seen) == second.as_str())
        .await?;
    stand.edit("GitRepository", "app", &json!({"spec": {"suspend": false}})).await?;
    stand.applied("app", &third).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_echoed_by_both_kinds() -> Result<()> {
    let stand = Stand::new("echo").await?;
    stand.app("enabled").await?;
    for kind in ["GitRepository", "Kustomization"] {
        let token = stand.request(kind, "app").await?;
        let echoed = |seen: &serde_json::Value| {
            text(seen, "/status/lastHandledReconcileAt") == token && is_ready(seen)
        };
        stand.until(kind, "app", "echoes the request", echoed).await?;
    }
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_echoed_by_what_fails_too() -> Result<()> {
    let stand = Stand::new("echo-failed").await?;
    let app = stand.app("enabled").await?;
    app.repository.write(SETTINGS, "data: [unclosed\n")?;
    stand.commit(&app.repository, "cannot be built").await?;
    stand.failed("app", "BuildFailed").await?;
    stand.git.fault(plumb_testkit::gitserver::Fault::Answer(500));
    for kind in ["GitRepository", "Kustomization"] {
        let token = stand.request(kind, "app").await?;
        let echoed = |seen: &serde_json::Value| {
            text(seen, "/status/lastHandledReconcileAt") == token
                && ["BuildFailed", "GitOperationFailed"].contains(&reason(seen, "Ready"))
        };
        stand.until(kind, "app", "echoes the request", echoed).await?;
    }
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_comes_first_and_wakes_who_waits_for_it() -> Result<()> {
    let stand = Stand::new("depends").await?;
    let repository = stand.sample("app")?;
    repository.write("base/base.yaml", &config_map("base", "a"))?;
    repository.push("a base")?;
    stand.create(stand.source("app")).await?;
    stand.until("GitRepository", "app", "is ready", is_ready).await?;
    stand.create(stand.kustomization("app", &json!({"dependsOn": [{"name": "base"}]}))).await?;
    let waiting = stand
        .until("Kustomization", "app", "waits", |seen| reason(seen, "Ready") == "DependencyNotReady")
        .await?;
    assert!(message(&waiting, "Ready").contains(&format!("dependency '{}/base' not found", stand.namespace)));
    assert!(stand.find("ConfigMap", "settings").await?.is_none());
    let started = Instant::now();
    stand.create(stand.kustomization("base", &json!({"path": "./base"}))).await?;
    stand.applied("app", &repository.revision()?).await?;
    assert!(started.elapsed() < WOKEN_MAX, "it was not woken: {:?}", started.elapsed());
    // A new commit goes the same way.
    repository.replace("base/base.yaml", "greeting: a", "greeting: b")?;
    let started = Instant::now();
    let second = stand.commit(&repository, "through both").await?;
    stand.applied("base", &second).await?;
    stand.applied("app", &second).await?;
    assert!(started.elapsed() < WOKEN_MAX, "it was not woken: {:?}", started.elapsed());
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_wait_ready_means_that_the_workload_runs() -> Result<()> {
    let stand = Stand::new("wait").await?;
    let repository = stand.sample("app")?;
    stand.create(stand.source("app")).await?;
    stand.create(stand.kustomization("app", &json!({"wait": true, "timeout": "1m"}))).await?;
    let ready = stand.applied("app", &repository.revision()?).await?;
    assert!(is_true(&ready, "Healthy"), "{ready:#}");
    assert_eq!(stand.get("Deployment", "web").await?["status"]["availableReplicas"], 3);
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_failed_is_told_before_the_timeout() -> Result<()> {
    let stand = Stand::new("unhealthy").await?;
    let repository = stand.sample("app")?;
    let pods_are_refused = "    spec:\n      priorityClassName: nowhere\n";
    repository.replace(WEB, "    spec:\n", pods_are_refused)?;
    repository.replace(WEB, "  replicas: 3\n", "  replicas: 3\n  progressDeadlineSeconds: 5\n")?;
    repository.push("no pod can run")?;
    stand.create(stand.source("app")).await?;
    let started = Instant::now();
    stand.create(stand.kustomization("app", &json!({"wait": true, "timeout": "10m"}))).await?;
    let message = stand.failed("app", "HealthCheckFailed").await?;
    assert!(message.contains("Deployment/") && message.contains("web"), "{message}");
    let failed = stand.get("Kustomization", "app").await?;
    assert!(!is_true(&failed, "Healthy"), "{failed:#}");
    assert!(started.elapsed() < Duration::from_mins(1));
    // A commit that repairs it need not wait for the timeout either.
    repository.replace(WEB, pods_are_refused, "    spec:\n")?;
    let repaired = stand.commit(&repository, "repaired").await?;
    stand.applied("app", &repaired).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_that_is_not_met_ends_at_the_timeout() -> Result<()> {
    let stand = Stand::new("checks").await?;
    let repository = stand.sample("app")?;
    stand.create(stand.source("app")).await?;
    let check = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "nowhere", "namespace": stand.namespace}]);
    stand.create(stand.kustomization("app", &json!({"healthChecks": check, "timeout": "30s"}))).await?;
    let message = stand.failed("app", "HealthCheckFailed").await?;
    assert!(message.contains("nowhere"), "{message}");
    // The objects are applied all the same, and a new commit ends the wait.
    stand.get("ConfigMap", "settings").await?;
    let check =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": stand.namespace}]);
    stand.edit("Kustomization", "app", &json!({"spec": {"healthChecks": check}})).await?;
    stand.applied("app", &repository.revision()?).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_commit_ends_a_wait_for_health() -> Result<()> {
    let stand = Stand::new("superseded").await?;
    let repository = stand.sample("app")?;
    stand.create(stand.source("app")).await?;
    let check =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "late", "namespace": stand.namespace}]);
    stand.create(stand.kustomization("app", &json!({"healthChecks": check, "timeout": "10m"}))).await?;
    stand.until("ConfigMap", "settings", "is applied", |_| true).await?;
    repository.write("deploy/late.yaml", &config_map("late", "a"))?;
    let second = stand.commit(&repository, "what was waited for").await?;
    stand.applied("app", &second).await?;
    stand.close().await
}
