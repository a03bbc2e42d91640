//! Fingerprint: the content of an object, as a short value that can be stored and compared.
//!
//! Secrets are hashed with a key of this process, so that a fingerprint in memory or in a dump does not reveal the value.
//! No content leaves this module.

use std::fmt;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use plumb_manifests::Object;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// 128 bits of a SHA-256: enough that two contents never meet, small enough for ten thousand records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::cut(&Sha256::digest(bytes))
    }

    /// The fingerprint of a JSON value; keys are sorted, so equal content gives equal fingerprints.
    pub fn of_value(value: &Value) -> Self {
        Self::of_bytes(value.to_string().as_bytes())
    }

    fn cut(full: &[u8]) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&full[..16]);
        Self(short)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key with which Secrets are hashed; drawn at start by the shell, never stored, never printed.
#[derive(Clone)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// A key from 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

/// The fingerprint of a desired object.
pub fn of_object(object: &Object, key: &HashKey) -> Fingerprint {
    let text = object.value().to_string();
    if is_secret(object) {
        // A block of the hash: the key, filled up with zeros, as HMAC does with a shorter one.
        let mut block = [0; 64];
        block[..key.0.len()].copy_from_slice(&key.0);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        mac.update(text.as_bytes());
        Fingerprint::cut(&mac.finalize().into_bytes())
    } else {
        Fingerprint::of_bytes(text.as_bytes())
    }
}

/// Whether the content of an object is secret.
pub fn is_secret(object: &Object) -> bool {
    object.kind() == "Secret" && object.group().is_empty()
}
