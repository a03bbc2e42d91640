//! Why a connection failed, as one cause: the libraries below wrap it up to four times, and their wording differs with the layer.
//! The same cause is the same text: no ephemeral address, no error number, no duration.

use std::{error::Error, io};

use rustls::CertificateError;

use crate::{
    address::{RejectedAddress, Unresolved},
    redirect::RedirectError,
};

/// Why a connection failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The address is not allowed.
    #[error(transparent)]
    Address(RejectedAddress),
    /// The URL is not one of HTTP.
    #[error("URL scheme {scheme:?} is not supported: use http or https")]
    Scheme {
        /// Its scheme.
        scheme: String,
    },
    /// The name of the host leads to no address.
    #[error(transparent)]
    Unresolved(Unresolved),
    /// A redirect that is not followed.
    #[error(transparent)]
    Redirect(RedirectError),
    /// No process listens there.
    #[error("connection refused")]
    Refused,
    /// The network does not lead there.
    #[error("no route to host")]
    Unreachable,
    /// The connection or the response took too long.
    #[error("connection timed out")]
    TimedOut,
    /// The server ended the connection.
    #[error("connection reset by peer")]
    Reset,
    /// The response has an end before its end.
    #[error("unexpected end of the response")]
    Truncated,
    /// The certificate is signed by none that is trusted.
    #[error("certificate signed by unknown authority")]
    UnknownAuthority,
    /// The certificate is wrong in another way.
    #[error("certificate of the server rejected: {problem}")]
    Certificate {
        /// What is wrong with it.
        problem: String,
    },
    /// No TLS there, or no common version.
    #[error("TLS handshake failed: {problem}")]
    Tls {
        /// Why.
        problem: String,
    },
    /// The response is no HTTP.
    #[error("malformed HTTP response")]
    Malformed,
    /// None of these; the innermost cause.
    #[error("{0}")]
    Other(String),
}

impl ConnectionError {
    /// The cause of a request that failed. URLs do not enter the text.
    pub fn of(error: &reqwest::Error) -> Self {
        let mut innermost = None;
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(part) = next {
            if let Some(found) = known(part) {
                return found;
            }
            if !part.is::<reqwest::Error>() {
                innermost = Some(part.to_string());
            }
            next = part.source();
        }
        match innermost {
            _ if error.is_timeout() => Self::TimedOut,
            Some(text) => Self::Other(text),
            None => Self::Other("the request failed".to_owned()),
        }
    }
}

impl ConnectionError {
    /// The cause of an operation on a socket that failed.
    pub fn of_socket(error: &io::Error) -> Self {
        of_io(error).unwrap_or_else(|| Self::Other(error.kind().to_string()))
    }
}

fn known(part: &(dyn Error + 'static)) -> Option<ConnectionError> {
    if let Some(known) = part.downcast_ref::<ConnectionError>() {
        Some(known.clone())
    } else if let Some(rejected) = part.downcast_ref::<RejectedAddress>() {
        Some(ConnectionError::Address(rejected.clone()))
    } else if let Some(unresolved) = part.downcast_ref::<Unresolved>() {
        Some(ConnectionError::Unresolved(unresolved.clone()))
    } else if let Some(tls) = part.downcast_ref::<rustls::Error>() {
        Some(of_tls(tls))
    } else if let Some(http) = part.downcast_ref::<hyper::Error>() {
        of_http(http)
    } else {
        part.downcast_ref::<io::Error>().and_then(of_io)
    }
}

fn of_http(error: &hyper::Error) -> Option<ConnectionError> {
    if error.is_incomplete_message() {
        Some(ConnectionError::Truncated)
    } else if error.is_parse() {
        Some(ConnectionError::Malformed)
    } else {
        None
    }
}

fn of_io(error: &io::Error) -> Option<ConnectionError> {
    // The source of such an error is the source of what is in it, so that itself is checked here.
    if let Some(inner) = error.get_ref()
        && let Some(found) = known(inner)
    {
        return Some(found);
    }
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectionError::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            ConnectionError::Reset
        }
        io::ErrorKind::UnexpectedEof => ConnectionError::Truncated,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ConnectionError::Unreachable,
        io::ErrorKind::TimedOut => ConnectionError::TimedOut,
        _ => return None,
    })
}

fn of_tls(error: &rustls::Error) -> ConnectionError {
    let certificate = |problem: &str| ConnectionError::Certificate { problem: problem.to_owned() };
    match error {
        // A certificate by another authority of the same name does not match the key of the trusted one.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => ConnectionError::UnknownAuthority,
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                certificate("it has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                certificate("it is not valid yet")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                certificate("it is not for the name of this host")
            }
            other => certificate(&other.to_string()),
        },
        rustls::Error::InvalidMessage(_) => {
            ConnectionError::Tls { problem: "the server does not speak TLS".to_owned() }
        }
        other => ConnectionError::Tls { problem: other.to_string() },
    }
}
