//! Credentials of HTTP, and where they go: to the scheme, host and port that they were given for. Passwords and tokens have no
//! Debug and no Display.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use plumb_api::sealed::Sealed;
use reqwest::header::HeaderValue;
use url::Url;

/// Credentials for a server.
#[derive(Clone, Default)]
pub enum Credential {
    /// Without credentials.
    #[default]
    None,
    /// HTTP basic authentication.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Sealed,
    },
    /// A bearer token.
    Bearer {
        /// The token.
        token: Sealed,
    },
}

/// Why a credential cannot be sent. It never shows the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {part} {problem}")]
pub struct CredentialError {
    /// Which part.
    pub part: CredentialPart,
    /// What is wrong with it: `"contains a line break"`.
    pub problem: &'static str,
}

/// A part of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialPart {
    /// The name of basic authentication.
    Username,
    /// The password of basic authentication.
    Password,
    /// The bearer token.
    Token,
}

impl fmt::Display for CredentialPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "username",
            Self::Password => "password",
            Self::Token => "bearer token",
        })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic",
            Self::Bearer { .. } => "Bearer",
        })
    }
}

impl Credential {
    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The header `Authorization`, marked as sensitive.
    pub fn authorization(&self) -> Result<Option<HeaderValue>, CredentialError> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Basic { username, password } => {
                if username.contains(':') {
                    return Err(CredentialError {
                        part: CredentialPart::Username,
                        problem: "contains a colon",
                    });
                }
                let (username, password) = (
                    line(CredentialPart::Username, username)?,
                    sealed_line(CredentialPart::Password, password)?,
                );
                format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
            }
            Self::Bearer { token } => format!("Bearer {}", sealed_line(CredentialPart::Token, token)?),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| CredentialError {
            part: CredentialPart::Token,
            problem: "is not the value of a header",
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn sealed_line(part: CredentialPart, secret: &Sealed) -> Result<&str, CredentialError> {
    line(part, secret.expose_str().ok_or(CredentialError { part, problem: "is not UTF-8" })?)
}

/// One line of text. A line break at the end is the usual mistake: `echo` and editors write one.
fn line(part: CredentialPart, text: &str) -> Result<&str, CredentialError> {
    let problem = if text.ends_with(['\n', '\r']) {
        "ends with a line break"
    } else if text.contains(['\n', '\r']) {
        "contains a line break"
    } else if text.contains(char::is_control) {
        "contains a control character"
    } else {
        return Ok(text);
    };
    Err(CredentialError { part, problem })
}

/// Scheme, host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: Option<String>,
    port: Option<u16>,
}

impl Origin {
    /// The origin of a URL.
    pub fn of(url: &Url) -> Self {
        Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str().map(str::to_owned),
            port: url.port_or_known_default(),
        }
    }

    /// Whether what was given for this origin may go to a URL: the same origin, or the same host where http became https, both on
    /// their usual ports.
    pub fn covers(&self, url: &Url) -> bool {
        let to = Self::of(url);
        let is_upgrade = (self.scheme.as_str(), to.scheme.as_str()) == ("http", "https")
            && (self.port, to.port) == (Some(80), Some(443));
        self.host == to.host && ((self.scheme == to.scheme && self.port == to.port) || is_upgrade)
    }
}

/// A credential bound to the origin that it was given for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginCredential {
    origin: Origin,
    authorization: Option<HeaderValue>,
}

impl OriginCredential {
    /// A credential for the origin of `url`.
    pub fn new(url: &Url, credential: &Credential) -> Result<Self, CredentialError> {
        Ok(Self { origin: Origin::of(url), authorization: credential.authorization()? })
    }

    /// The header `Authorization` for a request to `url`: none for another origin.
    pub fn authorization(&self, url: &Url) -> Option<&HeaderValue> {
        self.authorization.as_ref().filter(|_| self.origin.covers(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_with_their_origin() {
        let url = |text: &str| Url::parse(text).unwrap();
        let token = Credential::Bearer { token: "t0ken".into() };
        for (from, to, keeps) in [
            ("http://a/x", "http://a/y", true),
            ("http://a/x", "http://a:80/y", true),
            ("http://a/x", "https://a/y", true),
            ("http://a:8080/x", "https://a/y", false),
            ("https://a/x", "http://a/y", false),
            ("https://a/x", "https://a:8443/y", false),
            ("https://a/x", "https://b/y", false),
            ("https://a/x", "https://a.b/y", false),
        ] {
            let bound = OriginCredential::new(&url(from), &token).unwrap();
            assert_eq!(bound.authorization(&url(to)).is_some(), keeps, "{from} to {to}");
        }
        let none = OriginCredential::new(&url("http://a"), &Credential::None).unwrap();
        assert_eq!(none.authorization(&url("http://a")), None);
    }

    #[test]
    fn headers_are_written_and_marked_as_sensitive() {
        let basic = Credential::Basic { username: "me".into(), password: "pässword".into() };
        let header = basic.authorization().unwrap().unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic bWU6cMOkc3N3b3Jk");
        assert!(header.is_sensitive() && !format!("{header:?} {basic:?}").contains("bWU6"));
        let bearer = Credential::Bearer { token: "t0ken".into() };
        assert_eq!(bearer.authorization().unwrap().unwrap().to_str().unwrap(), "Bearer t0ken");
    }

    #[test]
    fn what_is_no_line_of_text_is_rejected_by_part_and_without_its_value() {
        let basic = |username: &str, password: &str| Credential::Basic {
            username: username.into(),
            password: password.into(),
        };
        let bearer = |token: &str| Credential::Bearer { token: token.into() };
        for (credential, expect) in [
            (basic("me", "s3cret\n"), "the password ends with a line break"),
            (basic("me", "s3\r\ncret"), "the password contains a line break"),
            (basic("me", "s3\0cret"), "the password contains a control character"),
            (basic("me\n", "s3cret"), "the username ends with a line break"),
            (basic("m:e", "s3cret"), "the username contains a colon"),
            (bearer("s3cret\n"), "the bearer token ends with a line break"),
        ] {
            assert_eq!(credential.authorization().unwrap_err().to_string(), expect);
        }
    }
}
