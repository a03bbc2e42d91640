//! Small objects for the tests of this crate and of drift.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "what cannot be built fails its test")]

use jiff::{SignedDuration, Timestamp};
use plumb_manifests::{Object, ObjectId};
use serde_json::{Value, json};

use crate::ownership::Owner;

/// An object from its JSON.
pub fn object(value: Value) -> Object {
    Object::new(value).unwrap()
}

/// An ID from its form in the inventory.
pub fn id(inventory: &str) -> ObjectId {
    ObjectId::parse_inventory(inventory).unwrap()
}

/// The Kustomization `flux-system/apps`.
pub fn owner() -> Owner {
    Owner { name: "apps".to_owned(), namespace: "flux-system".to_owned() }
}

/// The ConfigMap `prod/settings` with this data.
pub fn settings(data: &Value) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "prod"}, "data": data,
    }))
}

/// Noon, and so many seconds.
pub fn at(seconds: i64) -> Timestamp {
    "2026-05-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// One entry of `managedFields`.
pub fn entry(manager: &str, operation: &str, subresource: &str, time: Option<i64>, fields: &Value) -> Value {
    let mut entry = json!({
        "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
    });
    if !subresource.is_empty() {
        entry["subresource"] = subresource.into();
    }
    if let Some(seconds) = time {
        entry["time"] = at(seconds).to_string().into();
    }
    entry
}

/// A live Deployment with these replicas, image and entries.
pub fn deployment(replicas: i64, image: &str, entries: &[Value]) -> Object {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "prod", "uid": "u1", "resourceVersion": "10", "generation": 3,
            "labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"},
            "managedFields": entries,
        },
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
        "status": {"replicas": replicas},
    }))
}

/// The fields that we apply of [`deployment`].
pub fn deployment_fields() -> Value {
    json!({
        "f:metadata": {"f:labels": {
            "f:kustomize.toolkit.fluxcd.io/name": {}, "f:kustomize.toolkit.fluxcd.io/namespace": {},
        }},
        "f:spec": {
            "f:replicas": {},
            "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}}}}},
        },
    })
}
