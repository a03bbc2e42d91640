//! Reading objects as JSON: conditions, revisions, identities, and the lint that every status must pass.

use anyhow::{Result, bail};
use plumb_api::{
    kustomize::KustomizationCondition, notification::ReceiverCondition, source::GitRepositoryCondition,
};
use plumb_status::{Status, breaches};
use serde_json::Value;

/// A string below an object; empty if it is not there.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A condition, if it is set.
pub fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == type_)
}

/// Whether a condition is set and True.
pub fn is_true(object: &Value, type_: &str) -> bool {
    condition(object, type_).is_some_and(|condition| condition["status"] == "True")
}

/// The reason of a condition; empty if it is not set.
pub fn reason<'a>(object: &'a Value, type_: &str) -> &'a str {
    condition(object, type_).map(|condition| text(condition, "/reason")).unwrap_or_default()
}

/// The message of a condition; empty if it is not set.
pub fn message<'a>(object: &'a Value, type_: &str) -> &'a str {
    condition(object, type_).map(|condition| text(condition, "/message")).unwrap_or_default()
}

/// Whether Ready=True is of the current generation.
pub fn is_ready(object: &Value) -> bool {
    is_true(object, "Ready") && object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

/// Whether Ready=False for this reason.
pub fn is_failed(object: &Value, why: &str) -> bool {
    condition(object, "Ready").is_some_and(|ready| ready["status"] == "False" && ready["reason"] == why)
}

/// The identity of an object.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// The ids of the inventory.
pub fn inventory(object: &Value) -> Vec<&str> {
    let entries = object.pointer("/status/inventory/entries").and_then(Value::as_array);
    entries.into_iter().flatten().map(|entry| text(entry, "/id")).collect()
}

/// The entries of `status.drift`.
pub fn drift(object: &Value) -> &[Value] {
    object.pointer("/status/drift/entries").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Fails if a status breaks a rule of the lint. Kinds without one pass.
pub fn lint(kind: &str, object: &Value) -> Result<()> {
    let Some(conditions) = object.pointer("/status/conditions") else { return Ok(()) };
    let status = &object["status"];
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    let status = Status {
        conditions: serde_json::from_value(conditions.clone())?,
        observed_generation: status["observedGeneration"].as_i64().unwrap_or(-1),
        last_handled_reconcile_at: None,
    };
    let found = match kind {
        "GitRepository" => breaches::<GitRepositoryCondition>(generation, &status),
        "Kustomization" => breaches::<KustomizationCondition>(generation, &status),
        "Receiver" => breaches::<ReceiverCondition>(generation, &status),
        _ => Vec::new(),
    };
    if !found.is_empty() {
        bail!("the status of {kind} {} breaks {found:?}: {status:#?}", text(object, "/metadata/name"));
    }
    Ok(())
}
