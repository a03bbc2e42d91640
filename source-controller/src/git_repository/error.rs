//! What can end a step of a GitRepository early, and the condition that it breaks. The crates below have their own errors; here
//! they get the words that tools look for.

use plumb_api::source::GitRepositoryCondition;
use plumb_git::GitError;
use plumb_secrets::SecretError;
use plumb_status::{Classify, Consequence, Reason, UnsupportedFields};

use crate::artifact::BreaksCondition;

/// What can end a step early.
#[derive(Debug, thiserror::Error)]
pub enum GitSourceError {
    /// The spec sets what this version does not support.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedFields),
    /// The Secret does not help.
    #[error(transparent)]
    Secret(SecretError),
    /// URL or certificates cannot be used.
    #[error(transparent)]
    Settings(GitError),
    /// The commit could not be found or fetched.
    #[error("failed to checkout and determine revision")]
    Checkout(#[source] GitError),
}

impl GitSourceError {
    /// An error of the git crate under the right heading.
    pub fn of_git(source: GitError) -> Self {
        match &source {
            GitError::Endpoint { .. } => Self::Settings(source),
            _ => Self::Checkout(source),
        }
    }
}

impl BreaksCondition for GitSourceError {
    type Condition = GitRepositoryCondition;

    fn condition(&self) -> Option<GitRepositoryCondition> {
        match self {
            Self::Unsupported(_) => None,
            Self::Secret(_) | Self::Settings(_) | Self::Checkout(_) => {
                Some(GitRepositoryCondition::FetchFailed)
            }
        }
    }
}

impl Classify for GitSourceError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unsupported(error) => error.reason(),
            Self::Secret(error) => error.reason(),
            Self::Settings(error) | Self::Checkout(error) => error.reason(),
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Unsupported(error) => error.consequence(),
            Self::Secret(error) => error.consequence(),
            Self::Settings(error) | Self::Checkout(error) => error.consequence(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported(error) => error.hint(),
            Self::Secret(SecretError::NotFound { .. }) => {
                Some("create the Secret or correct spec.secretRef".to_owned())
            }
            Self::Secret(SecretError::BadKey { .. } | SecretError::MissingKey { .. }) => {
                Some("correct the Secret of spec.secretRef".to_owned())
            }
            Self::Secret(error) => error.hint(),
            Self::Settings(error) | Self::Checkout(error) => error.hint(),
        }
    }
}
