//! How many requests a second a client sends to the API server. By default there is no limit: the server's own priority and fairness
//! protects it. Which requests are counted is up to whoever applies the limit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::client::Body;
use tokio::time::Instant;
use tower::service_fn;

use crate::BoxError;

/// A bucket of requests: it is full at the start and fills at a constant rate; a request takes one out, or waits for it. Clones share
/// it.
#[derive(Clone, Debug)]
pub struct RateLimit(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Less than zero: so many requests wait.
    left: f64,
    at: Instant,
}

impl RateLimit {
    /// `per_second` requests a second, more than zero, and `burst` at once, at least one.
    pub fn new(per_second: f64, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        let state = Mutex::new(State { left: burst, at: Instant::now() });
        Self(Arc::new(Bucket { per_second, burst, state }))
    }

    /// The same client, whose requests wait for their turn, a watch once.
    pub fn apply(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let valid_until = client.valid_until().to_owned();
        let limit = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let (client, wait) = (client.clone(), limit.take());
            async move {
                tokio::time::sleep(wait).await;
                client.send(request).await.map_err(BoxError::from)
            }
        });
        Client::new(service, namespace).with_valid_until(valid_until)
    }

    /// Takes a request out of the bucket; how long it has to wait.
    fn take(&self) -> Duration {
        let Bucket { per_second, burst, state } = self.0.as_ref();
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let filled = now.saturating_duration_since(state.at).as_secs_f64() * per_second;
        state.left = (state.left + filled).min(*burst) - 1.0;
        state.at = now;
        Duration::try_from_secs_f64((-state.left / per_second).max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use plumb_testkit::scenario::{Response, Scenario};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_others_at_the_rate() {
        let limit = RateLimit::new(10.0, 3);
        let waits: Vec<u128> = (0..5).map(|_| limit.take().as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200]);
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(limit.take(), Duration::ZERO, "those that waited have gone, and one more has come");
        tokio::time::advance(Duration::from_hours(1)).await;
        let waits: Vec<u128> = (0..4).map(|_| limit.take().as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100], "no more than the burst is saved up");
    }

    #[tokio::test]
    async fn a_client_sends_its_requests_at_the_rate() {
        let api = Scenario::new();
        api.on("GET", "/api/v1/namespaces/default/configmaps/*", Response::not_found());
        let maps: Api<ConfigMap> = Api::namespaced(RateLimit::new(1000.0, 1).apply(api.client()), "default");
        let began = Instant::now();
        for _ in 0..20 {
            assert!(maps.get("a").await.is_err());
        }
        assert_eq!(api.calls().len(), 20);
        assert!(began.elapsed() >= Duration::from_millis(19), "19 of 20 wait for a millisecond each");
    }
}
