//! Take-over, on a real API server: what Flux applied is adopted.

use std::time::Duration;

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use plumb_apply::{Applied, Budget, Ended, GroupVersionKind};
use plumb_manifests::Object;
use plumb_manifests::scope::Scope;
use plumb_planning::claims::Claims;
use plumb_planning::fingerprint::HashKey;
use plumb_planning::identity::{self, Scopes};
use plumb_planning::inventory::Inventory;
use plumb_planning::plan::{self, Request, Selection};
use serde_json::{Value, json};

use super::stand::Stand;

async fn api(stand: &Stand, value: &Value) -> Api<DynamicObject> {
    let object = Object::new(value.clone()).unwrap();
    let kind = GroupVersionKind::gvk(object.group(), object.version(), object.kind());
    let budget = Budget::lasting(Duration::from_secs(20));
    let mapping = stand.cluster.mapper().resolve(&kind, &budget).await.unwrap();
    let client = stand.client.clone();
    if mapping.namespaced {
        Api::namespaced_with(client, object.namespace().unwrap(), &mapping.resource)
    } else {
        Api::all_with(client, &mapping.resource)
    }
}

/// As kustomize-controller of Flux: its manager, its options, its labels.
async fn apply_as_flux(stand: &Stand, value: &Value) -> Result<(), String> {
    let mut value = value.clone();
    let name = value["metadata"]["name"].as_str().unwrap().to_owned();
    let mut object = Object::new(value.take()).unwrap();
    stand.owner.label(&mut object);
    let parameters = PatchParams::apply("kustomize-controller").force();
    let api = api(stand, object.value()).await;
    let applied = api.patch(&name, &parameters, &Patch::Apply(object.value())).await;
    applied.map(drop).map_err(|error| format!("{} {name}: {error}", object.kind()))
}

async fn live(stand: &Stand, value: &Value) -> Value {
    let name = value["metadata"]["name"].as_str().unwrap();
    serde_json::to_value(api(stand, value).await.get(name).await.unwrap()).unwrap()
}

#[track_caller]
fn complete(applied: &Applied) {
    assert_eq!(applied.ended, Ended::Complete, "{:?}", applied.complaint());
}

fn gates(group: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gates.{group}")},
        "spec": {
            "group": group, "scope": "Cluster",
            "names": {"plural": "gates", "singular": "gate", "kind": "Gate", "listKind": "GateList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_scoped_custom_object_of_flux_keeps_its_uid_under_a_target_namespace() {
    let stand = Stand::new("gate").await;
    let group = format!("{}.test", stand.namespace);
    complete(&stand.apply(&[gates(&group)]).await);
    let gate = |metadata: Value| json!({"apiVersion": format!("{group}/v1"), "kind": "Gate", "metadata": metadata, "spec": {"open": true}});
    let bare = gate(json!({"name": "g1"}));
    apply_as_flux(&stand, &bare).await.unwrap();
    let before = live(&stand, &bare).await;

    let (budget, key) = (Budget::lasting(Duration::from_secs(30)), HashKey::new([7; 32]));
    let given = stand.objects(&[gate(json!({"name": "g1", "namespace": "NS"}))]);
    let planned = plan::prepare(given, &stand.owner, &key).unwrap();
    let recorded: Inventory =
        [(stand.id(&format!("_g1_{group}_Gate")), "v1".to_owned())].into_iter().collect();
    let mut scopes = Scopes::default();
    for kind in identity::open_kinds(&planned, &recorded) {
        let asked = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
        let scope = stand.cluster.mapper().scope(&asked, &budget).await.unwrap();
        assert_eq!(scope, Some(Scope::Cluster));
        scopes.note(&kind.group, &kind.kind, scope.unwrap());
    }
    let scopes = scopes.completed(&planned, &recorded);
    let desired = identity::desired(&planned, &scopes, &key).unwrap().into_owned();
    let recorded = identity::recorded(recorded, &scopes);
    let request = Request { desired, before: &recorded, selection: Selection::Everything, prunes: true };
    let plan = plan::plan(request);
    complete(&plumb_apply::execute(&stand.cluster, &plan.waves, &Stand::order()).await);
    let pruned =
        plumb_apply::prune(&stand.cluster, &plan.prune, &stand.owner, Claims::default(), 1, &budget).await;
    assert_eq!(pruned.fates, []);
    let after = live(&stand, &bare).await;
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
}
