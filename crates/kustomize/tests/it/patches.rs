//! What kustomize makes of patches where one would expect something else: each result is that of kustomize 5.8.1.
#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_kustomize::{Build, BuildError, Options, build};

const BY_NAME: &str = "resources: [a.yaml]\npatches: [{path: p.yaml}]\n";
const BY_TARGET: &str = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: A}}]\n";
const STRATEGIC: &str = "resources: [a.yaml]\npatchesStrategicMerge: [p.yaml]\n";
const HEAD: &str = "apiVersion: a/v1\nkind: A\nmetadata:\n";

fn built(kustomization: &str, object: &str, patch: &str) -> Result<Build, BuildError> {
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, text) in [("kustomization.yaml", kustomization), ("a.yaml", object), ("p.yaml", patch)] {
        let content = Bytes::copy_from_slice(text.as_bytes());
        builder.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
    }
    build(&builder.build(), &RelPath::root(), &Options::default())
}

/// All three begin with the head; a patch may also be a list of operations. `warning` is a part of a warning.
#[track_caller]
fn check(kustomization: &str, object: &str, patch: &str, expect: &str, warning: &str) {
    let headed = |text: &str| format!("{HEAD}{text}");
    let patch = if patch.starts_with(['-', '[']) { patch.to_owned() } else { headed(patch) };
    let build = built(kustomization, &headed(object), &patch).unwrap();
    assert_eq!(build.to_yaml(), headed(expect));
    let warnings: Vec<String> = build.warnings.iter().map(ToString::to_string).collect();
    let warnings = warnings.join("\n");
    assert!(warnings.contains(warning), "{warnings}");
}

#[track_caller]
fn reject(kustomization: &str, object: &str, patch: &str, part: &str) {
    let error = built(kustomization, &format!("{HEAD}{object}"), patch).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn labels_of_a_patch_become_texts_unless_it_names_its_object_in_patches() {
    let object = "  labels:\n    k: v\n  name: a\n";
    let patch = "  labels: {k: null}\n  name: a\n";
    check(BY_NAME, object, patch, "  labels: {}\n  name: a\n", "");
    for way in [BY_TARGET, STRATEGIC] {
        check(way, object, patch, "  labels:\n    k: \"null\"\n  name: a\n", "instead of removing it");
        check(way, object, "  labels: null\n  name: a\n", object, "does not remove labels");
        check(way, object, "  labels: [a, b]\n  name: a\n", object, "");
        check(way, "  name: a\n", "  labels: {}\n  name: a\n", "  name: a\n", "");
        check(
            way,
            "  name: a\n",
            "  labels: {k: !!bool true}\n  name: a\n",
            "  labels:\n    k: \"true\"\n  name: a\n",
            "",
        );
    }
}

#[test]
fn a_selected_object_keeps_name_and_namespace_whatever_the_patch_sets() {
    let object = "  name: 1\n  namespace: b\nx: 1\n";
    let patch = "  name: other\n  namespace: []\nx: 2\n";
    check(BY_TARGET, object, patch, "  name: 1\n  namespace: b\nx: 2\n", "");
}

#[test]
fn an_object_without_a_version_that_is_selected_gets_a_null() {
    let object = "kind: A\nmetadata: {name: a}\n";
    let expect = "apiVersion: null\nkind: A\nmetadata:\n  name: a\nx: 1\n";
    for patch in
        ["kind: A\nmetadata: {name: a}\nx: 1\n", "apiVersion: v1\nkind: A\nmetadata: {name: a}\nx: 1\n"]
    {
        assert_eq!(built(BY_TARGET, object, patch).unwrap().to_yaml(), expect);
    }
}

#[test]
fn a_patch_that_replaces_all_of_an_object_leaves_it_as_it_is() {
    let object = "  annotations:\n    k: v\n  labels: {}\n  name: a\n";
    let patch = "  labels: {l: m}\n  name: a\nspec: {a: 1}\n$patch: replace\n";
    for way in [BY_NAME, BY_TARGET, STRATEGIC] {
        check(way, object, patch, object, "leaves an object as it is");
    }
}

#[test]
fn a_text_in_patches_loses_the_white_space_around_it() {
    let patches = |list: &str, patch: &str| {
        let patch = serde_json::to_string(patch).unwrap();
        format!("resources: [a.yaml]\n{list}: [{{target: {{kind: A, name: a}}, patch: {patch}}}]\n")
    };
    let merge = format!("\n{HEAD}  name: a\nx: |+\n  hi\n\n");
    check(&patches("patches", &merge), "  name: a\n", "", "  name: a\nx: hi\n", "");
    let operations = "- op: add\n  path: /x\n  value: |\n    hi\n";
    check(&patches("patches", operations), "  name: a\n", "", "  name: a\nx: hi\n", "");
    check(&patches("patchesJson6902", operations), "  name: a\n", "", "  name: a\nx: |\n  hi\n", "");
    let indented = format!("  {}", merge.trim().replace('\n', "\n  "));
    reject(&patches("patches", &indented), "  name: a\n", "", "unable to parse SM or JSON patch");
}

#[test]
fn texts_that_were_booleans_are_quoted_after_a_patch() {
    let twice = "resources: [a.yaml]\npatches:\n- patch: '{apiVersion: a/v1, kind: A, metadata: {name: a}}'\n  \
                 target: {kind: A}\n- path: p.yaml\n";
    let patch = "  name: a\nx: {a: 54, b: 54}\n";
    check(BY_NAME, "  name: a\nx: {a: Off, b: 0x}\n", patch, "  name: a\nx:\n  a: 54\n  b: 54\n", "");
    check(twice, "  name: a\nx: {a: Off, b: 0x}\n", patch, "  name: a\nx:\n  a: \"54\"\n  b: 54\n", "");
}

#[test]
fn a_json_patch_makes_floats_of_all_numbers() {
    let object = "  name: a\nx:\n- 9007199254740993\n- -9223372036854775808\n- 9223372036854775807\n- 1\n";
    let patch = "[{\"op\": \"add\", \"path\": \"/y\", \"value\": 18446744073709551615}]";
    let expect = "  name: a\nx:\n- 9007199254740992\n- -9.223372036854776e+18\n- 9223372036854776000\n- 1\n\
                  \"y\": 1.8446744073709552e+19\n";
    check(BY_TARGET, object, patch, expect, "");
    check(BY_TARGET, object, "[]", object, "");
}

#[test]
fn operations_are_checked_when_there_is_an_object_for_them() {
    let elsewhere = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: B}}]\n";
    check(elsewhere, "  name: a\n", "[{\"path\": \"/x\"}]", "  name: a\n", "");
    reject(BY_TARGET, "  name: a\n", "[{\"path\": \"/x\"}]", "Unexpected kind");
    reject(elsewhere, "  name: a\n", "[1]", "a JSON patch is a list of operations");
}

#[test]
fn the_text_before_the_first_slash_of_a_path_does_not_count() {
    let warning = "no slash in front: add \"metadata/x\"";
    check(BY_TARGET, "  name: a\n", "- {op: add, path: metadata/x, value: 1}", "  name: a\nx: 1\n", warning);
    reject(BY_TARGET, "  name: a\n", "- {op: add, path: x, value: 1}", "doc is missing path");
}

#[test]
fn a_copy_of_what_a_map_does_not_have_is_null() {
    check(BY_TARGET, "  name: a\n", "- {op: copy, from: /y, path: /x}", "  name: a\nx: null\n", "");
    reject(BY_TARGET, "  name: a\n", "- {op: copy, from: /y/z, path: /x}", "doc is missing path");
    reject(BY_TARGET, "  name: a\n", "- {op: copy, from: '', path: /x}", "doc is missing path");
    reject(
        BY_TARGET,
        "  name: a\nl: [1]\n",
        "- {op: copy, from: /l/1, path: /x}",
        "index \"1\" is not in the list",
    );
}

#[test]
fn a_json_patch_finds_the_annotations_that_kustomize_adds() {
    let expect = "  name: a\nx:\n  internal.config.kubernetes.io/previousKinds: A\n  \
                  internal.config.kubernetes.io/previousNames: a\n  \
                  internal.config.kubernetes.io/previousNamespaces: default\n";
    let warning = "kustomize copies annotations of its own";
    for op in ["copy", "move"] {
        let patch = format!("- {{op: {op}, from: /metadata/annotations, path: /x}}");
        check(BY_TARGET, "  name: a\n", &patch, expect, warning);
    }
    let test =
        "- {op: test, path: /metadata/annotations/internal.config.kubernetes.io~1previousNames, value: a}";
    check(BY_TARGET, "  name: a\n", test, "  name: a\n", "");
}

#[test]
fn annotations_are_a_map_of_texts_after_a_json_patch() {
    let then =
        "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: A}}]\ncommonAnnotations: {k: v}\n";
    for (value, made) in [
        ("x", ""),
        ("[]", ""),
        ("null", ""),
        ("[a, null]", "    a: \"null\"\n"),
        ("{a: {b: c}}", "    a: \"\"\n"),
        ("{a: 1.10}", "    a: \"1.1\"\n"),
        ("{a: 1234567, b: 999999}", "    a: \"1.234567e+06\"\n    b: \"999999\"\n"),
    ] {
        let patch = format!("- {{op: add, path: /metadata/annotations, value: {value}}}");
        check(then, "  name: a\n", &patch, &format!("  annotations:\n{made}    k: v\n  name: a\n"), "");
    }
    let odd = "- {op: add, path: /metadata/annotations, value: [a]}";
    reject(then, "  name: a\n", odd, "metadata.annotations is a list");
}

#[test]
fn inline_plugins_run_before_those_in_files() {
    let kustomization = "resources: [a.yaml]\ntransformers:\n- p.yaml\n- '{apiVersion: builtin, kind: PatchTransformer, \
                         metadata: {name: p}, target: {kind: A}, patch: \"[{\\\"op\\\": \\\"add\\\", \\\"path\\\": \
                         \\\"/x\\\", \\\"value\\\": 1}]\"}'\n";
    let file = "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: f}\ntarget: {kind: A}\n\
                patch: '[{\"op\": \"add\", \"path\": \"/x\", \"value\": 2}]'\n";
    let build = built(kustomization, &format!("{HEAD}  name: a\n"), file).unwrap();
    assert_eq!(build.to_yaml(), format!("{HEAD}  name: a\nx: 2\n"));
}

/// Tools look for these phrases of kustomize in what a build prints. A text is not repeated: it may hold a secret.
#[test]
fn the_phrases_that_tools_match_are_those_of_kustomize() {
    let object = "  name: a\n";
    let with = |entry: &str| format!("resources: [a.yaml]\npatches: [{entry}]\n");
    for entry in ["{}", "{target: {kind: A}}"] {
        reject(&with(entry), object, "", "patches[0]: must specify one of patch and path in this entry");
    }
    reject(
        &with("{path: p.yaml, patch: 'x: y'}"),
        object,
        "",
        "patch and path can't be set at the same time",
    );
    let operations = "- op: add\n  path: /x\n  value: 1\n";
    reject(BY_NAME, object, operations, "must specify a target for JSON patch [path: \"p.yaml\"]");
    let text = "- {op: add, path: /x, value: hunter2}";
    reject(
        &with(&format!("{{patch: '{text}'}}")),
        object,
        "",
        "must specify a target for JSON patch [patch: 37 bytes]",
    );
    for patch in ["foo: bar\n", "a: b: c\n", "[1", "[1]", "- 1\n"] {
        reject(BY_TARGET, object, patch, "unable to parse SM or JSON patch from [path: \"p.yaml\"]: ");
        let inline =
            with(&format!("{{target: {{kind: A}}, patch: {}}}", serde_json::to_string(patch).unwrap()));
        reject(&inline, object, "", "unable to parse SM or JSON patch from [patch: ");
    }
    reject(BY_TARGET, object, "a: b: c\n", "/p.yaml:1:");
}
