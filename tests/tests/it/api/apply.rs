//! Apply, on a real API server: what is created, changed, unchanged, rejected, and in which order.

use std::collections::BTreeMap;
use std::time::Duration;

use plumb_apply::{Action, Ended, observe};
use plumb_cluster::Budget;
use plumb_planning::record::{Record, Watchfulness};
use serde_json::{Value, json};

use super::cluster::Fixture;

fn settings(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "NS"}, "data": data})
}

fn actions(applied: &plumb_apply::Applied) -> Vec<(String, Action)> {
    applied.changes.iter().map(|change| (change.id.kind.clone(), change.action.clone())).collect()
}

#[track_caller]
fn complete(applied: &plumb_apply::Applied) {
    assert_eq!(applied.ended, Ended::Complete, "{:?}", applied.error_summary());
}

/// Entries have whole seconds: what was written longer ago than this is distinguished by its time alone.
const APART: Duration = Duration::from_millis(3200);

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_created_then_unchanged_then_configured() {
    let fixture = Fixture::new("apply").await;
    let first = fixture.apply(&[settings(json!({"a": "1"}))]).await;
    complete(&first);
    assert_eq!(first.lines(), [format!("ConfigMap/{}/settings created", fixture.namespace)]);
    let live = fixture.live("NS_settings__ConfigMap", "v1").await.unwrap();
    assert_eq!(live.label("kustomize.toolkit.fluxcd.io/name"), Some("apps"));
    assert_eq!(live.label("kustomize.toolkit.fluxcd.io/namespace"), Some(fixture.namespace.as_str()));

    tokio::time::sleep(APART).await;
    let again = fixture.apply(&[settings(json!({"a": "1"}))]).await;
    assert_eq!(actions(&again), [("ConfigMap".to_owned(), Action::Unchanged)]);
    assert_eq!(again.lines(), Vec::<String>::new());

    let changed = fixture.apply(&[settings(json!({"a": "2"}))]).await;
    assert_eq!(changed.lines(), [format!("ConfigMap/{}/settings configured", fixture.namespace)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_before_makes_unchanged_exact_even_at_once() {
    let fixture = Fixture::new("known").await;
    let first = fixture.apply(&[settings(json!({"a": "1"}))]).await;
    let record = |change: &plumb_apply::ObjectChange| {
        Record::baseline(&change.live, change.digest, Watchfulness::Calm)
    };
    let known: BTreeMap<_, _> =
        first.changes.iter().map(|change| (change.id.clone(), record(change))).collect();
    let again = fixture.apply_knowing(&[settings(json!({"a": "1"}))], known.clone()).await;
    assert_eq!(actions(&again), [("ConfigMap".to_owned(), Action::Unchanged)]);
    // An annotation of another manager changes the version, and is ignored.
    fixture.kubectl(&["annotate", "configmap", "settings", "note=x"], None).await;
    let noted = fixture.apply_knowing(&[settings(json!({"a": "1"}))], known.clone()).await;
    assert_eq!(
        actions(&noted),
        [("ConfigMap".to_owned(), Action::Configured)],
        "kubectl's field is taken over"
    );
    let changed = fixture.apply_knowing(&[settings(json!({"a": "2"}))], known).await;
    assert_eq!(actions(&changed), [("ConfigMap".to_owned(), Action::Configured)]);
}

fn definition(plural: &str, group: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
                }},
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_and_its_instance_are_applied_in_one_plan() {
    let fixture = Fixture::new("crd").await;
    let widget = json!({
        "apiVersion": "apply.example.com/v1", "kind": "Widget",
        "metadata": {"name": "one", "namespace": "NS"}, "spec": {"size": 3},
    });
    let applied = fixture.apply(&[widget, definition("widgets", "apply.example.com", "Widget")]).await;
    complete(&applied);
    let kinds: Vec<_> = applied.changes.iter().map(|change| change.id.kind.as_str()).collect();
    assert_eq!(kinds, ["CustomResourceDefinition", "Widget"]);
    assert!(fixture.live("NS_one_apply.example.com_Widget", "v1").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_object_lets_its_wave_finish_and_stops_later_waves() {
    let fixture = Fixture::new("refused").await;
    let map = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "NS"}, "data": data});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "NS"},
        "spec": {"ports": [{"port": 80}]},
    });
    let manifests =
        [map("a", json!({"k": "v"})), map("b", json!({"k": 5})), map("c", json!({"k": "v"})), service];
    let applied = fixture.apply(&manifests).await;
    assert_eq!(applied.ended, Ended::Rejected);
    assert_eq!(applied.untouched, 1, "the Service's wave is not begun");
    let done: Vec<_> = applied.changes.iter().map(|change| change.id.name.as_str()).collect();
    assert_eq!(done, ["a", "c"]);
    let complaint = applied.error_summary().unwrap();
    assert!(
        complaint.starts_with(&format!("ConfigMap/{}/b apply failed (", fixture.namespace)),
        "{complaint}"
    );
    assert!(fixture.live("NS_web__Service", "v1").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_is_named_with_its_api_version() {
    let fixture = Fixture::new("unknown").await;
    let gadget = json!({"apiVersion": "none.example.com/v1", "kind": "Gadget", "metadata": {"name": "x", "namespace": "NS"}});
    let applied = fixture.apply(&[gadget]).await;
    let complaint = applied.error_summary().unwrap();
    assert!(
        complaint.ends_with("no matches for kind \"Gadget\" in version \"none.example.com/v1\""),
        "{complaint}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_namespace_is_named_with_a_hint() {
    let fixture = Fixture::new("nowhere").await;
    let lost =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "not-there"}});
    let complaint = fixture.apply(&[lost]).await.error_summary().unwrap();
    assert!(complaint.contains("namespaces \"not-there\" not found"), "{complaint}");
    assert!(complaint.contains("dependsOn"), "{complaint}");
    let bare = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    assert_eq!(fixture.apply(&[bare]).await.error_summary().unwrap(), "ConfigMap/x namespace not specified");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_change_is_rejected_with_a_hint_and_changes_nothing() {
    let fixture = Fixture::new("immutable").await;
    let deployment = |label: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "NS"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": label}},
                "template": {
                    "metadata": {"labels": {"app": label}},
                    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
                },
            },
        })
    };
    complete(&fixture.apply(&[deployment("one")]).await);
    let before = fixture.live("NS_web_apps_Deployment", "v1").await.unwrap();
    let complaint = fixture.apply(&[deployment("two")]).await.error_summary().unwrap();
    assert!(complaint.contains("apply failed (Invalid)") && complaint.contains("immutable"), "{complaint}");
    let after = fixture.live("NS_web_apps_Deployment", "v1").await.unwrap();
    // The status is the deployment controller's, and moves.
    for part in [&["spec"][..], &["metadata", "uid"], &["metadata", "generation"]] {
        assert_eq!(after.at(part), before.at(part));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_values_of_a_rejected_secret_are_not_reported() {
    let fixture = Fixture::new("secret").await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "NS"},
        "data": {"password": "hunter2 is not base64"},
    });
    let applied = fixture.apply(&[secret]).await;
    let complaint = applied.error_summary().unwrap();
    assert!(
        complaint.starts_with(&format!("Secret/{}/login apply failed (", fixture.namespace)),
        "{complaint}"
    );
    assert!(!format!("{complaint} {applied:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_if_not_present_is_created_once_and_never_changed() {
    let fixture = Fixture::new("once").await;
    let once = |value: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "seed", "namespace": "NS",
                "annotations": {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"},
            },
            "data": {"k": value},
        })
    };
    assert_eq!(fixture.apply(&[once("first")]).await.lines().len(), 1);
    let second = fixture.apply(&[once("second")]).await;
    assert!(matches!(second.changes[0].action, Action::Skipped(_)), "{:?}", second.changes[0].action);
    let live = fixture.live("NS_seed__ConfigMap", "v1").await.unwrap();
    assert_eq!(live.text(&["data", "k"]), Some("first"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_outcome_and_changes_nothing() {
    let fixture = Fixture::new("dry").await;
    complete(&fixture.apply(&[settings(json!({"a": "1"}))]).await);
    let before = fixture.live("NS_settings__ConfigMap", "v1").await;
    let desired = fixture.objects(&[settings(json!({"a": "2"}))]).remove(0);
    let budget = Budget::lasting(Duration::from_secs(20));
    let outcome = observe::dry_run(&fixture.cluster, &desired, &budget).await.unwrap();
    assert_eq!(outcome.text(&["data", "a"]), Some("2"));
    assert_eq!(fixture.live("NS_settings__ConfigMap", "v1").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_port_number_was_edited_is_restored() {
    let fixture = Fixture::new("port").await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "NS"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    });
    complete(&fixture.apply(std::slice::from_ref(&service)).await);
    let edit = r#"[{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]"#;
    fixture
        .kubectl(&["patch", "service", "web", "--type=json", "--field-manager=editor", "-p", edit], None)
        .await;
    let restored = fixture.apply(&[service]).await;
    complete(&restored);
    assert_eq!(actions(&restored), [("Service".to_owned(), Action::Configured)]);
    let live = fixture.live("NS_web__Service", "v1").await.unwrap();
    let ports = live.at(&["spec", "ports"]).unwrap();
    assert_eq!((ports.as_array().unwrap().len(), ports[0]["port"].as_i64()), (1, Some(80)));
}
