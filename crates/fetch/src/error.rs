//! Why an artifact could not be had, and what follows. Texts of servers never enter an error: only status codes do.

use plumb_memory::OverBudget;
use plumb_status::{Classify, Consequence, Reason};
use plumb_transport::{ClientError, ConnectionError};

use plumb_archive::UnpackError;

/// Why an artifact could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL is not an http(s) URL with a host and without credentials.
    #[error("artifact URL {url:?} cannot be used: {problem}")]
    BadUrl {
        /// The URL, as far as it may be shown.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The host is not one that artifacts are fetched from.
    #[error("artifact host {host} is not allowed")]
    HostNotAllowed {
        /// Host, with its port where one is written.
        host: String,
    },
    /// The digest is missing or of an algorithm that is not accepted.
    #[error("artifact digest {digest:?} cannot be checked, want one of sha256, sha384, sha512 or blake3")]
    BadDigest {
        /// The digest as given.
        digest: String,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client for artifacts")]
    Client {
        /// Why.
        #[source]
        source: ClientError,
    },
    /// The server does not have the file.
    #[error("artifact not found at {url}")]
    NotFound {
        /// The URL of the request.
        url: String,
    },
    /// The server responded with an error status.
    #[error("artifact server responded with status {status} for {url}")]
    Status {
        /// The code.
        status: u16,
        /// The URL of the request.
        url: String,
    },
    /// The transfer failed.
    #[error("cannot download {url}")]
    Transfer {
        /// The URL of the request.
        url: String,
        /// Why.
        #[source]
        source: ConnectionError,
    },
    /// No response in time.
    #[error("download of {url} took longer than {seconds} s")]
    TimedOut {
        /// The URL of the request.
        url: String,
        /// The limit.
        seconds: u64,
    },
    /// The file is larger than allowed.
    #[error("artifact {url} is larger than the limit of {max} bytes")]
    TooLarge {
        /// The URL of the request.
        url: String,
        /// The limit.
        max: u64,
    },
    /// What was downloaded is not what was announced.
    #[error("artifact {url} has digest {actual}, want {expected}")]
    DigestMismatch {
        /// The URL of the request.
        url: String,
        /// Announced.
        expected: String,
        /// Computed.
        actual: String,
    },
    /// The archive cannot be used.
    #[error("cannot unpack artifact {url}")]
    Unpack {
        /// The URL of the request.
        url: String,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// The memory budget does not allow it.
    #[error("no memory for artifact {url}")]
    OverBudget {
        /// The URL of the request.
        url: String,
        /// Which limit.
        #[source]
        source: OverBudget,
    },
    /// The task that unpacks ended early.
    #[error("unpacking of artifact {url} was interrupted")]
    Interrupted {
        /// The URL of the request.
        url: String,
    },
}

impl FetchError {
    /// Whether the server reports the file as absent: the source is likely to advertise another one soon.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether memory that others hold is what is missing.
    pub(crate) fn is_over_budget_now(&self) -> bool {
        matches!(self, Self::OverBudget { source, .. } if source.is_transient())
    }

    /// Whether the same request may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Transfer { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            Self::BadUrl { .. }
            | Self::HostNotAllowed { .. }
            | Self::BadDigest { .. }
            | Self::Client { .. }
            | Self::NotFound { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. }
            | Self::DigestMismatch { .. }
            | Self::Unpack { .. }
            | Self::OverBudget { .. }
            | Self::Interrupted { .. } => false,
        }
    }
}

impl Classify for FetchError {
    fn reason(&self) -> Reason {
        Reason::ArtifactFailed
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::NotFound { .. } => Consequence::Wait,
            Self::BadUrl { .. }
            | Self::HostNotAllowed { .. }
            | Self::BadDigest { .. }
            | Self::Client { .. }
            | Self::Status { .. }
            | Self::Transfer { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. }
            | Self::DigestMismatch { .. }
            | Self::Unpack { .. }
            | Self::OverBudget { .. }
            | Self::Interrupted { .. } => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::HostNotAllowed { host } => Some(format!(
                "start the controller with --artifact-host={host} if artifacts are served there"
            )),
            _ => None,
        }
    }
}
