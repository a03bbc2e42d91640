//! What kustomize prints for configurations around the edges, as recorded from it.

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};

use crate::{Build, BuildError, ErrorKind, Options, build};

const OBJECT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cm\ndata:\n  a: b\n";

type Files<'f> = &'f [(&'f str, &'f str)];

fn built(kustomization: &str, files: Files<'_>) -> Result<Build, BuildError> {
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    let own = [("kustomization.yaml", kustomization), ("cm.yaml", OBJECT)];
    for (path, text) in own.iter().chain(files) {
        let content = Bytes::copy_from_slice(text.as_bytes());
        builder.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
    }
    build(&builder.build(), &RelPath::root(), &Options::default())
}

fn with(list: &str, config: &str) -> String {
    format!("resources: [cm.yaml]\n{list}:\n- \"{{apiVersion: builtin, metadata: {{name: x}}, {config}}}\"\n")
}

/// The transformer changes the object into this one.
#[track_caller]
fn check(config: &str, expect: &str) {
    assert_eq!(built(&with("transformers", config), &[]).unwrap().to_yaml(), expect);
}

#[track_caller]
fn reject(kustomization: &str, kind: ErrorKind, part: &str) {
    let error = built(kustomization, &[]).unwrap_err();
    assert!(error.kind() == kind && error.to_string().contains(part), "{error}");
}

fn object(metadata: &str, data: &str) -> String {
    format!("apiVersion: v1\ndata:\n{data}kind: ConfigMap\nmetadata:\n{metadata}")
}

#[test]
fn field_specifications_are_those_of_the_configuration_alone() {
    check(
        "kind: LabelTransformer, labels: {k: 1.10}, fieldSpecs: [{path: data}]",
        &object("  name: cm\n", "  a: b\n  k: \"1.1\"\n"),
    );
    check("kind: LabelTransformer, labels: {k: v}", &object("  name: cm\n", "  a: b\n"));
}

#[test]
fn affixes_match_their_keys_only_as_they_are_spelled() {
    let unchanged = object("  name: cm\n", "  a: b\n");
    check("kind: PrefixTransformer, Prefix: p-, fieldSpecs: [{path: metadata/name}]", &unchanged);
    check(
        "kind: PrefixSuffixTransformer, prefix: 1, suffix: -s, fieldSpecs: [{path: metadata/name}]",
        &object("  name: 1cm-s\n", "  a: b\n"),
    );
    reject(
        &with("transformers", "kind: SuffixTransformer, suffix: s"),
        ErrorKind::Invalid,
        "plugin SuffixTransformer.builtin.[noGrp]/x.[noNs] of /kustomization.yaml: fails configuration: fieldSpecs \
         is not expected to be nil",
    );
}

#[test]
fn keys_of_the_others_are_known_in_any_case() {
    check(
        "kind: LabelTransformer, LABELS: {k: v}, FieldSpecs: [{Path: metadata/labels, CREATE: true}]",
        &object("  labels:\n    k: v\n  name: cm\n", "  a: b\n"),
    );
}

#[test]
fn patches_reach_what_they_name_and_what_is_selected() {
    let expect = object("  name: cm\n", "  a: c\n");
    let patch = "{kind: ConfigMap, apiVersion: v1, metadata: {name: cm}, data: {a: c}}";
    check(&format!("kind: PatchTransformer, patch: '{patch}'"), &expect);
    check(&format!("kind: PatchStrategicMergeTransformer, patches: '{patch}'"), &expect);
    check(
        "kind: PatchJson6902Transformer, target: {name: c.}, jsonOp: '- {op: replace, path: /data/a, value: c}'",
        &expect,
    );
    for (config, part) in [
        ("jsonOp: '[]'", "must specify the target name"),
        ("target: {name: cm}", "empty file path and empty jsonOp"),
        ("target: {name: cm}, jsonOp: '[]'", "patch appears to be empty"),
        ("target: {name: cm}, jsonOp: 'text'", "cannot unmarshal string into Go value of type jsonpatch"),
        ("target: {name: cm}, jsonOp: '[]', path: a", "must specify a file path or jsonOp, not both"),
    ] {
        let config = format!("kind: PatchJson6902Transformer, {config}");
        reject(&with("transformers", &config), ErrorKind::Invalid, part);
    }
}

#[test]
fn values_are_added_to_fields_and_to_paths_in_them() {
    check(
        "kind: ValueAddTransformer, value: 5, targets: [{fieldPath: data/a, filePathPosition: 2}, {fieldPath: \
         metadata/namespace, selector: {kind: Conf.*}}]",
        &object("  name: cm\n  namespace: \"5\"\n", "  a: b/5\n"),
    );
    reject(
        &with("transformers", "kind: ValueAddTransformer, value: 5"),
        ErrorKind::Invalid,
        "must specify at least one target",
    );
}

#[test]
fn generators_take_name_and_namespace_of_their_configuration() {
    let config = "kind: ConfigMapGenerator, behavior: merge, name: cm, literals: [c=d]";
    let built = built(&with("generators", config), &[]).unwrap();
    assert_eq!(built.to_yaml(), object("  name: cm\n", "  a: b\n  c: d\n"));
}

#[test]
fn a_value_of_another_type_in_a_generator_is_named_by_its_field_and_not_repeated() {
    for (config, expect) in [
        ("literals: hidden", "string into Go struct field literals of type []string"),
        ("literals: [{a: hidden}]", "object into Go struct field literals[0] of type string"),
        ("options: {labels: {a: [hidden]}}", "array into Go struct field options.labels of type string"),
        ("options: {immutable: hidden}", "string into Go struct field options.immutable of type bool"),
    ] {
        let text = with("generators", &format!("kind: SecretGenerator, {config}"));
        let error = built(&text, &[]).unwrap_err().to_string();
        let expect = format!("fails configuration: json: cannot unmarshal {expect}");
        assert!(error.ends_with(&expect) && !error.contains("hidden"), "{error}");
    }
}

#[test]
fn paths_in_configurations_start_at_the_kustomization_that_names_them() {
    let config = "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nfiles: [f.txt]\n";
    let built = built(
        "generators: [dir]\n",
        &[
            ("dir/kustomization.yaml", "resources: [g.yaml]\nnamePrefix: p-\n"),
            ("dir/g.yaml", config),
            ("dir/f.txt", "inner"),
            ("f.txt", "outer"),
        ],
    )
    .unwrap();
    let text = built.to_yaml();
    assert!(text.contains("f.txt: outer\n") && text.contains("name: p-g-"), "{text}");
    assert_eq!(built.objects[0].origin, "/dir/g.yaml");
}

#[test]
fn what_is_not_built_in_is_rejected_by_name() {
    for (list, config, part) in [
        ("transformers", "kind: Foo", "unable to load builtin Foo.builtin.[noGrp]"),
        ("transformers", "kind: SortOrderTransformer", "unable to load builtin SortOrderTransformer"),
        ("transformers", "kind: SecretGenerator", "not a transformer"),
        ("validators", "kind: SecretGenerator", "not a transformer"),
        ("generators", "kind: LabelTransformer", "not a generator"),
    ] {
        reject(&with(list, config), ErrorKind::Invalid, part);
    }
    let function = "resources: [cm.yaml]\ntransformers:\n- \"{apiVersion: v1, kind: Foo, metadata: {name: x, \
                    annotations: {config.kubernetes.io/function: 'exec: {path: x}'}}}\"\n";
    reject(function, ErrorKind::Unsupported, "transformer Foo.v1.[noGrp]/x.[noNs]");
    reject(
        &with("generators", "kind: HelmChartInflationGenerator"),
        ErrorKind::Unsupported,
        "render it beforehand",
    );
}

#[test]
fn validators_may_set_one_label_and_nothing_else() {
    let mark = "kind: LabelTransformer, labels: {validated-by: x}, fieldSpecs: [{path: metadata/labels, create: true}]";
    let text = built(&with("validators", mark), &[]).unwrap().to_yaml();
    assert_eq!(text, object("  labels:\n    validated-by: x\n  name: cm\n", "  a: b\n"));
    for config in [
        "kind: LabelTransformer, labels: {k: v}, fieldSpecs: [{path: metadata/labels, create: true}]",
        "kind: PatchTransformer, patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: cm}, $patch: delete}'",
    ] {
        reject(
            &with("validators", config),
            ErrorKind::Invalid,
            "validator shouldn't modify the resource map",
        );
    }
}

#[test]
fn transformers_are_recorded_for_every_object_and_written_where_requested() {
    let text = "resources: [cm.yaml]\nnamePrefix: p-\ntransformers: [t.yaml]\n";
    let files = [(
        "t.yaml",
        "apiVersion: builtin\nkind: SuffixTransformer\nmetadata: {name: t}\nsuffix: -s\nfieldSpecs: [{path: \
         metadata/name}]\n",
    )];
    let quiet = built(text, &files).unwrap();
    let kinds: Vec<(&str, &str, &str)> = quiet.objects[0]
        .transformers
        .iter()
        .map(|one| (one.configured_in.as_str(), one.kind.as_str(), one.name.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [("/kustomization.yaml", "PrefixTransformer", ""), ("/t.yaml", "SuffixTransformer", "t")]
    );
    assert_eq!(quiet.to_yaml(), object("  name: p-cm-s\n", "  a: b\n"));
    let requested =
        format!("{text}buildMetadata: [originAnnotations, managedByLabel, transformerAnnotations]\n");
    let metadata = "  annotations:\n    alpha.config.kubernetes.io/transformations: |\n      - configuredIn: \
                    kustomization.yaml\n        configuredBy:\n          apiVersion: builtin\n          kind: \
                    PrefixTransformer\n      - configuredIn: t.yaml\n        configuredBy:\n          apiVersion: \
                    builtin\n          kind: SuffixTransformer\n          name: t\n    \
                    config.kubernetes.io/origin: |\n      path: cm.yaml\n  labels:\n    \
                    app.kubernetes.io/managed-by: kustomize-v5.8.1\n  name: p-cm-s\n";
    assert_eq!(built(&requested, &files).unwrap().to_yaml(), object(metadata, "  a: b\n"));
}

#[test]
fn a_merged_object_keeps_its_origin_and_a_replaced_one_does_not() {
    for (behavior, origin) in [("merge", "path: cm.yaml"), ("replace", "configuredIn: kustomization.yaml")] {
        let text = format!(
            "resources: [cm.yaml]\nbuildMetadata: [originAnnotations]\nconfigMapGenerator: [{{name: cm, behavior: \
             {behavior}}}]\n"
        );
        let text = built(&text, &[]).unwrap().to_yaml();
        assert!(text.contains(&format!("config.kubernetes.io/origin: |\n      {origin}\n")), "{text}");
    }
}

#[test]
fn annotations_that_were_not_requested_are_removed_regardless_of_author() {
    let mark = "kind: AnnotationsTransformer, annotations: {config.kubernetes.io/origin: text}, fieldSpecs: [{path: \
                metadata/annotations, create: true}]";
    check(mark, &object("  name: cm\n", "  a: b\n"));
}
