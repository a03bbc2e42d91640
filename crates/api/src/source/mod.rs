//! The kinds that produce artifacts: GitRepository, OCIRepository, Bucket, HelmRepository, HelmChart, ArtifactGenerator and
//! ExternalArtifact. Fetching never enters.

mod artifact_generator;
mod bucket;
mod condition;
mod external_artifact;
mod git_repository;
mod helm_chart;
mod helm_repository;
mod oci_repository;
mod verification;

pub use artifact_generator::*;
pub use bucket::*;
pub use condition::*;
pub use external_artifact::*;
pub use git_repository::*;
pub use helm_chart::*;
pub use helm_repository::*;
pub use oci_repository::*;
pub use verification::*;

use crate::meta::GoDuration;

/// The timeout of a source that names none.
pub const SOURCE_TIMEOUT: GoDuration = GoDuration::from_secs(60);
