//! Events to requests. One file and one line in the table per type of Provider. Sending, retrying and the reading of
//! Secrets never enter.

mod generic;
mod generic_hmac;
mod slack;

use std::collections::BTreeMap;
use std::fmt;

use plumb_api::event::Event;
use plumb_api::meta::{COMMIT_STATUS_KEY, COMMIT_STATUS_UPDATE};
use plumb_api::sealed::Sealed;
use url::Url;

/// How much of an answer is read.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How an event becomes a request.
pub type Render = fn(&Event, &Settings) -> Result<OutboundRequest, RenderError>;

/// A type of Provider.
#[derive(Debug, Clone, Copy)]
pub struct Provider {
    /// Its name in `spec.type`.
    pub type_: &'static str,
    /// Which events it wants.
    pub appetite: EventFilter,
    render: Render,
}

/// Every type of Provider that is honoured.
pub const PROVIDERS: &[Provider] = &[
    Provider { type_: "generic", appetite: EventFilter::Everything, render: generic::render },
    Provider { type_: "generic-hmac", appetite: EventFilter::Everything, render: generic_hmac::render },
    Provider { type_: "slack", appetite: EventFilter::Messages, render: slack::render },
];

/// Which events a Provider wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFilter {
    /// All of them: it is a program that reads events.
    Everything,
    /// All but those that only update a commit status: people read it.
    Messages,
}

/// What a Provider and its Secret say.
#[derive(Clone, Default)]
pub struct Settings {
    /// Where to send to.
    pub address: Option<Sealed>,
    /// Where the address is from.
    pub address_origin: AddressOrigin,
    /// The channel, where there are several.
    pub channel: String,
    /// The name to post under.
    pub username: String,
    /// The credential.
    pub token: Option<Sealed>,
    /// Further headers.
    pub headers: BTreeMap<String, Sealed>,
}

/// Where the address of a Provider is from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AddressOrigin {
    /// The spec of the Provider.
    #[default]
    Spec,
    /// The key `address` of its Secret.
    Secret {
        /// The namespace of the Secret.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for AddressOrigin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec => out.write_str("spec.address"),
            Self::Secret { namespace, name } => write!(out, "key 'address' of secret '{namespace}/{name}'"),
        }
    }
}

impl Settings {
    /// What must not be seen anywhere.
    pub fn secrets(&self) -> impl Iterator<Item = &Sealed> {
        self.address.iter().chain(&self.token).chain(self.headers.values())
    }

    /// The address as a URL that can be sent to.
    fn url(&self) -> Result<Url, RenderError> {
        let address =
            self.address.as_ref().filter(|address| !address.is_empty()).ok_or(RenderError::NoAddress)?;
        let bad = || RenderError::BadAddress { origin: self.address_origin.clone() };
        let url = Url::parse(address.expose_str().ok_or_else(bad)?.trim()).map_err(|_| bad())?;
        match (url.scheme(), url.has_host()) {
            ("http" | "https", true) => Ok(url),
            _ => Err(bad()),
        }
    }
}

/// A request that is ready to be sent. It has no Debug: the URL and the headers can be secrets.
#[derive(Clone)]
pub struct OutboundRequest {
    /// The method.
    pub method: &'static str,
    /// Where to.
    pub url: Url,
    /// The headers, the content type among them.
    pub headers: Vec<(String, Sealed)>,
    /// The body.
    pub body: Vec<u8>,
    answer: Answer,
}

/// What answer means that the message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// A status of 2xx.
    Status,
    /// A status of 2xx, and no `"ok": false` in a JSON body.
    Ok,
}

impl OutboundRequest {
    fn post(url: Url, body: Vec<u8>) -> Self {
        let headers = vec![("content-type".to_owned(), Sealed::from("application/json"))];
        Self { method: "POST", url, headers, body, answer: Answer::Status }
    }

    fn with(mut self, header: &str, value: impl Into<Sealed>) -> Self {
        self.headers.push((header.to_owned(), value.into()));
        self
    }

    /// Whether the receiving side took it.
    pub fn accepted(&self, status: u16, body: &[u8]) -> Result<(), Rejection> {
        if !(200..300).contains(&status) {
            return Err(Rejection::Status { status });
        }
        match self.answer {
            Answer::Status => Ok(()),
            Answer::Ok => slack::accepted(body),
        }
    }
}

/// Why the receiving side did not take it. The answer is never quoted: a hostile or careless server repeats the path, the
/// token or the message in it. Only a status and a code of the service's documentation get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The status is not one of success.
    #[error("the server answered {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The status is one of success, the body is not.
    #[error("the server answered with {}", .code.map_or_else(|| "an error code that is not documented".to_owned(), |code| format!("the error {code:?}")))]
    Code {
        /// The code, where it is a documented one.
        code: Option<&'static str>,
    },
}

impl Rejection {
    /// Whether the same request may be taken later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status: 429 } => true,
            Self::Status { status } => *status >= 500 && *status != 501,
            Self::Code { code } => slack::is_transient(*code),
        }
    }
}

/// Why no request can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// No such type.
    #[error("providers of type {0:?} are not supported by this version")]
    UnknownType(String),
    /// Neither spec nor Secret says where to send to.
    #[error("no address: neither spec.address nor the key address of the Secret is set")]
    NoAddress,
    /// It is not a URL of HTTP.
    #[error("{origin} is not a valid URL that begins with http:// or https://")]
    BadAddress {
        /// The field or key that it is from.
        origin: AddressOrigin,
    },
    /// The type needs a credential.
    #[error("no token: the Secret of a provider of type {0} needs the key token")]
    NoToken(&'static str),
    /// A header of the Secret cannot be sent.
    #[error("{} of the Secret cannot be sent: its name or value holds bytes that are not allowed", header(.0))]
    BadHeader(String),
    /// The event cannot be written as JSON.
    #[error("the event cannot be written")]
    Unwritable(String),
}

/// Names a header. What is no name may be a value in the wrong place, so it is not repeated.
fn header(name: &str) -> String {
    if generic::is_token(name) { format!("the header {name:?}") } else { "a header".to_owned() }
}

/// The type of Provider with this name.
pub fn provider(type_: &str) -> Result<&'static Provider, RenderError> {
    PROVIDERS
        .iter()
        .find(|known| known.type_ == type_)
        .ok_or_else(|| RenderError::UnknownType(type_.to_owned()))
}

impl Provider {
    /// Whether an event, as it came from its controller, is for this type.
    pub fn wants(&self, event: &Event) -> bool {
        match self.appetite {
            EventFilter::Everything => true,
            EventFilter::Messages => event.group_metadata(COMMIT_STATUS_KEY) != Some(COMMIT_STATUS_UPDATE),
        }
    }

    /// The request that carries the event.
    pub fn render(&self, event: &Event, settings: &Settings) -> Result<OutboundRequest, RenderError> {
        (self.render)(event, settings)
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, RenderError> {
    serde_json::to_vec(value).map_err(|error| RenderError::Unwritable(error.to_string()))
}

#[cfg(test)]
pub(crate) mod golden {
    use super::*;

    /// Everything a test says about a Provider.
    pub fn settings(address: &str, token: &str) -> Settings {
        Settings {
            address: Some(Sealed::from(address)),
            token: (!token.is_empty()).then(|| Sealed::from(token)),
            ..Settings::default()
        }
    }

    /// The whole request as text.
    pub fn text(type_: &str, event: &Event, settings: &Settings) -> String {
        let request = match provider(type_).and_then(|provider| provider.render(event, settings)) {
            Ok(request) => request,
            Err(error) => return plumb_status::chain(&error),
        };
        let mut text = format!("{} {}\n", request.method, request.url);
        for (name, value) in &request.headers {
            text += name;
            text += ": ";
            text += value.expose_str().unwrap();
            text += "\n";
        }
        text + "\n" + std::str::from_utf8(&request.body).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::event;

    #[track_caller]
    fn check(status: u16, body: &str, told: &str, transient: bool) {
        let request = OutboundRequest::post("http://h/".parse().unwrap(), Vec::new());
        let rejection = request.accepted(status, body.as_bytes()).unwrap_err();
        assert_eq!((rejection.to_string().as_str(), rejection.is_transient()), (told, transient));
    }

    #[test]
    fn only_the_status_of_a_response_is_reported_and_a_transient_one_is_retried() {
        check(404, "", "the server answered 404", false);
        check(400, "POST /services/T0/secret: no such channel", "the server answered 400", false);
        check(302, "", "the server answered 302", false);
        check(429, "", "the server answered 429", true);
        check(503, "", "the server answered 503", true);
        check(501, "", "the server answered 501", false);
        check(500, &"x".repeat(1000), "the server answered 500", true);
    }

    #[test]
    fn an_address_must_be_a_url_of_http() {
        let text = |address: &str| golden::text("generic", &event(), &golden::settings(address, ""));
        let bad = "spec.address is not a valid URL that begins with http:// or https://";
        for address in ["ftp://h/", "hooks.example.com", "file:///etc/passwd", "http://"] {
            assert_eq!(text(address), bad, "{address}");
        }
        let origin = AddressOrigin::Secret { namespace: "prod".into(), name: "hook".into() };
        let settings = Settings { address_origin: origin, ..golden::settings("hooks.example.com", "") };
        let of_secret = bad.replace("spec.address", "key 'address' of secret 'prod/hook'");
        assert_eq!(golden::text("generic", &event(), &settings), of_secret);
        assert_eq!(text(""), "no address: neither spec.address nor the key address of the Secret is set");
    }

    #[test]
    fn an_unknown_type_is_refused() {
        assert!(provider("discord").is_err());
    }

    #[test]
    fn commit_status_updates_are_only_for_programs() {
        let mut event = event();
        event.metadata.insert("kustomize.toolkit.fluxcd.io/commit_status".into(), "update".into());
        let wanting: Vec<_> =
            PROVIDERS.iter().filter(|provider| provider.wants(&event)).map(|p| p.type_).collect();
        assert_eq!(wanting, ["generic", "generic-hmac"]);
    }
}
