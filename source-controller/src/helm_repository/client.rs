//! How a Helm repository over HTTP is reached: certificates and credentials of the spec, and a client for them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use http::HeaderValue;
use kube::Client;
use plumb_filetree::digest::Hasher;
use plumb_memory::MemoryPool;
use plumb_secrets::{HelmSecret, SecretContent, TlsSecret};
use plumb_transport::{
    ClientConfig, ClientError, Credential, CredentialPart, HttpClient, OriginCredential, Redirects, Trust,
    address::AddressPolicy,
};

use super::{
    error::{HelmRepositoryError, UrlError},
    validate::Valid,
};
use crate::settings::{part, trust};

/// How this client names itself.
const AGENT: &str = concat!("plumb/", env!("CARGO_PKG_VERSION"));
/// Clients that are kept, with the connections in them: the one that was used longest ago goes first.
const CLIENTS_MAX: usize = 64;

/// The clients of all Helm repositories. Clones share them.
#[derive(Clone)]
pub struct HelmClients(Arc<Inner>);

struct Inner {
    api: Client,
    addresses: AddressPolicy,
    memory: MemoryPool,
    kept: Mutex<VecDeque<(String, HttpClient)>>,
}

/// How one repository is reached.
#[derive(Clone)]
pub struct Access {
    /// The client.
    pub http: HttpClient,
    /// The credential, for the repository's own host.
    pub credential: Option<OriginCredential>,
    /// Tells other settings and credentials apart, without showing them.
    pub fingerprint: String,
}

impl HelmClients {
    /// Clients that read Secrets from an API server. What they download is charged to `memory`.
    pub fn new(api: Client, addresses: AddressPolicy, memory: MemoryPool) -> Self {
        Self(Arc::new(Inner { api, addresses, memory, kept: Mutex::default() }))
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
        let credential = bound(valid, &credential, content.as_ref())?;
        Ok(Access { http, credential, fingerprint: settings.finish_hex() })
    }

    /// A client with these certificates: connections are pooled in it.
    fn client(&self, settings: &str, trust: Option<Trust>) -> Result<HttpClient, ClientError> {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(known, _)| known == settings)
            && let Some((known, client)) = kept.remove(at)
        {
            kept.push_back((known, client.clone()));
            return Ok(client);
        }
        let client = HttpClient::new(ClientConfig {
            trust: trust.unwrap_or_default(),
            addresses: Some(self.0.addresses),
            redirects: Redirects::Follow,
            user_agent: Some(HeaderValue::from_static(AGENT)),
            ..ClientConfig::default()
        })?;
        if kept.len() == CLIENTS_MAX {
            kept.pop_front();
        }
        kept.push_back((settings.to_owned(), client.clone()));
        Ok(client)
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
