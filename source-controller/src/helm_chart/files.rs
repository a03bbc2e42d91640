//! A chart in the artifact of a GitRepository or Bucket: a directory, or an archive. Only the files of the chart are unpacked, and
//! nothing outside the artifact can be meant.

use kube::{Api, Resource};
use plumb_api::{
    meta::Artifact,
    source::{Bucket, ChartReconcileStrategy, ChartSourceKind, GitRepository, HelmChart},
};
use plumb_archive::{UnpackLimits, unpack_some};
use plumb_cluster::call;
use plumb_filetree::{MemoryTree, RelPath};
use plumb_helm::{
    Chart, ChartMetadata, ChartReader, Values, ValuesError, chart_files, directory_metadata, read_metadata,
};
use plumb_memory::{Limit, MemoryPool, MemoryReservation};
use plumb_store::{Location, StoreError};
use serde::de::DeserializeOwned;

use super::{
    HelmChartSource,
    build::{Built, CHART_MEMORY, packaged},
    dependencies::{self, Needed},
    error::{HelmChartError, ValuesFilesError},
    resolve::{Origin, Remote, extended, generation},
    validate::{Valid, inside},
};
use crate::{
    artifact::{ReadError, on_thread},
    helm_repository::HelmLimits,
};

/// What the artifact of a source may take in memory while a chart is read from it.
const SOURCE_MEMORY: Limit = Limit { name: "artifact with a Helm chart in memory", bytes_max: 1 << 30 };
/// Characters of the revision of a source in a version: the version may become a label, which is short.
const REVISION_CHARS: usize = 12;

/// A chart in the artifact of a source.
pub struct Files {
    /// The kind of the source.
    pub kind: ChartSourceKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The artifact.
    pub artifact: Artifact,
    /// The directory or the archive of the chart.
    pub path: RelPath,
}

/// The artifact that a source has now.
pub async fn source(
    source: &HelmChartSource,
    namespace: &str,
    kind: ChartSourceKind,
    name: &str,
    path: &RelPath,
) -> Result<Files, HelmChartError> {
    let client = source.clients.api();
    let problem = match kind {
        ChartSourceKind::GitRepository => {
            let api = Api::namespaced(client, namespace);
            read_object(&api, name).await.map(|found: GitRepository| found.artifact().cloned())
        }
        ChartSourceKind::Bucket => {
            let api = Api::namespaced(client, namespace);
            read_object(&api, name).await.map(|found: Bucket| found.status.and_then(|it| it.artifact))
        }
        ChartSourceKind::HelmRepository => Err("it is not a source of files".to_owned()),
    };
    let artifact = problem.map_err(|problem| HelmChartError::NoSource { kind, problem })?;
    let artifact =
        artifact.ok_or_else(|| HelmChartError::NoSourceArtifact { kind, name: name.to_owned() })?;
    let (namespace, name, path) = (namespace.to_owned(), name.to_owned(), path.clone());
    Ok(Files { kind, namespace, name, artifact, path })
}

async fn read_object<K>(api: &Api<K>, name: &str) -> Result<K, String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let found = call(api.get_opt(name)).await.map_err(|error| error.to_string())?;
    found.ok_or_else(|| format!("{}.{} \"{name}\" not found", K::plural(&()), K::group(&())))
}

/// Which chart it is, and in which version.
pub async fn resolve(
    source: &HelmChartSource,
    object: &HelmChart,
    valid: &Valid,
    files: Files,
    strategy: ChartReconcileStrategy,
) -> Result<Remote, HelmChartError> {
    let source_revision = Some(files.artifact.revision.clone());
    if let Some((name, version)) = known(object, &files.artifact) {
        return Ok(Remote { name, version, source_revision, origin: Origin::Files(Box::new(files)) });
    }
    let mut memory = source.clients.memory().reservation(&files.namespace, SOURCE_MEMORY);
    let archive = read(source, &files, &mut memory).await?;
    let limits = source.limits;
    let (files, metadata) = on_thread(move || {
        let metadata = metadata(&archive, &files, limits, &mut memory);
        (files, metadata)
    })
    .await?;
    let ChartMetadata { name, version } = metadata?;
    let mut parts = Vec::new();
    if strategy == ChartReconcileStrategy::Revision {
        parts.push(short(&files.artifact.revision).to_owned());
    }
    if !valid.values_files.is_empty() {
        parts.push(generation(object));
    }
    let version = if parts.is_empty() { version } else { extended(&version, &parts.join("."))? };
    Ok(Remote { name, version, source_revision, origin: Origin::Files(Box::new(files)) })
}

/// The chart of the status, where it was resolved with this spec from this very artifact: it need not be read again.
fn known(object: &HelmChart, artifact: &Artifact) -> Option<(String, String)> {
    let status = object.status.as_ref()?;
    let ours = status.artifact.as_ref()?;
    let is_same = status.observed_generation == object.metadata.generation
        && status.observed_source_artifact_revision.as_ref() == Some(&artifact.revision)
        // Another artifact may have the same revision: with other ignore rules, say.
        && artifact.last_update_time < ours.last_update_time;
    let name = status.observed_chart_name.clone().filter(|_| is_same)?;
    Some((name, ours.revision.clone()))
}

/// The first characters of a hash: `main@sha1:…` and `sha256:…` alike.
fn short(revision: &str) -> &str {
    let hash = revision.rsplit(':').next().unwrap_or(revision);
    hash.get(..REVISION_CHARS).unwrap_or(hash)
}

/// Reads the artifact.
async fn read(
    source: &HelmChartSource,
    files: &Files,
    memory: &mut MemoryReservation,
) -> Result<Vec<u8>, HelmChartError> {
    let Files { kind, namespace, name, artifact, path: _ } = files;
    let location = Location::new(kind.as_str(), namespace, name).map_err(|source| {
        HelmChartError::SourceArtifact(ReadError::Storage(StoreError::Location { source }))
    })?;
    let stored = source.storage.read_at(location, artifact, SOURCE_MEMORY.bytes_max, memory).await;
    let stored = stored.map_err(HelmChartError::SourceArtifact)?;
    stored.ok_or_else(|| HelmChartError::NoSourceArtifact { kind: *kind, name: name.clone() })
}

/// What the chart says of itself, from as few files as possible.
fn metadata(
    archive: &[u8],
    files: &Files,
    limits: HelmLimits,
    memory: &mut MemoryReservation,
) -> Result<ChartMetadata, HelmChartError> {
    let is_wanted = |path: &RelPath| {
        let is_metadata = matches!(path.file_name(), Some("Chart.yaml" | "requirements.yaml"));
        *path == files.path || (is_metadata && path.parent().as_ref() == Some(&files.path))
    };
    let tree = unpack_some(archive, &UnpackLimits::DEFAULT, memory, is_wanted);
    let tree = tree.map_err(HelmChartError::Unpack)?;
    if let Some(file) = tree.file(&files.path) {
        if file.content.len() as u64 > limits.chart {
            let path = files.path.as_str().to_owned();
            return Err(HelmChartError::ArchiveTooLarge { path, max: limits.chart });
        }
        return read_metadata(&file.content, limits.chart_file).map_err(HelmChartError::Reference);
    }
    if tree.is_empty() {
        let (path, name) = (files.path.as_str().to_owned(), files.name.clone());
        return Err(HelmChartError::NoChart { path, kind: files.kind, name });
    }
    directory_metadata(&tree, &files.path).map_err(HelmChartError::Reference)
}

/// Builds the chart.
pub async fn build(
    source: &HelmChartSource,
    valid: &Valid,
    files: Files,
    version: &str,
) -> Result<Built, HelmChartError> {
    let pool = source.clients.memory().clone();
    let mut held = pool.reservation(&files.namespace, SOURCE_MEMORY);
    let archive = read(source, &files, &mut held).await?;
    let (namespace, limits) = (files.namespace.clone(), source.limits);
    let (valid, version) = (valid.clone(), version.to_owned());
    let loaded = on_thread(move || {
        let loading = Loading { archive: &archive, files: &files, valid: &valid, limits, pool };
        let loaded = loading.load(&version);
        drop(archive);
        drop(held);
        loaded
    });
    match loaded.await?? {
        Loaded::AsItIs(built) => Ok(built),
        Loaded::Chart { chart, memory, remote, values_files } => {
            let (chart, memory) =
                dependencies::add_remote(source, &namespace, (*chart, memory), remote).await?;
            packaged(chart, memory, values_files).await
        }
    }
}

/// A chart that was loaded.
enum Loaded {
    /// An archive that is stored with its bytes.
    AsItIs(Built),
    /// A chart to be packaged.
    Chart {
        chart: Box<Chart>,
        memory: MemoryReservation,
        /// What it needs from repositories.
        remote: Vec<Needed>,
        values_files: Vec<String>,
    },
}

/// What a chart is loaded from.
struct Loading<'a> {
    archive: &'a [u8],
    files: &'a Files,
    valid: &'a Valid,
    limits: HelmLimits,
    pool: MemoryPool,
}

impl Loading<'_> {
    fn load(&self, version: &str) -> Result<Loaded, HelmChartError> {
        let path = &self.files.path;
        let values_files = self.values_files();
        let mut unpacked = self.memory();
        let is_wanted = |of: &RelPath| {
            of.starts_with(path) || values_files.iter().any(|(_, place)| place.as_ref() == Some(of))
        };
        let tree = unpack_some(self.archive, &UnpackLimits::DEFAULT, &mut unpacked, is_wanted);
        let tree = tree.map_err(HelmChartError::Unpack)?;
        // First, as with Flux: a values file that is wrong is named as one, also where it is a file of the chart.
        let values = self.merge(&tree, &values_files)?;
        let mut memory = self.memory();
        let mut reader = ChartReader::new(self.limits.chart_file, &mut memory);
        let archive = tree.file(path).map(|file| file.content.clone());
        let mut chart = match &archive {
            Some(bytes) => reader.archive(bytes),
            None => chart_files(&tree, path).and_then(|files| reader.files(files)),
        }
        .map_err(HelmChartError::Load)?;
        if let Some(bytes) =
            archive.as_ref().filter(|_| values_files.is_empty() && chart.version() == version)
        {
            let (bytes, values_files) = (bytes.clone(), Vec::new());
            return Ok(Loaded::AsItIs(Built { bytes, memory, is_packaged: false, values_files }));
        }
        chart.set_version(version);
        let merged = values.map(|(text, merged)| {
            let replaced = chart.set_values(text);
            replaced.map(|()| merged).map_err(|it| HelmChartError::Values(ValuesFilesError::OfSource(it)))
        });
        let merged = merged.transpose()?.unwrap_or_default();
        drop(tree);
        drop(unpacked);
        let needed = if archive.is_none() { dependencies::needed(&chart, path)? } else { Vec::new() };
        let (local, remote): (Vec<_>, Vec<_>) = needed.into_iter().partition(Needed::is_local);
        if !local.is_empty() {
            let mut unpacked = self.memory();
            for dependency in dependencies::local(self.archive, &local, &mut reader, &mut unpacked)? {
                chart.add_dependency(dependency);
            }
        }
        Ok(Loaded::Chart { chart: Box::new(chart), memory, remote, values_files: merged })
    }

    fn memory(&self) -> MemoryReservation {
        self.pool.reservation(&self.files.namespace, CHART_MEMORY)
    }

    /// The values files, and where they are: paths are those of the artifact.
    fn values_files(&self) -> Vec<(&str, Option<RelPath>)> {
        let files = self.valid.values_files.iter();
        files.map(|file| (file.as_str(), inside(&RelPath::root(), file))).collect()
    }

    /// The text of `values.yaml`, and the files that it is made of; none where the chart keeps its own.
    fn merge(
        &self,
        tree: &MemoryTree,
        files: &[(&str, Option<RelPath>)],
    ) -> Result<Option<(String, Vec<String>)>, HelmChartError> {
        let failed = |error| HelmChartError::Values(ValuesFilesError::OfSource(error));
        if files.is_empty() {
            return Ok(None);
        }
        let mut memory = self.memory();
        let mut values = Values::new(&mut memory);
        let mut merged = Vec::new();
        for (reference, place) in files {
            match place.as_ref().and_then(|place| tree.file(place)) {
                Some(file) => values.merge_file(reference, &file.content).map_err(failed)?,
                None if self.valid.ignore_missing => continue,
                None => return Err(failed(ValuesError::Missing { path: (*reference).to_owned() })),
            }
            merged.push((*reference).to_owned());
        }
        Ok(Some((values.to_yaml(), merged)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_the_first_characters_of_a_hash() {
        for (revision, expect) in [
            ("main@sha1:0123456789abcdef0123456789abcdef01234567", "0123456789ab"),
            ("sha256:fedcba9876543210", "fedcba987654"),
            ("sha1:0123", "0123"),
            ("plain", "plain"),
        ] {
            assert_eq!(short(revision), expect);
        }
    }
}
