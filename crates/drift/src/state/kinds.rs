//! Which kinds are managed, and by which owners: a change of one owner is counted without a scan of the others.

use std::collections::{BTreeMap, BTreeSet};

use plumb_manifests::ObjectId;
use plumb_planning::record::is_older;
use serde_json::Value;

use super::input::{Kind, OwnerRef};
use super::object::Gone;
use super::{State, Step};
use crate::rules::vanish;

/// Kinds with the number of owners that have objects of them.
#[derive(Debug, Clone, Default)]
pub(super) struct KindCounts(BTreeMap<Kind, usize>);

impl KindCounts {
    /// Replaces the kinds of one owner's objects. Returns whether a kind was added or removed.
    pub(super) fn replace(&mut self, before: &BTreeSet<Kind>, after: &BTreeSet<Kind>) -> bool {
        let mut moved = false;
        for kind in after.difference(before) {
            let count = self.0.entry(kind.clone()).or_default();
            *count += 1;
            moved |= *count == 1;
        }
        for kind in before.difference(after) {
            let Some(count) = self.0.get_mut(kind) else { continue };
            *count -= 1;
            if *count == 0 {
                self.0.remove(kind);
                moved = true;
            }
        }
        moved
    }

    /// All kinds.
    pub(super) fn kinds(&self) -> BTreeSet<Kind> {
        self.0.keys().cloned().collect()
    }

    /// Whether any owner has objects of a kind.
    pub(super) fn contains(&self, kind: &Kind) -> bool {
        self.0.contains_key(kind)
    }
}

/// Namespace and name of objects of one kind, with their owners.
type Names = BTreeMap<(String, String), Vec<OwnerRef>>;

/// The owners of each object, by group and kind. It is shown to one of them: the one that took it last.
#[derive(Debug, Clone, Default)]
pub(super) struct Index(BTreeMap<(String, String), Names>);

impl Index {
    /// The owner of an object.
    pub fn owner(&self, id: &ObjectId) -> Option<&OwnerRef> {
        let names = self.0.get(&(id.group.clone(), id.kind.clone()))?;
        names.get(&(id.namespace.clone(), id.name.clone()))?.last()
    }

    /// An owner takes an object.
    pub fn insert(&mut self, id: &ObjectId, owner: &OwnerRef) {
        let names = self.0.entry((id.group.clone(), id.kind.clone())).or_default();
        let owners = names.entry((id.namespace.clone(), id.name.clone())).or_default();
        if owners.last() != Some(owner) {
            owners.retain(|other| other != owner);
            owners.push(owner.clone());
        }
    }

    /// An owner lets an object go. Returns the owner to which it is shown from now on, if that is another one than before.
    pub fn remove(&mut self, id: &ObjectId, owner: &OwnerRef) -> Option<OwnerRef> {
        let kind = (id.group.clone(), id.kind.clone());
        let names = self.0.get_mut(&kind)?;
        let name = (id.namespace.clone(), id.name.clone());
        let owners = names.get_mut(&name)?;
        let was_shown = owners.last() == Some(owner);
        owners.retain(|other| other != owner);
        let heir = owners.last().filter(|_| was_shown).cloned();
        if owners.is_empty() {
            names.remove(&name);
        }
        if names.is_empty() {
            self.0.remove(&kind);
        }
        heir
    }

    /// All objects of a group and kind, with their owners.
    pub fn objects_of(&self, kind: &Kind) -> Vec<(OwnerRef, ObjectId)> {
        let names = self.0.get(&(kind.0.clone(), kind.2.clone()));
        names
            .into_iter()
            .flatten()
            .filter_map(|((namespace, name), owners)| {
                let owner = owners.last()?;
                let id = ObjectId {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    group: kind.0.clone(),
                    kind: kind.2.clone(),
                };
                Some((owner.clone(), id))
            })
            .collect()
    }
}

impl State {
    /// A watch shows that an object has left it. A state from after that may be known already.
    pub(super) fn deleted(&mut self, id: &ObjectId, metadata: &Value, step: &mut Step) {
        let Some(owner) = self.index.owner(id).cloned() else { return };
        let Some(object) = self.object(&owner, id) else { return };
        let version = metadata["resourceVersion"].as_str().unwrap_or_default();
        if object.record.as_ref().is_some_and(|record| is_older(version, &record.version)) {
            return;
        }
        let cut_short = vanish::was_cut_short(&object.planned.object, metadata);
        self.missed(&owner, id, if cut_short { Gone::CutShort } else { Gone::Unexplained }, step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(names: &str) -> BTreeSet<Kind> {
        names.split_whitespace().map(|name| (String::new(), "v1".to_owned(), name.to_owned())).collect()
    }

    #[test]
    fn a_kind_is_watched_until_its_last_owner_is_deleted() {
        let mut counts = KindCounts::default();
        for (before, after, moved, all) in [
            ("", "ConfigMap Secret", true, "ConfigMap Secret"),
            ("", "ConfigMap", false, "ConfigMap Secret"),
            ("ConfigMap", "ConfigMap", false, "ConfigMap Secret"),
            ("ConfigMap Secret", "Service", true, "ConfigMap Service"),
            ("ConfigMap", "", true, "Service"),
            ("Service", "", true, ""),
        ] {
            assert_eq!(counts.replace(&kinds(before), &kinds(after)), moved, "{before} -> {after}");
            assert_eq!(counts.kinds(), kinds(all), "{before} -> {after}");
        }
    }
}
