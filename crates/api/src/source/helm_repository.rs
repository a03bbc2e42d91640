//! HelmRepository: an index of charts, or a registry that holds them. Fetching never enters.

use std::collections::BTreeMap;

use kube_derive::CustomResource;
use plumb_status::{Condition, cadence::PeriodRange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CloudProvider, SOURCE_TIMEOUT};
use crate::meta::{
    Artifact, GoDuration, INTERVAL_PATTERN, LocalObjectReference, Period, Periods, TIMEOUT_PATTERN,
    reconciled,
};
use crate::string_enum::string_enum;

/// Desired state of a HelmRepository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "HelmRepository",
    doc = "Produces an artifact from the index of a Helm repository, or refers to an OCI registry with charts.",
    namespaced,
    status = "HelmRepositoryStatus",
    shortname = "helmrepo",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".spec.url"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    crates(kube_core = "::kube_core")
)]
pub struct HelmRepositorySpec {
    /// Cross-namespace access control list. No effect; kept for compatibility.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_from: Option<AccessFrom>,
    /// Secret with the CA bundle (`ca.crt`) and client certificate (`tls.crt`, `tls.key`) for the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// Allow plain HTTP for an OCI registry. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// Poll interval. Unused for OCI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub interval: Option<GoDuration>,
    /// Send the credentials to other hosts that the index refers to. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pass_credentials: bool,
    /// Authentication provider of an OCI registry. `generic` uses `secretRef`. Default: `generic`.
    #[serde(default)]
    pub provider: CloudProvider,
    /// Secret with the credentials for the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Suspend reconciliation of this repository. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Timeout of one operation on the repository, from 1s to 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIMEOUT_PATTERN, "x-kubernetes-validations" = [{"message": "timeout must be at most 1h", "rule": "duration(self) <= duration('1h')"}]))]
    pub timeout: Option<GoDuration>,
    /// Repository type: `default` (an index over HTTP) or `oci`. Default: `default`.
    #[serde(rename = "type")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<HelmRepositoryType>,
    /// Repository URL: `http`, `https` or `oci`.
    #[schemars(extend("pattern" = "^(http|https|oci)://.*$"))]
    pub url: String,
}

string_enum! {
    /// Repository type.
    pub enum HelmRepositoryType {
        /// An index over HTTP.
        Default = "default",
        /// A container registry.
        Oci = "oci",
    }
}

/// Cross-namespace access control list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct AccessFrom {
    /// Namespaces that are allowed, by label.
    pub namespace_selectors: Vec<NamespaceSelector>,
}

/// Selects namespaces by label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct NamespaceSelector {
    /// Labels that a namespace must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// Observed state of a HelmRepository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct HelmRepositoryStatus {
    /// Artifact of the last successful reconciliation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Current conditions of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Value of the `reconcile.fluxcd.io/requestedAt` annotation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Generation that was observed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// URL of the artifact inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The poll interval where none is set.
const INTERVAL: GoDuration = GoDuration::from_secs(60);

reconciled!(HelmRepository, |repository| Some(repository.spec.effective_interval()));

impl Periods for HelmRepository {
    fn periods(&self) -> Vec<Period> {
        let HelmRepositorySpec { interval, timeout, .. } = &self.spec;
        let interval = interval.map(|set| Period::new("spec.interval", set, PeriodRange::REQUEUE));
        let timeout = timeout.map(|set| Period::new("spec.timeout", set, PeriodRange::SOURCE_TIMEOUT));
        [interval, timeout].into_iter().flatten().collect()
    }
}

impl HelmRepositorySpec {
    /// The poll interval, within [`PeriodRange::REQUEUE`].
    pub fn effective_interval(&self) -> GoDuration {
        Period::new("spec.interval", self.interval.unwrap_or(INTERVAL), PeriodRange::REQUEUE).effective()
    }

    /// The timeout of one operation, within [`PeriodRange::SOURCE_TIMEOUT`].
    pub fn effective_timeout(&self) -> GoDuration {
        let set = self.timeout.unwrap_or(SOURCE_TIMEOUT);
        Period::new("spec.timeout", set, PeriodRange::SOURCE_TIMEOUT).effective()
    }

    /// Whether it only holds settings for the charts of a registry: there is no index.
    pub fn is_registry(&self) -> bool {
        self.type_ == Some(HelmRepositoryType::Oci)
    }
}

impl HelmRepository {
    /// The artifact that it has now.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.status.as_ref()?.artifact.as_ref()
    }
}
