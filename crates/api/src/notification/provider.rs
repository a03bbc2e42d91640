//! Provider: a service that events are sent to. Requests to it never enter.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use plumb_status::cadence::PeriodRange;

use crate::meta::{GoDuration, INTERVAL_PATTERN, LocalObjectReference, Period, Periods, TIMEOUT_PATTERN};
use crate::words::words;

/// The timeout of a provider that names none.
pub const PROVIDER_TIMEOUT: GoDuration = GoDuration::from_secs(15);

/// How a service is reached that events are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1beta3",
    kind = "Provider",
    doc = "A service that events are sent to.",
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
    /// Where the service is; the address in the Secret wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub address: Option<String>,
    /// A Secret with the certificates for the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,
    /// The channel, room, topic or project to post to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub channel: Option<String>,
    /// An expression for the identity of a commit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_status_expr: Option<String>,
    /// Without effect; kept for old manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub interval: Option<GoDuration>,
    /// The address of a proxy; use proxySecretRef instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), extend("pattern" = "^(http|https)://.*$"))]
    pub proxy: Option<String>,
    /// A Secret with the address and credentials of a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// A Secret with the address, the token or other credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// A ServiceAccount whose identity the service accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether to send nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Timeout of one notification with its retries, from 1s to 10m; 15s if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIMEOUT_PATTERN, "x-kubernetes-validations" = [{"message": "timeout must be at most 10m", "rule": "duration(self) <= duration('10m')"}]))]
    pub timeout: Option<GoDuration>,
    /// Which service it is.
    #[serde(rename = "type")]
    pub type_: ProviderType,
    /// The name to post under.
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
    /// How long one notification may take, within [`PeriodRange::PROVIDER_TIMEOUT`].
    pub fn effective_timeout(&self) -> GoDuration {
        let set = self.timeout.unwrap_or(PROVIDER_TIMEOUT);
        Period::new("spec.timeout", set, PeriodRange::PROVIDER_TIMEOUT).effective()
    }
}

words! {
    /// The services that events can be sent to.
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
