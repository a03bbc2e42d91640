//! Access tokens of Microsoft Entra ID for an identity of a workload: an assertion of a Kubernetes ServiceAccount or a client secret in,
//! a token for one scope out. Where assertions come from, and what tokens are used for, is up to the caller.

mod error;
mod exchange;
mod identity;

pub use error::AzureError;
pub use exchange::{AzureTokens, Proof};
pub use identity::{ASSERTION_AUDIENCE, AUTHORITY_DEFAULT, AzureIdentity, DEVOPS_SCOPE};
