//! How a registry is reached: Secrets and ServiceAccounts of the spec, as trust, proxy and credential.

use plumb_api::source::CloudProvider;
use plumb_filetree::digest::Hasher;
use plumb_oci::{Access, DockerConfig, RegistryCredential};
use plumb_secrets::{SecretContent, SecretError};
use plumb_transport::Proxy;

use super::{OciSource, error::OciSourceError, validate::Valid};
use crate::{
    cloud::Requester,
    settings::{docker_config, proxy, registry_trust},
};

/// Reads all that the spec names.
pub async fn access(source: &OciSource, namespace: &str, valid: &Valid) -> Result<Access, OciSourceError> {
    let mut settings = Hasher::default();
    let credential = credential(source, namespace, valid).await.map_err(OciSourceError::Credential)?;
    let proxy = match &valid.proxy {
        None => Proxy::Environment,
        Some(name) => {
            let content = read(source, namespace, name).await;
            content.and_then(|content| proxy(&content, &mut settings)).map_err(OciSourceError::Proxy)?
        }
    };
    let failed =
        |error| OciSourceError::Certificates { url: format!("oci://{}", valid.repository), source: error };
    let certificates = match &valid.certificates {
        None => None,
        Some(name) => Some(read(source, namespace, name).await.map_err(failed)?),
    };
    let trust = registry_trust(certificates.as_ref(), valid.insecure, &mut settings).map_err(failed)?;
    let plain_http = valid.insecure || valid.repository.is_local();
    let credential = match credential {
        Some(credential) => credential,
        None => of_provider(source, namespace, valid, &proxy).await?,
    };
    Ok(Access { trust, proxy, fingerprint: settings.finish_hex(), plain_http, credential })
}

async fn read(source: &OciSource, namespace: &str, name: &str) -> Result<SecretContent, SecretError> {
    plumb_secrets::read(&source.client, namespace, name).await
}

/// The credential of the Secret, or of a pull Secret of the ServiceAccount. A Secret without a Docker configuration has none. Where
/// there is none, that of the provider is used.
async fn credential(
    source: &OciSource,
    namespace: &str,
    valid: &Valid,
) -> Result<Option<RegistryCredential>, SecretError> {
    let mut names: Vec<String> = valid.secret.iter().cloned().collect();
    if let Some(account) = &valid.service_account {
        names.extend(plumb_secrets::pull_secrets(&source.client, namespace, account).await?);
    }
    let mut configs = Vec::new();
    for name in names {
        let content = read(source, namespace, &name).await?;
        let config = docker_config(&content)?;
        if config.is_none() {
            tracing::warn!(namespace, secret = name, "Secret has no .dockerconfigjson, it is not used");
        }
        configs.extend(config);
    }
    // With credentials of its own, the provider does not count, as with Flux.
    if configs.is_empty() && valid.provider != CloudProvider::Generic {
        return Ok(None);
    }
    Ok(Some(DockerConfig::merged(configs).credential(&valid.repository)))
}

/// The credential of the cloud.
async fn of_provider(
    source: &OciSource,
    namespace: &str,
    valid: &Valid,
    proxy: &Proxy,
) -> Result<RegistryCredential, OciSourceError> {
    let requester = Requester {
        namespace,
        service_account: valid.service_account.as_deref(),
        proxy: proxy.clone(),
        timeout: valid.timeout,
        has_own_trust: valid.insecure || valid.certificates.is_some(),
    };
    let made = source.cloud.registry(valid.provider, &requester, &valid.repository).await;
    let provider = valid.provider.as_str();
    made.map_err(|source| OciSourceError::Cloud { provider, source: Box::new(source) })
}
