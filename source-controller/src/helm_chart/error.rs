//! What can end a step of a HelmChart early, in the words that tools look for.

use plumb_api::source::{ChartSourceKind, HelmChartCondition};
use plumb_archive::UnpackError;
use plumb_helm::{ChartError, PackageError, ReleaseError, ValuesError};
use plumb_memory::OverBudget;
use plumb_oci::{OciError, ReferenceError};
use plumb_status::{Classify, Consequence, Reason, UnsupportedFields};
use plumb_transport::{ConnectionError, NoSlot};
use plumb_version::ConstraintError;

use crate::{
    artifact::{BreaksCondition, Interrupted, ReadError},
    cloud::CloudError,
    helm_repository::{DownloadError, HelmRepositoryError},
    oci_signature::{MethodError, VerifyError},
};

/// What can end a step early.
#[derive(Debug, thiserror::Error)]
pub enum HelmChartError {
    /// The spec sets what this version does not support.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedFields),
    /// The name of the chart.
    #[error(
        "invalid chart reference: invalid chart name '{chart}': a valid name must be lower case letters and numbers and MAY be separated with dashes (-), slashes (/) or periods (.)"
    )]
    Name {
        /// The name.
        chart: String,
    },
    /// The path of the chart.
    #[error("invalid chart reference: {0}")]
    Path(&'static str),
    /// The source does not exist, or cannot be read.
    #[error("failed to get source: {problem}")]
    NoSource {
        /// Its kind.
        kind: ChartSourceKind,
        /// What was answered.
        problem: String,
    },
    /// The source has no artifact yet, or none that is stored.
    #[error("no artifact available for {} source '{name}'", kind.as_str())]
    NoSourceArtifact {
        /// Its kind.
        kind: ChartSourceKind,
        /// Its name.
        name: String,
    },
    /// The artifact of the source cannot be read from the storage.
    #[error("failed to open source artifact")]
    SourceArtifact(#[source] ReadError),
    /// The artifact of the source cannot be unpacked.
    #[error("artifact untar error")]
    Unpack(#[source] UnpackError),
    /// The artifact of the source has no such chart.
    #[error("invalid chart reference: no chart found at path '{path}' in the artifact of the {} '{name}'", kind.as_str())]
    NoChart {
        /// The path.
        path: String,
        /// The kind of the source.
        kind: ChartSourceKind,
        /// Its name.
        name: String,
    },
    /// The chart of an artifact is not one.
    #[error("invalid chart reference")]
    Reference(#[source] ChartError),
    /// The archive of an artifact is too large.
    #[error(
        "invalid chart reference: size of chart '{path}' exceeds '{max}' bytes limit (--helm-chart-max-size)"
    )]
    ArchiveTooLarge {
        /// Its path.
        path: String,
        /// The limit.
        max: u64,
    },
    /// The version of the chart cannot have build metadata.
    #[error(
        "chart metadata patch error: failed to parse version from chart metadata as SemVer: '{version}' with metadata '{metadata}'"
    )]
    Metadata {
        /// The version.
        version: String,
        /// The metadata.
        metadata: String,
    },
    /// The values files cannot be merged.
    #[error("values files merge error")]
    Values(#[source] ValuesFilesError),
    /// A dependency of the chart cannot be added.
    #[error("dependency build error")]
    Dependency(#[source] Box<DependencyError>),
    /// The chart cannot be loaded to be packaged.
    #[error("chart package error: failed to load chart")]
    Load(#[source] ChartError),
    /// The chart cannot be packaged.
    #[error("chart package error")]
    Package(#[source] PackageError),
    /// The memory budget does not allow it.
    #[error("chart package error")]
    OverBudget(#[source] OverBudget),
    /// The HelmRepository cannot be used.
    #[error(transparent)]
    Repository(HelmRepositoryError),
    /// The HelmRepository rejects the credentials, or its certificate is not trusted.
    #[error("failed to authenticate with the Helm repository")]
    Authentication(#[source] Box<HelmChartError>),
    /// The URL of the HelmRepository is not that of a registry.
    #[error("invalid Helm repository URL '{url}'")]
    RegistryUrl {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
    /// The cloud gives no credential for the registry.
    #[error("failed to get credential from '{provider}'")]
    Cloud {
        /// The provider.
        provider: &'static str,
        /// Why.
        #[source]
        source: Box<CloudError>,
    },
    /// The index cannot be read.
    #[error("chart pull error: could not load repository index for remote chart reference")]
    Index(#[source] ReadError),
    /// The index has no such release.
    #[error("invalid chart reference: failed to get chart version for remote reference")]
    Release(#[source] ReleaseError),
    /// The registry has no such version.
    #[error("chart pull error: failed to get chart version for remote reference")]
    Version(#[source] TagError),
    /// The chart cannot be downloaded.
    #[error("chart pull error: failed to download chart for remote reference")]
    Download(#[source] PullError),
    /// The field `verify`.
    #[error("failed to verify the signature")]
    Verify(#[source] MethodError),
    /// It was not verified.
    #[error("chart verification error: failed to verify the signature using provider '{provider}'")]
    Verification {
        /// The provider.
        provider: &'static str,
        /// Why.
        #[source]
        source: Box<VerifyError>,
    },
    /// It is in a repository that has no signatures.
    #[error(
        "chart verification error: only charts in a registry have signatures: the HelmRepository is not of the type 'oci'"
    )]
    NoSignatures,
    /// What was downloaded is not the chart.
    #[error("chart pull error: failed to load chart metadata from downloaded chart")]
    Archive(#[source] ChartError),
    /// Too many operations go on.
    #[error("chart pull error")]
    NoSlot(#[from] NoSlot),
    /// The controller is shutting down.
    #[error("chart pull error")]
    Interrupted(#[from] Interrupted),
}

/// Values files cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum ValuesFilesError {
    /// Those of a chart of a HelmRepository.
    #[error("failed to merge chart values")]
    OfChart(#[source] ValuesError),
    /// Those of an artifact.
    #[error(transparent)]
    OfSource(ValuesError),
}

/// A dependency cannot be added to a chart.
#[derive(Debug, thiserror::Error)]
pub enum DependencyError {
    /// There are too many.
    #[error("the chart needs {count} further charts, the limit is {max}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// One of the artifact.
    #[error("failed to add local dependency '{key}'")]
    Local {
        /// Its alias, or its name.
        key: String,
        /// Why.
        #[source]
        source: LocalDependencyError,
    },
    /// One of a repository.
    #[error("failed to add remote dependency '{key}'")]
    Remote {
        /// Its alias, or its name.
        key: String,
        /// Why.
        #[source]
        source: RemoteDependencyError,
    },
}

/// A dependency of the same artifact cannot be added to a chart.
#[derive(Debug, thiserror::Error)]
pub enum LocalDependencyError {
    /// It is not there.
    #[error("no chart found at '/{path}' (reference '{reference}')")]
    Missing {
        /// The path.
        path: String,
        /// What the chart has.
        reference: String,
    },
    /// What the chart has as its version is no range.
    #[error("invalid version/constraint format '{version}'")]
    Range {
        /// The version.
        version: String,
        /// Why.
        #[source]
        source: ConstraintError,
    },
    /// It has another version.
    #[error("can't get a valid version for constraint '{version}': the chart has '{found}'")]
    Version {
        /// The range.
        version: String,
        /// The version of the chart.
        found: String,
    },
    /// It cannot be loaded.
    #[error("failed to load chart from '/{path}' (reference '{reference}')")]
    Load {
        /// The path.
        path: String,
        /// What the chart has.
        reference: String,
        /// Why.
        #[source]
        source: Box<ChartError>,
    },
}

/// A dependency of a repository cannot be added to a chart.
#[derive(Debug, thiserror::Error)]
pub enum RemoteDependencyError {
    /// There is no such repository.
    #[error("failed to get chart repository for URL '{url}': {problem}")]
    Repository {
        /// The URL.
        url: String,
        /// Why.
        problem: &'static str,
    },
    /// It cannot be found or pulled.
    #[error("failed to get chart '{name}' version '{version}' from '{url}'")]
    Pull {
        /// The chart.
        name: String,
        /// The version, or a range of them.
        version: String,
        /// The URL of the repository.
        url: String,
        /// Why.
        #[source]
        source: Box<HelmChartError>,
    },
    /// It cannot be loaded.
    #[error("failed to load downloaded archive of version '{version}'")]
    Load {
        /// The version.
        version: String,
        /// Why.
        #[source]
        source: ChartError,
    },
}

/// A registry has no version that is meant.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The tags cannot be listed.
    #[error("could not get tags for \"{chart}\"")]
    Tags {
        /// The chart.
        chart: String,
        /// Why.
        #[source]
        source: OciError,
    },
    /// None is in the range.
    #[error(
        "could not locate a version matching provided version string {version}: the repository has {tags} versions"
    )]
    NoMatch {
        /// What was asked for.
        version: String,
        /// How many versions there are.
        tags: usize,
    },
    /// What was asked for is neither a version nor a range.
    #[error(transparent)]
    Range(#[from] ConstraintError),
}

/// A chart cannot be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Over HTTP.
    #[error(transparent)]
    Http(#[from] DownloadError),
    /// The URL in the index.
    #[error("the index has {url:?} as the URL of the chart, which is not an http or https URL")]
    Url {
        /// As far as it may be shown.
        url: String,
    },
    /// From a registry.
    #[error("failed to get '{reference}'")]
    Registry {
        /// The repository and the tag.
        reference: String,
        /// Why.
        #[source]
        source: OciError,
    },
    /// The artifact in the registry is not a chart.
    #[error("'{reference}' has no layer with media type '{media_type}': it is not a Helm chart")]
    NoChart {
        /// The repository and the tag.
        reference: String,
        /// The media type of a chart.
        media_type: &'static str,
    },
    /// It is too large.
    #[error("the chart has {bytes} bytes, the limit is {max} (--helm-chart-max-size)")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
}

impl From<HelmRepositoryError> for HelmChartError {
    fn from(error: HelmRepositoryError) -> Self {
        match error {
            HelmRepositoryError::NoSlot(error) => Self::NoSlot(error),
            other => Self::Repository(other),
        }
    }
}

impl HelmChartError {
    /// The same error, as one of authentication where it is one.
    pub fn of_repository(self) -> Self {
        if self.is_authentication() { Self::Authentication(Box::new(self)) } else { self }
    }

    fn is_authentication(&self) -> bool {
        let registry = |error: &OciError| match error {
            OciError::Unauthorized { .. } => true,
            OciError::Connection { source, .. } => is_untrusted(source),
            _ => false,
        };
        match self {
            Self::Download(PullError::Http(DownloadError::Status { status: 401, .. })) => true,
            Self::Download(PullError::Http(DownloadError::Connection { source, .. })) => is_untrusted(source),
            Self::Download(PullError::Registry { source, .. })
            | Self::Version(TagError::Tags { source, .. }) => registry(source),
            _ => false,
        }
    }
}

/// Whether TLS is what failed.
fn is_untrusted(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::UnknownAuthority | ConnectionError::Certificate { .. } | ConnectionError::Tls { .. }
    )
}

impl BreaksCondition for HelmChartError {
    type Condition = HelmChartCondition;

    fn condition(&self) -> Option<HelmChartCondition> {
        match self {
            Self::Unsupported(_) => None,
            Self::Metadata { .. }
            | Self::Values(_)
            | Self::Dependency(_)
            | Self::Load(_)
            | Self::Package(_)
            | Self::OverBudget(_) => Some(HelmChartCondition::BuildFailed),
            Self::Verify(_) | Self::Verification { .. } | Self::NoSignatures => {
                Some(HelmChartCondition::SourceVerified)
            }
            _ => Some(HelmChartCondition::FetchFailed),
        }
    }

    /// Of the two only one is reported at a time, as with Flux.
    fn settles(&self) -> Option<HelmChartCondition> {
        self.condition().map(|condition| match condition {
            HelmChartCondition::BuildFailed | HelmChartCondition::SourceVerified => {
                HelmChartCondition::FetchFailed
            }
            _ => HelmChartCondition::BuildFailed,
        })
    }
}

impl Classify for HelmChartError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unsupported(error) => error.reason(),
            Self::Verify(_) | Self::Verification { .. } | Self::NoSignatures => Reason::VerificationError,
            Self::Name { .. }
            | Self::Path(_)
            | Self::NoChart { .. }
            | Self::Reference(_)
            | Self::ArchiveTooLarge { .. }
            | Self::Release(_) => Reason::InvalidChartReference,
            Self::SourceArtifact(_) => Reason::ReadOperationFailed,
            Self::Unpack(_) => Reason::Failed,
            Self::Metadata { .. } => Reason::MetadataPatchError,
            Self::Values(_) => Reason::ValuesFilesError,
            Self::Dependency(_) => Reason::DependencyBuildError,
            Self::Load(_) | Self::Package(_) | Self::OverBudget(_) => Reason::ChartPackageError,
            Self::NoSource { .. } => Reason::SourceUnavailable,
            Self::NoSourceArtifact { .. } => Reason::NoSourceArtifact,
            Self::Repository(error) => error.reason(),
            Self::Cloud { source, .. } => source.reason(),
            Self::Authentication(_) => Reason::AuthenticationFailed,
            Self::RegistryUrl { .. } => Reason::UrlInvalid,
            Self::Index(_)
            | Self::Version(_)
            | Self::Download(_)
            | Self::Archive(_)
            | Self::NoSlot(_)
            | Self::Interrupted(_) => Reason::ChartPullError,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Unsupported(error) => error.consequence(),
            // Only another spec, or another artifact, helps: a change of the source wakes its charts.
            Self::Release(ReleaseError::Damaged { .. } | ReleaseError::OverBudget(_))
            | Self::Reference(ChartError::OverBudget(_))
            | Self::Values(
                ValuesFilesError::OfChart(ValuesError::OverBudget(_))
                | ValuesFilesError::OfSource(ValuesError::OverBudget(_)),
            ) => Consequence::Retry,
            Self::Name { .. }
            | Self::Path(_)
            | Self::NoChart { .. }
            | Self::Reference(_)
            | Self::ArchiveTooLarge { .. }
            | Self::Metadata { .. }
            | Self::Values(_)
            | Self::RegistryUrl { .. }
            | Self::Release(_)
            | Self::Version(TagError::Range(_))
            | Self::Verify(_)
            | Self::NoSignatures => Consequence::Stall,
            Self::NoSourceArtifact { .. } => Consequence::Wait,
            Self::Repository(error) => error.consequence(),
            Self::Cloud { source, .. } => source.consequence(),
            _ => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unsupported(error) => return error.hint(),
            Self::Verification { source, .. } => return source.hint(),
            Self::Authentication(error) => return error.hint(),
            Self::Name { .. }
            | Self::Path(_)
            | Self::NoChart { .. }
            | Self::Release(ReleaseError::NoChart) => "correct spec.chart",
            Self::NoSource { kind, .. } => {
                return Some(format!("create the {}, or correct spec.sourceRef", kind.as_str()));
            }
            Self::NoSourceArtifact { kind, .. } => {
                return Some(format!("read the conditions of the {}", kind.as_str()));
            }
            Self::Values(
                ValuesFilesError::OfChart(ValuesError::Missing { .. })
                | ValuesFilesError::OfSource(ValuesError::Missing { .. }),
            ) => "correct spec.valuesFiles, or set spec.ignoreMissingValuesFiles",
            Self::Cloud { source, .. } => return source.hint(),
            Self::Repository(_) | Self::RegistryUrl { .. } => "correct the HelmRepository of spec.sourceRef",
            Self::Release(ReleaseError::NoMatch { .. } | ReleaseError::Range(_))
            | Self::Version(TagError::NoMatch { .. } | TagError::Range(_)) => "correct spec.version",
            Self::Download(PullError::Http(DownloadError::Status { status: 401 | 403, .. })) => {
                "the HelmRepository needs spec.secretRef, and spec.passCredentials where the chart is on another host"
            }
            Self::Download(PullError::Registry { source: OciError::Unauthorized { .. }, .. })
            | Self::Version(TagError::Tags { source: OciError::Unauthorized { .. }, .. }) => {
                "correct spec.secretRef of the HelmRepository, unless the chart does not exist"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
