//! Why there is no token. Texts of servers are not quoted. No text holds a secret or a token.

use plumb_transport::{BodyError, ClientError, ConnectionError};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum GcpError {
    /// The file of credentials cannot be read or used.
    #[error("the file of GOOGLE_APPLICATION_CREDENTIALS {problem}")]
    File {
        /// What is wrong with it.
        problem: String,
    },
    /// The variable for the metadata service cannot be used.
    #[error("environment variable GCE_METADATA_HOST of source-controller is not HOST[:PORT]")]
    MetadataHost,
    /// The server is not at Google Cloud.
    #[error("invalid GCP {what}: '{host}': tokens are sent to {expected} only")]
    NotGoogle {
        /// What it is.
        what: &'static str,
        /// The host.
        host: String,
        /// Where tokens are sent.
        expected: &'static str,
    },
    /// A credential cannot be sent.
    #[error("a token of Google has characters that a header cannot have")]
    Header,
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The connection failed.
    #[error("{request}")]
    Connection {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: ConnectionError,
    },
    /// An error response.
    #[error("{request}: status {status}{}", .code.as_ref().map(|code| format!(" {code}")).unwrap_or_default())]
    Status {
        /// Method and URL.
        request: String,
        /// The status.
        status: u16,
        /// The code of the response.
        code: Option<String>,
    },
    /// A response that is too large, or ended early.
    #[error("{request}")]
    Body {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: BodyError,
    },
    /// A response that is not what was requested.
    #[error("{request}: the response is not {what}")]
    Malformed {
        /// Method and URL.
        request: String,
        /// What it should be.
        what: &'static str,
    },
}
