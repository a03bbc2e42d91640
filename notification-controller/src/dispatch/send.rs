//! One try of one request, within its deadline. What the request says, and whether it is tried again, never enters.

use std::sync::Arc;
use std::time::Duration;

use plumb_alerting::render::{ANSWER_BYTES_MAX, OutboundRequest, Rejection};
use plumb_status::chain;
use plumb_transport::address::{AddressPolicy, CheckedResolver};
use reqwest::header::{HeaderName, HeaderValue, RETRY_AFTER};
use tokio::time::Instant;

use super::lanes::Health;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many unused connections to one host are kept.
const IDLE_PER_HOST_MAX: usize = 4;

/// How often and how soon a notification is tried again.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How often it is tried again.
    pub retries: u32,
}

impl RetryPolicy {
    /// As Flux has it.
    pub const USUAL: Self =
        Self { first: Duration::from_secs(2), longest: Duration::from_secs(30), retries: 4 };

    /// The pause before this retry. What the service asks for counts within the bounds.
    pub fn pause(self, retry: u32, asked: Option<Duration>) -> Duration {
        match asked {
            Some(asked) => asked.clamp(self.first, self.longest),
            None => self.first.saturating_mul(1 << retry.min(16)).min(self.longest),
        }
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
    #[error("cannot reach {host}: {cause}")]
    Unreachable {
        /// Where to.
        host: String,
        /// Why, without the URL.
        cause: String,
    },
    /// The answer was a refusal.
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
            Self::Unwritable | Self::TimedOut { .. } => false,
        }
    }

    /// What it says about the service.
    pub fn health(&self) -> Health {
        match self {
            Self::Unwritable => Health::Unknown,
            Self::Unreachable { .. } | Self::TimedOut { .. } => Health::Fails,
            Self::Rejected { source, .. } if source.is_transient() => Health::Fails,
            Self::Rejected { .. } => Health::Answers,
        }
    }
}

/// The client for all Providers. A redirect is an answer like any other: a credential goes where it was meant to go. Names
/// that lead to a rejected address are not connected to.
pub fn client(addresses: AddressPolicy) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("plumb-notification-controller/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(CheckedResolver::new(addresses)))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .build()
}

/// Sends the request once. `limit` is what the deadline is made of, for the error.
pub async fn send(
    client: &reqwest::Client,
    request: &OutboundRequest,
    deadline: Instant,
    limit: Duration,
) -> Result<(), Unsent> {
    let host = request.url.host_str().unwrap_or_default();
    let unsent = |error| Unsent { error, retry_after: None };
    let outgoing = build(client, request).ok_or_else(|| unsent(SendError::Unwritable))?;
    match tokio::time::timeout_at(deadline, once(client, outgoing, request, host)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(unsent(SendError::TimedOut { host: host.to_owned(), limit })),
    }
}

fn build(client: &reqwest::Client, request: &OutboundRequest) -> Option<reqwest::Request> {
    let method = reqwest::Method::from_bytes(request.method.as_bytes()).ok()?;
    let mut builder = client.request(method, request.url.clone()).body(request.body.clone());
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_bytes(value.expose()).ok()?;
        value.set_sensitive(true);
        builder = builder.header(name, value);
    }
    builder.build().ok()
}

async fn once(
    client: &reqwest::Client,
    outgoing: reqwest::Request,
    request: &OutboundRequest,
    host: &str,
) -> Result<(), Unsent> {
    let unreachable = |error: reqwest::Error| {
        let cause = chain(&error.without_url());
        Unsent { error: SendError::Unreachable { host: host.to_owned(), cause }, retry_after: None }
    };
    let mut answer = client.execute(outgoing).await.map_err(unreachable)?;
    let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX {
        let Some(chunk) = answer.chunk().await.map_err(unreachable)? else { break };
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    request.accepted(status, &body).map_err(|source| Unsent {
        error: SendError::Rejected { host: host.to_owned(), source },
        retry_after: asked.map(Duration::from_secs),
    })
}
