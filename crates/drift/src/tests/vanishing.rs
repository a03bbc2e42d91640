//! What is meant to vanish: its absence is no drift, and nothing brings it back but a change in Git.

use plumb_manifests::Object;
use serde_json::Value;

use super::api::Api;
use super::*;

/// An hour before and an hour after the clock of the fixture begins, in base64.
const ELEVEN: &str = "MjAyNi0wNS0wMVQxMTowMDowMFo=";
const ONE: &str = "MjAyNi0wNS0wMVQxMzowMDowMFo=";

fn job(spec: &Value) -> Object {
    let value = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate", "namespace": "prod"},
        "spec": spec, "data": {"a": "1"},
    });
    Object::new(value).unwrap()
}

async fn with_job(spec: &Value) -> Fixture {
    Fixture::of(&[job(spec)], DriftMode::Enabled, false, Api::of("batch", "jobs", "Job")).await
}

fn done() -> Value {
    json!({"f:completionTime": {}, "f:conditions": {}, "f:succeeded": {}})
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_that_its_ttl_removed_does_not_run_again() {
    let fixture = with_job(&json!({"ttlSecondsAfterFinished": 0})).await;
    fixture.api.write_status("migrate", &done());
    tokio::time::sleep(MOMENT).await;
    fixture.api.delete("migrate");
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(fixture.writes(), [""; 0], "not even looked at");
    // Nor does a list, the look at everything, or an interval bring it back.
    fixture.api.end_watches();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(fixture.at_interval().is_empty());
    fixture.audit();
    tokio::time::sleep(MOMENT).await;
    assert_eq!(fixture.writes(), ["GET migrate"]);
    assert_eq!(fixture.emitted(), []);
    assert_eq!(fixture.report().unwrap().condition, None);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_deleted_while_it_ran_is_recreated() {
    let fixture = with_job(&json!({"ttlSecondsAfterFinished": 0})).await;
    fixture.api.write_status("migrate", &json!({"f:active": {}, "f:startTime": {}}));
    tokio::time::sleep(MOMENT).await;
    fixture.api.delete("migrate");
    tokio::time::sleep(MOMENT).await;
    assert_eq!(fixture.writes(), ["GET migrate", "PATCH migrate"]);
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_ttl_is_recreated_in_every_state() {
    let fixture = with_job(&json!({})).await;
    fixture.api.write_status("migrate", &done());
    tokio::time::sleep(MOMENT).await;
    fixture.api.delete("migrate");
    tokio::time::sleep(MOMENT).await;
    assert_eq!(fixture.writes(), ["GET migrate", "PATCH migrate"]);
}

#[tokio::test(start_paused = true)]
async fn another_revision_of_a_vanished_job_runs_it_once() {
    let fixture = with_job(&json!({"ttlSecondsAfterFinished": 0})).await;
    fixture.api.write_status("migrate", &done());
    fixture.api.delete("migrate");
    tokio::time::sleep(MOMENT).await;
    fixture.apply(&[job(&json!({"ttlSecondsAfterFinished": 0, "backoffLimit": 3}))], "main@sha1:def").await;
    assert_eq!(fixture.writes(), ["PATCH migrate"]);
    fixture.api.write_status("migrate", &done());
    fixture.api.delete("migrate");
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(fixture.writes(), ["PATCH migrate"]);
}

#[tokio::test(start_paused = true)]
async fn a_vanished_job_stays_absent_after_a_restart_and_is_recreated_on_request() {
    let fixture = with_job(&json!({"ttlSecondsAfterFinished": 0})).await;
    fixture.api.vanish("migrate");
    fixture.forget();
    let objects = Fixture::planned(&[job(&json!({"ttlSecondsAfterFinished": 0}))]);
    let policy = Fixture::policy(DriftMode::Enabled, false);
    fixture.adopt_unverified(Managed { policy, objects, applied: Vec::new() });
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(fixture.writes(), ["GET migrate"]);
    let raw = "2026-05-01T12:10:00Z prod_migrate_batch_Job";
    let inventory = fixture.inventory();
    fixture.restore(RestoreRequest { raw: raw.to_owned(), echoed: None, crd_echoes: true, inventory });
    tokio::time::sleep(MOMENT).await;
    assert_eq!(fixture.writes().last().map(String::as_str), Some("PATCH migrate"), "{:?}", fixture.emitted());
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_token_is_recreated_until_it_expires() {
    let token = |expiration: &str| {
        let value = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "prod"},
            "type": "bootstrap.kubernetes.io/token", "data": {"expiration": expiration},
        });
        Object::new(value).unwrap()
    };
    for (expiration, writes) in [(ELEVEN, 0), (ONE, 2)] {
        let api = Api::new("secrets", "Secret");
        let fixture = Fixture::of(&[token(expiration)], DriftMode::Enabled, false, api).await;
        fixture.api.delete("token");
        tokio::time::sleep(MOMENT).await;
        assert_eq!(fixture.writes().len(), writes, "{expiration}: {:?}", fixture.writes());
    }
}
