//! Take-over, on a real API server: what Flux applied is adopted without a write, and healed, changed and pruned as if it had
//! been ours from the beginning. The manifests, and what Flux's own library sends for each, are the vectors of planning.

use std::time::Duration;

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use plumb_apply::{Action, Applied, Ended, PruneOutcome};
use plumb_cluster::{Budget, GroupVersionKind};
use plumb_manifests::Object;
use plumb_manifests::scope::Scope;
use plumb_planning::claims::Claims;
use plumb_planning::fingerprint::HashKey;
use plumb_planning::identity::{self, Scopes};
use plumb_planning::inventory::Inventory;
use plumb_planning::plan::{self, Request, Selection};
use plumb_planning::prune::Candidate;
use serde_json::{Value, json};

use super::cluster::Fixture;

const MANIFESTS: &str = include_str!("../../../../crates/planning/src/typed_form/manifests.jsonl");
const FLUX: &str = include_str!("../../../../crates/planning/src/typed_form/flux.jsonl");

/// Entries have whole seconds: what was written longer ago than this is distinguished by its time alone.
const APART: Duration = Duration::from_millis(3200);
/// Checks of an adoption, at most, whose object a controller writes at the same time.
const LOOKS_MAX: usize = 10;

/// The vectors, each under a name of its own in the namespace of the test; volumes and claims that the server would reject
/// on their own are left out.
fn vectors(fixture: &Fixture, lines: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for (at, line) in lines.lines().enumerate() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let metadata = value["metadata"].as_object_mut().unwrap();
        let unique = format!("{}-{at}", fixture.namespace);
        if metadata.get("namespace").is_some() {
            metadata.insert("namespace".into(), fixture.namespace.clone().into());
        }
        metadata.insert("name".into(), unique.clone().into());
        let kind = value["kind"].as_str().unwrap().to_owned();
        if matches!(kind.as_str(), "CustomResourceDefinition" | "Gate")
            || value["spec"]["finalizers"].is_array()
            || value["spec"]["defaultBackend"]["service"]["port"] == json!({})
        {
            continue;
        }
        all.push(value);
    }
    all
}

async fn api(fixture: &Fixture, value: &Value) -> Api<DynamicObject> {
    let object = Object::new(value.clone()).unwrap();
    let kind = GroupVersionKind::gvk(object.group(), object.version(), object.kind());
    let budget = Budget::lasting(Duration::from_secs(20));
    let mapping = fixture.cluster.mapper().resolve(&kind, &budget).await.unwrap();
    let client = fixture.client.clone();
    if mapping.namespaced {
        Api::namespaced_with(client, object.namespace().unwrap(), &mapping.resource)
    } else {
        Api::all_with(client, &mapping.resource)
    }
}

/// As kustomize-controller of Flux: its manager, its options, its labels.
async fn apply_as_flux(fixture: &Fixture, value: &Value) -> Result<(), String> {
    let mut value = value.clone();
    let name = value["metadata"]["name"].as_str().unwrap().to_owned();
    let mut object = Object::new(value.take()).unwrap();
    fixture.owner.label(&mut object);
    let parameters = PatchParams::apply("kustomize-controller").force();
    let api = api(fixture, object.value()).await;
    let applied = api.patch(&name, &parameters, &Patch::Apply(object.value())).await;
    applied.map(drop).map_err(|error| format!("{} {name}: {error}", object.kind()))
}

async fn live(fixture: &Fixture, value: &Value) -> Value {
    let name = value["metadata"]["name"].as_str().unwrap();
    serde_json::to_value(api(fixture, value).await.get(name).await.unwrap()).unwrap()
}

/// The managers' entries of an apply, and what an apply moves.
fn written(live: &Value) -> Value {
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    let own: Vec<&Value> = entries.iter().filter(|entry| entry["operation"] == "Apply").collect();
    json!([own, live["metadata"]["generation"], live["metadata"]["uid"], live["metadata"]["labels"]])
}

#[track_caller]
fn complete(applied: &Applied) {
    assert_eq!(applied.ended, Ended::Complete, "{:?}", applied.error_summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flux_applied_is_adopted_healed_changed_and_pruned() {
    let fixture = Fixture::new("flux").await;
    let (manifests, sent) = (vectors(&fixture, MANIFESTS), vectors(&fixture, FLUX));
    let mut rejected = Vec::new();
    let mut pairs = Vec::new();
    for (manifest, flux) in manifests.iter().zip(&sent) {
        match apply_as_flux(&fixture, flux).await {
            Ok(()) => pairs.push((manifest.clone(), flux.clone())),
            Err(error) => rejected.push(error),
        }
    }
    assert_eq!(rejected, [""; 0], "every vector is an object that the server takes");
    tokio::time::sleep(APART).await;
    let mut wrong = Vec::new();
    for (manifest, _) in &pairs {
        if let Err(error) = take_over(&fixture, manifest).await {
            wrong.push(format!("{} {}: {error}", manifest["kind"], manifest["metadata"]["name"]));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

async fn take_over(fixture: &Fixture, manifest: &Value) -> Result<(), String> {
    adopt(fixture, manifest).await?;
    let name = manifest["metadata"]["name"].as_str().unwrap();
    // Correction: another manager changes our label and a field next to it.
    let edit = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "nobody"}}});
    let by_user = PatchParams { field_manager: Some("editor".to_owned()), ..PatchParams::default() };
    let before = live(fixture, manifest).await;
    api(fixture, manifest)
        .await
        .patch(name, &by_user, &Patch::Merge(&edit))
        .await
        .map_err(|error| error.to_string())?;
    let healed = fixture.apply(std::slice::from_ref(manifest)).await;
    expect(&healed, &Action::Configured, "heal")?;
    let after = live(fixture, manifest).await;
    if after["metadata"]["labels"] != before["metadata"]["labels"] || after["spec"] != before["spec"] {
        return Err(format!("healed to {}", after["spec"]));
    }
    // Change: a new annotation.
    let mut changed = manifest.clone();
    changed["metadata"]["annotations"]["changed"] = "yes".into();
    expect(&fixture.apply(&[changed]).await, &Action::Configured, "change")?;
    let after = live(fixture, manifest).await;
    if after["metadata"]["uid"] != before["metadata"]["uid"] {
        return Err("recreated".to_owned());
    }
    // Prune.
    let object = Object::new(manifest.clone()).unwrap();
    let candidate = Candidate { id: object.id(), version: object.version().to_owned() };
    let budget = Budget::lasting(Duration::from_mins(1));
    let pruned =
        plumb_apply::prune(&fixture.cluster, &[candidate], &fixture.owner, Claims::default(), 1, &budget)
            .await;
    match pruned.outcomes.first() {
        Some((_, PruneOutcome::Deleted | PruneOutcome::Terminating)) => Ok(()),
        other => Err(format!("prune: {other:?} {:?}", pruned.error_summary())),
    }
}

/// Applies over what Flux applied: nothing may move. A controller may write the status at the same time.
async fn adopt(fixture: &Fixture, manifest: &Value) -> Result<(), String> {
    for _ in 0..LOOKS_MAX {
        let before = live(fixture, manifest).await;
        let adopted = fixture.apply(std::slice::from_ref(manifest)).await;
        expect(&adopted, &Action::Unchanged, "adopt")?;
        let after = live(fixture, manifest).await;
        if written(&before) != written(&after) {
            return Err(format!("adoption wrote: {} became {}", written(&before), written(&after)));
        }
        if before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"] {
            return Ok(());
        }
    }
    Err("the version changed all the time".to_owned())
}

fn expect(applied: &Applied, action: &Action, step: &str) -> Result<(), String> {
    match (applied.error_summary(), applied.changes.first()) {
        (None, Some(change)) if change.action == *action => Ok(()),
        (complaint, change) => {
            Err(format!("{step}: {complaint:?} {:?}", change.map(|change| change.action.clone())))
        }
    }
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
    let fixture = Fixture::new("gate").await;
    let group = format!("{}.test", fixture.namespace);
    complete(&fixture.apply(&[gates(&group)]).await);
    let gate = |metadata: Value| json!({"apiVersion": format!("{group}/v1"), "kind": "Gate", "metadata": metadata, "spec": {"open": true}});
    let bare = gate(json!({"name": "g1"}));
    apply_as_flux(&fixture, &bare).await.unwrap();
    let before = live(&fixture, &bare).await;

    let (budget, key) = (Budget::lasting(Duration::from_secs(30)), HashKey::new([7; 32]));
    let given = fixture.objects(&[gate(json!({"name": "g1", "namespace": "NS"}))]);
    let planned = plan::prepare(given, &fixture.owner, &key).unwrap();
    let recorded: Inventory =
        [(fixture.id(&format!("_g1_{group}_Gate")), "v1".to_owned())].into_iter().collect();
    let mut scopes = Scopes::default();
    for kind in identity::open_kinds(&planned, &recorded) {
        let requested = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
        let scope = fixture.cluster.mapper().scope(&requested, &budget).await.unwrap();
        assert_eq!(scope, Some(Scope::Cluster));
        scopes.note(&kind.group, &kind.kind, scope.unwrap());
    }
    let scopes = scopes.completed(&planned, &recorded);
    let desired = identity::desired(&planned, &scopes, &key).unwrap().into_owned();
    let recorded = identity::recorded(recorded, &scopes);
    let request =
        Request { desired: &desired, before: &recorded, selection: Selection::Everything, prunes: true };
    let plan = plan::plan(request);
    complete(&plumb_apply::execute(&fixture.cluster, &plan.waves, &Fixture::order()).await);
    let pruned =
        plumb_apply::prune(&fixture.cluster, &plan.prune, &fixture.owner, Claims::default(), 1, &budget)
            .await;
    assert_eq!(pruned.outcomes, []);
    let after = live(&fixture, &bare).await;
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
}
