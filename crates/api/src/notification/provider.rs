//! Provider: a service that events are sent to. Requests to it never enter.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use plumb_status::cadence::PeriodRange;

use crate::meta::{GoDuration, INTERVAL_PATTERN, LocalObjectReference, Period, Periods, TIMEOUT_PATTERN};
use crate::string_enum::string_enum;

/// The timeout of a provider that names none.
pub const PROVIDER_TIMEOUT: GoDuration = GoDuration::from_secs(15);

/// Desired state of a Provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1beta3",
    kind = "Provider",
    doc = "Service that notifications are sent to.",
    namespaced,
    category = "all",
    category = "fluxcd",
    category = "fluxcd-notifications",
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(kube_core = "::kube_core")
)]
#[schemars(extend("x-kubernetes-validations" = [{
    "message": "spec.commitStatusExpr is only supported for the 'github', 'gitlab', 'gitea', 'bitbucketserver', 'bitbucket', 'azuredevops' provider types",
    "rule": "self.type == 'github' || self.type == 'gitlab' || self.type == 'gitea' || self.type == 'bitbucketserver' || self.type == 'bitbucket' || self.type == 'azuredevops' || !has(self.commitStatusExpr)"
}]))]
pub struct ProviderSpec {
    /// HTTP or HTTPS address of the service. `address` in the Secret overrides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub address: Option<String>,
    /// Secret with the CA bundle (`ca.crt`) and client certificate (`tls.crt`, `tls.key`) for the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// Channel, room, topic or project to post to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub channel: Option<String>,
    /// CEL expression that computes the ID of a commit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_status_expr: Option<String>,
    /// Reconciliation interval. No effect; kept for compatibility.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub interval: Option<GoDuration>,
    /// HTTP or HTTPS address of a proxy. Deprecated: use `proxySecretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), extend("pattern" = "^(http|https)://.*$"))]
    pub proxy: Option<String>,
    /// Secret with the `address`, and optionally `username` and `password`, of an HTTP proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// Secret with the address and the credentials of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// ServiceAccount used for workload identity with the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Suspend notifications to this provider. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Timeout of one notification including retries, from 1s to 10m. Default: 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIMEOUT_PATTERN, "x-kubernetes-validations" = [{"message": "timeout must be at most 10m", "rule": "duration(self) <= duration('10m')"}]))]
    pub timeout: Option<GoDuration>,
    /// Provider type.
    #[serde(rename = "type")]
    pub type_: ProviderType,
    /// Username to post as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub username: Option<String>,
}

impl Periods for Provider {
    fn periods(&self) -> Vec<Period> {
        // The interval of a Provider has no effect.
        let timeout = self.spec.timeout;
        timeout
            .map(|set| Period::new("spec.timeout", set, PeriodRange::PROVIDER_TIMEOUT))
            .into_iter()
            .collect()
    }
}

impl ProviderSpec {
    /// The timeout of one notification, within [`PeriodRange::PROVIDER_TIMEOUT`].
    pub fn effective_timeout(&self) -> GoDuration {
        let set = self.timeout.unwrap_or(PROVIDER_TIMEOUT);
        Period::new("spec.timeout", set, PeriodRange::PROVIDER_TIMEOUT).effective()
    }
}

string_enum! {
    /// Provider type.
    pub enum ProviderType {
        /// Slack.
        Slack = "slack",
        /// Discord.
        Discord = "discord",
        /// Microsoft Teams.
        MsTeams = "msteams",
        /// Rocket.Chat.
        Rocket = "rocket",
        /// Any HTTP server.
        Generic = "generic",
        /// Any HTTP server, with a signature.
        GenericHmac = "generic-hmac",
        /// GitHub commit status.
        Github = "github",
        /// GitLab commit status.
        Gitlab = "gitlab",
        /// Gitea commit status.
        Gitea = "gitea",
        /// Comments on pull requests of Gitea.
        GiteaPullRequestComment = "giteapullrequestcomment",
        /// Bitbucket Server build status.
        BitbucketServer = "bitbucketserver",
        /// Bitbucket build status.
        Bitbucket = "bitbucket",
        /// Azure DevOps commit status.
        AzureDevops = "azuredevops",
        /// Google Chat.
        GoogleChat = "googlechat",
        /// Google Pub/Sub.
        GooglePubSub = "googlepubsub",
        /// Webex.
        Webex = "webex",
        /// Sentry.
        Sentry = "sentry",
        /// Azure Event Hubs.
        AzureEventHub = "azureeventhub",
        /// Telegram.
        Telegram = "telegram",
        /// Lark.
        Lark = "lark",
        /// Matrix.
        Matrix = "matrix",
        /// Opsgenie.
        Opsgenie = "opsgenie",
        /// Prometheus Alertmanager.
        Alertmanager = "alertmanager",
        /// Grafana annotations.
        Grafana = "grafana",
        /// GitHub repository dispatch.
        GithubDispatch = "githubdispatch",
        /// Comments on pull requests of GitHub.
        GithubPullRequestComment = "githubpullrequestcomment",
        /// Comments on merge requests of GitLab.
        GitlabMergeRequestComment = "gitlabmergerequestcomment",
        /// PagerDuty.
        PagerDuty = "pagerduty",
        /// Datadog.
        Datadog = "datadog",
        /// NATS.
        Nats = "nats",
        /// Zulip.
        Zulip = "zulip",
        /// OpenTelemetry traces.
        Otel = "otel",
        /// Zoom.
        Zoom = "zoom",
        /// incident.io.
        IncidentIo = "incident.io",
    }
}
