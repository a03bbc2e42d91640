use serde_json::json;

use super::*;

fn merged(old: Value, patch: Value, kind: &str) -> Result<Option<Value>, BuildError> {
    let api_version = if kind == "Pod" || kind == "Service" { "v1" } else { "example.com/v1" };
    merge(old, patch, &Gvk::new(api_version, kind))
}

#[track_caller]
fn check(kind: &str, old: &Value, patch: &Value, expect: &Value) {
    assert_eq!(merged(json!({"spec": old}), json!({"spec": patch}), kind).unwrap().unwrap()["spec"], *expect);
}

#[track_caller]
fn refuse(old: &Value, patch: &Value, expect: &str) {
    let error = merged(json!({"spec": old}), json!({"spec": patch}), "Pod").unwrap_err();
    assert_eq!(error.to_string(), expect);
}

#[test]
fn maps_are_merged_and_null_deletes() {
    check(
        "Any",
        &json!({"a": 1, "b": {"c": 1}}),
        json!({"a": null, "b": {"d": 2}}),
        &json!({"b": {"c": 1, "d": 2}}),
    );
    check("Any", &json!({}), json!({"a": {"b": null, "c": 1}}), &json!({"a": {"c": 1}}));
    check("Any", &json!({"a": null}), json!({"b": 1}), &json!({"a": null, "b": 1}));
}

#[test]
fn lists_of_unknown_kinds_are_replaced() {
    check(
        "Any",
        &json!({"l": [{"name": "a"}]}),
        json!({"l": [{"name": "b"}]}),
        &json!({"l": [{"name": "b"}]}),
    );
}

#[test]
fn lists_with_keys_are_merged_with_the_patch_in_front() {
    let old = json!({"containers": [{"name": "a", "image": "x"}, {"name": "b"}]});
    let patch = json!({"containers": [{"name": "c"}, {"name": "b", "image": "y"}]});
    let expect =
        json!({"containers": [{"name": "c"}, {"name": "b", "image": "y"}, {"name": "a", "image": "x"}]});
    check("Pod", &old, patch, &expect);
}

#[test]
fn directives_delete_and_replace() {
    let old = json!({"containers": [{"name": "a", "image": "x"}, {"name": "b"}], "m": {"a": 1}});
    check(
        "Pod",
        &old.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}], "m": {"$patch": "replace", "b": 1}}),
        &json!({"containers": [{"name": "b"}], "m": {"b": 1}}),
    );
    check(
        "Pod",
        &old.clone(),
        json!({"containers": [{"name": "z"}, {"$patch": "replace"}], "m": {"$patch": "delete"}}),
        &json!({"containers": [{"name": "z"}]}),
    );
    assert_eq!(merged(old, json!({"$patch": "delete"}), "Pod").unwrap(), None);
}

fn ports(ports: &Value) -> Value {
    json!({"ports": ports})
}

#[test]
fn lists_with_two_keys_keep_their_order_once_the_second_is_stated() {
    check(
        "Service",
        &ports(json!([{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"}])),
        ports(json!([{"port": 80, "protocol": "UDP", "name": "u"}, {"port": 1}])),
        &ports(
            json!([{"port": 1}, {"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP", "name": "u"}]),
        ),
    );
    check(
        "Service",
        &ports(json!([{"port": 80}, {"port": 443}])),
        ports(json!([{"port": 443, "name": "s"}])),
        &ports(json!([{"port": 443, "name": "s"}, {"port": 80}])),
    );
}

#[test]
fn items_that_state_different_keys_are_refused_unless_the_patch_says_nothing_new() {
    let old = ports(json!([{"port": 80, "protocol": "TCP", "name": "a"}]));
    check("Service", &old.clone(), ports(json!([{"port": 80, "name": "a"}])), &old);
    let patch = json!({"spec": ports(json!([{"port": 80, "name": "b"}]))});
    let error = merged(json!({"spec": old}), patch, "Service").unwrap_err().to_string();
    assert_eq!(
        error,
        "spec: ports: the object has [port=80,protocol=TCP], the patch [port=80]: write port, protocol in both"
    );
}

#[test]
fn what_would_lose_data_is_refused() {
    refuse(
        json!({"containers": [{"name": "a"}, {"name": "a"}]}),
        json!({"containers": [{"name": "a", "image": "x"}]}),
        "spec: containers: more than one item [name=a] in the object: which one is patched is not clear",
    );
    refuse(
        json!({"volumes": [{"emptyDir": {}}]}),
        json!({"volumes": [{"name": "a"}]}),
        "spec: volumes: an item of the list in the object lacks name",
    );
    refuse(
        json!({"a": {}}),
        json!({"a": 1}),
        "spec: a: wrong node kind: expected MappingNode but got ScalarNode",
    );
}
