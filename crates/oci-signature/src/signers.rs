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
    /// Keys that each signature may be tried with. A keyless signature brings its own.
    pub const fn keys(&self) -> usize {
        match self {
            Self::Keys(keys) => keys.len(),
            Self::Keyless(_) => 1,
        }
    }

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
