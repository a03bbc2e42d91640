//! The HTTP server of every port. Every client that reaches a port may connect, so what it can use up is bounded:
//! connections in all and of one address, the bytes and the time of the headers, the time of a whole request, and the
//! time that a client may take nothing of a response. What a request means never enters.

mod peers;
mod stall;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use peers::{Peers, Place};
use stall::NeverStalled;

/// How many bytes all headers of a request may have.
pub const HEADER_BYTES_MAX: usize = 64 << 10;
/// How long the headers of a request may take, and how long a connection may be idle.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take nothing of a response.
pub const SEND_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests may continue after the shutdown was requested.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the system rejected a connection, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the clients of one port may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many connections are open at once; more wait in the kernel.
    pub connections_max: usize,
    /// How many of them are of one address; further ones are closed.
    pub connections_per_peer_max: usize,
    /// How many bytes all headers of a request may have; at least 8 KiB.
    pub header_bytes_max: usize,
    /// How long the headers of a request may take, and how long a connection may be idle.
    pub header_timeout: Duration,
    /// How long a client may take nothing of a response.
    pub send_stall_timeout: Duration,
}

impl Limits {
    /// The usual limits with so many connections, of which half may be of one address.
    pub const fn of_connections(connections_max: usize) -> Self {
        Self {
            connections_max,
            connections_per_peer_max: connections_max / 2,
            header_bytes_max: HEADER_BYTES_MAX,
            header_timeout: HEADER_TIMEOUT,
            send_stall_timeout: SEND_STALL_TIMEOUT,
        }
    }
}

/// Why a connection was closed before its client had its whole response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// Its address has too many connections already.
    Connections,
    /// Its headers were too large, or no HTTP.
    Headers,
    /// It took nothing of its response.
    Stalled,
}

impl Refused {
    /// The value of a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Headers => "headers",
            Self::Stalled => "stalled",
        }
    }

    /// What a connection ended by. None where its client went, or was idle.
    fn of(error: &hyper::Error) -> Option<Self> {
        let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        if error.is_parse() {
            Some(Self::Headers)
        } else if source.is_some_and(|source| source.kind() == std::io::ErrorKind::TimedOut) {
            Some(Self::Stalled)
        } else {
            None
        }
    }
}

/// Called for each connection that was rejected or closed early.
pub type OnRefused = Arc<dyn Fn(Refused) + Send + Sync>;

/// One port: where it listens, what its clients may hold, what is called for rejections, and when it ends.
pub struct Server {
    /// Where clients connect.
    pub listener: TcpListener,
    /// What they may hold.
    pub limits: Limits,
    /// Called for each rejection.
    pub on_refused: OnRefused,
    /// Cancelled when the server is to end. Requests that are open then may continue for five seconds.
    pub stop: CancellationToken,
}

/// Where a request came from: an extension of the requests that a router gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

impl Server {
    /// Responds to every request by the router.
    pub async fn serve_router(self, router: Router) {
        let service = move |mut request: Request<Incoming>, peer: IpAddr| {
            request.extensions_mut().insert(PeerAddress(peer));
            let response = router.clone().oneshot(request.map(axum::body::Body::new));
            async move {
                match response.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        };
        self.serve(service).await;
    }

    /// Responds to every request with what `service` makes of it and of the address that it came from.
    pub async fn serve<S, F, B>(self, service: S)
    where
        S: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let connections = Arc::new(Semaphore::new(self.limits.connections_max));
        let peers = Peers::new(self.limits.connections_per_peer_max);
        let tracker = TaskTracker::new();
        loop {
            let next = tokio::select! {
                () = self.stop.cancelled() => break,
                next = accept(&self.listener, &connections) => next,
            };
            let (stream, peer, permit) = match next {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = peers.enter(peer) else {
                tracing::debug!(%peer, "connection closed: too many connections from this address");
                (self.on_refused)(Refused::Connections);
                continue;
            };
            let held = Held { _permit: permit, _place: place };
            let (limits, stop) = (self.limits, self.stop.clone());
            let (service, on_refused) = (service.clone(), Arc::clone(&self.on_refused));
            tracker.spawn(async move {
                if let Err(error) = connection(stream, peer, limits, service, stop).await {
                    tracing::debug!(%error, "connection failed");
                    if let Some(refused) = Refused::of(&error) {
                        on_refused(refused);
                    }
                }
                drop(held);
            });
        }
        tracker.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, tracker.wait()).await.is_err() {
            tracing::warn!(open = tracker.len(), "shutdown timed out, requests aborted");
        }
    }
}

/// The place of one connection, until it is dropped.
struct Held {
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address.ip().to_canonical(), permit))
}

async fn connection<S, F, B>(
    stream: TcpStream,
    peer: IpAddr,
    limits: Limits,
    service: S,
    stop: CancellationToken,
) -> Result<(), hyper::Error>
where
    S: Fn(Request<Incoming>, IpAddr) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let response = service(request, peer);
        async { Ok::<_, Infallible>(response.await) }
    });
    let stream = NeverStalled::new(stream, limits.send_stall_timeout);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes_max);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
