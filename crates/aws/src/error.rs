//! Why there are no credentials. Texts of servers are not quoted: of an error response only its status and its code. No text holds a
//! secret or a token.

use plumb_transport::{BodyError, ClientError, ConnectionError};

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// A variable of the environment cannot be used.
    #[error("environment variable {name} of source-controller {problem}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No region is known.
    #[error(
        "an AWS region is required, and the environment variable AWS_REGION is not set in source-controller"
    )]
    NoRegion,
    /// A region is no name of one.
    #[error("AWS region {region:?} is not valid")]
    Region {
        /// The region.
        region: String,
    },
    /// The registry is not at AWS.
    #[error(
        "invalid AWS registry: '{registry}': credentials are sent to <account>.dkr.ecr.<region>.amazonaws.com and public.ecr.aws only"
    )]
    NotEcr {
        /// The registry.
        registry: String,
    },
    /// The endpoint of the Security Token Service is not at AWS.
    #[error("invalid STS endpoint: '{endpoint}': use https://sts.<region>.amazonaws.com")]
    NotSts {
        /// The endpoint.
        endpoint: String,
    },
    /// A file with a token cannot be read.
    #[error("failed to read the file of {name}: {problem}")]
    File {
        /// The variable that names it.
        name: &'static str,
        /// Why.
        problem: String,
    },
    /// A credential cannot be sent.
    #[error("a credential of AWS has characters that a header cannot have")]
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
