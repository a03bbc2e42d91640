//! Hostile patterns: they are matched in linear time, within a size limit, and large ones are counted.

use plumb_kustomize::ErrorKind;

use crate::hostile::{A, built, charged, cheap, many, objects, reject};

fn selecting(pattern: &str) -> String {
    format!("resources: [a.yaml]\npatches: [{{patch: '[]', target: {{name: '{pattern}'}}}}]\n")
}

#[test]
fn nested_quantifiers_are_matched_in_linear_time() {
    let name = format!("{}!", "a".repeat(2_000));
    let object = format!("kind: X\nmetadata: {{name: {name}}}\n");
    for pattern in ["(a+)+", "(a|a)*", "(a|aa)+b", "(.*)*x", "((a*)*)*y", "(a?){50}a{50}"] {
        cheap(&[("kustomization.yaml", &selecting(pattern)), ("a.yaml", &object)], 10_000);
    }
}

#[test]
fn oversized_repetitions_are_rejected_wherever_a_pattern_is_accepted() {
    let bomb = "((a{100}){100}){100}";
    for field in ["group", "version", "kind", "name", "namespace"] {
        let text =
            format!("resources: [a.yaml]\npatches: [{{patch: '[]', target: {{{field}: '{bomb}'}}}}]\n");
        reject(
            &[("kustomization.yaml", &text), ("a.yaml", A)],
            ErrorKind::OverLimit,
            "takes more than 1048576 bytes",
        );
        let text = format!(
            "resources: [a.yaml]\nreplacements: [{{sourceValue: x, targets: [{{select: {{{field}: '{bomb}'}}}}]}}]\n"
        );
        reject(
            &[("kustomization.yaml", &text), ("a.yaml", A)],
            ErrorKind::OverLimit,
            "takes more than 1048576 bytes",
        );
        let text = format!(
            "resources: [a.yaml]\nreplacements: [{{sourceValue: x, targets: [{{select: {{kind: ConfigMap}}, reject: \
             [{{{field}: '{bomb}'}}]}}]}}]\n"
        );
        reject(
            &[("kustomization.yaml", &text), ("a.yaml", A)],
            ErrorKind::OverLimit,
            "takes more than 1048576 bytes",
        );
    }
    let text = format!(
        "resources: [a.yaml]\nreplacements: [{{sourceValue: x, targets: [{{select: {{kind: ConfigMap}}, fieldPaths: \
         ['d.[k={bomb}]']}}]}}]\n"
    );
    reject(
        &[("kustomization.yaml", &text), ("a.yaml", A)],
        ErrorKind::OverLimit,
        "takes more than 1048576 bytes",
    );
}

#[test]
fn invalid_patterns_are_rejected_and_image_names_taken_literally() {
    for pattern in ["(", "[", "a{2,1}", "*", "(?<n", "\\", "(?=a)", "\\1", "[z-a]", "(?P<a>x)(?P<a>y)"] {
        reject(
            &[("kustomization.yaml", &selecting(pattern)), ("a.yaml", A)],
            ErrorKind::Invalid,
            "error parsing regexp",
        );
        let text = format!("resources: [a.yaml]\nimages: [{{name: '{pattern}', newTag: x}}]\n");
        assert!(built(&[("kustomization.yaml", &text), ("a.yaml", A)]).is_ok(), "{pattern}");
    }
    for pattern in
        ["((a{100}){100}){100}".to_owned(), "(".repeat(100_000), "[".repeat(100_000), "a|".repeat(100_000)]
    {
        let text = format!("resources: [a.yaml]\nimages: [{{name: '{pattern}', newTag: x}}]\n");
        match built(&[("kustomization.yaml", &text), ("a.yaml", A)]) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::OverLimit, "{error}"),
        }
    }
}

#[test]
fn a_large_pattern_is_paid_for_at_every_object() {
    let pattern = "([ab]{0,40}c?){0,60}x";
    let objects =
        many(300, |index| format!("---\nkind: X\nmetadata: {{name: '{}{index}'}}\n", "ab".repeat(100)));
    charged(&[("kustomization.yaml", &selecting(pattern)), ("a.yaml", &objects)], 20_000);
    let containers = "{image: ababababababababababab}, ".repeat(300);
    let pod = format!("kind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{containers}]}}\n");
    let text = format!("resources: [a.yaml]\nimages: [{{name: '{pattern}', newTag: x}}]\n");
    charged(&[("kustomization.yaml", &text), ("a.yaml", &pod)], 20_000);
    let text = format!(
        "resources: [a.yaml]\nreplacements: [{{sourceValue: x, targets: [{{select: {{name: '{pattern}'}}}}]}}]\n"
    );
    charged(&[("kustomization.yaml", &text), ("a.yaml", &objects)], 20_000);
    let text = format!(
        "resources: [a.yaml]\nreplacements: [{{sourceValue: x, targets: [{{select: {{kind: Pod}}, fieldPaths: \
         ['spec.containers.[image={pattern}].image']}}]}}]\n"
    );
    charged(&[("kustomization.yaml", &text), ("a.yaml", &pod)], 20_000);
}

#[test]
fn a_pattern_for_every_patch_is_paid_for() {
    let patches = many(300, |index| format!("- {{patch: '[]', target: {{name: 'c.*{index}'}}}}\n"));
    let text = format!("resources: [a.yaml]\npatches:\n{patches}");
    charged(&[("kustomization.yaml", &text), ("a.yaml", A)], 10_000);
}

#[test]
fn a_label_selector_is_paid_for_by_its_values_and_the_labels() {
    let values = many(1_000, |index| format!("v{index},"));
    let text = format!(
        "resources: [a.yaml]\npatches: [{{patch: '[]', target: {{labelSelector: 'a in ({values}x)'}}}}]\n"
    );
    charged(&[("kustomization.yaml", &text), ("a.yaml", &objects(200))], 100_000);
    let labels = many(5_000, |index| format!("l{index}: v, "));
    let object = format!("kind: X\nmetadata: {{name: x, labels: {{{labels}}}}}\n");
    let patches = "- {patch: '[]', target: {labelSelector: 'l1=v'}}\n".repeat(100);
    let text = format!("resources: [a.yaml]\npatches:\n{patches}");
    charged(&[("kustomization.yaml", &text), ("a.yaml", &object)], 200_000);
}

#[test]
fn invalid_selectors_are_rejected() {
    for selector in
        ["a in (", "a in )", "((", "a=b,,", "!!a", "a>>1", "a in (x) y", "=", "\u{2028}=b", "a\u{0}"]
    {
        let text = format!(
            "resources: [a.yaml]\npatches: [{{patch: '[]', target: {{labelSelector: {selector:?}}}}}]\n"
        );
        let text = text.replace("\\u{2028}", "\\u2028");
        let error = built(&[("kustomization.yaml", &text), ("a.yaml", A)]).unwrap_err().to_string();
        assert!(error.contains("unable to parse selector"), "{selector:?}: {error}");
    }
    let long = "a=b,".repeat(100_000);
    let text =
        format!("resources: [a.yaml]\npatches: [{{patch: '[]', target: {{labelSelector: '{long}x=y'}}}}]\n");
    let _ = built(&[("kustomization.yaml", &text), ("a.yaml", A)]);
}
