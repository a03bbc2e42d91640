//! What can go wrong with an object store. Texts of servers are not quoted: of an error response only its status and its code. No
//! error carries a credential.

pub(crate) use plumb_aws::code;
use plumb_memory::OverBudget;
use plumb_transport::{BodyError, ClientError, ConnectionError, CredentialError};

/// What can go wrong with an object store.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(ClientError),
    /// A credential cannot be sent.
    #[error(transparent)]
    Credential(CredentialError),
    /// A bearer token would go over a connection that others can read.
    #[error("{url} is not encrypted: a token is sent over https only, unless spec.insecure is set")]
    PlainToken {
        /// The endpoint.
        url: String,
    },
    /// The connection failed.
    #[error("{request}")]
    Connection {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: ConnectionError,
    },
    /// The object store, or the server that issues credentials for it, responded with an error.
    #[error("{request}: status {status}{}{}", shown_code(.code.as_deref()), shown_location(.location.as_deref()))]
    Status {
        /// Method and URL.
        request: String,
        /// The status.
        status: u16,
        /// The code of the response.
        code: Option<String>,
        /// Where a redirect leads.
        location: Option<String>,
    },
    /// There is no bucket of this name.
    #[error("bucket '{bucket}' not found")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The object is not that of the listing any more.
    #[error("object '{key}' has changed or was deleted since it was listed")]
    Changed {
        /// Its key.
        key: String,
    },
    /// A key that no URL can hold.
    #[error("object key {key:?} cannot be requested: it has a component '.' or '..'")]
    Key {
        /// The key.
        key: String,
    },
    /// A body that is too large, or ended early.
    #[error("{request}")]
    Body {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: BodyError,
    },
    /// A response that is not what was requested.
    #[error("{request}")]
    Response {
        /// Method and URL, or what it was for.
        request: String,
        /// Why.
        #[source]
        source: ResponseError,
    },
    /// More than is accepted.
    #[error("the bucket lists more than {max} {what}")]
    TooMany {
        /// What.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// What is to be written is larger than is accepted.
    #[error("the content has {size} bytes, and an object may have {max}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// What is to be written cannot be read.
    #[error("cannot read the content that is written: {problem}")]
    Content {
        /// Why.
        problem: String,
    },
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(OverBudget),
    /// The time is over.
    #[error("the operation did not end within its timeout")]
    TimedOut,
    /// A part of a credential cannot be used. It never shows the value.
    #[error("{problem}")]
    BadCredential {
        /// What is wrong.
        problem: &'static str,
    },
}

/// A response is not what was requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not of that shape.
    #[error("the response is not {what}")]
    Malformed {
        /// What it should be.
        what: &'static str,
    },
    /// An object of a listing without what is needed of it.
    #[error("object {key:?} is listed without {what}")]
    Incomplete {
        /// Its key.
        key: String,
        /// What is missing.
        what: &'static str,
    },
    /// A listing that repeats itself.
    #[error("the listing leads to a page that was listed before")]
    RepeatedPage,
    /// A listing that says it goes on, and not how.
    #[error("the listing is cut off: it does not name its next page")]
    NoNextPage,
    /// An object that was written between two pages.
    #[error("object {key:?} is listed with two ETags or sizes")]
    TwoVersions {
        /// Its key.
        key: String,
    },
    /// Other content than the listing says.
    #[error("the object has {found} bytes, the listing says {expected}")]
    Size {
        /// What the listing says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Another object than the listing says.
    #[error("the response has another ETag than the listing")]
    Etag,
}

impl BucketError {
    /// A listing that cannot be used.
    pub(crate) fn listing(source: ResponseError) -> Self {
        Self::Response { request: "listing".to_owned(), source }
    }

    /// The status of a response that is an error.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The code of a response that is an error.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Status { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Whether the same request may succeed in a moment: the server is overloaded, or the connection broke.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Connection { source, .. } | Self::Body { source: BodyError::Connection(source), .. } => {
                matches!(source, ConnectionError::Reset | ConnectionError::Truncated)
            }
            _ => false,
        }
    }
}

fn shown_code(code: Option<&str>) -> String {
    code.map(|code| format!(" {code}")).unwrap_or_default()
}

fn shown_location(location: Option<&str>) -> String {
    location
        .map(|location| format!(": it leads to {location}, and signed requests are not redirected"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_code_is_shown() {
        assert_eq!(code("NoSuchKey").as_deref(), Some("NoSuchKey"));
        for text in ["", "a b", "eyJ.x", &"a".repeat(65)] {
            assert_eq!(code(text), None);
        }
        let error = BucketError::Status {
            request: "GET https://h/b".to_owned(),
            status: 307,
            code: code("TemporaryRedirect"),
            location: Some("https://other/".to_owned()),
        };
        assert_eq!(
            error.to_string(),
            "GET https://h/b: status 307 TemporaryRedirect: it leads to https://other/, and signed requests are not redirected"
        );
    }
}
