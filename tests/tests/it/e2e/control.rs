//! What people steer with: suspend, requests, dependencies, health.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::{
    environment::Environment,
    sample::{SETTINGS, WEB, config_map},
    seen::{is_ready, is_true, message, reason, text},
};

/// Well below the 30 s after which dependencies are checked anyway.
const REQUEUE_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_object_rests_until_it_is_resumed() -> Result<()> {
    let environment = Environment::new("suspend").await?;
    let app = environment.app("enabled").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    app.repository.replace(SETTINGS, "hello", "hola")?;
    let second = environment.commit(&app.repository, "second").await?;
    let revision = |seen: &serde_json::Value| seen["status"]["artifact"]["revision"].clone();
    environment
        .until("GitRepository", "app", "has the commit", |seen| revision(seen) == second.as_str())
        .await?;
    environment.request("Kustomization", "app").await?;
    environment
        .stays("ConfigMap", "settings", "says hello", |seen| seen["data"]["greeting"] == "hello")
        .await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"suspend": false}})).await?;
    environment.applied("app", &second).await?;

    environment.edit("GitRepository", "app", &json!({"spec": {"suspend": true}})).await?;
    app.repository.replace(SETTINGS, "hola", "salut")?;
    let third = environment.commit(&app.repository, "third").await?;
    environment
        .stays("GitRepository", "app", "keeps its artifact", |seen| revision(seen) == second.as_str())
        .await?;
    environment.edit("GitRepository", "app", &json!({"spec": {"suspend": false}})).await?;
    environment.applied("app", &third).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_echoed_by_both_kinds() -> Result<()> {
    let environment = Environment::new("echo").await?;
    environment.app("enabled").await?;
    for kind in ["GitRepository", "Kustomization"] {
        let token = environment.request(kind, "app").await?;
        let echoed = |seen: &serde_json::Value| {
            text(seen, "/status/lastHandledReconcileAt") == token && is_ready(seen)
        };
        environment.until(kind, "app", "echoes the request", echoed).await?;
    }
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_acknowledged_by_failing_objects_too() -> Result<()> {
    let environment = Environment::new("echo-failed").await?;
    let app = environment.app("enabled").await?;
    app.repository.write(SETTINGS, "data: [unclosed\n")?;
    environment.commit(&app.repository, "cannot be built").await?;
    environment.failed("app", "BuildFailed").await?;
    environment.git.fault(plumb_testkit::gitserver::Fault::Respond(500));
    for kind in ["GitRepository", "Kustomization"] {
        let token = environment.request(kind, "app").await?;
        let echoed = |seen: &serde_json::Value| {
            text(seen, "/status/lastHandledReconcileAt") == token
                && ["BuildFailed", "GitOperationFailed"].contains(&reason(seen, "Ready"))
        };
        environment.until(kind, "app", "echoes the request", echoed).await?;
    }
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_is_applied_first_and_requeues_its_dependents() -> Result<()> {
    let environment = Environment::new("depends").await?;
    let repository = environment.sample("app")?;
    repository.write("base/base.yaml", &config_map("base", "a"))?;
    repository.push("a base")?;
    environment.create(environment.source("app")).await?;
    environment.until("GitRepository", "app", "is ready", is_ready).await?;
    environment.create(environment.kustomization("app", &json!({"dependsOn": [{"name": "base"}]}))).await?;
    let waiting = environment
        .until("Kustomization", "app", "waits", |seen| reason(seen, "Ready") == "DependencyNotReady")
        .await?;
    assert!(
        message(&waiting, "Ready")
            .contains(&format!("dependency '{}/base' not found", environment.namespace))
    );
    assert!(environment.find("ConfigMap", "settings").await?.is_none());
    let started = Instant::now();
    environment.create(environment.kustomization("base", &json!({"path": "./base"}))).await?;
    environment.applied("app", &repository.revision()?).await?;
    assert!(started.elapsed() < REQUEUE_MAX, "it was not requeued: {:?}", started.elapsed());
    // A new commit goes the same way.
    repository.replace("base/base.yaml", "greeting: a", "greeting: b")?;
    let started = Instant::now();
    let second = environment.commit(&repository, "through both").await?;
    environment.applied("base", &second).await?;
    environment.applied("app", &second).await?;
    assert!(started.elapsed() < REQUEUE_MAX, "it was not requeued: {:?}", started.elapsed());
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_wait_ready_means_that_the_workload_runs() -> Result<()> {
    let environment = Environment::new("wait").await?;
    let repository = environment.sample("app")?;
    environment.create(environment.source("app")).await?;
    environment.create(environment.kustomization("app", &json!({"wait": true, "timeout": "1m"}))).await?;
    let ready = environment.applied("app", &repository.revision()?).await?;
    assert!(is_true(&ready, "Healthy"), "{ready:#}");
    assert_eq!(environment.get("Deployment", "web").await?["status"]["availableReplicas"], 3);
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_workload_is_reported_before_the_timeout() -> Result<()> {
    let environment = Environment::new("unhealthy").await?;
    let repository = environment.sample("app")?;
    let pods_are_rejected = "    spec:\n      priorityClassName: nowhere\n";
    repository.replace(WEB, "    spec:\n", pods_are_rejected)?;
    repository.replace(WEB, "  replicas: 3\n", "  replicas: 3\n  progressDeadlineSeconds: 5\n")?;
    repository.push("no pod can run")?;
    environment.create(environment.source("app")).await?;
    let started = Instant::now();
    environment.create(environment.kustomization("app", &json!({"wait": true, "timeout": "10m"}))).await?;
    let message = environment.failed("app", "HealthCheckFailed").await?;
    assert!(message.contains("Deployment/") && message.contains("web"), "{message}");
    let failed = environment.get("Kustomization", "app").await?;
    assert!(!is_true(&failed, "Healthy"), "{failed:#}");
    assert!(started.elapsed() < Duration::from_mins(1));
    // A commit that repairs it need not wait for the timeout either.
    repository.replace(WEB, pods_are_rejected, "    spec:\n")?;
    let repaired = environment.commit(&repository, "repaired").await?;
    environment.applied("app", &repaired).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_that_is_not_met_ends_at_the_timeout() -> Result<()> {
    let environment = Environment::new("checks").await?;
    let repository = environment.sample("app")?;
    environment.create(environment.source("app")).await?;
    let check = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "nowhere", "namespace": environment.namespace}]);
    environment
        .create(environment.kustomization("app", &json!({"healthChecks": check, "timeout": "30s"})))
        .await?;
    let message = environment.failed("app", "HealthCheckFailed").await?;
    assert!(message.contains("nowhere"), "{message}");
    // The objects are applied all the same, and a new commit ends the wait.
    environment.get("ConfigMap", "settings").await?;
    let check = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": environment.namespace}]);
    environment.edit("Kustomization", "app", &json!({"spec": {"healthChecks": check}})).await?;
    environment.applied("app", &repository.revision()?).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_commit_ends_a_wait_for_health() -> Result<()> {
    let environment = Environment::new("superseded").await?;
    let repository = environment.sample("app")?;
    environment.create(environment.source("app")).await?;
    let check = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "late", "namespace": environment.namespace}]);
    environment
        .create(environment.kustomization("app", &json!({"healthChecks": check, "timeout": "10m"})))
        .await?;
    environment.until("ConfigMap", "settings", "is applied", |_| true).await?;
    repository.write("deploy/late.yaml", &config_map("late", "a"))?;
    let second = environment.commit(&repository, "what was waited for").await?;
    environment.applied("app", &second).await?;
    environment.close().await
}
