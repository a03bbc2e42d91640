//! Who leads, by what a Lease says.

use std::sync::{Arc, Mutex};

use plumb_testkit::scenario::{Response, Scenario};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/flux-system/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/flux-system/leases/kc-leader-election";
const RENEW: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(5);

fn terms(holder: &str) -> LeaseConfig {
    LeaseConfig {
        namespace: "flux-system".into(),
        name: lease_name("kc", ""),
        holder: holder.into(),
        lease: Duration::from_secs(35),
        renew: RENEW,
        retry: RETRY,
        release: true,
    }
}

fn candidate(api: &Scenario, holder: &str) -> Candidate {
    let terms = terms(holder);
    let guard = LeaseGuard::new(terms.lease, terms.renew);
    Candidate::new(api.client(), terms, Clock::standing("2026-11-25T06:30:00Z".parse().unwrap()), guard)
}

/// A candidate that holds the lease since now.
fn leader(api: &Scenario, holder: &str) -> Candidate {
    let mut leader = candidate(api, holder);
    leader.guard.renewed(leader.guard.now());
    leader.known = serde_json::from_value(lease(holder)).unwrap();
    leader
}

fn lease(holder: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "kc-leader-election", "namespace": "flux-system", "resourceVersion": "1" },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 35, "leaseTransitions": 4 }
    })
}

fn never() -> CancellationToken {
    CancellationToken::new()
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
    api.on("GET", LEASE, Response::not_found());
    api.on("POST", LEASES, Response::echo());
    let mut candidate = candidate(&api, "a");
    assert!(candidate.acquire(&never()).await);
    assert!(candidate.guard.is_held());
    assert_eq!(api.matching("POST", LEASES)[0].body["spec"]["holderIdentity"], "a");
}

#[tokio::test(start_paused = true)]
async fn another_s_lease_is_taken_only_when_it_was_not_renewed_for_its_whole_time() {
    let api = Scenario::new();
    api.on("GET", LEASE, Response::ok(lease("b")));
    api.on("PUT", LEASE, Response::echo());
    let began = Instant::now();
    assert!(candidate(&api, "a").acquire(&never()).await);
    assert!(began.elapsed() >= Duration::from_secs(35), "{:?}", began.elapsed());
    let taken = &api.matching("PUT", LEASE)[0].body["spec"];
    assert_eq!((&taken["holderIdentity"], &taken["leaseTransitions"]), (&json!("a"), &json!(5)));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_one_request_over_the_version_that_is_known() {
    let api = Scenario::new();
    api.on("PUT", LEASE, Response::echo());
    let ending = never();
    let mut leader = leader(&api, "a");
    let keeping = tokio::spawn({
        let ending = ending.clone();
        async move { leader.keep(&ending).await }
    });
    tokio::time::sleep(RETRY * 4 + RETRY / 2).await;
    ending.cancel();
    assert!(!keeping.await.unwrap());
    assert_eq!(api.lines(), vec![format!("PUT {LEASE}"); 4]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_is_lost_at_once() {
    let api = Scenario::new();
    api.on("PUT", LEASE, Response::conflict("modified"));
    api.on("GET", LEASE, Response::ok(lease("b")));
    let began = Instant::now();
    assert!(leader(&api, "a").keep(&never()).await);
    assert!(began.elapsed() < RETRY * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_in_time_is_lost() {
    let api = Scenario::new();
    api.on("PUT", LEASE, Response::status(500, "InternalError", "no"));
    let began = Instant::now();
    assert!(leader(&api, "a").keep(&never()).await);
    assert!(began.elapsed() >= RENEW && began.elapsed() < RENEW + RETRY, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn conflicts_errors_and_silence_end_nothing_while_the_lease_is_held() {
    let api = Scenario::new();
    let began = Instant::now();
    let storm = move |seconds: u64| began.elapsed() < Duration::from_secs(seconds);
    api.on("GET", LEASE, Response::ok(lease("a")));
    api.on(
        "PUT",
        LEASE,
        Response::with(move |call| match () {
            () if storm(8) => Response::conflict("modified"),
            () if storm(12) => Response::status(500, "InternalError", "no"),
            () if storm(16) => Response::silence(),
            () => Response::ok(call.body.clone()),
        }),
    );
    let ending = never();
    let mut leader = leader(&api, "a");
    let guard = leader.guard.clone();
    let keeping = tokio::spawn({
        let ending = ending.clone();
        async move { leader.keep(&ending).await }
    });
    tokio::time::sleep(RENEW * 3).await;
    assert!(guard.is_held());
    ending.cancel();
    assert!(!keeping.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_counts_from_before_its_request() {
    let api = Scenario::new();
    api.on("GET", LEASE, Response::not_found().after(Duration::from_secs(1)));
    api.on("POST", LEASES, Response::echo().after(Duration::from_secs(20)));
    api.on("PUT", LEASE, Response::silence());
    let began = Instant::now();
    let mut candidate = candidate(&api, "a");
    assert!(candidate.acquire(&never()).await);
    assert!(began.elapsed() >= Duration::from_secs(21));
    assert!(candidate.keep(&never()).await);
    // One second for the read; the rival that saw the lease at once may take it 35 s after that.
    let lost = began.elapsed();
    assert!(lost <= Duration::from_secs(1) + RENEW + Duration::from_millis(50), "{lost:?}");
    assert!(!candidate.guard.is_held());
}

#[tokio::test(start_paused = true)]
async fn slow_answers_cost_no_lease_while_they_come_within_half_of_the_deadline() {
    let api = Scenario::new();
    api.on("PUT", LEASE, Response::echo().after(Duration::from_secs(14)));
    let ending = never();
    let mut leader = leader(&api, "a");
    let keeping = tokio::spawn({
        let ending = ending.clone();
        async move { leader.keep(&ending).await }
    });
    tokio::time::sleep(Duration::from_mins(5)).await;
    ending.cancel();
    assert!(!keeping.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_the_lease_is_given_up() {
    let api = Scenario::new();
    api.on("GET", LEASE, Response::ok(lease("a")));
    api.on("PUT", LEASE, Response::echo());
    let client = api.client();
    let terms = terms("a");
    let guard = LeaseGuard::new(terms.lease, terms.renew);
    let election = Election::begin(client, terms, Clock::system(), guard.clone());
    election.elected().await;
    api.forget_calls();
    election.end().await;
    assert!(!guard.is_held());
    assert_eq!(api.matching("PUT", LEASE)[0].body["spec"]["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_changes_the_lease_whatever_the_wall_clock_does() {
    let candidate = candidate(&Scenario::new(), "a");
    let before = LeaseSpec {
        renew_time: Some(MicroTime("2026-11-26T06:30:00Z".parse().unwrap())),
        ..candidate.spec(None)
    };
    assert!(candidate.spec(Some(&before)).renew_time > before.renew_time);
}

#[tokio::test]
async fn a_lease_is_not_shorter_for_a_rival_than_for_its_holder() {
    let mut candidate = candidate(&Scenario::new(), "a");
    for (lease, seconds) in [
        (Duration::from_secs(35), 35),
        (Duration::from_millis(1_500), 2),
        (Duration::from_millis(1), 1),
        (Duration::MAX, i32::MAX),
    ] {
        candidate.terms.lease = lease;
        assert_eq!(candidate.spec(None).lease_duration_seconds, Some(seconds), "{lease:?}");
    }
}

/// An API server that keeps one lease by its version, and how it answers one replica: each fault for one request.
fn server(kept: &Arc<Mutex<Option<(u32, Value)>>>, faults: &[(u8, u8)]) -> Scenario {
    let api = Scenario::new();
    let faults: Arc<Mutex<std::collections::VecDeque<_>>> =
        Arc::new(Mutex::new(faults.iter().copied().collect()));
    let kept = Arc::clone(kept);
    let answer = move |call: &plumb_testkit::scenario::Call| {
        let mut kept = kept.lock().unwrap();
        if call.method == "GET" {
            return kept.as_ref().map_or_else(Response::not_found, |(_, lease)| Response::ok(lease.clone()));
        }
        let version = kept.as_ref().map_or(0, |(version, _)| *version);
        let given = call.body["metadata"]["resourceVersion"].as_str();
        if given.unwrap_or("0") != version.to_string() {
            return Response::conflict("modified");
        }
        let mut lease = call.body.clone();
        lease["metadata"]["resourceVersion"] = (version + 1).to_string().into();
        *kept = Some((version + 1, lease.clone()));
        Response::ok(lease)
    };
    let answer = Arc::new(answer);
    let respond = move |call: &plumb_testkit::scenario::Call| {
        let (kind, seconds) = faults.lock().unwrap().pop_front().unwrap_or((0, 0));
        let late = Duration::from_secs(u64::from(seconds));
        match kind {
            // Carried out, and answered late.
            0 => answer(call).after(late),
            // Carried out late.
            1 => {
                let (answer, call) = (Arc::clone(&answer), call.clone());
                Response::with(move |_| answer(&call)).after(late)
            }
            2 => Response::conflict("storm"),
            3 => Response::status(500, "InternalError", "no"),
            // Carried out, and the answer is lost.
            4 => {
                answer(call);
                Response::silence()
            }
            _ => Response::silence(),
        }
    };
    api.on("*", "/apis/coordination.k8s.io/v1/namespaces/flux-system/*", Response::with(respond));
    api
}

/// A replica that is started again whenever it lost the lease, and its guard of the moment.
fn replica(api: Scenario, name: &'static str, clock: &'static str) -> Arc<Mutex<LeaseGuard>> {
    let first = LeaseGuard::new(terms(name).lease, RENEW);
    let current = Arc::new(Mutex::new(first.clone()));
    let shared = Arc::clone(&current);
    tokio::spawn(async move {
        let mut guard = first;
        for life in 0.. {
            let mut terms = terms(name);
            terms.holder = format!("{name}{life}");
            let clock = Clock::standing(clock.parse().unwrap());
            let election = Election::begin(api.client(), terms, clock, guard);
            election.elected().await;
            election.lost().await;
            // What is in flight goes on until its own end: the process takes a while to be gone.
            tokio::time::sleep(Duration::from_secs(40)).await;
            guard = LeaseGuard::new(Duration::from_secs(35), RENEW);
            *shared.lock().unwrap() = guard.clone();
        }
    });
    current
}

/// Two replicas on one lease for 400 s. Their wall clocks differ by a day: nothing follows from them.
fn check_two(a: &[(u8, u8)], b: &[(u8, u8)]) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let kept = Arc::default();
        let first = replica(server(&kept, a), "a", "2026-11-25T06:30:00Z");
        let second = replica(server(&kept, b), "b", "2026-11-26T06:30:00Z");
        let mut led = false;
        for _ in 0..4000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let (first, second) = (first.lock().unwrap().clone(), second.lock().unwrap().clone());
            led |= first.is_held() || second.is_held();
            assert!(!(first.is_held() && second.may_be_in_flight()), "the first begins too early");
            assert!(!(second.is_held() && first.may_be_in_flight()), "the second begins too early");
        }
        assert!(led, "nobody ever led");
    });
}

#[test]
fn a_late_answer_and_then_silence_never_let_two_replicas_write() {
    check_two(&[(0, 0), (0, 14), (5, 0), (5, 0), (5, 0), (5, 0)], &[(0, 3)]);
}

fn faults() -> impl Strategy<Value = Vec<(u8, u8)>> {
    let burst = (0_u8..6, 0_u8..26, 1_usize..5);
    proptest::collection::vec(burst, 0..8).prop_map(|bursts| {
        bursts.into_iter().flat_map(|(kind, late, times)| vec![(kind, late); times]).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn never_do_two_replicas_write(a in faults(), b in faults()) {
        check_two(&a, &b);
    }
}
