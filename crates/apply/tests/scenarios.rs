//! Scenarios: which requests the adapter sends, and how it handles each error. The meaning of the requests is
//! tested on a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use plumb_apply::{
    Action, Applied, ApplyOptions, End, Ended, PruneOutcome, Target, WATCHES_MAX, Wait, execute, prune,
    settle, write,
};
use plumb_cluster::{Budget, Cluster, RequestError};
use plumb_manifests::{Object, ObjectId};
use plumb_planning::claims::Claims;
use plumb_planning::fingerprint::HashKey;
use plumb_planning::inventory::Inventory;
use plumb_planning::ownership::Owner;
use plumb_planning::plan::{self, Plan, Planned, Request, Selection};
use plumb_planning::prune::Candidate;
use plumb_planning::takeover::Takeover;
use plumb_testkit::scenario::{Call, Response, Scenario, ServedKind};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[path = "scenarios/unanswered.rs"]
mod unanswered;

const MAPS: &str = "/api/v1/namespaces/prod/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/prod/deployments";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// An API server that accepts every apply.
fn api() -> Scenario {
    let api = Scenario::new();
    let kinds = ["ConfigMap", "Secret", "Service", "Deployment", "CustomResourceDefinition"];
    api.serve_kinds(&kinds.map(ServedKind::known));
    api.on("PATCH", "*", Response::with(|call| Response::created(live(&call.body))));
    api
}

/// What the server makes of an object that did not exist.
fn live(body: &Value) -> Value {
    let mut live = body.clone();
    live["metadata"]["uid"] = "u1".into();
    live["metadata"]["resourceVersion"] = "1".into();
    live
}

fn cluster(api: &Scenario) -> Cluster {
    Cluster::new(api.client(), Arc::new(jiff::Timestamp::now))
}

fn owner() -> Owner {
    Owner { name: "apps".to_owned(), namespace: "flux-system".to_owned() }
}

fn object(value: Value) -> Object {
    Object::new(value).expect("the fixture is an object")
}

fn map(name: &str) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "prod"}, "data": {"a": "1"},
    }))
}

fn service(name: &str) -> Object {
    object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "prod"}}))
}

fn planned(objects: Vec<Object>) -> Vec<Arc<Planned>> {
    plan::prepare(objects, &owner(), &HashKey::new([7; 32])).expect("no id is duplicate")
}

fn plan(objects: Vec<Object>) -> Plan {
    let before = Inventory::default();
    let desired = planned(objects);
    plan::plan(Request { desired: &desired, before: &before, selection: Selection::Everything, prunes: true })
}

fn order(budget: Budget) -> ApplyOptions {
    ApplyOptions { concurrency: 4, takeover: Takeover::default(), known: BTreeMap::new(), budget }
}

async fn apply(api: &Scenario, objects: Vec<Object>) -> Applied {
    execute(&cluster(api), &plan(objects).waves, &order(Budget::lasting(Duration::from_mins(5)))).await
}

fn patches(api: &Scenario) -> Vec<Call> {
    api.matching("PATCH", "*")
}

fn names(applied: &Applied) -> Vec<&str> {
    applied.changes.iter().map(|change| change.id.name.as_str()).collect()
}

#[tokio::test]
async fn a_rejected_object_lets_its_wave_finish_stops_later_waves_and_all_errors_are_listed() {
    let api = api();
    api.on("PATCH", &format!("{MAPS}/b"), Response::invalid("data.a: must be a number"));
    api.on(
        "PATCH",
        &format!("{MAPS}/d"),
        Response::forbidden("configmaps \"d\" is forbidden: User \"u\" cannot patch it"),
    );
    let objects = vec![service("web"), map("a"), map("b"), map("c"), map("d")];
    let applied = apply(&api, objects).await;
    assert_eq!((applied.ended, applied.untouched), (Ended::Rejected, 1));
    assert_eq!(names(&applied), ["a", "c"]);
    assert_eq!(
        applied.error_summary().unwrap(),
        "ConfigMap/prod/b apply failed (Invalid): data.a: must be a number\n\
         ConfigMap/prod/d apply failed (Forbidden): configmaps \"d\" is forbidden: User \"u\" cannot patch it \
         (grant the controller's identity this access)"
    );
    assert_eq!(api.matching("*", "/api/v1/namespaces/prod/services/*"), []);
}

#[tokio::test]
async fn an_object_rejected_for_its_content_changes_nothing() {
    let api = api();
    api.on("PATCH", &format!("{MAPS}/a"), Response::invalid("data.a: must be a number"));
    // A live object in which something could be taken for an obstruction.
    let mut stands = live(map("a").value());
    stands["metadata"]["managedFields"] = json!([{
        "manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:a": {}}}
    }]);
    api.on("GET", &format!("{MAPS}/a"), Response::ok(stands));
    assert!(!apply(&api, vec![map("a")]).await.is_complete());
    assert_eq!(patches(&api).len(), 1, "{:?}", api.lines());
}

#[tokio::test]
async fn one_object_that_needs_nothing_more_costs_one_request() {
    let api = api();
    let applied = apply(&api, vec![map("a")]).await;
    assert_eq!(applied.lines(), ["ConfigMap/prod/a created"]);
    let calls = patches(&api);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].content_type, "application/apply-patch+yaml");
    assert_eq!(
        (calls[0].parameter("fieldManager"), calls[0].parameter("force"), calls[0].parameter("dryRun")),
        (Some("kustomize-controller"), Some("true"), None)
    );
    assert!(api.unscripted().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_retried_a_bounded_number_of_times() {
    let api = api();
    api.once("PATCH", &format!("{MAPS}/a"), Response::conflict("modified meanwhile"));
    assert!(apply(&api, vec![map("a")]).await.is_complete());
    assert_eq!(patches(&api).len(), 2);
    api.on("PATCH", &format!("{MAPS}/a"), Response::conflict("modified meanwhile"));
    let applied = apply(&api, vec![map("a")]).await;
    assert_eq!(applied.ended, Ended::Rejected);
    assert!(matches!(applied.failures[0].error, RequestError::Contended { .. }), "{:?}", applied.failures);
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_a_busy_server_is_respected() {
    let api = api();
    let busy = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "TooManyRequests", "code": 429,
        "message": "too many requests", "details": {"retryAfterSeconds": 3},
    });
    api.once("PATCH", &format!("{MAPS}/a"), Response::json(429, busy));
    let began = Instant::now();
    assert!(apply(&api, vec![map("a")]).await.is_complete());
    assert!((3..4).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    api.on("PATCH", &format!("{MAPS}/a"), Response::status(503, "ServiceUnavailable", "starting"));
    let applied = apply(&api, vec![map("a")]).await;
    assert!(applied.failures[0].error.is_passing());
    assert!(applied.error_summary().unwrap().contains("starting"));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_the_deadline_or_a_stop_and_the_grace_of_a_write() {
    let api = api();
    api.on("PATCH", &format!("{MAPS}/a"), Response::silence());
    let waves = plan(vec![map("a"), service("web")]).waves;
    let began = Instant::now();
    let applied = execute(&cluster(&api), &waves, &order(Budget::lasting(Duration::from_secs(20)))).await;
    assert_eq!((applied.ended, applied.untouched, began.elapsed().as_secs()), (Ended::TimedOut, 2, 25));
    assert_eq!(applied.error_summary().unwrap(), "apply did not finish in time");
    let token = CancellationToken::new();
    let budget = Budget::new(Instant::now() + Duration::from_mins(5), token.clone());
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        token.cancel();
    };
    let (cluster, order) = (cluster(&api), order(budget));
    let (applied, ()) = tokio::join!(execute(&cluster, &waves, &order), stop);
    assert_eq!((applied.ended, applied.untouched), (Ended::Cancelled, 2));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_in_flight_at_a_stop_is_awaited() {
    let api = api();
    let response = Response::with(|call| Response::created(call.body.clone()));
    api.on("PATCH", &format!("{MAPS}/a"), response.after(Duration::from_secs(2)));
    let waves = plan(vec![map("a"), service("web")]).waves;
    let token = CancellationToken::new();
    let budget = Budget::new(Instant::now() + Duration::from_mins(5), token.clone());
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        token.cancel();
    };
    let (cluster, order) = (cluster(&api), order(budget));
    let (applied, ()) = tokio::join!(execute(&cluster, &waves, &order), stop);
    assert_eq!((names(&applied), applied.ended), (vec!["a"], Ended::Cancelled));
    assert_eq!(patches(&api).len(), 1, "nothing begins after the stop");
}

#[tokio::test]
async fn an_unknown_kind_and_a_missing_namespace_are_named() {
    let api = api();
    let gadget =
        object(json!({"apiVersion": "none.example.com/v1", "kind": "Gadget", "metadata": {"name": "x"}}));
    let summary = apply(&api, vec![gadget]).await.error_summary().unwrap();
    assert_eq!(
        summary,
        "Gadget/x apply failed: no matches for kind \"Gadget\" in version \"none.example.com/v1\""
    );
    let bare = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}));
    assert_eq!(apply(&api, vec![bare]).await.error_summary().unwrap(), "ConfigMap/x namespace not specified");
    assert_eq!(patches(&api), []);
}

#[tokio::test]
async fn server_messages_about_a_secret_are_withheld() {
    let api = api();
    api.on(
        "PATCH",
        "/api/v1/namespaces/prod/secrets/*",
        Response::invalid("data.password: Invalid value: \"hunter2\""),
    );
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "prod"}, "data": {"password": "x"},
    });
    let applied = apply(&api, vec![object(secret)]).await;
    assert!(!format!("{applied:?} {:?}", applied.error_summary()).contains("hunter2"));
}

#[tokio::test]
async fn what_another_tool_left_becomes_ours_and_goes_with_a_second_apply() {
    let api = api();
    let left = json!([
        {"manager": "kustomize-controller", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:a": {}}}},
        {"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:old": {}}}},
    ]);
    let path = format!("{MAPS}/a");
    let taken = left.clone();
    api.once(
        "PATCH",
        &path,
        Response::with(move |call| {
            let mut live = live(&call.body);
            live["metadata"]["managedFields"] = taken.clone();
            live["metadata"]["annotations"] =
                json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
            Response::ok(live)
        }),
    );
    api.once("PATCH", &path, Response::ok(live(map("a").value())));
    let applied = apply(&api, vec![map("a")]).await;
    assert_eq!(applied.lines(), ["ConfigMap/prod/a configured"]);
    let calls = patches(&api);
    let kinds: Vec<_> = calls.iter().map(|call| call.content_type.as_str()).collect();
    assert_eq!(
        kinds,
        ["application/apply-patch+yaml", "application/json-patch+json", "application/apply-patch+yaml"]
    );
    let takeover = &calls[1].body;
    assert_eq!(takeover[0], json!({"op": "test", "path": "/metadata/resourceVersion", "value": "1"}));
    let entries = takeover[1]["value"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["fieldsV1"]), (1, &json!({"f:data": {"f:a": {}, "f:old": {}}})));
}

#[tokio::test]
async fn a_write_over_evidence_is_bound_to_its_version_and_a_conflict_is_returned_at_once() {
    let api = api();
    let planned = planned(vec![map("a")]).remove(0);
    let seen = object(live(map("a").value()));
    let (cluster, budget) = (cluster(&api), Budget::lasting(Duration::from_mins(1)));
    let takeover = Takeover::default();
    let over = || write::write_over(&cluster, &planned, &seen, &takeover, &budget);
    over().await.unwrap();
    assert_eq!(patches(&api)[0].body["metadata"]["resourceVersion"], "1");
    api.forget_calls();
    api.on("PATCH", &format!("{MAPS}/a"), Response::conflict("modified meanwhile"));
    let error = over().await.unwrap_err();
    assert_eq!((error.rejection().map(|rejection| rejection.code), patches(&api).len()), (Some(409), 1));
}

fn definition(established: bool) -> Object {
    let status = if established { "True" } else { "False" };
    object(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com", "uid": "u1", "resourceVersion": "1"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true}],
        },
        "status": {"conditions": [
            {"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": status, "reason": "Installing"},
        ]},
    }))
}

fn widget() -> Object {
    object(
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "prod"}}),
    )
}

#[tokio::test(start_paused = true)]
async fn an_instance_waits_until_its_definition_is_established() {
    let api = api();
    api.on("PATCH", &format!("{DEFINITIONS}/*"), Response::ok(definition(false).into_value()));
    let (feed, watch) = Response::feed();
    api.on(
        "GET",
        DEFINITIONS,
        Response::with(move |call| match call.parameter("watch") {
            Some(_) => watch.clone(),
            None => Response::list(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinitionList",
                &[definition(false).into_value()],
            ),
        }),
    );
    let establish = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(api.matching("PATCH", "/apis/example.com/*"), [], "not before it is established");
        feed.send("MODIFIED", definition(true).value());
        std::future::pending::<()>().await;
    };
    let applied = tokio::select! {
        applied = apply(&api, vec![widget(), definition(false)]) => applied,
        () = establish => unreachable!(),
    };
    assert!(applied.is_complete(), "{:?}", applied.error_summary());
    assert_eq!(names(&applied), ["widgets.example.com", "one"]);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_is_never_established_stops_what_follows() {
    let api = api();
    api.on("PATCH", &format!("{DEFINITIONS}/*"), Response::ok(definition(false).into_value()));
    api.on(
        "GET",
        DEFINITIONS,
        Response::with(|call| match call.parameter("watch") {
            Some(_) => Response::watch(Vec::new()),
            None => Response::list(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinitionList",
                &[definition(false).into_value()],
            ),
        }),
    );
    let began = Instant::now();
    let applied = apply(&api, vec![widget(), definition(false)]).await;
    assert_eq!((applied.ended, applied.untouched), (Ended::Rejected, 1));
    assert!(
        matches!(applied.failures[0].error, RequestError::NotEstablished { .. }),
        "{:?}",
        applied.failures
    );
    assert_eq!(began.elapsed().as_secs(), 60);
}

fn stale(names: &[&str]) -> Vec<Candidate> {
    let before: Inventory = names
        .iter()
        .map(|name| {
            (ObjectId::parse_inventory(&format!("prod_{name}__ConfigMap")).expect("an id"), "v1".to_owned())
        })
        .collect();
    plan::teardown(&before, true).prune
}

fn found(name: &str, owner: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": name, "namespace": "prod", "uid": format!("uid-{name}"), "resourceVersion": version,
            "labels": {
                "kustomize.toolkit.fluxcd.io/name": owner, "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
            },
        },
    })
}

fn gone(name: &str) -> Response {
    Response::json(
        404,
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "not found", "details": {"name": name, "kind": "configmaps"},
        }),
    )
}

#[tokio::test(start_paused = true)]
async fn only_our_objects_are_deleted_and_only_at_the_version_that_was_read() {
    let api = api();
    api.on("GET", &format!("{MAPS}/ours"), Response::ok(found("ours", "apps", "7")));
    api.on("GET", &format!("{MAPS}/theirs"), Response::ok(found("theirs", "infra", "8")));
    api.on("GET", &format!("{MAPS}/gone"), gone("gone"));
    api.on("DELETE", &format!("{MAPS}/ours"), Response::status(200, "", ""));
    let budget = Budget::lasting(Duration::from_mins(1));
    let pruned =
        prune(&cluster(&api), &stale(&["ours", "theirs", "gone"]), &owner(), Claims::default(), 4, &budget)
            .await;
    let outcomes: BTreeMap<_, _> =
        pruned.outcomes.iter().map(|(id, outcome)| (id.name.as_str(), outcome)).collect();
    assert_eq!((outcomes["ours"], outcomes["gone"]), (&PruneOutcome::Deleted, &PruneOutcome::Absent));
    assert!(matches!(outcomes["theirs"], PruneOutcome::Skipped(_)));
    let left = "ConfigMap/prod/theirs left in the cluster: it belongs to Kustomization/flux-system/infra";
    assert_eq!(pruned.lines(), [left, "ConfigMap/prod/ours deleted"]);
    assert_eq!(pruned.released().count(), 3);
    let deletions = api.matching("DELETE", "*");
    assert_eq!(deletions.len(), 1);
    assert_eq!(deletions[0].body["preconditions"], json!({"uid": "uid-ours", "resourceVersion": "7"}));
    assert_eq!(deletions[0].body["propagationPolicy"], "Background");
}

#[tokio::test(start_paused = true)]
async fn a_changed_object_is_read_again_before_it_is_deleted() {
    let api = api();
    let path = format!("{MAPS}/a");
    api.once("GET", &path, Response::ok(found("a", "apps", "7")));
    api.once("DELETE", &path, Response::conflict("the resourceVersion in the precondition does not match"));
    // Meanwhile a user gave it to another Kustomization.
    api.once("GET", &path, Response::ok(found("a", "infra", "8")));
    let budget = Budget::lasting(Duration::from_mins(1));
    let pruned = prune(&cluster(&api), &stale(&["a"]), &owner(), Claims::default(), 4, &budget).await;
    assert!(matches!(pruned.outcomes[0].1, PruneOutcome::Skipped(_)), "{:?}", pruned.outcomes);
    assert_eq!(api.matching("DELETE", "*").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_deletion_does_not_stop_the_others_and_stays_in_the_inventory() {
    let api = api();
    for name in ["a", "b"] {
        api.on("GET", &format!("{MAPS}/{name}"), Response::ok(found(name, "apps", "7")));
    }
    api.on("DELETE", &format!("{MAPS}/a"), Response::forbidden("configmaps \"a\" is forbidden"));
    let mut going = found("b", "apps", "8");
    going["metadata"]["deletionTimestamp"] = "2026-05-01T12:00:00Z".into();
    api.on("DELETE", &format!("{MAPS}/b"), Response::ok(going));
    let budget = Budget::lasting(Duration::from_mins(1));
    let pruned = prune(&cluster(&api), &stale(&["a", "b"]), &owner(), Claims::default(), 1, &budget).await;
    assert_eq!(pruned.outcomes.len(), 1);
    assert_eq!(pruned.outcomes[0].1, PruneOutcome::Terminating);
    assert_eq!(pruned.released().count(), 0, "neither is confirmed gone");
    let summary = pruned.error_summary().unwrap();
    assert!(
        summary.starts_with("delete failed, errors: ConfigMap/prod/a delete failed (Forbidden)"),
        "{summary}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pruned_from_a_partial_discovery() {
    let api = api();
    // The server of this group does not respond, so its kinds are not listed.
    api.serve_kinds_with_stale(
        &["ConfigMap", "Namespace"].map(ServedKind::known),
        &["metrics.example.com/v1"],
    );
    api.on("GET", &format!("{MAPS}/a"), Response::ok(found("a", "apps", "7")));
    api.on("DELETE", &format!("{MAPS}/a"), Response::status(200, "", ""));
    let id = |text: &str| ObjectId::parse_inventory(text).unwrap();
    let candidates: Vec<Candidate> =
        ["prod_m_metrics.example.com_Rule", "prod_a__ConfigMap", "_prod__Namespace"]
            .map(|text| Candidate { id: id(text), version: "v1".to_owned() })
            .into();
    api.on("GET", "/api/v1/namespaces/prod", {
        let mut namespace = found("prod", "apps", "3");
        namespace["kind"] = "Namespace".into();
        Response::ok(namespace)
    });
    let budget = Budget::lasting(Duration::from_mins(1));
    let pruned = prune(&cluster(&api), &candidates, &owner(), Claims::default(), 4, &budget).await;
    let summary = pruned.error_summary().unwrap();
    assert!(summary.contains("Rule/prod/m") && pruned.failures.len() == 1, "{summary}");
    let released: Vec<_> = pruned.released().map(ToString::to_string).collect();
    assert_eq!(
        released,
        ["ConfigMap/prod/a"],
        "the others are pruned, but not the namespace of what is left"
    );
    let held: Vec<_> = pruned.held().map(|(id, why)| format!("{id}: {why}")).collect();
    assert_eq!(held, ["Namespace/prod: it contains Rule/prod/m, which is kept"]);
}

fn deployment(ready: i64, progressing: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "prod", "generation": 1, "uid": "u1", "resourceVersion": ready.to_string()},
        "spec": {"replicas": 2},
        "status": {
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": ready, "availableReplicas": ready,
            "conditions": [
                {"type": "Progressing", "status": if progressing.is_empty() { "True" } else { "False" }, "reason": progressing},
                {"type": "Available", "status": if ready == 2 { "True" } else { "False" }},
            ],
        },
    })
}

fn target() -> Target {
    Target {
        id: ObjectId::parse_inventory("prod_web_apps_Deployment").expect("an id"),
        version: "v1".to_owned(),
    }
}

/// Lists these, then feeds the rest.
fn shows(api: &Scenario, listed: Vec<Value>) -> plumb_testkit::scenario::Feed {
    let (feed, watch) = Response::feed();
    api.on(
        "GET",
        DEPLOYMENTS,
        Response::with(move |call| match call.parameter("watch") {
            Some(_) => watch.clone(),
            None => Response::list("apps/v1", "DeploymentList", &listed),
        }),
    );
    feed
}

async fn settled(api: &Scenario, fail_fast: bool, seconds: u64) -> plumb_apply::Settled {
    let budget = Budget::lasting(Duration::from_secs(seconds));
    settle(&cluster(api), Wait { targets: vec![target()], vanishing: BTreeSet::new(), fail_fast, budget })
        .await
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_the_watch_shows_health() {
    let api = api();
    let feed = shows(&api, vec![deployment(1, "")]);
    let later = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        feed.send("MODIFIED", &deployment(2, ""));
        std::future::pending::<()>().await;
    };
    let settled = tokio::select! {
        settled = settled(&api, true, 60) => settled,
        () = later => unreachable!(),
    };
    assert_eq!((settled.end, settled.took.as_secs(), settled.error_summary()), (End::Healthy, 7, None));
    let lists = api.matching("GET", DEPLOYMENTS);
    assert_eq!(lists[0].parameter("fieldSelector"), Some("metadata.name%3Dweb"));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_early_with_a_failed_object_or_late_with_the_deadline() {
    let failing = api();
    let _feed = shows(&failing, vec![deployment(0, "ProgressDeadlineExceeded")]);
    let early = settled(&failing, true, 60).await;
    assert_eq!(early.end, End::Failed);
    assert!(
        early
            .error_summary()
            .unwrap()
            .starts_with("failed early due to stalled resources: [Deployment/prod/web status: 'Failed'"),
        "{:?}",
        early.error_summary()
    );
    let slow = api();
    let _feed = shows(&slow, vec![deployment(1, "")]);
    let late = settled(&slow, true, 30).await;
    assert_eq!((late.end, late.took.as_secs()), (End::TimedOut, 30));
    assert_eq!(
        late.error_summary().unwrap(),
        "timeout waiting for: [Deployment/prod/web status: 'InProgress']"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_yet_is_waited_for_and_a_stop_is_no_complaint() {
    let api = api();
    let feed = shows(&api, Vec::new());
    let token = CancellationToken::new();
    let budget = Budget::new(Instant::now() + Duration::from_mins(1), token.clone());
    let stop = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        token.cancel();
    };
    let wait = Wait { targets: vec![target()], vanishing: BTreeSet::new(), fail_fast: true, budget };
    let cluster = cluster(&api);
    let (stopped, ()) = tokio::join!(settle(&cluster, wait), stop);
    assert_eq!((stopped.end, stopped.error_summary()), (End::Cancelled, None));
    drop(feed);
    let feed = shows(&api, Vec::new());
    let later = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        feed.send("ADDED", &deployment(2, ""));
        std::future::pending::<()>().await;
    };
    let settled = tokio::select! {
        settled = settled(&api, true, 60) => settled,
        () = later => unreachable!(),
    };
    assert_eq!(settled.end, End::Healthy);
}

#[tokio::test]
async fn the_stored_part_of_a_response_has_no_content() {
    let api = api();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "prod", "annotations": {"note": "hunter2"}},
        "data": {"password": "aHVudGVyMg=="},
    });
    let applied = apply(&api, vec![object(secret)]).await;
    assert_eq!(applied.changes[0].action, Action::Created);
    let remaining = format!("{:?}", applied.changes[0]);
    assert!(!remaining.contains("aHVudGVyMg") && !remaining.contains("hunter2"), "{remaining}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_rejected_never_leads_to_a_deletion() {
    let immutable = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Invalid", "code": 422,
        "message": "spec.selector: field is immutable",
        "details": {"causes": [{"field": "spec.selector", "message": "field is immutable"}]},
    });
    for response in [
        Response::invalid("spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        Response::json(422, immutable),
        Response::conflict("the object has been modified"),
        Response::forbidden("configmaps is forbidden"),
        Response::status(400, "BadRequest", "strict decoding error"),
    ] {
        let api = api();
        api.on("PATCH", &format!("{MAPS}/a"), response);
        let mut forced = map("a");
        forced.set_annotation("kustomize.toolkit.fluxcd.io/force", "Enabled");
        let applied = apply(&api, vec![forced]).await;
        assert_eq!(
            (applied.ended, applied.failures.len()),
            (Ended::Rejected, 1),
            "{:?}",
            applied.error_summary()
        );
        assert_eq!(api.matching("DELETE", "*"), []);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_without_a_response_is_named_and_the_others_of_its_wave_are_applied() {
    let api = api();
    api.on("PATCH", &format!("{MAPS}/stuck"), Response::silence());
    let plan = plan(vec![map("a"), map("stuck"), map("z")]);
    let order = order(Budget::lasting(Duration::from_mins(10)));
    let applied = execute(&cluster(&api), &plan.waves, &order).await;
    let applied_names: Vec<_> = applied.changes.iter().map(|change| change.id.name.as_str()).collect();
    assert_eq!((applied_names, applied.ended), (vec!["a", "z"], Ended::Rejected));
    let summary = applied.error_summary().unwrap();
    assert!(summary.contains("ConfigMap/prod/stuck") && summary.contains("within 65 s"), "{summary}");
}

/// An API server that shows one Deployment in each namespace; from namespace number `healthy` on it is not healthy.
fn deployments(healthy: usize) -> Scenario {
    let api = api();
    let response = move |call: &Call| {
        if call.parameter("watch").is_some() {
            return Response::silence();
        }
        let namespace = call.path.split('/').nth(5).expect("the path names a namespace");
        let mut shown = deployment_in(namespace);
        if namespace.trim_start_matches("ns-").parse::<usize>().expect("ns-NUMBER") >= healthy {
            shown["status"] = json!({});
        }
        Response::ok(json!({
            "apiVersion": "apps/v1", "kind": "DeploymentList", "metadata": {"resourceVersion": "1"},
            "items": [shown],
        }))
    };
    api.on("GET", "/apis/apps/v1/namespaces/*/deployments", Response::with(response));
    api
}

async fn settled_in(api: &Scenario, namespaces: usize, time: Duration) -> plumb_apply::Settled {
    let target = |number| Target {
        id: ObjectId::parse_inventory(&format!("ns-{number}_web_apps_Deployment")).expect("an inventory id"),
        version: "v1".to_owned(),
    };
    let targets = (0..namespaces).map(target).collect();
    let budget = Budget::lasting(time);
    settle(&cluster(api), Wait { targets, vanishing: BTreeSet::new(), fail_fast: false, budget }).await
}

/// How many Deployments were listed.
fn listed(api: &Scenario) -> usize {
    let calls = api.matching("GET", "/apis/apps/v1/namespaces/*/deployments");
    calls.iter().filter(|call| call.parameter("watch").is_none()).count()
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_no_more_watches_than_its_limit_at_a_time() {
    let api = deployments(0);
    let settled = settled_in(&api, 2 * WATCHES_MAX + 9, Duration::from_secs(5)).await;
    assert_eq!((settled.end, listed(&api)), (End::TimedOut, WATCHES_MAX));
}

#[tokio::test(start_paused = true)]
async fn healthy_objects_free_their_slot_at_once() {
    let namespaces = 2 * WATCHES_MAX + 9;
    let api = deployments(namespaces);
    let settled = settled_in(&api, namespaces, Duration::from_secs(5)).await;
    assert_eq!((settled.end, listed(&api)), (End::Healthy, namespaces));
}

#[tokio::test(start_paused = true)]
async fn objects_that_do_not_become_healthy_do_not_hide_the_others() {
    let namespaces = 2 * WATCHES_MAX + 9;
    let api = deployments(0);
    let settled = settled_in(&api, namespaces, Duration::from_secs(40)).await;
    assert_eq!(settled.end, End::TimedOut);
    let unseen = settled.verdicts.values().filter(|verdict| verdict.message == "not seen yet").count();
    assert_eq!(unseen, 0, "each was looked at");
}

fn deployment_in(namespace: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace, "generation": 1, "uid": "u", "resourceVersion": "1"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {}},
        "status": {
            "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "conditions": [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True"}]
        }
    })
}
