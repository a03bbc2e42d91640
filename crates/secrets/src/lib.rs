//! Secrets of the API server as the values that a controller needs. An error names the Secret, its namespace and the key, never a
//! value. Nothing is cached: a Secret is read when it is used.

pub mod bucket;
mod git;
pub mod github;
mod helm;
mod provider;
mod proxy;
mod read;
mod receiver;
mod registry;
mod service_account;
mod ssh;
mod tls;
mod variables;

pub use git::GitSecret;
pub use github::GithubSecret;
pub use helm::HelmSecret;
pub use provider::ProviderSecret;
pub use proxy::ProxySecret;
pub use read::{SecretContent, SecretError, read};
pub use receiver::receiver_token;
pub use registry::RegistrySecret;
pub use service_account::pull_secrets;
pub use ssh::SshSecret;
pub use tls::TlsSecret;
pub use variables::{Variables, VariablesError, read_variables};
