//! Access tokens of Microsoft Entra ID for an identity of a workload: an assertion of a Kubernetes ServiceAccount, a client secret or a
//! managed identity in, a token for one scope out; logins of container registries. Where assertions come from is up to the caller.

mod error;
mod exchange;
mod identity;
mod managed;
mod registry;

pub use error::AzureError;
pub use exchange::{AzureTokens, Proof};
pub use identity::{ASSERTION_AUDIENCE, AUTHORITY_DEFAULT, AzureIdentity, DEVOPS_SCOPE};
pub use managed::ManagedIdentity;
pub use registry::{REGISTRY_USER, STORAGE_SCOPE, is_storage, registry_scope, registry_scope_elsewhere};
