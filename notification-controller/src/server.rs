//! The HTTP server under both endpoints: everything that a stranger can make it hold is bounded. What a request means
//! never enters.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections are open at once; more wait in the kernel.
const CONNECTIONS_MAX: usize = 512;
/// How many bytes all headers of a request may have.
const HEADER_BYTES_MAX: usize = 256 << 10;
/// How long the headers of a request may take, and how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes of bodies are held at once, over all requests.
const BODIES_BYTES_MAX: usize = 64 << 20;
/// How long a request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// How long open requests may go on after the end was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the system refused a connection, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is answered.
pub type Answer = Response<Full<Bytes>>;

/// A request whose body was read.
pub struct Arrived {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The share of the common limit that the body takes, for as long as it is held.
    _share: Share,
}

#[cfg(test)]
impl Arrived {
    /// A request as a test makes it.
    pub fn of(method: Method, path: &str, body: &'static str) -> Self {
        let body = Bytes::from_static(body.as_bytes());
        Self { method, path: path.to_owned(), headers: HeaderMap::new(), body, _share: Share(None) }
    }
}

/// Limits that can differ between endpoints, and in tests.
#[derive(Clone, Copy)]
pub struct Limits {
    /// How many bytes a body may have.
    pub body_bytes_max: usize,
    /// How long the headers may take.
    pub header_timeout: Duration,
    /// How long the body may take.
    pub body_timeout: Duration,
}

impl Limits {
    /// The limits of an endpoint whose bodies may have this many bytes.
    pub const fn of_body(body_bytes_max: usize) -> Self {
        Self { body_bytes_max, header_timeout: HEADER_TIMEOUT, body_timeout: BODY_TIMEOUT }
    }
}

/// Serves until `stop`; then lets open requests end.
pub async fn serve<H, F>(listener: TcpListener, limits: Limits, handle: H, stop: CancellationToken)
where
    H: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let bodies = Arc::new(Semaphore::new(BODIES_BYTES_MAX));
    let tracker = TaskTracker::new();
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => break,
            next = accept(&listener, &connections) => next,
        };
        match next {
            Ok((stream, permit)) => {
                let connection =
                    connection(stream, limits, handle.clone(), Arc::clone(&bodies), stop.clone());
                tracker.spawn(async move {
                    connection.await;
                    drop(permit);
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
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection<H, F>(
    stream: TcpStream,
    limits: Limits,
    handle: H,
    bodies: Arc<Semaphore>,
    stop: CancellationToken,
) where
    H: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let handle = handle.clone();
        let bodies = Arc::clone(&bodies);
        async move {
            let answered =
                tokio::time::timeout(REQUEST_TIMEOUT, respond(request, limits, handle, bodies)).await;
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

async fn respond<H, F>(
    request: Request<Incoming>,
    limits: Limits,
    handle: H,
    bodies: Arc<Semaphore>,
) -> Answer
where
    H: Fn(Arrived) -> F,
    F: Future<Output = Answer>,
{
    let (head, body) = request.into_parts();
    let read =
        tokio::time::timeout(limits.body_timeout, read_body(body, limits.body_bytes_max, bodies)).await;
    match read.unwrap_or(Err(Unread::TooSlow)) {
        Ok((body, share)) => {
            let path = head.uri.path().to_owned();
            handle(Arrived { method: head.method, path, headers: head.headers, body, _share: share }).await
        }
        Err(unread) => unread.answer(limits),
    }
}

/// A share of the bytes that all bodies may have together.
struct Share(Option<OwnedSemaphorePermit>);

impl Share {
    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some(held) => held.merge(permit),
            None => self.0 = Some(permit),
        }
    }
}

enum Unread {
    TooLarge,
    TooSlow,
    Crowded,
    Broken,
}

impl Unread {
    fn answer(&self, limits: Limits) -> Answer {
        let mut answer = match self {
            Self::TooLarge => {
                let text = format!("the body has more than {} bytes", limits.body_bytes_max);
                answer(StatusCode::PAYLOAD_TOO_LARGE, &text)
            }
            Self::TooSlow => answer(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
            Self::Crowded => answer(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once"),
            Self::Broken => answer(StatusCode::BAD_REQUEST, "the body cannot be read"),
        };
        // What was not read must not be taken for the next request.
        answer.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
        answer
    }
}

async fn read_body(mut body: Incoming, max: usize, bodies: Arc<Semaphore>) -> Result<(Bytes, Share), Unread> {
    let announced = body.size_hint().lower();
    if announced > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(Unread::TooLarge);
    }
    let mut bytes = BytesMut::new();
    let mut share = Share(None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unread::Broken)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > max {
            return Err(Unread::TooLarge);
        }
        let count = u32::try_from(data.len()).map_err(|_| Unread::TooLarge)?;
        let permit = Arc::clone(&bodies).try_acquire_many_owned(count).map_err(|_| Unread::Crowded)?;
        share.add(permit);
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), share))
}

#[cfg(test)]
pub(crate) mod local {
    use super::*;

    /// A server on a free port of this machine, and its address.
    pub async fn start<H, F>(limits: Limits, handle: H) -> (String, CancellationToken)
    where
        H: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, limits, handle, stop.clone()));
        (address, stop)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    async fn echo(arrived: Arrived) -> Answer {
        answer(StatusCode::OK, &format!("{} {} {}", arrived.method, arrived.path, arrived.body.len()))
    }

    /// What the server says to these bytes until it closes or is silent for long.
    async fn said(address: &str, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that refuses early may close while we still write.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(SHORT * 10, stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn small() -> Limits {
        Limits { body_bytes_max: 100, header_timeout: SHORT, body_timeout: SHORT }
    }

    #[tokio::test]
    async fn a_request_is_handed_over_with_its_body() {
        let (address, _stop) = local::start(small(), echo).await;
        let said = said(&address, b"POST /a/b?c=d HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi").await;
        assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("POST /a/b 2\n"), "{said}");
    }

    #[tokio::test]
    async fn a_giant_body_is_refused_before_it_is_read() {
        let (address, _stop) = local::start(small(), echo).await;
        let announced = said(&address, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 101\r\n\r\n").await;
        assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
        let mut chunked = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n65\r\n".to_vec();
        chunked.extend_from_slice(&[b'x'; 0x65]);
        chunked.extend_from_slice(b"\r\n0\r\n\r\n");
        let unannounced = said(&address, &chunked).await;
        assert!(unannounced.starts_with("HTTP/1.1 413"), "{unannounced}");
    }

    #[tokio::test]
    async fn headers_and_bodies_that_take_too_long_are_cut_off() {
        let (address, _stop) = local::start(small(), echo).await;
        let headers = said(&address, b"POST / HTTP/1.1\r\nhost:").await;
        assert!(!headers.contains("200"), "{headers}");
        let body = said(&address, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nh").await;
        assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    }

    #[tokio::test]
    async fn headers_beyond_the_limit_are_refused() {
        let (address, _stop) = local::start(small(), echo).await;
        let giant = format!("POST / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(3 * HEADER_BYTES_MAX));
        let said = said(&address, giant.as_bytes()).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    }

    #[tokio::test]
    async fn an_open_request_ends_before_the_server_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let slow = |arrived| async {
            tokio::time::sleep(SHORT).await;
            echo(arrived).await
        };
        let server = tokio::spawn(serve(listener, Limits::of_body(100), slow, stop.clone()));
        let request = tokio::spawn(async move { said(&address, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await });
        tokio::time::sleep(SHORT / 2).await;
        stop.cancel();
        assert!(request.await.unwrap().starts_with("HTTP/1.1 200"));
        server.await.unwrap();
    }
}
