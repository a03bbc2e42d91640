//! Repositories of container registries (OCI distribution): tags, manifests and blobs, strictly by digest, under limits. Credentials
//! go to the registry and to its own token server alone. What is done with a blob never enters.

mod attached;
mod challenge;
mod credential;
mod digest;
mod error;
mod manifest;
mod reference;
mod registry;
mod tags;
mod token;

pub use attached::REFERRERS_MAX;
pub use credential::{DockerConfig, DockerConfigError, RegistryCredential};
pub use digest::{Digest, DigestError};
pub use error::{OciError, ResponseError};
pub use manifest::{Descriptor, Manifest, ManifestError};
pub use reference::{ReferenceError, Repository, check_tag};
pub use registry::{Access, Blob, OciClient, OciLimits, Remote};
