//! How a registry is reached: Secrets and ServiceAccounts of the spec, as trust, proxy and credential.

use plumb_filetree::digest::Hasher;
use plumb_oci::{Access, DockerConfig, RegistryCredential};
use plumb_secrets::{SecretContent, SecretError};
use plumb_transport::Proxy;

use super::{OciSource, error::OciSourceError, validate::Valid};
use crate::settings::{docker_config, proxy, registry_trust};

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
    Ok(Access { trust, proxy, fingerprint: settings.finish_hex(), plain_http, credential })
}

async fn read(source: &OciSource, namespace: &str, name: &str) -> Result<SecretContent, SecretError> {
    plumb_secrets::read(&source.client, namespace, name).await
}

/// The credential of the Secret, or of a pull Secret of the ServiceAccount. A Secret without a Docker configuration has none.
async fn credential(
    source: &OciSource,
    namespace: &str,
    valid: &Valid,
) -> Result<RegistryCredential, SecretError> {
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
    Ok(DockerConfig::merged(configs).credential(&valid.repository))
}
