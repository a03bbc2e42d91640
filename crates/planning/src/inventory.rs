//! Inventory: the objects that a Kustomization manages, as set algebra over Flux's id format.
//!
//! An object is added before it is first applied and removed only when it is confirmed deleted or released. Nothing here decides
//! what may be deleted: see `prune`.

use std::collections::BTreeMap;

use plumb_api::kustomize::{Inventory as Wire, InventoryEntry};
use plumb_manifests::ObjectId;

use crate::stage;

/// Entries read from a status at most; a forged status must not cost more.
pub const ENTRIES_MAX: usize = 100_000;

/// Objects with the version under which each was applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    entries: BTreeMap<ObjectId, String>,
    /// Entries whose id cannot be parsed, unchanged, with their version.
    unreadable: BTreeMap<String, String>,
}

/// An inventory that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// More entries than are read.
    #[error("inventory has {count} entries, the limit is {ENTRIES_MAX}")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

impl Inventory {
    /// Reads the inventory of a status. An entry whose id cannot be parsed names no object, so it can neither be pruned nor
    /// dropped: it stays until a user corrects it.
    pub fn from_wire(wire: Option<&Wire>) -> Result<Self, InventoryError> {
        let Some(wire) = wire else { return Ok(Self::default()) };
        if wire.entries.len() > ENTRIES_MAX {
            return Err(InventoryError::TooMany { count: wire.entries.len() });
        }
        let mut inventory = Self::default();
        for entry in &wire.entries {
            match ObjectId::parse_inventory(&entry.id) {
                Ok(id) => inventory.insert(id, entry.v.clone()),
                Err(_) => drop(inventory.unreadable.insert(entry.id.clone(), entry.v.clone())),
            }
        }
        Ok(inventory)
    }

    /// The wire form, in apply order.
    pub fn to_wire(&self) -> Wire {
        let entries = self
            .in_apply_order()
            .into_iter()
            .map(|(id, version)| (id.to_inventory(), version))
            .chain(self.unreadable.iter().map(|(id, version)| (id.clone(), version.as_str())))
            .map(|(id, version)| InventoryEntry { id, v: version.to_owned() })
            .collect();
        Wire { entries }
    }

    /// Objects with their versions, in apply order.
    pub fn in_apply_order(&self) -> Vec<(&ObjectId, &str)> {
        let mut all: Vec<_> = self.entries.iter().map(|(id, version)| (id, version.as_str())).collect();
        all.sort_by(|left, right| stage::order(left.0, right.0));
        all
    }

    /// Adds an object.
    pub fn insert(&mut self, id: ObjectId, version: impl Into<String>) {
        self.entries.insert(id, version.into());
    }

    /// Takes an object out: it is confirmed deleted, or released.
    pub fn remove(&mut self, id: &ObjectId) -> bool {
        self.entries.remove(id).is_some()
    }

    /// Whether the object is in it.
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.entries.contains_key(id)
    }

    /// The version recorded for an object.
    pub fn version(&self, id: &ObjectId) -> Option<&str> {
        self.entries.get(id).map(String::as_str)
    }

    /// How many objects.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Objects of either; where both have one, the version of `later` counts.
    #[must_use]
    pub fn union(&self, later: &Self) -> Self {
        let mut entries = self.entries.clone();
        entries.extend(later.entries.iter().map(|(id, version)| (id.clone(), version.clone())));
        let mut unreadable = self.unreadable.clone();
        unreadable.extend(later.unreadable.clone());
        Self { entries, unreadable }
    }

    /// Ids that cannot be parsed, unchanged.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.keys().map(String::as_str)
    }

    /// The same, and what cannot be read in `other`.
    #[must_use]
    pub fn with_unreadable_of(mut self, other: &Self) -> Self {
        self.unreadable.extend(other.unreadable.clone());
        self
    }

    /// Objects of this one that `other` lacks.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let entries = self
            .entries
            .iter()
            .filter(|(id, _)| !other.entries.contains_key(*id))
            .map(|(id, version)| (id.clone(), version.clone()))
            .collect();
        Self { entries, unreadable: BTreeMap::new() }
    }

    /// Whether `other` names no object that this one lacks: then no write-ahead is needed.
    pub fn covers(&self, other: &Self) -> bool {
        other.entries.iter().all(|(id, version)| self.entries.get(id) == Some(version))
    }

    /// The same objects, each under the id that `rename` gives to it. Entries that become one object are one entry.
    #[must_use]
    pub fn renamed(self, rename: impl Fn(ObjectId, &str) -> ObjectId) -> Self {
        let Self { entries, unreadable } = self;
        let entries = entries.into_iter().map(|(id, version)| (rename(id, &version), version)).collect();
        Self { entries, unreadable }
    }

    /// Objects with their versions, sorted by id.
    pub fn entries(&self) -> impl Iterator<Item = (&ObjectId, &str)> {
        self.entries.iter().map(|(id, version)| (id, version.as_str()))
    }

    /// Ids, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.entries.keys()
    }
}

impl FromIterator<(ObjectId, String)> for Inventory {
    fn from_iter<T: IntoIterator<Item = (ObjectId, String)>>(objects: T) -> Self {
        Self { entries: objects.into_iter().collect(), unreadable: BTreeMap::new() }
    }
}
