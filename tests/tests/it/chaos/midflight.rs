//! The Kustomization changes while an apply of it is held up: the last word counts, and nothing is left behind.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use plumb_testkit::proxy::{Fault, Moment, Rule};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::fixture::{CONVERGED_MAX, Fixture, Snapshot, Variant, shown};
use crate::e2e::seen::{is_failed, uid};

/// How long one write of the apply is held up.
const HELD: Duration = Duration::from_secs(1);
/// How long a newer spec may take to be applied while an apply gets no response: less than the limit of one request (65 s).
const SUPERSEDED_MAX: Duration = Duration::from_secs(40);
/// How many reconciliations are requested while the apply is held up, and how often an object may be applied then.
const REQUESTS: usize = 20;
const APPLIES_MAX: usize = 5;
const ALPHA: &str = "/api/v1/namespaces/*/configmaps/alpha";
const APP: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/*/kustomizations/app";

/// A fixture whose apply of `Update` hangs at its first ConfigMap, and the state before it.
async fn held(test: &str) -> Result<(Fixture, Snapshot)> {
    let fixture = Fixture::new(test, &[]).await?;
    fixture.create(Variant::Base).await?;
    let before = fixture.converged(Variant::Base).await?;
    hold(&fixture, Variant::Update).await?;
    Ok((fixture, before))
}

/// Switches to a variant whose apply is held up at its first ConfigMap, and waits until it is.
async fn hold(fixture: &Fixture, variant: Variant) -> Result<()> {
    fixture.kustomize.forget();
    let rule = fixture.kustomize.add(Rule::new("PATCH", ALPHA, Fault::Delay(HELD)).times(1));
    fixture.switch(variant).await?;
    fixture.hit(rule, "alpha is applied").await
}

/// A fixture that has applied `Update`: from there `Prune` applies one ConfigMap before it deletes three objects.
async fn updated(test: &str) -> Result<Fixture> {
    let fixture = Fixture::new(test, &[]).await?;
    fixture.create(Variant::Update).await?;
    fixture.converged(Variant::Update).await?;
    Ok(fixture)
}

/// Fails if a deletion was requested since the records were dropped.
async fn check_nothing_is_deleted(fixture: &Fixture) -> Result<()> {
    let mut deletions = fixture.kustomize.writes();
    deletions.retain(|record| record.method == "DELETE");
    ensure!(deletions.is_empty(), "deleted:\n{}\n{}", shown(&deletions), fixture.evidence().await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_spec_wins_over_an_apply_in_flight() -> Result<()> {
    let (fixture, before) = held("flight-spec").await?;
    let known = fixture.uids().await?;
    fixture.switch(Variant::Base).await?;
    let ended = fixture.converged_at_last(Variant::Base).await?;
    fixture.check_ends_as(ended, &before).await?;
    fixture.check_stable(&known).await?;
    fixture.environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_spec_waits_for_no_apply_without_a_response() -> Result<()> {
    let fixture = Fixture::new("flight-hang", &[]).await?;
    fixture.create(Variant::Base).await?;
    fixture.environment.edit("Kustomization", "app", &json!({"spec": {"timeout": "1h"}})).await?;
    let before = fixture.converged(Variant::Base).await?;
    fixture.kustomize.forget();
    let rule = fixture.kustomize.add(Rule::new("PATCH", ALPHA, Fault::Hang).times(1));
    fixture.switch(Variant::Update).await?;
    fixture.hit(rule, "alpha is applied").await?;
    let began = Instant::now();
    fixture.switch(Variant::Base).await?;
    let ended = fixture.converged(Variant::Base).await?;
    let took = began.elapsed();
    ensure!(took < SUPERSEDED_MAX, "a newer spec was applied after {took:?}: {}", fixture.evidence().await);
    fixture.check_ends_as(ended, &before).await?;
    fixture.environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_during_an_apply_leaves_no_orphan() -> Result<()> {
    let (fixture, _) = held("flight-delete").await?;
    fixture.environment.delete("Kustomization", "app").await?;
    fixture.removed().await?;
    // What was held up is not applied afterwards.
    tokio::time::sleep(HELD).await;
    fixture.removed().await?;
    fixture.environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_during_an_apply_ends_the_writes_after_it() -> Result<()> {
    let (fixture, _) = held("flight-suspend").await?;
    fixture.environment.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    // The attempt in flight may end; after that nothing is applied or corrected.
    tokio::time::sleep(HELD * 2).await;
    fixture.switch(Variant::Base).await?;
    fixture.environment.edit("ConfigMap", "beta", &json!({"data": {"greeting": "mine"}})).await?;
    fixture
        .environment
        .stays("ConfigMap", "beta", "is not changed", |seen| seen["data"]["greeting"] == "mine")
        .await?;
    let applied = |seen: &Value| seen["data"]["greeting"] == "two";
    fixture.environment.stays("ConfigMap", "alpha", "is as the attempt in flight left it", applied).await?;
    fixture.environment.edit("Kustomization", "app", &json!({"spec": {"suspend": false}})).await?;
    fixture.corrected("beta").await?;
    fixture.converged(Variant::Base).await?;
    fixture.environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_requests_applies_nothing_twice() -> Result<()> {
    let (fixture, _) = held("flight-storm").await?;
    let mut last = String::new();
    for _ in 0..REQUESTS {
        last = fixture.environment.request("Kustomization", "app").await?;
    }
    fixture.converged(Variant::Update).await?;
    let handled = |seen: &Value| seen["status"]["lastHandledReconcileAt"] == *last;
    fixture.environment.until("Kustomization", "app", "has handled the last request", handled).await?;
    let writes = fixture.kustomize.writes();
    let applies = writes.iter().filter(|one| one.path.ends_with("/configmaps/alpha")).count();
    ensure!(applies <= APPLIES_MAX, "{applies} applies of one object: {}", fixture.evidence().await);
    fixture.environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pruned_after_an_apply_that_failed() -> Result<()> {
    let fixture = updated("flight-failed").await?;
    let known = fixture.uids().await?;
    fixture.kustomize.forget();
    fixture.kustomize.add(Rule::new("PATCH", ALPHA, Fault::Respond(500)));
    fixture.switch(Variant::Prune).await?;
    let failed = |seen: &Value| {
        is_failed(seen, "ReconciliationFailed") && seen["spec"]["path"] == Variant::Prune.path()
    };
    fixture.environment.until("Kustomization", "app", "cannot be applied", failed).await?;
    check_nothing_is_deleted(&fixture).await?;
    // The spec is taken back: everything is still there.
    fixture.switch(Variant::Update).await?;
    fixture.kustomize.heal();
    fixture.converged(Variant::Update).await?;
    check_nothing_is_deleted(&fixture).await?;
    fixture.check_stable(&known).await?;
    fixture.environment.close().await
}

/// How long a deletion is held up until another manager has taken the object over.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_a_new_owner_before_its_deletion_arrives_is_not_deleted() -> Result<()> {
    let fixture = updated("flight-taken").await?;
    let before = fixture.environment.get("ConfigMap", "gamma").await?;
    let held = Rule::new("DELETE", "/api/v1/namespaces/*/configmaps/gamma", Fault::Delay(TAKEN_WITHIN));
    let rule = fixture.kustomize.add(held.times(1));
    fixture.switch(Variant::Prune).await?;
    fixture.hit(rule, "gamma is pruned").await?;
    let owner = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "another"}}});
    fixture.environment.edit("ConfigMap", "gamma", &owner).await?;
    fixture.converged(Variant::Prune).await?;
    let after = fixture.environment.get("ConfigMap", "gamma").await?;
    ensure!(uid(&after) == uid(&before), "gamma was recreated");
    fixture.environment.close().await
}

/// Changes the Kustomization while the only apply of `Prune` is held up, before the watches of the controller show it: the
/// deletions that would follow are obsolete.
async fn changed_unseen(fixture: &Fixture, newest: &Value) -> Result<()> {
    fixture.kustomize.forget();
    let (arrived, has_arrived) = mpsc::channel();
    let (release, is_released) = mpsc::channel();
    fixture.kustomize.at_write(1, Moment::Before, move || {
        // The connections of a failed test are closed.
        let _ = arrived.send(());
        let _ = is_released.recv_timeout(CONVERGED_MAX);
    });
    fixture.switch(Variant::Prune).await?;
    block_in_place(|| has_arrived.recv_timeout(CONVERGED_MAX))?;
    fixture.kustomize.add(Rule::new("GET", "/*", Fault::DropEvents));
    fixture.environment.edit("Kustomization", "app", newest).await?;
    // Before a prune it is read again. What follows then depends on what arrives first, the response to a status write, which has the
    // newer Kustomization too, or the end of the wait for the watch.
    let reread = fixture.kustomize.add(Rule::new("GET", APP, Fault::Delay(Duration::ZERO)));
    release.send(())?;
    fixture.hit(reread, "app is read again").await?;
    let first = fixture.kustomize.writes().first().map(|one| one.path.clone()).unwrap_or_default();
    ensure!(first.ends_with("/configmaps/alpha"), "the first write was to {first}");
    check_nothing_is_deleted(fixture).await?;
    fixture.kustomize.heal();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pruned_for_a_spec_that_is_old() -> Result<()> {
    let fixture = updated("flight-old").await?;
    let known = fixture.uids().await?;
    changed_unseen(&fixture, &json!({"spec": {"path": Variant::Update.path()}})).await?;
    fixture.converged(Variant::Update).await?;
    check_nothing_is_deleted(&fixture).await?;
    changed_unseen(&fixture, &json!({"spec": {"suspend": true}})).await?;
    let resumed = json!({"spec": {"suspend": false, "path": Variant::Update.path()}});
    fixture.environment.edit("Kustomization", "app", &resumed).await?;
    fixture.converged(Variant::Update).await?;
    check_nothing_is_deleted(&fixture).await?;
    fixture.check_stable(&known).await?;
    fixture.environment.close().await
}
