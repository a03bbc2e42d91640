//! What is meant to vanish: its absence is no drift, and nothing brings it back but a change in Git.

use plumb_manifests::Object;
use serde_json::Value;

use super::api::Api;
use super::*;

/// An hour before and an hour after the clock of the stand begins, in base64.
const ELEVEN: &str = "MjAyNi0wNS0wMVQxMTowMDowMFo=";
const ONE: &str = "MjAyNi0wNS0wMVQxMzowMDowMFo=";

fn job(spec: &Value) -> Object {
    let value = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate", "namespace": "prod"},
        "spec": spec, "data": {"a": "1"},
    });
    Object::new(value).unwrap()
}

async fn with_job(spec: &Value) -> Stand {
    Stand::of(&[job(spec)], Mode::Enabled, false, Api::of("batch", "jobs", "Job")).await
}

fn done() -> Value {
    json!({"f:completionTime": {}, "f:conditions": {}, "f:succeeded": {}})
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_that_its_ttl_removed_does_not_run_again() {
    let stand = with_job(&json!({"ttlSecondsAfterFinished": 0})).await;
    stand.api.write_status("migrate", &done());
    tokio::time::sleep(MOMENT).await;
    stand.api.delete("migrate");
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(stand.writes(), [""; 0], "not even looked at");
    // Nor does a list, the look at everything, or an interval bring it back.
    stand.api.end_watches();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(stand.desk.at_interval(&key()).is_empty());
    stand.desk.audit(&key());
    tokio::time::sleep(MOMENT).await;
    assert_eq!(stand.writes(), ["GET migrate"]);
    assert_eq!(stand.said(), []);
    assert_eq!(stand.desk.report(&key()).unwrap().condition, None);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_deleted_while_it_ran_is_recreated() {
    let stand = with_job(&json!({"ttlSecondsAfterFinished": 0})).await;
    stand.api.write_status("migrate", &json!({"f:active": {}, "f:startTime": {}}));
    tokio::time::sleep(MOMENT).await;
    stand.api.delete("migrate");
    tokio::time::sleep(MOMENT).await;
    assert_eq!(stand.writes(), ["GET migrate", "PATCH migrate"]);
    assert_eq!(reasons(&stand.said()), [Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_ttl_is_recreated_whatever_it_has_done() {
    let stand = with_job(&json!({})).await;
    stand.api.write_status("migrate", &done());
    tokio::time::sleep(MOMENT).await;
    stand.api.delete("migrate");
    tokio::time::sleep(MOMENT).await;
    assert_eq!(stand.writes(), ["GET migrate", "PATCH migrate"]);
}

#[tokio::test(start_paused = true)]
async fn another_revision_of_a_vanished_job_runs_it_once() {
    let stand = with_job(&json!({"ttlSecondsAfterFinished": 0})).await;
    stand.api.write_status("migrate", &done());
    stand.api.delete("migrate");
    tokio::time::sleep(MOMENT).await;
    stand.apply(&[job(&json!({"ttlSecondsAfterFinished": 0, "backoffLimit": 3}))], "main@sha1:def").await;
    assert_eq!(stand.writes(), ["PATCH migrate"]);
    stand.api.write_status("migrate", &done());
    stand.api.delete("migrate");
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(stand.writes(), ["PATCH migrate"]);
}

#[tokio::test(start_paused = true)]
async fn a_vanished_job_stays_away_after_a_restart_and_comes_back_when_a_person_asks() {
    let stand = with_job(&json!({"ttlSecondsAfterFinished": 0})).await;
    stand.api.vanish("migrate");
    stand.desk.forget(&key());
    let objects = Stand::planned(&[job(&json!({"ttlSecondsAfterFinished": 0}))]);
    let terms = Stand::terms(Mode::Enabled, false);
    stand.desk.adopt_unverified(&key(), Managed { terms, objects, changes: Vec::new() });
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(stand.writes(), ["GET migrate"]);
    let raw = "2026-05-01T12:10:00Z prod_migrate_batch_Job";
    let inventory = stand.inventory();
    stand.desk.restore(&key(), RestoreRequest { raw, echoed: None, crd_echoes: true, inventory: &inventory });
    tokio::time::sleep(MOMENT).await;
    assert_eq!(stand.writes().last().map(String::as_str), Some("PATCH migrate"), "{:?}", stand.said());
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
        let stand = Stand::of(&[token(expiration)], Mode::Enabled, false, api).await;
        stand.api.delete("token");
        tokio::time::sleep(MOMENT).await;
        assert_eq!(stand.writes().len(), writes, "{expiration}: {:?}", stand.writes());
    }
}
