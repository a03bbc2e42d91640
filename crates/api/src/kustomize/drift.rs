//! Drift detection as a Kustomization asks for it, and what it tells of drift. Finding and correcting drift never
//! enter.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kustomization;
use crate::meta::{DRIFT_DETECTION, time};
use crate::words::words;

/// How many drifted objects are listed.
pub const DRIFT_ENTRIES_MAX: usize = 20;
/// How many fields of a drifted object are listed.
pub const DRIFT_FIELDS_MAX: usize = 5;

/// How drift is dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DriftDetection {
    /// Corrected at once (enabled), told and left (warn), or looked for at the interval alone (disabled).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DriftMode>,
}

words! {
    /// How drift is dealt with.
    #[derive(Default)]
    pub enum DriftMode {
        /// Seen at once, corrected at once.
        #[default]
        Enabled = "enabled",
        /// Seen at once, told, and left until someone decides.
        Warn = "warn",
        /// Corrected at the interval.
        Disabled = "disabled",
    }
}

/// An annotation that names no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {DRIFT_DETECTION} is {value:?}: it must be enabled, warn or disabled")]
pub struct InvalidDriftMode {
    /// What it says.
    pub value: String,
}

impl Kustomization {
    /// The mode that is asked for: the annotation wins over the field, and nothing said means enabled.
    pub fn drift_mode(&self) -> Result<DriftMode, InvalidDriftMode> {
        let annotation = self.metadata.annotations.as_ref().and_then(|all| all.get(DRIFT_DETECTION));
        match annotation {
            Some(value) => DriftMode::parse(value).ok_or_else(|| InvalidDriftMode { value: value.clone() }),
            None => Ok(self.spec.drift_detection.as_ref().and_then(|drift| drift.mode).unwrap_or_default()),
        }
    }
}

/// Drift that stands, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DriftStatus {
    /// The drifted objects, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = DRIFT_ENTRIES_MAX, "x-kubernetes-list-type" = "atomic"))]
    pub entries: Vec<DriftEntry>,
    /// The value of the restore annotation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_restore: Option<String>,
    /// How many objects have drifted, listed or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i64>,
    /// When this was seen.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::optional")]
    #[schemars(schema_with = "time::schema")]
    pub observed_at: Option<Timestamp>,
}

/// A drifted object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DriftEntry {
    /// In which way.
    pub class: DriftClass,
    /// The fields that differ, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = DRIFT_FIELDS_MAX, "x-kubernetes-list-type" = "atomic"))]
    pub fields: Vec<DriftField>,
    /// Which object, as in the inventory.
    pub id: String,
    /// How many further fields differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<i64>,
    /// Since when.
    #[serde(with = "time")]
    #[schemars(schema_with = "time::schema")]
    pub since: Timestamp,
}

words! {
    /// In which way an object has drifted.
    pub enum DriftClass {
        /// A field that was applied has another value.
        Drifted = "drifted",
        /// The object was deleted.
        Missing = "missing",
        /// The labels that say whose it is were taken away or changed.
        Disowned = "disowned",
        /// Another tool added a field.
        Extra = "extra",
        /// It could not be compared.
        Unknown = "unknown",
    }
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DriftField {
    /// How sure it is who wrote it.
    pub confidence: Confidence,
    /// The value of the source; hidden in a Secret, cut where it is long, absent where the source has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// The value in the cluster, with the same care.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// The program that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// How it was written: Apply or Update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Which field.
    pub path: String,
    /// Through which subresource it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::optional")]
    #[schemars(schema_with = "time::schema")]
    pub time: Option<Timestamp>,
}

words! {
    /// How sure it is who wrote a field.
    pub enum Confidence {
        /// The API server says so.
        Exact = "exact",
        /// The newest writer of the object.
        Probable = "probable",
        /// Nobody can say.
        Unknown = "unknown",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(annotation: Option<&str>, field: Option<&str>, expect: Result<DriftMode, &str>) {
        let annotations = annotation.map(|mode| json!({ DRIFT_DETECTION: mode }));
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": { "name": "apps", "annotations": annotations },
            "spec": {
                "interval": "10m", "prune": true, "sourceRef": { "kind": "GitRepository", "name": "apps" },
                "driftDetection": field.map(|mode| json!({ "mode": mode })),
            },
        });
        let object: Kustomization = serde_json::from_value(object).unwrap();
        assert_eq!(object.drift_mode().map_err(|error| error.value), expect.map_err(str::to_owned));
    }

    #[test]
    fn drift_is_corrected_unless_said_otherwise() {
        check(None, None, Ok(DriftMode::Enabled));
        check(None, Some("warn"), Ok(DriftMode::Warn));
        check(None, Some("disabled"), Ok(DriftMode::Disabled));
    }

    #[test]
    fn the_annotation_wins_over_the_field() {
        check(Some("enabled"), Some("warn"), Ok(DriftMode::Enabled));
        check(Some("warn"), None, Ok(DriftMode::Warn));
    }

    #[test]
    fn an_unknown_mode_is_never_read_as_enabled() {
        check(Some("Warn"), None, Err("Warn"));
        check(Some(""), Some("warn"), Err(""));
    }
}
