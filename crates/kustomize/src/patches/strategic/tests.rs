//! Strategic merge patches: what is merged, what is refused.

use super::*;

fn node(json: &str) -> Node {
    Node::from(serde_json::from_str::<serde_json::Value>(json).unwrap())
}

fn merged(old: &str, patch: &str, kind: &str) -> Result<Option<Node>, BuildError> {
    let api_version = if kind == "Any" { "example.com/v1" } else { "v1" };
    let under_spec = |text: &str| node(&format!("{{\"spec\": {text}}}"));
    merge(under_spec(old), under_spec(patch), &Gvk::new(api_version, kind))
}

#[track_caller]
fn check(kind: &str, old: &str, patch: &str, expect: &str) {
    let expect = node(expect);
    assert_eq!(merged(old, patch, kind).unwrap().unwrap()["spec"], expect);
}

#[track_caller]
fn refuse(kind: &str, old: &str, patch: &str, expect: &str) {
    assert_eq!(merged(old, patch, kind).unwrap_err().to_string(), expect);
}

#[test]
fn maps_are_merged_and_null_deletes() {
    check("Any", r#"{"a": 1, "b": {"c": 1}}"#, r#"{"a": null, "b": {"d": 2}}"#, r#"{"b": {"c": 1, "d": 2}}"#);
    check("Any", "{}", r#"{"a": {"b": null, "c": 1}}"#, r#"{"a": {"c": 1}}"#);
    check("Any", r#"{"a": null}"#, r#"{"b": 1}"#, r#"{"a": null, "b": 1}"#);
}

#[test]
fn lists_of_unknown_kinds_are_replaced() {
    check("Any", r#"{"l": [{"name": "a"}]}"#, r#"{"l": [{"name": "b"}]}"#, r#"{"l": [{"name": "b"}]}"#);
}

#[test]
fn lists_with_keys_are_merged_with_the_patch_in_front() {
    check(
        "Pod",
        r#"{"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}"#,
        r#"{"containers": [{"name": "c"}, {"name": "b", "image": "y"}]}"#,
        r#"{"containers": [{"name": "c"}, {"name": "b", "image": "y"}, {"name": "a", "image": "x"}]}"#,
    );
}

#[test]
fn directives_delete_and_replace() {
    let old = r#"{"containers": [{"name": "a", "image": "x"}, {"name": "b"}], "m": {"a": 1}}"#;
    check(
        "Pod",
        old,
        r#"{"containers": [{"name": "a", "$patch": "delete"}], "m": {"$patch": "replace", "b": 1}}"#,
        r#"{"containers": [{"name": "b"}], "m": {"b": 1}}"#,
    );
    check(
        "Pod",
        old,
        r#"{"containers": [{"name": "z"}, {"$patch": "replace"}], "m": {"$patch": "delete"}}"#,
        r#"{"containers": [{"name": "z"}]}"#,
    );
    refuse("Pod", old, r#"{"$patch": "keep"}"#, "spec: unknown patch strategy \"keep\"");
    let whole = node(r#"{"$patch": "delete"}"#);
    assert_eq!(merge(Node::Object(Map::new()), whole, &Gvk::new("v1", "Pod")).unwrap(), None);
}

#[test]
fn lists_with_two_keys_keep_their_order_once_the_second_is_stated() {
    check(
        "Service",
        r#"{"ports": [{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"}]}"#,
        r#"{"ports": [{"port": 80, "protocol": "UDP", "name": "u"}, {"port": 1}]}"#,
        r#"{"ports": [{"port": 1}, {"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP", "name": "u"}]}"#,
    );
    check(
        "Service",
        r#"{"ports": [{"port": 80}, {"port": 443}]}"#,
        r#"{"ports": [{"port": 443, "name": "s"}]}"#,
        r#"{"ports": [{"port": 443, "name": "s"}, {"port": 80}]}"#,
    );
}

#[test]
fn items_that_state_different_keys_are_refused_unless_the_patch_says_nothing_new() {
    let old = r#"{"ports": [{"port": 80, "protocol": "TCP", "name": "a"}]}"#;
    check("Service", old, r#"{"ports": [{"port": 80, "name": "a"}]}"#, old);
    refuse(
        "Service",
        old,
        r#"{"ports": [{"port": 80, "name": "b"}]}"#,
        "spec: ports: the object has [port=80,protocol=TCP], the patch [port=80]: write port, protocol in both",
    );
}

#[test]
fn what_would_lose_data_is_refused() {
    refuse(
        "Pod",
        r#"{"containers": [{"name": "a"}, {"name": "a"}]}"#,
        r#"{"containers": [{"name": "a", "image": "x"}]}"#,
        "spec: containers: more than one item [name=a] in the object: which one is patched is not clear",
    );
    refuse(
        "Pod",
        r#"{"volumes": [{"emptyDir": {}}]}"#,
        r#"{"volumes": [{"name": "a"}]}"#,
        "spec: volumes: an item of the list in the object lacks name",
    );
    refuse(
        "Pod",
        r#"{"containers": [{"name": "a"}]}"#,
        r#"{"containers": [{"name": "a", "$patch": "replace"}]}"#,
        "spec: containers: [name=a]: kustomize replaces maps and lists, but no single item of a list",
    );
    let expect = "spec: a: wrong node kind: expected MappingNode but got ScalarNode";
    refuse("Pod", r#"{"a": {}}"#, r#"{"a": 1}"#, expect);
}
