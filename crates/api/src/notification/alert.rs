//! Alert: which events go to which provider. Matching never enters.

use std::collections::BTreeMap;

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ObjectKind;
use crate::meta::LocalObjectReference;
use crate::words::words;

/// Which events are told, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1beta3",
    kind = "Alert",
    doc = "Which events of which objects are told to a provider.",
    namespaced,
    category = "all",
    category = "fluxcd",
    category = "fluxcd-notifications",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
pub struct AlertSpec {
    /// Words to add to every event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub event_metadata: BTreeMap<String, String>,
    /// From which severity on events are told.
    #[serde(default)]
    pub event_severity: AlertSeverity,
    /// The objects whose events are told.
    pub event_sources: Vec<EventSource>,
    /// Regular expressions: an event whose message matches one of them is not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusion_list: Vec<String>,
    /// Regular expressions: only an event whose message matches one of them is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inclusion_list: Vec<String>,
    /// The provider to tell.
    pub provider_ref: LocalObjectReference,
    /// A sentence to add to every event; eventMetadata does the same and more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub summary: Option<String>,
    /// Whether to keep silent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

words! {
    /// From which severity on events are told.
    #[derive(Default)]
    pub enum AlertSeverity {
        /// All.
        #[default]
        Info = "info",
        /// Errors alone.
        Error = "error",
    }
}

/// Objects whose events are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct EventSource {
    /// The API version of the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The kind of the objects.
    pub kind: ObjectKind,
    /// Labels that the objects must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// The name of the object, or * for all.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The namespace of the objects; without it, that of the Alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub namespace: Option<String>,
}
