//! How a Helm repository over HTTP is reached: certificates and credentials of the spec, and a client for them.

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, StatusCode};
use kube::Client;
use plumb_api::source::HelmRepository;
use plumb_filetree::digest::Hasher;
use plumb_memory::{Limit, MemoryPool};
use plumb_secrets::{HelmSecret, SecretContent, SecretError, TlsSecret};
use plumb_transport::{
    ClientCache, ClientConfig, ClientError, Credential, CredentialPart, HttpClient, OriginCredential,
    Redirects, Trust, address::AddressPolicy, shown_url,
};
use url::Url;

use super::{
    download::{DownloadError, Downloaded, File, FileRequest, download},
    error::{HelmRepositoryError, UrlError},
    validate::{Valid, validate},
};
use crate::{
    artifact::Validated,
    cloud::Cloud,
    settings::{part, trust},
};

/// How long a server may send nothing.
const SILENCE_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// How this client names itself.
const AGENT: &str = concat!("plumb/", env!("CARGO_PKG_VERSION"));

/// The clients of all Helm repositories. Clones share them.
#[derive(Clone)]
pub struct HelmClients(Arc<Inner>);

struct Inner {
    api: Client,
    cloud: Cloud,
    addresses: AddressPolicy,
    memory: MemoryPool,
    kept: ClientCache<String, HttpClient>,
}

/// An archive of a repository.
pub struct ArchiveRequest<'a> {
    /// To whom it is charged.
    pub namespace: &'a str,
    /// The repository.
    pub repository: &'a HelmRepository,
    /// The archive.
    pub url: &'a Url,
    /// How large it may be.
    pub limit: Limit,
}

/// How one repository is reached.
#[derive(Clone)]
pub struct Access {
    /// The client.
    pub http: HttpClient,
    /// The credential, for the repository's own host.
    pub credential: Option<OriginCredential>,
    /// The same, for no host yet.
    unbound: Credential,
    /// Tells other settings and credentials apart, without showing them.
    pub fingerprint: String,
}

impl HelmClients {
    /// Clients that read Secrets from an API server. What they download is charged to `memory`.
    pub fn new(cloud: Cloud, addresses: AddressPolicy, memory: MemoryPool) -> Self {
        let api = cloud.client.clone();
        Self(Arc::new(Inner { api, cloud, addresses, memory, kept: ClientCache::default() }))
    }

    /// What downloads are charged to.
    pub fn memory(&self) -> &MemoryPool {
        &self.0.memory
    }

    /// Reads all that the spec names.
    pub async fn access(&self, namespace: &str, valid: &Valid) -> Result<Access, HelmRepositoryError> {
        let mut settings = Hasher::default();
        let read = async |name: &str| plumb_secrets::read(&self.0.api, namespace, name).await;
        let mut tls = None;
        if let Some(name) = &valid.certificates {
            let content = read(name).await.map_err(HelmRepositoryError::Secret)?;
            let secret = TlsSecret::required(&content);
            let found = secret.and_then(|secret| trust(secret, &content, &mut settings));
            tls = Some(found.map_err(HelmRepositoryError::Secret)?);
        }
        let mut credential = valid.url_credential.clone();
        let mut content = None;
        if let Some(name) = &valid.secret {
            let secret = read(name).await.map_err(HelmRepositoryError::Secret)?;
            let HelmSecret { basic, tls: old } =
                HelmSecret::from_content(&secret).map_err(HelmRepositoryError::Secret)?;
            if let Some((username, password)) = basic {
                credential = Credential::Basic { username, password };
            }
            if tls.is_none() && !old.is_empty() {
                tracing::warn!(
                    namespace,
                    secret = name,
                    "certificates in spec.secretRef are deprecated, use spec.certSecretRef"
                );
                tls = Some(trust(old, &secret, &mut settings).map_err(HelmRepositoryError::Secret)?);
            }
            content = Some(secret);
        }
        let http = self.client(&settings.clone().finish_hex(), tls).map_err(HelmRepositoryError::Client)?;
        if let Credential::Basic { username, password } = &credential {
            part(&mut settings, "username", username.as_bytes());
            part(&mut settings, "password", password.expose());
        }
        let bound = bound(valid, &credential, content.as_ref())?;
        Ok(Access { http, credential: bound, unbound: credential, fingerprint: settings.finish_hex() })
    }

    /// The API server.
    pub fn api(&self) -> Client {
        self.0.api.clone()
    }

    /// Credentials of clouds.
    pub fn cloud(&self) -> &Cloud {
        &self.0.cloud
    }

    /// Reads a Secret.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<SecretContent, SecretError> {
        plumb_secrets::read(&self.0.api, namespace, name).await
    }

    /// The URL that relative URLs of the index are below.
    pub fn base(repository: &HelmRepository) -> Result<Url, HelmRepositoryError> {
        valid_http(repository).map(|valid| valid.url)
    }

    /// The URL of the index.
    pub fn index(repository: &HelmRepository) -> Result<Url, HelmRepositoryError> {
        valid_http(repository).map(|valid| valid.index)
    }

    /// Downloads the archive of a chart. The credential of the repository goes to its own host, and to others only where the
    /// repository says so.
    pub async fn archive(
        &self,
        request: ArchiveRequest<'_>,
    ) -> Result<Result<File, DownloadError>, HelmRepositoryError> {
        let ArchiveRequest { namespace, repository, url, limit } = request;
        let valid = valid_http(repository)?;
        let access = self.access(namespace, &valid).await?;
        // It was checked when it was bound to the repository.
        let anywhere = OriginCredential::new(url, &access.unbound).ok();
        let credential = if repository.spec.pass_credentials { anywhere } else { access.credential };
        let file = FileRequest {
            url,
            credential: credential.as_ref(),
            conditions: &[],
            limit,
            timeout: valid.timeout,
            namespace,
        };
        Ok(match download(&access.http, self.memory(), file).await {
            Ok(Downloaded::File(file)) => Ok(*file),
            Ok(Downloaded::Unchanged) => {
                Err(DownloadError::Status { url: shown_url(url), status: StatusCode::NOT_MODIFIED.as_u16() })
            }
            Err(error) => Err(error),
        })
    }

    /// A client with these certificates: connections are pooled in it.
    fn client(&self, settings: &str, trust: Option<Trust>) -> Result<HttpClient, ClientError> {
        let build = || {
            HttpClient::new(ClientConfig {
                trust: trust.unwrap_or_default(),
                addresses: Some(self.0.addresses),
                redirects: Redirects::Follow,
                read_timeout: Some(SILENCE_MAX),
                user_agent: Some(HeaderValue::from_static(AGENT)),
                ..ClientConfig::default()
            })
        };
        self.0.kept.get_or_build(settings.to_owned(), Instant::now(), build)
    }
}

/// The settings of a repository over HTTP.
fn valid_http(repository: &HelmRepository) -> Result<Valid, HelmRepositoryError> {
    match validate(&repository.spec)? {
        Validated::Artifact(valid) => Ok(valid),
        Validated::Static => Err(HelmRepositoryError::Url(UrlError::Registry)),
    }
}

/// The credential for the repository's own host.
fn bound(
    valid: &Valid,
    credential: &Credential,
    content: Option<&SecretContent>,
) -> Result<Option<OriginCredential>, HelmRepositoryError> {
    if !credential.is_some() {
        return Ok(None);
    }
    if valid.url.scheme() == "http" {
        tracing::warn!(url = %valid.url, "credentials are sent over an unencrypted connection");
    }
    OriginCredential::new(&valid.url, credential).map(Some).map_err(|error| match content {
        Some(content) => {
            let key = if error.part == CredentialPart::Username { "username" } else { "password" };
            HelmRepositoryError::Secret(content.rejected(key, format!("it {}", error.problem)))
        }
        None => HelmRepositoryError::Url(UrlError::Malformed { url: valid.url.to_string() }),
    })
}
