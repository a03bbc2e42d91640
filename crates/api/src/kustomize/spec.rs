//! What a Kustomization asks for.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    BuildMetadata, CommonMetadata, Decryption, DriftDetection, Image, KustomizationStatus, Patch, PostBuild,
    Selector,
};
use plumb_status::cadence::{HEALTH_TIMEOUT_MIN, PeriodRange};

use crate::meta::{
    GoDuration, INTERVAL_PATTERN, LocalObjectReference, NamespacedObjectKindReference, Period, Periods,
    reconciled,
};
use crate::words::words;

/// Which manifests to build and apply, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kustomize.toolkit.fluxcd.io",
    version = "v1",
    kind = "Kustomization",
    doc = "Manifests of a source, built with kustomize and kept applied to a cluster.",
    namespaced,
    status = "KustomizationStatus",
    shortname = "ks",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-appliers",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    crates(kube_core = "::kube_core")
)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of the wire are Flux's")]
pub struct KustomizationSpec {
    /// What kustomize shall note in annotations of the built objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_metadata: Vec<BuildMetadata>,
    /// Labels and annotations for every object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// Components to add to the build, as relative paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// How to decrypt encrypted manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decryption: Option<Decryption>,
    /// What becomes of the applied objects when this one is deleted; without it, what prune says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Kustomizations that must be Ready before this one is applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependencyReference>,
    /// Whether drift is corrected at once, only told, or looked for at the interval alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_detection: Option<DriftDetection>,
    /// Whether objects are recreated where a field cannot be changed.
    #[serde(default)]
    pub force: bool,
    /// Expressions that say when objects of a kind are healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_check_exprs: Vec<CustomHealthCheck>,
    /// Objects that must become healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<NamespacedObjectKindReference>,
    /// Fields that are neither compared nor applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
    /// Whether components that are not there are passed over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_missing_components: bool,
    /// Images to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Interval at which the objects are compared with the source, at least 1s.
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub interval: GoDuration,
    /// The cluster to apply to; without it, this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigReference>,
    /// What to put before every name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name_prefix: Option<String>,
    /// What to put after every name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name_suffix: Option<String>,
    /// Patches for the built objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// The directory of the source to build; without it, its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What to do after the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_build: Option<PostBuild>,
    /// Whether objects that left the source are deleted.
    pub prune: bool,
    /// Retry interval after a failure, at least 1s; the interval if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub retry_interval: Option<GoDuration>,
    /// The ServiceAccount to act as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Where the manifests come from.
    pub source_ref: CrossNamespaceSourceReference,
    /// Whether to leave the objects alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// The namespace for every object that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub target_namespace: Option<String>,
    /// Timeout of the health checks, from 30s to 24h; the interval less 30s if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = INTERVAL_PATTERN, "x-kubernetes-validations" = [{"message": "timeout must be at most 24h", "rule": "duration(self) <= duration('24h')"}]))]
    pub timeout: Option<GoDuration>,
    /// Whether all applied objects must become healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
}

reconciled!(Kustomization, |kustomization| Some(kustomization.spec.effective_interval()));

impl Periods for Kustomization {
    fn periods(&self) -> Vec<Period> {
        let spec = &self.spec;
        let retry =
            spec.retry_interval.map(|set| Period::new("spec.retryInterval", set, PeriodRange::REQUEUE));
        let timeout = spec.timeout.map(|set| Period::new("spec.timeout", set, PeriodRange::HEALTH_TIMEOUT));
        [Some(spec.interval_period()), retry, timeout].into_iter().flatten().collect()
    }
}

impl KustomizationSpec {
    /// How often the objects are compared, within [`PeriodRange::REQUEUE`].
    pub fn effective_interval(&self) -> GoDuration {
        self.interval_period().effective()
    }

    /// How long to wait for health: the timeout, else the interval less half a minute; within
    /// [`PeriodRange::HEALTH_TIMEOUT`].
    pub fn effective_timeout(&self) -> GoDuration {
        let set = self
            .timeout
            .unwrap_or_else(|| self.effective_interval().saturating_sub(HEALTH_TIMEOUT_MIN.into()));
        Period::new("spec.timeout", set, PeriodRange::HEALTH_TIMEOUT).effective()
    }

    /// When to try again after a failure, within [`PeriodRange::REQUEUE`].
    pub fn effective_retry_interval(&self) -> GoDuration {
        let set = self.retry_interval.unwrap_or(self.interval);
        Period::new("spec.retryInterval", set, PeriodRange::REQUEUE).effective()
    }

    const fn interval_period(&self) -> Period {
        Period::new("spec.interval", self.interval, PeriodRange::REQUEUE)
    }

    /// What becomes of the applied objects when the Kustomization is deleted.
    pub fn effective_deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy.unwrap_or(DeletionPolicy::MirrorPrune)
    }

    /// Whether the applied objects are deleted with the Kustomization.
    pub fn deletes_objects(&self) -> bool {
        match self.effective_deletion_policy() {
            DeletionPolicy::MirrorPrune => self.prune,
            DeletionPolicy::Delete | DeletionPolicy::WaitForTermination => true,
            DeletionPolicy::Orphan => false,
        }
    }
}

words! {
    /// What becomes of the applied objects when their Kustomization is deleted.
    pub enum DeletionPolicy {
        /// What prune says.
        MirrorPrune = "MirrorPrune",
        /// They are deleted.
        Delete = "Delete",
        /// They are deleted and waited for.
        WaitForTermination = "WaitForTermination",
        /// They stay.
        Orphan = "Orphan",
    }
}

/// A Kustomization that must be Ready first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DependencyReference {
    /// Its name.
    pub name: String,
    /// Its namespace; without it, that of the object that refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// An expression that must hold for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_expr: Option<String>,
}

impl DependencyReference {
    /// Its namespace, named by a Kustomization in the namespace `own`. An empty one counts as none, as in Flux.
    pub fn namespace_in<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own)
    }
}

/// Expressions that say when objects of a kind are healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct CustomHealthCheck {
    /// The API version of the objects.
    pub api_version: String,
    /// Holds when an object is as it should be.
    pub current: String,
    /// Holds when an object has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Holds while an object is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress: Option<String>,
    /// The kind of the objects; without it, every kind of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Fields that are neither compared nor applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct IgnoreRule {
    /// The fields, as JSON pointers.
    pub paths: Vec<String>,
    /// The objects; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Selector>,
}

/// The cluster to apply to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "message": "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified",
        "rule": "has(self.configMapRef) || has(self.secretRef)"
    },
    {
        "message": "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified",
        "rule": "!has(self.configMapRef) || !has(self.secretRef)"
    }
]))]
pub struct KubeConfigReference {
    /// A ConfigMap that says how to reach and enter the cluster with an identity of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalObjectReference>,
    /// A Secret with a kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyReference>,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct SecretKeyReference {
    /// The key; without it, value or value.yaml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The name of the Secret.
    pub name: String,
}

/// Where manifests come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct CrossNamespaceSourceReference {
    /// The API version of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The kind of the source.
    pub kind: SourceKind,
    /// The name of the source.
    pub name: String,
    /// The namespace of the source; without it, that of the Kustomization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl CrossNamespaceSourceReference {
    /// The namespace of the source, for a Kustomization in the namespace `own`. An empty one counts as none, as in Flux.
    pub fn namespace_in<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own)
    }
}

words! {
    /// The kinds of source that manifests can come from.
    pub enum SourceKind {
        /// An artifact of a container registry.
        OciRepository = "OCIRepository",
        /// A Git repository.
        GitRepository = "GitRepository",
        /// A bucket of an object store.
        Bucket = "Bucket",
        /// An artifact that another controller produces.
        ExternalArtifact = "ExternalArtifact",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(more: &Value) -> KustomizationSpec {
        let mut spec = json!({
            "interval": "10m", "prune": true, "sourceRef": { "kind": "GitRepository", "name": "apps" },
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn the_timeout_is_almost_the_interval_and_never_too_short() {
        for (more, expect) in [
            (json!({}), 570),
            (json!({ "interval": "10s" }), 30),
            (json!({ "timeout": "2m" }), 120),
            (json!({ "timeout": "5s" }), 30),
        ] {
            assert_eq!(spec(&more).effective_timeout(), GoDuration::from_secs(expect), "{more}");
        }
    }

    #[test]
    fn a_failure_is_retried_at_the_interval_unless_said_otherwise() {
        assert_eq!(spec(&json!({})).effective_retry_interval(), GoDuration::from_secs(600));
        let said = spec(&json!({ "retryInterval": "1m" }));
        assert_eq!(said.effective_retry_interval(), GoDuration::from_secs(60));
    }

    #[test]
    fn objects_go_with_their_kustomization_as_prune_and_policy_say() {
        for (prune, policy, expect) in [
            (true, None, true),
            (false, None, false),
            (true, Some("MirrorPrune"), true),
            (false, Some("MirrorPrune"), false),
            (false, Some("Delete"), true),
            (false, Some("WaitForTermination"), true),
            (true, Some("Orphan"), false),
        ] {
            let spec = spec(&json!({ "prune": prune, "deletionPolicy": policy }));
            assert_eq!(spec.deletes_objects(), expect, "{prune} {policy:?}");
        }
    }
}
