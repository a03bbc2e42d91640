//! Which writes leave the process, by the time of the last renewal.

use std::sync::atomic::AtomicU64;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use plumb_testkit::scenario::{Response, Scenario};
use serde_json::json;

use super::*;

const MAP: &str = "/api/v1/namespaces/apps/configmaps/settings";
const LEASE: Duration = Duration::from_secs(35);
const RENEW: Duration = Duration::from_secs(30);

fn api(answer: Response) -> Scenario {
    let api = Scenario::new();
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" } });
    api.on("GET", MAP, Response::ok(map));
    api.on("PATCH", MAP, answer);
    api
}

async fn write(client: &Client, params: PatchParams) -> Result<ConfigMap, kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "apps");
    maps.patch("settings", &params, &Patch::Merge(json!({ "data": { "a": "b" } }))).await
}

fn fenced(answer: Result<ConfigMap, kube::Error>) -> Option<Fenced> {
    match answer {
        Err(kube::Error::Service(error)) => error.downcast_ref().copied(),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn writes_pass_from_the_renewal_to_the_renew_deadline_and_reads_always() {
    let api = api(Response::echo());
    let guard = LeaseGuard::new(LEASE, RENEW);
    let client = guard.fence(api.client());
    assert_eq!(fenced(write(&client, PatchParams::default()).await), Some(Fenced::NotHeld));
    guard.renewed(guard.now());
    assert!(write(&client, PatchParams::default()).await.is_ok());
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(write(&client, PatchParams::default()).await.is_ok());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fenced(write(&client, PatchParams::default()).await), Some(Fenced::NotHeld));
    assert_eq!(api.matching("PATCH", MAP).len(), 2, "what is rejected never reaches the API server");
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "apps");
    assert!(maps.get("settings").await.is_ok());
    assert!(write(&client, PatchParams { dry_run: true, ..PatchParams::default() }).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_write_in_flight_is_abandoned_before_a_rival_may_write() {
    let guard = LeaseGuard::new(LEASE, RENEW);
    let client = guard.fence(api(Response::silence()).client());
    guard.renewed(guard.now());
    let began = Instant::now();
    assert_eq!(fenced(write(&client, PatchParams::default()).await), Some(Fenced::RanOut));
    assert!(began.elapsed() > RENEW && began.elapsed() < LEASE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_prolongs_a_write_in_flight() {
    let guard = LeaseGuard::new(LEASE, RENEW);
    let client = guard.fence(api(Response::echo().after(Duration::from_secs(40))).client());
    guard.renewed(guard.now());
    let writing = tokio::spawn(async move { write(&client, PatchParams::default()).await });
    tokio::time::sleep(Duration::from_secs(20)).await;
    guard.renewed(guard.now());
    assert!(writing.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_older_renewal_never_shortens_a_newer_one() {
    let guard = LeaseGuard::new(LEASE, RENEW);
    tokio::time::sleep(Duration::from_secs(10)).await;
    guard.renewed(guard.now());
    let left = guard.left();
    guard.renewed(Duration::from_secs(1));
    assert!(guard.left() + Duration::from_secs(1) > left);
}

/// A guard whose clock the test moves, as it moves for a process that was stopped: no timer has fired yet.
fn jumping() -> (LeaseGuard, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&seconds);
    let clock = Box::new(move || Duration::from_secs(read.load(Ordering::SeqCst)));
    (LeaseGuard::with_clock(LEASE, RENEW, clock), seconds)
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_of_the_process_nothing_is_written() {
    let api = api(Response::echo().after(Duration::from_millis(10)));
    let (guard, seconds) = jumping();
    let client = guard.fence(api.client());
    guard.renewed(guard.now());
    let writing = tokio::spawn({
        let client = client.clone();
        async move { write(&client, PatchParams::default()).await }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    seconds.store(60, Ordering::SeqCst);
    assert_eq!(fenced(write(&client, PatchParams::default()).await), Some(Fenced::NotHeld));
    assert_eq!(fenced(writing.await.unwrap()), Some(Fenced::RanOut), "the answer comes for a lost lease");
    assert_eq!(api.matching("PATCH", MAP).len(), 1);
}

#[test]
fn connections_may_send_until_writes_in_flight_are_abandoned() {
    let (guard, seconds) = jumping();
    let may_send = guard.may_send();
    assert!(may_send(), "a replica that has not held the lease reads");
    seconds.store(1, Ordering::SeqCst);
    guard.renewed(guard.now());
    seconds.store(32, Ordering::SeqCst);
    assert!(may_send(), "no write begins, but one may wait for its response");
    guard.close();
    assert!(may_send(), "what is in flight may end");
    seconds.store(36, Ordering::SeqCst);
    assert!(!may_send());
}

#[tokio::test(start_paused = true)]
async fn a_closed_guard_lets_nothing_begin_and_waits_for_what_is_in_flight() {
    let guard = LeaseGuard::new(LEASE, RENEW);
    let client = guard.fence(api(Response::echo().after(Duration::from_secs(3))).client());
    guard.renewed(guard.now());
    let writing = tokio::spawn({
        let client = client.clone();
        async move { write(&client, PatchParams::default()).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    guard.close();
    assert_eq!(fenced(write(&client, PatchParams::default()).await), Some(Fenced::NotHeld));
    let began = Instant::now();
    guard.idle().await;
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
    assert!(writing.await.unwrap().is_ok());
}

#[test]
fn the_clock_does_not_stand_still() {
    let clock = steady_clock();
    let before = clock();
    while clock() == before {}
    assert!(clock() > before);
}
