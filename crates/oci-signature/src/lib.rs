//! Signatures of OCI artifacts: payloads, bundles, keys and certificates, parsed and verified. Where they are stored, and which of them are
//! downloaded, is not known here. No I/O.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod bundle;
mod claim;
mod error;
#[cfg(test)]
mod fixture;
mod identity;
mod key;
mod keyless;
mod notation;
mod pem;
mod signers;

pub use bundle::{BUNDLE_MEDIA_TYPE, SIGNATURE_PREDICATE};
pub use claim::{SIGNATURE, SimpleSignature};
pub use error::Rejection;
pub use identity::{Identity, IdentityError};
pub use key::{KeyError, PublicKey};
pub use keyless::{Keyless, TrustedRootError};
pub use notation::{
    CertificatesError, ENVELOPE_BYTES_MAX, JWS_MEDIA_TYPE, NOTATION_ARTIFACT_TYPE, Notation, Target,
    TrustPolicy, TrustPolicyError, Verdict,
};
pub use signers::Signers;

/// Bytes of the payload of a simple signature: it is a small JSON document.
pub const PAYLOAD_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a Sigstore bundle: a signature has a few KiB, with certificate, log entry and timestamp.
pub const BUNDLE_BYTES_MAX: u64 = 1 << 20;
