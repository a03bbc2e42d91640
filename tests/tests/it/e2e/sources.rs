//! Sources that fail: each reports why, disturbs no other, and recovers.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    environment::Environment,
    sample::SETTINGS,
    seen::{is_failed, is_ready, is_true, message, reason},
};

/// Creates a source that must fail for this reason, with all these words in its message.
async fn fails(environment: &Environment, source: Value, why: &str, words: &[&str]) -> Result<()> {
    let name = source["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    environment.create(source).await?;
    let what = format!("has failed with {why}");
    let failed = environment.until("GitRepository", &name, &what, |seen| is_failed(seen, why)).await?;
    for word in words {
        assert!(message(&failed, "Ready").contains(word), "{word}: {failed:#}");
    }
    assert!(is_true(&failed, "FetchFailed"), "{failed:#}");
    assert_eq!(reason(&failed, "FetchFailed"), why);
    assert!(!message(&failed, "Ready").contains("pass-word") && failed["status"].get("artifact").is_none());
    Ok(())
}

fn named(environment: &Environment, name: &str) -> Value {
    let mut source = environment.source(name);
    source["spec"]["url"] = json!(environment.git.url(name));
    source
}

async fn recovers(environment: &Environment, name: &str) -> Result<()> {
    environment.request("GitRepository", name).await?;
    let ready = environment.until("GitRepository", name, "is ready", is_ready).await?;
    assert!(!is_true(&ready, "FetchFailed"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_source_is_not_disturbed_by_those_that_fail() -> Result<()> {
    let environment = Environment::new("beside").await?;
    let app = environment.app("enabled").await?;
    fails(&environment, named(&environment, "missing"), "GitOperationFailed", &["missing.git"]).await?;
    let mut rejected = named(&environment, "unreachable");
    rejected["spec"]["url"] = json!("https://127.0.0.1:1/unreachable.git");
    fails(&environment, rejected, "GitOperationFailed", &["127.0.0.1:1"]).await?;
    app.repository.replace(SETTINGS, "hello", "hola")?;
    let revision = environment.commit(&app.repository, "beside failures").await?;
    environment.applied("app", &revision).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_repository_is_found_once_it_is_there() -> Result<()> {
    let environment = Environment::new("missing").await?;
    fails(&environment, named(&environment, "late"), "GitOperationFailed", &["repository not found"]).await?;
    environment.sample("late")?;
    recovers(&environment, "late").await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_reported_without_showing_it() -> Result<()> {
    let environment = Environment::new("password").await?;
    environment.sample("app")?;
    let data = json!({"username": "bot", "password": "not-the-pass-word", "ca.crt": environment.git.ca()});
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"}, "stringData": data});
    environment.create(secret).await?;
    let mut source = environment.source("app");
    source["spec"]["secretRef"]["name"] = json!("wrong");
    fails(&environment, source, "GitOperationFailed", &["authentication required"]).await?;
    environment.edit("Secret", "wrong", &json!({"stringData": {"password": "pass-word"}})).await?;
    recovers(&environment, "app").await?;
    assert!(!environment.controllers.last_lines().contains("pass-word"));
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_named() -> Result<()> {
    let environment = Environment::new("no-secret").await?;
    environment.sample("app")?;
    let mut source = environment.source("app");
    source["spec"]["secretRef"]["name"] = json!("nowhere");
    fails(&environment, source, "AuthenticationFailed", &["nowhere", "not found"]).await?;
    environment
        .edit("GitRepository", "app", &json!({"spec": {"secretRef": {"name": super::environment::SECRET}}}))
        .await?;
    environment.until("GitRepository", "app", "is ready", is_ready).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_is_reported_and_fetched_once_it_has_a_commit() -> Result<()> {
    let environment = Environment::new("empty").await?;
    let repository = environment.git.repository("app")?;
    let source = environment.source("app");
    environment.create(source).await?;
    let empty = environment
        .until("GitRepository", "app", "is empty", |seen| {
            ["EmptyGitRepository", "GitOperationFailed"].contains(&reason(seen, "Ready"))
        })
        .await?;
    assert!(message(&empty, "Ready").contains("is empty"), "{empty:#}");
    assert!(is_true(&empty, "FetchFailed") && !is_true(&empty, "Ready"));
    repository.write("a.txt", "a\n")?;
    repository.push("first")?;
    recovers(&environment, "app").await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_branch_is_named() -> Result<()> {
    let environment = Environment::new("branch").await?;
    let repository = environment.sample("app")?;
    let mut source = environment.source("app");
    source["spec"]["ref"] = json!({"branch": "release"});
    fails(&environment, source, "GitOperationFailed", &["couldn't find remote ref", "release"]).await?;
    repository.git(&["push", "--quiet", "origin", "main:release"])?;
    recovers(&environment, "app").await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsupported_field_is_rejected_and_nothing_is_fetched() -> Result<()> {
    let environment = Environment::new("source-field").await?;
    environment.sample("app")?;
    let before = environment.git.requests();
    let mut source = environment.source("app");
    source["spec"]["provider"] = json!("aws");
    environment.create(source).await?;
    let rejected = environment
        .until("GitRepository", "app", "is rejected", |seen| is_failed(seen, "UnsupportedField"))
        .await?;
    assert!(is_true(&rejected, "Stalled") && message(&rejected, "Ready").contains("spec.provider \"aws\""));
    assert_eq!(environment.git.requests(), before);
    environment.edit("GitRepository", "app", &json!({"spec": {"provider": null}})).await?;
    environment.until("GitRepository", "app", "is ready", is_ready).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_later_keeps_its_artifact() -> Result<()> {
    let environment = Environment::new("later").await?;
    let app = environment.app("enabled").await?;
    environment.git.fault(plumb_testkit::gitserver::Fault::Respond(500));
    environment.request("GitRepository", "app").await?;
    let failed = environment
        .until("GitRepository", "app", "has failed", |seen| is_failed(seen, "GitOperationFailed"))
        .await?;
    assert_eq!(failed["status"]["artifact"]["revision"], app.revision.as_str());
    environment.delete("ConfigMap", "settings").await?;
    environment.until("ConfigMap", "settings", "is back", |_| true).await?;
    environment.git.fault(plumb_testkit::gitserver::Fault::None);
    recovers(&environment, "app").await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_too_large_is_rejected_and_the_artifact_stays() -> Result<()> {
    let environment = Environment::new("large").await?;
    let app = environment.app("enabled").await?;
    // One byte more than one file may have, and more than one object of a pack.
    app.repository.write("large.bin", &"x".repeat((100 << 20) + 1))?;
    app.repository.push("too large")?;
    environment.request("GitRepository", "app").await?;
    let failed = environment
        .until("GitRepository", "app", "has failed", |seen| {
            is_true(seen, "FetchFailed") || is_true(seen, "StorageOperationFailed")
        })
        .await?;
    assert!(message(&failed, "Ready").contains("the limit for one object"), "{failed:#}");
    assert_eq!(failed["status"]["artifact"]["revision"], app.revision.as_str());
    app.repository.revert()?;
    recovers(&environment, "app").await?;
    environment.applied("app", &app.repository.revision()?).await?;
    environment.close().await
}
