//! Small input that expands to much: copies are counted, in values and in bytes.

use plumb_kustomize::{ErrorKind, Limits};

use crate::hostile::{A, Files, built_with, charged, many, objects, reject};

/// A text of so many bytes.
fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[test]
fn a_long_text_is_not_copied_without_end_by_aliases() {
    let text = long(100_000);
    let aliases = "*t, ".repeat(500);
    let object = format!("{A}data:\n  t: &t {text}\n  l: [{aliases}]\n");
    let excessive = "a.yaml:7:";
    reject(
        &[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &object)],
        ErrorKind::Invalid,
        excessive,
    );
    let settings = format!("namePrefix: &t {text}\nresources: [{aliases}]\n");
    reject(&[("kustomization.yaml", &settings)], ErrorKind::Invalid, "excessive aliasing");
    let keys = format!("{A}x: &t {text}\ny: [{}]\n", "{? *t : 1}, ".repeat(500));
    reject(
        &[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &keys)],
        ErrorKind::Invalid,
        "excessive",
    );
    let merged = format!("{A}x: &m {{k: {text}}}\ny: [{}]\n", "{<<: *m}, ".repeat(500));
    reject(
        &[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &merged)],
        ErrorKind::Invalid,
        "excessive",
    );
}

#[test]
fn a_script_that_two_fields_share_is_no_bomb() {
    let script = format!("{A}data:\n  a: &s |\n    {}\n  b: *s\n  c: *s\n", long(600_000));
    let files: Files<'_> = &[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &script)];
    assert!(built_with(files, Limits::default()).is_ok());
}

#[test]
fn bytes_of_objects_are_counted_as_they_are_read() {
    let object = |index: usize| {
        format!("---\nkind: X\nmetadata: {{name: x{index}}}\nt: &t {}\nl: [*t, *t, *t, *t]\n", long(20_000))
    };
    let text = many(20, object);
    let limits = Limits { output_bytes_max: 1 << 20, ..Limits::default() };
    let error = built_with(&[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &text)], limits)
        .unwrap_err();
    assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
}

#[test]
fn the_labels_of_all_generators_are_paid_for() {
    let label = long(100_000);
    let generators = many(500, |index| format!("- {{name: g{index}}}\n"));
    for kind in ["configMapGenerator", "secretGenerator"] {
        let text = format!("generatorOptions: {{labels: {{l: {label}}}}}\n{kind}:\n{generators}");
        charged(&[("kustomization.yaml", &text)], 1_000_000);
    }
}

/// A configuration that adds so many fields for a transformer.
fn fields(transformer: &str, count: usize) -> String {
    let path = |index: usize| format!("- {{path: spec/f{index}, create: true}}\n");
    format!("{transformer}:\n{}", many(count, path))
}

#[test]
fn every_field_that_a_text_is_written_to_is_paid_for() {
    let text = long(10_000);
    for (transformer, setting) in [
        ("namePrefix", format!("namePrefix: {text}\n")),
        ("nameSuffix", format!("nameSuffix: {text}\n")),
        ("namespace", format!("namespace: {text}\n")),
        ("commonAnnotations", format!("commonAnnotations: {{k: {text}}}\n")),
        ("commonLabels", format!("commonLabels: {{k: {text}}}\n")),
        ("templateLabels", format!("labels: [{{pairs: {{k: {text}}}, includeTemplates: true}}]\n")),
    ] {
        let settings = format!("resources: [a.yaml]\nconfigurations: [c.yaml]\n{setting}");
        let configuration = fields(transformer, 1_000);
        charged(&[("kustomization.yaml", &settings), ("a.yaml", A), ("c.yaml", &configuration)], 1_000_000);
    }
}

#[test]
fn every_item_that_a_text_is_written_to_is_paid_for() {
    let text = long(10_000);
    let items = "{name: default, kind: ServiceAccount}, ".repeat(1_000);
    let list = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: a}}\nsubjects: [{items}]\n"
    );
    for setting in [
        format!("namespace: {text}\n"),
        format!("namePrefix: {text}\nconfigurations: [c.yaml]\n"),
        format!("labels: [{{pairs: {{k: {text}}}, fields: [{{path: subjects/labels, create: true}}]}}]\n"),
    ] {
        let settings = format!("resources: [a.yaml]\n{setting}");
        let configuration = "namePrefix: [{path: subjects/name}]\n";
        charged(
            &[("kustomization.yaml", &settings), ("a.yaml", &list), ("c.yaml", configuration)],
            1_000_000,
        );
    }
}

#[test]
fn every_image_that_is_renamed_is_paid_for() {
    let containers = "{image: x}, ".repeat(2_000);
    let pod = format!("kind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{containers}]}}\n");
    let name = long(5_000);
    for field in ["newName", "newTag", "digest", "tagSuffix"] {
        let settings = format!("resources: [a.yaml]\nimages: [{{name: x, {field}: {name}}}]\n");
        charged(&[("kustomization.yaml", &settings), ("a.yaml", &pod)], 1_000_000);
    }
}

#[test]
fn every_reference_to_a_long_name_is_paid_for() {
    let name = long(5_000);
    let keys = format!("{name}, ").repeat(100);
    let role = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: \
         Role\nmetadata: {{name: r}}\nrules:\n- resourceNames: &n [{keys}]\n- resourceNames: *n\n- resourceNames: *n\n"
    );
    let settings = "resources: [a.yaml]\nnamePrefix: p-\n";
    charged(&[("kustomization.yaml", settings), ("a.yaml", &role)], 100_000);
}

#[test]
fn a_json_patch_is_charged_for_its_copies() {
    let object = format!("{A}data: {{big: {}}}\n", long(50_000));
    let copies = many(100, |index| format!("- {{op: copy, from: /data/big, path: /data/k{index}}}\n"));
    let settings = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {name: a}}]\n";
    reject(
        &[("kustomization.yaml", settings), ("a.yaml", &object), ("p.yaml", &copies)],
        ErrorKind::OverLimit,
        "moves or copies more than 200000",
    );
    // A few copies in each of many objects.
    let objects = many(200, |index| {
        format!("---\nkind: X\nmetadata: {{name: x{index}}}\ndata: {{big: {}}}\n", long(5_000))
    });
    let copies = many(20, |index| format!("- {{op: copy, from: /data/big, path: /data/k{index}}}\n"));
    let settings = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: X}}]\n";
    charged(&[("kustomization.yaml", settings), ("a.yaml", &objects), ("p.yaml", &copies)], 200_000);
}

#[test]
fn a_patch_is_charged_for_its_expanded_aliases() {
    let patch = format!(
        "kind: ConfigMap\nmetadata: {{name: x}}\ndata:\n  a: &a [{}]\n  b: [{}]\n",
        "1,".repeat(100),
        "*a,".repeat(400)
    );
    let objects = objects(50);
    let settings = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n";
    charged(&[("kustomization.yaml", settings), ("a.yaml", &objects), ("p.yaml", &patch)], 200_000);
}

#[test]
fn values_of_vars_and_replacements_are_paid_for_as_often_as_they_are_taken() {
    let object = format!("{A}data: {{big: {}}}\n", long(50_000));
    let vars = many(500, |index| {
        format!(
            "- {{name: V{index}, objref: {{apiVersion: v1, kind: ConfigMap, name: a}}, fieldref: {{fieldPath: data.big}}}}\n"
        )
    });
    let settings = format!("resources: [a.yaml]\nvars:\n{vars}");
    charged(&[("kustomization.yaml", &settings), ("a.yaml", &object)], 1_000_000);
    let replacements = many(500, |_| {
        "- {source: {kind: ConfigMap, fieldPath: data.big}, targets: [{select: {kind: None}}]}\n".to_owned()
    });
    let settings = format!("resources: [a.yaml]\nreplacements:\n{replacements}");
    charged(&[("kustomization.yaml", &settings), ("a.yaml", &object)], 1_000_000);
}

#[test]
fn former_names_in_annotations_are_limited() {
    let commas = ",".repeat(100_000);
    for notes in [
        format!("internal.config.kubernetes.io/prefixes: '{commas}'"),
        ["previousNames", "previousNamespaces", "previousKinds"]
            .map(|name| format!("internal.config.kubernetes.io/{name}: '{commas}'"))
            .join(", "),
    ] {
        let object =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, annotations: {{{notes}}}}}\n");
        reject(
            &[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &object)],
            ErrorKind::OverLimit,
            "/a.yaml:1:1: more than 1000 former names",
        );
    }
}

#[test]
fn warnings_are_short() {
    let key = long(100_000);
    let patch = format!("kind: ConfigMap\nmetadata: {{name: x, labels: {{? {key}\n : null}}}}\n");
    let settings = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n";
    let files: Files<'_> = &[("kustomization.yaml", settings), ("a.yaml", A), ("p.yaml", &patch)];
    let build = built_with(files, Limits::default()).unwrap();
    assert!(!build.warnings.is_empty() && build.warnings.iter().all(|warning| warning.text.len() < 5_000));
}
