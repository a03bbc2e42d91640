//! Claims: objects in the desired sets of other Kustomizations, read before anything is pruned.
//!
//! The owner labels of a live object name one Kustomization only. While an object moves to another one they still name the
//! old owner, so its inventory and its rendering are read too. Where they are unknown, nothing is deleted.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use plumb_api::kustomize::Inventory as Wire;
use plumb_manifests::{Object, ObjectId};

use crate::inventory::{ENTRIES_MAX, InventoryError};
use crate::ownership::Owner;
use crate::prune::SkipReason;
use crate::stage;

/// Which claims can hold one of the candidates of a prune. All inventories of a cluster are read through it, so a read of an
/// entry that concerns no candidate allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct ClaimFilter {
    /// Kind, group and name of each candidate.
    names: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// The Namespaces among them.
    namespaces: BTreeSet<String>,
    /// The groups of the definitions among them.
    groups: BTreeSet<String>,
}

impl ClaimFilter {
    /// For these candidates.
    pub fn of<'a>(candidates: impl IntoIterator<Item = &'a ObjectId>) -> Self {
        let mut filter = Self::default();
        for id in candidates {
            let of_kind = filter.names.entry(id.kind.clone()).or_default();
            of_kind.entry(id.group.clone()).or_default().insert(written(&id.name).into_owned());
            if stage::is_namespace(id) {
                filter.namespaces.insert(id.name.clone());
            }
            if stage::is_definition(id) {
                // The server takes no other name than `<plural>.<group>`.
                let group = id.name.split_once('.').map_or("", |(_, group)| group);
                filter.groups.insert(group.to_owned());
            }
        }
        filter
    }

    /// Whether a claim on this object can hold a candidate.
    pub fn concerns(&self, id: &ObjectId) -> bool {
        self.contains(&id.namespace, &id.group) || self.has(&id.kind, &id.group, &written(&id.name))
    }

    /// The objects of an inventory that concern a candidate. Entries that name no object are left out.
    pub fn entries(&self, inventory: Option<&Wire>) -> Result<Vec<ObjectId>, InventoryError> {
        let entries = inventory.map_or(&[][..], |inventory| &inventory.entries);
        if entries.len() > ENTRIES_MAX {
            return Err(InventoryError::TooMany { count: entries.len() });
        }
        let concerned =
            entries.iter().map(|entry| entry.id.as_str()).filter(|text| self.concerns_entry(text));
        Ok(concerned.filter_map(|text| ObjectId::parse_inventory(text).ok()).collect())
    }

    fn concerns_entry(&self, text: &str) -> bool {
        let Some((namespace, rest)) = text.split_once('_') else { return false };
        let Some((rest, kind)) = rest.rsplit_once('_') else { return false };
        let Some((name, group)) = rest.rsplit_once('_') else { return false };
        // The inventory has the name as `written` encodes it, but for its placeholders.
        let is_plain = !name.contains(['%', ':']);
        self.contains(namespace, group)
            || if is_plain {
                self.has(kind, group, name)
            } else {
                ObjectId::parse_inventory(text).is_ok_and(|id| self.concerns(&id))
            }
    }

    /// Whether an object in this namespace, or of this group, can be in a candidate.
    fn contains(&self, namespace: &str, group: &str) -> bool {
        self.namespaces.contains(namespace) || self.groups.contains(group)
    }

    fn has(&self, kind: &str, group: &str, name: &str) -> bool {
        let names = self.names.get(kind).and_then(|of_kind| of_kind.get(group));
        names.is_some_and(|names| names.contains(name))
    }

    /// Whether this object is a candidate, as far as the filter shows.
    fn covers(&self, id: &ObjectId) -> bool {
        self.has(&id.kind, &id.group, &written(&id.name))
    }
}

/// What is known of another Kustomization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Which Kustomization.
    pub owner: Owner,
    /// The objects of its inventory and of its newest rendering, at least those that concern a candidate.
    pub ids: Vec<ObjectId>,
    /// Why its newest rendering is unknown; then it may claim any object.
    pub doubt: Option<String>,
}

/// What must not be deleted, and which Kustomization claims it.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// The candidates whose claims were read; none: no claims were read, and there are none.
    covered: Option<ClaimFilter>,
    /// The Kustomizations that claim something related to a candidate.
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
        let key = (group.clone(), kind.clone(), written(name).into_owned());
        self.names.entry(key).or_default().insert(namespace.clone());
        if !namespace.is_empty() {
            self.namespaces.entry(namespace.clone()).or_insert_with(|| id.clone());
        }
        self.kinds.entry((group.clone(), kind.clone())).or_insert_with(|| id.clone());
    }

    /// An id without a namespace may be the same cluster-scoped object under the other form of its id.
    fn names(&self, id: &ObjectId) -> bool {
        let ObjectId { namespace, name, group, kind } = id;
        let found = self.names.get(&(group.clone(), kind.clone(), written(name).into_owned()));
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
fn written(name: &str) -> Cow<'_, str> {
    if name.contains(':') { name.replace(':', "__").into() } else { name.into() }
}

impl Claims {
    /// Claims of these on the candidates of the filter, while the pruning Kustomization itself keeps applying `own`.
    pub fn new<'a>(
        covered: ClaimFilter,
        claimants: impl IntoIterator<Item = Claimant>,
        own: impl IntoIterator<Item = &'a ObjectId>,
    ) -> Self {
        let mut claims = Self::default();
        for Claimant { owner, ids, doubt } in claimants {
            let mut index = Index::default();
            for id in ids.iter().filter(|id| covered.concerns(id)) {
                index.insert(id);
            }
            if !index.kinds.is_empty() {
                claims.claimants.push((owner.clone(), index));
            }
            claims.doubts.extend(doubt.map(|because| (owner, because)));
        }
        for id in own.into_iter().filter(|id| covered.concerns(id)) {
            claims.keep(id);
        }
        claims.covered = Some(covered);
        claims
    }

    /// The pruning Kustomization keeps this object: neither its Namespace nor its definition is deleted.
    pub fn keep(&mut self, id: &ObjectId) {
        self.own.insert(id);
    }

    /// Why this object is not deleted: another Kustomization claims it, may claim it, or claims what is deleted with it.
    pub fn on(&self, id: &ObjectId, live: &Object) -> Option<SkipReason> {
        if self.covered.as_ref().is_some_and(|covered| !covered.covers(id)) {
            return Some(SkipReason::ClaimsUnread);
        }
        let claimed = self.claimants.iter().find(|(_, ids)| ids.names(id));
        if let Some((owner, _)) = claimed {
            return Some(SkipReason::ClaimedBy(owner.clone()));
        }
        for (owner, ids) in &self.claimants {
            if let Some(object) = ids.contained(id, live) {
                return Some(SkipReason::Contains {
                    object: object.clone().into(),
                    owner: Some(owner.clone()),
                });
            }
        }
        if let Some(object) = self.own.contained(id, live) {
            return Some(SkipReason::Contains { object: object.clone().into(), owner: None });
        }
        let (owner, because) = self.doubts.first()?;
        Some(SkipReason::MayBeClaimedBy { owner: owner.clone(), because: because.clone() })
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

    fn reason_text(claims: &Claims, text: &str) -> Option<String> {
        let live = object(json!({
            "apiVersion": "v1", "kind": "Any", "metadata": {"name": "a"},
            "spec": {"group": "example.com", "names": {"kind": "Widget"}},
        }));
        claims.on(&id(text), &live).map(|why| why.to_string())
    }

    #[track_caller]
    fn check(ids: &[&str], candidate: &str, expect: Option<&str>) {
        let nothing: [&ObjectId; 0] = [];
        let claims = Claims::new(ClaimFilter::of([&id(candidate)]), [other(ids, None)], nothing);
        let expect = expect.map(|text| text.replace("OTHER", "Kustomization/flux-system/other"));
        assert_eq!(reason_text(&claims, candidate), expect, "{ids:?} {candidate}");
    }

    #[test]
    fn an_object_in_the_desired_set_of_another_kustomization_is_claimed() {
        let claimed = Some("OTHER contains it");
        check(&["prod_a__ConfigMap"], "prod_a__ConfigMap", claimed);
        check(&["prod_a__ConfigMap"], "test_a__ConfigMap", None);
        check(&["prod_a__ConfigMap"], "prod_a__Secret", None);
        check(&["prod_a_apps_Deployment"], "prod_a_extensions_Deployment", None);
    }

    #[test]
    fn a_cluster_scoped_object_is_the_same_under_both_forms_of_its_id() {
        let claimed = Some("OTHER contains it");
        check(&["apps_g_net.test_Gate"], "_g_net.test_Gate", claimed);
        check(&["_g_net.test_Gate"], "apps_g_net.test_Gate", claimed);
        check(&["one_g_net.test_Gate"], "two_g_net.test_Gate", None);
        let role = ObjectId { name: "a__b".to_owned(), ..id("_a__b_rbac.authorization.k8s.io_ClusterRole") };
        let nothing: [&ObjectId; 0] = [];
        let others = [other(&["_a__b_rbac.authorization.k8s.io_ClusterRole"], None)];
        let claims = Claims::new(ClaimFilter::of([&role]), others, nothing);
        assert!(
            claims
                .on(&role, &object(json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}})))
                .is_some()
        );
    }

    #[test]
    fn a_namespace_and_a_definition_are_pruned_only_with_all_their_objects() {
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
    fn an_object_that_stays_keeps_its_namespace() {
        let mut claims = Claims::default();
        assert_eq!(reason_text(&claims, "_prod__Namespace"), None);
        claims.keep(&id("prod_a__ConfigMap"));
        let kept = "it contains ConfigMap/prod/a, which is kept";
        assert_eq!(reason_text(&claims, "_prod__Namespace").as_deref(), Some(kept));
        assert_eq!(reason_text(&claims, "prod_a__ConfigMap"), None, "one's own claim is no obstacle");
    }

    #[test]
    fn in_doubt_nothing_is_pruned_and_a_known_claim_is_named_first() {
        let nothing: [&ObjectId; 0] = [];
        let broken = other(&["prod_a__ConfigMap"], Some("it cannot be built"));
        let candidates = [id("prod_a__ConfigMap"), id("prod_b__ConfigMap")];
        let claims = Claims::new(ClaimFilter::of(&candidates), [broken], nothing);
        let wants = "Kustomization/flux-system/other contains it";
        assert_eq!(reason_text(&claims, "prod_a__ConfigMap").as_deref(), Some(wants));
        let may = "Kustomization/flux-system/other may contain it: it cannot be built";
        assert_eq!(reason_text(&claims, "prod_b__ConfigMap").as_deref(), Some(may));
    }

    #[test]
    fn an_object_whose_claims_were_not_read_is_not_deleted() {
        let nothing: [&ObjectId; 0] = [];
        let claims = Claims::new(ClaimFilter::of([&id("prod_a__ConfigMap")]), [], nothing);
        assert_eq!(reason_text(&claims, "prod_a__ConfigMap"), None);
        assert!(reason_text(&claims, "prod_b__ConfigMap").is_some());
    }

    fn inventory(ids: impl IntoIterator<Item = String>) -> Wire {
        let entry = |id| plumb_api::kustomize::InventoryEntry { id, v: "v1".to_owned() };
        Wire { entries: ids.into_iter().map(entry).collect() }
    }

    #[test]
    fn a_filter_takes_what_may_hold_a_candidate_from_an_inventory_and_nothing_else() {
        let colon = ObjectId { name: "team:b".to_owned(), ..id("prod_x_rbac.authorization.k8s.io_Role") };
        let underscores = ObjectId { name: "team__b".to_owned(), ..colon.clone() };
        let candidates = [
            id("prod_a__ConfigMap"),
            id("_web__Namespace"),
            id("_gates.net.test_apiextensions.k8s.io_CustomResourceDefinition"),
            colon.clone(),
        ];
        let filter = ClaimFilter::of(&candidates);
        let concerned = [
            "prod_a__ConfigMap",
            "other_a__ConfigMap",
            "_a__ConfigMap",
            "web_any_apps_Deployment",
            "_web__Namespace",
            "prod_any_net.test_Gate",
            &colon.to_inventory(),
            &underscores.to_inventory(),
        ];
        let rest = [
            "prod_b__ConfigMap",
            "prod_a__Secret",
            "prod_a_apps_ConfigMap",
            "_web_x_Namespace",
            "nonsense",
            "a_b",
        ];
        let all = concerned.iter().chain(&rest).map(|text| (*text).to_owned());
        let taken = filter.entries(Some(&inventory(all))).unwrap();
        assert_eq!(taken, concerned.map(id));
        assert!(taken.iter().all(|id| filter.concerns(id)));
        assert!(rest[..4].iter().all(|text| !filter.concerns(&id(text))));
        let too_many = inventory((0..=ENTRIES_MAX).map(|at| format!("prod_m{at}__ConfigMap")));
        assert!(filter.entries(Some(&too_many)).is_err());
    }
}
