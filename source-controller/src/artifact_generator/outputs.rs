//! The ExternalArtifacts: applied, described, deleted. Only those that carry the label of their ArtifactGenerator are deleted.

use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use plumb_api::{
    meta::{Artifact, SOURCE_API_VERSION},
    source::{
        ArtifactGenerator, EXTENSIONS_API_VERSION, ExternalArtifact, GENERATOR_LABEL, GeneratorMetadata,
    },
};
use plumb_cluster::call;
use plumb_status::condition::{READY, find, whole_seconds};
use serde_json::{Value, json};

use super::error::GeneratorError;

/// The field manager of ExternalArtifacts. It is that of Flux: objects that its source-watcher left are taken over whole.
const MANAGER: &str = "source-watcher";
/// Label on an ExternalArtifact: who writes it.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The finalizer of Flux's source-watcher.
const FOREIGN_FINALIZER: &str = "source.extensions.fluxcd.io/finalizer";
/// What Ready says.
const READY_MESSAGE: &str = "Artifact is ready";

/// Whether an ExternalArtifact belongs to an ArtifactGenerator.
pub fn is_owned(external: &ExternalArtifact, object: &ArtifactGenerator) -> bool {
    external.labels().get(GENERATOR_LABEL).map(String::as_str) == object.metadata.uid.as_deref()
}

/// Applies an ExternalArtifact and its status.
pub async fn apply(
    client: &Client,
    object: &ArtifactGenerator,
    name: &str,
    metadata: &GeneratorMetadata,
    artifact: &Artifact,
    now: Timestamp,
) -> Result<(), GeneratorError> {
    let failed = |action| move |source| GeneratorError::Write { name: name.to_owned(), action, source };
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<ExternalArtifact> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams::apply(MANAGER).force();
    let body = desired(object, name, metadata);
    let applied = call(api.patch(name, &parameters, &Patch::Apply(&body))).await.map_err(failed("apply"))?;
    let body = status(&applied, artifact, now);
    call(api.patch_status(name, &parameters, &Patch::Apply(&body)))
        .await
        .map_err(failed("update status of"))?;
    Ok(())
}

/// What became of an ExternalArtifact that is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone, or will be when its finalizers are.
    Deleted,
    /// It belongs to another object by now, and so do its files.
    KeptForAnother,
}

/// Deletes an ExternalArtifact, unless it belongs to another object by now.
pub async fn delete(
    client: &Client,
    object: &ArtifactGenerator,
    name: &str,
) -> Result<Deletion, GeneratorError> {
    let failed = |source| GeneratorError::Write { name: name.to_owned(), action: "delete", source };
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<ExternalArtifact> = Api::namespaced(client.clone(), namespace);
    let Some(found) = call(api.get_opt(name)).await.map_err(failed)? else {
        return Ok(Deletion::Deleted);
    };
    if !is_owned(&found, object) {
        return Ok(Deletion::KeptForAnother);
    }
    let preconditions = Preconditions { uid: found.uid(), resource_version: found.resource_version() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match call(api.delete(name, &parameters)).await {
        Err(error) if error.code() != Some(404) => Err(failed(error)),
        _ => Ok(Deletion::Deleted),
    }
}

/// Releases an object from the finalizer that Flux's source-watcher left on it: nobody else would.
pub async fn release(client: &Client, object: &ArtifactGenerator) -> Result<(), GeneratorError> {
    let mut finalizers = object.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FOREIGN_FINALIZER);
    if finalizers.len() == object.finalizers().len() {
        return Ok(());
    }
    let name = object.name_any();
    let api: Api<ArtifactGenerator> =
        Api::namespaced(client.clone(), object.metadata.namespace.as_deref().unwrap_or_default());
    let patch =
        json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": finalizers } });
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match call(api.patch(&name, &parameters, &Patch::Merge(&patch))).await {
        Err(error) if error.code() != Some(404) => Err(GeneratorError::Release { source: error }),
        _ => Ok(()),
    }
}

fn desired(object: &ArtifactGenerator, name: &str, metadata: &GeneratorMetadata) -> Value {
    let mut labels = metadata.labels.clone();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(GENERATOR_LABEL.to_owned(), object.metadata.uid.clone().unwrap_or_default());
    let namespace = &object.metadata.namespace;
    let mut body = json!({
        "apiVersion": SOURCE_API_VERSION, "kind": "ExternalArtifact",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": { "sourceRef": {
            "apiVersion": EXTENSIONS_API_VERSION, "kind": "ArtifactGenerator",
            "name": object.metadata.name, "namespace": namespace,
        } },
    });
    if !metadata.annotations.is_empty() {
        body["metadata"]["annotations"] = json!(metadata.annotations);
    }
    body
}

fn status(applied: &ExternalArtifact, artifact: &Artifact, now: Timestamp) -> Value {
    let before = applied.status.as_ref();
    let ready = before.and_then(|status| find(&status.conditions, READY)).filter(|ready| ready.is_true());
    let since = ready.map_or(now, |ready| ready.last_transition_time);
    // The same file: consumers see no news.
    let known = before.and_then(|status| status.artifact.as_ref()).filter(|known| {
        (&known.digest, &known.revision, &known.path)
            == (&artifact.digest, &artifact.revision, &artifact.path)
    });
    let updated = known.map_or(artifact.last_update_time, |known| known.last_update_time);
    let artifact = Artifact { last_update_time: updated, ..artifact.clone() };
    json!({
        "apiVersion": SOURCE_API_VERSION, "kind": "ExternalArtifact",
        "metadata": { "name": applied.name_any(), "namespace": applied.namespace() },
        "status": { "artifact": artifact, "conditions": [{
            "type": READY, "status": "True", "reason": "Succeeded", "message": READY_MESSAGE,
            "lastTransitionTime": whole_seconds(since).to_string(), "observedGeneration": applied.metadata.generation,
        }] },
    })
}
