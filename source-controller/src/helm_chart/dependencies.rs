//! The charts that a chart needs and does not have: of the same artifact, or of repositories. A repository is the HelmRepository of
//! the namespace with the same URL; without one it is asked without credentials.

use std::sync::Arc;

use bytes::Bytes;
use kube::ResourceExt as _;
use plumb_api::source::HelmRepository;
use plumb_archive::{UnpackLimits, unpack_some};
use plumb_filetree::{FileTree as _, MemoryTree, RelPath};
use plumb_helm::{Chart, ChartReader, MissingDependency, Wanted, chart_files};
use plumb_memory::MemoryReservation;
use plumb_version::{Constraint, parse_loose};
use serde_json::json;

use super::{
    HelmChartSource,
    error::{DependencyError, HelmChartError, LocalDependencyError, RemoteDependencyError},
    fetch::pulled,
    resolve::find,
    validate::inside,
};
use crate::artifact::on_thread;

/// Charts that one chart may need.
const DEPENDENCIES_MAX: usize = 64;
/// How the URL of a registry begins.
const REGISTRY: &str = "oci://";
/// How a path in the same artifact begins.
const FILE: &str = "file://";

/// A chart that another one needs.
pub struct Needed {
    dependency: MissingDependency,
    /// Where it is in the same artifact.
    path: Option<RelPath>,
}

impl Needed {
    /// Whether it is in the same artifact.
    pub fn is_local(&self) -> bool {
        self.path.is_some()
    }
}

/// What a chart in a directory needs.
pub fn needed(chart: &Chart, directory: &RelPath) -> Result<Vec<Needed>, HelmChartError> {
    let missing = chart.missing_dependencies();
    if missing.len() > DEPENDENCIES_MAX {
        let (count, max) = (missing.len(), DEPENDENCIES_MAX);
        return Err(HelmChartError::Dependency(Box::new(DependencyError::TooMany { count, max })));
    }
    let one = |dependency: MissingDependency| {
        let reference = if dependency.repository.is_empty() {
            // Without a repository it has to be among the charts of the chart.
            Some(format!("charts/{}", dependency.name))
        } else {
            dependency.repository.strip_prefix(FILE).map(str::to_owned)
        };
        let path = reference.and_then(|reference| inside(directory, &reference));
        Needed { dependency, path }
    };
    Ok(missing.into_iter().map(one).collect())
}

/// Loads those that are in the same artifact.
pub fn local(
    archive: &[u8],
    needed: &[Needed],
    reader: &mut ChartReader<'_>,
    memory: &mut MemoryReservation,
) -> Result<Vec<Chart>, HelmChartError> {
    let is_wanted = |path: &RelPath| {
        needed.iter().filter_map(|one| one.path.as_ref()).any(|directory| path.starts_with(directory))
    };
    let tree = unpack_some(archive, &UnpackLimits::DEFAULT, memory, is_wanted);
    let tree = tree.map_err(HelmChartError::Unpack)?;
    let load = |one: &Needed| {
        let path = one.path.clone().unwrap_or_default();
        load_local(&tree, &one.dependency, &path, reader).map_err(|source| {
            let key = one.dependency.key.clone();
            HelmChartError::Dependency(Box::new(DependencyError::Local { key, source }))
        })
    };
    needed.iter().map(load).collect()
}

fn load_local(
    tree: &MemoryTree,
    dependency: &MissingDependency,
    path: &RelPath,
    reader: &mut ChartReader<'_>,
) -> Result<Chart, LocalDependencyError> {
    let MissingDependency { version, repository, .. } = dependency;
    let (path_text, reference) = (path.as_str().to_owned(), repository.clone());
    if tree.kind(path).is_none() {
        return Err(LocalDependencyError::Missing { path: path_text, reference });
    }
    let range = Constraint::parse(version)
        .map_err(|source| LocalDependencyError::Range { version: version.clone(), source })?;
    let loaded = match tree.file(path) {
        Some(file) => reader.archive(&file.content),
        None => chart_files(tree, path).and_then(|files| reader.files(files)),
    };
    let chart = loaded.map_err(|source| LocalDependencyError::Load {
        path: path_text,
        reference,
        source: Box::new(source),
    })?;
    if parse_loose(chart.version()).is_some_and(|version| range.matches(&version)) {
        return Ok(chart);
    }
    Err(LocalDependencyError::Version { version: version.clone(), found: chart.version().to_owned() })
}

/// Adds those of repositories, one after the other: each is in memory.
pub async fn add_remote(
    source: &HelmChartSource,
    namespace: &str,
    (mut chart, mut memory): (Chart, MemoryReservation),
    needed: Vec<Needed>,
) -> Result<(Chart, MemoryReservation), HelmChartError> {
    for Needed { dependency, path: _ } in needed {
        let added = add(source, namespace, (chart, memory), &dependency).await;
        (chart, memory) = added.map_err(|source| {
            let key = dependency.key.clone();
            HelmChartError::Dependency(Box::new(DependencyError::Remote { key, source }))
        })?;
    }
    Ok((chart, memory))
}

async fn add(
    source: &HelmChartSource,
    namespace: &str,
    (mut chart, mut memory): (Chart, MemoryReservation),
    dependency: &MissingDependency,
) -> Result<(Chart, MemoryReservation), RemoteDependencyError> {
    let MissingDependency { name, version, repository: url, .. } = dependency;
    let failed = |source: HelmChartError| RemoteDependencyError::Pull {
        name: name.clone(),
        version: version.clone(),
        url: plumb_transport::shown_text(url),
        source: Box::new(source),
    };
    let repository = repository(source, namespace, url).await?;
    let found = find(source, namespace, repository, name, &Wanted::new(version)).await.map_err(failed)?;
    let found_version = found.version.clone();
    let (archive, held) = pulled(source, namespace, found).await.map_err(failed)?;
    let file_bytes_max = source.limits.chart_file;
    let work = move || {
        let loaded = ChartReader::new(file_bytes_max, &mut memory).archive(&Bytes::from(archive));
        drop(held);
        loaded.map(|below| {
            chart.add_dependency(below);
            (chart, memory)
        })
    };
    let loaded = on_thread(work).await.map_err(|error| failed(error.into()))?;
    loaded.map_err(|source| RemoteDependencyError::Load { version: found_version, source })
}

/// The HelmRepository of the namespace with this URL, the first by name; or one that only has the URL.
async fn repository(
    source: &HelmChartSource,
    namespace: &str,
    url: &str,
) -> Result<Arc<HelmRepository>, RemoteDependencyError> {
    source.repositories.synced().await;
    let wanted = normalized(url);
    let all = source.repositories.all();
    let known = all.into_iter().find(|repository| {
        repository.namespace().as_deref() == Some(namespace) && normalized(&repository.spec.url) == wanted
    });
    if let Some(repository) = known {
        return Ok(repository);
    }
    let unusable =
        |problem| RemoteDependencyError::Repository { url: plumb_transport::shown_text(url), problem };
    if !["http://", "https://", REGISTRY].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(unusable("it has no scheme of a repository: http, https or oci"));
    }
    let kind = if url.starts_with(REGISTRY) { "oci" } else { "default" };
    let object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
        "metadata": { "name": "", "namespace": namespace },
        "spec": { "url": url, "type": kind, "interval": "1m", "timeout": "60s" },
    });
    serde_json::from_value(object).map(Arc::new).map_err(|_| unusable("it cannot be used"))
}

/// A URL as it is compared: how it ends does not matter.
fn normalized(url: &str) -> &str {
    url.trim_end_matches('/')
}
