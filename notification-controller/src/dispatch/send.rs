//! One try of one request, within its deadline. What the request says, and whether it is tried again, never enters.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header::RETRY_AFTER};
use plumb_alerting::render::{ANSWER_BYTES_MAX, OutboundRequest, Rejection};
use plumb_status::cadence::Backoff;
use plumb_transport::address::{AddressPolicy, RejectedAddress};
use plumb_transport::{ClientConfig, ClientError, ConnectionError, HttpClient, HttpRequest};
use tokio::time::Instant;

use super::queues::Health;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How the controller names itself to services.
const USER_AGENT: &str = concat!("plumb-notification-controller/", env!("CARGO_PKG_VERSION"));

/// How often a notification is sent again, and after which pauses.
#[derive(Debug, Clone, Copy)]
pub struct SendRetries {
    /// How often, after the first try.
    pub retries_max: u32,
    /// The pauses.
    pub backoff: Backoff,
}

impl SendRetries {
    /// As Flux has it.
    pub const DEFAULT: Self = Self {
        retries_max: 4,
        backoff: Backoff { min: Duration::from_secs(2), max: Duration::from_secs(30) },
    };

    /// The pause after this many failures. What the service asks for counts within the bounds.
    pub fn pause(self, failures: u32, asked: Option<Duration>) -> Duration {
        let Backoff { min, max } = self.backoff;
        // The queue of a Provider waits with its notification, so that there is nothing to spread.
        asked.map_or_else(|| self.backoff.without_jitter(failures), |asked| asked.clamp(min, max))
    }
}

/// A request that did not arrive, and when the service asks to be tried again.
pub struct Unsent {
    /// Why.
    pub error: SendError,
    /// Its `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Why a request did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A header or the method cannot be written.
    #[error("the request cannot be written")]
    Unwritable,
    /// No answer came.
    #[error("cannot reach {host}")]
    Unreachable {
        /// Where to.
        host: String,
        /// Why, without the URL.
        source: ConnectionError,
    },
    /// The service is at an address that connections may not go to.
    #[error(transparent)]
    Address(RejectedAddress),
    /// The answer was a rejection.
    #[error("{host} rejected the request")]
    Rejected {
        /// Where to.
        host: String,
        /// What it said.
        #[source]
        source: Rejection,
    },
    /// The time was up.
    #[error("{host} did not respond within {} s", limit.as_secs_f32())]
    TimedOut {
        /// Where to.
        host: String,
        /// How much time there was for all tries.
        limit: Duration,
    },
}

impl SendError {
    /// Whether the same request may be taken later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Rejected { source, .. } => source.is_transient(),
            Self::Unwritable | Self::Address(_) | Self::TimedOut { .. } => false,
        }
    }

    /// What it says about the service.
    pub fn health(&self) -> Health {
        match self {
            Self::Unwritable | Self::Address(_) => Health::Unknown,
            Self::Unreachable { .. } | Self::TimedOut { .. } => Health::Fails,
            Self::Rejected { source, .. } if source.is_transient() => Health::Fails,
            Self::Rejected { .. } => Health::Answers,
        }
    }
}

/// The client for all Providers. A redirect is an answer like any other: a credential goes where it was meant to go. Names
/// that lead to a rejected address are not connected to.
pub fn client(addresses: AddressPolicy) -> Result<HttpClient, ClientError> {
    HttpClient::new(ClientConfig {
        addresses: Some(addresses),
        connect_timeout: CONNECT_TIMEOUT,
        user_agent: Some(HeaderValue::from_static(USER_AGENT)),
        ..ClientConfig::default()
    })
}

/// Sends the request once. `limit` is what the deadline is made of, for the error.
pub async fn send(
    client: &HttpClient,
    request: &OutboundRequest,
    deadline: Instant,
    limit: Duration,
) -> Result<(), Unsent> {
    let host = || request.url.host_str().unwrap_or_default().to_owned();
    let unsent = |error| Unsent { error, retry_after: None };
    let failed = |error| {
        unsent(match error {
            ConnectionError::Address(rejected) => SendError::Address(rejected),
            ConnectionError::TimedOut if Instant::now() >= deadline => {
                SendError::TimedOut { host: host(), limit }
            }
            source => SendError::Unreachable { host: host(), source },
        })
    };
    let outgoing = build(request).ok_or_else(|| unsent(SendError::Unwritable))?;
    let outgoing = outgoing.timeout(deadline.saturating_duration_since(Instant::now()));
    let answer = client.send(outgoing).await.map_err(failed)?;
    let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let status = answer.status().as_u16();
    let body = answer.excerpt(ANSWER_BYTES_MAX).await.map_err(failed)?;
    request.accepted(status, &body).map_err(|source| Unsent {
        error: SendError::Rejected { host: host(), source },
        retry_after: asked.map(Duration::from_secs),
    })
}

fn build(request: &OutboundRequest) -> Option<HttpRequest> {
    let method = Method::from_bytes(request.method.as_bytes()).ok()?;
    let mut outgoing = HttpRequest::new(method, request.url.clone()).body(request.body.clone());
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_bytes(value.expose()).ok()?;
        value.set_sensitive(true);
        outgoing = outgoing.header(name, value);
    }
    Some(outgoing)
}
