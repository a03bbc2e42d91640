//! Probes and metrics, each on its own address. Nothing that could change or profile the process is served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// What keeps the process from being ready. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, bool>>>);

/// One thing that must be done before the process is ready.
#[derive(Debug, Clone)]
pub struct Gate {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// A gate that is closed.
    pub fn gate(&self, name: &'static str) -> Gate {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, false);
        Gate { name, readiness: self.clone() }
    }

    /// The gates that are closed.
    pub fn closed(&self) -> Vec<&'static str> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.iter().filter(|(_, open)| !**open).map(|(name, _)| *name).collect()
    }
}

impl Gate {
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

/// Serves the probes until the task ends.
pub async fn serve_probes(listener: TcpListener, readiness: Readiness) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .with_state(readiness);
    axum::serve(listener, router).await
}

/// Serves the metrics until the task ends.
pub async fn serve_metrics(listener: TcpListener, metrics: Metrics) -> std::io::Result<()> {
    let router = Router::new().route("/metrics", get(render)).with_state(metrics);
    axum::serve(listener, router).await
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
    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn the_process_is_alive_before_it_is_ready() {
        let readiness = Readiness::default();
        let gate = readiness.gate("storage");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_probes(listener, readiness));
        assert_eq!(get(address, "/healthz").await, (200, "ok".into()));
        assert_eq!(get(address, "/readyz").await, (503, "not ready: storage".into()));
        gate.open();
        assert_eq!(get(address, "/readyz").await, (200, "ok".into()));
        assert_eq!(get(address, "/debug/pprof/").await.0, 404);
    }

    #[tokio::test]
    async fn metrics_are_served_as_text() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_metrics(listener, Metrics::default()));
        let (code, text) = get(address, "/metrics").await;
        assert!(code == 200 && text.ends_with("# EOF\n"), "{text}");
    }

    #[tokio::test]
    async fn nothing_that_profiles_or_lists_is_served() {
        let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (probes, metrics) = (bind().await, bind().await);
        let addresses = [probes.local_addr().unwrap(), metrics.local_addr().unwrap()];
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
}
