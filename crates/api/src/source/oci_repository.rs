//! OCIRepository: an artifact of a container registry. Registries never enter.

use kube_derive::CustomResource;
use plumb_status::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CloudProvider, OCIRepositoryVerification, SOURCE_TIMEOUT};
use crate::meta::{
    Artifact, GoDuration, INTERVAL_PATTERN, LocalObjectReference, Period, Periods, TIMEOUT_PATTERN,
    reconciled,
};
use crate::string_enum::string_enum;
use plumb_status::cadence::PeriodRange;

/// Desired state of an OCIRepository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "OCIRepository",
    doc = "Produces an artifact from an OCI artifact of a container registry.",
    namespaced,
    status = "OCIRepositoryStatus",
    shortname = "ocirepo",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".spec.url"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
pub struct OCIRepositorySpec {
    /// Secret with the CA bundle (`ca.crt`) and client certificate (`tls.crt`, `tls.key`) for the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// Exclusions from the artifact, in `.gitignore` syntax. Replaces the built-in rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Allow a plain HTTP registry. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// Poll interval.
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub interval: GoDuration,
    /// Layer to use for the artifact. Default: the first layer, extracted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_selector: Option<OCILayerSelector>,
    /// Authentication provider. `generic` uses `secretRef`. Default: `generic`.
    #[serde(default)]
    pub provider: CloudProvider,
    /// Secret with the `address`, and optionally `username` and `password`, of an HTTP proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// OCI reference to pull. Default: the tag `latest`.
    #[serde(rename = "ref")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<OCIRepositoryRef>,
    /// Secret with the credentials for the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// ServiceAccount with image pull secrets, or for workload identity with the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Suspend reconciliation of this repository. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Timeout of one operation on the registry, from 1s to 1h. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIMEOUT_PATTERN, "default" = "60s", "x-kubernetes-validations" = [{"message": "timeout must be at most 1h", "rule": "duration(self) <= duration('1h')"}]))]
    pub timeout: Option<GoDuration>,
    /// Repository URL, `oci://host/path`, without a tag.
    #[schemars(extend("pattern" = "^oci://.*$"))]
    pub url: String,
    /// Verify the signature of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<OCIRepositoryVerification>,
}

/// OCI reference to pull. Precedence: `digest`, `semver`, `tag`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OCIRepositoryRef {
    /// Image digest, `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Semver range. The highest matching tag is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// Regular expression that filters the tags for `semver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver_filter: Option<String>,
    /// Image tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Layer to use for the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OCILayerSelector {
    /// Media type of the layer. The first match is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Layer operation: `extract` unpacks the layer, `copy` stores it unchanged. Default: `extract`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OCILayerOperation>,
}

string_enum! {
    /// Layer operation.
    pub enum OCILayerOperation {
        /// Unpack the layer.
        Extract = "extract",
        /// Store the layer unchanged.
        Copy = "copy",
    }
}

/// Observed state of an OCIRepository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OCIRepositoryStatus {
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
    /// Exclusions that the current artifact was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_ignore: Option<String>,
    /// Layer selector that the current artifact was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_layer_selector: Option<OCILayerSelector>,
    /// URL of the artifact inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

reconciled!(OCIRepository, |repository| Some(repository.spec.effective_interval()));

impl Periods for OCIRepository {
    fn periods(&self) -> Vec<Period> {
        let timeout =
            self.spec.timeout.map(|set| Period::new("spec.timeout", set, PeriodRange::SOURCE_TIMEOUT));
        [Some(self.spec.interval_period()), timeout].into_iter().flatten().collect()
    }
}

impl OCIRepositorySpec {
    /// The poll interval, within [`PeriodRange::REQUEUE`].
    pub fn effective_interval(&self) -> GoDuration {
        self.interval_period().effective()
    }

    /// The timeout of one operation, within [`PeriodRange::SOURCE_TIMEOUT`].
    pub fn effective_timeout(&self) -> GoDuration {
        let set = self.timeout.unwrap_or(SOURCE_TIMEOUT);
        Period::new("spec.timeout", set, PeriodRange::SOURCE_TIMEOUT).effective()
    }

    const fn interval_period(&self) -> Period {
        Period::new("spec.interval", self.interval, PeriodRange::REQUEUE)
    }
}

impl OCIRepository {
    /// The artifact that it has now.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.status.as_ref()?.artifact.as_ref()
    }
}
