//! Outages of an API server: every request of a client shows whether it responds. Retries that wait
//! can run as soon as an outage has ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::service_fn;

use crate::BoxError;

/// An API server without a response for a shorter time had no outage: the first pauses after an error are as short.
pub const OUTAGE_MIN: Duration = Duration::from_secs(5);

/// What is known of the outages of one API server. Clones share it.
#[derive(Debug, Clone)]
pub struct Outages(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// How many outages have ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Start of the latest request that got a response.
    responded: Option<Instant>,
    /// Start of the first request without a response after which none got one.
    since: Option<Instant>,
}

/// Notifies of the end of each outage.
#[derive(Debug, Clone)]
pub struct OutageEnds(watch::Receiver<u64>);

impl Default for Outages {
    fn default() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), ended: watch::Sender::new(0) }))
    }
}

impl Outages {
    /// The same client, whose requests are observed.
    pub fn observe(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let valid_until = client.valid_until().to_owned();
        let outages = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let (client, outages) = (client.clone(), outages.clone());
            async move {
                let began = Instant::now();
                let response = client.send(request).await;
                match &response {
                    Ok(response) if !is_away(response) => outages.note_response(began),
                    Ok(_) | Err(_) => outages.note_failure(began),
                }
                response.map_err(BoxError::from)
            }
        });
        Client::new(service, namespace).with_valid_until(valid_until)
    }

    /// Receives the ends of outages from now on.
    pub fn ends(&self) -> OutageEnds {
        OutageEnds(self.0.ended.subscribe())
    }

    fn note_response(&self, began: Instant) {
        let outage = {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.responded = state.responded.max(Some(began));
            state.since.take_if(|since| *since <= began)
        };
        if outage.is_some_and(|since| since.elapsed() >= OUTAGE_MIN) {
            self.0.ended.send_modify(|count| *count += 1);
        }
    }

    fn note_failure(&self, began: Instant) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        // One request of many without a response is no outage.
        if state.responded.is_none_or(|responded| responded <= began) {
            state.since.get_or_insert(began);
        }
    }
}

/// Whether the response comes from a proxy for an unavailable API server, rather than from the server.
fn is_away(response: &Response<Body>) -> bool {
    let codes = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    codes.contains(&response.status())
}

impl OutageEnds {
    /// Resolves when an outage has ended that was not returned yet; never after the observer was dropped.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};

    use futures_util::FutureExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::ListParams;
    use plumb_testkit::scenario::{Response, Scenario};
    use serde_json::json;

    use super::*;

    /// An API server whose responses have the status code in `code`.
    struct Fixture {
        _api: Scenario,
        maps: Api<ConfigMap>,
        code: Arc<AtomicU16>,
        ends: OutageEnds,
    }

    impl Fixture {
        fn new() -> Self {
            let (api, code) = (Scenario::new(), Arc::new(AtomicU16::new(200)));
            let responded = Arc::clone(&code);
            let list = json!({
                "apiVersion": "v1", "kind": "ConfigMapList", "metadata": { "resourceVersion": "7" }, "items": [],
            });
            let response = move |_: &_| match responded.load(Ordering::SeqCst) {
                200 => Response::ok(list.clone()),
                code => Response::status(code, "InternalError", "broken"),
            };
            api.on("GET", "/api/v1/namespaces/apps/configmaps", Response::with(response));
            let outages = Outages::default();
            let maps = Api::namespaced(outages.observe(api.client()), "apps");
            Self { _api: api, maps, code, ends: outages.ends() }
        }

        async fn send_request(&self, code: u16) {
            self.code.store(code, Ordering::SeqCst);
            let response = self.maps.list(&ListParams::default()).await;
            assert_eq!(response.is_ok(), code == 200);
        }

        fn has_ended(&mut self) -> bool {
            self.ends.next().now_or_never().is_some()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_outage_is_reported_once() {
        let mut fixture = Fixture::new();
        fixture.send_request(200).await;
        fixture.send_request(503).await;
        tokio::time::sleep(OUTAGE_MIN).await;
        fixture.send_request(504).await;
        assert!(!fixture.has_ended(), "it continues");
        fixture.send_request(200).await;
        assert!(fixture.has_ended());
        fixture.send_request(200).await;
        assert!(!fixture.has_ended(), "already reported");
    }

    #[tokio::test(start_paused = true)]
    async fn short_failures_and_error_responses_are_no_outage() {
        let mut fixture = Fixture::new();
        for code in [503, 200, 403, 500, 429] {
            fixture.send_request(code).await;
            tokio::time::sleep(OUTAGE_MIN / 2).await;
        }
        fixture.send_request(200).await;
        assert!(!fixture.has_ended());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_fails_while_others_get_responses_is_no_outage() {
        let outages = Outages::default();
        let mut ends = outages.ends();
        let began = Instant::now();
        tokio::time::sleep(OUTAGE_MIN).await;
        outages.note_response(Instant::now());
        outages.note_failure(began);
        tokio::time::sleep(OUTAGE_MIN).await;
        outages.note_response(Instant::now());
        assert!(ends.next().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_to_a_request_from_before_the_outage_does_not_end_it() {
        let outages = Outages::default();
        let mut ends = outages.ends();
        let early = Instant::now();
        tokio::time::sleep(OUTAGE_MIN).await;
        outages.note_failure(Instant::now());
        tokio::time::sleep(OUTAGE_MIN).await;
        outages.note_response(early);
        assert!(ends.next().now_or_never().is_none());
        outages.note_response(Instant::now());
        assert!(ends.next().now_or_never().is_some());
    }
}
