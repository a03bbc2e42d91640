//! Golden cases: a tree and a spec on one side, the printed objects on the other.

use bytes::Bytes;
use plumb_api::kustomize::{CommonMetadata, Image, Patch, Selector};
use plumb_filetree::{MemoryTree, TreeLimits};
use plumb_status::{Classify, Reason};

use super::*;

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: ${v:=d}\n";

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, text) in files {
        builder.file(&RelPath::parse(path).unwrap(), Bytes::copy_from_slice(text.as_bytes()), false).unwrap();
    }
    builder.build()
}

fn rendered(files: &[(&str, &str)], spec: &RenderSpec) -> Result<Rendered, RenderError> {
    let prepared = prepare(&tree(files), spec, &Options::default())?;
    prepared.reject_encrypted()?;
    prepared.render(spec, &BTreeMap::new(), &Options::default())
}

fn text(rendered: &Rendered) -> String {
    let documents: Vec<String> =
        rendered.objects.iter().map(|built| yaml::json_to_string(built.object.value())).collect();
    documents.join("---\n")
}

#[track_caller]
fn check(files: &[(&str, &str)], spec: &RenderSpec, expect: &str) {
    assert_eq!(text(&rendered(files, spec).unwrap()), expect);
}

#[track_caller]
fn reject(files: &[(&str, &str)], spec: &RenderSpec, reason: Reason, expect: &str) {
    let error = rendered(files, spec).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.reason()), (expect, reason));
    assert!(error.hint().is_some());
}

fn substituting(pairs: &[(&str, &str)]) -> RenderSpec {
    let substitute = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    RenderSpec { substitute, when: When::WithVariables, ..RenderSpec::default() }
}

fn named(kind: &str, name: &str) -> String {
    format!("apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\n")
}

#[test]
fn a_directory_without_a_kustomization_is_scanned() {
    let (one, two, other) = (named("ConfigMap", "one"), named("Namespace", "two"), named("Secret", "other"));
    let files = [
        ("apps/b.yaml", one.as_str()),
        ("apps/deep/a.yml", &two),
        ("apps/notes.txt", "not: [yaml"),
        ("apps/own/kustomization.yaml", "namePrefix: p-\nresources: [s.yaml]\n"),
        ("apps/own/s.yaml", &other),
        ("apps/own/unused.yaml", "not: [yaml"),
        ("elsewhere.yaml", "not: [yaml"),
    ];
    let spec = RenderSpec { path: "./apps/".to_owned(), ..RenderSpec::default() };
    // In the order of the files: Flux does not sort.
    let expect = [one.clone(), named("Namespace", "two"), named("Secret", "p-other")].join("---\n");
    check(&files, &spec, &expect);
    let result = rendered(&files, &spec).unwrap();
    assert!(result.reads.holds_in(&tree(&files)));
    let mut more = files.to_vec();
    more.push(("apps/deep/new.yaml", &one));
    assert!(!result.reads.holds_in(&tree(&more)));
    assert_eq!(result.objects[0].origin, "/apps/b.yaml");
}

/// The object in the cluster is wrong, and no commit corrects it.
#[test]
fn errors_of_the_objects_own_fields_name_the_field_and_no_file() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: [x]}]}\n";
    let two = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: x}\n---\napiVersion: v1\nkind: \
               ConfigMap\nmetadata: {name: a, namespace: y}\n";
    let with = |object: &str, spec: RenderSpec| {
        let files = [("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", object)];
        let error = rendered(&files, &spec).unwrap_err();
        (error.to_string(), error.hint().unwrap())
    };
    let patch = |text: &str| Patch { patch: text.to_owned(), target: None };
    let gone = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: gone}\n";
    for (object, spec, field, part) in [
        (
            CONFIG_MAP,
            RenderSpec { patches: vec![patch("foo: bar")], ..RenderSpec::default() },
            "spec.patches[0]",
            "unable to parse SM or JSON patch from",
        ),
        (
            CONFIG_MAP,
            RenderSpec {
                patches: vec![patch(&named("ConfigMap", "a")), patch(gone)],
                ..RenderSpec::default()
            },
            "spec.patches[1]",
            "no resource matches",
        ),
        (
            CONFIG_MAP,
            RenderSpec { components: vec!["gone".to_owned()], ..RenderSpec::default() },
            "spec.components[0]",
            "no directory \"gone\"",
        ),
        (
            pod,
            RenderSpec {
                images: vec![Image {
                    name: "x".to_owned(),
                    new_tag: Some("1".to_owned()),
                    ..Image::default()
                }],
                ..RenderSpec::default()
            },
            "spec.images[0]",
            "image",
        ),
        (
            two,
            RenderSpec { target_namespace: Some("z".to_owned()), ..RenderSpec::default() },
            "spec.targetNamespace",
            "ID conflict",
        ),
    ] {
        let (error, hint) = with(object, spec);
        assert!(
            error.starts_with(&format!("kustomize build failed: {field}: ")) && error.contains(part),
            "{error}"
        );
        assert_eq!(hint, format!("correct {field} of the Kustomization object"));
    }
    let (error, hint) = with("kind: [\n", RenderSpec::default());
    assert!(error.contains("/a.yaml:") && hint == "correct the file and commit it", "{error}: {hint}");
}

/// What fails in the file of a component is corrected there.
#[test]
fn errors_in_the_file_of_a_component_name_the_file() {
    let files = [
        ("kustomization.yaml", "resources: [a.yaml]\n"),
        ("a.yaml", CONFIG_MAP),
        (
            "c/kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{patch: 'foo: bar'}]\n",
        ),
    ];
    let spec = RenderSpec { components: vec!["c".to_owned()], ..RenderSpec::default() };
    let error = rendered(&files, &spec).unwrap_err();
    assert!(error.to_string().contains("/c/kustomization.yaml: patches[0]: "), "{error}");
    assert_eq!(error.hint().unwrap(), "correct the file and commit it");
}

#[test]
fn an_empty_directory_renders_nothing() {
    check(&[("apps/notes.txt", "x")], &RenderSpec { path: "apps".to_owned(), ..RenderSpec::default() }, "");
}

#[test]
fn an_empty_kustomization_renders_nothing() {
    check(&[("kustomization.yaml", "kind: Kustomization\n")], &RenderSpec::default(), "");
    check(&[("kustomization.yaml", "")], &RenderSpec::default(), "");
}

#[test]
fn the_spec_is_merged_into_an_existing_kustomization() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n      \
                      containers:\n      - image: nginx:1\n        name: web\n";
    let files = [
        (
            "kustomization.yml",
            "resources: [web.yaml]\nnamespace: old\nimages:\n- name: nginx\n  newTag: '2'\n",
        ),
        ("web.yaml", deployment),
    ];
    let spec = RenderSpec {
        target_namespace: Some("new".to_owned()),
        name_prefix: Some("p-".to_owned()),
        name_suffix: Some("-s".to_owned()),
        images: vec![Image { name: "nginx".to_owned(), new_tag: Some("3".to_owned()), ..Image::default() }],
        patches: vec![Patch {
            patch: "- op: add\n  path: /spec/replicas\n  value: 2\n".to_owned(),
            target: Some(Selector { kind: Some("Deploy.*".to_owned()), ..Selector::default() }),
        }],
        common_metadata: CommonMetadata {
            labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
            annotations: BTreeMap::new(),
        },
        ..RenderSpec::default()
    };
    let expect = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  labels:\n    team: a\n  name: p-web-s\n  namespace: \
                  new\nspec:\n  replicas: 2\n  template:\n    spec:\n      containers:\n      - image: nginx:3\n        name: \
                  web\n";
    check(&files, &spec, expect);
}

#[test]
fn common_metadata_is_not_part_of_the_digest() {
    let files = [("a.yaml", CONFIG_MAP)];
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let common_metadata = CommonMetadata { labels, annotations: BTreeMap::new() };
    let plain = rendered(&files, &RenderSpec::default()).unwrap();
    let labelled = rendered(&files, &RenderSpec { common_metadata, ..RenderSpec::default() }).unwrap();
    assert_eq!(plain.digest, labelled.digest);
    assert_eq!(plain.digest, format!("sha256:{}", digest::sha256_hex(text(&plain).as_bytes())));
    assert_ne!(text(&plain), text(&labelled));
}

#[test]
fn variables_are_put_into_the_text_so_that_types_follow() {
    let file = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\nspec:\n  count: ${n}\n  quoted: '${n}'\n  flag: \
                ${yes}\n";
    let expect = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\nspec:\n  count: 3\n  flag: true\n  quoted: 3\n";
    let spec = substituting(&[("name", "we\nb"), ("n", "3"), ("yes", "true")]);
    check(&[("a.yaml", file)], &spec, expect);
}

#[test]
fn inline_variables_win_over_those_that_were_read() {
    let files = tree(&[("a.yaml", CONFIG_MAP)]);
    let read = BTreeMap::from([("v".to_owned(), "read".to_owned())]);
    let inline = substituting(&[("v", "inline")]);
    let value = |spec: &RenderSpec| {
        let result = prepare(&files, spec, &Options::default()).unwrap();
        let result = result.render(spec, &read, &Options::default()).unwrap();
        result.objects[0].object.text(&["data", "k"]).unwrap().to_owned()
    };
    assert_eq!(value(&inline), "inline");
    assert_eq!(value(&substituting(&[])), "read");
}

#[test]
fn nothing_is_substituted_without_variables_unless_always() {
    let files = [("a.yaml", CONFIG_MAP)];
    let value = |when: When| {
        let result = rendered(&files, &RenderSpec { when, ..RenderSpec::default() }).unwrap();
        result.objects[0].object.text(&["data", "k"]).unwrap().to_owned()
    };
    assert_eq!(value(When::Never), "${v:=d}");
    assert_eq!(value(When::WithVariables), "${v:=d}");
    assert_eq!(value(When::Always), "d");
}

#[test]
fn an_object_may_opt_out_of_substitution() {
    for place in ["labels", "annotations"] {
        let file = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  {place}:\n    kustomize.toolkit.fluxcd.io/substitute: \
             disabled\n  name: ${{x}}\n"
        );
        check(&[("a.yaml", &file)], &substituting(&[("v", "1")]), &file);
    }
}

#[test]
fn failures_name_object_file_and_variable_but_no_value() {
    let file =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: b\ndata:\n  k: ${missing}\n";
    reject(
        &[("dir/a.yaml", file)],
        &substituting(&[("v", "1")]),
        Reason::BuildFailed,
        "post build failed for 'ConfigMap/b/a' of /dir/a.yaml: envsubst error: variable substitution failed: variable \
         not set (strict mode): \"missing\" in data.k",
    );
    let error =
        rendered(&[("a.yaml", file)], &substituting(&[("missing", "[secret")])).unwrap_err().to_string();
    assert!(
        error.contains("the result is not YAML: data.k with the value of ${missing}: put quotes"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
    let error = rendered(&[("a.yaml", file)], &substituting(&[("a-b", "1")])).unwrap_err().to_string();
    assert!(error.contains("'a-b' var name is invalid"), "{error}");
}

#[test]
fn missing_paths_are_rejected() {
    for (path, why) in [
        ("./gone", "no such directory in the source; \"./\" has the directories clusters"),
        ("a.yaml", "it is a file"),
        ("../x", "no such directory in the source; \"./\" has the directories clusters"),
        ("clusters/gone", "no such directory in the source; \"./clusters\" has the directories prod, test"),
        ("clusters\\prod", "no such directory in the source; did you mean \"./clusters/prod\"?"),
        ("./Clusters/Prod/", "no such directory in the source; did you mean \"./clusters/prod\"?"),
        (" clusters/prod ", "no such directory in the source; did you mean \"./clusters/prod\"?"),
    ] {
        let spec = RenderSpec { path: path.to_owned(), ..RenderSpec::default() };
        let expect = format!("kustomization path not found: {path:?}: {why}");
        let files = [
            ("a.yaml", CONFIG_MAP),
            ("clusters/prod/a.yaml", CONFIG_MAP),
            ("clusters/test/a.yaml", CONFIG_MAP),
        ];
        reject(&files, &spec, Reason::ArtifactFailed, &expect);
    }
}

/// Flux joins the path to the root of the artifact, which it does not leave.
#[test]
fn a_path_above_the_root_stays_at_the_root() {
    for path in ["../apps", "./../../apps", "/../apps/.", "x/../../apps"] {
        let spec = RenderSpec { path: path.to_owned(), ..RenderSpec::default() };
        check(&[("apps/a.yaml", &named("ConfigMap", "a"))], &spec, &named("ConfigMap", "a"));
    }
}

#[test]
fn all_objects_that_fail_are_named_with_all_their_fields_within_a_limit() {
    let object = |name: &str, data: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{data}")
    };
    let file = [
        object("good", "  k: ${v}\n"),
        object("one", "  a: ${x}\n  b: fine\n  c: ${y}-${v}\n"),
        object("two", "  open: '${v'\n"),
        object("three", "  list: [ok, '${x}']\n"),
    ]
    .join("---\n");
    let error = rendered(&[("a.yaml", &file)], &substituting(&[("v", "1")])).unwrap_err();
    let said = error.to_string();
    let lines: Vec<&str> = said.lines().collect();
    let start = "of /a.yaml: envsubst error: variable substitution failed:";
    assert_eq!(
        lines,
        [
            format!(
                "post build failed for 'ConfigMap/one' {start} variable not set (strict mode): \"x\" in data.a; data.c: variable not set \
                 (strict mode): \"y\""
            ),
            format!("post build failed for 'ConfigMap/two' {start} missing closing brace in data.open"),
            format!(
                "post build failed for 'ConfigMap/three' {start} variable not set (strict mode): \"x\" in data.list[1]"
            ),
        ]
    );
    assert!(error.hint().unwrap().contains("write $${name} where the text is meant"));
    let many: Vec<String> = (0..50).map(|number| object(&format!("n{number}"), "  k: ${x}\n")).collect();
    let error =
        rendered(&[("a.yaml", &many.join("---\n"))], &substituting(&[("v", "1")])).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 21, "{error}");
    assert!(error.ends_with("post build failed for 30 more objects"), "{error}");
}

#[test]
fn variables_are_listed_with_their_objects_and_with_what_is_missing() {
    let file = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: ${v}\n  l: ${x}${y:=d}\n";
    let options = Options { unset: Unset::Empty, ..Options::default() };
    let spec = substituting(&[("v", "1"), ("unused", "1")]);
    let result = prepare(&tree(&[("a.yaml", file)]), &spec, &options).unwrap();
    let result = result.render(&spec, &BTreeMap::new(), &options).unwrap();
    let listed: Vec<_> = result
        .substituted
        .variables
        .iter()
        .map(|(name, usage)| (name.as_str(), usage.is_set, usage.objects.len(), usage.missed_in.len()))
        .collect();
    assert_eq!(listed, [("v", true, 1, 0), ("x", false, 1, 1), ("y", false, 1, 0)]);
}

#[test]
fn texts_that_a_substitution_turns_into_another_type_are_named_by_field_and_variable() {
    let file = "apiVersion: v1\nkind: A\nmetadata:\n  name: a\ndata:\n  n: '${n}'\n  t: ${t}\n  list: [{env: '${n}'}]\n";
    let result = rendered(&[("a.yaml", file)], &substituting(&[("n", "5"), ("t", "text")])).unwrap();
    let retyped = |field: &str| Retyped {
        object: "A/a".to_owned(),
        field: field.to_owned(),
        variables: vec!["n".to_owned()],
    };
    assert_eq!(result.substituted.retyped, [retyped(".data.list.env"), retyped(".data.n")]);
    // Quotes in the value are what helps, those in the manifest do not.
    let result = rendered(&[("a.yaml", file)], &substituting(&[("n", "\"5\""), ("t", "text")])).unwrap();
    assert_eq!(result.substituted.retyped, []);
    assert_eq!(result.objects[0].object.text(&["data", "n"]), Some("5"));
}

#[test]
fn broken_manifests_are_rejected_with_file_and_line() {
    reject(
        &[("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n")],
        &RenderSpec::default(),
        Reason::BuildFailed,
        "failed to decode Kubernetes YAML from /a.yaml:1:1: missing metadata.name in object",
    );
    reject(
        &[("kustomization.yaml", "resources: [b.yaml]\n"), ("b.yaml", "kind: A\nmetadata:\n  name: b\n")],
        &RenderSpec::default(),
        Reason::BuildFailed,
        "/b.yaml: A/b: apiVersion is missing",
    );
    let broken = [("kustomization.yaml", "resources: [b.yaml]\n"), ("b.yaml", "kind: A\nmetadata: [\n")];
    let error = rendered(&broken, &RenderSpec::default()).unwrap_err().to_string();
    assert!(error.starts_with("kustomize build failed: /b.yaml:"), "{error}");
}

#[test]
fn a_patch_of_the_spec_is_named_as_such() {
    let patches =
        vec![Patch { patch: "kind: ConfigMap\nmetadata:\n  name: gone\n".to_owned(), target: None }];
    let spec = RenderSpec { patches, ..RenderSpec::default() };
    let error = rendered(&[("a.yaml", CONFIG_MAP)], &spec).unwrap_err().to_string();
    assert!(error.starts_with("kustomize build failed: spec.patches[0]: no resource matches"), "{error}");
}

#[test]
fn an_encrypted_secret_is_named_by_the_first_phase() {
    let file = format!("{}sops:\n  mac: ENC[y]\n", named("Secret", "s"));
    let files = tree(&[("s.yaml", &file), ("a.yaml", CONFIG_MAP)]);
    let prepared = prepare(&files, &RenderSpec::default(), &Options::default()).unwrap();
    let encrypted: Vec<_> = prepared.encrypted().map(|built| built.origin.as_str()).collect();
    assert_eq!(encrypted, ["/s.yaml"]);
}

#[test]
fn an_encrypted_secret_is_rejected_where_it_cannot_be_decrypted() {
    let file = format!("{}data:\n  k: ENC[x]\nsops:\n  mac: ENC[y]\n", named("Secret", "s"));
    reject(
        &[("s.yaml", &file)],
        &RenderSpec::default(),
        Reason::BuildFailed,
        "/s.yaml: Secret/s: it is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
    );
}

#[test]
fn two_objects_that_substitution_makes_one_are_rejected() {
    let twice = [
        ("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${v}\n"),
        ("b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n"),
    ];
    let error = rendered(&twice, &substituting(&[("v", "x")])).unwrap_err().to_string();
    assert!(error.contains("another object has the same name"), "{error}");
}
