//! One request, tried again while that can help, within the time that the Provider gives. What the request says never
//! enters.

use std::time::Duration;

use plumb_alerting::render::{ANSWER_BYTES_MAX, OutboundRequest, Rejection};
use plumb_status::chain;
use reqwest::header::{HeaderName, HeaderValue, RETRY_AFTER};
use tokio::time::Instant;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many unused connections to one host are kept.
const IDLE_PER_HOST_MAX: usize = 4;

/// How often and how soon a request is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How often it is tried again.
    pub retries: u32,
}

impl Pace {
    /// As Flux has it.
    pub const USUAL: Self =
        Self { first: Duration::from_secs(2), longest: Duration::from_secs(30), retries: 4 };

    fn pause(self, retry: u32) -> Duration {
        self.first.saturating_mul(1 << retry.min(16)).min(self.longest)
    }
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
    #[error("{host} did not take it")]
    Rejected {
        /// Where to.
        host: String,
        /// What it said.
        #[source]
        source: Rejection,
    },
    /// The time was up.
    #[error("{host} did not take it within {} s{}", limit.as_secs_f32(), last.as_ref().map(|last| format!(", the last try: {last}")).unwrap_or_default())]
    TimedOut {
        /// Where to.
        host: String,
        /// How much time there was.
        limit: Duration,
        /// How the last finished try ended.
        last: Option<String>,
    },
}

/// The client for all Providers. A redirect is an answer like any other: a credential goes where it was meant to go.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("plumb-notification-controller/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .build()
}

/// Sends the request until it is taken, until it is refused for good, or until `limit` has passed.
pub async fn send(
    client: &reqwest::Client,
    request: &OutboundRequest,
    limit: Duration,
    pace: Pace,
) -> Result<(), SendError> {
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let outgoing = build(client, request).ok_or(SendError::Unwritable)?;
    let deadline = Instant::now() + limit;
    let mut last = None;
    let mut retry = 0;
    loop {
        let attempt = once(client, outgoing.try_clone().ok_or(SendError::Unwritable)?, request, &host);
        let Ok(outcome) = tokio::time::timeout_at(deadline, attempt).await else {
            return Err(SendError::TimedOut { host, limit, last });
        };
        let Err((error, after)) = outcome else { return Ok(()) };
        let passing = match &error {
            SendError::Unreachable { .. } => true,
            SendError::Rejected { source, .. } => source.is_transient(),
            SendError::Unwritable | SendError::TimedOut { .. } => false,
        };
        if !passing || retry >= pace.retries {
            return Err(error);
        }
        let pause = after.map_or(pace.pause(retry), |after| after.min(pace.longest));
        if Instant::now() + pause >= deadline {
            return Err(SendError::TimedOut { host, limit, last: Some(chain(&error)) });
        }
        last = Some(chain(&error));
        retry += 1;
        tokio::time::sleep(pause).await;
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

/// One try; a refusal may say when to come back.
async fn once(
    client: &reqwest::Client,
    outgoing: reqwest::Request,
    request: &OutboundRequest,
    host: &str,
) -> Result<(), (SendError, Option<Duration>)> {
    let unreachable = |error: reqwest::Error| {
        let cause = chain(&error.without_url());
        (SendError::Unreachable { host: host.to_owned(), cause }, None)
    };
    let mut answer = client.execute(outgoing).await.map_err(unreachable)?;
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX {
        let Some(chunk) = answer.chunk().await.map_err(unreachable)? else { break };
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    request.accepted(status, &body).map_err(|source| {
        (SendError::Rejected { host: host.to_owned(), source }, after.map(Duration::from_secs))
    })
}
