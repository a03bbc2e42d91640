//! What stands of a Kustomization.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumb_status::{Condition, condition_types};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DriftStatus;
use crate::meta::{GoDuration, time};

/// How many entries of history are kept.
pub const HISTORY_ENTRIES_MAX: usize = 5;

/// Observed state of a Kustomization.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct KustomizationStatus {
    /// Current conditions of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Open drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,
    /// Reconciliation history, newest first, at most 5 entries. Attempts with the same digest and outcome
    /// share an entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryEntry>,
    /// Inventory of the applied objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    /// Origin revision of the artifact that was applied last, if its producer reports one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_origin_revision: Option<String>,
    /// Revision that was applied successfully last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,
    /// Revision of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    /// Value of the `reconcile.fluxcd.io/requestedAt` annotation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Generation that was observed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Inventory of the applied objects.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Inventory {
    /// Applied objects.
    pub entries: Vec<InventoryEntry>,
}

/// Applied object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct InventoryEntry {
    /// ID of the object: `namespace_name_group_kind`.
    pub id: String,
    /// API version of the object.
    pub v: String,
}

/// Attempts with the same digest and outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct HistoryEntry {
    /// Digest of the built objects.
    pub digest: String,
    /// Time at which the first attempt ended.
    #[serde(with = "time")]
    #[schemars(schema_with = "time::schema")]
    pub first_reconciled: Timestamp,
    /// Time at which the last attempt ended.
    #[serde(with = "time")]
    #[schemars(schema_with = "time::schema")]
    pub last_reconciled: Timestamp,
    /// Duration of the last attempt.
    pub last_reconciled_duration: GoDuration,
    /// Outcome of the last attempt: a reason of the Ready condition.
    pub last_reconciled_status: String,
    /// Metadata of the attempts, such as revision and origin revision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Number of attempts.
    pub total_reconciliations: i64,
}

condition_types! {
    /// Conditions of a Kustomization other than Ready, Reconciling and Stalled.
    pub enum KustomizationCondition {
        /// The checked objects are healthy.
        Healthy = Positive,
        /// Objects differ from the source and are not corrected. Dependents must not fail for it.
        Drifted = Negative beside Ready,
    }
}
