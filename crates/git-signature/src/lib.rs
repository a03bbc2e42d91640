//! Signatures of commits and tags: which bytes are signed, and whether a trusted key signed them. OpenPGP and SSH, verified in this
//! process. Where objects and keys come from, and what follows from a verdict, is up to the caller.
//!
//! The libraries below check cryptography only. Which hash functions are accepted, what a key may be used for, when it has expired or
//! is revoked: that is decided here.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod armor;
mod error;
mod keys;
mod object;
mod pgp;
mod ssh;
#[cfg(test)]
mod tests;
mod verify;

pub use armor::SignatureFormat;
pub use error::{ObjectError, Rejection, VerifyError};
pub use keys::{TrustedKeys, UnusableKey};
pub use object::{ObjectFormat, SIGNATURE_BYTES_MAX, SignedObject};
pub use verify::{Signer, Times, verify};
