//! Observe: reads live objects, and requests dry runs of applies. Changes nothing.

use std::sync::Arc;

use http::Method;
use kube::core::GroupVersionKind;
use plumb_api::meta::KUSTOMIZE_MANAGER;
use plumb_cluster::error::{Absent, RequestError};
use plumb_cluster::mapper::Mapping;
use plumb_cluster::request::{self, Request, Response};
use plumb_cluster::{Budget, Cluster};
use plumb_manifests::{Object, ObjectId};
use plumb_planning::fingerprint;
use serde_json::Value;

/// Server-side apply takes JSON under this name, because JSON is YAML.
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";
/// Requests the metadata alone.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// The kind of an object in the version that it is written in.
pub fn kind_of(object: &Object) -> GroupVersionKind {
    GroupVersionKind::gvk(object.group(), object.version(), object.kind())
}

/// The live object with everything that the server keeps, `managedFields` included; `None` when it is not there.
pub async fn live(
    cluster: &Cluster,
    id: &ObjectId,
    version: &str,
    budget: &Budget,
) -> Result<Option<Object>, RequestError> {
    let kind = GroupVersionKind::gvk(&id.group, version, &id.kind);
    let mapping = match cluster.mapper().resolve(&kind, budget).await {
        Ok(mapping) => mapping,
        // The version may have been removed while the kind stays.
        Err(RequestError::NoMatch { .. }) => match cluster.mapper().resolve_any(&kind, budget).await {
            Ok(mapping) => mapping,
            Err(RequestError::NoMatch { .. }) => return Ok(None),
            Err(error) => return Err(error),
        },
        Err(error) => return Err(error),
    };
    live_as(cluster, &mapping, id, budget).await
}

/// The live object of a kind whose mapping is known.
pub async fn live_as(
    cluster: &Cluster,
    mapping: &Arc<Mapping>,
    id: &ObjectId,
    budget: &Budget,
) -> Result<Option<Object>, RequestError> {
    let request = Request::get(mapping.path(&id.namespace, &id.name), is_secret(id));
    read(cluster, &request, budget).await
}

/// The metadata of the live object alone.
pub async fn metadata(
    cluster: &Cluster,
    mapping: &Arc<Mapping>,
    id: &ObjectId,
    budget: &Budget,
) -> Result<Option<Object>, RequestError> {
    let request = Request {
        accept: METADATA_ONLY,
        ..Request::get(mapping.path(&id.namespace, &id.name), is_secret(id))
    };
    read(cluster, &request, budget).await
}

async fn read(cluster: &Cluster, request: &Request, budget: &Budget) -> Result<Option<Object>, RequestError> {
    match request::send(cluster.client(), request, budget).await {
        Ok(response) => object(response).map(Some),
        Err(error) => match error.rejection().and_then(|rejection| rejection.absent) {
            Some(Absent::Object | Absent::Namespace) => Ok(None),
            Some(Absent::Kind) => {
                // The path is not served any more: the next lookup discovers it again.
                cluster.mapper().doubt();
                Err(error)
            }
            None => Err(error),
        },
    }
}

/// What the server would make of an apply of this object: nothing is written.
pub async fn dry_run(cluster: &Cluster, desired: &Object, budget: &Budget) -> Result<Object, RequestError> {
    let mapping = cluster.mapper().resolve(&kind_of(desired), budget).await?;
    object(patch(cluster, &mapping, desired, WriteMode::DryRun, budget).await?)
}

/// Whether an apply is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteMode {
    Real,
    DryRun,
}

/// One server-side apply with force, under our field manager.
pub(crate) async fn patch(
    cluster: &Cluster,
    mapping: &Arc<Mapping>,
    desired: &Object,
    mode: WriteMode,
    budget: &Budget,
) -> Result<Response, RequestError> {
    let namespace = desired.namespace().unwrap_or_default();
    if mapping.namespaced && namespace.is_empty() {
        return Err(RequestError::NamespaceNotSpecified);
    }
    let path = mapping.path(namespace, desired.name());
    let dry = match mode {
        WriteMode::Real => "",
        WriteMode::DryRun => "&dryRun=All",
    };
    let target = format!("{path}?fieldManager={KUSTOMIZE_MANAGER}&force=true{dry}");
    let confidential = fingerprint::is_secret(desired);
    let request = Request::write(Method::PATCH, target, APPLY_PATCH, desired.value(), confidential);
    match mode {
        WriteMode::Real => {
            let namespace = if mapping.namespaced { namespace.to_owned() } else { String::new() };
            request::write(cluster, &ObjectId { namespace, ..desired.id() }, &request, budget).await
        }
        WriteMode::DryRun => request::send(cluster.client(), &request, budget).await,
    }
}

/// The object of a response.
pub(crate) fn object(response: Response) -> Result<Object, RequestError> {
    Object::new(response.body).map_err(|error| RequestError::Garbled { cause: error.to_string() })
}

/// The stored part of a live object when its content does not matter: identity, labels, managers. No annotations, no content.
pub(crate) fn outline(live: &Object) -> Option<Object> {
    let Value::Object(mut root) = live.value().clone() else { return None };
    root.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata"));
    if let Some(metadata) = root.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("annotations");
    }
    Object::new(Value::Object(root)).ok()
}

/// Whether responses about an object may quote secret values.
pub(crate) fn is_secret(id: &ObjectId) -> bool {
    id.kind == "Secret" && id.group.is_empty()
}
