//! A receiver of alerts and events: a server that records every request, and sends the configured response.

use std::{
    net::SocketAddr,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use axum::{Router, body::Bytes, extract::State, response::IntoResponse};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;

use crate::{server::Server, wait::Wait};

/// Polling interval of a waiting test.
const POLL: Duration = Duration::from_millis(10);

/// What arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: String,
    /// The path and the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, unchanged.
    pub raw: Vec<u8>,
    /// The body as JSON; null if it is none.
    pub body: Value,
}

impl Received {
    /// A string of the JSON body, by JSON pointer; empty if it is not there.
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// The response of the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// With this status code.
    Respond(u16),
    /// Never: the connection stays open.
    Hang,
}

struct Shared {
    received: Vec<Received>,
    behaviour: Behaviour,
}

/// A running sink; it stops when dropped.
pub struct Sink {
    server: Server,
    shared: Arc<Mutex<Shared>>,
}

impl Sink {
    /// Starts on a free port and responds with 200.
    pub fn start() -> Result<Self> {
        let shared =
            Arc::new(Mutex::new(Shared { received: Vec::new(), behaviour: Behaviour::Respond(200) }));
        let router = Router::new().fallback(receive).with_state(shared.clone());
        Ok(Self { server: Server::start(router, None)?, shared })
    }

    /// `http://127.0.0.1:<port>`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From now on, sends this response.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).behaviour = behaviour;
    }

    /// Everything that arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).received.clone()
    }

    /// The first request that fits, as soon as it is there; blocks a thread at most this long.
    pub fn wait_for(&self, limit: Duration, fits: impl Fn(&Received) -> bool) -> Option<Received> {
        let arrived = Wait::until("a request has arrived", limit).every(POLL).poll_blocking(|| {
            let found = self.received().into_iter().find(&fits);
            Ok(found.map_or(ControlFlow::Continue(()), ControlFlow::Break))
        });
        // The probe cannot fail: an error is the end of the time.
        arrived.ok()
    }
}

async fn receive(
    State(shared): State<Arc<Mutex<Shared>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    raw: Bytes,
) -> impl IntoResponse {
    let behaviour = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let body = serde_json::from_slice(&raw).unwrap_or(Value::Null);
        let path = uri.to_string();
        shared.received.push(Received { method: method.to_string(), path, headers, raw: raw.to_vec(), body });
        shared.behaviour
    };
    match behaviour {
        Behaviour::Respond(code) => StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Behaviour::Hang => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn requests_are_recorded_and_get_the_configured_responses() {
        let sink = Sink::start().unwrap();
        let reply =
            wire::post(sink.address(), "/hook?a=b", &[("X-Kind", "test")], br#"{"reason": "R"}"#).unwrap();
        assert_eq!(reply.code, 200);
        sink.behave(Behaviour::Respond(503));
        assert_eq!(wire::get(sink.address(), "/").unwrap().code, 503);
        let first = sink.wait_for(Duration::from_secs(1), |one| one.method == "POST").unwrap();
        assert_eq!((first.path.as_str(), first.text("/reason")), ("/hook?a=b", "R"));
        assert_eq!(first.headers["x-kind"], "test");
    }
}
