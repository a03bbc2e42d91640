//! Products of two large inputs: cheap where they can be indexed, counted where each pair must be visited.

use std::collections::BTreeMap;

use plumb_filetree::RelPath;
use plumb_kustomize::{ErrorKind, Limits, Options, build};

use crate::hostile::{A, built_with, charged, cheap, many, objects, reject, tree};

#[test]
fn many_patches_by_name_among_many_objects_are_cheap() {
    let objects = objects(2_000);
    let patches = many(500, |index| {
        format!("kind: ConfigMap\napiVersion: v1\nmetadata: {{name: c{index}}}\ndata: {{k: v}}\n---\n")
    });
    let settings = "resources: [a.yaml]\npatchesStrategicMerge: [p.yaml]\n";
    cheap(&[("kustomization.yaml", settings), ("a.yaml", &objects), ("p.yaml", &patches)], 50_000);
    cheap(
        &[
            ("kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n"),
            ("a.yaml", &objects),
            ("p.yaml", &patches),
        ],
        50_000,
    );
}

#[test]
fn many_patches_that_visit_many_objects_are_charged() {
    let objects = objects(1_000);
    for patch in [
        "- {patch: '[]', target: {kind: None}}\n",
        "- {patch: '[]', target: {labelSelector: a=b}}\n",
        // No object is read, but the transformer is recorded in each.
        "- {patch: '{kind: ConfigMap, apiVersion: v1, metadata: {name: c0}}'}\n",
    ] {
        let text = format!("resources: [a.yaml]\npatches:\n{}", patch.repeat(1_000));
        charged(&[("kustomization.yaml", &text), ("a.yaml", &objects)], 50_000);
    }
    // Each renames, so that all names are looked up again.
    let patch = "- {patch: '{kind: ConfigMap, apiVersion: v1, metadata: {name: c0}}', options: {allowNameChange: true}}\n";
    let text = format!("resources: [a.yaml]\npatches:\n{}", patch.repeat(300));
    charged(&[("kustomization.yaml", &text), ("a.yaml", &objects)], 200_000);
}

#[test]
fn many_patches_of_one_large_object_are_paid_for() {
    let object = format!("{A}list: [{}]\n", "1,".repeat(20_000));
    for patch in [
        "- {patch: '{kind: ConfigMap, apiVersion: v1, metadata: {name: a}, data: {k: v}}'}\n",
        "- {patch: '{kind: ConfigMap, apiVersion: v1, metadata: {name: a}, data: {k: v}}', target: {name: a}}\n",
        "- {patch: '[{\"op\": \"add\", \"path\": \"/x\", \"value\": 1}]', target: {name: a}}\n",
    ] {
        let text = format!("resources: [a.yaml]\npatches:\n{}", patch.repeat(100));
        charged(&[("kustomization.yaml", &text), ("a.yaml", &object)], 50_000);
    }
}

#[test]
fn many_new_keys_for_a_large_map_are_put_in_at_once() {
    let map = |letter: &str| many(30_000, |index| format!("  {letter}{index:05}: v\n"));
    let object = format!("{A}data:\n{}", map("b"));
    let patch = format!("{A}data:\n{}", map("a"));
    let nulls =
        patch.replace("a0", "b0").replace("a1", "b1").replace("a2", "b2").replace(": v\n", ": null\n");
    let settings =
        "resources: [a.yaml]\npatches: [{path: p.yaml}, {path: n.yaml}]\ncommonAnnotations: {a: b}\n";
    let files = [
        ("kustomization.yaml", settings),
        ("a.yaml", object.as_str()),
        ("p.yaml", &patch),
        ("n.yaml", &nulls),
    ];
    let build = cheap(&files, 2_000_000);
    assert!(build.to_yaml().contains("a29999") && !build.to_yaml().contains("b29999"));
    // A JSON patch puts them in one after the other, and each moves what follows.
    let operations = many(5_000, |index| format!("- {{op: add, path: /data/a{index:05}, value: v}}\n"));
    let settings = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {name: a}}]\n";
    reject(
        &[("kustomization.yaml", settings), ("a.yaml", &object), ("p.yaml", &operations)],
        ErrorKind::OverLimit,
        "moves or copies more than 200000",
    );
}

#[test]
fn many_images_of_many_containers_are_paid_for() {
    let containers = "{image: x}, ".repeat(1_000);
    let pod = format!("kind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{containers}]}}\n");
    let images = many(200, |index| format!("- {{name: i{index}, newTag: t}}\n"));
    let text = format!("resources: [a.yaml]\nimages:\n{images}");
    charged(&[("kustomization.yaml", &text), ("a.yaml", &pod)], 200_000);
    let text = format!("resources: [a.yaml]\nimages:\n{}", images.repeat(5));
    charged(&[("kustomization.yaml", &text), ("a.yaml", &objects(1_000))], 200_000);
}

#[test]
fn many_labels_of_many_objects_are_paid_for() {
    let pairs = many(500, |index| format!("l{index}: v, "));
    for field in ["commonLabels", "commonAnnotations"] {
        let text = format!("resources: [a.yaml]\n{field}: {{{pairs}}}\n");
        charged(&[("kustomization.yaml", &text), ("a.yaml", &objects(500))], 100_000);
    }
    let entries = many(500, |index| format!("- {{pairs: {{l{index}: v}}}}\n"));
    let text = format!("resources: [a.yaml]\nlabels:\n{entries}");
    charged(&[("kustomization.yaml", &text), ("a.yaml", &objects(500))], 100_000);
}

#[test]
fn keyed_lists_with_equal_keys_are_limited_and_paid_for() {
    let service = |ports: &str| {
        format!("kind: Service\napiVersion: v1\nmetadata: {{name: s}}\nspec: {{ports: [{ports}]}}\n")
    };
    let settings = "resources: [a.yaml]\npatches: [{path: p.yaml}]\n";
    let many_ports = service(&"{port: 1}, ".repeat(3_000));
    reject(
        &[("kustomization.yaml", settings), ("a.yaml", &many_ports), ("p.yaml", &service("{port: 1}"))],
        ErrorKind::OverLimit,
        "too many to be merged where keys are missing or repeated",
    );
    // Lists that are each small enough, many of them in one object.
    let container = |index: usize| format!("{{name: c{index}, env: [{}]}}, ", "{name: a}, ".repeat(400));
    let pod = |containers: &str| {
        format!("kind: Pod\napiVersion: v1\nmetadata: {{name: p}}\nspec: {{containers: [{containers}]}}\n")
    };
    reject(
        &[
            ("kustomization.yaml", settings),
            ("a.yaml", &pod(&many(60, container))),
            ("p.yaml", &pod("{name: c0}")),
        ],
        ErrorKind::OverLimit,
        "too many to be merged where keys are missing or repeated",
    );
    // Many patches of one such list, whose items have different keys and all stay.
    let ports = many(250, |index| format!("{{port: {index}}}, {{port: {}, protocol: TCP}}, ", 1_000 + index));
    let patch = "- {patch: '{kind: Service, apiVersion: v1, metadata: {name: s}}'}\n";
    let text = format!("resources: [a.yaml]\npatches:\n{}", patch.repeat(30));
    charged(&[("kustomization.yaml", &text), ("a.yaml", &service(&ports))], 50_000);
}

#[test]
fn keyed_lists_whose_keys_differ_are_merged_in_one_pass() {
    let ports = |from: usize| many(5_000, |index| format!("{{port: {}}}, ", from + index));
    let service = |ports: &str| {
        format!("kind: Service\napiVersion: v1\nmetadata: {{name: s}}\nspec: {{ports: [{ports}]}}\n")
    };
    let settings = "resources: [a.yaml]\npatches: [{path: p.yaml}]\n";
    let (old, patch) = (service(&ports(0)), service(&ports(2_500)));
    cheap(&[("kustomization.yaml", settings), ("a.yaml", &old), ("p.yaml", &patch)], 200_000);
}

#[test]
fn many_references_to_one_name_are_cheap() {
    let names = "conf, ".repeat(100_000);
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r}}\nrules: [{{resourceNames: [{names}]}}]\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: conf}}\n"
    );
    let build = cheap(
        &[("kustomization.yaml", "resources: [a.yaml]\nnamePrefix: p-\n"), ("a.yaml", &role)],
        1_000_000,
    );
    assert!(build.to_yaml().contains("- p-conf\n"));
}

#[test]
fn many_references_to_a_name_that_many_had_are_paid_for() {
    let namespaces = many(1_000, |index| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: conf, namespace: n{index}}}\n")
    });
    let names = "conf, ".repeat(1_000);
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r}}\nrules: [{{resourceNames: \
         [{names}]}}]\n{namespaces}"
    );
    charged(&[("kustomization.yaml", "resources: [a.yaml]\nnamePrefix: p-\n"), ("a.yaml", &role)], 200_000);
}

#[test]
fn accounts_of_other_namespaces_are_paid_for() {
    let accounts = many(1_000, |index| {
        format!("---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: s{index}, namespace: other}}\n")
    });
    // None of them can be reached from here, because the group is not that of accounts.
    let subject = "{kind: Group, name: s1, namespace: other}, ".repeat(1_000);
    let binding = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: b, namespace: own}}\nsubjects: \
         [{subject}]\n{accounts}"
    );
    charged(
        &[("kustomization.yaml", "resources: [a.yaml]\nnamePrefix: p-\n"), ("a.yaml", &binding)],
        200_000,
    );
}

#[test]
fn a_field_of_every_kind_is_paid_for_at_every_kind() {
    let specs = many(3_000, |index| format!("  - {{kind: K{index}, path: spec/a}}\n"));
    let references = format!("nameReference:\n- kind: ConfigMap\n  fieldSpecs:\n{specs}");
    let kinds = many(1_000, |index| format!("---\nkind: Z{index}\nmetadata: {{name: x}}\n"));
    let settings = "resources: [a.yaml]\nconfigurations: [c.yaml]\n";
    charged(&[("kustomization.yaml", settings), ("a.yaml", &kinds), ("c.yaml", &references)], 100_000);
    // A list is walked through by each of them.
    let specs = many(1_000, |index| format!("- {{path: spec/a{index}}}\n"));
    for transformer in
        ["images", "commonAnnotations", "namePrefix", "namespace", "varReference", "commonLabels"]
    {
        let configuration = format!("{transformer}:\n{specs}");
        let object = format!("{A}spec: [{}]\n", "{}, ".repeat(5_000));
        let var = "{name: V, objref: {apiVersion: v1, kind: ConfigMap, name: a}}";
        let settings = format!(
            "resources: [a.yaml]\nconfigurations: [c.yaml]\nimages: [{{name: x}}]\ncommonAnnotations: {{a: b}}\nnamePrefix: \
             p-\nnamespace: ns\ncommonLabels: {{a: b}}\nvars: [{var}]\n"
        );
        charged(
            &[("kustomization.yaml", &settings), ("a.yaml", &object), ("c.yaml", &configuration)],
            30_000,
        );
    }
}

#[test]
fn a_large_configuration_is_paid_for_in_every_kustomization() {
    let specs = many(4_000, |index| format!("- {{path: spec/a{index}}}\n"));
    let configuration = format!("images:\n{specs}");
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages: []\nnamePrefix: ''\nlabels: \
                     [{pairs: {}}]\n";
    let text =
        format!("resources: [a.yaml]\nconfigurations: [c.yaml]\ncomponents: [{}]\n", "part, ".repeat(200));
    charged(
        &[
            ("kustomization.yaml", &text),
            ("a.yaml", A),
            ("c.yaml", &configuration),
            ("part/kustomization.yaml", component),
        ],
        200_000,
    );
    let specs = many(6_000, |index| format!("- {{path: spec/a{index}}}\n"));
    let configuration = format!("images:\n{specs}");
    let settings = "resources: [a.yaml]\nconfigurations: [c.yaml]\n";
    reject(
        &[("kustomization.yaml", settings), ("a.yaml", A), ("c.yaml", &configuration)],
        ErrorKind::OverLimit,
        "more than 5000 field specifications",
    );
}

#[test]
fn long_chains_of_prefixes_are_built_within_the_steps() {
    let mut files = Vec::new();
    let mut directory = String::new();
    for _ in 0..63 {
        files.push((
            format!("{directory}kustomization.yaml"),
            "resources: [d]\nnamePrefix: p\nnameSuffix: s\nnamespace: ns\n".to_owned(),
        ));
        directory += "d/";
    }
    files.push((format!("{directory}kustomization.yaml"), "resources: [a.yaml]\n".to_owned()));
    files.push((format!("{directory}a.yaml"), objects(100)));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let build = cheap(&files, 500_000);
    assert_eq!(
        build.objects[0].node["metadata"]["name"].as_str(),
        Some(&*format!("{}c0{}", "p".repeat(63), "s".repeat(63)))
    );
}

#[test]
fn many_vars_are_resolved_within_the_steps() {
    let vars = many(1_000, |index| {
        format!("- {{name: V{index}, objref: {{apiVersion: v1, kind: ConfigMap, name: c{index}}}}}\n")
    });
    let uses = many(1_000, |index| format!("  k{index}: $(V{index}) $(V0)\n"));
    let pod = format!("---\napiVersion: v1\nkind: Pod\nmetadata:\n name: p\n annotations:\n{uses}");
    let text = format!("resources: [a.yaml]\nnamePrefix: p-\nvars:\n{vars}");
    let objects = format!("{}{pod}", objects(1_000));
    let build = cheap(&[("kustomization.yaml", &text), ("a.yaml", &objects)], 500_000);
    assert!(build.to_yaml().contains("k999: p-c999 p-c0\n"));
}

#[test]
fn many_generators_and_many_keys_are_built_within_the_steps() {
    let literals = many(5_000, |index| format!("k{index}=v, "));
    let generators = many(2_000, |index| format!("- {{name: g{index}, literals: [a=b]}}\n"));
    let merges = many(500, |index| format!("- {{name: g{index}, behavior: merge, literals: [c=d]}}\n"));
    let text =
        format!("resources: [base]\nconfigMapGenerator:\n- {{name: many, literals: [{literals}]}}\n{merges}");
    let base = format!("configMapGenerator:\n{generators}");
    let build = cheap(&[("kustomization.yaml", &text), ("base/kustomization.yaml", &base)], 200_000);
    assert_eq!(build.objects.len(), 2_001);
}

#[test]
fn many_environment_lines_and_repeated_keys_are_found_fast() {
    let lines = many(50_000, |index| format!("K{index}=v\n"));
    let settings = "configMapGenerator: [{name: c, envs: [e]}]\n";
    cheap(&[("kustomization.yaml", settings), ("e", &lines)], 10_000);
    let twice = format!("{lines}K49999=x\n");
    reject(&[("kustomization.yaml", settings), ("e", &twice)], ErrorKind::Invalid, "/e:50001:1");
}

#[test]
fn an_order_of_many_kinds_is_looked_up() {
    let kinds = many(20_000, |index| format!("K{index}, "));
    let text = format!(
        "resources: [a.yaml]\nsortOptions: {{order: legacy, legacySortOptions: {{orderFirst: [{kinds}], orderLast: \
         [{kinds}]}}}}\n"
    );
    cheap(&[("kustomization.yaml", &text), ("a.yaml", &objects(1_000))], 10_000);
}

#[test]
fn notes_of_transformers_grow_within_the_steps() {
    let patches = "- {patch: '{kind: ConfigMap, apiVersion: v1, metadata: {name: c0}}'}\n".repeat(1_000);
    let text = format!("resources: [a.yaml]\nbuildMetadata: [transformerAnnotations]\npatches:\n{patches}");
    charged(&[("kustomization.yaml", &text), ("a.yaml", &objects(100))], 1_000_000);
}

#[test]
fn a_hostile_build_in_one_thread_does_not_change_that_of_another() {
    let good = tree(&[("kustomization.yaml", "resources: [a.yaml]\nnamePrefix: p-\n"), ("a.yaml", A)]);
    let options = Options::default();
    let before = build(&good, &RelPath::root(), &options).unwrap();
    for _ in 0..3 {
        let limits = Limits { steps_max: 10, ..Limits::default() };
        assert!(
            built_with(&[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &objects(500))], limits)
                .is_err()
        );
        let again = build(&good, &RelPath::root(), &options).unwrap();
        assert_eq!(before, again);
    }
    let kinds: BTreeMap<&str, usize> =
        before.objects.iter().map(|built| (built.node["kind"].as_str().unwrap(), 1)).collect();
    assert_eq!(kinds.len(), 1);
}
