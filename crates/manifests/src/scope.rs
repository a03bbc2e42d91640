//! Whether a built-in kind is namespaced, as far as that is known without a cluster.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::scope_table::{CLUSTER_SCOPED, NAMESPACED};

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Outside any namespace.
    Cluster,
    /// In a namespace.
    Namespaced,
}

/// The scope of a kind of the table, `None` for every other kind.
pub fn builtin(api_version: &str, kind: &str) -> Option<Scope> {
    let row = format!("{api_version} {kind}");
    if CLUSTER_SCOPED.binary_search(&row.as_str()).is_ok() {
        Some(Scope::Cluster)
    } else if NAMESPACED.binary_search(&row.as_str()).is_ok() {
        Some(Scope::Namespaced)
    } else {
        None
    }
}

/// Whether a kind is known to live outside any namespace.
pub fn is_certainly_cluster_scoped(group: &str, version: &str, kind: &str) -> bool {
    static BY_KIND: OnceLock<HashMap<&str, Vec<(&str, &str)>>> = OnceLock::new();
    let by_kind = BY_KIND.get_or_init(|| {
        let mut by_kind: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
        for (api_version, kind) in CLUSTER_SCOPED.iter().filter_map(|row| row.split_once(' ')) {
            let parts = api_version.split_once('/').unwrap_or(("", api_version));
            by_kind.entry(kind).or_default().push(parts);
        }
        by_kind
    });
    by_kind.get(kind).is_some_and(|versions| versions.contains(&(group, version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_api_version_and_kind() {
        assert_eq!(builtin("v1", "Namespace"), Some(Scope::Cluster));
        assert_eq!(builtin("apps/v1", "Deployment"), Some(Scope::Namespaced));
        assert_eq!(builtin("example.com/v1", "Namespace"), None);
        assert!(!is_certainly_cluster_scoped("example.com", "v1", "Widget"));
        assert!(!is_certainly_cluster_scoped("example.com", "v1", "Namespace"));
        assert!(is_certainly_cluster_scoped("", "v1", "Namespace"));
        assert!(is_certainly_cluster_scoped("rbac.authorization.k8s.io", "v1", "ClusterRole"));
    }

    #[test]
    fn both_tables_are_sorted() {
        assert!(CLUSTER_SCOPED.is_sorted() && NAMESPACED.is_sorted());
    }
}
