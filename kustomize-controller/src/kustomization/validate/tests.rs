//! Each field of the spec in turn: it is honoured, or it is refused by name. None is passed over.

use plumb_api::meta::DRIFT_DETECTION;
use serde_json::{Value, json};

use super::*;

/// A controller that allows as little as it can.
const STRICT: Rules = Rules { no_cross_namespace_refs: true, external_artifacts: false };

fn object(edit: impl Fn(&mut Value)) -> Kustomization {
    let mut value = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": { "name": "apps", "namespace": "flux-system", "annotations": {} },
        "spec": { "interval": "1m", "prune": true, "sourceRef": { "kind": "GitRepository", "name": "repo" } }
    });
    edit(&mut value);
    serde_json::from_value(value).unwrap()
}

/// What becomes of a field that is set to a value: its error, or nothing.
fn judged(path: &str, value: &Value) -> Option<String> {
    let pointer = format!("/spec/{}", path.replace('.', "/"));
    let object = object(|object| {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        if object.pointer(parent).is_none() {
            let (grand, name) = parent.rsplit_once('/').unwrap();
            object.pointer_mut(grand).unwrap()[name] = json!({});
        }
        object.pointer_mut(parent).unwrap()[field] = value.clone();
    });
    validate(&object, Rules::default()).err().map(|error| error.to_string())
}

#[test]
fn each_field_is_honoured_or_refused_by_name() {
    let refused = [
        ("decryption", json!({ "provider": "sops" }), "spec.decryption"),
        ("deletionPolicy", json!("WaitForTermination"), "spec.deletionPolicy \"WaitForTermination\""),
        ("force", json!(true), "spec.force"),
        (
            "healthCheckExprs",
            json!([{ "apiVersion": "v1", "kind": "A", "current": "true" }]),
            "spec.healthCheckExprs",
        ),
        ("ignore", json!([{ "paths": ["/spec"] }]), "spec.ignore"),
        ("kubeConfig", json!({ "secretRef": { "name": "k" } }), "spec.kubeConfig"),
        ("serviceAccountName", json!("tenant"), "spec.serviceAccountName"),
        (
            "postBuild.substituteFrom",
            json!([{ "kind": "ConfigMap", "name": "s" }, { "kind": "Secret", "name": "s" }]),
            "spec.postBuild.substituteFrom[1].kind \"Secret\"",
        ),
        ("postBuild.substituteStrategy", json!("Always"), "spec.postBuild.substituteStrategy"),
        (
            "dependsOn",
            json!([{ "name": "a" }, { "name": "b", "readyExpr": "true" }]),
            "spec.dependsOn[1].readyExpr",
        ),
    ];
    for (path, value, named) in refused {
        let text = judged(path, &value).unwrap_or_else(|| panic!("{path} is passed over"));
        assert!(text.starts_with(&format!("{named} is not supported")), "{path}: {text}");
    }
    let honoured = [
        ("commonMetadata", json!({ "labels": { "a": "b" } })),
        ("deletionPolicy", json!("Orphan")),
        ("dependsOn", json!([{ "name": "a", "namespace": "b" }])),
        ("driftDetection", json!({ "mode": "warn" })),
        ("force", json!(false)),
        ("healthChecks", json!([{ "kind": "Deployment", "name": "web" }])),
        ("images", json!([{ "name": "nginx", "newTag": "2" }])),
        ("namePrefix", json!("a-")),
        ("nameSuffix", json!("-b")),
        ("patches", json!([{ "patch": "[]" }])),
        ("path", json!("./deploy")),
        ("postBuild.substitute", json!({ "a": "b" })),
        ("postBuild.substituteFrom", json!([{ "kind": "ConfigMap", "name": "s", "optional": true }])),
        ("retryInterval", json!("10s")),
        ("sourceRef.kind", json!("Bucket")),
        ("sourceRef.kind", json!("OCIRepository")),
        ("suspend", json!(true)),
        ("targetNamespace", json!("prod")),
        ("timeout", json!("2m")),
        ("wait", json!(true)),
    ];
    for (path, value) in honoured {
        assert_eq!(judged(path, &value), None, "{path}");
    }
}

#[test]
fn all_unsupported_fields_are_named_at_once_with_a_remedy() {
    let object = object(|object| {
        object["spec"]["decryption"] = json!({ "provider": "sops" });
        object["spec"]["force"] = json!(true);
        object["spec"]["dependsOn"] = json!([{ "name": "a", "readyExpr": "true" }]);
    });
    let error = validate(&object, Rules::default()).unwrap_err();
    assert_eq!(
        plumb_status::Detail::of(&error).message,
        "spec.decryption, spec.force and spec.dependsOn[0].readyExpr are not supported by this version of Plumb \
         (remove the fields)"
    );
}

#[test]
fn an_external_artifact_is_a_source_where_its_feature_gate_is_on() {
    let object = object(|object| object["spec"]["sourceRef"]["kind"] = json!("ExternalArtifact"));
    let error = validate(&object, Rules::default()).unwrap_err();
    assert_eq!(
        plumb_status::Detail::of(&error).message,
        "source 'ExternalArtifact/repo' cannot be used: the feature gate ExternalArtifact is disabled (start the controller \
         with --feature-gates=ExternalArtifact=true)"
    );
    assert_eq!(plumb_status::Classify::reason(&error), plumb_status::Reason::FeatureGateDisabled);
    assert!(validate(&object, Rules { external_artifacts: true, ..Rules::default() }).is_ok());
}

#[test]
fn references_to_other_namespaces_are_refused_where_they_are_blocked() {
    for (path, value, named) in [
        (
            "sourceRef",
            json!({ "kind": "GitRepository", "name": "repo", "namespace": "other" }),
            "GitRepository/other/repo",
        ),
        ("dependsOn", json!([{ "name": "a", "namespace": "other" }]), "Kustomization/other/a"),
    ] {
        let object = object(|object| object["spec"][path] = value.clone());
        assert!(validate(&object, Rules::default()).is_ok());
        let error = validate(&object, STRICT).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(plumb_status::Classify::reason(&error), plumb_status::Reason::AccessDenied);
    }
}

/// Paths of fields called `namespace` in a schema; a list is a segment `0`.
fn namespaces(schema: &Value, path: &str, found: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        if name == "namespace" {
            found.push(path.clone());
        }
        namespaces(property, &path, found);
        namespaces(&property["items"], &format!("{path}/0"), found);
    }
}

#[test]
fn every_reference_of_the_schema_obeys_the_ban_on_other_namespaces() {
    let crd = serde_json::to_value(<Kustomization as kube::CustomResourceExt>::crd()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = Vec::new();
    namespaces(spec, "", &mut found);
    // A target selects among the objects of the build, and names nothing in the cluster.
    found.retain(|path| !path.ends_with("/target/namespace"));
    assert!(found.len() >= 3, "{found:?}");
    for path in found {
        let fields = json!({ "kind": "GitRepository", "name": "a", "namespace": "other" });
        let parent = path.trim_end_matches("/namespace");
        let field = parent.trim_start_matches('/').trim_end_matches("/0");
        assert!(!field.contains('/'), "{path}: a reference at a new depth needs a case here");
        let value = if parent.ends_with("/0") { json!([fields]) } else { fields };
        let object = object(|object| object["spec"][field] = value.clone());
        assert!(validate(&object, Rules::default()).is_ok(), "{path}");
        let error =
            validate(&object, STRICT).err().unwrap_or_else(|| panic!("{path} reaches other namespaces"));
        assert_eq!(plumb_status::Classify::reason(&error), plumb_status::Reason::AccessDenied, "{path}");
        assert!(error.to_string().contains("/other/a"), "{path}: {error}");
    }
}

#[test]
fn the_annotation_decides_the_mode_and_a_word_that_is_none_is_refused() {
    let mode = |annotation: &str, field: &str| {
        validate(
            &object(|object| {
                object["metadata"]["annotations"][DRIFT_DETECTION] = annotation.into();
                object["spec"]["driftDetection"] = json!({ "mode": field });
            }),
            Rules::default(),
        )
        .map(|valid| valid.mode)
    };
    assert_eq!(mode("warn", "enabled").unwrap(), DriftMode::Warn);
    assert_eq!(mode("disabled", "warn").unwrap(), DriftMode::Disabled);
    let error = mode("of course", "warn").unwrap_err();
    assert_eq!(plumb_status::Classify::reason(&error), plumb_status::Reason::InvalidDriftDetection);
}

#[test]
fn a_health_check_without_version_is_of_apps_and_in_the_own_namespace() {
    let checks = json!([{ "kind": "Deployment", "name": "web" }, { "apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "x" }]);
    let valid = validate(&object(|object| object["spec"]["healthChecks"] = checks.clone()), Rules::default())
        .unwrap();
    let read: Vec<_> = valid
        .health_checks
        .iter()
        .map(|target| (target.id.to_string(), target.id.group.as_str(), target.version.as_str()))
        .collect();
    assert_eq!(read, [("Deployment/flux-system/web".into(), "apps", "v1"), ("Pod/x/p".into(), "", "v1")]);
    let bad = json!([{ "apiVersion": "a/b/c", "kind": "Pod", "name": "p" }]);
    let error = validate(&object(|object| object["spec"]["healthChecks"] = bad.clone()), Rules::default())
        .unwrap_err();
    assert!(error.to_string().starts_with("spec.healthChecks[0].apiVersion is invalid"), "{error}");
}
