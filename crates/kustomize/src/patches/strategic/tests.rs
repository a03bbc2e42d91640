//! Strategic merge patches: what is merged, what is rejected.

use super::*;

fn node(json: &str) -> Node {
    Node::from(serde_json::from_str::<serde_json::Value>(json).unwrap())
}

fn merged(old: &str, patch: &str, kind: &str) -> Result<Option<Node>, BuildError> {
    let api_version = if kind == "Any" { "example.com/v1" } else { "v1" };
    let under_spec = |text: &str| node(&format!("{{\"spec\": {text}}}"));
    Merger::new(Schema::builtin(), Gvk::new(api_version, kind)).merge(under_spec(old), under_spec(patch))
}

/// The result of a patch that kustomize does not apply as expected, and its warning.
#[track_caller]
fn lose(kind: &str, old: &str, patch: &str, expect: &str, warning: &str) {
    let under_spec = |text: &str| node(&format!("{{\"spec\": {text}}}"));
    let mut merger = Merger::new(Schema::builtin(), Gvk::new("v1", kind));
    let result = merger.merge(under_spec(old), under_spec(patch)).unwrap().unwrap();
    assert_eq!(result["spec"], node(expect));
    let losses = merger.losses.join("\n");
    assert!(losses.contains(warning) && losses.is_empty() == warning.is_empty(), "{losses}");
}

#[track_caller]
fn check(kind: &str, old: &str, patch: &str, expect: &str) {
    let expect = node(expect);
    assert_eq!(merged(old, patch, kind).unwrap().unwrap()["spec"], expect);
}

#[track_caller]
fn reject(kind: &str, old: &str, patch: &str, expect: &str) {
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
fn a_manifest_inside_of_an_object_is_merged_by_its_own_kind() {
    let pod = r#""apiVersion": "v1", "kind": "Pod""#;
    let containers = |names: &[&str]| {
        let items: Vec<String> = names.iter().map(|name| format!("{{\"name\": \"{name}\"}}")).collect();
        format!("\"spec\": {{\"containers\": [{}]}}", items.join(", "))
    };
    let (a, b, both) = (containers(&["a"]), containers(&["b"]), containers(&["b", "a"]));
    let object = |kind: &str, rest: &str| format!("{{\"m\": {{{kind}{rest}}}}}");
    let typed = object(&format!("{pod}, "), &both);
    check("Any", &object(&format!("{pod}, "), &a), &object(&format!("{pod}, "), &b), &typed);
    check("Any", &object(&format!("{pod}, "), &a), &object("", &b), &typed);
    check("Any", &object("", &a), &object(&format!("{pod}, "), &b), &typed);
    check("Any", &object("", &a), &object("", &b), &object("", &b));
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
    reject("Pod", old, r#"{"$patch": "keep"}"#, "spec: unknown patch strategy \"keep\"");
    let whole = node(r#"{"$patch": "delete"}"#);
    let mut merger = Merger::new(Schema::builtin(), Gvk::new("v1", "Pod"));
    assert_eq!(merger.merge(Node::object(), whole).unwrap(), None);
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
fn items_that_state_different_keys_are_lost_as_in_kustomize() {
    let tcp = r#"{"ports": [{"port": 80, "protocol": "TCP", "name": "a"}]}"#;
    lose("Service", tcp, r#"{"ports": [{"port": 80, "name": "a"}]}"#, tcp, "");
    lose("Service", tcp, r#"{"ports": [{"port": 80, "name": "b"}]}"#, tcp, "drops 1 of the patch's items");
    let bare = r#"{"ports": [{"port": 80}]}"#;
    lose(
        "Service",
        bare,
        r#"{"ports": [{"port": 80, "protocol": "TCP"}]}"#,
        bare,
        "write port, protocol in every item",
    );
    lose(
        "Service",
        r#"{"ports": [{"protocol": "TCP", "name": "q"}]}"#,
        r#"{"ports": [{"port": 80}]}"#,
        r#"{"ports": [{"port": 80}, {"protocol": "TCP", "name": "q"}, {"protocol": "TCP", "name": "q"},
            {"protocol": "TCP", "name": "q"}]}"#,
        "",
    );
    lose(
        "Service",
        r#"{"ports": [{"port": 80}, {"port": 80, "protocol": "TCP"}]}"#,
        r#"{"ports": [{"port": 80, "protocol": "TCP", "name": "z"}]}"#,
        r#"{"ports": [{"port": 80}, {"port": 80, "protocol": "TCP", "name": "z"}]}"#,
        "",
    );
}

#[test]
fn items_without_a_key_or_with_the_same_one_push_others_out() {
    lose(
        "Pod",
        r#"{"containers": [{"name": "a", "i": 1}, {"name": "a", "i": 2}]}"#,
        r#"{"containers": [{"name": "a", "i": 3}]}"#,
        r#"{"containers": [{"name": "a", "i": 2}]}"#,
        "spec.containers: kustomize drops 1 of the patch's items",
    );
    lose(
        "Pod",
        r#"{"volumes": [{"name": "a"}, {"emptyDir": {}}]}"#,
        r#"{"volumes": [{"name": "b"}]}"#,
        r#"{"volumes": [{"emptyDir": {}}]}"#,
        "drops 1 of the object's items",
    );
    lose(
        "Pod",
        r#"{"volumes": [{"name": "a"}]}"#,
        r#"{"volumes": [{"image": 1}]}"#,
        r#"{"volumes": []}"#,
        "drops",
    );
    lose(
        "Pod",
        r#"{"containers": [{"name": "a", "i": 1}, {"name": "b"}]}"#,
        r#"{"containers": [{"name": "a", "$patch": "replace"}]}"#,
        r#"{"containers": [{"name": "a", "i": 1}, {"name": "b"}]}"#,
        "drops 1 of the patch's items",
    );
    let doubled = r#"{"containers": [{"name": "b", "x": 1}, {"name": "b", "y": 1}]}"#;
    lose("Pod", "{}", doubled, r#"{"containers": [{"name": "b", "y": 1}]}"#, "drops 1 of the patch's items");
    lose("Pod", r#"{"containers": []}"#, doubled, r#"{"containers": [{"name": "b", "x": 1}]}"#, "drops");
    let expect = "spec: a: wrong node kind: expected MappingNode but got ScalarNode";
    reject("Pod", r#"{"a": {}}"#, r#"{"a": 1}"#, expect);
}

#[test]
fn directives_in_new_lists_are_removed_or_rejected() {
    let new = r#"{"containers": [{"name": "z"}, {"name": "a", "$patch": "replace"}]}"#;
    lose("Pod", "{}", new, r#"{"containers": [{"name": "z"}, {"name": "a"}]}"#, "");
    let around = |list: &str| format!(r#"{{"containers": [{{"name": "a", "env": {list}}}]}}"#);
    lose(
        "Pod",
        "{}",
        &around(r#"[{"name": "z"}, {"$patch": "replace"}]"#),
        &around(r#"[{"name": "z"}]"#),
        "",
    );
    lose("Pod", "{}", &around(r#"[{"$patch": "delete"}]"#), r#"{"containers": [{"name": "a"}]}"#, "");
    let only = r#"{"containers": [{"$patch": "replace"}]}"#;
    lose("Pod", "{}", only, only, "");
    for patch in
        [r#"{"containers": [{"name": "a", "$patch": "keep"}]}"#, r#"{"b": {"c": {"$patch": "keep"}}}"#]
    {
        let error = merged("{}", patch, "Pod").unwrap_err().to_string();
        assert!(error.ends_with("unknown patch strategy \"keep\""), "{error}");
    }
    check("Any", "{}", r#"{"b": {"$patch": "keep"}}"#, r#"{"b": {"$patch": "keep"}}"#);
}

#[test]
fn an_empty_item_of_a_new_list_removes_those_after_it() {
    let warning = "drops 1 of the patch's items";
    lose(
        "Pod",
        "{}",
        r#"{"containers": [{"name": "x"}, {}, {"name": "y"}]}"#,
        r#"{"containers": [{"name": "x"}]}"#,
        warning,
    );
    lose("Pod", "{}", r#"{"containers": [null, {"name": "y"}]}"#, r#"{"containers": []}"#, warning);
}

#[test]
fn empty_keys_are_rejected_where_a_merge_reads_them() {
    let warning = "spec: a map with an empty key cannot be merged: remove the key";
    reject("Any", "{}", r#"{"": 1}"#, warning);
    reject("Any", r#"{"": 1}"#, r#"{"a": 1}"#, warning);
    check("Any", r#"{"a": [{"": 1}]}"#, r#"{"b": 1}"#, r#"{"a": [{"": 1}], "b": 1}"#);
}

#[test]
fn quotes_stay_where_a_patch_changes_what_is_in_them() {
    let patched = |old: Node, patch: Node| {
        let object = |field: Node| Node::Object([("a".into(), field)].into_iter().collect());
        let gvk = Gvk::new("example.com/v1", "Any");
        let merged = Merger::new(Schema::builtin(), gvk.clone()).merge(object(old), object(patch));
        merged.unwrap().unwrap()["a"].clone()
    };
    assert_eq!(patched(Node::quoted("1"), Node::from(2)), Node::text("2"));
    assert_eq!(patched(Node::text("x"), Node::from(2)), Node::from(2));
    assert!(!patched(Node::text("x"), Node::quoted("2")).is_quoted());
}

#[test]
fn long_lists_with_repeated_keys_are_rejected_before_they_take_long() {
    let item = node(r#"{"name": "a"}"#);
    let list = |count: usize| {
        Node::Object([("containers".into(), Node::Array(vec![item.clone(); count]))].into_iter().collect())
    };
    let spec = |count: usize| Node::Object([("spec".into(), list(count))].into_iter().collect());
    let mut merger = Merger::new(Schema::builtin(), Gvk::new("v1", "Pod"));
    let error = merger.merge(spec(2000), spec(1000)).unwrap_err().to_string();
    assert!(error.contains("3000 items are too many"), "{error}");
}
