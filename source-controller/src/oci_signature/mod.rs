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
pub use validate::{Method, MethodError, chart_method, method};
pub use verified::VerifiedArtifacts;
pub use verify::verify;

use plumb_oci_signature::Verdict;
use plumb_status::{ConditionStatus, ConditionUpdate, Detail, Reason};

/// The condition that follows from a verification.
pub fn verified_condition(verdict: Option<Verdict>, text: String) -> ConditionUpdate {
    match verdict {
        Some(Verdict::Verified) => {
            ConditionUpdate::Set(ConditionStatus::True, Detail::new(Reason::Succeeded, text))
        }
        // A policy that accepts it though nobody vouches for it: as with Flux, nothing is claimed.
        Some(Verdict::Ignored) | None => ConditionUpdate::Clear,
    }
}
