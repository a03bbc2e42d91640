//! Depth: input deeper than the limit is rejected where it is read, and other input fits on a small stack.

use plumb_filetree::{MemoryTree, RelPath};
use plumb_kustomize::{ErrorKind, Options, build};
use plumb_manifests::yaml;

use crate::hostile::texts::reject_everywhere;
use crate::hostile::{A, built, many, reject, tree};

/// Four times the limit: no reader gets that far, and code without a limit is not crashed.
const DEEP: usize = 2_000;

#[test]
fn nesting_is_rejected_by_every_reader() {
    let rejected = ["nested deeper than 500 levels", "limit", "cannot be a key here"];
    for text in [
        "[".repeat(DEEP),
        format!("a: {}", "[".repeat(DEEP)),
        format!("a: {}", "{a: ".repeat(DEEP)),
        "- ".repeat(DEEP),
        "? ".repeat(DEEP),
        many(1_000, |level| format!("{}a:\n", " ".repeat(level))),
        format!("a: {}\n", "{? ".repeat(DEEP)),
    ] {
        reject_everywhere(&text, &rejected);
    }
    // By aliases of aliases, it takes more copies than levels.
    let chain = many(600, |level| match level {
        0 => "a0: &a0 [x]\n".to_owned(),
        level => format!("a{level}: &a{level} [*a{}]\n", level - 1),
    });
    reject_everywhere(&chain, &["nested deeper than 500 levels", "document contains excessive aliasing"]);
}

#[test]
fn nesting_is_rejected_in_texts_inside_of_the_kustomization_file() {
    let deep = ["[".repeat(DEEP), "{\"a\":".repeat(DEEP), "- ".repeat(DEEP)];
    for text in &deep {
        for settings in [
            format!("resources: [a.yaml]\npatches: [{{patch: '{text}', target: {{kind: ConfigMap}}}}]\n"),
            format!("resources: [a.yaml]\npatchesStrategicMerge: ['{text}']\n"),
            format!("resources: [a.yaml]\ntransformers: ['{text}']\n"),
            format!("resources: [a.yaml]\ngenerators: ['{text}']\n"),
            format!(
                "resources: [a.yaml]\nlabels: [{{pairs: {{a: b}}, fields: [{{path: '{text}'}}]}}]\nnamePrefix: {text}\n"
            ),
            format!("resources: [a.yaml]\npatches: [{{patch: '[]', target: {{labelSelector: '{text}'}}}}]\n"),
            format!(
                "resources: [a.yaml]\npatches: [{{patch: '[]', target: {{name: '{}'}}}}]\n",
                "(".repeat(DEEP)
            ),
            format!(
                "resources: [a.yaml]\npatches: [{{patch: '[]', target: {{name: '{}a{}'}}}}]\n",
                "(".repeat(DEEP),
                ")".repeat(DEEP)
            ),
        ] {
            let error = built(&[("kustomization.yaml", &settings), ("a.yaml", A)]).unwrap_err().to_string();
            // A text that is short enough for a path is taken for one.
            let is_reported = error.starts_with("/kustomization.yaml") || error.contains("no such file");
            assert!(is_reported, "{}", &error[..error.len().min(300)]);
        }
    }
}

#[test]
fn nesting_is_rejected_in_json_patches_and_their_values() {
    let settings = "resources: [a.yaml]\npatches: [{path: p, target: {kind: ConfigMap}}]\n";
    let value = |open: &str, close: &str, depth: usize| {
        format!(
            "[{{\"op\": \"add\", \"path\": \"/data\", \"value\": {}1{}}}]",
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    for patch in [value("[", "]", DEEP), value("{\"a\":", "}", DEEP), "[".repeat(DEEP)] {
        let files = [("kustomization.yaml", settings), ("a.yaml", A), ("p", patch.as_str())];
        reject(
            &files,
            ErrorKind::Invalid,
            "/p: patches[0]: unable to parse SM or JSON patch from [path: \"p\"]: no JSON: recursion limit exceeded at line 1 column",
        );
    }
    // One operation after the other.
    let steps =
        many(600, |level| format!("- {{op: add, path: '/data{}', value: {{}}}}\n", "/a".repeat(level)));
    let files = [("kustomization.yaml", settings), ("a.yaml", A), ("p", steps.as_str())];
    reject(&files, ErrorKind::OverLimit, "nested deeper than 500 levels");
    // One value around the other; the work for it is limited, too.
    let moves = many(600, |_| {
        "- {op: add, path: /new, value: {}}\n- {op: move, from: /data, path: /new/a}\n- {op: move, from: /new, path: /data}\n"
            .to_owned()
    });
    let moves = format!("- {{op: add, path: /data, value: {{}}}}\n{moves}");
    let files = [("kustomization.yaml", settings), ("a.yaml", A), ("p", moves.as_str())];
    reject(&files, ErrorKind::OverLimit, "move operation does not apply");
}

#[test]
fn nesting_is_rejected_in_texts_that_replacements_parse() {
    for text in ["[".repeat(DEEP), format!("a: {}", "{a: ".repeat(DEEP)), "{\"a\":".repeat(DEEP)] {
        let object = format!("{A}data: {{t: '{text}'}}\n");
        let settings = "resources: [a.yaml]\nreplacements:\n- sourceValue: x\n  targets: [{select: {kind: ConfigMap}, \
                        fieldPaths: [data.t.a.b]}]\n";
        assert!(built(&[("kustomization.yaml", settings), ("a.yaml", &object)]).is_err());
    }
}

#[test]
fn nesting_is_rejected_in_annotations_that_are_read() {
    for name in ["config.kubernetes.io/origin", "alpha.config.kubernetes.io/transformations"] {
        let object = format!(
            "kind: X\nmetadata: {{name: x, annotations: {{config.kubernetes.io/origin: 'path: a', {name}: '{}'}}}}\n",
            "[".repeat(DEEP)
        );
        let object = object.replace(
            "config.kubernetes.io/origin: 'path: a', config.kubernetes.io/origin",
            "config.kubernetes.io/origin",
        );
        let settings = "resources: [a.yaml]\nnamePrefix: p-\nbuildMetadata: [originAnnotations, transformerAnnotations]\n";
        // The file's own origin takes the place of one that is written there.
        let _ = built(&[("kustomization.yaml", settings), ("a.yaml", &object)]);
        let settings = "resources: [a.yaml]\ntransformers: [t.yaml]\nbuildMetadata: [originAnnotations]\n";
        let transformer =
            "apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: t}\nprefix: p-\nfieldSpecs: []\n";
        let _ = built(&[("kustomization.yaml", settings), ("a.yaml", &object), ("t.yaml", transformer)]);
    }
}

/// Runs on a stack of one mebibyte, half of what threads have.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    on_a_stack(1 << 20, run);
}

fn on_a_stack(bytes: usize, run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(bytes).spawn(run).unwrap().join().unwrap();
}

fn nested(open: &str, middle: &str, close: &str, depth: usize) -> String {
    format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
}

/// A build that sends objects of this depth through everything.
fn deep_tree(open: &str, close: &str, depth: usize) -> MemoryTree {
    let object = format!("{A}data: {}\n", nested(open, "$(V)", close, depth));
    let patch = format!("{A}data: {}\n", nested(open, "2", close, depth));
    let json = "- {op: copy, from: /data, path: /more}\n- {op: test, path: /more, value: 1}\n";
    let json =
        json.replace("- {op: test, path: /more, value: 1}\n", "- {op: move, from: /more, path: /again}\n");
    let steps = ".a".repeat(depth);
    let transformer = "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {}\n";
    let var = "objref: {apiVersion: v1, kind: ConfigMap, name: a}";
    let replacements = format!(
        "- source: {{kind: ConfigMap, fieldPath: data}}\n  targets: [{{select: {{kind: X}}, fieldPaths: [spec.copy], options: \
         {{create: true}}}}]\n- sourceValue: v\n  targets: [{{select: {{kind: X}}, fieldPaths: ['spec{steps}'], options: \
         {{create: true}}}}]\n"
    );
    let settings = format!(
        "resources: [a.yaml, x.yaml]\npatches:\n- path: p.yaml\n- {{path: p.yaml, target: {{kind: ConfigMap}}}}\n- {{path: \
         j.yaml, target: {{name: a}}}}\nimages: [{{name: x, newTag: z}}]\nnamespace: ns\nnamePrefix: p-\ncommonLabels: {{a: \
         b}}\nreplacements: [{{path: r.yaml}}]\nvalidators: [t.yaml]\nvars: [{{name: V, {var}, fieldref: {{fieldPath: \
         metadata.name}}}}]\nconfigurations: [c.yaml]\nbuildMetadata: [originAnnotations, transformerAnnotations]\n"
    );
    // Vars are put into maps and texts only.
    let configuration = match open {
        "[" => String::new(),
        _ => format!("varReference: [{{path: 'data{}'}}]\n", "/a".repeat(90)),
    };
    tree(&[
        ("kustomization.yaml", &settings),
        ("a.yaml", &object),
        ("x.yaml", "kind: X\nmetadata: {name: x}\nspec: {}\n"),
        ("p.yaml", &patch),
        ("j.yaml", &json),
        ("r.yaml", &replacements),
        ("t.yaml", transformer),
        ("c.yaml", &configuration),
    ])
}

#[test]
fn the_deepest_objects_that_are_taken_fit_on_a_small_stack() {
    for (open, close, depth) in [("{a: ", "}", 490), ("[", "]", 490)] {
        on_a_small_stack(move || {
            let tree = deep_tree(open, close, depth);
            let build = build(&tree, &RelPath::root(), &Options::default()).unwrap();
            assert!(build.to_yaml().len() > depth);
            for built in &build.objects {
                let object = built.to_object().unwrap();
                let node = yaml::Node::from(object.value());
                assert!(node == node.clone() && format!("{node:?}").len() > 10);
            }
        });
    }
}

#[test]
fn the_deepest_texts_that_are_read_fit_on_a_small_stack() {
    on_a_small_stack(|| {
        for text in
            [nested("[", "1", "]", 499), nested("{a: ", "1", "}", 499), format!("{}1\n", "- ".repeat(499))]
        {
            let documents = yaml::parse(&text, &yaml::Limits::default()).unwrap();
            let node = &documents[0].node;
            assert_eq!(node.count(), 500);
            assert_eq!(yaml::parse(&yaml::to_string(node), &yaml::Limits::default()).unwrap()[0].node, *node);
            let json = yaml::parse_settings(&text, &yaml::Limits::default()).unwrap();
            assert_eq!(yaml::Node::from(json), *node);
        }
        for text in ["[".repeat(DEEP), "- ".repeat(DEEP), "{a: ".repeat(DEEP)] {
            assert!(yaml::parse(&text, &yaml::Limits::default()).is_err());
            assert!(yaml::parse_settings(&text, &yaml::Limits::default()).is_err());
        }
    });
}

#[test]
fn the_deepest_chain_of_kustomizations_fits_on_a_small_stack() {
    on_a_small_stack(|| {
        for field in ["resources", "components", "transformers", "generators"] {
            let mut files = Vec::new();
            let mut directory = String::new();
            for _ in 0..63 {
                let head = if field == "components" && !directory.is_empty() {
                    "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
                } else {
                    ""
                };
                files.push((
                    format!("{directory}kustomization.yaml"),
                    format!("{head}{field}: [d]\nnamePrefix: p-\n"),
                ));
                directory += "d/";
            }
            let last = if field == "components" {
                "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: p-\n"
            } else {
                "namePrefix: p-\n"
            };
            files.push((format!("{directory}kustomization.yaml"), last.to_owned()));
            let files: Vec<(&str, &str)> =
                files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            built(&files).unwrap_or_else(|error| panic!("{field}: {error}"));
        }
    });
}

#[test]
fn keyed_lists_inside_each_other_fit_on_the_stack_of_a_thread() {
    let schema = "definitions:\n  Foo:\n    x-kubernetes-group-version-kind: [{group: e.com, version: v1, kind: Foo}]\n    \
                  properties: {spec: {$ref: '#/definitions/Item'}}\n  Item:\n    properties:\n      l: {type: array, items: \
                  {$ref: '#/definitions/Item'}, x-kubernetes-patch-strategy: merge, x-kubernetes-patch-merge-key: name}\n";
    let settings = "resources: [a.yaml]\nopenapi: {path: s.yaml}\npatches: [{path: p.yaml}]\n";
    // Each in one pass; then with items that have the same key, step by step.
    for open in ["{name: a, l: [", "{name: a, l: [{name: a}, "] {
        on_a_stack(2 << 20, move || {
            let object = |end: &str| {
                let spec = nested(open, end, "]}", 245);
                format!("apiVersion: e.com/v1\nkind: Foo\nmetadata: {{name: f}}\nspec: {spec}\n")
            };
            let (object, patch) = (object("{name: a, v: 1}"), object("{name: a, v: 2}"));
            let files = [
                ("kustomization.yaml", settings),
                ("s.yaml", schema),
                ("a.yaml", &object),
                ("p.yaml", &patch),
            ];
            // Of items with the same key, kustomize loses some.
            let is_kept = built(&files).unwrap().to_yaml().contains("v: 2");
            assert_eq!(is_kept, !open.contains("}, "));
        });
    }
}
