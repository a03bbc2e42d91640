//! Where the API server serves the kinds of the toolkit: group, version and plural, as the types define them. Kinds of
//! other groups never enter.

use kube_core::{ApiResource, GroupVersionKind, Resource};

use crate::kustomize::Kustomization;
use crate::notification::{Alert, ObjectKind, Provider, Receiver};
use crate::source::{
    ArtifactGenerator, Bucket, ExternalArtifact, GitRepository, HelmChart, HelmRepository, OCIRepository,
};

impl ObjectKind {
    /// Where the API server serves this kind, in the version that is used unless another is named.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Bucket => of::<Bucket>(),
            Self::GitRepository => of::<GitRepository>(),
            Self::Kustomization => of::<Kustomization>(),
            Self::HelmChart => of::<HelmChart>(),
            Self::HelmRepository => of::<HelmRepository>(),
            Self::OciRepository => of::<OCIRepository>(),
            Self::ExternalArtifact => of::<ExternalArtifact>(),
            // These have no type here.
            Self::HelmRelease => self.foreign("helm.toolkit.fluxcd.io", "v2", "helmreleases"),
            Self::ImageRepository => self.foreign(IMAGE_GROUP, "v1", "imagerepositories"),
            Self::ImagePolicy => self.foreign(IMAGE_GROUP, "v1", "imagepolicies"),
            Self::ImageUpdateAutomation => self.foreign(IMAGE_GROUP, "v1", "imageupdateautomations"),
            Self::ArtifactGenerator => of::<ArtifactGenerator>(),
        }
    }

    fn foreign(self, group: &str, version: &str, plural: &str) -> ApiResource {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, self.as_str()), plural)
    }
}

const IMAGE_GROUP: &str = "image.toolkit.fluxcd.io";

fn of<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// Where the API server serves a kind of the toolkit; `None` for any other kind.
pub fn resource(kind: &str) -> Option<ApiResource> {
    let own = [of::<Alert>(), of::<Provider>(), of::<Receiver>()];
    let own = own.into_iter().find(|resource| resource.kind == kind);
    own.or_else(|| ObjectKind::parse(kind).map(ObjectKind::resource))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_its_own_name_and_a_plural_of_its_own() {
        let all: Vec<ApiResource> = ObjectKind::ALL.iter().map(|kind| kind.resource()).collect();
        for (kind, resource) in ObjectKind::ALL.iter().zip(&all) {
            assert_eq!(resource.kind, kind.as_str());
            assert_eq!(resource.api_version, format!("{}/{}", resource.group, resource.version));
        }
        let plurals: BTreeSet<&str> = all.iter().map(|resource| resource.plural.as_str()).collect();
        assert_eq!(plurals.len(), all.len());
    }

    #[test]
    fn a_kind_is_found_as_its_definition_names_it() {
        for (_, crd) in crate::crd::all() {
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
            let found = resource(kind).unwrap();
            assert_eq!(
                (&crd["spec"]["group"], &crd["spec"]["names"]["plural"]),
                (&found.group.as_str().into(), &found.plural.as_str().into())
            );
        }
        assert_eq!(resource("ConfigMap"), None);
    }
}
