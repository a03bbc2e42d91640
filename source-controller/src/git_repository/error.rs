//! What can end a step of a GitRepository early, and the condition that it breaks. The crates below have their own errors; here
//! they get the words that tools look for.

use plumb_api::source::GitRepositoryCondition;
use plumb_git::GitError;
use plumb_github::GithubError;
use plumb_secrets::SecretError;
use plumb_status::{Classify, Consequence, Reason, UnsupportedFields};

use plumb_store::StoreError;

use crate::cloud::account::AccountError;

use super::{azure::AzureCredentialError, include::IncludeError, verification::VerificationError};
use crate::artifact::{BreaksCondition, IgnoreError, Interrupted};

/// What can end a step early.
#[derive(Debug, thiserror::Error)]
pub enum GitSourceError {
    /// The spec sets what this version does not support.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedFields),
    /// The Secret does not help.
    #[error(transparent)]
    Secret(SecretError),
    /// The Secret of the proxy does not help.
    #[error("failed to configure proxy options")]
    Proxy(#[source] SecretError),
    /// Provider and Secret do not go together.
    #[error(transparent)]
    Provider(ProviderError),
    /// An include is not possible.
    #[error(transparent)]
    Include(IncludeError),
    /// Commit or tag are not accepted.
    #[error(transparent)]
    Verification(VerificationError),
    /// GitHub gave no token.
    #[error("failed to get a token of the GitHub App")]
    Github(#[source] GithubError),
    /// Azure gave no token.
    #[error("failed to configure authentication options")]
    Azure(#[source] AzureCredentialError),
    /// The spec names a ServiceAccount, which the feature gate does not allow.
    #[error(transparent)]
    GateDisabled(AzureCredentialError),
    /// The repository is none of the provider, or the object would let others read the token.
    #[error(transparent)]
    NotOfProvider(AzureCredentialError),
    /// The Secret lacks what SSH requires, or there is none.
    #[error("failed to configure authentication options: invalid 'ssh' auth option: '{option}' is required")]
    SshOption {
        /// The key of the Secret.
        option: &'static str,
        /// Whether spec.secretRef is set.
        has_secret: bool,
    },
    /// The private key needs a passphrase.
    #[error("SSH identity key is encrypted but no 'password' field was provided in the secret '{secret}'")]
    EncryptedIdentity {
        /// Namespace and name of the Secret.
        secret: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(StoreError),
    /// The archive of the commit could not be written.
    #[error(transparent)]
    Archive(GitError),
    /// The process is shutting down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// URL or certificates cannot be used.
    #[error(transparent)]
    Settings(GitError),
    /// A directory that is to be checked out does not exist. The space before the colon is Flux's.
    #[error("failed to sparse checkout directories ")]
    SparseCheckout(#[source] GitError),
    /// The commit could not be found or fetched.
    #[error("failed to checkout and determine revision")]
    Checkout(#[source] GitError),
}

/// Provider and Secret do not go together.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A GitHub App has no Secret.
    #[error("secretRef with github app data must be specified when provider is set to github")]
    NoSecret,
    /// A Secret of a GitHub App is used as one with a password.
    #[error("secretRef '{namespace}/{name}' has github app data but provider is not set to github")]
    NotGithub {
        /// The namespace of the Secret.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Classify for IncludeError {
    fn reason(&self) -> Reason {
        match self {
            Self::Path { .. } => Reason::IllegalPath,
            Self::Missing { .. } => Reason::NotFound,
            Self::NoArtifact { .. } => Reason::NoArtifact,
            Self::Storage { source, .. } => source.reason(),
            Self::Ignore(IgnoreError::Rules(_)) => Reason::SourceIgnoreError,
            Self::Unpack { .. }
            | Self::Copy { .. }
            | Self::Ignore(_)
            | Self::OverBudget(_)
            | Self::Interrupted(_) => Reason::CopyFailure,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Path { .. } => Consequence::Stall,
            Self::Missing { .. } | Self::NoArtifact { .. } => Consequence::Wait,
            _ => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing { .. } => "create the GitRepository in this namespace or correct spec.include",
            Self::Path { .. } | Self::Copy { .. } => "correct spec.include",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl GitSourceError {
    /// An error of the provider `azure` under the right heading.
    pub fn of_azure(error: AzureCredentialError) -> Self {
        match error {
            AzureCredentialError::Account(AccountError::GateDisabled) => Self::GateDisabled(error),
            AzureCredentialError::NotDevOps { .. }
            | AzureCredentialError::Certificates
            | AzureCredentialError::ReadingProxy
            | AzureCredentialError::NotAzure { .. } => Self::NotOfProvider(error),
            error => Self::Azure(error),
        }
    }

    /// An error of the git crate under the right heading.
    pub fn of_git(source: GitError) -> Self {
        match &source {
            GitError::Endpoint { .. } => Self::Settings(source),
            GitError::SparseCheckout { .. } => Self::SparseCheckout(source),
            GitError::Output { .. } => Self::Archive(source),
            _ => Self::Checkout(source),
        }
    }
}

impl BreaksCondition for GitSourceError {
    type Condition = GitRepositoryCondition;

    fn condition(&self) -> Option<GitRepositoryCondition> {
        match self {
            Self::Unsupported(_) => None,
            Self::Include(_) => Some(GitRepositoryCondition::IncludeUnavailable),
            Self::Verification(_) => Some(GitRepositoryCondition::SourceVerified),
            Self::Storage(_) | Self::Archive(_) => Some(GitRepositoryCondition::StorageOperationFailed),
            Self::Secret(_)
            | Self::Proxy(_)
            | Self::SshOption { .. }
            | Self::EncryptedIdentity { .. }
            | Self::Interrupted(_)
            | Self::Provider(_)
            | Self::Github(_)
            | Self::Azure(_)
            | Self::GateDisabled(_)
            | Self::NotOfProvider(_)
            | Self::Settings(_)
            | Self::SparseCheckout(_)
            | Self::Checkout(_) => Some(GitRepositoryCondition::FetchFailed),
        }
    }
}

impl Classify for GitSourceError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unsupported(error) => error.reason(),
            Self::Secret(error) => error.reason(),
            Self::Provider(_) | Self::NotOfProvider(_) => Reason::InvalidProviderConfiguration,
            Self::Include(error) => error.reason(),
            Self::Verification(error) => error.reason(),
            Self::GateDisabled(_) => Reason::FeatureGateDisabled,
            Self::Github(_)
            | Self::Azure(_)
            | Self::Proxy(_)
            | Self::SshOption { .. }
            | Self::EncryptedIdentity { .. } => Reason::AuthenticationFailed,
            Self::Interrupted(_) => Reason::GitOperationFailed,
            Self::Storage(error) => error.reason(),
            Self::Settings(error)
            | Self::SparseCheckout(error)
            | Self::Archive(error)
            | Self::Checkout(error) => error.reason(),
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Unsupported(error) => error.consequence(),
            Self::Secret(error) | Self::Proxy(error) => error.consequence(),
            Self::Provider(_) | Self::NotOfProvider(_) | Self::GateDisabled(_) => Consequence::Stall,
            Self::Include(error) => error.consequence(),
            Self::Verification(error) => error.consequence(),
            // The Secret may be completed at any time.
            Self::Github(_)
            | Self::Azure(_)
            | Self::SshOption { .. }
            | Self::EncryptedIdentity { .. }
            | Self::Interrupted(_) => Consequence::Retry,
            Self::Storage(error) => error.consequence(),
            Self::Settings(error)
            | Self::SparseCheckout(error)
            | Self::Archive(error)
            | Self::Checkout(error) => error.consequence(),
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
            Self::Proxy(_) => Some("correct spec.proxySecretRef or its Secret".to_owned()),
            Self::Provider(ProviderError::NoSecret) => Some("set spec.secretRef".to_owned()),
            Self::Provider(ProviderError::NotGithub { .. }) => {
                Some("set spec.provider to github, or use a Secret with username and password".to_owned())
            }
            Self::Github(GithubError::Status { .. } | GithubError::NotInstalled { .. }) => {
                Some("check app, installation and private key in the Secret of spec.secretRef".to_owned())
            }
            Self::Azure(error) | Self::NotOfProvider(error) | Self::GateDisabled(error) => {
                error.hint().map(str::to_owned)
            }
            Self::Github(_) | Self::Interrupted(_) => None,
            Self::Include(error) => error.hint(),
            Self::Verification(error) => error.hint(),
            Self::SshOption { has_secret: false, .. } => {
                Some("set spec.secretRef to a Secret with the keys identity and known_hosts".to_owned())
            }
            Self::SshOption { option, .. } => {
                Some(format!("add the key {option} to the Secret of spec.secretRef"))
            }
            Self::EncryptedIdentity { .. } => {
                Some("add the passphrase as the key password to the Secret of spec.secretRef".to_owned())
            }
            Self::Storage(error) => error.hint(),
            Self::Settings(error)
            | Self::SparseCheckout(error)
            | Self::Archive(error)
            | Self::Checkout(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_breaks_the_condition_of_the_storage() {
        let source = std::io::ErrorKind::StorageFull.into();
        let error = GitSourceError::of_git(GitError::Output { commit: "1".to_owned(), source });
        assert_eq!(error.condition(), Some(GitRepositoryCondition::StorageOperationFailed));
        assert_eq!(error.reason(), Reason::ArchiveOperationFailed);
        assert_eq!(error.consequence(), Consequence::Retry);
    }
}
