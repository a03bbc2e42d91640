//! Under which path a Receiver listens, which of its resources cannot be reconciled, or why it does not listen. Pure.

use std::fmt;

use plumb_alerting::receiver::{Target, TargetError, webhook_path};
use plumb_alerting::rule::CrossNamespace;
use plumb_api::notification::ReceiverSpec;
use plumb_secrets::SecretError;
use plumb_status::{Classify, Condition, Consequence, Reason, UnsupportedFields};

use super::facts::{Facts, TokenError};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The path to listen under.
    pub webhook_path: String,
    /// Resources that lead to no object. Webhooks reconcile the others, as in Flux.
    pub invalid: Option<InvalidResources>,
}

/// Resources of a Receiver that lead to no object, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidResources(Vec<(usize, TargetError)>);

impl InvalidResources {
    /// Those of a Receiver in the namespace `home`.
    pub fn of(spec: &ReceiverSpec, home: &str, cross_namespace: CrossNamespace) -> Option<Self> {
        let judged = spec.resources.iter().enumerate().filter_map(|(at, resource)| {
            Target::resolve(resource, home, cross_namespace).err().map(|error| (at, error))
        });
        let invalid: Vec<_> = judged.collect();
        (!invalid.is_empty()).then_some(Self(invalid))
    }
}

impl fmt::Display for InvalidResources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (resource, error)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(out, "{separator}spec.resources[{resource}]: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidResources {}

impl Classify for InvalidResources {
    fn reason(&self) -> Reason {
        let blocked = |error: &TargetError| matches!(error, TargetError::Blocked { .. });
        if self.0.iter().all(|(_, error)| blocked(error)) {
            Reason::AccessDenied
        } else {
            Reason::InvalidSpec
        }
    }

    fn consequence(&self) -> Consequence {
        Consequence::Stall
    }
}

/// Whether webhooks are answered with "not ready": the Receiver has no path or no token. Resources that lead to no object do
/// not keep the others from being reconciled.
pub fn is_usable(ready: &Condition) -> bool {
    !ready.is_false()
        || [Reason::InvalidSpec, Reason::AccessDenied].iter().any(|reason| ready.reason == reason.as_str())
}

/// Why a Receiver does not listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReceiver {
    /// It sets something that is not honoured.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedFields),
    /// It has no token.
    #[error("unable to read token")]
    Token(#[source] TokenError),
}

impl Classify for InvalidReceiver {
    fn reason(&self) -> Reason {
        match self {
            Self::Unsupported(unsupported) => unsupported.reason(),
            Self::Token(_) => Reason::TokenNotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported(unsupported) => unsupported.hint(),
            Self::Token(_) => None,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Unsupported(unsupported) => unsupported.consequence(),
            // The Secret may come at any time.
            Self::Token(TokenError::Secret(_)) => Consequence::Retry,
            Self::Token(TokenError::Unnamed) => Consequence::Stall,
        }
    }
}

impl InvalidReceiver {
    /// Whether the path that was there is of no use any more.
    pub fn ends_path(&self) -> bool {
        match self {
            Self::Unsupported(_) => false,
            Self::Token(TokenError::Unnamed) => true,
            Self::Token(TokenError::Secret(error)) => match error {
                SecretError::NotFound { .. }
                | SecretError::MissingKey { .. }
                | SecretError::Invalid { .. }
                | SecretError::BadKey { .. } => true,
                // The token is not known to be gone: it could not be read.
                SecretError::Unreadable { .. }
                | SecretError::NoServiceAccount { .. }
                | SecretError::UnreadableServiceAccount { .. } => false,
            },
        }
    }
}

/// The path that belongs to the token, and what is wrong with the resources.
pub fn decide(
    facts: Facts,
    spec: &ReceiverSpec,
    name: &str,
    namespace: &str,
    cross_namespace: CrossNamespace,
) -> Result<Decision, InvalidReceiver> {
    let token = facts.token.map_err(InvalidReceiver::Token)?;
    Ok(Decision {
        webhook_path: webhook_path(token.expose(), name, namespace),
        invalid: InvalidResources::of(spec, namespace, cross_namespace),
    })
}
