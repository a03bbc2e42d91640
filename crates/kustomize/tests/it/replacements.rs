//! Replacements and vars: their results, byte by byte as kustomize prints them, and what they reject.
#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_kustomize::{Build, BuildError, ErrorKind, Limits, Options, Reach, build};

fn built(files: &[(&str, &str)], limits: Limits) -> Result<Build, BuildError> {
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, text) in files {
        let content = Bytes::copy_from_slice(text.as_bytes());
        builder.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
    }
    build(&builder.build(), &RelPath::root(), &Options { reach: Reach::Tree, limits, ..Options::default() })
}

const SOURCE: &str = "apiVersion: v1\nkind: S\nmetadata:\n  annotations:\n    config.kubernetes.io/local-config: \"true\"\n  \
                      name: src\nv: {s: hello, n: 5, t: \"5\", f: 1.10, m: {a: 1}, l: [one, two], e: [], z: null}\n";

/// Copies a value of the source to a path of an object whose field `d` is given.
fn replaced(d: &str, from: &str, to: &str, options: &str) -> Result<Build, BuildError> {
    let object = format!("apiVersion: v1\nkind: T\nmetadata: {{name: t}}\nd: {d}\n");
    let file = format!(
        "resources: [s.yaml, t.yaml]\nreplacements:\n- source: {{kind: S, fieldPath: '{from}'}}\n  targets:\n  - select: \
         {{kind: T}}\n    fieldPaths: ['{to}']\n    options: {options}\n"
    );
    built(&[("kustomization.yaml", &file), ("s.yaml", SOURCE), ("t.yaml", &object)], Limits::default())
}

/// The object is printed with this field `d`.
#[track_caller]
fn check(d: &str, from: &str, to: &str, options: &str, expect: &str) {
    let build = replaced(d, from, to, options).unwrap();
    assert_eq!(build.to_yaml(), format!("apiVersion: v1\nd:{expect}\nkind: T\nmetadata:\n  name: t\n"));
}

#[track_caller]
fn reject(d: &str, from: &str, to: &str, options: &str, kind: ErrorKind, part: &str) {
    let error = replaced(d, from, to, options).unwrap_err();
    assert!(error.to_string().contains(part) && error.kind() == kind, "{:?}: {error}", error.kind());
}

const CREATE: &str = "{create: true}";
const NONE: &str = "{}";

#[test]
fn a_field_keeps_its_kind_and_takes_the_text() {
    check("old", "v.s", "d", NONE, " hello");
    check("old", "v.n", "d", NONE, " \"5\"");
    check("1", "v.t", "d", NONE, " 5");
    check("1.5", "v.n", "d", NONE, " 5");
    check("\"x\"", "v.f", "d", NONE, " \"1.10\"");
    check("{z: 1}", "v.t", "d", NONE, " \"5\"");
    check("[1]", "v.m", "d", NONE, "\n  a: 1");
    reject(
        "1",
        "v.s",
        "d",
        NONE,
        ErrorKind::Invalid,
        "cannot decode the text in field \"d\" of T.v1.[noGrp]/t.[noNs]",
    );
    reject("{a: null}", "v.s", "d.a", NONE, ErrorKind::Invalid, "holds null");
}

#[test]
fn a_created_field_has_the_type_of_its_text() {
    check("{}", "v.t", "d.new", CREATE, "\n  new: 5");
    check("{}", "v.s", "d.a.0.[k=x].b", CREATE, "\n  a:\n  - - b: hello\n      k: x");
    check("[x]", "v.l", "d.1", CREATE, "\n- x\n- - one\n  - two");
    check("[{k: x}]", "v.s", "d.[k=y.z].v", CREATE, "\n- k: x\n- k: y.z\n  v: hello");
}

#[test]
fn a_made_annotation_is_a_text_even_if_it_is_empty() {
    let file = "resources: [t.yaml]\nreplacements:\n- sourceValue: ''\n  targets:\n  - select: {kind: T}\n    fieldPaths: \
                [metadata.annotations.a, d]\n    options: {create: true}\n";
    let object = "apiVersion: v1\nkind: T\nmetadata: {name: t}\n";
    let build = built(&[("kustomization.yaml", file), ("t.yaml", object)], Limits::default()).unwrap();
    let expect = "apiVersion: v1\nd: null\nkind: T\nmetadata:\n  annotations:\n    a: \"\"\n  name: t\n";
    assert_eq!(build.to_yaml(), expect);
}

#[test]
fn items_are_found_by_patterns_and_stars() {
    check(
        "[{k: c1, v: 1}, {k: c10, v: 2}, {z: 1}]",
        "v.n",
        "d.[k=c1].v",
        NONE,
        "\n- k: c1\n  v: 5\n- k: c10\n  v: 5\n- z: 1",
    );
    check(
        "[{k: c1, v: 1}, {k: c10, v: 2}]",
        "v.n",
        "d.[k=^c1$].v",
        NONE,
        "\n- k: c1\n  v: 5\n- k: c10\n  v: 2",
    );
    check("[p, q]", "v.s", "d.[=q]", NONE, "\n- p\n- hello");
    check("[p, q]", "v.s", "d.*", NONE, "\n- hello\n- hello");
    check("[{a: {}}, {c: 1}]", "v.s", "d.*.a", NONE, "\n- a: hello\n- c: 1");
}

#[test]
fn parts_between_delimiters_are_replaced() {
    for (options, expect) in [
        ("{delimiter: ':'}", " hello:b:c"),
        ("{delimiter: ':', index: 1}", " a:hello:c"),
        ("{delimiter: ':', index: 9}", " a:b:c:hello"),
        ("{delimiter: ':', index: -1}", " hello:a:b:c"),
        ("{delimiter: '', index: 1}", " hello"),
        ("{delimiter: ':', index: 9223372036854775807}", " a:b:c:hello"),
        ("{delimiter: ':', index: -9223372036854775808}", " hello:a:b:c"),
    ] {
        check("a:b:c", "v.s", "d", options, expect);
    }
    reject(
        "{a: 1}",
        "v.s",
        "d",
        "{delimiter: ':'}",
        ErrorKind::Invalid,
        "delimiter option can only be used with scalar",
    );
}

#[test]
fn a_path_to_nothing_is_rejected() {
    let invalid = ErrorKind::Invalid;
    for (from, to, options, part) in [
        ("v.s", "d.zz", NONE, "unable to find field \"d.zz\" in replacement target"),
        (
            "v.s",
            "d.l.4",
            CREATE,
            "unable to find or create field \"d.l.4\" in replacement target: index 4 specified but",
        ),
        ("v.s", "d.l.18446744073709551615", CREATE, "expected MappingNode but got SequenceNode"),
        (
            "v.s",
            "d.l.9223372036854775807",
            CREATE,
            "index 9223372036854775807 specified but only 1 elements found",
        ),
        ("v.s", "d.l.-", CREATE, "wrong node kind: expected MappingNode but got SequenceNode"),
        ("v.s", "d.l.[k=(]", NONE, "error parsing regexp"),
        ("v.s", "d.l.[k]", NONE, "list path element must contain fieldName=fieldValue"),
        ("v.s", "d.i.x", NONE, "wrong node kind: expected MappingNode but got ScalarNode"),
        (
            "v.z",
            "d.i",
            NONE,
            "fieldPath `v.z` is missing for replacement source S.[noVer].[noGrp]/[noName].[noNs]",
        ),
        ("v.e", "d.i", NONE, "fieldPath `v.e` is missing"),
    ] {
        reject("{l: [x], i: 5}", from, to, options, invalid, part);
    }
}

#[test]
fn what_is_lost_in_silence_is_noted() {
    let warned = |d: &str, from: &str, to: &str, options: &str| {
        let build = replaced(d, from, to, options).unwrap();
        build.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(warned("old", "v.m", "d", NONE).contains("leaves it empty"));
    assert!(warned("{a: null}", "v.s", "d.a.b", CREATE).contains("holds null"));
    assert!(warned("{a: '{\"k\": 1}'}", "v.s", "d.a.k", NONE).contains("could not be written again"));
    assert_eq!(warned("old", "v.s", "d", NONE), "");
}

#[test]
fn the_content_of_a_secret_is_not_in_an_error() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: hidden}\n";
    for source in
        ["fieldPath: stringData.k.x", "fieldPath: stringData.k, options: {delimiter: ':', index: 7}"]
    {
        let file = format!(
            "resources: [s.yaml]\nreplacements:\n- source: {{kind: Secret, {source}}}\n  targets: [{{select: {{kind: \
             Secret}}}}]\n"
        );
        let error =
            built(&[("kustomization.yaml", &file), ("s.yaml", secret)], Limits::default()).unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
}

fn many(count: usize, entry: impl Fn(usize) -> String) -> String {
    (0..count).map(entry).collect()
}

#[test]
fn ten_thousand_replacements_among_many_objects_cost_no_look_at_each() {
    let objects = many(2_000, |index| {
        format!("apiVersion: v1\nkind: T\nmetadata: {{name: t{index}}}\nd: {{a: x}}\n---\n")
    });
    let entries = many(10_000, |index| {
        let name = index % 2_000;
        format!(
            "- sourceValue: v{index}\n  targets: [{{select: {{kind: T, name: t{name}}}, fieldPaths: [d.a]}}]\n"
        )
    });
    let file = format!("resources: [t.yaml]\nreplacements:\n{entries}");
    let limits = Limits { steps_max: 500_000, ..Limits::default() };
    let build = built(&[("kustomization.yaml", &file), ("t.yaml", &objects)], limits).unwrap();
    assert!(build.to_yaml().contains("a: v9999\n"));
}

#[test]
fn hostile_replacements_end() {
    let object = "apiVersion: v1\nkind: T\nmetadata: {name: t}\nd: {s: 'aaaaaaaaaaaaaaaa:b', m: {a: 1}}\n";
    let doubled = many(8, |_| {
        "- source: {kind: T, fieldPath: d.s}\n  targets: [{select: {kind: T}, fieldPaths: [d.s], options: {delimiter: ':', \
         index: -1}}]\n"
            .to_owned()
    });
    let nested = many(500, |_| {
        "- source: {kind: T, fieldPath: d.m}\n  targets: [{select: {kind: T}, fieldPaths: [d.m.x], options: {create: \
         true}}]\n"
            .to_owned()
    });
    let started = Instant::now();
    let limits = [Limits { steps_max: 300, ..Limits::default() }, Limits::default()];
    for (entries, limits) in [doubled, nested].into_iter().zip(limits) {
        let file = format!("resources: [t.yaml]\nreplacements:\n{entries}");
        let error = built(&[("kustomization.yaml", &file), ("t.yaml", object)], limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OverLimit, "{error}");
    }
    let deep = format!("d{}", ".a".repeat(490));
    assert!(replaced("{}", "v.s", &deep, CREATE).is_ok());
    reject("'a: 1'", "v.s", &deep, CREATE, ErrorKind::OverLimit, "steps lead into a text");
    let deep = format!("d{}", ".a".repeat(95));
    for text in ["'a: {}'", "'{\"a\": {}}'"] {
        assert!(replaced(text, "v.s", &deep, CREATE).is_ok());
    }
    let long = "a.".repeat(100_000);
    reject("{}", "v.s", &long, CREATE, ErrorKind::OverLimit, "parts");
    assert!(started.elapsed() < Duration::from_mins(1));
}

#[test]
fn vars_flow_up_and_meet_only_once() {
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {x: $(V), y: a-$(V)}}\ndata: {n: \"5\"}\n";
    let var = "vars: [{name: V, objref: {kind: ConfigMap, name: c, apiVersion: v1}}]\n";
    let base = format!("resources: [c.yaml]\n{var}");
    let up = [
        ("kustomization.yaml", "resources: [base]\nnamePrefix: p-\n"),
        ("base/kustomization.yaml", &base),
        ("base/c.yaml", object),
    ];
    assert!(built(&up, Limits::default()).unwrap().to_yaml().contains("    x: p-c\n    \"y\": a-p-c\n"));
    let twice = format!("resources: [base]\n{var}");
    let twice = [("kustomization.yaml", twice.as_str()), up[1], up[2]];
    let error = built(&twice, Limits::default()).unwrap_err().to_string();
    assert!(error.contains("var 'V' already encountered"), "{error}");
}

#[test]
fn unused_vars_are_noted_and_vars_without_an_object_rejected() {
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    let with = |name: &str| {
        let file = format!(
            "resources: [c.yaml]\nvars: [{{name: V, objref: {{kind: ConfigMap, name: {name}, apiVersion: v1}}}}]\n"
        );
        built(&[("kustomization.yaml", &file), ("c.yaml", object)], Limits::default())
    };
    let warnings = with("c").unwrap().warnings;
    assert!(
        warnings.iter().any(|warning| warning.text == "well-defined vars that were never replaced: V"),
        "{warnings:?}"
    );
    assert!(
        with("d")
            .unwrap_err()
            .to_string()
            .contains("cannot be mapped to a field in the set of known resources")
    );
}
