//! Which object is meant, as Flux writes it in inventories and messages.

use std::fmt;

/// Namespace, name, group and kind: what stays the same when the version of an API moves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectId {
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

/// An object and the version that it is written in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VersionedId {
    /// Which object.
    pub id: ObjectId,
    /// The version, without its group.
    pub version: String,
}

/// An inventory id that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("inventory id {text:?} is not of the form <namespace>_<name>_<group>_<kind>")]
pub struct IdError {
    /// What was read.
    pub text: String,
}

/// Stands for `:` in the names of RBAC objects, because the separator of ids must not occur in a name.
const COLON_STAND_IN: &str = "__";

impl ObjectId {
    /// `<namespace>_<name>_<group>_<kind>`, as in Flux's inventory.
    pub fn to_inventory(&self) -> String {
        let name = self.name.replace(':', COLON_STAND_IN);
        format!("{}_{}_{}_{}", self.namespace, name, self.group, self.kind)
    }

    /// Reads what `to_inventory` writes. Namespaces, groups and kinds hold no underscore, so the ends are safe.
    pub fn parse_inventory(text: &str) -> Result<Self, IdError> {
        let refuse = || IdError { text: text.to_owned() };
        let (namespace, rest) = text.split_once('_').ok_or_else(refuse)?;
        let (rest, kind) = rest.rsplit_once('_').ok_or_else(refuse)?;
        let (name, group) = rest.rsplit_once('_').ok_or_else(refuse)?;
        if name.is_empty() || kind.is_empty() {
            return Err(refuse());
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.replace(COLON_STAND_IN, ":"),
            group: group.to_owned(),
            kind: kind.to_owned(),
        })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl fmt::Display for VersionedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(inventory: &str, display: &str) {
        let id = ObjectId::parse_inventory(inventory).unwrap();
        assert_eq!(id.to_inventory(), inventory);
        assert_eq!(id.to_string(), display);
    }

    #[test]
    fn inventory_ids_read_back_as_written() {
        check("apps_podinfo_apps_Deployment", "Deployment/apps/podinfo");
        check("_podinfo__Namespace", "Namespace/podinfo");
        check("_system__node_rbac.authorization.k8s.io_ClusterRole", "ClusterRole/system:node");
        check("ns_a__b_rbac.authorization.k8s.io_Role", "Role/ns/a:b");
    }

    #[test]
    fn ids_with_parts_missing_are_refused() {
        for text in ["", "a", "a_b", "a_b_c", "___", "a__b_"] {
            assert!(ObjectId::parse_inventory(text).is_err(), "{text}");
        }
    }
}
