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
use crate::string_enum::string_enum;

/// Desired state of a Kustomization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kustomize.toolkit.fluxcd.io",
    version = "v1",
    kind = "Kustomization",
    doc = "Builds manifests of a source with kustomize, applies them to a cluster and corrects drift.",
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
    /// Build metadata that kustomize adds as annotations to the built objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_metadata: Vec<BuildMetadata>,
    /// Labels and annotations added to every object. They override those of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// Relative paths of kustomize components to add to the build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Decryption of encrypted manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decryption: Option<Decryption>,
    /// Deletion policy for the applied objects when this Kustomization is deleted. Default: `MirrorPrune`,
    /// which follows `prune`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Kustomizations that must be Ready before this one is reconciled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependencyReference>,
    /// Drift detection: correct at once, report only, or check at the interval only. Default: correct at
    /// once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_detection: Option<DriftDetection>,
    /// Recreate objects if an immutable field changed. Default: false.
    #[serde(default)]
    pub force: bool,
    /// CEL expressions that compute the health of custom resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_check_exprs: Vec<CustomHealthCheck>,
    /// Objects to include in the health check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<NamespacedObjectKindReference>,
    /// Ignore rules: fields to exclude from drift detection and from apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
    /// Skip components whose path does not exist in the source. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_missing_components: bool,
    /// Image names, tags or digests to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Reconciliation interval, at least 1s.
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub interval: GoDuration,
    /// Kubeconfig of the target cluster. Default: the local cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigReference>,
    /// Prefix for the name of every object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name_prefix: Option<String>,
    /// Suffix for the name of every object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub name_suffix: Option<String>,
    /// Patches applied to the built objects: strategic merge or JSON 6902.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// Path of the directory to build, relative to the root of the source. Default: the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Variable substitution after the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_build: Option<PostBuild>,
    /// Prune objects that were removed from the source.
    pub prune: bool,
    /// Retry interval after a failure, at least 1s. Default: the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub retry_interval: Option<GoDuration>,
    /// ServiceAccount to impersonate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Source of the manifests.
    pub source_ref: CrossNamespaceSourceReference,
    /// Suspend reconciliation of this Kustomization. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Namespace to set on every namespaced object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub target_namespace: Option<String>,
    /// Timeout of the health checks, from 30s to 24h. Default: the interval less 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = INTERVAL_PATTERN, "x-kubernetes-validations" = [{"message": "timeout must be at most 24h", "rule": "duration(self) <= duration('24h')"}]))]
    pub timeout: Option<GoDuration>,
    /// Wait for all applied objects to become healthy. Default: false.
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
    /// The reconciliation interval, within [`PeriodRange::REQUEUE`].
    pub fn effective_interval(&self) -> GoDuration {
        self.interval_period().effective()
    }

    /// The timeout of the health checks: the field, else the interval less 30s; within
    /// [`PeriodRange::HEALTH_TIMEOUT`].
    pub fn effective_timeout(&self) -> GoDuration {
        let set = self
            .timeout
            .unwrap_or_else(|| self.effective_interval().saturating_sub(HEALTH_TIMEOUT_MIN.into()));
        Period::new("spec.timeout", set, PeriodRange::HEALTH_TIMEOUT).effective()
    }

    /// The retry interval after a failure, within [`PeriodRange::REQUEUE`].
    pub fn effective_retry_interval(&self) -> GoDuration {
        let set = self.retry_interval.unwrap_or(self.interval);
        Period::new("spec.retryInterval", set, PeriodRange::REQUEUE).effective()
    }

    const fn interval_period(&self) -> Period {
        Period::new("spec.interval", self.interval, PeriodRange::REQUEUE)
    }

    /// The deletion policy; `MirrorPrune` if unset.
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

string_enum! {
    /// Deletion policy for the applied objects when their Kustomization is deleted.
    pub enum DeletionPolicy {
        /// Delete if `prune` is set, else keep.
        MirrorPrune = "MirrorPrune",
        /// Delete.
        Delete = "Delete",
        /// Delete and wait until they are gone.
        WaitForTermination = "WaitForTermination",
        /// Keep.
        Orphan = "Orphan",
    }
}

/// Kustomization that must be Ready first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct DependencyReference {
    /// Name of the Kustomization.
    pub name: String,
    /// Namespace of the Kustomization. Default: the namespace of the referring object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// CEL expression that must be true for the dependency to be ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_expr: Option<String>,
}

impl DependencyReference {
    /// Its namespace, named by a Kustomization in the namespace `own`. An empty one counts as none, as in Flux.
    pub fn namespace_in<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own)
    }
}

/// CEL expressions that compute the health of a custom resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct CustomHealthCheck {
    /// API version of the custom resource.
    pub api_version: String,
    /// CEL expression that is true if the object is healthy.
    pub current: String,
    /// CEL expression that is true if the object failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// CEL expression that is true while the object is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_progress: Option<String>,
    /// Kind of the custom resource. Default: every kind of the API group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Fields to exclude from drift detection and from apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct IgnoreRule {
    /// JSON pointers (RFC 6901) of the fields.
    pub paths: Vec<String>,
    /// Objects that the rule applies to. Default: all objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Selector>,
}

/// Kubeconfig of the target cluster.
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
    /// ConfigMap with the address of the cluster and the provider for workload identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalObjectReference>,
    /// Secret with a kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyReference>,
}

/// Key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct SecretKeyReference {
    /// Key in the Secret. Default: `value`, else `value.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Secret name.
    pub name: String,
}

/// Source of the manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct CrossNamespaceSourceReference {
    /// API version of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the source.
    pub kind: SourceKind,
    /// Name of the source.
    pub name: String,
    /// Namespace of the source. Default: the namespace of the Kustomization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl CrossNamespaceSourceReference {
    /// The namespace of the source, for a Kustomization in the namespace `own`. An empty one counts as none, as in Flux.
    pub fn namespace_in<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own)
    }
}

string_enum! {
    /// Kinds of sources of manifests.
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
