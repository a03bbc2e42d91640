//! The HTTP server under both endpoints: everything that a stranger can make it hold is bounded. What a request means
//! never enters.

mod body;
mod peers;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use peers::Peers;

pub use body::BodyAccount;

/// How many connections are open at once; more wait in the kernel.
const CONNECTIONS_MAX: usize = 512;
/// How many connections of one address are open at once; further ones are closed.
const CONNECTIONS_PER_PEER_MAX: usize = 256;
/// How many bytes all headers of a request may have.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// How long the headers of a request may take, and how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the next bytes of a body may take.
const BODY_STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// How long open requests may go on after the end was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the system refused a connection, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is answered.
pub type Answer = Response<Full<Bytes>>;

/// What a server is for.
pub trait Endpoint: Send + Sync + 'static {
    /// What the bytes of a body to this path are counted in, before the first of them is read.
    fn account(&self, path: &str, peer: IpAddr) -> Box<dyn BodyAccount>;

    /// Answers a request.
    fn take(self: Arc<Self>, arrived: Arrived) -> impl Future<Output = Answer> + Send;
}

/// A request whose body was read.
pub struct Arrived {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; empty where its account does not keep it.
    pub body: Bytes,
    /// What the bytes of the body are counted in, for as long as they are held.
    pub account: Box<dyn BodyAccount>,
}

/// Limits that can differ between endpoints, and in tests.
#[derive(Clone, Copy)]
pub struct Limits {
    /// How many connections are open at once.
    pub connections_max: usize,
    /// How many of them are of one address.
    pub connections_per_peer_max: usize,
    /// How many bytes a body may have.
    pub body_bytes_max: usize,
    /// How long the headers may take.
    pub header_timeout: Duration,
    /// How long the body may take.
    pub body_timeout: Duration,
    /// How long the next bytes of a body may take.
    pub body_stall_timeout: Duration,
}

impl Limits {
    /// The limits of an endpoint whose bodies may have this many bytes.
    pub const fn of_body(body_bytes_max: usize) -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_peer_max: CONNECTIONS_PER_PEER_MAX,
            body_bytes_max,
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            body_stall_timeout: BODY_STALL_TIMEOUT,
        }
    }
}

/// Serves until `stop`; then lets open requests end.
pub async fn serve<E: Endpoint>(
    listener: TcpListener,
    limits: Limits,
    endpoint: Arc<E>,
    stop: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let peers = Peers::new(limits.connections_per_peer_max);
    let tracker = TaskTracker::new();
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => break,
            next = accept(&listener, &connections) => next,
        };
        match next {
            Ok((stream, peer, permit)) => {
                let Some(place) = peers.enter(peer) else {
                    tracing::debug!(%peer, "connection closed: too many of this address");
                    continue;
                };
                let connection = connection(stream, peer, limits, Arc::clone(&endpoint), stop.clone());
                tracker.spawn(async move {
                    connection.await;
                    drop((permit, place));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    tracker.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, tracker.wait()).await.is_err() {
        tracing::warn!(open = tracker.len(), "requests were cut off at the end");
    }
}

/// An answer with a line of text.
pub fn answer(status: StatusCode, text: &str) -> Answer {
    let body = if text.is_empty() { Bytes::new() } else { Bytes::from(format!("{text}\n")) };
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    if !text.is_empty() {
        let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    }
    answer
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address.ip().to_canonical(), permit))
}

async fn connection<E: Endpoint>(
    stream: TcpStream,
    peer: IpAddr,
    limits: Limits,
    endpoint: Arc<E>,
    stop: CancellationToken,
) {
    let service = service_fn(move |request| {
        let endpoint = Arc::clone(&endpoint);
        async move {
            let answered =
                tokio::time::timeout(REQUEST_TIMEOUT, respond(request, peer, limits, endpoint)).await;
            Ok::<_, Infallible>(
                answered.unwrap_or_else(|_| answer(StatusCode::SERVICE_UNAVAILABLE, "took too long")),
            )
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

async fn respond<E: Endpoint>(
    request: Request<Incoming>,
    peer: IpAddr,
    limits: Limits,
    endpoint: Arc<E>,
) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let account = endpoint.account(&path, peer);
    match body::read(body, limits, account).await {
        Ok((body, account)) => {
            endpoint.take(Arrived { method: head.method, path, headers: head.headers, body, account }).await
        }
        Err(unread) => unread.answer(limits),
    }
}

#[cfg(test)]
pub(crate) mod local {
    use super::*;

    /// An account without a limit.
    pub struct Unlimited;

    impl BodyAccount for Unlimited {
        fn try_grow(&mut self, _: u64) -> bool {
            true
        }
    }

    /// An endpoint that is a function.
    pub struct Function<H>(pub H);

    impl<H, F> Endpoint for Function<H>
    where
        H: Fn(Arrived) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        fn account(&self, _: &str, _: IpAddr) -> Box<dyn BodyAccount> {
            Box::new(Unlimited)
        }

        async fn take(self: Arc<Self>, arrived: Arrived) -> Answer {
            (self.0)(arrived).await
        }
    }

    impl Arrived {
        /// A request as a test makes it.
        pub fn of(method: Method, path: &str, body: impl Into<Bytes>) -> Self {
            let (path, headers) = (path.to_owned(), HeaderMap::new());
            Self { method, path, headers, body: body.into(), account: Box::new(Unlimited) }
        }
    }

    /// A server on a free port of this machine, and its address.
    pub async fn start<E: Endpoint>(limits: Limits, endpoint: Arc<E>) -> (String, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, limits, endpoint, stop.clone()));
        (address, stop)
    }
}
