//! Names of Google Cloud: service accounts, providers of workload identities, registries, hosts. Pure.

use url::Url;

use crate::error::GcpError;

/// What a token for registries is for.
pub const CLOUD_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// What a token for buckets is for.
pub const STORAGE_SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";
/// Where the metadata service of a machine is.
const METADATA: &str = "http://169.254.169.254/";
const STS: &str = "https://sts.googleapis.com/v1/token";
const IAM: &str = "https://iamcredentials.googleapis.com/";
/// Characters of a part of a name.
const PART_MAX: usize = 100;

/// The services of Google Cloud that are called.
#[derive(Clone, Debug)]
pub struct GcpEndpoints {
    /// The metadata service.
    pub metadata: Url,
    /// The Security Token Service.
    pub sts: Url,
    /// The API of credentials of service accounts.
    pub iam: Url,
}

impl GcpEndpoints {
    /// Those of Google; the metadata service at another `host[:port]`, if the environment names one.
    pub fn new(metadata_host: Option<&str>) -> Result<Self, GcpError> {
        let url = |text: &str| Url::parse(text).map_err(|_| GcpError::MetadataHost);
        let metadata = match metadata_host {
            None => url(METADATA)?,
            Some(host) => url(&format!("http://{host}/"))?,
        };
        let is_host = metadata.path() == "/" && metadata.username().is_empty() && metadata.query().is_none();
        if !is_host {
            return Err(GcpError::MetadataHost);
        }
        Ok(Self { metadata, sts: url(STS)?, iam: url(IAM)? })
    }
}

/// Where the token of a Kubernetes ServiceAccount is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    /// The audience of the token.
    pub token_audience: String,
    /// The audience of the exchange.
    pub audience: String,
}

impl Federation {
    /// A provider of a pool of workload identities, `projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>`.
    pub fn of_provider(provider: &str) -> Self {
        let audience = format!("//iam.googleapis.com/{provider}");
        Self { token_audience: audience.clone(), audience }
    }

    /// A cluster of GKE.
    pub(crate) fn of_cluster(project: &str, location: &str, cluster: &str) -> Self {
        let pool = format!("{project}.svc.id.goog");
        let name = format!("projects/{project}/locations/{location}/clusters/{cluster}");
        let audience = format!("identitynamespace:{pool}:https://container.googleapis.com/v1/{name}");
        Self { token_audience: pool, audience }
    }
}

/// Whether a text is the email address of a service account: it becomes a part of a URL.
pub fn is_email(text: &str) -> bool {
    let parts = text.strip_suffix(".iam.gserviceaccount.com").and_then(|rest| rest.split_once('@'));
    parts.is_some_and(|(name, project)| is_part(name) && is_part(project))
}

/// Whether a text is the name of a provider of workload identities.
pub fn is_workload_provider(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let ["projects", project, "locations", "global", "workloadIdentityPools", pool, "providers", provider] =
        parts[..]
    else {
        return false;
    };
    is_part(pool)
        && is_part(provider)
        && is_part(project)
        && project.bytes().all(|byte| byte.is_ascii_digit())
}

pub(crate) fn is_part(text: &str) -> bool {
    (1..=PART_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether a registry, `host[:port]`, is Artifact Registry or Container Registry.
pub fn is_registry(registry: &str) -> bool {
    let is_artifact_registry = registry.strip_suffix("-docker.pkg.dev").is_some_and(is_part);
    registry == "gcr.io" || registry.strip_suffix(".gcr.io").is_some_and(is_part) || is_artifact_registry
}

/// Whether a URL is Cloud Storage.
pub fn is_storage(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    url.scheme() == "https"
        && url.port().is_none()
        && (host == "storage.googleapis.com" || host.ends_with(".storage.googleapis.com"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_for_registries_and_buckets_of_google_only() {
        for registry in ["gcr.io", "eu.gcr.io", "europe-west1-docker.pkg.dev"] {
            assert!(is_registry(registry), "{registry}");
        }
        for registry in [
            "evilgcr.io",
            "gcr.io:5000",
            "gcr.io.evil.example",
            "a.b.gcr.io",
            "docker.pkg.dev",
            "x.evil-docker.pkg.dev",
            "europe-docker.pkg.dev.evil.example",
            "ghcr.io",
        ] {
            assert!(!is_registry(registry), "{registry}");
        }
        for (url, expect) in [
            ("https://storage.googleapis.com/b", true),
            ("https://b.storage.googleapis.com/", true),
            ("http://storage.googleapis.com/b", false),
            ("https://storage.googleapis.com:8443/b", false),
            ("https://storage.googleapis.com.evil.example/b", false),
            ("https://evilstorage.googleapis.com/b", false),
        ] {
            assert_eq!(is_storage(&Url::parse(url).unwrap()), expect, "{url}");
        }
    }

    #[test]
    fn names_are_parts_of_urls() {
        assert!(is_email("me@acme-1.iam.gserviceaccount.com"));
        for text in [
            "",
            "me@acme.example",
            "a/b@acme.iam.gserviceaccount.com",
            "@a.iam.gserviceaccount.com",
            "a@b.c.iam.gserviceaccount.com",
        ] {
            assert!(!is_email(text), "{text}");
        }
        let provider = "projects/1/locations/global/workloadIdentityPools/p/providers/k";
        assert!(is_workload_provider(provider));
        assert_eq!(Federation::of_provider(provider).audience, format!("//iam.googleapis.com/{provider}"));
        for text in [
            "",
            "p",
            "projects/x/locations/global/workloadIdentityPools/p/providers/k",
            "projects/1/locations/eu/workloadIdentityPools/p/providers/k",
        ] {
            assert!(!is_workload_provider(text), "{text}");
        }
    }

    #[test]
    fn the_metadata_service_can_be_elsewhere() {
        let at = |host| GcpEndpoints::new(host).map(|endpoints| endpoints.metadata.to_string()).ok();
        assert_eq!(at(None).unwrap(), METADATA);
        assert_eq!(at(Some("127.0.0.1:8080")).unwrap(), "http://127.0.0.1:8080/");
        for host in ["a/b", "me@host", "h?q", ""] {
            assert_eq!(at(Some(host)), None, "{host}");
        }
    }
}
