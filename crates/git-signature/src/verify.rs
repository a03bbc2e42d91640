//! From an object and keys to a verdict.

use std::fmt;

use jiff::Timestamp;

use crate::{armor::SignatureFormat, error::VerifyError, keys::TrustedKeys, object::SignedObject, pgp, ssh};

/// The key that verified a signature, as it is shown: the id of a PGP key, the fingerprint of an SSH key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer(pub(crate) String);

impl fmt::Display for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The times that a verification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Now: nothing counts that is dated later.
    pub now: Timestamp,
    /// When neither signature nor key may have expired: now, or when the object was accepted before.
    pub valid_at: Timestamp,
}

impl Times {
    /// Both are the same.
    pub const fn at(now: Timestamp) -> Self {
        Self { now, valid_at: now }
    }
}

/// Verifies the signature of an object.
pub fn verify(object: &SignedObject, keys: &TrustedKeys, times: Times) -> Result<Signer, VerifyError> {
    match SignatureFormat::of(object.signature()) {
        SignatureFormat::Pgp if keys.pgp.is_empty() => Err(VerifyError::NoPgpKeys),
        SignatureFormat::Pgp => pgp::verify(object, &keys.pgp, times),
        SignatureFormat::Ssh if keys.ssh.is_empty() => Err(VerifyError::NoSshKeys),
        SignatureFormat::Ssh => ssh::verify(object, &keys.ssh, times),
        format => Err(VerifyError::Unsupported(format)),
    }
}
