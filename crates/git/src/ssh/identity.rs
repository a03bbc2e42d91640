//! The private key of a client as a Secret holds it: OpenSSH's own format, or PEM as PKCS#1, PKCS#8 and SEC1. The text comes from a
//! tenant, so the work that it can ask for is bounded: its size, the size of an RSA key, the rounds for a passphrase.

use std::{fmt, sync::Arc};

use data_encoding::BASE64;
use russh::keys::{Algorithm, HashAlg, PrivateKey, decode_secret_key, ssh_key};
use sha2::{Digest, Sha256};

/// Bytes of the text: an RSA key of 16 384 bits has 13 000.
const IDENTITY_BYTES_MAX: usize = 32 << 10;
/// Bits of an RSA key: the limit of OpenSSH.
const RSA_BITS_MAX: u32 = 16_384;
/// Rounds of bcrypt for a passphrase. `ssh-keygen` takes 16 (24 in newer releases); each takes some milliseconds.
const ROUNDS_MAX: u32 = 512;
/// The one cipher of encrypted PEM keys that is supported.
const PEM_CIPHER: &str = "AES-128-CBC";

/// A private key.
pub struct Identity {
    key: Arc<PrivateKey>,
    digest: [u8; 32],
}

/// A private key cannot be used. No text holds a part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The text is too long.
    #[error("it is larger than {IDENTITY_BYTES_MAX} bytes")]
    TooLarge,
    /// It has no line that begins a private key.
    #[error("it holds no private key in the format of OpenSSH or PEM")]
    NoKey,
    /// It is in a format that is not supported.
    #[error("{format} is not supported: convert it with ssh-keygen -p")]
    Format {
        /// Which.
        format: String,
    },
    /// What begins like a private key is none.
    #[error("the private key is damaged or of a type that is not supported: use ed25519, ecdsa or rsa")]
    Damaged,
    /// It is encrypted, and there is no passphrase.
    #[error("the private key is encrypted and there is no passphrase")]
    Encrypted,
    /// The passphrase is another one.
    #[error("the passphrase does not decrypt the private key")]
    Passphrase,
    /// Its passphrase takes too much work.
    #[error(
        "the passphrase takes {rounds} rounds, the limit is {ROUNDS_MAX}: convert it with ssh-keygen -p -a 64"
    )]
    Rounds {
        /// How many.
        rounds: u32,
    },
    /// An RSA key that is too large.
    #[error("the RSA key has {bits} bits, the limit is {RSA_BITS_MAX}")]
    RsaSize {
        /// How many.
        bits: u32,
    },
}

impl Identity {
    /// Reads a private key; the passphrase counts where it is encrypted. Takes up to some seconds of CPU: blocking.
    pub fn parse(text: &[u8], passphrase: Option<&str>) -> Result<Self, IdentityError> {
        if text.len() > IDENTITY_BYTES_MAX {
            return Err(IdentityError::TooLarge);
        }
        let lines = std::str::from_utf8(text).map_err(|_| IdentityError::NoKey)?.lines().map(str::trim);
        let lines: Vec<&str> = lines.skip_while(|line| !line.starts_with("-----BEGIN ")).collect();
        let first = lines.first().ok_or(IdentityError::NoKey)?;
        let passphrase = passphrase.filter(|passphrase| !passphrase.is_empty());
        let key = match first.trim_matches('-').strip_prefix("BEGIN ") {
            Some("OPENSSH PRIVATE KEY") => openssh(&lines, passphrase)?,
            Some("RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY") => pem(&lines, passphrase)?,
            Some("ENCRYPTED PRIVATE KEY") => {
                return Err(IdentityError::Format { format: "an encrypted PKCS#8 key".to_owned() });
            }
            _ => return Err(IdentityError::NoKey),
        };
        check_type(&key)?;
        let mut digest = Sha256::new();
        digest.update(text);
        digest.update(passphrase.unwrap_or_default());
        Ok(Self { key: Arc::new(key), digest: digest.finalize().into() })
    }

    pub(crate) fn key(&self) -> &Arc<PrivateKey> {
        &self.key
    }

    /// Distinguishes the identity from others. Only for what is hashed with a secret key.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Type and fingerprint of its public half.
    pub(crate) fn shown(&self) -> String {
        shown(self.key.public_key())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity({})", self.shown())
    }
}

/// A public key as errors show it: `ssh-ed25519 key SHA256:…`.
pub(crate) fn shown(key: &ssh_key::PublicKey) -> String {
    // The type of an RSA key is not that of a signature: it has one name only.
    let kind = if key.algorithm().is_rsa() { "ssh-rsa".to_owned() } else { key.algorithm().to_string() };
    format!("{kind} key {}", key.fingerprint(HashAlg::Sha256))
}

fn openssh(lines: &[&str], passphrase: Option<&str>) -> Result<PrivateKey, IdentityError> {
    let body: String = lines.iter().skip(1).take_while(|line| !line.starts_with('-')).copied().collect();
    let bytes = BASE64.decode(body.as_bytes()).map_err(|_| IdentityError::Damaged)?;
    let key = PrivateKey::from_bytes(&bytes).map_err(|_| IdentityError::Damaged)?;
    if !key.is_encrypted() {
        return Ok(key);
    }
    let passphrase = passphrase.ok_or(IdentityError::Encrypted)?;
    match key.kdf() {
        ssh_key::Kdf::Bcrypt { rounds, .. } if *rounds > ROUNDS_MAX => {
            Err(IdentityError::Rounds { rounds: *rounds })
        }
        _ => key.decrypt(passphrase).map_err(|_| IdentityError::Passphrase),
    }
}

fn pem(lines: &[&str], passphrase: Option<&str>) -> Result<PrivateKey, IdentityError> {
    let cipher = lines.iter().find_map(|line| line.strip_prefix("DEK-Info:"));
    let Some(cipher) = cipher else {
        return decode_secret_key(&lines.join("\n"), None).map_err(|_| IdentityError::Damaged);
    };
    let cipher = cipher.trim().split(',').next().unwrap_or_default();
    if cipher != PEM_CIPHER {
        let known = cipher.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        let cipher = if known { cipher } else { "another cipher" };
        return Err(IdentityError::Format { format: format!("a PEM key that is encrypted with {cipher}") });
    }
    let passphrase = passphrase.ok_or(IdentityError::Encrypted)?;
    decode_secret_key(&lines.join("\n"), Some(passphrase)).map_err(|_| IdentityError::Passphrase)
}

fn check_type(key: &PrivateKey) -> Result<(), IdentityError> {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(()),
        Algorithm::Rsa { .. } => {
            let bits = key.public_key().key_data().rsa().map_or(0, ssh_key::public::RsaPublicKey::key_size);
            if bits > RSA_BITS_MAX { Err(IdentityError::RsaSize { bits }) } else { Ok(()) }
        }
        _ => Err(IdentityError::Damaged),
    }
}

#[cfg(test)]
mod tests;
