//! Probes and metrics, each on its own address. Nothing that could change or profile the process is served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use plumb_transport::server::{Limits, Server};

use crate::metrics::Metrics;

/// What keeps the process from being ready. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, bool>>>);

/// One thing that must be done before the process is ready.
#[derive(Debug, Clone)]
pub struct ReadinessGate {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// A gate that is closed.
    pub fn gate(&self, name: &'static str) -> ReadinessGate {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, false);
        ReadinessGate { name, readiness: self.clone() }
    }

    /// The gates that are closed.
    pub fn closed(&self) -> Vec<&'static str> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.iter().filter(|(_, open)| !**open).map(|(name, _)| *name).collect()
    }
}

impl ReadinessGate {
    /// It is done.
    pub fn open(&self) {
        self.set(true);
    }

    /// It does not hold any more: the process is not ready until the gate is opened again.
    pub fn close(&self) {
        self.set(false);
    }

    fn set(&self, open: bool) {
        self.readiness.0.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name, open);
    }
}

/// What the clients of the probes, and those of the metrics, may hold.
pub const LIMITS: Limits = Limits::of_connections(64);

/// Serves the probes until the server is stopped.
pub async fn serve_probes(server: Server, readiness: Readiness) {
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .with_state(readiness);
    server.serve_router(router).await;
}

/// Serves the metrics until the server is stopped.
pub async fn serve_metrics(server: Server, metrics: Metrics) {
    let router = Router::new().route("/metrics", get(render)).with_state(metrics);
    server.serve_router(router).await;
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    match readiness.closed().as_slice() {
        [] => (StatusCode::OK, "ok".into()),
        closed => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}", closed.join(", "))),
    }
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.render())
}

#[cfg(test)]
mod tests {
    use plumb_transport::{ClientConfig, HttpClient, HttpRequest};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;
    use url::Url;

    use super::*;

    /// A server with room for so many connections, and its address.
    async fn server(connections_max: usize) -> (Server, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { connections_max, ..LIMITS };
        let (on_refused, stop) = (Arc::new(|_| {}), CancellationToken::new());
        (Server { listener, limits, on_refused, stop }, address)
    }

    async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
        let url = Url::parse(&format!("http://{address}{path}")).unwrap();
        let client = HttpClient::new(ClientConfig::default()).unwrap();
        let answer = client.send(HttpRequest::get(url)).await.unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8(answer.excerpt(usize::MAX).await.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn the_process_is_alive_before_it_is_ready() {
        let readiness = Readiness::default();
        let gate = readiness.gate("storage");
        let (server, address) = server(2).await;
        tokio::spawn(serve_probes(server, readiness));
        assert_eq!(get(address, "/healthz").await, (200, "ok".into()));
        assert_eq!(get(address, "/readyz").await, (503, "not ready: storage".into()));
        gate.open();
        assert_eq!(get(address, "/readyz").await, (200, "ok".into()));
        assert_eq!(get(address, "/debug/pprof/").await.0, 404);
    }

    #[tokio::test]
    async fn metrics_are_served_as_text() {
        let (server, address) = server(2).await;
        tokio::spawn(serve_metrics(server, Metrics::default()));
        let (code, text) = get(address, "/metrics").await;
        assert!(code == 200 && text.ends_with("# EOF\n"), "{text}");
    }

    #[tokio::test]
    async fn nothing_that_profiles_or_lists_is_served() {
        let ((probes, first), (metrics, second)) = (server(2).await, server(2).await);
        let addresses = [first, second];
        tokio::spawn(serve_probes(probes, Readiness::default()));
        tokio::spawn(serve_metrics(metrics, Metrics::default()));
        for address in addresses {
            for path in [
                "/",
                "/debug",
                "/debug/pprof/",
                "/debug/pprof/heap",
                "/debug/vars",
                "/config",
                "/metrics/../",
            ] {
                assert_eq!(get(address, path).await.0, 404, "{path}");
            }
        }
    }

    /// Whoever reaches a port can hold no more than its share of the connections.
    #[tokio::test]
    async fn an_address_that_opens_many_connections_does_not_hold_the_probes() {
        let (server, address) = server(LIMITS.connections_max).await;
        tokio::spawn(serve_probes(server, Readiness::default()));
        let mut held = Vec::new();
        for _ in 0..LIMITS.connections_per_peer_max {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        let mut further = TcpStream::connect(address).await.unwrap();
        assert_eq!(further.read(&mut [0]).await.unwrap(), 0, "it is closed at once");
    }
}
