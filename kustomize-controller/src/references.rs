//! Which Kustomizations refer to which dependency and source: a change wakes those that it concerns without a look at
//! all the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use plumb_api::kustomize::Kustomization;
use plumb_cluster::NamespacedName;

use crate::source_ref::SourceRef;

/// What a Kustomization refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Reference {
    Dependency(NamespacedName),
    Source(SourceRef),
}

/// The references of all Kustomizations, both ways.
#[derive(Debug, Default)]
pub struct References(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    of: BTreeMap<NamespacedName, BTreeSet<Reference>>,
    to: BTreeMap<Reference, BTreeSet<NamespacedName>>,
}

impl References {
    /// Takes in what a Kustomization refers to now.
    pub fn put(&self, object: &Kustomization) {
        let key = NamespacedName::of(object);
        let own = key.namespace.as_str();
        let mut references: BTreeSet<Reference> = object
            .spec
            .depends_on
            .iter()
            .map(|dependency| {
                Reference::Dependency(NamespacedName::new(dependency.namespace_in(own), &dependency.name))
            })
            .collect();
        references.insert(Reference::Source(SourceRef::of(object)));
        let mut inner = self.lock();
        inner.remove(&key);
        for reference in &references {
            inner.to.entry(reference.clone()).or_default().insert(key.clone());
        }
        inner.of.insert(key, references);
    }

    /// Forgets a Kustomization.
    pub fn remove(&self, key: &NamespacedName) {
        self.lock().remove(key);
    }

    /// The Kustomizations that depend on this one.
    pub fn dependents(&self, key: &NamespacedName) -> Vec<NamespacedName> {
        self.lock().to(&Reference::Dependency(key.clone()))
    }

    /// The Kustomizations that apply this source.
    pub fn users(&self, source: &SourceRef) -> Vec<NamespacedName> {
        self.lock().to(&Reference::Source(source.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn to(&self, reference: &Reference) -> Vec<NamespacedName> {
        self.to.get(reference).into_iter().flatten().cloned().collect()
    }

    fn remove(&mut self, key: &NamespacedName) {
        for reference in self.of.remove(key).unwrap_or_default() {
            if let Some(keys) = self.to.get_mut(&reference) {
                keys.remove(key);
                if keys.is_empty() {
                    self.to.remove(&reference);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use plumb_api::kustomize::SourceKind;
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "the values are written in place")]
    fn kustomization(
        name: &str,
        dependencies: serde_json::Value,
        source: serde_json::Value,
    ) -> Kustomization {
        serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": { "name": name, "namespace": "apps" },
            "spec": { "prune": true, "interval": "1m", "dependsOn": dependencies, "sourceRef": source }
        }))
        .unwrap()
    }

    #[test]
    fn a_reference_holds_until_it_changes_or_its_object_is_gone() {
        let references = References::default();
        let repository = json!({ "kind": "GitRepository", "name": "web" });
        let elsewhere = json!({ "kind": "GitRepository", "name": "web", "namespace": "flux-system" });
        let bucket = json!({ "kind": "Bucket", "name": "web" });
        references.put(&kustomization("a", json!([{ "name": "base" }]), repository.clone()));
        references.put(&kustomization("b", json!([{ "name": "base", "namespace": "infra" }]), elsewhere));
        references.put(&kustomization("c", json!([{ "name": "base" }]), bucket));
        let [a, b, c] = ["a", "b", "c"].map(|name| NamespacedName::new("apps", name));
        assert_eq!(references.dependents(&NamespacedName::new("apps", "base")), [a.clone(), c.clone()]);
        assert_eq!(references.dependents(&NamespacedName::new("infra", "base")), std::slice::from_ref(&b));
        let users =
            |kind, namespace| references.users(&SourceRef::new(kind, NamespacedName::new(namespace, "web")));
        assert_eq!(users(SourceKind::GitRepository, "apps"), std::slice::from_ref(&a));
        assert_eq!(users(SourceKind::GitRepository, "flux-system"), std::slice::from_ref(&b));
        assert_eq!(users(SourceKind::Bucket, "apps"), std::slice::from_ref(&c), "the kind counts");
        references.put(&kustomization("a", json!([]), repository));
        references.remove(&b);
        assert_eq!(references.dependents(&NamespacedName::new("apps", "base")), [c]);
        assert_eq!(users(SourceKind::GitRepository, "apps"), [a]);
        assert_eq!(users(SourceKind::GitRepository, "flux-system"), []);
    }
}
