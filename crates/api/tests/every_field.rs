//! Fills every field that a definition has, and sees that its type reads and writes all of them: no field of the schema
//! is one that the type does not know, and no name or shape differs between the two.

use plumb_api::{crd, kustomize, notification, source};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// A value for the schema with each of its fields set.
fn filled(schema: &Value) -> Value {
    if let Some(word) = schema["enum"].as_array().and_then(|words| words.first()) {
        return word.clone();
    }
    match schema["type"].as_str() {
        Some("object") => object(schema),
        Some("array") => json!([filled(&schema["items"])]),
        Some("string") => text(schema),
        Some("integer") => schema.get("maximum").cloned().unwrap_or(json!(7)),
        Some("boolean") => json!(true),
        other => unreachable!("no field has the type {other:?}"),
    }
}

fn object(schema: &Value) -> Value {
    if let Some(values) = schema.get("additionalProperties") {
        return json!({ "key": filled(values) });
    }
    let fields = schema["properties"].as_object().into_iter().flatten();
    // The only span of time without a pattern.
    let value =
        |name: &str, field| if name == "lastReconciledDuration" { json!("1.5s") } else { filled(field) };
    fields.map(|(name, field)| (name.clone(), value(name, field))).collect::<Map<_, _>>().into()
}

/// Words that the patterns of the definitions let through.
fn text(schema: &Value) -> Value {
    if schema["format"] == "date-time" {
        return json!("2026-01-02T03:04:05Z");
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    match schema["pattern"].as_str() {
        Some(pattern) if pattern.contains("(ms|s|m") => json!("1m0s"),
        Some(pattern) if pattern.starts_with("^[a-z0-9]+(?:") => json!(digest),
        Some(pattern) if pattern.contains("oci") => json!("oci://host/path"),
        Some(pattern) if pattern.contains("http") => json!("https://host/path"),
        None | Some(_) => json!("Word"),
    }
}

#[track_caller]
fn check<K: DeserializeOwned + Serialize>(kind: &str) {
    let (_, crd) =
        crd::all().into_iter().find(|(_, crd)| crd["spec"]["names"]["kind"] == kind).expect("it is defined");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let api_version = format!(
        "{}/{}",
        crd["spec"]["group"].as_str().expect("a group"),
        crd["spec"]["versions"][0]["name"].as_str().expect("a version")
    );
    let mut written = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "all" } });
    for part in ["spec", "status"] {
        if schema.get(part).is_some() {
            written[part] = filled(&schema[part]);
        }
    }
    let typed: K =
        serde_json::from_value(written.clone()).expect("the type reads what its definition lets through");
    let read = serde_json::to_value(typed).expect("the type writes");
    assert_eq!(read, written, "{kind}");
}

#[test]
fn a_type_reads_and_writes_every_field_of_its_definition() {
    check::<source::Bucket>("Bucket");
    check::<source::ExternalArtifact>("ExternalArtifact");
    check::<source::GitRepository>("GitRepository");
    check::<source::HelmChart>("HelmChart");
    check::<source::HelmRepository>("HelmRepository");
    check::<source::OCIRepository>("OCIRepository");
    check::<kustomize::Kustomization>("Kustomization");
    check::<notification::Alert>("Alert");
    check::<notification::Provider>("Provider");
    check::<notification::Receiver>("Receiver");
}

#[test]
fn the_status_of_an_object_that_nobody_has_seen_is_read() {
    let written = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": { "name": "new" },
        "spec": { "url": "https://host/path", "interval": "1m" },
        "status": { "observedGeneration": -1 },
    });
    let read: source::GitRepository = serde_json::from_value(written).unwrap();
    assert_eq!(read.status.unwrap().observed_generation, Some(-1));
}

#[test]
fn a_field_of_a_later_version_is_passed_over() {
    let written = json!({ "url": "https://host/path", "interval": "1m", "later": { "deep": [1] } });
    assert!(serde_json::from_value::<source::GitRepositorySpec>(written).is_ok());
}
