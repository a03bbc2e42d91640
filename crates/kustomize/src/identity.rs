//! The identity of an object while it is built: group, version, kind, name and namespace, as kustomize compares and
//! prints them.

use std::fmt;

use plumb_manifests::scope;
use plumb_manifests::yaml::Text;

/// Group, version and kind. In a selector, empty means any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Gvk {
    pub group: Text,
    pub version: Text,
    pub kind: Text,
}

impl Gvk {
    pub(crate) fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// Whether this kind is one of those that a pattern with empty parts describes.
    pub(crate) fn is_selected_by(&self, pattern: &Self) -> bool {
        let fits = |part: &str, own: &str| part.is_empty() || part == own;
        fits(&pattern.group, &self.group)
            && fits(&pattern.version, &self.version)
            && fits(&pattern.kind, &self.kind)
    }

    pub(crate) fn is_certainly_cluster_scoped(&self) -> bool {
        scope::is_certainly_cluster_scoped(&self.group, &self.version, &self.kind)
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &str, stand_in: &'static str| {
            if text.is_empty() { stand_in.to_owned() } else { text.to_owned() }
        };
        let Self { group, version, kind } = self;
        write!(f, "{}.{}.{}", or(kind, "[noKind]"), or(version, "[noVer]"), or(group, "[noGrp]"))
    }
}

/// One object of a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct ResId {
    pub gvk: Gvk,
    pub name: Text,
    /// As written; empty where none is.
    pub namespace: Text,
}

/// Placeholder for an absent namespace.
const NOT_NAMESPACED: &str = "_non_namespaceable_";
const DEFAULT_NAMESPACE: &str = "default";

impl ResId {
    /// The namespace that counts: `default` where none is written, none for cluster-scoped kinds.
    pub(crate) fn effective_namespace(&self) -> &str {
        if self.gvk.is_certainly_cluster_scoped() {
            NOT_NAMESPACED
        } else if self.namespace.is_empty() {
            DEFAULT_NAMESPACE
        } else {
            &self.namespace
        }
    }

    /// Whether both mean the same object.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.gvk == other.gvk
            && self.effective_namespace() == other.effective_namespace()
    }

    /// This id with its namespace worked out, so that ids of the same object are equal.
    pub(crate) fn to_key(&self) -> Self {
        Self { namespace: self.effective_namespace().into(), ..self.clone() }
    }
}

impl fmt::Display for ResId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "[noName]" } else { &self.name };
        let namespace = if self.namespace.is_empty() { "[noNs]" } else { &self.namespace };
        write!(f, "{}/{name}.{namespace}", self.gvk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_kustomize_prints_them() {
        let id = ResId { gvk: Gvk::new("v1", "ConfigMap"), name: "a".into(), namespace: Text::default() };
        assert_eq!(id.to_string(), "ConfigMap.v1.[noGrp]/a.[noNs]");
        assert_eq!(ResId::default().to_string(), "[noKind].[noVer].[noGrp]/[noName].[noNs]");
    }

    #[test]
    fn no_namespace_is_the_default_one_and_none_counts_for_cluster_scoped_kinds() {
        let id = |kind: &str, namespace: &str| ResId {
            gvk: Gvk::new("v1", kind),
            name: "a".into(),
            namespace: namespace.into(),
        };
        assert_eq!(id("ConfigMap", "").to_key(), id("ConfigMap", "default").to_key());
        assert_ne!(id("ConfigMap", "").to_key(), id("ConfigMap", "b").to_key());
        assert_eq!(id("Namespace", "").to_key(), id("Namespace", "b").to_key());
    }
}
