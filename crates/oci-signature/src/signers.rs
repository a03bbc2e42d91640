//! Whose signatures count, whatever their form.

use crate::{
    bundle,
    claim::{self, SimpleSignature},
    error::Rejection,
    key::PublicKey,
    keyless::Keyless,
};

/// Whose signatures count.
pub enum Signers {
    /// The owners of these keys.
    Keys(Vec<PublicKey>),
    /// Identities to which a certificate was issued.
    Keyless(Box<Keyless>),
}

impl Signers {
    /// Checks that the bundle is a signature of the digest that counts.
    pub fn verify_bundle(&self, bundle: &[u8], digest: &str) -> Result<(), Rejection> {
        match self {
            Self::Keys(keys) => bundle::verify_bundle(bundle, digest, keys),
            Self::Keyless(keyless) => keyless.verify_bundle(bundle, digest),
        }
    }

    /// Checks that the layer is a signature of the digest that counts.
    pub fn verify_simple(&self, signature: SimpleSignature<'_>, digest: &str) -> Result<(), Rejection> {
        match self {
            Self::Keys(keys) => claim::verify_simple(signature, digest, keys),
            Self::Keyless(keyless) => keyless.verify_simple(signature, digest),
        }
    }
}
