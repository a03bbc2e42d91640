//! An event as the controllers send it to notification-controller: its JSON on the wire. Sending, filtering and
//! rendering never enter.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::meta::time;
use crate::string_enum::string_enum;

string_enum! {
    /// How grave an event is.
    pub enum Severity {
        /// Only for those who look closely; never sent.
        Trace = "trace",
        /// As it should be.
        Info = "info",
        /// Someone should look.
        Error = "error",
    }
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The object that it happened to.
    pub involved_object: ObjectReference,
    /// How grave it is.
    pub severity: Severity,
    /// When it happened, in whole seconds.
    #[serde(with = "time")]
    pub timestamp: Timestamp,
    /// What happened, for people.
    pub message: String,
    /// What happened, in one word.
    pub reason: String,
    /// Further words, by key.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The controller that says so.
    pub reporting_controller: String,
    /// The instance of that controller: its host name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reporting_instance: String,
}

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its unique id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Its API group and version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// The version of it that was seen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// A part of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

impl ObjectReference {
    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

impl Event {
    /// The value of a metadata key in the group of the object: `<group>/<key>`.
    pub fn group_metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(&format!("{}/{key}", self.involved_object.group())).map(String::as_str)
    }
}

/// A Go program writes an empty map as null.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_reads_and_writes_the_same_json() {
        let wire = json!({
            "involvedObject": {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "name": "apps",
                "namespace": "flux-system", "resourceVersion": "7", "uid": "u"
            },
            "severity": "info",
            "timestamp": "2026-11-25T06:30:00Z",
            "message": "Reconciliation finished in 1s, next run in 10m0s",
            "reason": "ReconciliationSucceeded",
            "metadata": { "kustomize.toolkit.fluxcd.io/revision": "main@sha1:x" },
            "reportingController": "kustomize-controller",
            "reportingInstance": "pod-1"
        });
        let event: Event = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!(event.group_metadata("revision"), Some("main@sha1:x"));
        assert_eq!(serde_json::to_value(&event).unwrap(), wire);
    }

    #[test]
    fn an_event_without_metadata_or_with_null_is_read() {
        let event: Event = serde_json::from_value(json!({
            "involvedObject": { "kind": "Pod", "unknown": 1 }, "severity": "error",
            "timestamp": "2026-11-25T06:30:00.5+01:00", "message": "m", "reason": "r", "metadata": null,
            "reportingController": "c"
        }))
        .unwrap();
        assert!(event.metadata.is_empty());
        let written = serde_json::to_value(&event).unwrap();
        assert_eq!(written["timestamp"], "2026-11-25T05:30:00Z");
        assert_eq!(written.get("metadata"), None);
    }

    #[test]
    fn an_unknown_severity_is_refused() {
        assert!(serde_json::from_value::<Severity>(json!("fatal")).is_err());
    }
}
