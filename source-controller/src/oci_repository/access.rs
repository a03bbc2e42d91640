//! How a registry is reached: Secrets and ServiceAccounts of the spec, as trust, proxy and credential.

use plumb_filetree::digest::Hasher;
use plumb_oci::{Access, DockerConfig, RegistryCredential};
use plumb_secrets::{ProxySecret, RegistrySecret, SecretContent, SecretError, TlsSecret};
use plumb_transport::{Credential, Proxy, ProxyAddress, Trust, TrustPart};

use super::{OciSource, error::OciSourceError, validate::Valid};

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
    let trust = match &valid.certificates {
        None if valid.insecure => {
            settings.update(b"unverified");
            Trust::unverified()
        }
        None => Trust::default(),
        Some(name) => {
            let content = read(source, namespace, name).await;
            let url = || format!("oci://{}", valid.repository);
            content
                .and_then(|content| trust(&content, &mut settings))
                .map_err(|source| OciSourceError::Certificates { url: url(), source })?
        }
    };
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
        let Some(secret) = RegistrySecret::from_content(&content) else {
            tracing::warn!(namespace, secret = name, "Secret has no .dockerconfigjson, it is not used");
            continue;
        };
        let parsed = match secret {
            RegistrySecret::Config(json) => DockerConfig::parse(json.expose()),
            RegistrySecret::Legacy(json) => DockerConfig::parse_legacy(json.expose()),
        };
        configs.push(parsed.map_err(|error| content.rejected(secret.key(), error.to_string()))?);
    }
    Ok(DockerConfig::merged(configs).credential(&valid.repository))
}

fn proxy(content: &SecretContent, settings: &mut Hasher) -> Result<Proxy, SecretError> {
    let ProxySecret { address, basic } = ProxySecret::from_content(content)?;
    part(settings, "proxy", address.as_bytes());
    let credential = match basic {
        None => Credential::None,
        Some((username, password)) => {
            part(settings, "username", username.as_bytes());
            part(settings, "password", password.expose());
            Credential::Basic { username, password }
        }
    };
    let address = ProxyAddress::parse(&address, &credential);
    Ok(Proxy::Address(address.map_err(|error| content.rejected("address", error.to_string()))?))
}

fn trust(content: &SecretContent, settings: &mut Hasher) -> Result<Trust, SecretError> {
    let TlsSecret { ca, client } = TlsSecret::required(content)?;
    let (ca_key, ca) = ca.unzip();
    let client = client.as_ref().map(|(chain, key)| (chain.as_slice(), key));
    for (name, value) in [
        ("ca", ca.as_deref()),
        ("chain", client.map(|(chain, _)| chain)),
        ("key", client.map(|(_, key)| key.expose())),
    ] {
        part(settings, name, value.unwrap_or_default());
    }
    Trust::parse_beside_system(ca.as_deref(), client).map_err(|error| {
        let key = match error.part {
            TrustPart::CaBundle => ca_key.unwrap_or("ca.crt"),
            TrustPart::ClientCertificate => "tls.crt",
            TrustPart::ClientKey => "tls.key",
        };
        content.rejected(key, error.problem)
    })
}

/// Adds one part of the settings to their fingerprint, so that no two settings have the same.
fn part(settings: &mut Hasher, name: &str, value: &[u8]) {
    settings.update(format!("{name} {}\n", value.len()).as_bytes());
    settings.update(value);
}
