//! The name of a source. Sources of two kinds can have the same namespace and name, so the kind is a part of it.

use std::fmt;

use plumb_api::kustomize::{Kustomization, SourceKind};
use plumb_cluster::NamespacedName;

/// Kind, namespace and name of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceRef {
    /// The kind.
    pub kind: SourceKind,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl SourceRef {
    /// The source of this kind.
    pub fn new(kind: SourceKind, name: NamespacedName) -> Self {
        let NamespacedName { namespace, name } = name;
        Self { kind, namespace, name }
    }

    /// The source that a Kustomization names.
    pub fn of(object: &Kustomization) -> Self {
        let reference = &object.spec.source_ref;
        let own = object.metadata.namespace.as_deref().unwrap_or_default();
        Self::new(reference.kind, NamespacedName::new(reference.namespace_in(own), &reference.name))
    }
}

impl fmt::Display for SourceRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(source: &Value) -> SourceRef {
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": { "name": "a", "namespace": "apps" },
            "spec": { "prune": true, "interval": "1m", "sourceRef": source }
        });
        SourceRef::of(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn sources_of_two_kinds_with_one_name_are_two() {
        let all = ["GitRepository", "Bucket", "OCIRepository", "ExternalArtifact"]
            .map(|kind| of(&json!({ "kind": kind, "name": "web" })));
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one), "{one}");
        }
        assert_eq!(all[0], of(&json!({ "kind": "GitRepository", "name": "web", "namespace": "apps" })));
        assert_eq!(all[1].to_string(), "Bucket/apps/web");
    }
}
