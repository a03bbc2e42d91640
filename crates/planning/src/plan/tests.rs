//! What an attempt will do, from what is desired and what was there.

use serde_json::json;

use super::*;
use crate::claims::Claims;
use crate::fixtures::{id, object, owner, settings};
use crate::takeover::Takeover;

fn key() -> HashKey {
    HashKey::new([7; 32])
}

fn named(kind: &str, api: &str, name: &str) -> Object {
    object(json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "prod"}}))
}

/// The plan in words: `apply`, `prune` and `skip` lines.
fn words(plan: &Plan) -> Vec<String> {
    let waves = plan.waves.iter().map(|wave| {
        let ids: Vec<_> = wave.objects.iter().map(|planned| planned.id.to_string()).collect();
        format!("apply {}", ids.join(" "))
    });
    let prune = plan.prune.iter().map(|candidate| format!("prune {}", candidate.id));
    let skipped = plan.skipped.iter().map(|(id, why)| format!("skip {id}: {why}"));
    waves.chain(prune).chain(skipped).collect()
}

fn ready(objects: Vec<Object>) -> Vec<Arc<Planned>> {
    prepare(objects, &owner(), &key()).unwrap()
}

fn before(ids: &[&str]) -> Inventory {
    ids.iter().map(|text| (id(text), "v1".to_owned())).collect()
}

#[test]
fn kinds_are_applied_in_waves_and_pruned_in_reverse() {
    let desired = ready(vec![
        named("Deployment", "apps/v1", "web"),
        named("ConfigMap", "v1", "a"),
        named("Namespace", "v1", "prod"),
        named("ConfigMap", "v1", "b"),
        named("ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1", "gate"),
        named("Widget", "example.com/v1", "w"),
        named("CustomResourceDefinition", "apiextensions.k8s.io/v1", "widgets.example.com"),
    ]);
    let before =
        before(&["prod_old__ConfigMap", "prod_old_apps_Deployment", "_old__Namespace", "prod_a__ConfigMap"]);
    let plan =
        plan(Request { desired: &desired, before: &before, selection: Selection::Everything, prunes: true });
    assert_eq!(
        words(&plan),
        [
            "apply CustomResourceDefinition/prod/widgets.example.com",
            "apply Namespace/prod/prod",
            "apply ConfigMap/prod/a ConfigMap/prod/b",
            "apply Deployment/prod/web",
            "apply Widget/prod/w",
            "apply ValidatingWebhookConfiguration/prod/gate",
            "prune Deployment/prod/old",
            "prune ConfigMap/prod/old",
            "prune Namespace/old",
        ]
    );
    assert!(plan.waves[0].defines_kinds() && !plan.waves[1].defines_kinds());
    assert!(plan.write_ahead.covers(&before) && plan.write_ahead.covers(&plan.desired));
}

#[test]
fn only_what_changed_in_git_or_is_requested_is_applied() {
    let first = ready(vec![settings(&json!({"a": "1"})), named("Service", "v1", "web")]);
    let applied: BTreeMap<_, _> = first.iter().map(|planned| (planned.id.clone(), planned.digest)).collect();
    let desired = ready(vec![settings(&json!({"a": "2"})), named("Service", "v1", "web")]);
    let nothing = BTreeSet::new();
    let changed = Selection::Changed { applied: &applied, also: &nothing };
    let empty = Inventory::default();
    let planned =
        plan(Request { desired: &desired.clone(), before: &empty, selection: changed, prunes: true });
    assert_eq!(words(&planned), ["apply ConfigMap/prod/settings", "skip Service/prod/web: nothing changed"]);
    let also = BTreeSet::from([id("prod_web__Service")]);
    let requested = Selection::Changed { applied: &applied, also: &also };
    let planned = plan(Request { desired: &desired, before: &empty, selection: requested, prunes: true });
    assert_eq!(words(&planned), ["apply ConfigMap/prod/settings", "apply Service/prod/web"]);
}

#[test]
fn an_excluded_object_is_skipped_and_stays_in_the_inventory() {
    let mut disabled = named("ConfigMap", "v1", "a");
    disabled.set_annotation("kustomize.toolkit.fluxcd.io/reconcile", "Disabled");
    let mut ignored = named("ConfigMap", "v1", "b");
    ignored.set_label("kustomize.toolkit.fluxcd.io/ssa", "ignore");
    let before = before(&["prod_old__ConfigMap"]);
    let desired = ready(vec![disabled, ignored]);
    let plan =
        plan(Request { desired: &desired, before: &before, selection: Selection::Everything, prunes: false });
    assert_eq!(
        words(&plan),
        [
            "skip ConfigMap/prod/a: the object has reconcile: disabled",
            "skip ConfigMap/prod/b: the object has ssa: Ignore",
            "skip ConfigMap/prod/old: the Kustomization does not prune",
        ]
    );
    assert!(plan.is_idle());
    assert_eq!(plan.desired.len(), 2);
}

#[test]
fn two_objects_of_one_id_are_rejected() {
    let twice = vec![settings(&json!({"a": "1"})), settings(&json!({"a": "2"}))];
    assert_eq!(
        prepare(twice, &owner(), &key()).unwrap_err().to_string(),
        "ConfigMap/prod/settings is defined twice"
    );
}

#[test]
fn a_secret_is_brought_into_the_servers_form_and_hashed_with_the_key() {
    let secret = object(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "login", "namespace": "prod", "uid": "x", "creationTimestamp": null},
        "data": {"a": "b2xk"}, "stringData": {"a": "new"},
    }));
    let one = prepare(vec![secret.clone()], &owner(), &key()).unwrap().remove(0);
    assert_eq!(one.object.at(&["data"]), Some(&json!({"a": "bmV3"})));
    assert_eq!(one.object.at(&["stringData"]), None);
    assert_eq!(one.object.at(&["metadata", "uid"]), None);
    assert_eq!(one.object.label("kustomize.toolkit.fluxcd.io/namespace"), Some("flux-system"));
    let other = prepare(vec![secret], &owner(), &HashKey::new([8; 32])).unwrap().remove(0);
    assert_ne!(one.digest, other.digest);
    assert_eq!(format!("{:?}", key()), "HashKey");
}

#[test]
fn a_custom_kind_that_is_named_like_a_namespace_goes_before_namespaces() {
    let before = before(&[
        "_prod__Namespace",
        "prod_n_example.com_Namespace",
        "prod_d_example.com_CustomResourceDefinition",
        "prod_w_example.com_Widget",
        "_widgets.example.com_apiextensions.k8s.io_CustomResourceDefinition",
    ]);
    assert_eq!(
        words(&teardown(&before, true)),
        [
            "prune Widget/prod/w",
            "prune Namespace/prod/n",
            "prune CustomResourceDefinition/prod/d",
            "prune Namespace/prod",
            "prune CustomResourceDefinition/widgets.example.com",
        ]
    );
}

#[test]
fn a_teardown_has_an_empty_desired_set_and_deletes_only_where_pruning_is_on() {
    let before = before(&["prod_a__ConfigMap", "_prod__Namespace"]);
    assert_eq!(words(&teardown(&before, true)), ["prune ConfigMap/prod/a", "prune Namespace/prod"]);
    assert!(teardown(&before, false).is_idle());
}

#[track_caller]
fn deletable(labels: &Value, annotations: &Value, expect: Result<(), &str>) {
    let live = object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "a", "namespace": "prod", "uid": "u", "resourceVersion": "5",
            "labels": labels, "annotations": annotations,
        },
    }));
    let verdict = prune::may_delete(&live.id(), &live, &owner(), &Claims::default())
        .map(|_| ())
        .map_err(|why| why.to_string());
    assert_eq!(verdict, expect.map_err(str::to_owned));
}

#[test]
fn only_a_live_object_with_our_labels_may_be_deleted() {
    let label = |name: &str| json!({"kustomize.toolkit.fluxcd.io/name": name, "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
    deletable(&label("apps"), &json!({}), Ok(()));
    deletable(&label("infra"), &json!({}), Err("it belongs to Kustomization/flux-system/infra"));
    deletable(&json!({}), &json!({}), Err("it carries no owner labels"));
    let keep = json!({"kustomize.toolkit.fluxcd.io/prune": "disabled"});
    deletable(&label("apps"), &keep, Err("the object has prune: disabled"));
    let off = json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"});
    deletable(&label("apps"), &off, Err("the object has reconcile: disabled"));
}

#[test]
fn an_unreadable_entry_is_neither_pruned_nor_dropped() {
    use plumb_api::kustomize::{Inventory as Wire, InventoryEntry};
    let entry = |id: &str| InventoryEntry { id: id.to_owned(), v: "v1".to_owned() };
    let good = Wire { entries: vec![entry("_prod__Namespace"), entry("prod_a__ConfigMap")] };
    assert_eq!(Inventory::from_wire(Some(&good)).unwrap().to_wire(), good);
    let bad = Wire { entries: vec![entry("prod_a__ConfigMap"), entry("nonsense")] };
    let before = Inventory::from_wire(Some(&bad)).unwrap();
    assert_eq!(before.unreadable().collect::<Vec<_>>(), ["nonsense"]);
    let plan = teardown(&before, true);
    assert_eq!(words(&plan), ["prune ConfigMap/prod/a"]);
    let rest = Wire { entries: vec![entry("nonsense")] };
    assert_eq!((plan.desired.to_wire(), plan.write_ahead.to_wire()), (rest, bad));
}

#[test]
fn fields_of_kubectl_apply_become_ours_and_a_restart_keeps_its_manager() {
    let restart = json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {
        ".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}}}});
    let live = object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "prod", "resourceVersion": "10",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "managedFields": [
                crate::fixtures::entry("kustomize-controller", "Apply", "", Some(0), &json!({"f:spec": {"f:replicas": {}}})),
                crate::fixtures::entry("kubectl-edit", "Update", "", Some(1), &json!({"f:spec": {"f:paused": {}}})),
                crate::fixtures::entry("kubectl-rollout", "Update", "", Some(2), &restart),
                crate::fixtures::entry("kube-controller-manager", "Update", "status", Some(3), &json!({"f:status": {}})),
            ],
        },
    }));
    let patch = Takeover::default().patch(&live).unwrap();
    assert_eq!(patch[0], json!({"op": "test", "path": "/metadata/resourceVersion", "value": "10"}));
    let entries = patch[1]["value"].as_array().unwrap();
    let managers: Vec<_> = entries.iter().map(|entry| entry["manager"].as_str().unwrap()).collect();
    assert!(managers.contains(&"kubectl-rollout") && !managers.contains(&"kubectl-edit"), "{managers:?}");
    let ours = entries.iter().find(|entry| entry["manager"] == "kustomize-controller").unwrap();
    assert_eq!(ours["fieldsV1"]["f:spec"], json!({"f:paused": {}, "f:replicas": {}}));
    assert_eq!(
        patch[2],
        json!({"op": "remove", "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"})
    );
    let mut merging = live;
    merging.set_annotation("kustomize.toolkit.fluxcd.io/ssa", "Merge");
    assert_eq!(Takeover::default().patch(&merging), None);
}

#[test]
fn an_object_that_only_we_wrote_needs_no_takeover() {
    let entry =
        crate::fixtures::entry("kustomize-controller", "Apply", "", Some(0), &json!({"f:data": {"f:a": {}}}));
    let mut live = settings(&json!({"a": "1"}));
    live.value_mut()["metadata"]["managedFields"] = json!([entry]);
    assert_eq!(Takeover::default().patch(&live), None);
    assert!(Takeover { overrides: vec!["terraform".to_owned()] }.takes("terraform-1.2", "Apply", ""));
    assert!(!Takeover::default().takes("terraform", "Apply", ""));
    assert!(!Takeover::default().takes("kubectl", "Update", "scale"));
}

#[test]
fn a_port_whose_key_was_edited_is_a_conflicting_item() {
    let service = |port: i64, version: &str| {
        object(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "resourceVersion": version},
            "spec": {"ports": [{"name": "http", "port": port, "protocol": "TCP"}, {"name": "own", "port": 9}]},
        }))
    };
    let mut desired = service(80, "");
    desired.value_mut()["spec"]["ports"].as_array_mut().unwrap().truncate(1);
    let patch = |live: &Object| crate::obstruction::patch(&desired, live);
    let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"});
    let port = json!({"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30001});
    let mut edited = service(81, "7");
    edited.value_mut()["spec"]["ports"][0]["nodePort"] = 30001.into();
    let replace = json!({"op": "replace", "path": "/spec/ports/0", "value": port});
    assert_eq!(patch(&edited), Some(json!([test, replace])));
    edited.value_mut()["spec"]["ports"][1]["name"] = "http".into();
    assert_eq!(patch(&edited), Some(json!([test, {"op": "remove", "path": "/spec/ports/1"}, replace])));
    assert_eq!(patch(&service(80, "7")), None);
}

#[test]
fn a_plan_shares_its_objects_and_copies_none() {
    let desired = ready(vec![named("ConfigMap", "v1", "a"), named("ConfigMap", "v1", "b")]);
    let applied: BTreeMap<_, _> =
        desired.iter().map(|planned| (planned.id.clone(), planned.digest)).collect();
    let also = BTreeSet::from([desired[1].id.clone()]);
    let selection = Selection::Changed { applied: &applied, also: &also };
    let plan = plan(Request { desired: &desired, before: &Inventory::default(), selection, prunes: true });
    assert!(Arc::ptr_eq(&plan.waves[0].objects[0], &desired[1]));
    assert_eq!((Arc::strong_count(&desired[0]), Arc::strong_count(&desired[1])), (1, 2));
}
