//! What can go wrong with a registry. Texts of servers are not quoted: of an error response only its status and the codes of the
//! specification. No error carries a credential.

use plumb_memory::OverBudget;
use plumb_transport::{BodyError, ClientError, ConnectionError, CredentialError};
use serde::Deserialize;

use crate::{digest::Digest, manifest::ManifestError};

/// The error codes of the specification, and those that registries are known to send.
const CODES: [&str; 15] = [
    "BLOB_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "MANIFEST_UNVERIFIED",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "PAGINATION_NUMBER_INVALID",
    "TAG_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "UNKNOWN",
    "UNSUPPORTED",
];

/// What can go wrong with a registry.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(ClientError),
    /// A credential cannot be sent.
    #[error(transparent)]
    Credential(CredentialError),
    /// The connection failed.
    #[error("{request}")]
    Connection {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: ConnectionError,
    },
    /// The registry responded with an error.
    #[error("{request}: status {status}{}", shown_codes(.codes))]
    Status {
        /// Method and URL.
        request: String,
        /// The status.
        status: u16,
        /// Known error codes of the response.
        codes: Vec<&'static str>,
    },
    /// The registry does not accept the credentials, or wants some.
    #[error("{request}: status 401{}: {problem}", shown_codes(.codes))]
    Unauthorized {
        /// Method and URL.
        request: String,
        /// Known error codes of the response.
        codes: Vec<&'static str>,
        /// What is known about it.
        problem: String,
        /// Whether there were credentials for this registry.
        has_credential: bool,
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
    /// A response that is not what was asked for.
    #[error("{request}")]
    Response {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: ResponseError,
    },
    /// A manifest that cannot be used.
    #[error("manifest {digest} cannot be used")]
    Manifest {
        /// Its digest.
        digest: Digest,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A layer that is larger than its limit.
    #[error("layer {digest} has {size} bytes, the limit is {max}")]
    LayerTooLarge {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(OverBudget),
}

/// A response is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not JSON of that shape.
    #[error("the response is not the JSON of a {what}")]
    Malformed {
        /// What it should be.
        what: &'static str,
    },
    /// A link to the next page.
    #[error("the link to the next page cannot be followed: {problem}")]
    Link {
        /// Why.
        problem: &'static str,
    },
    /// A list without end.
    #[error("the list has more than {max} {what}")]
    TooMany {
        /// What.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// No digest, or a wrong one, in the response.
    #[error("the content does not match its digest: expected {expected}, got {found}")]
    Digest {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Other content than the descriptor says.
    #[error("the content has {found} bytes, its manifest says {expected}")]
    Size {
        /// What the manifest says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The realm of a challenge.
    #[error("the registry wants a token of {realm:?}, which is not an http or https URL")]
    Realm {
        /// The realm.
        realm: String,
    },
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    errors: Vec<RawError>,
}

#[derive(Deserialize)]
struct RawError {
    #[serde(default)]
    code: String,
}

/// The known codes of an error response.
pub(crate) fn codes(body: &[u8]) -> Vec<&'static str> {
    let Ok(Raw { errors }) = serde_json::from_slice(body) else { return Vec::new() };
    CODES.into_iter().filter(|code| errors.iter().any(|error| error.code == *code)).collect()
}

fn shown_codes(codes: &[&str]) -> String {
    if codes.is_empty() { String::new() } else { format!(" {}", codes.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_codes_of_a_response_are_shown() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"s3cret"},{"code":"s3cret"}]}"#;
        let error = OciError::Status { request: "GET https://h/x".into(), status: 404, codes: codes(body) };
        assert_eq!(error.to_string(), "GET https://h/x: status 404 MANIFEST_UNKNOWN");
        assert_eq!(codes(b"<html>"), Vec::<&str>::new());
        assert_eq!(codes(b"{}"), Vec::<&str>::new());
    }
}
