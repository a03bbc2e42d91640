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

/// Where the API server serves a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindResource {
    /// The API group.
    pub group: &'static str,
    /// The version that is used unless another is named.
    pub version: &'static str,
    /// The plural, as it stands in a path.
    pub plural: &'static str,
}

impl ObjectKind {
    /// Where the API server serves this kind.
    pub const fn resource(self) -> KindResource {
        const SOURCE: &str = crate::meta::SOURCE_GROUP;
        const IMAGE: &str = "image.toolkit.fluxcd.io";
        let (group, version, plural) = match self {
            Self::Bucket => (SOURCE, "v1", "buckets"),
            Self::GitRepository => (SOURCE, "v1", "gitrepositories"),
            Self::Kustomization => (crate::meta::KUSTOMIZE_GROUP, "v1", "kustomizations"),
            Self::HelmRelease => ("helm.toolkit.fluxcd.io", "v2", "helmreleases"),
            Self::HelmChart => (SOURCE, "v1", "helmcharts"),
            Self::HelmRepository => (SOURCE, "v1", "helmrepositories"),
            Self::ImageRepository => (IMAGE, "v1", "imagerepositories"),
            Self::ImagePolicy => (IMAGE, "v1", "imagepolicies"),
            Self::ImageUpdateAutomation => (IMAGE, "v1", "imageupdateautomations"),
            Self::OciRepository => (SOURCE, "v1", "ocirepositories"),
            Self::ArtifactGenerator => ("source.extensions.fluxcd.io", "v1beta1", "artifactgenerators"),
            Self::ExternalArtifact => (SOURCE, "v1", "externalartifacts"),
        };
        KindResource { group, version, plural }
    }
}

/// The name that stands for every object of a kind.
pub const ANY_NAME: &str = "*";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_plural_of_its_own() {
        let plurals: BTreeSet<_> = ObjectKind::ALL.iter().map(|kind| kind.resource().plural).collect();
        assert_eq!(plurals.len(), ObjectKind::ALL.len());
    }
}
