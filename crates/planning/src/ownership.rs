//! Ownership: which objects are ours, by their labels, and which other managers' entries become ours.
//!
//! Labels are the only proof of ownership that a deletion accepts; a status is never one.

use std::fmt;

use plumb_api::meta::{OWNER_NAME_LABEL, OWNER_NAMESPACE_LABEL};
use plumb_manifests::Object;
use serde_json::Value;

/// A Kustomization as the owner of objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// The owner according to the labels of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    /// The given Kustomization.
    Ours,
    /// By another Kustomization.
    Another(Owner),
    /// By none.
    Nobody,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kustomization/{}/{}", self.namespace, self.name)
    }
}

impl Owner {
    /// Labels an object as ours.
    pub fn label(&self, object: &mut Object) {
        object.set_label(OWNER_NAME_LABEL, &self.name);
        object.set_label(OWNER_NAMESPACE_LABEL, &self.namespace);
    }

    /// Whose an object is.
    pub fn of(&self, object: &Object) -> Owned {
        self.of_labels(object.at(&["metadata", "labels"]))
    }

    /// Whose an object with these labels is.
    pub fn of_labels(&self, labels: Option<&Value>) -> Owned {
        let label = |key: &str| labels.and_then(|all| all.get(key)).and_then(Value::as_str);
        match (label(OWNER_NAME_LABEL), label(OWNER_NAMESPACE_LABEL)) {
            (Some(name), Some(namespace)) if name == self.name && namespace == self.namespace => Owned::Ours,
            (Some(name), Some(namespace)) => {
                Owned::Another(Owner { name: name.to_owned(), namespace: namespace.to_owned() })
            }
            (None, _) | (_, None) => Owned::Nobody,
        }
    }

    /// The label selector that finds all objects of all Kustomizations (a metadata watch serves every owner of a kind).
    pub fn selector() -> String {
        format!("{OWNER_NAME_LABEL},{OWNER_NAMESPACE_LABEL}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_namesake_in_another_namespace_is_another_owner() {
        let owner = |namespace: &str| Owner { name: "apps".to_owned(), namespace: namespace.to_owned() };
        let labels = json!({ OWNER_NAME_LABEL: "apps", OWNER_NAMESPACE_LABEL: "team-b" });
        assert_eq!(owner("team-b").of_labels(Some(&labels)), Owned::Ours);
        assert_eq!(owner("team-a").of_labels(Some(&labels)), Owned::Another(owner("team-b")));
        assert_eq!(owner("team-a").of_labels(Some(&json!({ OWNER_NAME_LABEL: "apps" }))), Owned::Nobody);
    }
}
