//! How texts are parsed, and which are rejected, with the position.

use serde_json::{Value, json};

use super::*;
use crate::yaml::{parse, parse_settings};

fn read(text: &str) -> Vec<Value> {
    let documents = parse(text, &Limits::default()).unwrap();
    documents.into_iter().map(|document| document.node.to_json()).collect()
}

#[track_caller]
fn reject(text: &str, expect: &str) {
    assert_eq!(parse(text, &Limits::default()).unwrap_err().to_string(), expect);
}

#[test]
fn scalars_are_typed_as_in_kubernetes_objects() {
    let text = "a: yes\nb: 0x1F\nc: 1.0\nd: 2020-01-02\ne: '1'\nf: !!str 1\ng: ~\nh: !!float 3\ni: !x y\n";
    let expect = json!({"a": "yes", "b": 31, "c": 1, "d": "2020-01-02T00:00:00Z", "e": "1", "f": "1",
        "g": null, "h": 3, "i": "y"});
    assert_eq!(read(text), [expect]);
    assert_eq!(read("a: !!binary aGVsbG8=\n"), [json!({"a": "hello"})]);
}

#[test]
fn settings_accept_old_booleans_and_take_the_last_of_equal_keys() {
    let value = parse_settings("a: yes\na: off\n1: 2020-01-02\n---\nb: 1\n", &Limits::default()).unwrap();
    assert_eq!(value, json!({"a": false, "1": "2020-01-02"}));
}

#[test]
fn spellings_are_preserved_until_json_is_requested() {
    let documents = parse("a: 0x10\nb: 1.10\nc: 2020-01-02\nd: True\n", &Limits::default()).unwrap();
    let spelled = |key: &str| documents[0].node.get(key).and_then(crate::yaml::Node::scalar);
    assert_eq!(
        ["a", "b", "c", "d"].map(spelled),
        [Some("0x10"), Some("1.10"), Some("2020-01-02"), Some("True")]
    );
}

#[test]
fn absence_differs_from_null() {
    let documents = parse("a:\nb: ~\nc: null\nd: {e: , f}\n", &Limits::default()).unwrap();
    let node = &documents[0].node;
    let spelled = [&node["a"], &node["b"], &node["c"], &node["d"]["e"], &node["d"]["f"]]
        .map(|node| node.scalar().unwrap());
    assert_eq!(spelled, ["", "~", "null", "", ""]);
}

#[test]
fn a_block_ends_with_a_line_break_only_where_the_text_does() {
    for (text, expect) in [
        ("a: |\n  x", "x"),
        ("a: |\n  x\n", "x\n"),
        ("a: >\n  x\n  y", "x y"),
        ("a: |+\n  x", "x"),
        ("a: |-\n  x", "x"),
        ("b: é\na: |\n  é", "é"),
    ] {
        assert_eq!(read(text)[0]["a"], json!(expect), "{text:?}");
    }
    assert_eq!(read("a: |\n  x\nb: 1")[0]["a"], json!("x\n"));
}

#[test]
fn keys_of_large_maps_are_found_at_every_position() {
    let lines: Vec<String> = (0..100).rev().map(|number| format!("k{number:03}: {number}\n")).collect();
    let text = lines.concat();
    assert_eq!(read(&text)[0]["k042"], json!(42));
    reject(&format!("{text}k050: 1\n"), "101:1: mapping key \"k050\" already defined");
    let settings = parse_settings(&format!("{text}k050: 1\n"), &Limits::default()).unwrap();
    assert_eq!(settings["k050"], json!(1));
}

#[test]
fn merges_yield_to_written_keys_and_earlier_merges() {
    let text = "x: &x {a: 1, b: 1}\ny: &y {a: 2, c: 2}\nz:\n  <<: [*x, *y]\n  b: 3\n";
    assert_eq!(read(text)[0]["z"], json!({"a": 1, "b": 3, "c": 2}));
}

#[test]
fn documents_after_the_end_mark_are_not_read() {
    assert_eq!(read("a: 1\n...\nb: [\n---\nc: 1\n"), [json!({"a": 1}), json!({"c": 1})]);
    assert_eq!(read("# only a comment\n"), [Value::Null]);
    assert!(read("").is_empty());
}

#[test]
fn errors_name_line_and_column_in_the_whole_text() {
    reject("a: 1\n---\nb: 1\nb: 2\n", "4:1: mapping key \"b\" already defined");
    reject("a: 1\n1: 2\n", "2:1: key \"1\" is not a text: it needs quotes");
    let error = parse_settings("a: .inf\n", &Limits::default()).unwrap_err().to_string();
    assert_eq!(error, "1:4: .inf is not a number that JSON can hold");
    let error = parse("a: 1\nb:\n  - c\n d: 1\n", &Limits::default()).unwrap_err();
    assert_eq!(error.line, 4, "{error}");
}

#[test]
fn hostile_aliases_are_rejected() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..5 {
        let alias = format!("*a{}", level - 1);
        let line = format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(","));
        bomb.push_str(&line);
    }
    let error = parse(&bomb, &Limits::default()).unwrap_err();
    assert_eq!(error.message, "document contains excessive aliasing");
}

/// By the events of the parser, not by a text: some readers never come back from one.
#[test]
fn an_alias_inside_of_what_it_refers_to_is_rejected() {
    let limits = Limits::default();
    let mut budget = Budget::new(&limits, "");
    let mut builder = Builder {
        dialect: Dialect::Objects,
        budget: &mut budget,
        frames: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        open_end: None,
    };
    builder.open(Content::List(Vec::new()), StructureStyle::Flow, 1).unwrap();
    let rejected = builder.alias(1).unwrap_err();
    assert_eq!(rejected, "alias refers to a value that contains it");
}

#[test]
fn hostile_nesting_is_rejected_in_flow_in_block_and_by_aliases() {
    let flow = "[".repeat(2_000);
    let block = "- ".repeat(2_000);
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..600 {
        let link = format!("a{level}: &a{level} [*a{}]\n", level - 1);
        chain.push_str(&link);
    }
    for text in [flow, block, chain] {
        assert!(parse(&text, &Limits::default()).is_err());
    }
}

#[test]
fn limits_are_named_in_the_error() {
    let limits = Limits { bytes_max: 4, ..Limits::default() };
    let error = parse("a: 123", &limits).unwrap_err();
    assert_eq!(error.message, "6 bytes of YAML are over the limit of 4");
    let limits = Limits { nodes_max: 2, ..Limits::default() };
    assert_eq!(parse("[1, 2, 3]", &limits).unwrap_err().message, "more than 2 values");
    let limits = Limits { documents_max: 1, ..Limits::default() };
    assert_eq!(parse("a: 1\n---\nb: 1\n", &limits).unwrap_err().message, "more than 1 documents");
}

#[test]
fn a_block_at_the_end_of_a_text_without_a_line_break_has_none() {
    let value = |text: &str| {
        let documents = parse(text, &Limits::default()).unwrap();
        documents[0].node["x"].as_str().unwrap().to_owned()
    };
    for (text, expect) in [
        ("x: |\n  a\n  b", "a\nb"),
        ("x: |+\n  a", "a"),
        ("x: >\n  a\n  b", "a b"),
        ("x: |\n  a\n", "a\n"),
        ("x: |\n  a\n  ", "a\n"),
        ("x: |\n  a\n# c", "a\n"),
        ("x: |\n  a\ny: |\n  b", "a\n"),
    ] {
        assert_eq!(value(text), expect, "{text:?}");
    }
}

#[test]
fn a_tab_is_reported_at_its_own_line_and_column() {
    let scalar = "while scanning a plain scalar, found a tab";
    let block = "tabs disallowed within this context (block indentation)";
    reject("a:\n  b: c\n\td: e\n", &format!("3:1: {scalar}"));
    reject("a:\n  b: c\n\n  \td: e\n", &format!("4:3: {scalar}"));
    reject("a:\n\tb: c\n", &format!("2:2: {block}"));
    reject("x: y\n---\na:\n  b: c\n\td: e\n", &format!("5:1: {scalar}"));
}
