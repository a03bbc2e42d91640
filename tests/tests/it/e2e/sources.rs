//! Sources that fail: each says why, disturbs no other, and recovers.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    cluster::Stand,
    sample::SETTINGS,
    seen::{is_failed, is_ready, is_true, message, reason},
};

/// Creates a source that must fail for this reason, with all these words in its message.
async fn fails(stand: &Stand, source: Value, why: &str, words: &[&str]) -> Result<()> {
    let name = source["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    stand.create(source).await?;
    let what = format!("has failed with {why}");
    let failed = stand.until("GitRepository", &name, &what, |seen| is_failed(seen, why)).await?;
    for word in words {
        assert!(message(&failed, "Ready").contains(word), "{word}: {failed:#}");
    }
    assert!(is_true(&failed, "FetchFailed"), "{failed:#}");
    assert_eq!(reason(&failed, "FetchFailed"), why);
    assert!(!message(&failed, "Ready").contains("pass-word") && failed["status"].get("artifact").is_none());
    Ok(())
}

fn named(stand: &Stand, name: &str) -> Value {
    let mut source = stand.source(name);
    source["spec"]["url"] = json!(stand.git.url(name));
    source
}

async fn recovers(stand: &Stand, name: &str) -> Result<()> {
    stand.request("GitRepository", name).await?;
    let ready = stand.until("GitRepository", name, "is ready", is_ready).await?;
    assert!(!is_true(&ready, "FetchFailed"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_source_is_not_disturbed_by_those_that_fail() -> Result<()> {
    let stand = Stand::new("beside").await?;
    let app = stand.app("enabled").await?;
    fails(&stand, named(&stand, "missing"), "GitOperationFailed", &["missing.git"]).await?;
    let mut refused = named(&stand, "unreachable");
    refused["spec"]["url"] = json!("https://127.0.0.1:1/unreachable.git");
    fails(&stand, refused, "GitOperationFailed", &["127.0.0.1:1"]).await?;
    app.repository.replace(SETTINGS, "hello", "hola")?;
    let revision = stand.commit(&app.repository, "beside failures").await?;
    stand.applied("app", &revision).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_repository_is_found_once_it_is_there() -> Result<()> {
    let stand = Stand::new("missing").await?;
    fails(&stand, named(&stand, "late"), "GitOperationFailed", &["repository not found"]).await?;
    stand.sample("late")?;
    recovers(&stand, "late").await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_without_showing_it() -> Result<()> {
    let stand = Stand::new("password").await?;
    stand.sample("app")?;
    let data = json!({"username": "bot", "password": "not-the-pass-word", "ca.crt": stand.git.ca()});
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"}, "stringData": data});
    stand.create(secret).await?;
    let mut source = stand.source("app");
    source["spec"]["secretRef"]["name"] = json!("wrong");
    fails(&stand, source, "GitOperationFailed", &["authentication required"]).await?;
    stand.edit("Secret", "wrong", &json!({"stringData": {"password": "pass-word"}})).await?;
    recovers(&stand, "app").await?;
    assert!(!stand.crew.last_lines().contains("pass-word"));
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_named() -> Result<()> {
    let stand = Stand::new("no-secret").await?;
    stand.sample("app")?;
    let mut source = stand.source("app");
    source["spec"]["secretRef"]["name"] = json!("nowhere");
    fails(&stand, source, "AuthenticationFailed", &["nowhere", "not found"]).await?;
    stand
        .edit("GitRepository", "app", &json!({"spec": {"secretRef": {"name": super::cluster::SECRET}}}))
        .await?;
    stand.until("GitRepository", "app", "is ready", is_ready).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_is_told_and_fetched_once_it_has_a_commit() -> Result<()> {
    let stand = Stand::new("empty").await?;
    let repository = stand.git.repository("app")?;
    let source = stand.source("app");
    stand.create(source).await?;
    let empty = stand
        .until("GitRepository", "app", "is empty", |seen| {
            ["EmptyGitRepository", "GitOperationFailed"].contains(&reason(seen, "Ready"))
        })
        .await?;
    assert!(message(&empty, "Ready").contains("is empty"), "{empty:#}");
    assert!(is_true(&empty, "FetchFailed") && !is_true(&empty, "Ready"));
    repository.write("a.txt", "a\n")?;
    repository.push("first")?;
    recovers(&stand, "app").await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_branch_is_named() -> Result<()> {
    let stand = Stand::new("branch").await?;
    let repository = stand.sample("app")?;
    let mut source = stand.source("app");
    source["spec"]["ref"] = json!({"branch": "release"});
    fails(&stand, source, "GitOperationFailed", &["couldn't find remote ref", "release"]).await?;
    repository.git(&["push", "--quiet", "origin", "main:release"])?;
    recovers(&stand, "app").await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_not_honoured_is_refused_and_nothing_is_fetched() -> Result<()> {
    let stand = Stand::new("source-field").await?;
    stand.sample("app")?;
    let before = stand.git.requests();
    let mut source = stand.source("app");
    source["spec"]["recurseSubmodules"] = json!(true);
    stand.create(source).await?;
    let refused =
        stand.until("GitRepository", "app", "is refused", |seen| is_failed(seen, "UnsupportedField")).await?;
    assert!(is_true(&refused, "Stalled") && message(&refused, "Ready").contains("spec.recurseSubmodules"));
    assert_eq!(stand.git.requests(), before);
    stand.edit("GitRepository", "app", &json!({"spec": {"recurseSubmodules": false}})).await?;
    stand.until("GitRepository", "app", "is ready", is_ready).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_later_keeps_its_artifact() -> Result<()> {
    let stand = Stand::new("later").await?;
    let app = stand.app("enabled").await?;
    stand.git.fault(plumb_testkit::gitserver::Fault::Answer(500));
    stand.request("GitRepository", "app").await?;
    let failed = stand
        .until("GitRepository", "app", "has failed", |seen| is_failed(seen, "GitOperationFailed"))
        .await?;
    assert_eq!(failed["status"]["artifact"]["revision"], app.revision.as_str());
    stand.delete("ConfigMap", "settings").await?;
    stand.until("ConfigMap", "settings", "is back", |_| true).await?;
    stand.git.fault(plumb_testkit::gitserver::Fault::None);
    recovers(&stand, "app").await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_too_large_is_refused_and_the_artifact_stays() -> Result<()> {
    let stand = Stand::new("large").await?;
    let app = stand.app("enabled").await?;
    // One byte more than one file may have, and more than one object of a pack.
    app.repository.write("large.bin", &"x".repeat((100 << 20) + 1))?;
    app.repository.push("too large")?;
    stand.request("GitRepository", "app").await?;
    let failed = stand
        .until("GitRepository", "app", "has failed", |seen| {
            is_true(seen, "FetchFailed") || is_true(seen, "StorageOperationFailed")
        })
        .await?;
    assert!(message(&failed, "Ready").contains("the limit for one object"), "{failed:#}");
    assert_eq!(failed["status"]["artifact"]["revision"], app.revision.as_str());
    app.repository.revert()?;
    recovers(&stand, "app").await?;
    stand.applied("app", &app.repository.revision()?).await?;
    stand.close().await
}
