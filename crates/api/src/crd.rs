//! The CustomResourceDefinitions of all kinds, made from the types and brought into the form that Flux publishes.
//! Files and clusters never enter.

use kube_core::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::{kustomize, notification, source};

/// The label that tools find the toolkit's objects by.
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "flux");
/// The generator whose conventions the definitions follow; tools read it.
const GENERATOR: (&str, &str) = ("controller-gen.kubebuilder.io/version", "v0.21.0");

/// Every definition, by its file name in `config/crd`, in alphabetical order.
pub fn all() -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = [
        definition::<kustomize::Kustomization>(),
        definition::<notification::Alert>(),
        definition::<notification::Provider>(),
        definition::<notification::Receiver>(),
        definition::<source::ArtifactGenerator>(),
        definition::<source::Bucket>(),
        definition::<source::ExternalArtifact>(),
        definition::<source::GitRepository>(),
        definition::<source::HelmChart>(),
        definition::<source::HelmRepository>(),
        definition::<source::OCIRepository>(),
    ]
    .into_iter()
    .map(|crd| (file_name(&crd), crd))
    .collect();
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

/// `<group>_<plural>.yaml`, as Flux names its own.
fn file_name(crd: &Value) -> String {
    let word = |pointer| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("{}_{}.yaml", word("/spec/group"), word("/spec/names/plural"))
}

fn definition<K: CustomResourceExt>() -> Value {
    let mut crd = serde_json::to_value(K::crd()).expect("a definition consists of maps with string keys");
    let kind = text(&crd, "/spec/names/kind");
    crd["metadata"]["annotations"] = json!({
        GENERATOR.0: GENERATOR.1,
        crate::meta::SUBSTITUTE: crate::meta::DISABLED,
    });
    crd["metadata"]["labels"] = json!({ PART_OF.0: PART_OF.1 });
    crd["spec"]["names"]["listKind"] = json!(format!("{kind}List"));
    if let Some(names) = crd["spec"]["names"].as_object_mut() {
        names.retain(|_, value| value != &json!([]));
    }
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        if let Some(version) = version.as_object_mut() {
            // Empty lists that only say "nothing here".
            version.retain(|key, value| key != "selectableFields" || value != &json!([]));
            version.entry("subresources").or_insert_with(|| json!({}));
        }
        root(&mut version["schema"]["openAPIV3Schema"]);
        normalise(&mut version["schema"]["openAPIV3Schema"]);
        if !["ArtifactGenerator", "ExternalArtifact"].contains(&kind.as_str())
            && !version["schema"]["openAPIV3Schema"]["properties"]["status"].is_null()
        {
            // What `kubectl` shows of an object that no controller has seen yet.
            version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"] =
                json!({ "observedGeneration": -1 });
        }
    }
    crd
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The fields that every object has, and no required ones: an object without a spec is refused by its controller.
fn root(schema: &mut Value) {
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
        schema.remove("title");
        // Objects of the kind say what they are; an array would not.
        schema.insert("type".to_owned(), json!("object"));
    }
    schema["properties"]["apiVersion"] = json!({
        "type": "string",
        "description": "API group and version of the object.",
    });
    schema["properties"]["kind"] = json!({ "type": "string", "description": "Kind of the object." });
    schema["properties"]["metadata"] = json!({ "type": "object" });
}

/// The derived schema says "or null" of optional fields; Kubernetes types do not, and drop a null before defaulting.
fn normalise(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    fields.remove("nullable");
    if let Some(Value::Array(words)) = fields.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if fields.get("default") == Some(&Value::Null) {
        fields.remove("default");
    }
    if let Some(Value::String(description)) = fields.get_mut("description") {
        *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    integers(fields);
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(key) {
            normalise(inner);
        }
    }
    for inner in fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        normalise(inner.1);
    }
}

/// Kubernetes knows signed integers alone, with whole bounds.
fn integers(fields: &mut Map<String, Value>) {
    match fields.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16" | "uint32") => fields.insert("format".to_owned(), json!("int32")),
        Some("uint" | "uint64") => fields.insert("format".to_owned(), json!("int64")),
        _ => None,
    };
    if fields.get("type") != Some(&json!("integer")) {
        return;
    }
    for key in ["minimum", "maximum", "default"] {
        // The typed schema holds bounds as floating point numbers.
        if let Some(value) = fields.get_mut(key)
            && let Some(whole) = value.as_f64().and_then(|number| format!("{number}").parse::<i64>().ok())
        {
            *value = json!(whole);
        }
    }
}
