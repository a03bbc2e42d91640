//! Claims: what other Kustomizations want, asked before anything is pruned.
//!
//! The owner labels of a live object name one Kustomization only. While an object moves to another one they still name the
//! old owner, so its inventory and its rendering are asked too. Where the answer is unknown, nothing is deleted.

use std::collections::{BTreeMap, BTreeSet};

use plumb_manifests::{Object, ObjectId};

use crate::ownership::Owner;
use crate::prune::WhyNot;
use crate::stage;

/// What is known of another Kustomization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Which Kustomization.
    pub owner: Owner,
    /// Every object of its inventory and of its newest rendering.
    pub ids: Vec<ObjectId>,
    /// Why its newest rendering is unknown; then it may want any object.
    pub doubt: Option<String>,
}

/// What must not be deleted, and for whom.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    claimants: Vec<(Owner, Index)>,
    doubts: Vec<(Owner, String)>,
    /// What the pruning Kustomization itself keeps.
    own: Index,
}

/// Ids, found by name, by namespace and by kind.
#[derive(Debug, Clone, Default)]
struct Index {
    /// Group, kind and name to namespaces.
    names: BTreeMap<(String, String, String), BTreeSet<String>>,
    /// One object of each namespace.
    namespaces: BTreeMap<String, ObjectId>,
    /// One object of each group and kind.
    kinds: BTreeMap<(String, String), ObjectId>,
}

impl Index {
    fn insert(&mut self, id: &ObjectId) {
        let ObjectId { namespace, name, group, kind } = id;
        let key = (group.clone(), kind.clone(), written(name));
        self.names.entry(key).or_default().insert(namespace.clone());
        if !namespace.is_empty() {
            self.namespaces.entry(namespace.clone()).or_insert_with(|| id.clone());
        }
        self.kinds.entry((group.clone(), kind.clone())).or_insert_with(|| id.clone());
    }

    /// An id without a namespace may be the same cluster-scoped object under the other form of its id.
    fn names(&self, id: &ObjectId) -> bool {
        let ObjectId { namespace, name, group, kind } = id;
        let found = self.names.get(&(group.clone(), kind.clone(), written(name)));
        found.is_some_and(|found| {
            namespace.is_empty() || found.contains("") || found.contains(namespace.as_str())
        })
    }

    /// An object that would be deleted together with this one.
    fn contained(&self, id: &ObjectId, live: &Object) -> Option<&ObjectId> {
        if stage::is_namespace(id) {
            return self.namespaces.get(&id.name);
        }
        if stage::is_definition(id) {
            let group = live.text(&["spec", "group"])?.to_owned();
            let kind = live.text(&["spec", "names", "kind"])?.to_owned();
            return self.kinds.get(&(group, kind));
        }
        None
    }
}

/// Inventories write the names `a:b` and `a__b` alike.
fn written(name: &str) -> String {
    name.replace(':', "__")
}

impl Claims {
    /// Claims of these, while the pruning Kustomization itself keeps applying `own`.
    pub fn new<'a>(
        claimants: impl IntoIterator<Item = Claimant>,
        own: impl IntoIterator<Item = &'a ObjectId>,
    ) -> Self {
        let mut claims = Self::default();
        for Claimant { owner, ids, doubt } in claimants {
            let mut index = Index::default();
            for id in &ids {
                index.insert(id);
            }
            claims.claimants.push((owner.clone(), index));
            claims.doubts.extend(doubt.map(|because| (owner, because)));
        }
        for id in own {
            claims.keep(id);
        }
        claims
    }

    /// The pruning Kustomization keeps this object: neither its Namespace nor its definition is deleted.
    pub fn keep(&mut self, id: &ObjectId) {
        self.own.insert(id);
    }

    /// Why this object is not deleted, if someone wants it, may want it, or wants what is deleted with it.
    pub fn on(&self, id: &ObjectId, live: &Object) -> Option<WhyNot> {
        let claimed = self.claimants.iter().find(|(_, ids)| ids.names(id));
        if let Some((owner, _)) = claimed {
            return Some(WhyNot::ClaimedBy(owner.clone()));
        }
        for (owner, ids) in &self.claimants {
            if let Some(object) = ids.contained(id, live) {
                return Some(WhyNot::Contains { object: object.clone().into(), owner: Some(owner.clone()) });
            }
        }
        if let Some(object) = self.own.contained(id, live) {
            return Some(WhyNot::Contains { object: object.clone().into(), owner: None });
        }
        let (owner, because) = self.doubts.first()?;
        Some(WhyNot::MayBeClaimedBy { owner: owner.clone(), because: because.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{id, object};

    fn other(ids: &[&str], doubt: Option<&str>) -> Claimant {
        let owner = Owner { name: "other".to_owned(), namespace: "flux-system".to_owned() };
        Claimant { owner, ids: ids.iter().map(|text| id(text)).collect(), doubt: doubt.map(str::to_owned) }
    }

    fn said(claims: &Claims, text: &str) -> Option<String> {
        let live = object(json!({
            "apiVersion": "v1", "kind": "Any", "metadata": {"name": "a"},
            "spec": {"group": "example.com", "names": {"kind": "Widget"}},
        }));
        claims.on(&id(text), &live).map(|why| why.to_string())
    }

    #[track_caller]
    fn check(ids: &[&str], candidate: &str, expect: Option<&str>) {
        let nothing: [&ObjectId; 0] = [];
        let claims = Claims::new([other(ids, None)], nothing);
        let expect = expect.map(|text| text.replace("OTHER", "Kustomization/flux-system/other"));
        assert_eq!(said(&claims, candidate), expect, "{ids:?} {candidate}");
    }

    #[test]
    fn an_object_that_another_kustomization_wants_is_claimed() {
        let claimed = Some("OTHER wants it");
        check(&["prod_a__ConfigMap"], "prod_a__ConfigMap", claimed);
        check(&["prod_a__ConfigMap"], "test_a__ConfigMap", None);
        check(&["prod_a__ConfigMap"], "prod_a__Secret", None);
        check(&["prod_a_apps_Deployment"], "prod_a_extensions_Deployment", None);
    }

    #[test]
    fn a_cluster_scoped_object_is_the_same_under_both_forms_of_its_id() {
        let claimed = Some("OTHER wants it");
        check(&["apps_g_net.test_Gate"], "_g_net.test_Gate", claimed);
        check(&["_g_net.test_Gate"], "apps_g_net.test_Gate", claimed);
        check(&["one_g_net.test_Gate"], "two_g_net.test_Gate", None);
        let role = ObjectId { name: "a__b".to_owned(), ..id("_a__b_rbac.authorization.k8s.io_ClusterRole") };
        let nothing: [&ObjectId; 0] = [];
        let claims = Claims::new([other(&["_a__b_rbac.authorization.k8s.io_ClusterRole"], None)], nothing);
        assert!(
            claims
                .on(&role, &object(json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}})))
                .is_some()
        );
    }

    #[test]
    fn a_namespace_and_a_definition_go_only_with_all_that_is_in_them() {
        let namespace = Some("it contains ConfigMap/prod/a of OTHER");
        check(&["prod_a__ConfigMap"], "_prod__Namespace", namespace);
        check(&["test_a__ConfigMap"], "_prod__Namespace", None);
        check(&["prod_a__ConfigMap"], "_prod_example.com_Namespace", None);
        let definition = Some("it contains Widget/prod/w of OTHER");
        let candidate = "_widgets.example.com_apiextensions.k8s.io_CustomResourceDefinition";
        check(&["prod_w_example.com_Widget"], candidate, definition);
        check(&["prod_w_other.com_Widget"], candidate, None);
    }

    #[test]
    fn what_is_kept_by_the_kustomization_itself_keeps_its_namespace() {
        let mut claims = Claims::default();
        assert_eq!(said(&claims, "_prod__Namespace"), None);
        claims.keep(&id("prod_a__ConfigMap"));
        let kept = "it contains ConfigMap/prod/a, which is kept";
        assert_eq!(said(&claims, "_prod__Namespace").as_deref(), Some(kept));
        assert_eq!(said(&claims, "prod_a__ConfigMap"), None, "one's own claim is no obstacle");
    }

    #[test]
    fn in_doubt_everything_is_kept_and_a_known_claim_is_named_first() {
        let nothing: [&ObjectId; 0] = [];
        let broken = other(&["prod_a__ConfigMap"], Some("it cannot be built"));
        let claims = Claims::new([broken], nothing);
        let wants = "Kustomization/flux-system/other wants it";
        assert_eq!(said(&claims, "prod_a__ConfigMap").as_deref(), Some(wants));
        let may = "Kustomization/flux-system/other may want it: it cannot be built";
        assert_eq!(said(&claims, "prod_b__ConfigMap").as_deref(), Some(may));
    }
}
