//! Signatures of OCI artifacts: payloads, bundles and keys, parsed and verified. Where they are stored, and which of them are
//! downloaded, is not known here. No I/O.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod bundle;
mod claim;
mod error;
#[cfg(test)]
mod fixture;
mod key;
mod pem;

pub use bundle::{BUNDLE_MEDIA_TYPE, SIGNATURE_PREDICATE, verify_bundle};
pub use claim::{SIMPLE_SIGNING_MEDIA_TYPE, SimpleSignature, verify_simple};
pub use error::Rejection;
pub use key::{KeyError, PublicKey};

/// Bytes of the payload of a simple signature: it is a small JSON document.
pub const PAYLOAD_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a Sigstore bundle: a signature has a few KiB, with certificate, log entry and timestamp.
pub const BUNDLE_BYTES_MAX: u64 = 1 << 20;
