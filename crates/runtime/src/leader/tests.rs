//! Who leads, by what a Lease says.

use plumb_testkit::scenario::{Answer, Scenario};
use serde_json::{Value, json};

use super::*;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/flux-system/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/flux-system/leases/kc-leader-election";

fn terms(holder: &str) -> Terms {
    Terms {
        namespace: "flux-system".into(),
        name: lease_name("kc", ""),
        holder: holder.into(),
        lease: Duration::from_secs(35),
        renew: Duration::from_secs(30),
        retry: Duration::from_secs(5),
        release: true,
    }
}

fn candidate(api: &Scenario, holder: &str) -> Candidate {
    Candidate::new(api.client(), terms(holder), Clock::standing("2026-11-25T06:30:00Z".parse().unwrap()))
}

fn lease(holder: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "kc-leader-election", "namespace": "flux-system", "resourceVersion": "1" },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 35, "leaseTransitions": 4 }
    })
}

#[test]
fn each_shard_has_a_lease_of_its_own() {
    assert_eq!(lease_name("source-controller", ""), "source-controller-leader-election");
    let shard = lease_name("source-controller", "sharding.fluxcd.io/key=a");
    assert_eq!(shard.len(), "source-controller-leader-election-".len() + 8);
}

#[tokio::test]
async fn a_lease_that_nobody_holds_is_taken() {
    let api = Scenario::new();
    api.on("GET", LEASE, Answer::not_found());
    api.on("POST", LEASES, Answer::echo());
    candidate(&api, "a").acquire().await;
    assert_eq!(api.matching("POST", LEASES)[0].body["spec"]["holderIdentity"], "a");
}

#[tokio::test(start_paused = true)]
async fn another_s_lease_is_taken_only_when_it_was_not_renewed_for_its_whole_time() {
    let api = Scenario::new();
    api.on("GET", LEASE, Answer::ok(lease("b")));
    api.on("PUT", LEASE, Answer::echo());
    let began = Instant::now();
    candidate(&api, "a").acquire().await;
    assert!(began.elapsed() >= Duration::from_secs(35), "{:?}", began.elapsed());
    let taken = &api.matching("PUT", LEASE)[0].body["spec"];
    assert_eq!((&taken["holderIdentity"], &taken["leaseTransitions"]), (&json!("a"), &json!(5)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_is_lost() {
    let api = Scenario::new();
    api.on("GET", LEASE, Answer::ok(lease("b")));
    assert!(candidate(&api, "a").keep(&CancellationToken::new()).await);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_in_time_is_lost() {
    let api = Scenario::new();
    api.on("GET", LEASE, Answer::status(500, "InternalError", "no"));
    let began = Instant::now();
    assert!(candidate(&api, "a").keep(&CancellationToken::new()).await);
    assert!(began.elapsed() >= Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_the_lease_is_given_up() {
    let api = Scenario::new();
    api.on("GET", LEASE, Answer::ok(lease("a")));
    api.on("PUT", LEASE, Answer::echo());
    let ended = CancellationToken::new();
    ended.cancel();
    assert!(!candidate(&api, "a").keep(&ended).await);
    assert_eq!(api.matching("PUT", LEASE)[0].body["spec"]["holderIdentity"], "");
}
