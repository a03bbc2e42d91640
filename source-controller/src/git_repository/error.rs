//! What can end an attempt at a GitRepository early, and the condition that it belongs to. The rooms below have their own errors;
//! here they get the words that tools look for.

use plumb_api::source::GitRepositoryCondition;
use plumb_git::GitError;
use plumb_secrets::SecretError;
use plumb_status::{Classify, Consequence, Reason};
use plumb_store::StoreError;

/// What can end an attempt early.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The spec sets what this version does not honour.
    #[error("spec.{field} is not supported by this version{detail}")]
    Unsupported {
        /// The field below `spec`.
        field: &'static str,
        /// What about it, from a colon on; empty where the field as a whole is meant.
        detail: &'static str,
    },
    /// The Secret does not help.
    #[error("{source}")]
    Secret {
        /// Why.
        source: SecretError,
    },
    /// URL or certificates cannot be used.
    #[error("{source}")]
    Settings {
        /// Why.
        source: GitError,
    },
    /// The commit could not be found or fetched.
    #[error("failed to checkout and determine revision")]
    Checkout {
        /// Why.
        #[source]
        source: GitError,
    },
    /// The store failed.
    #[error("{source}")]
    Storage {
        /// Why.
        source: StoreError,
    },
}

impl SourceError {
    /// An error of the git room under the right heading.
    pub fn of_git(source: GitError) -> Self {
        match &source {
            GitError::Endpoint { .. } | GitError::Certificate { .. } => Self::Settings { source },
            _ => Self::Checkout { source },
        }
    }

    /// The condition that the step belongs to.
    pub fn condition(&self) -> Option<GitRepositoryCondition> {
        match self {
            Self::Unsupported { .. } => None,
            Self::Secret { .. } | Self::Settings { .. } | Self::Checkout { .. } => {
                Some(GitRepositoryCondition::FetchFailed)
            }
            Self::Storage { .. } => Some(GitRepositoryCondition::StorageOperationFailed),
        }
    }
}

impl From<StoreError> for SourceError {
    fn from(source: StoreError) -> Self {
        Self::Storage { source }
    }
}

impl Classify for SourceError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unsupported { .. } => Reason::UnsupportedField,
            Self::Secret { source } => source.reason(),
            Self::Settings { source } | Self::Checkout { source } => source.reason(),
            Self::Storage { source } => source.reason(),
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Unsupported { .. } => Consequence::Stall,
            Self::Secret { source } => source.consequence(),
            Self::Settings { source } | Self::Checkout { source } => source.consequence(),
            Self::Storage { source } => source.consequence(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported { .. } => Some("remove the field".to_owned()),
            Self::Secret { source } => source.hint(),
            Self::Settings { source } | Self::Checkout { source } => source.hint(),
            Self::Storage { source } => source.hint(),
        }
    }
}
