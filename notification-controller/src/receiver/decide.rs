//! Under which path a Receiver listens, or why it does not. Pure.

use plumb_alerting::receiver::webhook_path;
use plumb_alerting::validate::Unsupported;
use plumb_secrets::SecretError;
use plumb_status::{Classify, Consequence, Reason};

use super::facts::{Facts, TokenError};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The path to listen under.
    pub webhook_path: String,
}

/// Why a Receiver does not listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReceiver {
    /// It sets something that is not honoured.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
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
                | SecretError::BadKey { .. } => true,
                // The token is not known to be gone: it could not be asked for.
                SecretError::Unreadable { .. } => false,
            },
        }
    }
}

/// The path that belongs to the token.
pub fn decide(facts: Facts, name: &str, namespace: &str) -> Result<Decision, InvalidReceiver> {
    let token = facts.token.map_err(InvalidReceiver::Token)?;
    Ok(Decision { webhook_path: webhook_path(token.expose(), name, namespace) })
}
