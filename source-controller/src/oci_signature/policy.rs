//! Whose signatures count: the Secrets of the spec, read and parsed.

use std::sync::Arc;

use kube::Client;
use plumb_filetree::digest::Hasher;
use plumb_oci_signature::{Identity, Keyless, Notation, PublicKey, Signers, TrustPolicy};

use super::{
    error::{RootError, VerifyError},
    validate::Method,
};
use crate::settings::part;

/// What the names of public keys end with.
const KEY_SUFFIX: &str = ".pub";
/// The key of a trusted root.
const TRUSTED_ROOT: &str = "trusted_root.json";
/// The key of a trust policy, and what the names of certificates end with.
const TRUST_POLICY: &str = "trustpolicy.json";
const CERTIFICATE_SUFFIXES: [&str; 2] = [".crt", ".pem"];
/// Keys of a Secret.
const KEYS_MAX: usize = 100;

/// Whose signatures count.
pub struct Policy {
    pub(super) trust: Trust,
    /// Tells policies apart.
    pub(super) fingerprint: String,
}

pub(super) enum Trust {
    Cosign(Arc<Signers>),
    Notation(Arc<Notation>),
}

impl Policy {
    /// Reads the Secrets that a method names.
    pub async fn read(client: &Client, namespace: &str, method: &Method) -> Result<Self, VerifyError> {
        let mut settings = Hasher::default();
        part(&mut settings, "provider", method.provider().as_bytes());
        let trust = match method {
            Method::CosignKeys { secret } => {
                let keys = keys(client, namespace, secret, &mut settings).await?;
                Trust::Cosign(Arc::new(Signers::Keys(keys)))
            }
            Method::CosignKeyless { trusted_root, identities } => {
                for (issuer, subject) in identities.iter().map(Identity::expressions) {
                    part(&mut settings, "issuer", issuer.as_bytes());
                    part(&mut settings, "subject", subject.as_bytes());
                }
                let keyless = match trusted_root {
                    None => Keyless::with_public_root(identities.clone()).map_err(VerifyError::PublicRoot)?,
                    Some(name) => keyless(client, namespace, name, identities, &mut settings).await?,
                };
                Trust::Cosign(Arc::new(Signers::Keyless(Box::new(keyless))))
            }
            Method::Notation { secret } => {
                Trust::Notation(Arc::new(notation(client, namespace, secret, &mut settings).await?))
            }
        };
        Ok(Self { trust, fingerprint: settings.finish_hex() })
    }
}

/// The trusted root of a Secret, for these identities.
async fn keyless(
    client: &Client,
    namespace: &str,
    name: &str,
    identities: &[Identity],
    settings: &mut Hasher,
) -> Result<Keyless, VerifyError> {
    let failed = |source| VerifyError::TrustedRoot { secret: format!("{namespace}/{name}"), source };
    let read = plumb_secrets::read(client, namespace, name).await;
    let content = read.map_err(|error| failed(RootError::Secret(error)))?;
    let text = content.require(TRUSTED_ROOT).map_err(|error| failed(RootError::Secret(error)))?;
    part(settings, "trusted root", text.expose());
    // What is not UTF-8 is no JSON either.
    let keyless = Keyless::with_root(text.expose_str().unwrap_or_default(), identities.to_vec());
    keyless.map_err(|source| failed(RootError::Content { key: TRUSTED_ROOT, source }))
}

/// All public keys of a Secret.
async fn keys(
    client: &Client,
    namespace: &str,
    name: &str,
    settings: &mut Hasher,
) -> Result<Vec<PublicKey>, VerifyError> {
    let content = plumb_secrets::read(client, namespace, name).await.map_err(VerifyError::Secret)?;
    let mut keys = Vec::new();
    for (key, value) in content.ending_with(&[KEY_SUFFIX]) {
        if keys.len() >= KEYS_MAX {
            let (secret, suffixes) = (content.shown(), "'.pub'");
            return Err(VerifyError::TooManyKeys { secret, suffixes, max: KEYS_MAX });
        }
        part(settings, "key", value.expose());
        let parsed = PublicKey::parse_pem(value.expose());
        keys.push(parsed.map_err(|source| VerifyError::Key {
            secret: content.shown(),
            key: key.to_owned(),
            source,
        })?);
    }
    if keys.is_empty() {
        return Err(VerifyError::NoKeys { secret: content.shown(), suffixes: "'.pub'" });
    }
    Ok(keys)
}

/// The trust policy of a Secret, with its certificates.
async fn notation(
    client: &Client,
    namespace: &str,
    name: &str,
    settings: &mut Hasher,
) -> Result<Notation, VerifyError> {
    let content = plumb_secrets::read(client, namespace, name).await.map_err(VerifyError::Secret)?;
    let (secret, key) = (content.shown(), TRUST_POLICY);
    let text = content.get(key).ok_or_else(|| VerifyError::NoPolicy { secret: secret.clone(), key })?;
    part(settings, "policy", text.expose());
    let policy = TrustPolicy::parse(text.expose());
    let policy = policy.map_err(|source| VerifyError::Policy { secret: secret.clone(), key, source })?;
    let mut notation = Notation::new(policy);
    let mut files = content.ending_with(&CERTIFICATE_SUFFIXES).peekable();
    if files.peek().is_none() {
        return Err(VerifyError::NoKeys { secret, suffixes: "'.crt' or '.pem'" });
    }
    for (key, value) in files {
        part(settings, "certificates", value.expose());
        let added = notation.add_certificates(value.expose());
        let key = || key.to_owned();
        added.map_err(|source| VerifyError::Certificates { secret: secret.clone(), key: key(), source })?;
    }
    Ok(notation)
}
