//! Settings of connections, from Secrets that a spec names: which servers are trusted, and the proxy. Each is noted in a fingerprint,
//! which distinguishes clients with other settings without exposing them.

use plumb_filetree::digest::Hasher;
use plumb_oci::DockerConfig;
use plumb_secrets::{ProxySecret, RegistrySecret, SecretContent, SecretError, TlsSecret};
use plumb_transport::{Credential, Proxy, ProxyAddress, Trust, TrustPart};

/// The proxy of a Secret.
pub fn proxy(content: &SecretContent, settings: &mut Hasher) -> Result<Proxy, SecretError> {
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

/// The certificates of a Secret, beside those of the system.
pub fn trust(tls: TlsSecret, content: &SecretContent, settings: &mut Hasher) -> Result<Trust, SecretError> {
    let TlsSecret { ca, client } = tls;
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

/// Which certificates of a registry are trusted: those of a Secret, any where the spec says so, else those of the system.
pub fn registry_trust(
    certificates: Option<&SecretContent>,
    insecure: bool,
    settings: &mut Hasher,
) -> Result<Trust, SecretError> {
    match certificates {
        Some(content) => trust(TlsSecret::required(content)?, content, settings),
        None if insecure => {
            settings.update(b"unverified");
            Ok(Trust::unverified())
        }
        None => Ok(Trust::default()),
    }
}

/// The Docker configuration of a Secret; none in a Secret of another type.
pub fn docker_config(content: &SecretContent) -> Result<Option<DockerConfig>, SecretError> {
    let Some(secret) = RegistrySecret::from_content(content) else { return Ok(None) };
    let parsed = match secret {
        RegistrySecret::Config(json) => DockerConfig::parse(json.expose()),
        RegistrySecret::Legacy(json) => DockerConfig::parse_legacy(json.expose()),
    };
    parsed.map(Some).map_err(|error| content.rejected(secret.key(), error.to_string()))
}

/// Adds one part of the settings to their fingerprint, so that no two settings have the same.
pub fn part(settings: &mut Hasher, name: &str, value: &[u8]) {
    settings.update(format!("{name} {}\n", value.len()).as_bytes());
    settings.update(value);
}
