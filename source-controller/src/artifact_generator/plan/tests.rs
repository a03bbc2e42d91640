//! Specs of generators and what they are planned as, or why not.

use serde_json::{Value, json};

use super::*;

fn generator(edit: impl FnOnce(&mut Value)) -> ArtifactGenerator {
    let mut object = json!({
        "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
        "metadata": { "name": "app", "namespace": "apps" },
        "spec": {
            "sources": [{ "alias": "repo", "kind": "GitRepository", "name": "mono" }],
            "artifacts": [{ "name": "web", "copy": [{ "from": "@repo/deploy/*.yaml", "to": "@artifact/" }] }],
        },
    });
    edit(&mut object["spec"]);
    serde_json::from_value(object).unwrap()
}

#[track_caller]
fn rejected(edit: impl FnOnce(&mut Value), expect: &str) {
    assert_eq!(plan(&generator(edit), true).unwrap_err().to_string(), expect);
}

fn copied(from: &str, to: &str) -> Result<Copy, GeneratorError> {
    let object = generator(|spec| spec["artifacts"][0]["copy"][0] = json!({ "from": from, "to": to }));
    Ok(plan(&object, true)?.outputs.remove(0).copies.remove(0))
}

#[test]
fn what_contradicts_itself_is_named() {
    let source = json!({ "alias": "repo", "kind": "Bucket", "name": "x" });
    rejected(
        |spec| spec["sources"].as_array_mut().unwrap().push(source),
        "duplicate source alias 'repo' found",
    );
    rejected(
        |spec| {
            let first = spec["artifacts"][0].clone();
            spec["artifacts"].as_array_mut().unwrap().push(first);
        },
        "duplicate artifact name 'web' found",
    );
    rejected(
        |spec| spec["artifacts"][0]["revision"] = json!("@other"),
        "artifact web revision source alias 'other' not found",
    );
    rejected(
        |spec| spec["artifacts"][0]["originRevision"] = json!("@other"),
        "artifact web originRevision source alias 'other' not found",
    );
    rejected(
        |spec| spec["artifacts"][0]["copy"][0]["from"] = json!("@other/x"),
        "artifact web copy source alias 'other' not found",
    );
    rejected(
        |spec| spec["artifacts"][0]["copy"][0]["exclude"] = json!(["{a}".repeat(400)]),
        "artifact web: invalid exclude of copy source '@repo/deploy/*.yaml': a pattern has 1200 bytes, the limit is 1024",
    );
    let operations =
        vec![json!({ "from": "@repo/x", "to": "@artifact/", "exclude": ["{a,b}".repeat(6)] }); 1600];
    rejected(
        |spec| spec["artifacts"][0]["copy"] = json!(operations),
        "artifact web: invalid exclude of copy source '@repo/x': the patterns of all artifacts have more than 100000 alternatives",
    );
    rejected(
        |spec| spec["pathPattern"] = json!("@repo/{app"),
        "pathPattern \"@repo/{app\": invalid capture starting at offset 0: missing closing brace",
    );
    rejected(
        |spec| spec["pathPattern"] = json!("@other/{app}"),
        "pathPattern \"@other/{app}\": source alias 'other' not found",
    );
    let copy = json!({ "from": "@repo/x", "to": "@artifact/" });
    rejected(
        |spec| spec["artifacts"][0]["copy"] = json!(vec![copy; OPERATIONS_MAX + 1]),
        "spec.artifacts has 2001 copy operations, the limit is 2000",
    );
}

#[test]
fn sources_of_other_namespaces_can_be_forbidden() {
    let object = generator(|spec| spec["sources"][0]["namespace"] = json!("infra"));
    let allowed = plan(&object, true).unwrap();
    assert_eq!(allowed.sources["repo"].to_string(), "GitRepository/infra/mono");
    assert_eq!(
        plan(&object, false).unwrap_err().to_string(),
        "cross-namespace reference to source GitRepository/infra/mono is not allowed"
    );
    assert!(plan(&generator(|spec| spec["sources"][0]["namespace"] = json!("apps")), false).is_ok());
}

#[test]
fn no_path_of_a_copy_operation_leaves_its_tree() {
    for (from, to) in [
        ("@repo/../x", "@artifact/"),
        ("@repo/a/../../x", "@artifact/"),
        ("@repo//etc/passwd", "@artifact/"),
        ("@repo/../*", "@artifact/"),
        ("@repo//etc/*", "@artifact/"),
        ("@repo/x", "@artifact/../y"),
        ("@repo/x", "@artifact/a/../../y"),
        ("@repo/x", "@artifact/a/../y"),
        ("@repo/x", "@artifact//y"),
        ("@repo/x", "@artifacts/y"),
        ("@repo/x", "y"),
        ("repo/x", "@artifact/"),
        ("@repo", "@artifact/"),
    ] {
        let error = copied(from, to).unwrap_err();
        assert!(matches!(error, GeneratorError::Invalid { .. }), "{from} {to}: {error}");
    }
}

#[test]
fn a_copy_operation_is_read_once() {
    let copy = copied("@repo/deploy/web/../app/", "@artifact/a//b/./").unwrap();
    assert_eq!(copy.selection, Selection::Path(RelPath::parse("deploy/app").unwrap()));
    assert_eq!((copy.destination.as_str(), copy.into_directory), ("a/b", true));
    let Selection::Pattern(pattern) = copied("@repo/deploy/web/**", "@artifact/x").unwrap().selection else {
        panic!("a pattern")
    };
    assert_eq!(pattern.base.as_str(), "deploy/web");
    for (path, expect) in [("deploy/web/a", "a"), ("deploy/webs/a", "deploy/webs/a")] {
        assert_eq!(pattern.destination(&RelPath::parse(path).unwrap()).unwrap().as_str(), expect);
    }
}
