//! Our own cases: a kustomization and its result.
#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_kustomize::{BuildError, ErrorKind, Limits, Options, Reach, build};

type Files<'f> = &'f [(&'f str, &'f str)];

fn tree(files: Files<'_>) -> MemoryTree {
    let limits = TreeLimits { depth_max: 200, ..TreeLimits::DEFAULT };
    let mut builder = MemoryTree::builder(limits);
    for (path, text) in files {
        let content = Bytes::copy_from_slice(text.as_bytes());
        builder.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
    }
    builder.build()
}

fn built_with(files: Files<'_>, directory: &str, limits: Limits) -> Result<String, BuildError> {
    let options = Options { reach: Reach::Tree, limits, ..Options::default() };
    build(&tree(files), &RelPath::parse(directory).unwrap(), &options).map(|build| build.to_yaml())
}

fn built(files: Files<'_>, directory: &str) -> Result<String, BuildError> {
    built_with(files, directory, Limits::default())
}

#[track_caller]
fn check(files: Files<'_>, expect: &str) {
    assert_eq!(built(files, "").unwrap(), expect);
}

#[track_caller]
fn reject(files: Files<'_>, kind: ErrorKind, expect: &str) {
    let error = built(files, "").unwrap_err();
    assert_eq!((error.to_string().as_str(), error.kind()), (expect, kind));
}

#[track_caller]
fn reject_with(files: Files<'_>, kind: ErrorKind, part: &str) {
    let error = built(files, "").unwrap_err();
    assert!(error.to_string().contains(part) && error.kind() == kind, "{:?}: {error}", error.kind());
}

const A: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n";

#[test]
fn bases_are_built_first_and_prefixed_by_those_that_name_them() {
    check(
        &[
            ("kustomization.yaml", "resources: [base]\nnamePrefix: out-\nnamespace: ns\n"),
            ("base/kustomization.yml", "resources: [a.yaml]\nnamePrefix: in-\n"),
            ("base/a.yaml", A),
        ],
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: out-in-a\n  namespace: ns\n",
    );
}

#[test]
fn components_transform_what_their_parent_has_gathered() {
    check(
        &[
            ("kustomization.yaml", "resources: [a.yaml]\ncomponents: [part]\n"),
            ("a.yaml", A),
            (
                "part/kustomization.yaml",
                "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {k: v}\n",
            ),
        ],
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  annotations:\n    k: v\n  name: a\n",
    );
}

#[test]
fn generated_names_reach_those_that_refer_to_them() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  volumes:\n  - configMap:\n      name: c\n    name: v\n";
    check(
        &[("kustomization.yaml", "resources: [p.yaml]\nconfigMapGenerator:\n- name: c\n"), ("p.yaml", pod)],
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c-6ct58987ht\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  \
         name: p\nspec:\n  volumes:\n  - configMap:\n      name: c-6ct58987ht\n    name: v\n",
    );
}

#[test]
fn a_configuration_adds_fields_that_hold_names() {
    let user = "apiVersion: example.com/v1\nkind: User\nmetadata:\n  name: u\nspec:\n  map: a\n";
    let config = "nameReference:\n- kind: ConfigMap\n  version: v1\n  fieldSpecs:\n  - kind: User\n    path: spec/map\n";
    check(
        &[
            ("kustomization.yaml", "resources: [a.yaml, u.yaml]\nconfigurations: [c.yaml]\nnamePrefix: p-\n"),
            ("a.yaml", A),
            ("u.yaml", user),
            ("c.yaml", config),
        ],
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: p-a\n---\napiVersion: example.com/v1\nkind: User\nmetadata:\n  \
         name: p-u\nspec:\n  map: p-a\n",
    );
}

#[test]
fn every_object_names_the_file_that_it_comes_from() {
    let files = tree(&[
        ("top/kustomization.yaml", "resources: [../base/a.yaml]\nconfigMapGenerator:\n- name: g\n"),
        ("base/a.yaml", A),
    ]);
    let build = build(&files, &RelPath::parse("top").unwrap(), &Options::default()).unwrap();
    let origins: Vec<&str> = build.objects.iter().map(|built| built.origin.as_str()).collect();
    assert_eq!(origins, ["/base/a.yaml", "/top"]);
    assert!(build.reads.holds_in(&files));
}

#[test]
fn files_outside_of_the_directory_are_rejected_where_requested() {
    let files = tree(&[("top/kustomization.yaml", "resources: [../a.yaml]\n"), ("a.yaml", A)]);
    let options = Options { reach: Reach::OwnDirectory, ..Options::default() };
    let error = build(&files, &RelPath::parse("top").unwrap(), &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/top/kustomization.yaml: accumulating resources from '../a.yaml': security; file '/a.yaml' is not in or below \
         '/top'"
    );
}

#[test]
fn broken_files_are_named_with_their_line() {
    reject_with(
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            ("a.yaml", "kind: A\nmetadata:\n  name: a\n b: 1\n"),
        ],
        ErrorKind::Invalid,
        "/a.yaml:4:",
    );
    reject_with(
        &[("kustomization.yaml", "namespace: x\nresources: [\n")],
        ErrorKind::Invalid,
        "/kustomization.yaml:2:12:",
    );
    reject(
        &[("kustomization.yaml", "namespace: x\nnamesuffix: -z\nfoo: 1\n")],
        ErrorKind::Invalid,
        "/kustomization.yaml:3:1: invalid Kustomization: json: unknown field \"foo\"",
    );
    reject(
        &[("kustomization.yaml", "resources: [a.yaml, b.yaml]\n"), ("a.yaml", A), ("b.yaml", A)],
        ErrorKind::Invalid,
        "/kustomization.yaml: may not add resource with an already registered id: ConfigMap.v1.[noGrp]/a.[noNs]: it is in \
         /a.yaml and in /b.yaml",
    );
    reject(
        &[("kustomization.yaml", "resources: [gone.yaml]\n")],
        ErrorKind::Invalid,
        "/kustomization.yaml: accumulating resources from 'gone.yaml': no such file or directory: /gone.yaml",
    );
}

#[test]
fn unsupported_features_are_rejected_by_file_and_field() {
    for field in ["helmCharts", "helmChartInflationGenerator"] {
        let text = format!("resources: [a.yaml]\n{field}: [x]\n");
        let expect = format!("/kustomization.yaml:2:1: field \"{field}\" is not supported");
        reject(&[("kustomization.yaml", &text), ("a.yaml", A)], ErrorKind::Unsupported, &expect);
    }
    reject(
        &[("kustomization.yaml", "resources: ['https://example.com/a.yaml']\n")],
        ErrorKind::Unsupported,
        "/kustomization.yaml: accumulating resources from 'https://example.com/a.yaml': remote resource \
         \"https://example.com/a.yaml\" is not supported",
    );
}

#[test]
fn cycles_are_rejected_with_their_path() {
    reject(
        &[
            ("kustomization.yaml", "resources: [a]\n"),
            ("a/kustomization.yaml", "resources: [../b]\n"),
            ("b/kustomization.yaml", "resources: [../a]\n"),
        ],
        ErrorKind::Invalid,
        "/b/kustomization.yaml: accumulating resources from '../a': cycle detected: / -> /a -> /b -> /a",
    );
    reject_with(&[("kustomization.yaml", "resources: ['.']\n")], ErrorKind::Invalid, "cycle detected");
}

#[test]
fn paths_that_leave_the_tree_are_rejected() {
    for path in ["../../etc/shadow", "/etc/shadow"] {
        for text in [
            format!("resources: ['{path}']\n"),
            format!("configMapGenerator:\n- name: c\n  files: ['{path}']\n"),
            format!("configMapGenerator:\n- name: c\n  envs: ['{path}']\n"),
            format!("patches:\n- path: '{path}'\n"),
            format!("components: ['{path}']\n"),
        ] {
            reject_with(&[("kustomization.yaml", &text)], ErrorKind::Invalid, "path \"");
        }
    }
}

#[test]
fn hostile_texts_are_rejected() {
    let deep = "[".repeat(100_000);
    let laughs: String = (1..9).fold("a0: &a0 x\n".to_owned(), |text, level| {
        let below = format!("*a{},", level - 1).repeat(10);
        format!("{text}a{level}: &a{level} [{below}]\n")
    });
    for text in ["x: &x [*x]\n", &laughs, &deep, &format!("a: {deep}"), "a: \0\n", "? [a]\n: b\n"] {
        let patch = "patches:\n- path: p.yaml\n  target: {kind: ConfigMap}\nresources: [a.yaml]\n";
        for kustomization in ["resources: [p.yaml]\n", patch, "configurations: [p.yaml]\nnamespace: x\n"] {
            let files = [("kustomization.yaml", kustomization), ("p.yaml", text), ("a.yaml", A)];
            assert!(built(&files, "").is_err(), "{:?} in {kustomization}", &text[..text.len().min(40)]);
        }
        assert!(built(&[("kustomization.yaml", text)], "").is_err());
    }
}

#[test]
fn oversized_patterns_and_paths_are_rejected() {
    reject_with(
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches:\n- target: {name: '((a{100}){100}){100}'}\n  patch: '[]'\n",
            ),
            ("a.yaml", A),
        ],
        ErrorKind::OverLimit,
        "pattern",
    );
    let path = "a/".repeat(100_000);
    let text = format!(
        "resources: [a.yaml]\nlabels:\n- pairs: {{k: v}}\n  fields: [{{path: '{path}', create: true}}]\n"
    );
    reject_with(&[("kustomization.yaml", &text), ("a.yaml", A)], ErrorKind::OverLimit, "more than 100 steps");
}

#[test]
fn deep_objects_are_merged_within_the_stack() {
    let nested = |end: &str| format!("{}{end}{}", "{a: ".repeat(480), "}".repeat(480));
    let object = format!("{A}data: {}\n", nested("1"));
    let patch = format!("{A}data: {}\n", nested("2"));
    let text = "resources: [a.yaml]\npatches: [{path: p.yaml}]\nimages: [{name: x, newTag: z}]\n";
    let yaml = built(&[("kustomization.yaml", text), ("a.yaml", &object), ("p.yaml", &patch)], "").unwrap();
    assert!(yaml.contains("a: 2"));
}

#[test]
fn every_limit_is_named_in_the_error() {
    let files: Files<'_> = &[
        ("kustomization.yaml", "resources: [a.yaml, b]\nnamespace: ns\n"),
        ("a.yaml", A),
        ("b/kustomization.yaml", "resources: [b.yaml]\nnamePrefix: p-\n"),
        ("b/b.yaml", A),
    ];
    for (limits, part) in [
        (Limits { files_max: 2, ..Limits::default() }, "more than 2 files"),
        (Limits { file_bytes_max: 20, ..Limits::default() }, "20 bytes a file"),
        (Limits { read_bytes_max: 60, ..Limits::default() }, "60 in all"),
        (Limits { values_max: 6, ..Limits::default() }, "more than 6 values"),
        (Limits { objects_max: 1, ..Limits::default() }, "more than 1 objects"),
        (Limits { depth_max: 1, ..Limits::default() }, "more than 1 kustomizations"),
        (Limits { steps_max: 1, ..Limits::default() }, "more than 1 steps"),
        (Limits { output_bytes_max: 50, ..Limits::default() }, "more than 50 bytes"),
    ] {
        let error = built_with(files, "", limits).unwrap_err();
        assert!(error.kind() == ErrorKind::OverLimit && error.to_string().contains(part), "{error}");
    }
    assert!(built(files, "").is_ok());
}

#[test]
fn kustomizations_inside_each_other_are_limited() {
    let mut files = Vec::new();
    let mut directory = String::new();
    for _ in 0..100 {
        files.push((format!("{directory}kustomization.yaml"), "resources: [d]\n"));
        directory += "d/";
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    reject_with(&files, ErrorKind::OverLimit, "more than 64 kustomizations inside each other");
}

#[test]
fn a_json_patch_finds_annotations_where_there_were_none() {
    check(
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches:\n- patch: '- {op: add, path: /metadata/annotations/k, value: v}'\n  \
                 target: {name: a}\n",
            ),
            ("a.yaml", A),
        ],
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  annotations:\n    k: v\n  name: a\n",
    );
}

#[test]
fn with_a_target_a_null_deletes_no_label() {
    let labelled = format!("{A}  labels: {{k: v}}\n");
    let patch = |target: &str| {
        format!(
            "resources: [a.yaml]\npatches:\n- patch: '{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, \
             labels: null}}}}'\n{target}"
        )
    };
    check(&[("kustomization.yaml", &patch("")), ("a.yaml", &labelled)], A);
    check(
        &[("kustomization.yaml", &patch("  target: {name: a}\n")), ("a.yaml", &labelled)],
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  labels:\n    k: v\n  name: a\n",
    );
}

#[test]
fn a_kind_without_a_schema_takes_that_of_the_kind_in_the_patch() {
    let object = "apiVersion: apps/v1\nkind: Own\nmetadata:\n  name: a\nspec:\n  template:\n    spec:\n      \
                  containers:\n      - name: b\n";
    let patch = |kind: &str| {
        format!(
            "resources: [a.yaml]\npatches:\n- patch: '{{kind: {kind}, metadata: {{name: x}}, spec: {{template: \
             {{spec: {{containers: [{{name: c}}]}}}}}}}}'\n  target: {{name: a}}\n"
        )
    };
    for (kind, items) in [("Deployment", "- name: c\n      - name: b"), ("Own", "- name: c")] {
        let expect = object.replace("- name: b", items);
        check(&[("kustomization.yaml", &patch(kind)), ("a.yaml", object)], &expect);
    }
}

#[test]
fn a_map_in_the_place_of_an_image_is_rejected() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{image: {a: b}}]}\n";
    reject_with(
        &[("kustomization.yaml", "resources: [a.yaml]\nimages: [{name: x}]\n"), ("a.yaml", pod)],
        ErrorKind::Invalid,
        "wrong node kind: expected ScalarNode but got MappingNode",
    );
}
