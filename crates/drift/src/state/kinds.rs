//! Which kinds are managed, and by which owners: a change of one owner is counted without a scan of the others.

use std::collections::{BTreeMap, BTreeSet};

use plumb_manifests::ObjectId;
use plumb_planning::record::is_older;
use plumb_status::Reason;
use serde_json::Value;

use super::input::{Effect, Kind, OwnerRef};
use super::object::{Gone, TrackedObject};
use super::owner::OwnerState;
use super::{State, Step};
use crate::rules::{DriftEvent, Finding, vanish};

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
    /// Makes the watched kinds those of the managed objects, after the objects or the policy of one owner changed.
    pub(super) fn watch_kinds(&mut self, owner_ref: &OwnerRef, step: &mut Step) {
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        let watched = owner.objects.values().filter(|object| object.is_watched());
        let kinds: BTreeSet<Kind> = watched.map(TrackedObject::kind).collect();
        let before = std::mem::replace(&mut owner.kinds, kinds.clone());
        self.replace_kinds(&before, &kinds, step);
        for kind in kinds.difference(&before) {
            self.report_denied(owner_ref, kind, step);
        }
    }

    pub(super) fn replace_kinds(&mut self, before: &BTreeSet<Kind>, after: &BTreeSet<Kind>, step: &mut Step) {
        if self.kinds.replace(before, after) {
            let counts = &self.kinds;
            self.unserved.retain(|kind| counts.contains(kind));
            self.denied.retain(|kind, _| counts.contains(kind));
            step.effects.push(Effect::WatchKinds(counts.kinds()));
        }
    }

    /// A kind may not be watched: reported once to each owner, and compared at the interval from now on.
    pub(super) fn deny(&mut self, kind: &Kind, message: String, step: &mut Step) {
        if !self.kinds.contains(kind) || self.denied.contains_key(kind) {
            return;
        }
        self.denied.insert(kind.clone(), message);
        let has = |(_, owner): &(&OwnerRef, &OwnerState)| owner.kinds.contains(kind);
        let owners: Vec<OwnerRef> = self.owners.iter().filter(has).map(|(owner, _)| owner.clone()).collect();
        for owner in owners {
            self.report_denied(&owner, kind, step);
        }
    }

    /// Reports to an owner that a kind of its objects may not be watched, if that is so.
    fn report_denied(&self, owner_ref: &OwnerRef, kind: &Kind, step: &mut Step) {
        let (Some(message), Some(owner)) = (self.denied.get(kind), self.owners.get(owner_ref)) else {
            return;
        };
        let of_kind = |object: &TrackedObject| object.is_watched() && object.kind() == *kind;
        let mut objects = owner.objects.iter().filter(|(_, object)| of_kind(object));
        let Some((id, _)) = objects.next() else { return };
        let count = 1 + objects.count();
        let text = format!(
            "{} cannot be watched for drift ({count} managed here): {message}; compared at the interval only",
            kind.2
        );
        let (finding, revision) = (Finding::unknown(message, step.now), owner.open.revision());
        let event = DriftEvent::new(id, &finding, step.now, revision, Reason::DriftUnknown, text);
        step.report(owner_ref, owner.policy.origin_revision.as_ref(), vec![event.event]);
    }

    /// A watch shows that an object has left it. A state from after that may be known already.
    pub(super) fn deleted(&mut self, id: &ObjectId, metadata: &Value, step: &mut Step) {
        let Some(owner) = self.index.owner(id).cloned() else { return };
        let Some(object) = self.object(&owner, id) else { return };
        let version = metadata["resourceVersion"].as_str().unwrap_or_default();
        if object.record.as_ref().is_some_and(|record| is_older(version, &record.version)) {
            return;
        }
        let cut_short = vanish::was_cut_short(&object.planned.object, metadata);
        let gone = if cut_short { Gone::CutShort } else { Gone::Unexplained };
        self.missed(&owner, id, gone, Some(version.into()), step);
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
