//! The content of an artifact: the archive of the chart, checked, with the bytes that were published.

use std::collections::BTreeMap;

use bytes::Bytes;
use kube::ResourceExt as _;
use plumb_api::{
    meta::Artifact,
    source::{HelmChart, HelmChartCondition, HelmRepository},
};
use plumb_helm::check_chart;
use plumb_memory::{Limit, MemoryReservation};
use plumb_oci::Blob;
use plumb_status::{Detail, Reason};
use serde_json::Map;
use url::Url;

use super::{
    HelmChartSource,
    error::{HelmChartError, PullError},
    registry::{pull, timeout},
    resolve::{Place, Remote},
};
use crate::{
    artifact::{Content, Fetched, MediaType, Payload, on_thread, slot},
    helm_repository::{ArchiveRequest, File, HelmClients},
};

/// The extension of an archive.
const EXTENSION: &str = ".tgz";

/// Pulls the chart that was resolved.
pub async fn fetch(
    source: &HelmChartSource,
    object: &HelmChart,
    remote: Remote,
) -> Result<Fetched<HelmChartCondition>, HelmChartError> {
    let namespace = object.namespace().unwrap_or_default();
    let _slot = slot(&source.pulls, &namespace).await?;
    let Remote { name, version, source_revision: _, place } = remote;
    let (bytes, memory) = match place {
        Place::Url { url, repository } => download(source, &namespace, &url, &repository).await?,
        Place::Registry(registry) => {
            let repository = source
                .repositories
                .get(&plumb_cluster::NamespacedName::new(&namespace, &object.spec.source_ref.name));
            let limit = repository.as_deref().map_or(super::TIMEOUT_MAX, timeout);
            let pulled = pull(*registry, &name, &version, source.limits.chart, limit).await;
            let Blob { bytes, memory } = pulled.map_err(HelmChartError::Download)?;
            (bytes, memory)
        }
    };
    let bytes = Bytes::from(bytes);
    checked(&bytes, last(&name), &version, source.limits.chart_file).await?;
    Ok(Fetched {
        file_stem: format!("{}-{version}", last(&name)),
        content: Content { payload: Payload::Bytes { media_type: MediaType::Gzip, bytes }, memory },
        metadata: BTreeMap::new(),
        announcement: pulled(&name, &version),
        status: Map::new(),
        conditions: Vec::new(),
    })
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
pub fn pulled(name: &str, version: &str) -> Detail {
    Detail::new(Reason::ChartPullSucceeded, format!("pulled '{name}' chart with version '{version}'"))
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
