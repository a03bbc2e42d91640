//! Signatures of OCI artifacts, as OCIRepository and HelmChart want them verified: `validate` reads the spec, `policy` the Secrets,
//! `verify` finds the signatures in the registry. What a signature is and when it counts is in `plumb-oci-signature`.

mod error;
mod policy;
#[cfg(test)]
mod tests;
mod validate;
mod verified;
mod verify;

pub use error::VerifyError;
pub use policy::Policy;
pub use validate::{Method, MethodError, method};
pub use verified::VerifiedArtifacts;
pub use verify::verify;
