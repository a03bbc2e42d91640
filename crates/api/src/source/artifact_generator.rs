//! ArtifactGenerator: ExternalArtifacts composed from the files of other sources. Copying files never enters.

use std::collections::BTreeMap;

use kube_derive::CustomResource;
use plumb_status::{Condition, condition, condition_types};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{DISABLED, GoDuration, Period, Periods, Reconciled};
use crate::string_enum::string_enum;

/// The group of ArtifactGenerator.
pub const EXTENSIONS_GROUP: &str = "source.extensions.fluxcd.io";
/// The API group and version of ArtifactGenerator.
pub const EXTENSIONS_API_VERSION: &str = "source.extensions.fluxcd.io/v1beta1";
/// Annotation on an ArtifactGenerator, value `disabled`: it is not reconciled.
pub const GENERATOR_RECONCILE: &str = "source.extensions.fluxcd.io/reconcile";
/// Label on an ExternalArtifact: the UID of the ArtifactGenerator that owns it.
pub const GENERATOR_LABEL: &str = "source.extensions.fluxcd.io/generator";
/// How often sources and outputs are compared where nothing changes.
pub const GENERATOR_INTERVAL: GoDuration = GoDuration::from_secs(3600);

/// An alias, as the fields name it that refer to a source.
const ALIAS_REFERENCE: &str = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$";

/// Desired state of an ArtifactGenerator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "source.extensions.fluxcd.io",
    version = "v1beta1",
    kind = "ArtifactGenerator",
    doc = "Artifacts composed from the files of other sources.",
    namespaced,
    status = "ArtifactGeneratorStatus",
    shortname = "ag",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    crates(kube_core = "::kube_core")
)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "message": "artifact names must be DNS names unless pathPattern is set",
        "rule": "has(self.pathPattern) || self.artifacts.all(a, a.name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))"
    }
]))]
pub struct ArtifactGeneratorSpec {
    /// ExternalArtifacts to generate.
    #[schemars(length(min = 1, max = 1000))]
    pub artifacts: Vec<OutputArtifact>,
    /// Labels and annotations of all generated ExternalArtifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<GeneratorMetadata>,
    /// Pattern of directories, `@alias/pattern`, each of which leads to the artifacts. `{name}` captures a part of a directory's name
    /// for `artifacts[].name`, `from` and `to`. Unset: the artifacts are generated once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), extend("pattern" = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$"))]
    pub path_pattern: Option<String>,
    /// Sources of the files.
    #[schemars(length(min = 1, max = 1000))]
    pub sources: Vec<GeneratorSource>,
}

/// Labels and annotations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct GeneratorMetadata {
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Source of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct GeneratorSource {
    /// Name of the source in this object, unique in it.
    #[schemars(length(max = 63), extend("pattern" = "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"))]
    pub alias: String,
    /// Kind of the source.
    pub kind: GeneratorSourceKind,
    /// Name of the source.
    #[schemars(length(max = 253), extend("pattern" = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// Namespace of the source. Default: the namespace of the ArtifactGenerator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}

string_enum! {
    /// Kind of a source of files.
    pub enum GeneratorSourceKind {
        /// Bucket.
        Bucket = "Bucket",
        /// GitRepository.
        GitRepository = "GitRepository",
        /// OCIRepository.
        OciRepository = "OCIRepository",
        /// HelmChart.
        HelmChart = "HelmChart",
        /// ExternalArtifact.
        ExternalArtifact = "ExternalArtifact",
    }
}

/// ExternalArtifact to generate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OutputArtifact {
    /// Copy operations, carried out in order: a later one writes over the files of an earlier one.
    #[schemars(length(min = 1))]
    pub copy: Vec<CopyOperation>,
    /// Name of the ExternalArtifact.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Source, `@alias`, whose origin revision the artifact's metadata gets, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("pattern" = ALIAS_REFERENCE))]
    pub origin_revision: Option<String>,
    /// Source, `@alias`, whose revision the artifact gets. Default: `latest@` and the digest of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("pattern" = ALIAS_REFERENCE))]
    pub revision: Option<String>,
}

/// Copy operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct CopyOperation {
    /// Glob patterns of files and directories to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub exclude: Vec<String>,
    /// Files to copy, `@alias/pattern`: a path or a glob pattern.
    #[schemars(length(max = 1024), extend("pattern" = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$"))]
    pub from: String,
    /// Allow `from` to match nothing. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Treatment of a file that exists: `Overwrite` it, or `Merge` YAML into it as Helm merges values. `Extract` unpacks
    /// archives (`.tar.gz`, `.tgz`). Default: Overwrite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<CopyStrategy>,
    /// Destination, `@artifact/path`; a slash at its end makes it a directory.
    #[schemars(length(max = 1024), extend("pattern" = "^@(artifact)/(.*)$"))]
    pub to: String,
}

string_enum! {
    /// What a copy operation does.
    pub enum CopyStrategy {
        /// Write over files that exist.
        Overwrite = "Overwrite",
        /// Merge YAML into files that exist.
        Merge = "Merge",
        /// Unpack archives.
        Extract = "Extract",
    }
}

/// Observed state of an ArtifactGenerator.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ArtifactGeneratorStatus {
    /// Current conditions of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Generated ExternalArtifacts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<GeneratedArtifact>,
    /// Last value of the annotation `reconcile.fluxcd.io/requestedAt` that was handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Generation that was last reconciled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Digest of the sources that the artifacts were generated from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_sources_digest: Option<String>,
}

/// Generated ExternalArtifact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct GeneratedArtifact {
    /// Digest of the artifact's file.
    pub digest: String,
    /// Name of the artifact's file.
    pub filename: String,
    /// Name of the ExternalArtifact.
    pub name: String,
    /// Namespace of the ExternalArtifact.
    pub namespace: String,
}

condition_types! {
    /// Conditions of an ArtifactGenerator other than Ready, Reconciling and Stalled.
    pub enum ArtifactGeneratorCondition {}
}

impl Periods for ArtifactGenerator {
    fn periods(&self) -> Vec<Period> {
        Vec::new()
    }
}

impl Reconciled for ArtifactGenerator {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn observed_generation(&self) -> Option<i64> {
        // The definition that Flux installs has no such field: there, Ready knows it.
        let status = self.status.as_ref()?;
        let ready = condition::find(&status.conditions, condition::READY);
        status
            .observed_generation
            .or_else(|| ready?.observed_generation)
            .filter(|generation| *generation >= 0)
    }

    fn last_handled_reconcile_at(&self) -> Option<&str> {
        self.status.as_ref()?.last_handled_reconcile_at.as_deref()
    }

    fn suspended(&self) -> bool {
        let set = self.metadata.annotations.as_ref().and_then(|all| all.get(GENERATOR_RECONCILE));
        set.is_some_and(|value| value.eq_ignore_ascii_case(DISABLED))
    }

    fn interval(&self) -> Option<GoDuration> {
        Some(GENERATOR_INTERVAL)
    }
}
