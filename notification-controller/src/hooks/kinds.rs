//! The kinds that a webhook may ask to reconcile: where the API server serves them.

use kube::core::ApiResource;
use plumb_api::notification::ObjectKind;

/// Plural and usual API version of a kind.
const fn place(kind: ObjectKind) -> (&'static str, &'static str) {
    match kind {
        ObjectKind::Bucket => ("buckets", "source.toolkit.fluxcd.io/v1"),
        ObjectKind::GitRepository => ("gitrepositories", "source.toolkit.fluxcd.io/v1"),
        ObjectKind::Kustomization => ("kustomizations", "kustomize.toolkit.fluxcd.io/v1"),
        ObjectKind::HelmRelease => ("helmreleases", "helm.toolkit.fluxcd.io/v2"),
        ObjectKind::HelmChart => ("helmcharts", "source.toolkit.fluxcd.io/v1"),
        ObjectKind::HelmRepository => ("helmrepositories", "source.toolkit.fluxcd.io/v1"),
        ObjectKind::ImageRepository => ("imagerepositories", "image.toolkit.fluxcd.io/v1"),
        ObjectKind::ImagePolicy => ("imagepolicies", "image.toolkit.fluxcd.io/v1"),
        ObjectKind::ImageUpdateAutomation => ("imageupdateautomations", "image.toolkit.fluxcd.io/v1"),
        ObjectKind::OciRepository => ("ocirepositories", "source.toolkit.fluxcd.io/v1"),
        ObjectKind::ArtifactGenerator => ("artifactgenerators", "source.extensions.fluxcd.io/v1beta1"),
        ObjectKind::ExternalArtifact => ("externalartifacts", "source.toolkit.fluxcd.io/v1"),
    }
}

/// Where a kind is served, in the version that is asked for or its usual one.
pub fn resource(kind: ObjectKind, api_version: Option<&str>) -> ApiResource {
    let (plural, usual) = place(kind);
    let api_version = api_version.filter(|version| !version.is_empty()).unwrap_or(usual);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.as_str().to_owned(),
        plural: plural.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_version_is_taken_unless_another_is_named() {
        let usual = resource(ObjectKind::GitRepository, None);
        assert_eq!(
            (usual.plural.as_str(), usual.api_version.as_str()),
            ("gitrepositories", "source.toolkit.fluxcd.io/v1")
        );
        let named = resource(ObjectKind::HelmRelease, Some("helm.toolkit.fluxcd.io/v2beta2"));
        assert_eq!((named.group.as_str(), named.version.as_str()), ("helm.toolkit.fluxcd.io", "v2beta2"));
    }

    #[test]
    fn every_kind_has_a_plural_of_its_own() {
        let plurals: std::collections::BTreeSet<_> =
            ObjectKind::ALL.iter().map(|kind| place(*kind).0).collect();
        assert_eq!(plurals.len(), ObjectKind::ALL.len());
    }
}
