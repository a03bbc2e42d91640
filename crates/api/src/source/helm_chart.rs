//! HelmChart: one version of one chart as an artifact. Packaging never enters.

use kube_derive::CustomResource;
use plumb_status::{Condition, cadence::PeriodRange, condition_types};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HelmChartVerification;
use crate::meta::{Artifact, GoDuration, INTERVAL_PATTERN, Period, Periods, reconciled};
use crate::string_enum::string_enum;

/// Desired state of a HelmChart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "HelmChart",
    doc = "Produces an artifact from one version of a Helm chart.",
    namespaced,
    status = "HelmChartStatus",
    shortname = "hc",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    printcolumn = r#"{"name":"Chart","type":"string","jsonPath":".spec.chart"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".spec.version"}"#,
    printcolumn = r#"{"name":"Source Kind","type":"string","jsonPath":".spec.sourceRef.kind"}"#,
    printcolumn = r#"{"name":"Source Name","type":"string","jsonPath":".spec.sourceRef.name"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    crates(kube_core = "::kube_core")
)]
#[schemars(extend("x-kubernetes-validations" = [{
    "message": "spec.verify is only supported when spec.sourceRef.kind is 'HelmRepository'",
    "rule": "!has(self.verify) || self.sourceRef.kind == 'HelmRepository'"
}]))]
pub struct HelmChartSpec {
    /// Chart name, or path of the chart in the source.
    pub chart: String,
    /// Skip values files that do not exist. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_missing_values_files: bool,
    /// Poll interval.
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub interval: GoDuration,
    /// Trigger of a new artifact: `ChartVersion` or `Revision`. Default: `ChartVersion`.
    #[serde(default)]
    pub reconcile_strategy: ChartReconcileStrategy,
    /// Source of the chart.
    pub source_ref: LocalHelmChartSourceReference,
    /// Suspend reconciliation of this chart. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Values files in the source to merge into the chart. Later files override earlier ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_files: Vec<String>,
    /// Verify the signature of the chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<HelmChartVerification>,
    /// Chart version or semver range. Ignored for charts in a Git repository or bucket. Default: `*`.
    #[serde(default = "any_version")]
    pub version: String,
}

fn any_version() -> String {
    "*".to_owned()
}

string_enum! {
    /// Trigger of a new artifact.
    #[derive(Default)]
    pub enum ChartReconcileStrategy {
        /// Another version of the chart.
        #[default]
        ChartVersion = "ChartVersion",
        /// Another revision of the source.
        Revision = "Revision",
    }
}

/// Source of a chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct LocalHelmChartSourceReference {
    /// API version of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the source.
    pub kind: ChartSourceKind,
    /// Name of the source.
    pub name: String,
}

string_enum! {
    /// Kinds of sources of charts.
    pub enum ChartSourceKind {
        /// An index or registry of charts.
        HelmRepository = "HelmRepository",
        /// A Git repository.
        GitRepository = "GitRepository",
        /// A bucket of an object store.
        Bucket = "Bucket",
    }
}

/// Observed state of a HelmChart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct HelmChartStatus {
    /// Artifact of the last successful reconciliation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Current conditions of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Value of the `reconcile.fluxcd.io/requestedAt` annotation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Name of the chart in the current artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_chart_name: Option<String>,
    /// Generation that was observed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Revision of the source that the current artifact was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_source_artifact_revision: Option<String>,
    /// Values files that were merged into the current artifact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed_values_files: Vec<String>,
    /// URL of the artifact inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

condition_types! {
    /// Conditions of a HelmChart other than Ready, Reconciling and Stalled.
    pub enum HelmChartCondition {
        /// The storage did not work.
        StorageOperationFailed = Negative,
        /// The chart could not be found or pulled.
        FetchFailed = Negative,
        /// The chart could not be packaged.
        BuildFailed = Negative,
        /// The artifact is not that of the newest version.
        ArtifactOutdated = Negative,
        /// The artifact of the version is stored.
        ArtifactInStorage = Positive,
        /// The signature was verified.
        SourceVerified = Positive,
    }
}

reconciled!(HelmChart, |chart| Some(chart.spec.effective_interval()));

impl Periods for HelmChart {
    fn periods(&self) -> Vec<Period> {
        vec![self.spec.interval_period()]
    }
}

impl HelmChartSpec {
    /// The poll interval, within [`PeriodRange::REQUEUE`].
    pub fn effective_interval(&self) -> GoDuration {
        self.interval_period().effective()
    }

    const fn interval_period(&self) -> Period {
        Period::new("spec.interval", self.interval, PeriodRange::REQUEUE)
    }
}

impl HelmChart {
    /// The artifact that it has now.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.status.as_ref()?.artifact.as_ref()
    }
}
