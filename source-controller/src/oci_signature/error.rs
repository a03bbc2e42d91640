//! Why an artifact counts as not verified.

use plumb_oci::OciError;
use plumb_oci_signature::{CertificatesError, KeyError, TrustPolicyError, TrustedRootError};
use plumb_secrets::SecretError;

use crate::artifact::Interrupted;

/// Signatures that an error tells about.
const SHOWN_MAX: usize = 3;

/// Why an artifact counts as not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The Secret with keys or certificates.
    #[error(transparent)]
    Secret(SecretError),
    /// The Secret has none.
    #[error("secret '{secret}' has no key that ends with {suffixes}")]
    NoKeys {
        /// The Secret.
        secret: String,
        /// What the names of keys end with.
        suffixes: &'static str,
    },
    /// The Secret has too many.
    #[error("secret '{secret}' has more than {max} keys that end with {suffixes}")]
    TooManyKeys {
        /// The Secret.
        secret: String,
        /// What the names of keys end with.
        suffixes: &'static str,
        /// The limit.
        max: usize,
    },
    /// A key of the Secret.
    #[error("key '{key}' of secret '{secret}' cannot be used")]
    Key {
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The trust policy is missing.
    #[error("'{key}' not found in secret '{secret}'")]
    NoPolicy {
        /// The Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// The trust policy.
    #[error("error occurred while parsing '{key}' of secret '{secret}'")]
    Policy {
        /// The Secret.
        secret: String,
        /// The key.
        key: &'static str,
        /// Why.
        #[source]
        source: TrustPolicyError,
    },
    /// A file with certificates.
    #[error("key '{key}' of secret '{secret}' cannot be used")]
    Certificates {
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: CertificatesError,
    },
    /// The trusted root.
    #[error("failed to read trusted root from secret '{secret}'")]
    TrustedRoot {
        /// The Secret.
        secret: String,
        /// Why.
        #[source]
        source: RootError,
    },
    /// The trusted root of the public Sigstore instance.
    #[error(transparent)]
    PublicRoot(TrustedRootError),
    /// The registry cannot be used.
    #[error("failed to look for signatures")]
    Registry(#[source] OciError),
    /// The signatures take longer than the timeout.
    #[error("the timeout ended before all signatures were verified")]
    Deadline,
    /// There are too many signatures for so many keys.
    #[error("verification stopped: signatures times keys are more than {max}")]
    TooManyTries {
        /// The limit.
        max: usize,
    },
    /// The controller is shutting down.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// No signature counts.
    #[error("no matching signatures were found for '{reference}': {}", joined(.problems))]
    NoMatch {
        /// The artifact.
        reference: String,
        /// Why each of those that are there does not count.
        problems: Vec<String>,
    },
}

/// A trusted root of a Secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The Secret.
    #[error(transparent)]
    Secret(SecretError),
    /// Its content.
    #[error("key '{key}' cannot be used")]
    Content {
        /// The key.
        key: &'static str,
        /// Why.
        #[source]
        source: TrustedRootError,
    },
}

fn joined(problems: &[String]) -> String {
    if problems.is_empty() {
        return "it has no signature".to_owned();
    }
    let shown = problems.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    let more = problems.len().saturating_sub(SHOWN_MAX);
    if more == 0 { shown } else { format!("{shown}; and {more} more") }
}

impl VerifyError {
    /// What helps.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Secret(SecretError::NotFound { .. }) => {
                "create the Secret or correct spec.verify.secretRef"
            }
            Self::NoKeys { .. }
            | Self::TooManyKeys { .. }
            | Self::Key { .. }
            | Self::NoPolicy { .. }
            | Self::Policy { .. }
            | Self::Certificates { .. } => "correct the Secret of spec.verify.secretRef",
            Self::TrustedRoot { .. } => "correct spec.verify.trustedRootSecretRef or its Secret",
            Self::NoMatch { .. } => "sign the artifact, or correct spec.verify",
            Self::Deadline => "delete signatures or keys that are not needed, or raise spec.timeout",
            Self::TooManyTries { .. } => "delete signatures or keys that are not needed",
            Self::Secret(_) | Self::PublicRoot(_) | Self::Registry(_) | Self::Interrupted(_) => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_about_a_few_signatures() {
        let text = |count: usize| {
            let problems = (1..=count).map(|at| format!("problem {at}")).collect();
            VerifyError::NoMatch { reference: "h/a@sha256:1".to_owned(), problems }.to_string()
        };
        let begin = "no matching signatures were found for 'h/a@sha256:1': ";
        assert_eq!(text(0), format!("{begin}it has no signature"));
        assert_eq!(text(2), format!("{begin}problem 1; problem 2"));
        assert_eq!(text(5), format!("{begin}problem 1; problem 2; problem 3; and 2 more"));
    }
}
