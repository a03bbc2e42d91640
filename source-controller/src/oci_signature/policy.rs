//! Whose signatures count: the Secrets of the spec, read and parsed.

use kube::Client;
use plumb_filetree::digest::Hasher;
use plumb_oci_signature::PublicKey;

use super::{error::VerifyError, validate::Method};
use crate::settings::part;

/// What the names of public keys end with.
const KEY_SUFFIX: &str = ".pub";
/// Keys of a Secret.
const KEYS_MAX: usize = 100;

/// Whose signatures count.
pub struct Policy {
    pub(super) trust: Trust,
    /// Tells policies apart.
    pub(super) fingerprint: String,
}

pub(super) enum Trust {
    CosignKeys(Vec<PublicKey>),
}

impl Policy {
    /// Reads the Secrets that a method names.
    pub async fn read(client: &Client, namespace: &str, method: &Method) -> Result<Self, VerifyError> {
        let mut settings = Hasher::default();
        part(&mut settings, "provider", method.provider().as_bytes());
        let trust = match method {
            Method::CosignKeys { secret } => {
                Trust::CosignKeys(keys(client, namespace, secret, &mut settings).await?)
            }
        };
        Ok(Self { trust, fingerprint: settings.finish_hex() })
    }
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
