//! What can end a step of a HelmRepository early, in the words that tools look for.

use plumb_api::source::SourceCondition;
use plumb_helm::IndexError;
use plumb_secrets::SecretError;
use plumb_status::{Classify, Consequence, Reason};
use plumb_transport::{ClientError, NoSlot};

use super::download::DownloadError;
use crate::artifact::{BreaksCondition, Interrupted};

/// What can end a step early.
#[derive(Debug, thiserror::Error)]
pub enum HelmRepositoryError {
    /// The URL.
    #[error("invalid Helm repository URL")]
    Url(#[source] UrlError),
    /// A Secret.
    #[error(transparent)]
    Secret(SecretError),
    /// The settings do not go together.
    #[error("failed to construct Helm client")]
    Client(#[source] ClientError),
    /// The index could not be downloaded.
    #[error("failed to fetch Helm repository index")]
    Fetch(#[source] DownloadError),
    /// It is another one than a moment ago.
    #[error("failed to fetch Helm repository index: it changed while it was fetched")]
    Changed,
    /// It cannot be read.
    #[error("failed to load Helm repository from index YAML")]
    Index(#[source] IndexError),
    /// Too many operations go on.
    #[error(transparent)]
    NoSlot(#[from] NoSlot),
    /// The controller is shutting down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A URL is not one of a repository over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is one of a registry.
    #[error("'oci' URL scheme cannot be used with 'default' HelmRepository type")]
    Registry,
    /// It is none.
    #[error("{url:?} is not an http or https URL")]
    Malformed {
        /// As far as it may be shown.
        url: String,
    },
}

impl BreaksCondition for HelmRepositoryError {
    type Condition = SourceCondition;

    fn condition(&self) -> Option<SourceCondition> {
        Some(SourceCondition::FetchFailed)
    }
}

impl Classify for HelmRepositoryError {
    fn reason(&self) -> Reason {
        match self {
            Self::Url(_) => Reason::UrlInvalid,
            Self::Secret(error) => error.reason(),
            Self::Index(_) => Reason::IndexationFailed,
            Self::Client(_) | Self::Fetch(_) | Self::Changed | Self::NoSlot(_) | Self::Interrupted(_) => {
                Reason::Failed
            }
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Url(_) => Consequence::Stall,
            _ => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Url(UrlError::Registry) => "set spec.type to oci",
            Self::Url(UrlError::Malformed { .. }) => "correct spec.url",
            Self::Secret(_) => "correct spec.secretRef, spec.certSecretRef or the Secret",
            Self::Fetch(DownloadError::Status { status: 401 | 403, .. }) => {
                "set spec.secretRef to a Secret with username and password that may read the repository"
            }
            Self::Fetch(DownloadError::Status { status: 404, .. }) => {
                "correct spec.url: its index.yaml does not exist"
            }
            Self::Index(_) => "check that spec.url serves the index of a Helm repository",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
