//! The content of an artifact: the archive of the chart, checked, with the bytes that were published; or packaged anew.

use std::collections::BTreeMap;

use bytes::Bytes;
use kube::ResourceExt as _;
use plumb_api::{
    meta::Artifact,
    source::{
        ChartReconcileStrategy, ChartSourceKind, HelmChart, HelmChartCondition, HelmChartSpec, HelmRepository,
    },
};
use plumb_helm::check_chart;
use plumb_memory::{Limit, MemoryReservation};
use plumb_oci::Blob;
use plumb_status::{Detail, Reason};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    HelmChartSource,
    build::{Built, with_values},
    error::{HelmChartError, PullError},
    files,
    registry::pull,
    resolve::{Found, Origin, Place, Remote},
    validate::{Valid, merged_values_files},
};
use crate::{
    artifact::{Content, Fetched, MediaType, Payload, on_thread, slot},
    helm_repository::{ArchiveRequest, File, HelmClients},
};

/// The extension of an archive.
const EXTENSION: &str = ".tgz";

/// Pulls or packages the chart that was resolved.
pub async fn fetch(
    source: &HelmChartSource,
    object: &HelmChart,
    valid: &Valid,
    remote: Remote,
) -> Result<Fetched<HelmChartCondition>, HelmChartError> {
    let namespace = object.namespace().unwrap_or_default();
    let _slot = slot(&source.pulls, &namespace).await?;
    let Remote { name, version, source_revision: _, origin } = remote;
    let built = match origin {
        Origin::Repository(found) => from_repository(source, &namespace, valid, found, &version).await?,
        Origin::Files(files) => files::build(source, valid, *files, &version).await?,
    };
    let Built { bytes, memory, is_packaged, values_files } = built;
    let observed = if valid.ignore_missing { json!(values_files) } else { Value::Null };
    Ok(Fetched {
        file_stem: format!("{}-{version}", last(&name)),
        content: Content {
            payload: Payload::Bytes { media_type: MediaType::Gzip, bytes },
            memory: Some(memory),
        },
        metadata: BTreeMap::new(),
        announcement: stored(&name, &version, is_packaged, &values_files),
        status: Map::from_iter([("observedValuesFiles".to_owned(), observed)]),
        conditions: Vec::new(),
    })
}

/// Pulls a chart of a repository, and merges values files where there are some.
async fn from_repository(
    source: &HelmChartSource,
    namespace: &str,
    valid: &Valid,
    found: Found,
    version: &str,
) -> Result<Built, HelmChartError> {
    let (name, published) = (found.name.clone(), found.version.clone());
    let pulled = pulled(source, namespace, found).await;
    let (bytes, memory) = pulled.map_err(HelmChartError::of_repository)?;
    let bytes = Bytes::from(bytes);
    checked(&bytes, last(&name), &published, source.limits.chart_file).await?;
    if valid.values_files.is_empty() {
        return Ok(Built { bytes, memory, is_packaged: false, values_files: Vec::new() });
    }
    let limits = (version, source.limits.chart_file);
    with_values(source.clients.memory(), namespace, (bytes, memory), valid, limits).await
}

/// Pulls the archive of a chart of a repository.
pub async fn pulled(
    source: &HelmChartSource,
    namespace: &str,
    found: Found,
) -> Result<(Vec<u8>, MemoryReservation), HelmChartError> {
    let Found { name, version, place } = found;
    match place {
        Place::Url { url, repository } => download(source, namespace, &url, &repository).await,
        Place::Registry { remote, timeout, name: _, verified } => {
            let pulled = pull(*remote, (&name, &version), verified, source.limits.chart, timeout).await;
            let Blob { bytes, memory } = pulled.map_err(HelmChartError::Download)?;
            Ok((bytes, memory))
        }
    }
}

/// Downloads the archive at a URL of an index.
async fn download(
    source: &HelmChartSource,
    namespace: &str,
    url: &str,
    repository: &HelmRepository,
) -> Result<(Vec<u8>, MemoryReservation), HelmChartError> {
    let base = HelmClients::base(repository)?;
    let url = resolved(&base, url).map_err(HelmChartError::Download)?;
    let limit = Limit { name: "Helm chart (--helm-chart-max-size)", bytes_max: source.limits.chart };
    let request = ArchiveRequest { namespace, repository, url: &url, limit };
    let File { bytes, memory, .. } =
        source.clients.archive(request).await?.map_err(|error| HelmChartError::Download(error.into()))?;
    Ok((bytes, memory))
}

/// A URL of an index: relative ones are below the repository, and keep its query.
fn resolved(base: &Url, url: &str) -> Result<Url, PullError> {
    let bad = || PullError::Url { url: plumb_transport::shown_text(url) };
    if let Ok(absolute) = Url::parse(url) {
        return if matches!(absolute.scheme(), "http" | "https") { Ok(absolute) } else { Err(bad()) };
    }
    let mut directory = base.clone();
    directory.path_segments_mut().map_err(|()| bad())?.pop_if_empty().push("");
    let mut joined = directory.join(url).map_err(|_| bad())?;
    if joined.query().is_none() {
        joined.set_query(base.query());
    }
    Ok(joined)
}

/// Checks an archive on a thread of its own: it is unpacked for that.
async fn checked(
    bytes: &Bytes,
    name: &str,
    version: &str,
    file_bytes_max: u64,
) -> Result<(), HelmChartError> {
    let (bytes, name, version) = (bytes.clone(), name.to_owned(), version.to_owned());
    let checked = on_thread(move || check_chart(&bytes, &name, &version, file_bytes_max));
    checked.await?.map_err(HelmChartError::Archive)
}

/// The name of a chart without the path in its registry.
fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The text of Ready, and of the event for an artifact.
pub fn stored(name: &str, version: &str, is_packaged: bool, values_files: &[String]) -> Detail {
    let (reason, verb) = if is_packaged {
        (Reason::ChartPackageSucceeded, "packaged")
    } else {
        (Reason::ChartPullSucceeded, "pulled")
    };
    let merged = if values_files.is_empty() {
        String::new()
    } else {
        format!(" and merged values files [{}]", values_files.join(" "))
    };
    Detail::new(reason, format!("{verb} '{name}' chart with version '{version}'{merged}"))
}

/// The text of an artifact that the status has.
pub fn stored_before(object: &HelmChart, artifact: &Artifact) -> Detail {
    let HelmChartSpec { chart, values_files, ignore_missing_values_files, .. } = &object.spec;
    let merged = match &object.status {
        Some(status) if *ignore_missing_values_files => &status.observed_values_files[..],
        _ => merged_values_files(values_files),
    };
    stored(&name_of(artifact, chart), &artifact.revision, is_packaged(&object.spec), merged)
}

/// Whether the chart of a spec is packaged anew. What a path of an artifact leads to is not in the status: an archive is called one.
fn is_packaged(spec: &HelmChartSpec) -> bool {
    let is_archive = match spec.source_ref.kind {
        ChartSourceKind::HelmRepository => true,
        ChartSourceKind::GitRepository | ChartSourceKind::Bucket => {
            spec.chart.ends_with(EXTENSION) && spec.reconcile_strategy != ChartReconcileStrategy::Revision
        }
    };
    !is_archive || !merged_values_files(&spec.values_files).is_empty()
}

/// The chart of an artifact, as its file names it; with its path in the registry where the spec still has it.
pub fn name_of(artifact: &Artifact, chart: &str) -> String {
    let file = last(&artifact.path);
    let end = format!("-{}{EXTENSION}", artifact.revision);
    let name = file.strip_suffix(&end).unwrap_or(file);
    if last(chart) == name { chart.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_below_the_repository_or_absolute() {
        for (base, url, expect) in [
            ("https://h/charts", "app-1.tgz", Some("https://h/charts/app-1.tgz")),
            ("https://h/charts/", "x/app-1.tgz", Some("https://h/charts/x/app-1.tgz")),
            ("https://h/charts", "/app-1.tgz", Some("https://h/app-1.tgz")),
            ("https://h/charts?token=t", "app-1.tgz", Some("https://h/charts/app-1.tgz?token=t")),
            ("https://h/charts?token=t", "https://cdn/app-1.tgz", Some("https://cdn/app-1.tgz")),
            ("https://h/charts", "oci://h/app", None),
            ("https://h/charts", "file:///etc/passwd", None),
        ] {
            let url = resolved(&Url::parse(base).unwrap(), url).ok();
            assert_eq!(url.as_ref().map(Url::as_str), expect, "{base}");
        }
    }

    #[test]
    fn the_file_of_an_artifact_names_its_chart() {
        let artifact = |path: &str, revision: &str| Artifact {
            path: path.to_owned(),
            revision: revision.to_owned(),
            digest: String::new(),
            last_update_time: jiff::Timestamp::UNIX_EPOCH,
            metadata: BTreeMap::new(),
            size: None,
            url: String::new(),
        };
        let one = artifact("helmchart/apps/app/my-app-1.0.0-rc.1+b.tgz", "1.0.0-rc.1+b");
        assert_eq!(name_of(&one, "my-app"), "my-app");
        assert_eq!(name_of(&one, "org/my-app"), "org/my-app");
        assert_eq!(name_of(&one, "other"), "my-app");
    }
}
