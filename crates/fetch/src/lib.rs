//! Artifacts over HTTP, into memory: which hosts are allowed, a bounded download whose digest is checked before a byte of it is
//! parsed, and a cache by digest. What is done with the files never enters.

mod cache;
mod download;
mod error;
mod host;

pub use cache::ArtifactTree;
pub use download::{DownloadRetries, FetchLimits, Fetcher};
pub use error::FetchError;
pub use host::{HostPolicy, HostPort, HostPortError, allowed_host, cluster_domains};
