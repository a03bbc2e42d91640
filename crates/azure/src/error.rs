//! Why there is no token. No text holds an assertion, a secret or a token.

use plumb_transport::{BodyError, ClientError, ConnectionError};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum AzureError {
    /// An ID is not one.
    #[error("the azure {what} is not valid")]
    Id {
        /// Which ID.
        what: &'static str,
    },
    /// The authority is no URL.
    #[error("AZURE_AUTHORITY_HOST is not an http or https URL")]
    Authority,
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The connection failed.
    #[error("POST {url}")]
    Connection {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: ConnectionError,
    },
    /// The metadata service of the machine cannot be reached.
    #[error("GET {url}")]
    Metadata {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: ConnectionError,
    },
    /// The authority gives no token.
    #[error("token request to {url}: status {status}{problem}")]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
        /// What the authority says, as far as it is shown, from `: ` on.
        problem: String,
    },
    /// A response that is too large, or ended early.
    #[error("token request to {url}")]
    Body {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: BodyError,
    },
    /// A response that is not what was requested.
    #[error("token request to {url}: the response is not the JSON of a token")]
    Malformed {
        /// The URL.
        url: String,
    },
}
