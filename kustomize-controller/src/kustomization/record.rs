//! The inventory as one attempt knows it, and what of it is written over what others have recorded meanwhile.

use std::collections::BTreeSet;

use plumb_api::kustomize::{Inventory as Wire, InventoryEntry};
use plumb_manifests::ObjectId;
use plumb_planning::inventory::Inventory;

/// What one attempt records.
#[derive(Debug, Clone, Default)]
pub struct InventoryRecord {
    /// None where the status has one that cannot be read: it is never overwritten.
    inventory: Option<Inventory>,
    /// Every entry that this attempt ever knew of, by its id on the wire: what stands in the status beside these was
    /// recorded by another writer.
    seen: BTreeSet<String>,
}

impl InventoryRecord {
    /// What a status says.
    pub fn of(recorded: Option<&Wire>) -> Self {
        let seen = entries(recorded).map(|entry| entry.id.clone()).collect();
        Self { inventory: recorded.and_then(|wire| Inventory::from_wire(Some(wire)).ok()), seen }
    }

    /// The objects that are answered for from now on.
    pub fn note(&mut self, inventory: Inventory) {
        self.seen.extend(inventory.ids().map(ObjectId::to_inventory));
        self.inventory = Some(inventory);
    }

    /// The objects that are answered for.
    pub fn inventory(&self) -> Inventory {
        self.inventory.clone().unwrap_or_default()
    }

    /// What is written over a status: none leaves it as it is. Entries that another writer has recorded meanwhile stay,
    /// since an object that someone applied must not be forgotten. The next attempt keeps or prunes them.
    pub fn over(&self, stored: Option<&Wire>) -> Option<Wire> {
        let mut all = self.inventory.clone()?;
        let mut unread = Vec::new();
        for entry in entries(stored).filter(|entry| !self.seen.contains(&entry.id)) {
            match ObjectId::parse_inventory(&entry.id) {
                Ok(id) if all.contains(&id) => {}
                Ok(id) => all.insert(id, entry.v.clone()),
                Err(_) => unread.push(entry.clone()),
            }
        }
        let mut wire = all.to_wire();
        wire.entries.extend(unread);
        Some(wire)
    }
}

fn entries(wire: Option<&Wire>) -> impl Iterator<Item = &InventoryEntry> {
    wire.into_iter().flat_map(|wire| &wire.entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An object that one of the two writers applies.
    fn id(second: bool, number: u8) -> ObjectId {
        ObjectId::parse_inventory(&format!("{second}_map-{number}__ConfigMap")).unwrap()
    }

    fn wire(ids: &[&str]) -> Wire {
        let entries = ids.iter().map(|id| InventoryEntry { id: (*id).to_owned(), v: "v1".to_owned() });
        Wire { entries: entries.collect() }
    }

    fn ids(wire: &Wire) -> Vec<&str> {
        wire.entries.iter().map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn entries_of_another_writer_stay_and_own_ones_that_are_gone_do_not_come_back() {
        let mut record = InventoryRecord::of(Some(&wire(&["apps_old__ConfigMap", "apps_kept__ConfigMap"])));
        let kept = Inventory::from_wire(Some(&wire(&["apps_kept__ConfigMap"]))).unwrap();
        record.note(kept);
        let stored =
            wire(&["apps_old__ConfigMap", "apps_kept__ConfigMap", "apps_theirs__ConfigMap", "unreadable"]);
        let written = record.over(Some(&stored)).unwrap();
        assert_eq!(ids(&written), ["apps_kept__ConfigMap", "apps_theirs__ConfigMap", "unreadable"]);
        assert_eq!(record.over(None).unwrap().entries.len(), 1);
    }

    #[test]
    fn an_entry_that_cannot_be_read_stays_and_an_inventory_that_is_too_long_is_not_written_over() {
        let record = InventoryRecord::of(Some(&wire(&["unreadable"])));
        assert_eq!(ids(&record.over(Some(&wire(&["unreadable"]))).unwrap()), ["unreadable"]);
        let many = vec!["apps_a__ConfigMap"; plumb_planning::inventory::ENTRIES_MAX + 1];
        assert_eq!(InventoryRecord::of(Some(&wire(&many))).over(None), None);
    }

    /// What a writer does next.
    #[derive(Debug, Clone)]
    enum Step {
        /// Begins an attempt with what stands.
        Begin,
        /// Is about to apply an object, and records it first.
        Record(u8),
        /// Has pruned an object of its own.
        Prune(u8),
        /// Sends the status that it computed; again after a conflict.
        Write,
    }

    fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
        let step = prop_oneof![
            Just(Step::Begin),
            (0_u8..6).prop_map(Step::Record),
            (0_u8..6).prop_map(Step::Prune),
            Just(Step::Write),
        ];
        proptest::collection::vec((any::<bool>(), step), 0..60)
    }

    proptest! {
        /// Two writers, as two leaders would be, against a status with versions.
        #[test]
        fn no_interleaving_of_two_writers_loses_an_entry(steps in steps()) {
            let mut stored = Wire::default();
            let mut records = [InventoryRecord::of(Some(&stored)), InventoryRecord::of(Some(&stored))];
            // What each has recorded with success, and not pruned since.
            let mut applied: [BTreeSet<ObjectId>; 2] = Default::default();
            for (second, step) in steps {
                let writer = usize::from(second);
                let mut inventory = records[writer].inventory();
                match step {
                    Step::Begin => records[writer] = InventoryRecord::of(Some(&stored)),
                    // Objects of the two differ: who prunes what the other applies is not asked here.
                    Step::Record(number) => {
                        inventory.insert(id(second, number), "v1");
                        records[writer].note(inventory);
                    }
                    Step::Prune(number) => {
                        let id = id(second, number);
                        inventory.remove(&id);
                        records[writer].note(inventory);
                        applied[writer].remove(&id);
                    }
                    // The last try after any number of conflicts is computed over what stands.
                    Step::Write => {
                        stored = records[writer].over(Some(&stored)).unwrap();
                        let own = inventory.ids().filter(|id| id.namespace == second.to_string());
                        applied[writer] = own.cloned().collect();
                    }
                }
                let stands = Inventory::from_wire(Some(&stored)).unwrap();
                for id in applied.iter().flatten() {
                    prop_assert!(stands.contains(id), "{id} is lost");
                }
            }
        }
    }
}
