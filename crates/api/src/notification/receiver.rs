//! Receiver: a webhook that asks for reconciliations. Verifying and serving never enter.

use std::collections::BTreeMap;

use kube_derive::CustomResource;
use plumb_status::{Condition, condition_types};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ObjectKind;
use plumb_status::cadence::PeriodRange;

use crate::meta::{GoDuration, INTERVAL_PATTERN, LocalObjectReference, Period, Periods, reconciled};
use crate::string_enum::string_enum;

/// The interval of a Receiver that names none.
pub const RECEIVER_INTERVAL: GoDuration = GoDuration::from_secs(600);

/// `group/version` of DNS names. Empty counts as unset.
const API_VERSION_PATTERN: &str = "^(([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9]*[a-z0-9])?)?$";
/// The name of an object, or `*`.
const NAME_OR_ANY_PATTERN: &str = r"^(\*|[a-z0-9]([-a-z0-9.]*[a-z0-9])?)$";
/// The name of a namespace.
const NAMESPACE_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Desired state of a Receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1",
    kind = "Receiver",
    doc = "Webhook that triggers the reconciliation of objects.",
    namespaced,
    status = "ReceiverStatus",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-notifications",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    crates(kube_core = "::kube_core")
)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "message": "generic-oidc receivers must define at least one oidcProvider",
        "rule": "self.type != 'generic-oidc' || (has(self.oidcProviders) && size(self.oidcProviders) > 0)"
    },
    {
        "message": "oidcProviders can only be set when type is generic-oidc",
        "rule": "self.type == 'generic-oidc' || !has(self.oidcProviders) || size(self.oidcProviders) == 0"
    },
    {
        "message": "secretRef cannot be set when type is generic-oidc",
        "rule": "self.type != 'generic-oidc' || !has(self.secretRef)"
    },
    {
        "message": "secretRef is required when type is not generic-oidc",
        "rule": "self.type == 'generic-oidc' || has(self.secretRef)"
    }
]))]
pub struct ReceiverSpec {
    /// Event types to handle, as the sender names them. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Reconciliation interval of the Receiver itself. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = INTERVAL_PATTERN, "default" = "10m"))]
    pub interval: Option<GoDuration>,
    /// OIDC providers whose tokens are accepted. Only for type `generic-oidc`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["issuerURL"]))]
    pub oidc_providers: Vec<OidcProvider>,
    /// CEL expression that filters the resources of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_filter: Option<String>,
    /// Objects to reconcile.
    pub resources: Vec<ReceiverResource>,
    /// Secret with the `token` that authenticates the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Suspend the receiver: reject requests. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Receiver type: the sender of the requests.
    #[serde(rename = "type")]
    pub type_: ReceiverType,
}

impl ReceiverSpec {
    /// The reconciliation interval of the Receiver itself, within [`PeriodRange::REQUEUE`].
    pub fn effective_interval(&self) -> GoDuration {
        let set = self.interval.unwrap_or(RECEIVER_INTERVAL);
        Period::new("spec.interval", set, PeriodRange::REQUEUE).effective()
    }
}

impl Periods for Receiver {
    fn periods(&self) -> Vec<Period> {
        let interval = self.spec.interval;
        interval.map(|set| Period::new("spec.interval", set, PeriodRange::REQUEUE)).into_iter().collect()
    }
}

reconciled!(Receiver, |receiver| Some(receiver.spec.effective_interval()));

string_enum! {
    /// Receiver type.
    pub enum ReceiverType {
        /// Any sender that knows the path.
        Generic = "generic",
        /// Any sender that signs with the token.
        GenericHmac = "generic-hmac",
        /// Any sender with a token of an accepted OIDC provider.
        GenericOidc = "generic-oidc",
        /// GitHub.
        Github = "github",
        /// GitLab.
        Gitlab = "gitlab",
        /// Bitbucket Server.
        Bitbucket = "bitbucket",
        /// Harbor.
        Harbor = "harbor",
        /// Docker Hub.
        Dockerhub = "dockerhub",
        /// Quay.
        Quay = "quay",
        /// Google Container Registry.
        Gcr = "gcr",
        /// Nexus.
        Nexus = "nexus",
        /// Azure Container Registry.
        Acr = "acr",
        /// CDEvents.
        Cdevents = "cdevents",
    }
}

/// Objects to reconcile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ReceiverResource {
    /// API version of the objects, `group/version`. The group must be that of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317), extend("pattern" = API_VERSION_PATTERN))]
    pub api_version: Option<String>,
    /// CEL expression that filters the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Kind of the objects.
    pub kind: ObjectKind,
    /// Labels that the objects must have. Only used if `name` is `*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Name of the object, or `*` for all objects that match `matchLabels`.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME_OR_ANY_PATTERN))]
    pub name: String,
    /// Namespace of the objects. Default: the namespace of the Receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAMESPACE_PATTERN))]
    pub namespace: Option<String>,
}

/// OIDC provider whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OidcProvider {
    /// Required audience of the token. Default: `notification-controller`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Issuer URL of the OIDC provider.
    #[serde(rename = "issuerURL")]
    #[schemars(extend("pattern" = "^https?://"))]
    pub issuer_url: String,
    /// CEL validations that a token must pass.
    #[schemars(length(min = 1))]
    pub validations: Vec<OidcValidation>,
    /// CEL variables for use in the validations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<OidcVariable>,
}

/// CEL validation that a token must pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OidcValidation {
    /// CEL expression that must be true.
    pub expression: String,
    /// Error message if the expression is false.
    pub message: String,
}

/// CEL variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OidcVariable {
    /// CEL expression of the variable.
    pub expression: String,
    /// Name of the variable.
    pub name: String,
}

/// Observed state of a Receiver.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ReceiverStatus {
    /// Current conditions of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Value of the `reconcile.fluxcd.io/requestedAt` annotation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Generation that was observed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Path of the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_path: Option<String>,
}

condition_types! {
    /// A Receiver has no conditions beside Ready, Reconciling and Stalled.
    pub enum ReceiverCondition {}
}
