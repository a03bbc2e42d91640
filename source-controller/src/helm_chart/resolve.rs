//! Which version of the chart is meant now: by the index of a repository, by the tags of a registry, or by the files of an artifact.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt as _;
use plumb_api::meta::{CHART_SOURCE_METADATA, VERIFIED_DIGEST_METADATA};
use plumb_api::source::{ChartSourceKind, HelmChart, HelmChartCondition, HelmRepository};
use plumb_cluster::NamespacedName;
use plumb_helm::{
    Download, INDEX_MEMORY, Release, ReleaseError, Wanted, convert, find_release, with_build_metadata,
};
use plumb_memory::{Limit, MemoryReservation};
use plumb_oci::{Digest, Remote as Registry, Repository};
use plumb_status::ConditionUpdate;

use super::{
    HelmChartSource,
    error::{HelmChartError, PullError},
    files::{self, Files},
    registry,
    validate::{ChartSource, Valid},
    verify::verify,
};
use crate::{
    artifact::{Input, Inputs, Resolved, on_thread, slot},
    helm_repository::{ArchiveRequest, File, HelmClients, HelmRepositoryError},
    oci_signature::verified_condition,
};

/// The version that was resolved.
pub struct Remote {
    /// The chart, by its whole name.
    pub name: String,
    /// The version of the artifact.
    pub version: String,
    /// The artifact of the source that it was found in; none for a registry.
    pub source_revision: Option<String>,
    /// Where it is.
    pub origin: Origin,
}

/// Where a chart is.
pub enum Origin {
    /// In a repository.
    Repository(Found),
    /// In the artifact of another source.
    Files(Box<Files>),
}

/// A version of a chart in a repository.
pub struct Found {
    /// The chart, by its whole name.
    pub name: String,
    /// The version, as the repository has it.
    pub version: String,
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
    Registry {
        /// The repository in the registry.
        remote: Box<Registry>,
        /// The timeout of one operation.
        timeout: Duration,
        /// Its name.
        name: Repository,
        /// What was verified: nothing else is pulled. None where nothing has to be.
        verified: Option<Digest>,
    },
}

/// Finds the version.
pub async fn resolve(
    source: &HelmChartSource,
    object: &HelmChart,
    valid: &Valid,
) -> Result<Resolved<Remote, HelmChartCondition>, HelmChartError> {
    let namespace = object.namespace().unwrap_or_default();
    let (remote, verdict) = match &valid.source {
        ChartSource::Repository { repository, chart, version } => {
            let repository = repository_of(source, &namespace, repository).await?;
            let _slot = slot(&source.polls, &namespace).await?;
            let found = in_repository(source, object, valid, repository, (chart, version)).await;
            let mut remote = found.map_err(HelmChartError::of_repository)?;
            let verdict = verify(source, &namespace, valid, &mut remote).await?;
            (remote, verdict)
        }
        ChartSource::Files { kind, name, path, strategy } => {
            let files = files::source(source, &namespace, *kind, name, path).await?;
            let _slot = slot(&source.polls, &namespace).await?;
            (files::resolve(source, object, valid, files, *strategy).await?, None)
        }
    };
    let text = format!("verified signature of version {}", remote.version);
    Ok(Resolved {
        revision: remote.version.clone(),
        inputs: inputs(object, valid, &remote),
        conditions: vec![
            (HelmChartCondition::BuildFailed, ConditionUpdate::Clear),
            (HelmChartCondition::SourceVerified, verified_condition(verdict, text)),
        ],
        remote,
    })
}

async fn repository_of(
    source: &HelmChartSource,
    namespace: &str,
    name: &str,
) -> Result<Arc<HelmRepository>, HelmChartError> {
    // At the start of the process: before that, every repository seems to be missing.
    source.repositories.synced().await;
    let repository = source.repositories.get(&NamespacedName::new(namespace, name));
    repository.ok_or_else(|| HelmChartError::NoSource {
        kind: ChartSourceKind::HelmRepository,
        problem: format!("helmrepositories.source.toolkit.fluxcd.io \"{name}\" not found"),
    })
}

async fn in_repository(
    source: &HelmChartSource,
    object: &HelmChart,
    valid: &Valid,
    repository: Arc<HelmRepository>,
    (chart, wanted): (&str, &Wanted),
) -> Result<Remote, HelmChartError> {
    let namespace = object.namespace().unwrap_or_default();
    let revision = repository.artifact().map(|artifact| artifact.revision.clone());
    if revision.is_none() && !repository.spec.is_registry() {
        return Err(missing(&repository));
    }
    let source_revision = revision.filter(|_| !repository.spec.is_registry());
    let found = find(source, &namespace, repository, chart, wanted).await?;
    let version = if valid.values_files.is_empty() {
        found.version.clone()
    } else {
        extended(&found.version, &generation(object))?
    };
    Ok(Remote { name: found.name.clone(), version, source_revision, origin: Origin::Repository(found) })
}

/// The generation of an object, as a version has it.
pub fn generation(object: &HelmChart) -> String {
    object.metadata.generation.unwrap_or_default().to_string()
}

/// A version with build metadata: by it a consumer tells that the chart is another one.
pub fn extended(version: &str, metadata: &str) -> Result<String, HelmChartError> {
    with_build_metadata(version, metadata).ok_or_else(|| HelmChartError::Metadata {
        version: version.to_owned(),
        metadata: metadata.to_owned(),
    })
}

/// Finds a version of a chart in a repository. An index that is not stored is downloaded.
pub async fn find(
    source: &HelmChartSource,
    namespace: &str,
    repository: Arc<HelmRepository>,
    chart: &str,
    wanted: &Wanted,
) -> Result<Found, HelmChartError> {
    if repository.spec.is_registry() {
        return registry::find(source, namespace, &repository, (chart, wanted)).await;
    }
    let (index, mut memory) = match repository.artifact() {
        Some(_) => stored_index(source, namespace, &repository).await?,
        None => downloaded_index(source, namespace, &repository).await?,
    };
    let (chart, wanted) = (chart.to_owned(), wanted.clone());
    let found = on_thread(move || {
        let found = find_release(&index, &chart, &wanted, &mut memory);
        drop(index);
        drop(memory);
        found
    });
    let found: Result<Release, ReleaseError> = found.await?;
    let Release { name, version, url } = found.map_err(HelmChartError::Release)?;
    Ok(Found { name, version, place: Place::Url { url, repository } })
}

fn missing(repository: &HelmRepository) -> HelmChartError {
    HelmChartError::NoSourceArtifact { kind: ChartSourceKind::HelmRepository, name: repository.name_any() }
}

type IndexBytes = (Vec<u8>, MemoryReservation);

async fn stored_index(
    source: &HelmChartSource,
    namespace: &str,
    repository: &HelmRepository,
) -> Result<IndexBytes, HelmChartError> {
    let memory = source.clients.memory().reservation(namespace, INDEX_MEMORY);
    let stored = source.storage.read(repository, INDEX_MEMORY.bytes_max, memory).await;
    stored.map_err(HelmChartError::Index)?.ok_or_else(|| missing(repository))
}

/// The index of a repository that no object stores: a dependency may name any.
async fn downloaded_index(
    source: &HelmChartSource,
    namespace: &str,
    repository: &HelmRepository,
) -> Result<IndexBytes, HelmChartError> {
    let url = HelmClients::index(repository)?;
    let limit =
        Limit { name: "index of a Helm repository (--helm-index-max-size)", bytes_max: source.limits.index };
    let request = ArchiveRequest { namespace, repository, url: &url, limit };
    let downloaded = source.clients.archive(request).await?;
    let File { bytes, memory, .. } =
        downloaded.map_err(|error| HelmChartError::Download(PullError::Http(error)))?;
    let written = source.clients.memory().reservation(namespace, INDEX_MEMORY);
    let index = on_thread(move || convert(Download { bytes, memory }, written)).await?;
    let index = index.map_err(|error| HelmChartError::Repository(HelmRepositoryError::Index(error)))?;
    Ok((index.json, index.memory))
}

/// What an artifact is made with: Flux pulls a chart again whenever the spec has changed, the source included. Its status has no
/// field for the source, and one for the generation that also counts where no chart was found; nor one for the digest that was verified.
fn inputs(object: &HelmChart, valid: &Valid, remote: &Remote) -> Inputs {
    let source = match &valid.source {
        ChartSource::Repository { repository, chart, version: _ } => {
            format!("{}/{repository}/{chart}", ChartSourceKind::HelmRepository.as_str())
        }
        ChartSource::Files { kind, name, path, strategy: _ } => format!("{}/{name}/{path}", kind.as_str()),
    };
    let verified = match &remote.origin {
        Origin::Repository(Found { place: Place::Registry { verified, .. }, .. }) => verified.as_ref(),
        Origin::Repository(_) | Origin::Files(_) => None,
    };
    let verified = verified.map(|digest| digest.as_str().to_owned());
    Inputs(vec![
        Input::new("observedChartName", "spec.chart", &remote.name),
        Input::new("observedGeneration", "the spec", object.metadata.generation),
        Input::in_metadata(CHART_SOURCE_METADATA, "the source of the chart", Some(source)),
        Input::in_metadata(VERIFIED_DIGEST_METADATA, "the digest that was verified", verified),
    ])
}
