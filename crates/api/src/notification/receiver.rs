//! Receiver: a webhook that asks for reconciliations. Verifying and serving never enter.

use std::collections::BTreeMap;

use kube_derive::CustomResource;
use plumb_status::{Condition, ConditionType, Polarity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ObjectKind;
use plumb_status::cadence::PeriodRange;

use crate::meta::{GoDuration, INTERVAL_PATTERN, LocalObjectReference, Period, Periods, reconciled};
use crate::words::words;

/// The interval of a Receiver that names none.
pub const RECEIVER_INTERVAL: GoDuration = GoDuration::from_secs(600);

/// `group/version` of DNS names. Empty counts as unset.
const API_VERSION_PATTERN: &str = "^(([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9]*[a-z0-9])?)?$";
/// The name of an object, or `*`.
const NAME_OR_ANY_PATTERN: &str = r"^(\*|[a-z0-9]([-a-z0-9.]*[a-z0-9])?)$";
/// The name of a namespace.
const NAMESPACE_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Who may call the webhook, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1",
    kind = "Receiver",
    doc = "A webhook that asks for reconciliations of objects.",
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
    /// The events of the sender that count, as the sender names them; without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// How often the Receiver itself is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = INTERVAL_PATTERN, "default" = "10m"))]
    pub interval: Option<GoDuration>,
    /// Issuers whose tokens are accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["issuerURL"]))]
    pub oidc_providers: Vec<OidcProvider>,
    /// An expression that chooses among the resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_filter: Option<String>,
    /// The objects to reconcile.
    pub resources: Vec<ReceiverResource>,
    /// A Secret with the token that proves the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Whether calls are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Which sender it is.
    #[serde(rename = "type")]
    pub type_: ReceiverType,
}

impl ReceiverSpec {
    /// How often the Receiver itself is looked at.
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

words! {
    /// The senders that are understood.
    pub enum ReceiverType {
        /// Anyone who knows the path.
        Generic = "generic",
        /// Anyone who signs with the token.
        GenericHmac = "generic-hmac",
        /// Anyone with a token of an accepted issuer.
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
    /// The API version of the objects, `group/version`. The group must be that of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317), extend("pattern" = API_VERSION_PATTERN))]
    pub api_version: Option<String>,
    /// An expression that chooses among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The kind of the objects.
    pub kind: ObjectKind,
    /// Labels that the objects must carry, where the name is *.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// The name of the object, or * for all that carry matchLabels.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME_OR_ANY_PATTERN))]
    pub name: String,
    /// The namespace of the objects; without it, that of the Receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAMESPACE_PATTERN))]
    pub namespace: Option<String>,
}

/// An issuer whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OidcProvider {
    /// The audience that a token must name; without it, notification-controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The issuer.
    #[serde(rename = "issuerURL")]
    #[schemars(extend("pattern" = "^https?://"))]
    pub issuer_url: String,
    /// What must hold for a token.
    #[schemars(length(min = 1))]
    pub validations: Vec<OidcValidation>,
    /// Named expressions for use in the validations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<OidcVariable>,
}

/// What must hold for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OidcValidation {
    /// The expression.
    pub expression: String,
    /// What to say when it does not hold.
    pub message: String,
}

/// A named expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OidcVariable {
    /// The expression.
    pub expression: String,
    /// Its name.
    pub name: String,
}

/// What the controller says about the Receiver.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ReceiverStatus {
    /// The state of the Receiver, aspect by aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The request for a reconciliation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The path of the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_path: Option<String>,
}

/// A Receiver has no conditions beside Ready, Reconciling and Stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReceiverCondition {}

impl ConditionType for ReceiverCondition {
    const ALL: &'static [Self] = &[];

    fn as_str(self) -> &'static str {
        match self {}
    }

    fn polarity(self) -> Polarity {
        match self {}
    }
}
