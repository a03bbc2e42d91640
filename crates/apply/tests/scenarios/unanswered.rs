//! Writes without a response of the API server: they end soon once there is hurry, with the name of their object, and nothing is
//! concluded from the object before the server's own deadline.

use super::*;

/// What a budget of 20 minutes leaves of the time of a request once there is hurry, in seconds.
const HURRIED: u64 = 10;

fn hurried(after: Duration, token: &CancellationToken) -> Budget {
    Budget::lasting(Duration::from_mins(20)).hurried(Instant::now() + after, token.clone())
}

fn silent(count: usize) -> (Scenario, Plan) {
    let api = api();
    api.on("PATCH", &format!("{MAPS}/*"), Response::silence());
    (api, plan((0..count).map(|at| map(&format!("m{at:02}"))).collect()))
}

#[tokio::test(start_paused = true)]
async fn writes_without_a_response_end_an_apply_soon_after_its_deadline_with_their_names() {
    let (api, plan) = silent(12);
    let (began, token) = (Instant::now(), CancellationToken::new());
    let order = order(hurried(Duration::from_secs(30), &token));
    let applied = execute(&cluster(&api), &plan.waves, &order).await;
    // The writes next to the first one end with it, or after the grace of a write.
    assert!((30 + HURRIED..=35 + HURRIED).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let summary = applied.error_summary().unwrap();
    for name in ["m00", "m01", "m02", "m03"] {
        let named = format!("ConfigMap/prod/{name} apply failed: the API server did not answer within");
        assert!(summary.contains(&named), "{summary}");
    }
    assert_eq!((applied.ended, applied.untouched, patches(&api).len()), (Ended::Rejected, 8, 4));
    // The server times out first, so that its response shows the result of the write.
    assert_eq!(patches(&api)[0].parameter("timeout"), Some("35s"));
}

#[tokio::test(start_paused = true)]
async fn a_newer_revision_waits_for_no_write_without_a_response() {
    let (api, plan) = silent(2);
    let (began, token) = (Instant::now(), CancellationToken::new());
    let order = order(hurried(Duration::from_mins(10), &token));
    let cluster = cluster(&api);
    let stop = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        token.cancel();
    };
    let (applied, ()) = tokio::join!(execute(&cluster, &plan.waves, &order), stop);
    assert!((3 + HURRIED..=8 + HURRIED).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(order.budget.is_stopped() && !applied.is_complete());
    assert_eq!(patches(&api)[0].parameter("timeout"), Some("60s"));
    let open = cluster.unanswered().among(plan.write_ahead.ids());
    let until: Vec<u64> = open.values().map(|until| until.duration_since(began).as_secs()).collect();
    assert_eq!(until, [65, 65], "the server may carry them out until then");
}

#[tokio::test(start_paused = true)]
async fn an_apply_whose_writes_get_responses_continues_after_its_deadline() {
    let api = api();
    let response = Response::with(|call| Response::created(live(&call.body)));
    api.on("PATCH", &format!("{MAPS}/*"), response.after(Duration::from_secs(8)));
    let plan = plan((0..12).map(|at| map(&format!("m{at:02}"))).collect());
    let token = CancellationToken::new();
    let order = order(hurried(Duration::from_secs(10), &token));
    token.cancel();
    assert!(execute(&cluster(&api), &plan.waves, &order).await.is_complete());
}

fn candidates(names: &[&str]) -> Vec<Candidate> {
    let id = |name: &&str| ObjectId::parse_inventory(&format!("prod_{name}__ConfigMap")).expect("an id");
    names.iter().map(|name| Candidate { id: id(name), version: "v1".to_owned() }).collect()
}

#[tokio::test(start_paused = true)]
async fn the_absence_of_an_object_counts_only_when_no_apply_of_it_is_pending() {
    let (api, plan) = silent(1);
    api.on("GET", &format!("{MAPS}/m00"), gone("m00"));
    let (cluster, token) = (cluster(&api), CancellationToken::new());
    let order = order(hurried(Duration::from_mins(10), &token));
    let stop = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        token.cancel();
    };
    let (applied, ()) = tokio::join!(execute(&cluster, &plan.waves, &order), stop);
    assert!(!applied.is_complete());
    let pruned = async || {
        let budget = Budget::lasting(Duration::from_mins(1));
        prune(&cluster, &candidates(&["m00"]), &owner(), Claims::default(), 4, &budget).await
    };
    let remaining = pruned().await;
    assert_eq!((remaining.released().count(), remaining.held().count()), (0, 1), "it may still be created");
    tokio::time::advance(Duration::from_mins(1)).await;
    let gone = pruned().await;
    assert_eq!(gone.outcomes[0].1, PruneOutcome::Absent);
    assert!(cluster.unanswered().among(plan.write_ahead.ids()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_without_a_response_ends_a_prune_and_is_named() {
    let api = api();
    for name in ["a", "b", "c"] {
        let labels = json!({
            "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
        });
        let metadata = json!({
            "name": name, "namespace": "prod", "uid": "u", "resourceVersion": "7", "labels": labels,
        });
        let live = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        api.on("GET", &format!("{MAPS}/{name}"), Response::ok(live));
    }
    api.on("DELETE", &format!("{MAPS}/*"), Response::silence());
    let (began, token, cluster) = (Instant::now(), CancellationToken::new(), cluster(&api));
    let budget = hurried(Duration::from_secs(30), &token);
    let all = candidates(&["a", "b", "c"]);
    let pruned = prune(&cluster, &all, &owner(), Claims::default(), 1, &budget).await;
    assert_eq!(began.elapsed().as_secs(), 30 + HURRIED);
    assert_eq!(
        pruned.error_summary().unwrap(),
        "delete failed, errors: ConfigMap/prod/a delete failed: the API server did not answer within 40 s: look at \
         the admission webhooks of the kind;2 more objects are deleted by the next attempt;"
    );
    assert_eq!((pruned.released().count(), api.matching("DELETE", "*").len()), (0, 1));
}
