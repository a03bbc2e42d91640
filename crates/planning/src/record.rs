//! Record: the few bytes stored of each managed object, and the rule by which a watch event triggers a comparison (drift.md §3).
//!
//! No body is stored or read to decide. A trigger only leads to a comparison; it is never itself a finding.

use plumb_manifests::Object;
use serde_json::Value;

use crate::fingerprint::Fingerprint;
use crate::managed_fields::Hashes;
use crate::ownership::{Owned, Owner};
use crate::takeover::Takeover;

/// The record of a managed object: about 150 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which incarnation.
    pub uid: Box<str>,
    /// The version compared last.
    pub version: Box<str>,
    /// The generation compared last, where the kind has one.
    pub generation: Option<i64>,
    /// Hashes of the managers' entries compared last.
    pub hashes: Hashes,
    /// What we applied (A).
    pub applied: Fingerprint,
    /// How sensitive it is to events.
    pub watchfulness: Watchfulness,
}

/// How sensitive an object is to events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watchfulness {
    /// Our entry holds every field that we apply.
    #[default]
    Calm,
    /// Drift is open (warn, suspended, backoff, a controller's field), or our entry lacks a field of the desired object.
    Flagged,
    /// Entries give no information (the server strips them, or the object is applied with `ssa: Merge`).
    ByVersion,
}

/// What a watch event or a list shows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which incarnation.
    pub uid: Box<str>,
    /// The version.
    pub version: Box<str>,
    /// The generation, where the kind has one.
    pub generation: Option<i64>,
    /// Hashes of the managers' entries.
    pub hashes: Hashes,
    /// Whether the object carries our owner labels.
    pub owned: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether other tools left fields that become ours.
    pub leftovers: bool,
    /// The origin of the observation.
    pub via: Via,
}

/// The origin of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// By a list: an older version is a change (a restored cluster).
    List,
    /// By an event: an older version is a late one.
    Event,
}

/// What a event of an object leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventAction {
    /// Older than what is known, or the same: ignore it, keep the record.
    Stale,
    /// An explained change: update the record, do nothing.
    Explained,
    /// Compare the object.
    Compare(Cause),
}

/// Why an object is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Our entry changed: another manager changed or removed a field that we applied, or applied under our name.
    OwnEntry,
    /// The generation moved, and no foreign entry explains it.
    Generation,
    /// The version moved, and no entry explains it.
    Version,
    /// Drift is open already, and the object changed.
    Flagged,
    /// Another incarnation: deleted and recreated.
    Recreated,
    /// Our owner labels are missing.
    Unlabelled,
    /// Another tool, whose fields become ours, added or changed some.
    Leftover,
}

impl Seen {
    /// Reads the metadata of an object (the `metadata` map itself).
    pub fn of(metadata: &Value, owner: &Owner, takeover: &Takeover, listed: bool) -> Self {
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default();
        Self {
            uid: text("uid").into(),
            version: text("resourceVersion").into(),
            generation: metadata
                .get("generation")
                .and_then(Value::as_i64)
                .filter(|generation| *generation > 0),
            hashes: Hashes::of(metadata.get("managedFields")),
            owned: owner.of_labels(metadata.get("labels")) == Owned::Ours,
            deleting: metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null()),
            leftovers: takeover.has_leftovers(metadata.get("managedFields")),
            via: if listed { Via::List } else { Via::Event },
        }
    }
}

impl Record {
    /// The baseline after a write of ours, or after a comparison: from the server's response.
    pub fn baseline(live: &Object, applied: Fingerprint, watchfulness: Watchfulness) -> Self {
        let nobody = Owner { name: String::new(), namespace: String::new() };
        let metadata = live.at(&["metadata"]).unwrap_or(&Value::Null);
        let seen = Seen::of(metadata, &nobody, &Takeover::default(), true);
        let Seen { uid, version, generation, hashes, owned: _, deleting: _, leftovers: _, via: _ } = seen;
        Self { uid, version, generation, hashes, applied, watchfulness }
    }

    /// Takes a event into the record, whether or not it leads to a comparison: what explains the next event is this one.
    pub fn advance(&mut self, seen: &Seen) {
        let Seen { uid, version, generation, hashes, owned: _, deleting: _, leftovers: _, via: _ } = seen;
        self.uid.clone_from(uid);
        self.version.clone_from(version);
        self.generation = *generation;
        self.hashes = *hashes;
    }
}

/// Whether an event of an object triggers a comparison.
pub fn action_for(record: &Record, seen: &Seen) -> EventAction {
    if seen.uid != record.uid {
        return if seen.deleting { EventAction::Stale } else { EventAction::Compare(Cause::Recreated) };
    }
    if seen.version == record.version || seen.via == Via::Event && is_older(&seen.version, &record.version) {
        return EventAction::Stale;
    }
    // It terminates anyway: its deletion triggers one.
    if seen.deleting {
        return EventAction::Explained;
    }
    if !seen.owned {
        return EventAction::Compare(Cause::Unlabelled);
    }
    let own = seen.hashes.own != record.hashes.own;
    let foreign = seen.hashes.foreign != record.hashes.foreign;
    let generation = seen.generation != record.generation;
    let all = seen.hashes.all != record.hashes.all;
    let has_generation = seen.generation.is_some();
    if own {
        return EventAction::Compare(Cause::OwnEntry);
    }
    if foreign && seen.leftovers && record.watchfulness != Watchfulness::ByVersion {
        return EventAction::Compare(Cause::Leftover);
    }
    match record.watchfulness {
        Watchfulness::ByVersion => EventAction::Compare(Cause::Version),
        Watchfulness::Flagged if !has_generation || generation || foreign => {
            EventAction::Compare(Cause::Flagged)
        }
        Watchfulness::Calm | Watchfulness::Flagged => match has_generation {
            true if generation && !foreign => EventAction::Compare(Cause::Generation),
            false if !all => EventAction::Compare(Cause::Version),
            true | false => EventAction::Explained,
        },
    }
}

/// Whether a version is older than another; unknown forms are never older.
pub fn is_older(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version < than,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests;
