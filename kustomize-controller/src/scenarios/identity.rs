//! One object has one id: a cluster-scoped custom object to which a namespace was given, from its apply to its end.

use super::*;

const GATES: &str = "/apis/net.test/v1/gates";

/// A cluster-scoped custom object that `targetNamespace` puts a namespace on.
const GATE: &str = "
apiVersion: net.test/v1
kind: Gate
metadata: {name: g1}
spec: {open: true}
";

fn gates(api: &Scenario) {
    let mut kinds = ["Namespace", "ConfigMap", "Role"].map(ServedKind::known).to_vec();
    kinds.push(ServedKind::cluster("net.test/v1", "Gate", "gates"));
    api.serve_kinds(&kinds);
    api.on("PATCH", &format!("{GATES}/*"), Response::with(applied));
    api.on("GET", GATES, Response::silence());
}

fn in_namespace(inventory: &'static [&'static str]) -> impl FnOnce(&mut Value) {
    move |object| {
        object["spec"]["targetNamespace"] = "apps".into();
        object["metadata"]["finalizers"] = json!(["finalizers.fluxcd.io"]);
        let entries: Vec<Value> = inventory.iter().map(|id| json!({ "id": id, "v": "v1" })).collect();
        object["status"] = json!({ "inventory": { "entries": entries } });
    }
}

fn on_gates(fixture: &Fixture) -> Vec<String> {
    let lines = fixture.api.lines();
    lines.into_iter().filter(|line| line.contains("gates") && !line.starts_with("GET")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flux_recorded_without_a_namespace_is_taken_over_and_not_deleted() {
    let fixture = Fixture::start(GATE, in_namespace(&["_g1_net.test_Gate"]), gates).await;
    let status = fixture.until_ready_is("True").await;
    assert_eq!(on_gates(&fixture), [format!("PATCH {GATES}/g1")]);
    assert_eq!(
        fixture.api.matching("PATCH", &format!("{GATES}/g1"))[0].body["metadata"].get("namespace"),
        None
    );
    assert_eq!(ids(&status), BTreeSet::from(["_g1_net.test_Gate".to_owned()]));
    assert_eq!(fixture.api.unscripted(), [""; 0]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_with_a_namespace_of_an_earlier_version_is_the_same_object() {
    let both = &["apps_g1_net.test_Gate", "_g1_net.test_Gate", "other_g1_net.test_Gate"];
    let fixture = Fixture::start(GATE, in_namespace(both), gates).await;
    let status = fixture.until_ready_is("True").await;
    assert_eq!(on_gates(&fixture), [format!("PATCH {GATES}/g1")]);
    assert_eq!(ids(&status), BTreeSet::from(["_g1_net.test_Gate".to_owned()]));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_of_a_cluster_scoped_custom_object_under_a_target_namespace_is_corrected() {
    let (feed, watch) = Response::feed();
    let fixture = Fixture::start(GATE, in_namespace(&[]), |api| {
        gates(api);
        let gone = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "gates \"g1\" not found", "details": { "name": "g1", "kind": "gates", "group": "net.test" }
        });
        api.on("GET", &format!("{GATES}/g1"), Response::json(404, gone));
        api.on("GET", GATES, watch);
        api.once("GET", GATES, Response::list("meta.k8s.io/v1", "PartialObjectMetadataList", &[]));
    })
    .await;
    let status = fixture.until_ready_is("True").await;
    assert_eq!(ids(&status), BTreeSet::from(["_g1_net.test_Gate".to_owned()]));
    let metadata = json!({ "name": "g1", "uid": "u", "resourceVersion": "5" });
    let gone =
        json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata });
    let recreated = || {
        feed.send("DELETED", &gone);
        on_gates(&fixture).len() >= 2
    };
    fixture.until("the gate is recreated", recreated).await;
    assert_eq!(on_gates(&fixture)[1], format!("PATCH {GATES}/g1"));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_roles_that_flux_writes_alike_the_one_that_left_git_is_pruned() {
    const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/apps/roles";
    let role = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: 'team:b'}
";
    let recorded =
        &["apps_team__b_rbac.authorization.k8s.io_Role", "apps_team%5F%5Fb_rbac.authorization.k8s.io_Role"];
    let fixture = Fixture::start(role, in_namespace(recorded), |api| {
        gates(api);
        api.on("PATCH", &format!("{ROLES}/*"), Response::with(applied));
        api.on("GET", "/apis/rbac.authorization.k8s.io/v1/roles", Response::silence());
        let labels = json!({
            "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"
        });
        api.on(
            "GET",
            &format!("{ROLES}/team__b"),
            Response::ok(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": { "name": "team__b", "namespace": "apps", "uid": "u2", "resourceVersion": "3", "labels": labels }
            })),
        );
        api.on("DELETE", &format!("{ROLES}/team__b"), Response::ok(json!({ "kind": "Status", "status": "Success" })));
    })
    .await;
    let status = fixture.until_ready_is("True").await;
    let writes: Vec<String> = fixture
        .api
        .lines()
        .into_iter()
        .filter(|line| line.contains("roles") && !line.starts_with("GET"))
        .collect();
    assert_eq!(writes.len(), 2, "{writes:?}");
    assert!(writes[0].starts_with("PATCH") && !writes[0].contains("__"), "{writes:?}");
    assert_eq!(writes[1], format!("DELETE {ROLES}/team__b"));
    assert_eq!(ids(&status), BTreeSet::from(["apps_team__b_rbac.authorization.k8s.io_Role".to_owned()]));
    fixture.stop().await;
}
