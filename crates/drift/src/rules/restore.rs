//! Restore: a user requests, by annotation, that flagged objects be corrected once (drift.md §1).

use std::collections::BTreeSet;

use jiff::Timestamp;
use plumb_api::meta::RESTORE;
use plumb_manifests::ObjectId;

use plumb_planning::inventory::Inventory;

/// Ids in one request at most.
pub const IDS_MAX: usize = 1_000;

/// The request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The annotation, unchanged: copied to the status.
    pub raw: String,
    /// Time of the request.
    pub at: Timestamp,
    /// Inventory ids, unchanged; none: everything.
    pub ids: Vec<String>,
}

/// A request that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It does not begin with a time.
    #[error("annotation {RESTORE} must begin with an RFC 3339 time, not {word:?}")]
    NoTime {
        /// The value.
        word: String,
    },
    /// It names too many objects.
    #[error("annotation {RESTORE} names {count} objects, the limit is {IDS_MAX} (name none to restore all)")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chosen {
    /// Objects to restore.
    pub objects: BTreeSet<ObjectId>,
    /// Ids that are not in the inventory: reported.
    pub strangers: Vec<String>,
}

impl Restore {
    /// Reads the annotation.
    pub fn parse(raw: &str) -> Result<Self, RestoreError> {
        let mut words = raw.split_whitespace();
        let first = words.next().unwrap_or_default();
        let at =
            first.parse().map_err(|_| RestoreError::NoTime { word: first.chars().take(64).collect() })?;
        let ids: Vec<String> = words.map(str::to_owned).collect();
        if ids.len() > IDS_MAX {
            return Err(RestoreError::TooMany { count: ids.len() });
        }
        Ok(Self { raw: raw.to_owned(), at, ids })
    }

    /// Whether the request was handled: it is the one in the status, the one recorded, or, where the installed CRD
    /// has no such field, one that is older than this process.
    pub fn is_handled(
        &self,
        echoed: Option<&str>,
        remembered: Option<&str>,
        crd_echoes: bool,
        started: Timestamp,
    ) -> bool {
        [echoed, remembered].contains(&Some(self.raw.as_str())) || !crd_echoes && self.at < started
    }

    /// The objects that are meant.
    pub fn choose(&self, inventory: &Inventory) -> Chosen {
        if self.ids.is_empty() {
            return Chosen { objects: inventory.ids().cloned().collect(), strangers: Vec::new() };
        }
        let mut chosen = Chosen::default();
        for text in &self.ids {
            match ObjectId::parse_inventory(text).ok().filter(|id| inventory.contains(id)) {
                Some(id) => {
                    chosen.objects.insert(id);
                }
                None => chosen.strangers.push(text.clone()),
            }
        }
        chosen
    }
}
