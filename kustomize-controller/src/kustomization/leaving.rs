//! Leaving: Kustomizations that go away with a prune though they are no candidates of it: a candidate has applied them and deletes
//! them when it is deleted, and so on. One that cannot be rendered holds nothing then: what it may want goes with it.
//!
//! It is so only where each step is certain: the same source throughout, so that what could hold a later step holds the
//! prune itself; the entry in the inventory, the labels, and nothing on the object that forbids its deletion. One that somebody
//! else claims stays, and so does what it has applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plumb_api::kustomize::Kustomization;
use plumb_cluster::NamespacedName;
use plumb_manifests::{Object, ObjectId};
use plumb_planning::claims::Claims;
use plumb_planning::inventory::Inventory;
use plumb_planning::ownership::Owner;
use plumb_planning::prune::{Candidate, SkipReason, may_delete};

use super::build::owner;
use super::claims::{Relation, is_kustomization};

/// Those of `others` that go away with the candidates of `object`, candidates left out. `claimed`: those that stay.
pub fn leaving(
    object: &Kustomization,
    candidates: &[Candidate],
    others: &[Arc<Kustomization>],
    claimed: &BTreeSet<NamespacedName>,
) -> BTreeSet<NamespacedName> {
    let mut leaving = BTreeSet::new();
    let first: Vec<&ObjectId> =
        candidates.iter().map(|candidate| &candidate.id).filter(|id| is_kustomization(id)).collect();
    if first.is_empty() {
        return leaving;
    }
    let known: BTreeMap<NamespacedName, &Kustomization> =
        others.iter().map(|other| (NamespacedName::of(other.as_ref()), other.as_ref())).collect();
    let goes = |id: &ObjectId, parent: &Owner| {
        let key = NamespacedName::new(&id.namespace, &id.name);
        let child =
            known.get(&key).filter(|_| !claimed.contains(&key) && key != NamespacedName::of(object))?;
        (Relation::of(object, child) == Relation::SameSource && is_deleted_by(id, child, parent))
            .then_some((key, *child))
    };
    let own = owner(object);
    let mut parents: Vec<_> = first.into_iter().filter_map(|id| goes(id, &own)).collect();
    let direct: BTreeSet<NamespacedName> = parents.iter().map(|(key, _)| key.clone()).collect();
    while let Some((_, parent)) = parents.pop() {
        let recorded = parent.status.as_ref().and_then(|status| status.inventory.as_ref());
        let Ok(inventory) = Inventory::from_wire(recorded) else { continue };
        let deletes =
            parent.spec.deletes_objects() && !parent.spec.suspend && parent.spec.kube_config.is_none();
        for id in inventory.ids().filter(|id| deletes && is_kustomization(id)) {
            let Some((key, child)) = goes(id, &owner(parent)) else { continue };
            if !direct.contains(&key) && leaving.insert(key.clone()) {
                parents.push((key, child));
            }
        }
    }
    leaving
}

/// Whether nothing that the object says keeps it from being deleted by this owner.
fn is_deleted_by(id: &ObjectId, child: &Kustomization, parent: &Owner) -> bool {
    let Some(object) = serde_json::to_value(child).ok().and_then(|value| Object::new(value).ok()) else {
        return false;
    };
    // Who else claims it is asked apart.
    matches!(may_delete(id, &object, parent, &Claims::default()), Ok(_) | Err(SkipReason::BeingDeleted))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// `root` has applied `child`, which has applied `grandchild`, which has applied `last`.
    fn family(patches: &[(&str, Value)]) -> Vec<Arc<Kustomization>> {
        let member = |name: &str, parent: &str, child: &str| {
            let mut value = json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {
                    "name": name, "namespace": "apps", "uid": name, "resourceVersion": "1", "labels": {
                        "kustomize.toolkit.fluxcd.io/name": parent, "kustomize.toolkit.fluxcd.io/namespace": "apps",
                    },
                },
                "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "repo"}},
                "status": {"inventory": {"entries": [
                    {"id": format!("apps_{child}_kustomize.toolkit.fluxcd.io_Kustomization"), "v": "v1"},
                ]}},
            });
            for (_, patch) in patches.iter().filter(|(of, _)| *of == name) {
                json_patch::merge(&mut value, patch);
            }
            Arc::new(serde_json::from_value(value).unwrap())
        };
        vec![
            member("root", "nobody", "child"),
            member("child", "root", "grandchild"),
            member("grandchild", "child", "last"),
            member("last", "grandchild", "none"),
        ]
    }

    fn names(patches: &[(&str, Value)], claimed: &[&str]) -> String {
        let all = family(patches);
        let id = ObjectId::parse_inventory("apps_child_kustomize.toolkit.fluxcd.io_Kustomization").unwrap();
        let candidates = [Candidate { id, version: "v1".to_owned() }];
        let claimed = claimed.iter().map(|name| NamespacedName::new("apps", *name)).collect();
        let leaving = leaving(&all[0], &candidates, &all, &claimed);
        leaving.into_iter().map(|key| key.name).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(of: &str, patch: Value, expect: &str) {
        let text = patch.to_string();
        assert_eq!(names(&[(of, patch)], &[]), expect, "{of} {text}");
    }

    #[test]
    fn what_a_candidate_has_applied_and_deletes_goes_with_it_generation_by_generation() {
        assert_eq!(names(&[], &[]), "grandchild last");
        assert_eq!(names(&[], &["grandchild"]), "", "somebody else keeps it, and what it has applied");
        assert_eq!(names(&[], &["child"]), "");
        assert_eq!(names(&[], &["last"]), "grandchild");
    }

    #[test]
    fn a_step_that_is_not_certain_ends_the_chain() {
        check("child", json!({"spec": {"prune": false}}), "");
        check("child", json!({"spec": {"suspend": true}}), "");
        check("child", json!({"spec": {"deletionPolicy": "Orphan"}}), "");
        check("child", json!({"spec": {"sourceRef": {"name": "other"}}}), "");
        check("child", json!({"spec": {"kubeConfig": {"secretRef": {"name": "x"}}}}), "");
        check("child", json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}}), "");
        check("child", json!({"status": {"inventory": {"entries": []}}}), "");
        check("grandchild", json!({"spec": {"sourceRef": {"name": "other"}}}), "");
        check("grandchild", json!({"metadata": {"labels": null}}), "");
        let kept = json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/prune": "disabled"}}});
        check("grandchild", kept, "");
        check("grandchild", json!({"spec": {"suspend": true}}), "grandchild");
        // Deleted already, or about to be: it goes in either case.
        check("child", json!({"metadata": {"deletionTimestamp": "2026-11-25T06:30:00Z"}}), "grandchild last");
    }

    #[test]
    fn a_chain_that_leads_back_ends() {
        let back = |name: &str| json!([{"id": format!("apps_{name}_kustomize.toolkit.fluxcd.io_Kustomization"), "v": "v1"}]);
        for name in ["root", "child", "grandchild"] {
            check("last", json!({"status": {"inventory": {"entries": back(name)}}}), "grandchild last");
        }
    }
}
