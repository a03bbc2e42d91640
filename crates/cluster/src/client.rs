//! The connection to the API server, and the time that one call may take. What is called never enters.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyStream, StreamBody};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tokio::time::Instant;
use tower::service_fn;

use crate::BoxError;
use crate::connection::{Connections, MaySend};

/// How long one call may take that is not a watch.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a service account.
    #[error("cannot find the API server: {0}")]
    Config(kube::config::InferConfigError),
    /// The connection cannot be prepared.
    #[error("cannot prepare the connection to the API server: {}", crate::cause(.0))]
    Client(kube::Error),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No response in time.
    #[error("the API server did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// How long it was waited for.
        limit: Duration,
    },
    /// A response that is an error, or none.
    #[error("{}", crate::cause(.0))]
    Failed(kube::Error),
}

impl CallError {
    /// The status code of the response, if there was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Failed(kube::Error::Api(status)) => Some(status.code),
            Self::TimedOut { .. } | Self::Failed(_) => None,
        }
    }
}

/// How to reach the API server, and as whom.
pub struct Connector(Config);

impl Connector {
    /// From $KUBECONFIG, or from the pod's service account.
    pub async fn infer() -> Result<Self, ConnectError> {
        Config::infer().await.map(Self).map_err(ConnectError::Config)
    }

    /// Host and port of the API server.
    pub fn host(&self) -> String {
        let url = &self.0.cluster_url;
        url.authority().map(ToString::to_string).unwrap_or_default()
    }

    /// A client with connections of its own. kube's own retries are off: every caller has a deadline of its own, and
    /// they would hold a call for minutes.
    pub fn client(&self) -> Result<Client, ConnectError> {
        client(self.0.clone(), Deadlines::USUAL, Arc::new(|| true))
    }

    /// The same, of which a connection is closed, with what it has not sent yet, as soon as `may_send` denies.
    pub fn client_while(&self, may_send: MaySend) -> Result<Client, ConnectError> {
        client(self.0.clone(), Deadlines::USUAL, may_send)
    }
}

/// A client with deadlines for everything that can be waited for.
fn client(mut config: Config, deadlines: Deadlines, may_send: MaySend) -> Result<Client, ConnectError> {
    config.default_retry = false;
    config.connect_timeout = Some(deadlines.connect);
    config.read_timeout = Some(deadlines.silence);
    // The time that a connection was idle in the pool is no silence.
    config.reset_reader_on_write = true;
    let client =
        ClientBuilder::try_from((config, Connections(may_send))).map_err(ConnectError::Client)?.build();
    Ok(with_deadlines(client, deadlines))
}

/// Timeouts of a client. A watch has no end here: kube ends one that is silent for longer than
/// `timeoutSeconds` and a few seconds, see [`plumb_status::cadence::WATCH_SECONDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Until a connection is established.
    pub connect: Duration,
    /// Until the head of the response to a read, or to the start of a watch.
    pub read: Duration,
    /// Until the head of the response to a write: the server's own limit of 60 seconds has to pass first, so that its
    /// response shows whether the write happened.
    pub write: Duration,
    /// Until the last byte of a response that is not a watch.
    pub body: Duration,
    /// Between two bytes, of a watch too.
    pub silence: Duration,
}

impl Deadlines {
    /// Those of every controller.
    pub const USUAL: Self = Self {
        connect: Duration::from_secs(10),
        read: Duration::from_secs(45),
        write: Duration::from_secs(90),
        body: Duration::from_mins(2),
        silence: Duration::from_secs(100),
    };

    fn head(&self, method: &Method) -> Duration {
        if *method == Method::GET { self.read } else { self.write }
    }
}

/// The error of a response that did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the API server sent no {what} within {limit:?}")]
struct Silent {
    what: &'static str,
    limit: Duration,
}

/// The same client, with a deadline for each response.
pub fn with_deadlines(client: Client, deadlines: Deadlines) -> Client {
    let namespace = client.default_namespace().to_owned();
    let valid_until = client.valid_until().to_owned();
    let service = service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            let is_watch = is_watch(&request);
            let answer = answer(&client, request, deadlines).await?;
            let until = (!is_watch).then(|| Instant::now() + deadlines.body);
            let (head, body) = answer.into_parts();
            let frames = stream::unfold(Some(BodyStream::new(body)), move |body| async move {
                let mut body = body?;
                let frame = match until {
                    Some(until) => tokio::time::timeout_at(until, body.next()).await,
                    None => Ok(body.next().await),
                };
                if let Ok(frame) = frame {
                    frame.map(|frame| (frame.map_err(BoxError::from), Some(body)))
                } else {
                    let late = Silent { what: "end of its answer", limit: deadlines.body };
                    Some((Err(late.into()), None))
                }
            });
            Ok::<_, BoxError>(Response::from_parts(head, StreamBody::new(Box::pin(frames))))
        }
    });
    Client::new(service, namespace).with_valid_until(valid_until)
}

fn is_watch(request: &Request<Body>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"))
}

/// The head of a response, in time.
async fn answer(
    client: &Client,
    request: Request<Body>,
    deadlines: Deadlines,
) -> Result<Response<Body>, BoxError> {
    let limit = deadlines.head(request.method());
    let answer = tokio::time::timeout(limit, client.send(request)).await;
    Ok(answer.map_err(|_| Silent { what: "answer", limit })??)
}

/// A call that ends after [`CALL_TIMEOUT`].
pub async fn call<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    call_within(CALL_TIMEOUT, call).await
}

/// A call that ends after `limit`.
pub async fn call_within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(CallError::Failed),
        Err(_) => Err(CallError::TimedOut { limit }),
    }
}

#[cfg(test)]
mod tests;
