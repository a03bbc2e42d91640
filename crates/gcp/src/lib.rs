//! Access tokens of Google Cloud: of the identity of the environment (a file of credentials, the metadata service), or of a service
//! account that a signed token of a Kubernetes ServiceAccount may act as.

mod client;
mod error;
mod identity;
mod parse;

pub use client::{AccountToken, Caller, GcpClient, GcpIdentity};
pub use error::GcpError;
pub use identity::{
    CLOUD_SCOPE, Federation, GcpEndpoints, STORAGE_SCOPE, is_email, is_registry, is_storage,
    is_workload_provider,
};
