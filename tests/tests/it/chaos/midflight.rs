//! The Kustomization changes while an apply of it is held up: the last word counts, and nothing is left behind.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use plumb_testkit::proxy::{Fault, Rule};
use serde_json::json;

use super::fixture::{CONVERGED_MAX, Fixture, Snapshot, Variant};

/// How long one write of the apply is held up.
const HELD: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);
/// How many reconciliations are requested while the apply is held up, and how often an object may be applied then.
const REQUESTS: usize = 20;
const APPLIES_MAX: usize = 5;
const ALPHA: &str = "/api/v1/namespaces/*/configmaps/alpha";

/// A fixture whose apply of `Update` hangs at its first ConfigMap, and the state before it.
async fn held(test: &str) -> Result<(Fixture, Snapshot)> {
    let fixture = Fixture::new(test, &[]).await?;
    fixture.create(Variant::Base).await?;
    let before = fixture.converged(Variant::Base).await?;
    fixture.kustomize.forget();
    let rule = fixture.kustomize.add(Rule::new("PATCH", ALPHA, Fault::Delay(HELD)).times(1));
    fixture.switch(Variant::Update).await?;
    let deadline = Instant::now() + CONVERGED_MAX;
    while fixture.kustomize.hits(rule) == 0 {
        ensure!(Instant::now() < deadline, "nothing is applied: {}", fixture.evidence().await);
        tokio::time::sleep(POLL).await;
    }
    Ok((fixture, before))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_spec_wins_over_an_apply_in_flight() -> Result<()> {
    let (fixture, before) = held("flight-spec").await?;
    let known = fixture.uids().await?;
    fixture.switch(Variant::Base).await?;
    let ended = fixture.converged(Variant::Base).await?;
    fixture.check_ends_as(ended, &before).await?;
    fixture.check_stable(&known).await?;
    fixture.stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_during_an_apply_leaves_no_orphan() -> Result<()> {
    let (fixture, _) = held("flight-delete").await?;
    fixture.stand.delete("Kustomization", "app").await?;
    fixture.removed().await?;
    // What was held up is not applied afterwards.
    tokio::time::sleep(HELD).await;
    fixture.removed().await?;
    fixture.stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_during_an_apply_ends_the_writes_after_it() -> Result<()> {
    let (fixture, _) = held("flight-suspend").await?;
    fixture.stand.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    // The attempt in flight may end; after that nothing is corrected.
    tokio::time::sleep(HELD * 2).await;
    fixture.stand.edit("ConfigMap", "beta", &json!({"data": {"greeting": "mine"}})).await?;
    fixture
        .stand
        .stays("ConfigMap", "beta", "is left alone", |seen| seen["data"]["greeting"] == "mine")
        .await?;
    fixture.stand.edit("Kustomization", "app", &json!({"spec": {"suspend": false}})).await?;
    fixture.corrected("beta").await?;
    fixture.converged(Variant::Update).await?;
    fixture.stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_requests_applies_nothing_twice() -> Result<()> {
    let (fixture, _) = held("flight-storm").await?;
    let mut last = String::new();
    for _ in 0..REQUESTS {
        last = fixture.stand.request("Kustomization", "app").await?;
    }
    fixture.converged(Variant::Update).await?;
    let handled = |seen: &serde_json::Value| seen["status"]["lastHandledReconcileAt"] == *last;
    fixture.stand.until("Kustomization", "app", "has handled the last request", handled).await?;
    let writes = fixture.kustomize.writes();
    let applies = writes.iter().filter(|one| one.path.ends_with("/configmaps/alpha")).count();
    ensure!(applies <= APPLIES_MAX, "{applies} applies of one object: {}", fixture.evidence().await);
    fixture.stand.close().await
}
