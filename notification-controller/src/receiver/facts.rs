//! Reads the token of a Receiver. Nothing is decided here.

use kube::Client;
use plumb_api::notification::ReceiverSpec;
use plumb_api::sealed::Sealed;
use plumb_secrets::{SecretError, receiver_token};

/// What is known of the world.
pub struct Facts {
    /// The token, or why there is none.
    pub token: Result<Sealed, TokenError>,
}

/// Why a Receiver has no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The spec names no Secret.
    #[error("spec.secretRef is not set")]
    Unnamed,
    /// The Secret does not help.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Reads the Secret of the Receiver.
pub async fn gather(client: &Client, namespace: &str, spec: &ReceiverSpec) -> Facts {
    Facts { token: token(client, namespace, spec).await }
}

async fn token(client: &Client, namespace: &str, spec: &ReceiverSpec) -> Result<Sealed, TokenError> {
    let reference = spec.secret_ref.as_ref().ok_or(TokenError::Unnamed)?;
    let content = plumb_secrets::read(client, namespace, &reference.name).await?;
    Ok(receiver_token(&content)?)
}
