//! Which version of the chart is meant now: by the stored index of the repository, or by the tags of a registry.

use std::sync::Arc;

use kube::ResourceExt as _;
use plumb_api::source::{HelmChart, HelmChartCondition, HelmRepository};
use plumb_cluster::NamespacedName;
use plumb_helm::{INDEX_MEMORY, Release, ReleaseError, find_release};
use plumb_oci::Remote as Registry;
use plumb_status::ConditionUpdate;

use super::{HelmChartSource, error::HelmChartError, registry, validate::Valid};
use crate::artifact::{Input, Inputs, Resolved, on_thread, slot};

/// The version that was resolved.
pub struct Remote {
    /// The chart, by its whole name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The index that it was found in; none for a registry.
    pub source_revision: Option<String>,
    /// Where its archive is.
    pub place: Place,
}

/// Where the archive of a chart is.
pub enum Place {
    /// At a URL of an index.
    Url {
        /// The URL, which may be relative.
        url: String,
        /// The repository with the index.
        repository: Arc<HelmRepository>,
    },
    /// In a registry.
    Registry(Box<Registry>),
}

/// Finds the version.
pub async fn resolve(
    source: &HelmChartSource,
    object: &HelmChart,
    valid: &Valid,
) -> Result<Resolved<Remote, HelmChartCondition>, HelmChartError> {
    let namespace = object.namespace().unwrap_or_default();
    // At the start of the process: before that, every repository seems to be missing.
    source.repositories.synced().await;
    let name = &valid.repository;
    let repository = source.repositories.get(&NamespacedName::new(&namespace, name));
    let repository = repository.ok_or_else(|| HelmChartError::NoSource { name: name.clone() })?;
    let _slot = slot(&source.polls, &namespace).await?;
    let remote = if repository.spec.is_registry() {
        registry::find(source, &namespace, &repository, valid).await?
    } else {
        from_index(source, &namespace, repository, valid).await?
    };
    Ok(Resolved {
        revision: remote.version.clone(),
        inputs: inputs(object, &remote.name),
        // Left behind by Flux: this version rejects the fields that they belong to.
        conditions: vec![
            (HelmChartCondition::BuildFailed, ConditionUpdate::Clear),
            (HelmChartCondition::SourceVerified, ConditionUpdate::Clear),
        ],
        remote,
    })
}

async fn from_index(
    source: &HelmChartSource,
    namespace: &str,
    repository: Arc<HelmRepository>,
    valid: &Valid,
) -> Result<Remote, HelmChartError> {
    let missing = || HelmChartError::NoSourceArtifact { name: valid.repository.clone() };
    let revision = repository.artifact().map(|artifact| artifact.revision.clone()).ok_or_else(missing)?;
    let memory = source.clients.memory().reservation(namespace, INDEX_MEMORY);
    let stored = source.storage.read(repository.as_ref(), INDEX_MEMORY.bytes_max, memory).await;
    let stored = stored.map_err(HelmChartError::Index)?;
    let (index, memory) = stored.ok_or_else(missing)?;
    let (chart, version) = (valid.chart.clone(), valid.version.clone());
    let found = on_thread(move || {
        let found = find_release(&index, &chart, &version);
        drop(index);
        drop(memory);
        found
    });
    let found: Result<Release, ReleaseError> = found.await?;
    let Release { name, version, url } = found.map_err(HelmChartError::Release)?;
    let place = Place::Url { url, repository };
    Ok(Remote { name, version, source_revision: Some(revision), place })
}

/// What an artifact is made with: Flux pulls a chart again whenever the spec has changed, the source included.
fn inputs(object: &HelmChart, name: &str) -> Inputs {
    Inputs(vec![
        Input::new("observedChartName", "spec.chart", name),
        Input::new("observedGeneration", "the spec", object.metadata.generation),
    ])
}
