//! Alert, Provider and Receiver: who is told, how, and who may ask for a reconciliation. Sending and serving never
//! enter.

mod alert;
mod provider;
mod receiver;

pub use alert::*;
pub use provider::*;
pub use receiver::*;

use crate::string_enum::string_enum;

string_enum! {
    /// Kinds of objects that emit events and that a Receiver can reconcile.
    pub enum ObjectKind {
        /// Files of an object store.
        Bucket = "Bucket",
        /// A Git repository.
        GitRepository = "GitRepository",
        /// Applied manifests.
        Kustomization = "Kustomization",
        /// An installed chart.
        HelmRelease = "HelmRelease",
        /// A chart.
        HelmChart = "HelmChart",
        /// An index or registry of charts.
        HelmRepository = "HelmRepository",
        /// The tags of an image.
        ImageRepository = "ImageRepository",
        /// The choice of a tag.
        ImagePolicy = "ImagePolicy",
        /// Commits of new tags.
        ImageUpdateAutomation = "ImageUpdateAutomation",
        /// An artifact of a container registry.
        OciRepository = "OCIRepository",
        /// A maker of artifacts.
        ArtifactGenerator = "ArtifactGenerator",
        /// An artifact that another controller produces.
        ExternalArtifact = "ExternalArtifact",
    }
}

/// The name that stands for every object of a kind.
pub const ANY_NAME: &str = "*";
