//! Which fields differ, how values are shown, and what is never shown.

use serde_json::json;

use super::*;
use crate::fields::Step;
use crate::fixtures::{deployment, deployment_fields, entry, object, settings};

#[track_caller]
fn check(live: &Object, expected: &Object, expect: &[(&str, Option<&str>, Option<&str>)]) {
    let found = changes(live, expected);
    let found: Vec<_> = found
        .iter()
        .map(|change| (change.path.to_string(), change.desired.as_deref(), change.live.as_deref()))
        .collect();
    let expect: Vec<_> =
        expect.iter().map(|(path, desired, live)| ((*path).to_owned(), *desired, *live)).collect();
    assert_eq!(found, expect);
}

fn ours() -> [Value; 1] {
    [entry("kustomize-controller", "Apply", "", Some(0), &deployment_fields())]
}

#[test]
fn fields_that_we_own_are_compared_by_their_keys_and_the_rest_is_not() {
    let expected = deployment(3, "web:1", &ours());
    check(&deployment(3, "web:1", &[]), &expected, &[]);
    check(&deployment(8, "web:1", &[]), &expected, &[(".spec.replicas", Some("3"), Some("8"))]);
    let path = ".spec.template.spec.containers[name=\"web\"].image";
    check(&deployment(3, "web:2", &[]), &expected, &[(path, Some("web:1"), Some("web:2"))]);
    let mut more = deployment(3, "web:1", &[]);
    more.value_mut()["spec"]["paused"] = true.into();
    more.value_mut()["status"]["replicas"] = 0.into();
    check(&more, &expected, &[]);
    let mut less = deployment(3, "web:1", &[]);
    less.value_mut()["spec"].as_object_mut().unwrap().remove("replicas");
    check(&less, &expected, &[(".spec.replicas", Some("3"), None)]);
}

#[test]
fn a_removed_item_is_one_change() {
    let mut live = deployment(3, "web:1", &[]);
    live.value_mut()["spec"]["template"]["spec"]["containers"][0]["name"] = "renamed".into();
    let item = r#"{"image":"web:1","name":"web"}"#;
    let path = ".spec.template.spec.containers[name=\"web\"]";
    check(&live, &deployment(3, "web:1", &ours()), &[(path, Some(item), None)]);
}

#[test]
fn values_of_a_secret_are_never_shown() {
    let secret = |value: &str| {
        object(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "data": {"password": value}, "type": "Opaque",
        }))
    };
    let (live, expected) = (secret("aHVudGVyMg=="), secret("b2xk"));
    check(&live, &expected, &[(".data.password", Some(SENSITIVE), Some(SENSITIVE))]);
    let mut bare = secret("x");
    bare.value_mut().as_object_mut().unwrap().remove("data");
    check(&bare, &expected, &[(".data", Some(SENSITIVE), None)]);
}

#[test]
fn a_restart_is_no_change() {
    let restarted = |time: &str| {
        let mut object = settings(&json!({}));
        object.set_annotation(RESTARTED_AT, time);
        object
    };
    check(&restarted("noon"), &restarted("one"), &[]);
}

#[test]
fn a_field_of_kubectl_that_an_apply_removed_is_reported() {
    let kubectl =
        entry("kubectl-edit", "Update", "", Some(5), &json!({"f:data": {"f:extra": {}, "f:kept": {}}}));
    let mut live = settings(&json!({"extra": "x", "kept": "y"}));
    live.value_mut()["metadata"]["managedFields"] = json!([kubectl]);
    let response = settings(&json!({"kept": "y"}));
    let found = swept(&live, &response, &Takeover::default());
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].path.to_string().as_str(), found[0].live.as_deref()), (".data.extra", Some("x")));
    assert_eq!(found[0].desired, None);
}

#[test]
fn a_long_value_is_cut_and_a_doubtful_one_quoted() {
    assert_eq!(shown(&json!("x".repeat(200))).chars().count(), VALUE_CHARS_MAX);
    assert_eq!(shown(&json!("plain-1.2")), "plain-1.2");
    assert_eq!(shown(&json!("two words")), "\"two words\"");
    assert_eq!(shown(&json!("")), "\"\"");
    assert_eq!(shown(&json!({"a": [1]})), r#"{"a":[1]}"#);
}

#[test]
fn field_sets_read_back_as_the_server_writes_them() {
    let wire = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}, "f:set": {"v:\"a\"": {}}},
    });
    let set = FieldSet::from_wire(&wire);
    assert_eq!(set.to_wire(), wire);
    let port = FieldPath::of(&["spec", "ports"]).then(Step::Key(vec![
        ("port".to_owned(), "80".to_owned()),
        ("protocol".to_owned(), "\"TCP\"".to_owned()),
    ]));
    assert!(set.contains(&port) && set.touches(&FieldPath::of(&["spec"])));
    assert!(!set.contains(&FieldPath::of(&["spec", "replicas"])));
    assert_eq!(port.to_string(), ".spec.ports[port=80,protocol=\"TCP\"]");
    let piece = FieldSet::from_wire(&json!({"f:spec": {"f:set": {"v:\"a\"": {}}}}));
    assert!(set.covers(&piece) && !piece.covers(&set));
}

#[test]
fn what_kubectl_added_next_to_ours_is_extra_and_an_item_counts_as_one() {
    let containers = json!({
        "k:{\"name\":\"web\"}": {"f:image": {}},
        "k:{\"name\":\"spy\"}": {".": {}, "f:image": {}, "f:name": {}},
    });
    let fields = json!({
        "f:metadata": {"f:annotations": {
            ".": {}, "f:note": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {},
        }},
        "f:spec": {"f:template": {"f:spec": {"f:containers": containers}}},
    });
    let mut live = deployment(3, "web:1", &[entry("kubectl-edit", "Update", "", Some(1), &fields)]);
    live.set_annotation("note", "x");
    live.set_annotation("kubectl.kubernetes.io/last-applied-configuration", "{}");
    live.set_annotation("deployment.kubernetes.io/revision", "1");
    let spec = &mut live.value_mut()["spec"]["template"]["spec"]["containers"];
    spec.as_array_mut().unwrap().push(json!({"name": "spy", "image": "spy:1"}));
    let expected = deployment(3, "web:1", &ours());
    let found = extras(&live, &expected, &Takeover::default());
    let paths: Vec<_> = found.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(paths, [".metadata.annotations.note", ".spec.template.spec.containers[name=\"spy\"]"]);
    assert!(found.iter().all(|change| change.desired.is_none()));
    live.value_mut()["metadata"]["managedFields"][0]["manager"] = "some-tool".into();
    assert_eq!(extras(&live, &expected, &Takeover::default()), []);
}
