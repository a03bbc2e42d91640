//! What stands of a Kustomization.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumb_status::{Condition, ConditionType, Polarity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DriftStatus;
use crate::meta::{GoDuration, time};

/// How many entries of history are kept.
pub const HISTORY_ENTRIES_MAX: usize = 5;

/// What the controller says about a Kustomization.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct KustomizationStatus {
    /// The state of the Kustomization, aspect by aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Drift that stands, and what was done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,
    /// The last attempts, the newest first; attempts with the same outcome share an entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// The objects that were applied and are looked after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// What the last applied artifact was made from, where its producer said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_origin_revision: Option<String>,
    /// The revision that was applied last, completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,
    /// The revision of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    /// The request for a reconciliation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The objects that were applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Inventory {
    /// One entry for each object.
    pub entries: Vec<InventoryEntry>,
}

/// One object that was applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct InventoryEntry {
    /// Which object: namespace, name, group and kind, joined by underscores.
    pub id: String,
    /// The version of its API.
    pub v: String,
}

/// Attempts that had the same manifests and the same outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct HistoryEntry {
    /// The digest of what was built.
    pub digest: String,
    /// When the first of them ended.
    #[serde(with = "time")]
    #[schemars(schema_with = "time::schema")]
    pub first_reconciled: Timestamp,
    /// When the last of them ended.
    #[serde(with = "time")]
    #[schemars(schema_with = "time::schema")]
    pub last_reconciled: Timestamp,
    /// How long the last of them took.
    pub last_reconciled_duration: GoDuration,
    /// How they ended: a reason of the Ready condition.
    pub last_reconciled_status: String,
    /// Further words: the revision, and what it was made from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How many there were.
    pub total_reconciliations: i64,
}

/// What can be said about a Kustomization beside Ready, Reconciling and Stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KustomizationCondition {
    /// The checked objects are healthy.
    Healthy,
    /// Objects differ from the source and are left so.
    Drifted,
}

impl ConditionType for KustomizationCondition {
    const ALL: &'static [Self] = &[Self::Healthy, Self::Drifted];

    fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Drifted => "Drifted",
        }
    }

    fn polarity(self) -> Polarity {
        match self {
            Self::Healthy => Polarity::Positive,
            Self::Drifted => Polarity::Negative,
        }
    }

    /// Drift never keeps a Kustomization from being Ready: its dependents must not fail for it.
    fn affects_ready(self) -> bool {
        match self {
            Self::Healthy => true,
            Self::Drifted => false,
        }
    }
}
