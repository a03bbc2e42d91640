//! Silent changes by kustomize: the bytes are those of kustomize 5.8.1, and a warning names file, object, field
//! and remedy. Next to each danger is a similar case without one.
#![expect(clippy::unwrap_used, reason = "a case that cannot be set up fails the test")]

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_kustomize::{Build, Options, WarningKind, build};

fn built(files: &[(&str, &str)]) -> Build {
    let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, text) in files {
        let content = Bytes::copy_from_slice(text.as_bytes());
        tree.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
    }
    build(&tree.build(), &RelPath::parse("over").unwrap(), &Options::default()).unwrap()
}

fn silent(build: &Build) -> Vec<&str> {
    let silent = build.warnings.iter().filter(|warning| warning.kind == WarningKind::Silent);
    silent.map(|warning| warning.text.as_str()).collect()
}

/// The overlay `over` and the base of the files warn once, with all parts.
#[track_caller]
fn warns(files: &[(&str, &str)], parts: &[&str]) {
    let build = built(files);
    let warnings = silent(&build);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    for part in parts {
        assert!(warnings[0].contains(part), "{part}: {warnings:#?}");
    }
}

#[track_caller]
fn is_quiet(files: &[(&str, &str)]) {
    let build = built(files);
    assert_eq!(silent(&build), [""; 0]);
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {tier: x}}
  template:
    metadata: {labels: {tier: x}}
    spec:
      containers:
      - {name: app, image: app}
      - {name: log, image: log}
";
const LABELLED: &str = "resources: [d.yaml]\nlabels: [{pairs: {app: web}, includeSelectors: true}]\n";
const PLAIN: &str = "resources: [d.yaml]\n";

fn over(base: &'static str, patches: &str) -> [(&'static str, String); 3] {
    [
        ("base/kustomization.yaml", base.to_owned()),
        ("base/d.yaml", DEPLOYMENT.to_owned()),
        ("over/kustomization.yaml", format!("resources: [../base]\n{patches}")),
    ]
}

fn texts<'f>(files: &'f [(&'static str, String)]) -> Vec<(&'static str, &'f str)> {
    files.iter().map(|(path, text)| (*path, text.as_str())).collect()
}

fn patch(body: &str) -> String {
    format!(
        "patches:\n- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {{name: web}}\n    {body}\n"
    )
}

#[test]
fn a_label_patch_that_changes_selector_and_template_is_a_warning() {
    let label = "patches:\n- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: web, labels: {app: other}}\n";
    let files = over(LABELLED, label);
    warns(
        &texts(&files),
        &[
            "/over/kustomization.yaml: patches[0]: Deployment.v1.apps/web.[noNs]: writing metadata.labels.app = \"other\"",
            "also changes spec.selector.matchLabels.app, spec.template.metadata.labels.app",
            "JSON 6902 patch of metadata.labels.app",
        ],
    );
    assert!(built(&texts(&files)).to_yaml().contains("matchLabels:\n      app: other\n"));
    // `labels` of the overlay, for the metadata alone.
    let relabel = "labels: [{pairs: {app: other}}]\n";
    warns(&texts(&over(LABELLED, relabel)), &["/over/kustomization.yaml: labels[0]: Deployment"]);
}

#[test]
fn the_remedy_for_a_shared_label_is_one_and_ordinary_labels_are_quiet() {
    let remedy = "patches:\n- target: {kind: Deployment}\n  patch: |\n    - {op: replace, path: /metadata/labels/app, value: other}\n";
    let files = over(LABELLED, remedy);
    is_quiet(&texts(&files));
    assert!(built(&texts(&files)).to_yaml().contains("matchLabels:\n      app: web\n"));
    is_quiet(&texts(&over(LABELLED, "labels: [{pairs: {app: other}, includeSelectors: true}]\n")));
    is_quiet(&texts(&over(LABELLED, &patch("spec: {replicas: 2}"))));
    let same = "patches:\n- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: web, labels: {app: web}}\n";
    is_quiet(&texts(&over(LABELLED, same)));
    let own = "patches:\n- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: web, labels: {other: web}}\n";
    is_quiet(&texts(&over(LABELLED, own)));
}

const RESOURCE: &str = "{apiVersion: e.com/v1, kind: A, metadata: {name: a}, spec: {large: 9007199254740993, even: 9007199254740994, \
                        small: 12345678, text: '9007199254740993'}}\n";

#[test]
fn integers_that_a_json_patch_rounds_are_a_warning() {
    let json = "resources: [a.yaml]\npatches: [{target: {kind: A}, patch: '[{\"op\": \"add\", \"path\": \"/spec/x\", \"value\": 1}]'}]\n";
    let files = [("over/kustomization.yaml", json), ("over/a.yaml", RESOURCE)];
    warns(
        &files,
        &[
            "/over/kustomization.yaml: patches[0]: patching A.v1.e.com/a.[noNs]: ",
            "spec.large becomes 9007199254740992 instead of 9007199254740993",
            "write a strategic merge patch",
        ],
    );
    let remedy = "resources: [a.yaml]\npatches: [{patch: '{apiVersion: e.com/v1, kind: A, metadata: {name: a}, spec: {x: 1}}'}]\n";
    let files = [("over/kustomization.yaml", remedy), ("over/a.yaml", RESOURCE)];
    is_quiet(&files);
    assert!(built(&files).to_yaml().contains("large: 9007199254740993\n"));
}

const LOG: &str = "spec: {template: {spec: {containers: [{name: log, image: other}]}}}";

#[test]
fn an_index_behind_a_patch_that_puts_items_in_front_is_a_warning() {
    let index = "- {target: {kind: Deployment}, patch: '[{\"op\": \"replace\", \"path\": \"/spec/template/spec/containers/0/image\", \"value\": new}]'}\n"
        .replace("new", "\"new\"");
    let files = over(PLAIN, &format!("{}{index}", patch(LOG)));
    warns(
        &texts(&files),
        &[
            "/over/kustomization.yaml: patches[1]: patching Deployment.v1.apps/web.[noNs]: item 0 of \
             spec.template.spec.containers is [name=log]",
            "was [name=app] before",
            "strategic merge patch",
        ],
    );
    assert!(built(&texts(&files)).to_yaml().contains("- image: new\n        name: log\n"));
    let replacement = "replacements:\n- sourceValue: new\n  targets: [{select: {kind: Deployment}, fieldPaths: [spec.template.spec.containers.0.image]}]\n";
    let files = over(PLAIN, &format!("{}{replacement}", patch(LOG)));
    warns(
        &texts(&files),
        &["/over/kustomization.yaml: replacements[0]: targets[0]: replacement of", "[name=log]"],
    );
}

#[test]
fn an_index_into_a_list_in_its_order_gives_no_warning() {
    let index = "- {target: {kind: Deployment}, patch: '[{\"op\": \"replace\", \"path\": \"/spec/template/spec/containers/0/image\", \"value\": \"new\"}]'}\n";
    let first = "spec: {template: {spec: {containers: [{name: app, image: other}]}}}";
    is_quiet(&texts(&over(PLAIN, &format!("{}{index}", patch(first)))));
    is_quiet(&texts(&over(PLAIN, &format!("patches:\n{index}"))));
    let tested = "- {target: {kind: Deployment}, patch: '[{\"op\": \"test\", \"path\": \"/spec/template/spec/containers/0/name\", \"value\": \"log\"}, \
                  {\"op\": \"replace\", \"path\": \"/spec/template/spec/containers/0/image\", \"value\": \"new\"}]'}\n";
    is_quiet(&texts(&over(PLAIN, &format!("{}{tested}", patch(LOG)))));
    let named = "replacements:\n- sourceValue: new\n  targets: [{select: {kind: Deployment}, fieldPaths: ['spec.template.spec.containers.[name=app].image']}]\n";
    is_quiet(&texts(&over(PLAIN, &format!("{}{named}", patch(LOG)))));
}

fn binding(namespace: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: b}}\nroleRef: {{apiGroup: \
         rbac.authorization.k8s.io, kind: ClusterRole, name: view}}\nsubjects: [{{kind: ServiceAccount, name: default{namespace}}}]\n"
    )
}

#[test]
fn a_subject_named_default_that_leaves_a_namespace_of_others_is_a_warning() {
    let file = "resources: [b.yaml]\nnamespace: apps\n";
    let away = binding(", namespace: kube-system");
    let files = [("over/kustomization.yaml", file), ("over/b.yaml", away.as_str())];
    warns(
        &files,
        &[
            "/over/kustomization.yaml: namespace: ClusterRoleBinding.v1.rbac.authorization.k8s.io/b.[noNs]: subjects[0]",
            "from namespace \"kube-system\"",
            "to \"apps\"",
        ],
    );
    assert!(built(&files).to_yaml().contains("name: default\n  namespace: apps\n"));
    // What moves along with the objects of its namespace, what had none, and other accounts.
    let own = format!(
        "{}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c, namespace: system}}\n",
        binding(", namespace: system")
    );
    let with_namespace = format!(
        "{}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: system}}\n",
        binding(", namespace: system")
    );
    let other = binding(", namespace: kube-system").replace("name: default", "name: other");
    for quiet in [own, with_namespace, binding(""), binding(", namespace: apps"), other] {
        is_quiet(&[("over/kustomization.yaml", file), ("over/b.yaml", &quiet)]);
    }
}

#[test]
fn a_list_that_is_newer_than_the_schema_and_loses_items_is_a_warning() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {resourceClaims: [{name: a}, {name: b}], containers: [{name: c}]}\n";
    let patched = |claims: &str| {
        format!(
            "resources: [p.yaml]\npatches: [{{patch: '{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{resourceClaims: {claims}}}}}'}}]\n"
        )
    };
    let files =
        |claims: &str| [("over/kustomization.yaml", patched(claims)), ("over/p.yaml", pod.to_owned())];
    warns(
        &texts(&files("[{name: b}]")),
        &[
            "/over/kustomization.yaml: patches[0]: patching Pod.v1.[noGrp]/p.[noNs]: spec.resourceClaims: ",
            "Kubernetes 1.21",
            "the item with name \"a\" is gone",
            "repeat in the patch what is to stay",
        ],
    );
    is_quiet(&texts(&files("[{name: b}, {name: a}, {name: new}]")));
    is_quiet(&texts(&files("null")));
    let hook = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: w}\nwebhooks:\n- name: h\n  \
                matchConditions: [{name: a, expression: x}]\n";
    let patch = "resources: [p.yaml]\npatches: [{patch: '{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, \
                 metadata: {name: w}, webhooks: [{name: h, matchConditions: [{name: b, expression: y}]}]}'}]\n";
    warns(
        &[("over/kustomization.yaml", patch), ("over/p.yaml", hook)],
        &["webhooks.[name=h].matchConditions: ", "the item with name \"a\" is gone"],
    );
}

#[test]
fn a_target_that_selects_nothing_is_a_warning() {
    let object = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n";
    let with = |rest: &str| format!("resources: [a.yaml]\n{rest}");
    for (rest, parts) in [
        (
            "patches: [{target: {kind: ConfigMap, name: b}, patch: '[{\"op\": \"add\", \"path\": \"/x\", \"value\": 1}]'}]\n",
            [
                "/over/kustomization.yaml: patches[0]: ",
                "(kind=ConfigMap, name=b) selects no object",
                "correct the target",
            ],
        ),
        (
            "patches: [{target: {labelSelector: a=b}, patch: '{apiVersion: v1, kind: X, metadata: {name: x}, x: 1}'}]\n",
            [
                "/over/kustomization.yaml: patches[0]: ",
                "(labelSelector=a=b) selects no object",
                "correct the target",
            ],
        ),
        (
            "replacements: [{sourceValue: x, targets: [{select: {kind: A}}]}]\n",
            [
                "/over/kustomization.yaml: replacements[0]: targets[0]: ",
                "select (kind=A) finds no object",
                "correct it",
            ],
        ),
        (
            "replacements: [{sourceValue: x, targets: [{select: {kind: ConfigMap}, reject: [{name: a}]}]}]\n",
            [
                "/over/kustomization.yaml: replacements[0]: targets[0]: ",
                "(kind=ConfigMap) finds no object, or reject",
                "correct it",
            ],
        ),
        (
            "transformers: ['{apiVersion: builtin, kind: PatchTransformer, metadata: {name: t}, target: {name: b}, patch: \
             \"[{\\\"op\\\": \\\"add\\\", \\\"path\\\": \\\"/x\\\", \\\"value\\\": 1}]\"}']\n",
            [
                "/over/kustomization.yaml: plugin PatchTransformer.builtin.[noGrp]/t.[noNs]: ",
                "(name=b) selects no",
                "correct",
            ],
        ),
    ] {
        warns(&[("over/kustomization.yaml", &with(rest)), ("over/a.yaml", object)], &parts);
    }
    let fits =
        "patches: [{target: {name: a}, patch: '[{\"op\": \"add\", \"path\": \"/x\", \"value\": 1}]'}]\n";
    is_quiet(&[("over/kustomization.yaml", &with(fits)), ("over/a.yaml", object)]);
}
