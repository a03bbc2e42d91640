//! Drift detection as a Kustomization asks for it, and what it tells of drift. Finding and correcting drift never
//! enter.

use jiff::Timestamp;
use plumb_status::{Classify, Consequence, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kustomization;
use crate::meta::{DRIFT_DETECTION, time};
use crate::string_enum::string_enum;

/// How many drifted objects are listed.
pub const DRIFT_ENTRIES_MAX: usize = 20;
/// How many fields of a drifted object are listed.
pub const DRIFT_FIELDS_MAX: usize = 5;

/// Drift detection and correction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DriftDetection {
    /// Drift mode: `enabled` corrects drift at once, `warn` reports it only, `disabled` checks at the
    /// interval only. Default: `enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DriftMode>,
}

string_enum! {
    /// Drift mode.
    #[derive(Default)]
    pub enum DriftMode {
        /// Detected and corrected at once.
        #[default]
        Enabled = "enabled",
        /// Detected at once and reported, not corrected.
        Warn = "warn",
        /// Corrected at the interval.
        Disabled = "disabled",
    }
}

/// A value that is no drift mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("drift detection mode {value:?} in {place} is not one of enabled, warn, disabled")]
pub struct InvalidDriftMode {
    /// The value.
    pub value: String,
    /// Where it was read: a field, or an annotation of an object.
    pub place: String,
}

impl Classify for InvalidDriftMode {
    fn reason(&self) -> Reason {
        Reason::InvalidDriftDetection
    }

    fn consequence(&self) -> Consequence {
        Consequence::Stall
    }
}

impl DriftMode {
    /// The mode that the annotation [`DRIFT_DETECTION`] of an object names. Case does not matter, as with the other
    /// annotations that switch something. A value that is no mode is an error, never read as `enabled`.
    pub fn of_annotation(value: &str, object: impl std::fmt::Display) -> Result<Self, InvalidDriftMode> {
        let known = Self::ALL.iter().copied().find(|mode| mode.as_str().eq_ignore_ascii_case(value));
        known.ok_or_else(|| InvalidDriftMode {
            value: value.to_owned(),
            place: format!("the annotation {DRIFT_DETECTION} of {object}"),
        })
    }
}

impl Kustomization {
    /// The effective mode: the annotation overrides the field; the default is enabled.
    pub fn drift_mode(&self) -> Result<DriftMode, InvalidDriftMode> {
        let annotation = self.metadata.annotations.as_ref().and_then(|all| all.get(DRIFT_DETECTION));
        match annotation {
            Some(value) => DriftMode::of_annotation(value, "the Kustomization"),
            None => Ok(self.spec.drift_detection.as_ref().and_then(|drift| drift.mode).unwrap_or_default()),
        }
    }
}

/// Open drift.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DriftStatus {
    /// Drifted objects, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = DRIFT_ENTRIES_MAX, "x-kubernetes-list-type" = "atomic"))]
    pub entries: Vec<DriftEntry>,
    /// Value of the `kustomize.toolkit.fluxcd.io/restore` annotation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_restore: Option<String>,
    /// Number of drifted objects, including those that are not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i64>,
    /// Time of the observation.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::optional")]
    #[schemars(schema_with = "time::schema")]
    pub observed_at: Option<Timestamp>,
}

/// Drifted object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DriftEntry {
    /// Class of the drift.
    pub class: DriftClass,
    /// Fields that differ, at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = DRIFT_FIELDS_MAX, "x-kubernetes-list-type" = "atomic"))]
    pub fields: Vec<DriftField>,
    /// ID of the object, as in the inventory.
    pub id: String,
    /// Number of differing fields that are not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<i64>,
    /// Time at which the drift was detected.
    #[serde(with = "time")]
    #[schemars(schema_with = "time::schema")]
    pub since: Timestamp,
}

string_enum! {
    /// Class of a drift.
    pub enum DriftClass {
        /// A field that was applied has another value.
        Drifted = "drifted",
        /// The object was deleted.
        Missing = "missing",
        /// The owner labels were removed or changed.
        Disowned = "disowned",
        /// Another tool added a field.
        Extra = "extra",
        /// It could not be compared.
        Unknown = "unknown",
    }
}

/// Field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DriftField {
    /// Confidence in the attribution to the manager: `exact`, `probable` or `unknown`.
    pub confidence: Confidence,
    /// Value in the source. Masked in Secrets, truncated if long, absent if the source has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// Value in the cluster. Masked in Secrets, truncated if long, absent if the cluster has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// Field manager that wrote the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// Operation of the write: Apply or Update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Path of the field.
    pub path: String,
    /// Subresource that the write used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// Time of the write.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::optional")]
    #[schemars(schema_with = "time::schema")]
    pub time: Option<Timestamp>,
}

string_enum! {
    /// Confidence in the attribution of a write to a manager.
    pub enum Confidence {
        /// Recorded by the API server.
        Exact = "exact",
        /// The newest writer of the object.
        Probable = "probable",
        /// Not known.
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
        check(Some("Disabled"), Some("warn"), Ok(DriftMode::Disabled));
        check(Some("warn"), None, Ok(DriftMode::Warn));
    }

    #[test]
    fn an_unknown_mode_is_never_read_as_enabled() {
        check(Some("wran"), None, Err("wran"));
        check(Some(""), Some("warn"), Err(""));
    }
}
