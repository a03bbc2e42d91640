//! Charts in a container registry: their versions are tags, in which `_` stands for `+`.

use std::time::Duration;

use plumb_api::source::{CloudProvider, HelmRepository};
use plumb_filetree::digest::Hasher;
use plumb_helm::Wanted;
use plumb_oci::{Access, Blob, Digest, DockerConfig, RegistryCredential, Remote as Registry, Repository};
use plumb_secrets::{HelmSecret, SecretContent, SecretError};
use plumb_transport::Proxy;
use plumb_version::parse_tag;

use super::{
    HelmChartSource,
    error::{HelmChartError, PullError, TagError},
    resolve::{Found, Place},
};
use crate::{
    cloud::Requester,
    helm_repository::HelmRepositoryError,
    settings::{docker_config, registry_trust},
};

/// The media type of a chart; and the one that Helm had before.
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const OLD_CHART: &str = "application/tar+gzip";

/// Finds the version: one that is written out in full without a request.
pub async fn find(
    source: &HelmChartSource,
    namespace: &str,
    repository: &HelmRepository,
    (name, wanted): (&str, &Wanted),
) -> Result<Found, HelmChartError> {
    let spec = &repository.spec;
    let url = format!("{}/{}", spec.url.trim_end_matches('/'), name);
    let chart = Repository::parse(&url).map_err(|error| HelmChartError::RegistryUrl {
        url: plumb_transport::shown_text(&spec.url),
        source: error,
    })?;
    let access = access(source, namespace, repository, &chart).await;
    let mut access =
        access.map_err(|error| HelmChartError::Repository(HelmRepositoryError::Secret(error)))?;
    if spec.secret_ref.is_none() && spec.provider != CloudProvider::Generic {
        let (proxy, timeout) = (Proxy::Environment, timeout(repository));
        let has_own_trust = spec.insecure || spec.cert_secret_ref.is_some();
        let requester = Requester { namespace, service_account: None, proxy, timeout, has_own_trust };
        let made = source.clients.cloud().registry(spec.provider, &requester, &chart).await;
        let provider = spec.provider.as_str();
        access.credential =
            made.map_err(|source| HelmChartError::Cloud { provider, source: Box::new(source) })?;
    }
    let remote =
        source.registries.connect(namespace, &chart, access, timeout(repository).min(POLL_MAX)).await;
    let listed = |error| HelmChartError::Version(TagError::Tags { chart: name.to_owned(), source: error });
    let remote = remote.map_err(listed)?;
    let version = if wanted.is_exact() {
        wanted.as_str().to_owned()
    } else {
        let (tags, _memory) = remote.tags().await.map_err(listed)?;
        highest(&tags, wanted).map_err(HelmChartError::Version)?
    };
    let (remote, timeout) = (Box::new(remote), timeout(repository));
    let place = Place::Registry { remote, timeout, name: chart, verified: None };
    Ok(Found { name: name.to_owned(), version, place })
}

/// How long one request for a version may take, whatever the timeout: it holds a slot that others wait for.
const POLL_MAX: Duration = Duration::from_mins(2);

/// The timeout of one operation.
fn timeout(repository: &HelmRepository) -> Duration {
    repository.spec.effective_timeout().to_std()
}

/// The version that is meant, among the tags that are versions.
fn highest(tags: &[String], wanted: &Wanted) -> Result<String, TagError> {
    let versions: Vec<String> =
        tags.iter().map(|tag| tag.replace('_', "+")).filter(|tag| parse_tag(tag).is_some()).collect();
    let chosen = wanted.choose(&versions, String::as_str, |_| None)?;
    chosen
        .cloned()
        .ok_or_else(|| TagError::NoMatch { version: wanted.as_str().to_owned(), tags: versions.len() })
}

/// Reads all that the repository names.
async fn access(
    source: &HelmChartSource,
    namespace: &str,
    repository: &HelmRepository,
    chart: &Repository,
) -> Result<Access, SecretError> {
    let spec = &repository.spec;
    let mut settings = Hasher::default();
    let credential = match &spec.secret_ref {
        None => RegistryCredential::Anonymous,
        Some(secret) => credential(&source.clients.secret(namespace, &secret.name).await?, chart)?,
    };
    let certificates = match &spec.cert_secret_ref {
        None => None,
        Some(secret) => Some(source.clients.secret(namespace, &secret.name).await?),
    };
    let trust = registry_trust(certificates.as_ref(), spec.insecure, &mut settings)?;
    let plain_http = spec.insecure || chart.is_local();
    Ok(Access {
        trust,
        proxy: Proxy::Environment,
        fingerprint: settings.finish_hex(),
        plain_http,
        credential,
    })
}

/// A Docker configuration, or a name and a password.
fn credential(content: &SecretContent, chart: &Repository) -> Result<RegistryCredential, SecretError> {
    if let Some(config) = docker_config(content)? {
        return Ok(DockerConfig::merged(vec![config]).credential(chart));
    }
    let HelmSecret { basic, tls: _ } = HelmSecret::from_content(content)?;
    let (username, password) = basic.ok_or_else(|| content.missing("username"))?;
    Ok(RegistryCredential::Basic { username, password })
}

/// The tag of a version.
pub fn tag_of(version: &str) -> String {
    version.replace('+', "_")
}

/// Pulls the archive of a chart, strictly by its digest: by the one that was verified, if there is one.
pub async fn pull(
    remote: Registry,
    (name, version): (&str, &str),
    verified: Option<Digest>,
    bytes_max: u64,
    timeout: Duration,
) -> Result<Blob, PullError> {
    let remote = remote.restarted(timeout);
    let tag = tag_of(version);
    let reference = format!("{name}:{tag}");
    let failed = |source| PullError::Registry { reference: reference.clone(), source };
    let digest = match verified {
        Some(digest) => digest,
        None => remote.digest_of(&tag).await.map_err(failed)?,
    };
    let manifest = remote.manifest(&digest).await.map_err(failed)?;
    let layer = manifest.layers.iter().find(|layer| [CHART, OLD_CHART].contains(&layer.media_type.as_str()));
    let layer =
        layer.ok_or_else(|| PullError::NoChart { reference: reference.clone(), media_type: CHART })?;
    if layer.size > bytes_max {
        return Err(PullError::TooLarge { bytes: layer.size, max: bytes_max });
    }
    remote.blob(layer).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_versions_with_another_sign() {
        let tags = ["1.2.0", "1.10.0_b.7", "latest", "sha256-1.sig", "2.0.0-rc.1"].map(str::to_owned);
        for (wanted, expect) in [
            ("*", Some("1.10.0+b.7")),
            ("1.x", Some("1.10.0+b.7")),
            ("1.2.x", Some("1.2.0")),
            (">=2.0.0-0", Some("2.0.0-rc.1")),
            ("latest", None),
            (">=3", None),
        ] {
            assert_eq!(highest(&tags, &Wanted::new(wanted)).ok().as_deref(), expect, "{wanted}");
        }
    }
}
