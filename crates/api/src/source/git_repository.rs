//! GitRepository: a branch, tag or commit of a Git repository as an artifact. Git itself never enters.

use kube_derive::CustomResource;
use plumb_status::cadence::PeriodRange;
use plumb_status::{Condition, ConditionType, Polarity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SOURCE_TIMEOUT;
use crate::meta::{
    Artifact, GoDuration, INTERVAL_PATTERN, LocalObjectReference, Period, Periods, TIMEOUT_PATTERN,
    reconciled,
};
use crate::words::words;

/// What to fetch from a Git repository, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "GitRepository",
    doc = "A branch, tag or commit of a Git repository, kept as an artifact in the cluster.",
    namespaced,
    status = "GitRepositoryStatus",
    shortname = "gitrepo",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".spec.url"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    crates(kube_core = "::kube_core")
)]
#[schemars(extend("x-kubernetes-validations" = [{
    "message": "serviceAccountName can only be set when provider is 'azure' or 'aws'",
    "rule": "!has(self.serviceAccountName) || (has(self.provider) && (self.provider == 'azure' || self.provider == 'aws'))"
}]))]
pub struct GitRepositorySpec {
    /// What to leave out of the artifact, in the syntax of .gitignore; set, it replaces the built-in rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Artifacts of other GitRepositories of this namespace to place inside this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<GitRepositoryInclude>,
    /// How often the repository is asked for news.
    #[schemars(extend("pattern" = INTERVAL_PATTERN))]
    pub interval: GoDuration,
    /// Who issues the credentials; without it, the Secret alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<GitProvider>,
    /// A Secret with the address and credentials of a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalObjectReference>,
    /// Whether submodules are fetched too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recurse_submodules: bool,
    /// What to check out; without it, the branch master.
    #[serde(rename = "ref")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<GitRepositoryRef>,
    /// A Secret with the credentials of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// A ServiceAccount whose identity the provider turns into credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Directories to keep; without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sparse_checkout: Vec<String>,
    /// Whether to leave the repository alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Timeout of one operation on the repository, from 1s to 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIMEOUT_PATTERN, "default" = "60s", "x-kubernetes-validations" = [{"message": "timeout must be at most 1h", "rule": "duration(self) <= duration('1h')"}]))]
    pub timeout: Option<GoDuration>,
    /// Where the repository is.
    #[schemars(extend("pattern" = "^(http|https|ssh)://.*$"))]
    pub url: String,
    /// Whose signature the commit or tag must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<GitRepositoryVerification>,
}

words! {
    /// Who issues the credentials of a Git repository.
    pub enum GitProvider {
        /// Nobody: they stand in the Secret.
        Generic = "generic",
        /// AWS CodeCommit.
        Aws = "aws",
        /// Azure DevOps.
        Azure = "azure",
        /// A GitHub App.
        Github = "github",
    }
}

/// What to check out: of several, commit wins over name, semver, tag and branch, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct GitRepositoryRef {
    /// The head of this branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// This commit, by its full hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// This reference by its full name, such as refs/pull/1/head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The highest tag in this range of semantic versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// This tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// An artifact of another GitRepository, placed inside this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct GitRepositoryInclude {
    /// What to take from it; without it, everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_path: Option<String>,
    /// The other GitRepository.
    pub repository: LocalObjectReference,
    /// Where to put it; without it, a directory with the name of the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_path: Option<String>,
}

/// Whose signature is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct GitRepositoryVerification {
    /// What must be signed.
    #[serde(default)]
    pub mode: GitVerificationMode,
    /// A Secret with the public keys of those who may sign.
    pub secret_ref: LocalObjectReference,
}

words! {
    /// What must be signed.
    #[derive(Default)]
    pub enum GitVerificationMode {
        /// The commit; an old spelling.
        LowerHead = "head",
        /// The commit.
        #[default]
        Head = "HEAD",
        /// The tag.
        Tag = "Tag",
        /// Both.
        TagAndHead = "TagAndHEAD",
    }
}

/// What the controller says about the repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct GitRepositoryStatus {
    /// The artifact of the last fetch that went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// The state of the repository, aspect by aspect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The artifacts that were placed inside this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub included_artifacts: Vec<Artifact>,
    /// The request for a reconciliation that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The ignore rules that the artifact was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_ignore: Option<String>,
    /// The includes that the artifact was made with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed_include: Vec<GitRepositoryInclude>,
    /// Whether the artifact was made with submodules.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed_recurse_submodules: bool,
    /// The directories that the artifact was made with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed_sparse_checkout: Vec<String>,
    /// What was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_verification_mode: Option<String>,
}

reconciled!(GitRepository, |repository| Some(repository.spec.effective_interval()));

impl Periods for GitRepository {
    fn periods(&self) -> Vec<Period> {
        let timeout =
            self.spec.timeout.map(|set| Period::new("spec.timeout", set, PeriodRange::SOURCE_TIMEOUT));
        [Some(self.spec.interval_period()), timeout].into_iter().flatten().collect()
    }
}

impl GitRepositorySpec {
    /// How often the repository is polled, within [`PeriodRange::REQUEUE`].
    pub fn effective_interval(&self) -> GoDuration {
        self.interval_period().effective()
    }

    /// How long one operation may take, within [`PeriodRange::SOURCE_TIMEOUT`].
    pub fn effective_timeout(&self) -> GoDuration {
        let set = self.timeout.unwrap_or(SOURCE_TIMEOUT);
        Period::new("spec.timeout", set, PeriodRange::SOURCE_TIMEOUT).effective()
    }

    const fn interval_period(&self) -> Period {
        Period::new("spec.interval", self.interval, PeriodRange::REQUEUE)
    }

    /// Who issues the credentials.
    pub fn effective_provider(&self) -> GitProvider {
        self.provider.unwrap_or(GitProvider::Generic)
    }
}

impl GitRepository {
    /// The artifact that it has now.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.status.as_ref()?.artifact.as_ref()
    }
}

/// What can be said about a GitRepository beside Ready, Reconciling and Stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GitRepositoryCondition {
    /// The storage did not work.
    StorageOperationFailed,
    /// The repository could not be fetched.
    FetchFailed,
    /// An included artifact is not there.
    IncludeUnavailable,
    /// The artifact is not that of the newest revision.
    ArtifactOutdated,
    /// The artifact of the revision is stored.
    ArtifactInStorage,
    /// The signature was verified.
    SourceVerified,
}

impl ConditionType for GitRepositoryCondition {
    const ALL: &'static [Self] = &[
        Self::StorageOperationFailed,
        Self::FetchFailed,
        Self::IncludeUnavailable,
        Self::ArtifactOutdated,
        Self::ArtifactInStorage,
        Self::SourceVerified,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::StorageOperationFailed => "StorageOperationFailed",
            Self::FetchFailed => "FetchFailed",
            Self::IncludeUnavailable => "IncludeUnavailable",
            Self::ArtifactOutdated => "ArtifactOutdated",
            Self::ArtifactInStorage => "ArtifactInStorage",
            Self::SourceVerified => "SourceVerified",
        }
    }

    fn polarity(self) -> Polarity {
        match self {
            Self::StorageOperationFailed
            | Self::FetchFailed
            | Self::IncludeUnavailable
            | Self::ArtifactOutdated => Polarity::Negative,
            Self::ArtifactInStorage | Self::SourceVerified => Polarity::Positive,
        }
    }
}
