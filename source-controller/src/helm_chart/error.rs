//! What can end a step of a HelmChart early, in the words that tools look for.

use plumb_api::source::HelmChartCondition;
use plumb_helm::{ChartError, ReleaseError};
use plumb_oci::{OciError, ReferenceError};
use plumb_status::{Classify, Consequence, Reason, UnsupportedFields};
use plumb_transport::NoSlot;
use plumb_version::ConstraintError;

use crate::{
    artifact::{BreaksCondition, Interrupted, ReadError},
    helm_repository::{DownloadError, HelmRepositoryError},
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
    /// The HelmRepository does not exist.
    #[error("failed to get source: helmrepositories.source.toolkit.fluxcd.io \"{name}\" not found")]
    NoSource {
        /// Its name.
        name: String,
    },
    /// The HelmRepository has no index yet.
    #[error("no artifact available for HelmRepository source '{name}'")]
    NoSourceArtifact {
        /// Its name.
        name: String,
    },
    /// The HelmRepository cannot be used.
    #[error(transparent)]
    Repository(HelmRepositoryError),
    /// The URL of the HelmRepository is not that of a registry.
    #[error("invalid Helm repository URL '{url}'")]
    RegistryUrl {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: ReferenceError,
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

impl BreaksCondition for HelmChartError {
    type Condition = HelmChartCondition;

    fn condition(&self) -> Option<HelmChartCondition> {
        match self {
            Self::Unsupported(_) => None,
            _ => Some(HelmChartCondition::FetchFailed),
        }
    }
}

impl Classify for HelmChartError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unsupported(error) => error.reason(),
            Self::Name { .. } | Self::Release(_) => Reason::InvalidChartReference,
            Self::NoSource { .. } => Reason::SourceUnavailable,
            Self::NoSourceArtifact { .. } => Reason::NoSourceArtifact,
            Self::Repository(error) => error.reason(),
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
            // Only another spec, or another index, helps: a change of the repository wakes its charts.
            Self::Release(ReleaseError::Damaged { .. }) => Consequence::Retry,
            Self::Name { .. }
            | Self::RegistryUrl { .. }
            | Self::Release(_)
            | Self::Version(TagError::Range(_)) => Consequence::Stall,
            Self::NoSourceArtifact { .. } => Consequence::Wait,
            Self::Repository(error) => error.consequence(),
            _ => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unsupported(error) => return error.hint(),
            Self::Name { .. } | Self::Release(ReleaseError::NoChart) => "correct spec.chart",
            Self::NoSource { .. } => "create the HelmRepository, or correct spec.sourceRef",
            Self::NoSourceArtifact { .. } => "read the conditions of the HelmRepository",
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
