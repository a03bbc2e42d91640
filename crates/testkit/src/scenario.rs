//! A mock API server for scenario tests (T1): it records every call of a `kube::Client` and sends scripted responses.
//! It has no semantics of Kubernetes (no defaults, no ownership, no watch cache): tests that need those use a plane.

mod discovery;
pub(crate) mod pattern;
mod response;

pub use discovery::ServedKind;
pub use response::{Feed, Response};

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::body::Body;
use http::Request;
use pattern::Pattern;
use serde_json::Value;
use tower::service_fn;

use crate::server::Server;

/// The largest body that is read over TCP, in bytes.
const BODY_MAX: usize = 64 << 20;

/// The script and the record of one mock API server. Clones share both.
///
/// ```
/// use plumb_testkit::scenario::{Response, Scenario};
/// use serde_json::json;
///
/// let api = Scenario::new();
/// api.on("GET", "/api/v1/namespaces/apps/configmaps/settings", Response::ok(json!({
///     "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "apps"},
/// })));
/// api.once("PATCH", "/api/v1/namespaces/apps/configmaps/*", Response::conflict("modified"));
/// // let client = api.client();   // inside a tokio runtime
/// assert!(api.calls().is_empty());
/// ```
#[derive(Clone, Default)]
pub struct Scenario(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    once: VecDeque<(Pattern, Response)>,
    permanent: Vec<(Pattern, Response)>,
    calls: Vec<Call>,
    unscripted: Vec<String>,
}

/// A mock API server that listens; it stops when dropped.
pub struct Listening(Server);

impl Listening {
    /// `http://127.0.0.1:<port>`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address())
    }
}

/// One request that reached the mock API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query as sent, without `?`; empty if there is none.
    pub query: String,
    /// The content type; empty if there is none.
    pub content_type: String,
    /// The body, if it is JSON; else null.
    pub body: Value,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Call {
    /// The value of a parameter of the query, not decoded.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, v)| v)
    }
}

impl Scenario {
    /// An API server without a script: requests that are not scripted get a 501 and are noted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends this response to every matching call from now on. Of several that match, the newest is used.
    /// In `path`, `*` matches one segment, and at the end the rest; the query is ignored.
    pub fn on(&self, method: &str, path: &str, response: Response) -> &Self {
        self.state().permanent.push((Pattern::new(method, path), response));
        self
    }

    /// Sends this response to the first matching call, once, before any permanent response; several are used up in order.
    pub fn once(&self, method: &str, path: &str, response: Response) -> &Self {
        self.state().once.push_back((Pattern::new(method, path), response));
        self
    }

    /// A client of this API server. Its default namespace is `default`. Needs a tokio runtime.
    pub fn client(&self) -> kube::Client {
        let scenario = self.clone();
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let scenario = scenario.clone();
            async move { Ok::<_, Infallible>(scenario.serve(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Every call so far, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// `METHOD path` of every call so far, without watches.
    pub fn lines(&self) -> Vec<String> {
        let watches = |call: &Call| call.parameter("watch").is_some();
        self.state().calls.iter().filter(|call| !watches(call)).map(ToString::to_string).collect()
    }

    /// The calls that match, as [`Scenario::on`] would match them.
    pub fn matching(&self, method: &str, path: &str) -> Vec<Call> {
        let pattern = Pattern::new(method, path);
        self.state().calls.iter().filter(|call| pattern.fits(&call.method, &call.path)).cloned().collect()
    }

    /// `METHOD path` of every call that nothing in the script fitted. A good last line of a test asserts that it is empty.
    pub fn unscripted(&self) -> Vec<String> {
        self.state().unscripted.clone()
    }

    /// Drops the recorded calls, and keeps the script.
    pub fn forget_calls(&self) {
        self.state().calls.clear();
    }

    /// Serves the script over TCP, on a free port of 127.0.0.1, until the returned value is dropped.
    pub fn listen(&self) -> anyhow::Result<Listening> {
        let scenario = self.clone();
        let router = axum::Router::new().fallback(move |request: Request<Body>| {
            let scenario = scenario.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, BODY_MAX).await.unwrap_or_default();
                scenario.serve(Request::from_parts(head, body.to_vec().into())).await
            }
        });
        Ok(Listening(Server::start(router, None)?))
    }

    async fn serve(self, request: Request<kube::client::Body>) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap_or_default();
        let content_type = head.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let call = Call {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        };
        self.choose(&call).respond(&call).await
    }

    fn choose(&self, call: &Call) -> Response {
        let mut state = self.state();
        state.calls.push(call.clone());
        if let Some(at) = state.once.iter().position(|(pattern, _)| pattern.fits(&call.method, &call.path))
            && let Some((_, response)) = state.once.remove(at)
        {
            return response;
        }
        let permanent =
            state.permanent.iter().rev().find(|(pattern, _)| pattern.fits(&call.method, &call.path));
        if let Some((_, response)) = permanent {
            return response.clone();
        }
        state.unscripted.push(call.to_string());
        Response::status(501, "NotImplemented", &format!("the scenario has no response to {call}"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{Patch, PatchParams, WatchEvent, WatchParams},
    };
    use serde_json::json;

    use super::*;

    fn settings() -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "apps", "resourceVersion": "7"}})
    }

    #[tokio::test]
    async fn calls_are_recorded_and_get_scripted_responses() {
        let api = Scenario::new();
        api.on("*", "/api/v1/namespaces/*/configmaps/settings", Response::ok(settings()));
        api.once("PATCH", "/api/v1/namespaces/apps/configmaps/*", Response::conflict("modified meanwhile"));
        let maps: Api<ConfigMap> = Api::namespaced(api.client(), "apps");
        let patch = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}));
        let rejected = maps.patch("settings", &PatchParams::apply("tester"), &patch).await.unwrap_err();
        assert!(matches!(rejected, kube::Error::Api(status) if status.code == 409));
        maps.patch("settings", &PatchParams::apply("tester"), &patch).await.unwrap();
        assert_eq!(maps.get("settings").await.unwrap().metadata.resource_version.as_deref(), Some("7"));
        let at = "/api/v1/namespaces/apps/configmaps/settings";
        assert_eq!(api.lines(), [format!("PATCH {at}"), format!("PATCH {at}"), format!("GET {at}")]);
        assert_eq!(api.calls()[0].parameter("fieldManager"), Some("tester"));
        assert_eq!(api.calls()[0].body["data"], json!({"a": "b"}));
        assert!(api.unscripted().is_empty());
    }

    #[tokio::test]
    async fn an_unscripted_request_gets_501_and_is_noted() {
        let api = Scenario::new();
        let maps: Api<ConfigMap> = Api::namespaced(api.client(), "apps");
        assert!(matches!(maps.get("x").await, Err(kube::Error::Api(status)) if status.code == 501));
        assert_eq!(api.unscripted(), ["GET /api/v1/namespaces/apps/configmaps/x"]);
    }

    #[tokio::test]
    async fn a_feed_streams_watch_events_as_they_are_sent() {
        let api = Scenario::new();
        let (feed, response) = Response::feed();
        api.on("GET", "/api/v1/namespaces/apps/configmaps", response);
        let maps: Api<ConfigMap> = Api::namespaced(api.client(), "apps");
        let mut events = Box::pin(maps.watch(&WatchParams::default(), "0").await.unwrap());
        feed.send("ADDED", &settings());
        assert!(matches!(events.next().await, Some(Ok(WatchEvent::Added(_)))));
        assert!(tokio::time::timeout(Duration::from_millis(20), events.next()).await.is_err());
        drop(feed);
        assert!(events.next().await.is_none());
    }
}
