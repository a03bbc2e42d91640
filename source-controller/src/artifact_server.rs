//! The server of artifacts. Whoever reaches it may ask, so what one client can make it hold is bounded: connections in all
//! and of one address, the time that a request takes to arrive, and the time that a client may read nothing of an answer.

use std::{
    collections::BTreeMap,
    future::Future as _,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Sleep,
};
use tower::ServiceExt as _;

/// How many connections are open at once; more wait in the kernel.
const CONNECTIONS_MAX: usize = 1024;
/// How many connections of one address are open at once; further ones are closed.
const CONNECTIONS_PER_PEER_MAX: usize = 256;
/// How many bytes all headers of a request may have.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// How long the headers of a request may take, and how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take nothing of an answer.
const SEND_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after the system refused a connection, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What clients may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    connections_max: usize,
    connections_per_peer_max: usize,
    header_timeout: Duration,
    send_stall_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_peer_max: CONNECTIONS_PER_PEER_MAX,
            header_timeout: HEADER_TIMEOUT,
            send_stall_timeout: SEND_STALL_TIMEOUT,
        }
    }
}

/// Serves until the task ends.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits) -> io::Result<()> {
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let peers = Peers::default();
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = address.ip().to_canonical();
        let Some(place) = peers.enter(peer, limits.connections_per_peer_max) else {
            tracing::debug!(%peer, "connection closed: too many of this address");
            continue;
        };
        let connection = connection(stream, router.clone(), limits);
        tokio::spawn(async move {
            connection.await;
            drop((permit, place));
        });
    }
}

async fn connection(stream: TcpStream, router: Router, limits: Limits) {
    let service =
        service_fn(move |request: Request<Incoming>| router.clone().oneshot(request.map(Body::new)));
    let stream = NeverStalled::new(stream, limits.send_stall_timeout);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection closed");
    }
}

/// How many connections each address has open.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One connection among those of its address; given back when it is dropped.
struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    fn enter(&self, peer: IpAddr, max: usize) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

/// A connection whose writes fail once the other side has taken nothing for a while.
struct NeverStalled {
    stream: TcpStream,
    timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl NeverStalled {
    fn new(stream: TcpStream, timeout: Duration) -> Self {
        Self { stream, timeout, stalled: None }
    }

    /// Passes on what a write came to; one that waits too long is an error.
    fn bound<T>(&mut self, context: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let timeout = self.timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for NeverStalled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for NeverStalled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bound(context, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.bound(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;

    /// More than the buffers of both sides hold.
    const LARGE_BYTES: usize = 64 << 20;

    async fn start(limits: Limits) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/small", get(async || "artifact"))
            .route("/large", get(async || vec![0u8; LARGE_BYTES]));
        tokio::spawn(serve(listener, router, limits));
        address
    }

    async fn ask(stream: &mut TcpStream, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }

    async fn answered(mut stream: TcpStream) -> String {
        ask(&mut stream, "/small").await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn ended(mut stream: TcpStream) -> bool {
        let mut byte = [0];
        matches!(stream.read(&mut byte).await, Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn clients_that_send_no_request_are_cut_off_and_the_next_is_served() {
        let limits =
            Limits { connections_max: 3, header_timeout: Duration::from_millis(50), ..Limits::default() };
        let address = start(limits).await;
        let silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /small HT").await.unwrap();
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let waits = TcpStream::connect(address).await.unwrap();
        assert!(answered(waits).await.ends_with("artifact"));
        assert!(ended(silent).await && ended(slow).await);
        let mut text = String::new();
        idle.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("artifact"), "{text}");
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_cut_off_and_the_next_is_served() {
        let limits =
            Limits { connections_max: 1, send_stall_timeout: Duration::from_millis(50), ..Limits::default() };
        let address = start(limits).await;
        let mut greedy = TcpStream::connect(address).await.unwrap();
        ask(&mut greedy, "/large").await;
        let waits = TcpStream::connect(address).await.unwrap();
        assert!(answered(waits).await.ends_with("artifact"));
        let mut whole = Vec::new();
        let _ = greedy.read_to_end(&mut whole).await;
        assert!(whole.len() < LARGE_BYTES, "{}", whole.len());
    }

    #[tokio::test]
    async fn one_address_holds_no_more_than_its_share() {
        let address = start(Limits { connections_per_peer_max: 1, ..Limits::default() }).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET /small HT").await.unwrap();
        assert!(ended(TcpStream::connect(address).await.unwrap()).await);
        let other = TcpSocket::new_v4().unwrap();
        other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        assert!(answered(other.connect(address).await.unwrap()).await.ends_with("artifact"));
        first.write_all(b"TP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        first.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("artifact"), "{text}");
    }
}
