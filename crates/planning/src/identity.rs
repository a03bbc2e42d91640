//! Identity: one object has one id, regardless of the namespace that its manifest or an inventory gives to a cluster-scoped kind.
//!
//! kustomize sets a namespace on every kind that it does not know. The API server drops it from a cluster-scoped object, so
//! an id with it names no live object: watches, inventories of Flux and other manifests name the same object without it.
//! The scope of a kind is taken from, in this order: the built-in table, the API server, the definitions among the desired
//! objects, the inventory (an entry without namespace was applied as cluster-scoped).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_manifests::scope::{self, Scope};
use plumb_manifests::{Object, ObjectId};
use serde_json::Value;

use crate::fingerprint::{self, HashKey};
use crate::inventory::Inventory;
use crate::plan::{DuplicateId, Planned};
use crate::stage;

/// Group, version and kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionedKind {
    /// Empty for the core group.
    pub group: String,
    /// The version, without its group.
    pub version: String,
    /// The kind.
    pub kind: String,
}

/// The scopes of kinds that are not built in, by group and kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(BTreeMap<String, BTreeMap<String, Scope>>);

/// The kinds whose scope must be known before ids count: those of objects that carry a namespace and are not built in.
pub fn open_kinds(desired: &[Arc<Planned>], before: &Inventory) -> BTreeSet<VersionedKind> {
    let wanted = desired.iter().filter(|planned| !planned.id.namespace.is_empty());
    let wanted =
        wanted.map(|planned| (planned.id.group.as_str(), planned.object.version(), &planned.id.kind));
    let recorded = before.entries().filter(|(id, _)| !id.namespace.is_empty());
    let recorded = recorded.map(|(id, version)| (id.group.as_str(), version, &id.kind));
    let distinct: BTreeSet<_> = wanted.chain(recorded).collect();
    distinct
        .into_iter()
        .filter(|(group, version, kind)| builtin(group, version, kind).is_none())
        .map(|(group, version, kind)| VersionedKind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.clone(),
        })
        .collect()
}

fn builtin(group: &str, version: &str, kind: &str) -> Option<Scope> {
    if group.is_empty() {
        scope::builtin(version, kind)
    } else {
        scope::builtin(&format!("{group}/{version}"), kind)
    }
}

impl Scopes {
    /// Notes the scope of a kind, as the API server serves it.
    pub fn note(&mut self, group: &str, kind: &str, scope: Scope) {
        self.0.entry(group.to_owned()).or_default().insert(kind.to_owned(), scope);
    }

    /// Adds the scopes from the definitions among the desired objects, and then from the inventory, for kinds whose scope was
    /// not noted.
    #[must_use]
    pub fn completed(mut self, desired: &[Arc<Planned>], before: &Inventory) -> Self {
        for planned in desired.iter().filter(|planned| stage::is_definition(&planned.id)) {
            if let Some((group, kind, scope)) = defined(&planned.object) {
                self.suggest(group, kind, scope);
            }
        }
        for (id, _) in before.entries().filter(|(id, _)| id.namespace.is_empty()) {
            self.suggest(&id.group, &id.kind, Scope::Cluster);
        }
        self
    }

    fn suggest(&mut self, group: &str, kind: &str, scope: Scope) {
        if self.noted(group, kind).is_none() {
            self.note(group, kind, scope);
        }
    }

    fn noted(&self, group: &str, kind: &str) -> Option<Scope> {
        self.0.get(group)?.get(kind).copied()
    }

    /// Whether an id with a namespace names a cluster-scoped object.
    fn drops_namespace(&self, id: &ObjectId, version: &str) -> bool {
        let scope = || builtin(&id.group, version, &id.kind).or_else(|| self.noted(&id.group, &id.kind));
        !id.namespace.is_empty() && scope() == Some(Scope::Cluster)
    }
}

/// The kind and scope that a definition defines.
fn defined(definition: &Object) -> Option<(&str, &str, Scope)> {
    let scope = match definition.text(&["spec", "scope"])? {
        "Cluster" => Scope::Cluster,
        "Namespaced" => Scope::Namespaced,
        _ => return None,
    };
    Some((definition.text(&["spec", "group"])?, definition.text(&["spec", "names", "kind"])?, scope))
}

/// Desired objects by the ids that the cluster uses. Rejects two manifests of one object.
pub fn desired<'p>(
    planned: &'p [Arc<Planned>],
    scopes: &Scopes,
    key: &HashKey,
) -> Result<Cow<'p, [Arc<Planned>]>, DuplicateId> {
    let drops = |planned: &Planned| scopes.drops_namespace(&planned.id, planned.object.version());
    if !planned.iter().any(|planned| drops(planned)) {
        return Ok(Cow::Borrowed(planned));
    }
    let all: Vec<Arc<Planned>> = planned
        .iter()
        .map(
            |planned| {
                if drops(planned) { Arc::new(without_namespace(planned, key)) } else { Arc::clone(planned) }
            },
        )
        .collect();
    let mut seen = BTreeSet::new();
    match all.iter().find(|planned| !seen.insert(&planned.id)) {
        Some(planned) => Err(DuplicateId { id: planned.id.clone() }),
        None => Ok(Cow::Owned(all)),
    }
}

fn without_namespace(planned: &Planned, key: &HashKey) -> Planned {
    let mut object = planned.object.clone();
    if let Some(metadata) = object.value_mut().get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
    let digest = fingerprint::of_object(&object, key);
    Planned { id: object.id(), digest, object, policy: planned.policy }
}

/// An inventory under the ids that the cluster uses: entries with and without the namespace of a
/// cluster-scoped object are one.
pub fn recorded(before: Inventory, scopes: &Scopes) -> Inventory {
    before.renamed(|id, version| {
        if scopes.drops_namespace(&id, version) { ObjectId { namespace: String::new(), ..id } } else { id }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{id, object, owner};
    use crate::plan::{self, Plan, Request, Selection};

    fn key() -> HashKey {
        HashKey::new([7; 32])
    }

    fn gate(namespace: &str, name: &str) -> Object {
        object(
            json!({"apiVersion": "net.test/v1", "kind": "Gate", "metadata": {"name": name, "namespace": namespace}}),
        )
    }

    fn definition(scope: &str) -> Object {
        object(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "gates.net.test"},
            "spec": {"group": "net.test", "scope": scope, "names": {"kind": "Gate", "plural": "gates"}},
        }))
    }

    fn role(name: &str) -> Object {
        object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": "ns"},
        }))
    }

    fn before(ids: &[&str]) -> Inventory {
        ids.iter().map(|text| (id(text), "v1".to_owned())).collect()
    }

    fn served(scope: Scope) -> Scopes {
        let mut scopes = Scopes::default();
        scopes.note("net.test", "Gate", scope);
        scopes
    }

    /// What is desired and what is pruned.
    #[track_caller]
    fn check(objects: Vec<Object>, recorded: &[&str], live: Scopes, desired: &[&str], prune: &[&str]) {
        let planned = plan::prepare(objects, &owner(), &key()).unwrap();
        let recorded = before(recorded);
        let scopes = live.completed(&planned, &recorded);
        let planned = super::desired(&planned, &scopes, &key()).unwrap().into_owned();
        let recorded = super::recorded(recorded, &scopes);
        let request =
            Request { desired: &planned, before: &recorded, selection: Selection::Everything, prunes: true };
        let Plan { desired: inventory, prune: candidates, waves, .. } = plan::plan(request);
        let ids: Vec<String> = inventory.ids().map(ObjectId::to_inventory).collect();
        assert_eq!(ids, desired);
        let stale: Vec<String> = candidates.iter().map(|candidate| candidate.id.to_inventory()).collect();
        assert_eq!(stale, prune);
        for planned in waves.iter().flat_map(|wave| &wave.objects) {
            assert_eq!(planned.object.id(), planned.id);
        }
    }

    #[test]
    fn an_object_that_flux_recorded_without_namespace_is_neither_pruned_nor_created() {
        let live = served(Scope::Cluster);
        check(vec![gate("apps", "g1")], &["_g1_net.test_Gate"], live, &["_g1_net.test_Gate"], &[]);
    }

    #[test]
    fn both_forms_of_an_inventory_entry_are_one_object() {
        let both = ["_g1_net.test_Gate", "apps_g1_net.test_Gate", "apps_g2_net.test_Gate"];
        let live = served(Scope::Cluster);
        check(vec![gate("apps", "g1")], &both, live, &["_g1_net.test_Gate"], &["_g2_net.test_Gate"]);
    }

    #[test]
    fn another_target_namespace_names_the_same_cluster_scoped_object() {
        let live = served(Scope::Cluster);
        check(vec![gate("other", "g1")], &["apps_g1_net.test_Gate"], live, &["_g1_net.test_Gate"], &[]);
    }

    #[test]
    fn a_definition_in_the_set_gives_the_scope_before_it_is_applied() {
        let set = vec![definition("Cluster"), gate("apps", "g1")];
        let ids = ["_g1_net.test_Gate", "_gates.net.test_apiextensions.k8s.io_CustomResourceDefinition"];
        check(set, &["apps_g1_net.test_Gate"], Scopes::default(), &ids, &[]);
    }

    #[test]
    fn the_discovered_scope_wins_over_a_definition_in_the_set() {
        let set = vec![definition("Cluster"), gate("apps", "g1")];
        let ids = ["_gates.net.test_apiextensions.k8s.io_CustomResourceDefinition", "apps_g1_net.test_Gate"];
        let live = served(Scope::Namespaced);
        check(set, &["old_g1_net.test_Gate"], live, &ids, &["old_g1_net.test_Gate"]);
    }

    #[test]
    fn the_inventory_gives_the_scope_of_a_kind_that_is_not_served() {
        let recorded = ["_g1_net.test_Gate"];
        check(vec![gate("apps", "g1")], &recorded, Scopes::default(), &["_g1_net.test_Gate"], &[]);
        let live = Scopes::default();
        check(vec![gate("apps", "g1")], &["apps_g1_net.test_Gate"], live, &["apps_g1_net.test_Gate"], &[]);
    }

    #[test]
    fn a_namespace_on_a_built_in_cluster_scoped_kind_is_dropped() {
        let class = object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "view", "namespace": "apps"},
        }));
        let recorded = ["_view_rbac.authorization.k8s.io_ClusterRole"];
        check(vec![class], &recorded, Scopes::default(), &recorded, &[]);
    }

    #[test]
    fn an_object_of_a_namespaced_kind_keeps_its_namespace() {
        let live = served(Scope::Namespaced);
        let moved = ["old_g1_net.test_Gate"];
        check(vec![gate("apps", "g1")], &moved, live, &["apps_g1_net.test_Gate"], &moved);
    }

    #[test]
    fn two_manifests_of_one_object_are_rejected() {
        let set = vec![gate("one", "g1"), gate("two", "g1")];
        let planned = plan::prepare(set, &owner(), &key()).unwrap();
        let error = desired(&planned, &served(Scope::Cluster), &key()).unwrap_err();
        assert_eq!(error.to_string(), "Gate/g1 is defined twice");
        assert!(desired(&planned, &served(Scope::Namespaced), &key()).is_ok());
    }

    #[test]
    fn only_kinds_that_are_not_built_in_are_discovered() {
        let set = vec![gate("apps", "g1"), role("r"), definition("Cluster")];
        let planned = plan::prepare(set, &owner(), &key()).unwrap();
        let recorded = before(&["x_a_example.com_Widget", "_b_example.com_Thing", "x_c__ConfigMap"]);
        let kinds: Vec<String> = open_kinds(&planned, &recorded).into_iter().map(|kind| kind.kind).collect();
        assert_eq!(kinds, ["Widget", "Gate"]);
    }

    #[test]
    fn names_that_flux_writes_alike_stay_apart() {
        let (colon, plain) =
            ("ns_team__b_rbac.authorization.k8s.io_Role", "ns_team%5F%5Fb_rbac.authorization.k8s.io_Role");
        let none = Scopes::default;
        check(vec![role("team:b"), role("team__b")], &[], none(), &[colon, plain], &[]);
        check(vec![role("team:b")], &[colon, plain], none(), &[colon], &[plain]);
        check(vec![role("team__b")], &[colon, plain], none(), &[plain], &[colon]);
        // An entry of Flux may mean either; the prune itself skips objects that are missing or not ours.
        check(vec![], &[colon], none(), &[], &[plain, colon]);
        check(vec![role("team__b")], &[colon], none(), &[plain], &[colon]);
        check(vec![role("team:b")], &[colon], none(), &[colon], &[]);
    }
}
