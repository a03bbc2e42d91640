//! Hostile YAML and JSON, in every file that a build reads.

use plumb_kustomize::{ErrorKind, Limits};

use crate::hostile::{A, Files, built, built_with, many, reject};

/// Every way in which a file becomes part of a build. The hostile text is `x.yaml`.
pub const READERS: [&str; 14] = [
    "resources: [x.yaml]\n",
    "resources: [a.yaml]\npatches: [{path: x.yaml}]\n",
    "resources: [a.yaml]\npatches: [{path: x.yaml, target: {kind: ConfigMap}}]\n",
    "resources: [a.yaml]\npatchesStrategicMerge: [x.yaml]\n",
    "resources: [a.yaml]\npatchesJson6902: [{path: x.yaml, target: {version: v1, kind: ConfigMap, name: a}}]\n",
    "resources: [a.yaml]\nconfigurations: [x.yaml]\n",
    "resources: [a.yaml]\ncrds: [x.yaml]\n",
    "resources: [a.yaml]\nopenapi: {path: x.yaml}\n",
    "resources: [a.yaml]\nreplacements: [{path: x.yaml}]\n",
    "resources: [a.yaml]\ntransformers: [x.yaml]\n",
    "resources: [a.yaml]\ngenerators: [x.yaml]\n",
    "resources: [a.yaml]\nvalidators: [x.yaml]\n",
    "resources: [base]\n",
    "resources: [a.yaml]\ncomponents: [base]\n",
];

/// Rejected by every reader, with a position in the file.
#[track_caller]
pub fn reject_everywhere(text: &str, parts: &[&str]) {
    reject_everywhere_within(text, parts, &Limits::default());
}

#[track_caller]
fn reject_everywhere_within(text: &str, parts: &[&str], limits: &Limits) {
    let check = |settings: &str, files: Files<'_>, place: &str| {
        let error = built_with(files, limits.clone()).unwrap_err().to_string();
        let is_reported = error.contains(place) && parts.iter().any(|part| error.contains(part));
        let start: String = error.chars().take(500).collect();
        assert!(is_reported, "{settings}{start}");
    };
    for settings in READERS {
        let files = [
            ("kustomization.yaml", settings),
            ("x.yaml", text),
            ("a.yaml", A),
            ("base/kustomization.yaml", text),
        ];
        let place = if settings.contains("[base]") { "/base/kustomization.yaml:" } else { "/x.yaml" };
        check(settings, &files, place);
    }
    check("", &[("kustomization.yaml", text)], "/kustomization.yaml:");
}

#[test]
fn an_alias_to_nothing_is_rejected_with_its_position() {
    reject_everywhere("a: *never\n", &["1:4", "line 1"]);
}

#[test]
fn aliases_of_aliases_are_counted() {
    let levels = |link: &dyn Fn(usize) -> String| {
        format!(
            "a0: &a0 {{x: y}}\n{}",
            many(4, |level| format!("a{}: &a{} {}\n", level + 1, level + 1, link(level)))
        )
    };
    let lists = levels(&|level| format!("[{}]", format!("*a{level},").repeat(9)));
    let maps = levels(&|level| format!("{{{}}}", many(9, |key| format!("k{key}: *a{level}, "))));
    let merges = levels(&|level| {
        format!("{{{}}}", many(9, |key| format!("k{key}: {{<<: *a{level}, z: *a{level}}}, ")))
    });
    let mut limits = Limits::default();
    limits.yaml.alias_allowance = 1_000;
    for text in [lists, maps, merges] {
        reject_everywhere_within(&text, &["document contains excessive aliasing"], &limits);
    }
    // One wide list many times over.
    let wide = format!("a: &a [{}]\nb: [{}]\n", "1,".repeat(200), "*a,".repeat(2_000));
    reject_everywhere_within(&wide, &["document contains excessive aliasing"], &limits);
}

#[test]
fn limits_of_texts_are_named() {
    let read = |text: &str, limits: Limits| {
        built_with(&[("kustomization.yaml", "resources: [x.yaml]\n"), ("x.yaml", text)], limits)
            .unwrap_err()
            .to_string()
    };
    let yaml = Limits::default().yaml;
    let scalar = format!("{A}data: {{k: {}}}\n", "x".repeat(10_000));
    let error = read(&scalar, Limits { file_bytes_max: 1_000, ..Limits::default() });
    assert!(error.contains("/x.yaml: over the limit of 1000 bytes a file"), "{error}");
    let mut limits = Limits::default();
    limits.yaml.bytes_max = 1_000;
    let error = read(&scalar, limits);
    assert!(error.contains("bytes of YAML are over the limit of 1000"), "{error}");
    let documents = "---\n# nothing\n".repeat(yaml.documents_max + 2);
    let error = read(&documents, Limits::default());
    assert!(error.contains("more than 100000 documents"), "{error}");
    let keys = format!("{A}data:\n{}", many(10_000, |index| format!("  k{index}: v\n")));
    let mut limits = Limits::default();
    limits.yaml.nodes_max = 5_000;
    let error = read(&keys, limits);
    assert!(error.contains("more than 5000 values") && error.contains("/x.yaml:2500:"), "{error}");
    let items = format!("kind: List\nitems:\n{}", "- {kind: List, items: []}\n".repeat(3_000));
    let error = read(&items, Limits { objects_max: 2_000, ..Limits::default() });
    assert!(error.contains("/x.yaml:1:1: more than 2000 objects"), "{error}");
}

#[test]
fn a_default_build_takes_no_document_that_is_too_large() {
    let large = "x".repeat((16 << 20) + 1);
    reject(
        &[("kustomization.yaml", "resources: [x.yaml]\n"), ("x.yaml", &large)],
        ErrorKind::OverLimit,
        "/x.yaml: over the limit of 16777216 bytes a file",
    );
    reject(
        &[("kustomization.yaml", &large)],
        ErrorKind::OverLimit,
        "over the limit of 16777216 bytes a file",
    );
    let half = "x".repeat(15 << 20);
    let files: Vec<(String, &str)> = (0..5).map(|index| (format!("f{index}"), half.as_str())).collect();
    let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let settings = "configMapGenerator:\n- {name: g, files: [f0, f1, f2, f3, f4]}\n";
    files.push(("kustomization.yaml", settings));
    reject(&files, ErrorKind::OverLimit, "67108864 in all");
}

#[test]
fn keys_that_are_repeated_or_no_strings_are_rejected_with_their_line() {
    for (text, part) in [
        ("a: 1\na: 2\n", "2:1: mapping key \"a\" already defined"),
        ("a: 1\n1: 2\n", "2:1: key \"1\" is not a text"),
        ("? [a]\n: b\n", "1:3: a map or list cannot be a key here"),
        ("? {a: b}\n: c\n", "1:3: a map or list cannot be a key here"),
        ("<<: 1\n", "1:5: map merge requires map"),
        ("<<: [1]\n", "map merge requires map"),
    ] {
        let files = [("kustomization.yaml", "resources: [x.yaml]\n"), ("x.yaml", text)];
        let error = built(&files).unwrap_err().to_string();
        assert!(error.contains(&format!("/x.yaml:{}", &part[..2])) || error.contains(part), "{error}");
        assert!(error.contains(part.split_once(": ").map_or(part, |(_, rest)| rest)), "{error}");
    }
}
