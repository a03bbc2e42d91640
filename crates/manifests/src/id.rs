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

/// Replaces `:` in the names of RBAC objects, as in Flux's inventory.
const COLON_STAND_IN: &str = "__";

/// Replaces `_` in a name that would otherwise be parsed as another one. Names of objects contain no `%`.
const UNDERSCORE_STAND_IN: &str = "%5F";

impl ObjectId {
    /// `<namespace>_<name>_<group>_<kind>`, as in Flux's inventory. Flux writes the names `a:b` and `a__b` alike and reads
    /// both as `a:b`; here every name that would read back as another one has `%5F` for its underscores.
    pub fn to_inventory(&self) -> String {
        let mut name = self.name.replace(':', COLON_STAND_IN);
        if name.contains('_') && read_name(&name) != self.name {
            name = self.name.replace('_', UNDERSCORE_STAND_IN).replace(':', COLON_STAND_IN);
        }
        format!("{}_{}_{}_{}", self.namespace, name, self.group, self.kind)
    }

    /// The other object that an inventory of Flux may mean by this id: `a__b` where this is `a:b`. `None` for a name
    /// without a colon.
    pub fn written_alike(&self) -> Option<Self> {
        let name = self.name.contains(':').then(|| self.name.replace(':', COLON_STAND_IN))?;
        Some(Self { name, ..self.clone() })
    }

    /// Reads what `to_inventory` writes, and what Flux writes. Namespaces, groups and kinds hold no underscore, so the
    /// ends are safe.
    pub fn parse_inventory(text: &str) -> Result<Self, IdError> {
        let reject = || IdError { text: text.to_owned() };
        let (namespace, rest) = text.split_once('_').ok_or_else(reject)?;
        let (rest, kind) = rest.rsplit_once('_').ok_or_else(reject)?;
        let (name, group) = rest.rsplit_once('_').ok_or_else(reject)?;
        if name.is_empty() || kind.is_empty() {
            return Err(reject());
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: read_name(name),
            group: group.to_owned(),
            kind: kind.to_owned(),
        })
    }
}

fn read_name(name: &str) -> String {
    name.replace(COLON_STAND_IN, ":").replace(UNDERSCORE_STAND_IN, "_")
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
    fn every_name_reads_back_as_itself_and_no_two_names_are_written_alike() {
        let parts = ["a", "_", ":", "__", "b"];
        let mut written = std::collections::BTreeMap::new();
        let mut names: Vec<String> = vec![String::new()];
        for _ in 0..5 {
            names = names.iter().flat_map(|name| parts.map(|part| format!("{name}{part}"))).collect();
            for name in &names {
                let id = ObjectId { name: name.clone(), ..check_parts("ns") };
                assert_eq!(ObjectId::parse_inventory(&id.to_inventory()).unwrap(), id, "{name}");
                if let Some(other) = written.insert(id.to_inventory(), name.clone()) {
                    assert_eq!(other, *name);
                }
            }
        }
    }

    fn check_parts(namespace: &str) -> ObjectId {
        ObjectId {
            namespace: namespace.to_owned(),
            group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            ..ObjectId::default()
        }
    }

    #[test]
    fn a_name_that_flux_reads_back_keeps_flux_s_form() {
        let id = |name: &str| ObjectId { name: name.to_owned(), ..check_parts("") };
        assert_eq!(id("system:node_x").to_inventory(), "_system__node_x_rbac.authorization.k8s.io_Role");
        assert_eq!(id("team__b").to_inventory(), "_team%5F%5Fb_rbac.authorization.k8s.io_Role");
        assert_eq!(id("team:b").written_alike(), Some(id("team__b")));
        assert_eq!(id("team__b").written_alike(), None);
    }

    #[test]
    fn ids_with_parts_missing_are_rejected() {
        for text in ["", "a", "a_b", "a_b_c", "___", "a__b_"] {
            assert!(ObjectId::parse_inventory(text).is_err(), "{text}");
        }
    }
}
