//! The HTTP server under both endpoints: what arrives in a body is bounded and counted, a request has an end. What a
//! request means never enters.

mod body;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use plumb_transport::server::{Limits as ConnectionLimits, Server};

pub use body::BodyAccount;

/// What the clients of one endpoint may hold, bodies aside.
pub const CONNECTIONS: ConnectionLimits = ConnectionLimits::of_connections(512);
/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the next bytes of a body may take.
const BODY_STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

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

/// BodyLimits of bodies, which differ between endpoints, and in tests.
#[derive(Clone, Copy)]
pub struct BodyLimits {
    /// How many bytes a body may have.
    pub bytes_max: usize,
    /// How long the body may take.
    pub timeout: Duration,
    /// How long the next bytes of a body may take.
    pub stall_timeout: Duration,
}

impl BodyLimits {
    /// The limits of an endpoint whose bodies may have this many bytes.
    pub const fn of_body(bytes_max: usize) -> Self {
        Self { bytes_max, timeout: BODY_TIMEOUT, stall_timeout: BODY_STALL_TIMEOUT }
    }
}

/// Serves until the server is stopped; then lets open requests end.
pub async fn serve<E: Endpoint>(server: Server, limits: BodyLimits, endpoint: Arc<E>) {
    let service = move |request: Request<Incoming>, peer: IpAddr| {
        let endpoint = Arc::clone(&endpoint);
        async move {
            let answered = respond(request, peer, limits, endpoint);
            let answered = tokio::time::timeout(REQUEST_TIMEOUT, answered).await;
            answered.unwrap_or_else(|_| answer(StatusCode::SERVICE_UNAVAILABLE, "took too long"))
        }
    };
    server.serve(service).await;
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

async fn respond<E: Endpoint>(
    request: Request<Incoming>,
    peer: IpAddr,
    limits: BodyLimits,
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
    use plumb_transport::server::OnRefused;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

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
    pub async fn start<E: Endpoint>(limits: BodyLimits, endpoint: Arc<E>) -> (String, CancellationToken) {
        start_with(CONNECTIONS, limits, endpoint).await
    }

    /// The same, with other limits of connections.
    pub async fn start_with<E: Endpoint>(
        connections: ConnectionLimits,
        limits: BodyLimits,
        endpoint: Arc<E>,
    ) -> (String, CancellationToken) {
        let (server, address, stop) = server(connections).await;
        tokio::spawn(serve(server, limits, endpoint));
        (address, stop)
    }

    /// A server that nobody runs yet, its address, and what stops it.
    pub async fn server(limits: ConnectionLimits) -> (Server, String, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let on_refused: OnRefused = Arc::new(|_| {});
        (Server { listener, limits, on_refused, stop: stop.clone() }, address, stop)
    }
}
