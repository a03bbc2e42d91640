//! Responses of the mock API server: a value, a Kubernetes error, a stream of watch events, no response.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Call;

type Compute = Arc<dyn Fn(&Call) -> Response + Send + Sync>;
type Events = Arc<Mutex<Option<mpsc::UnboundedReceiver<Value>>>>;

/// One response of the mock API server.
#[derive(Clone)]
pub struct Response {
    delay: Duration,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Json(u16, Value),
    Watch(Vec<Value>),
    Feed(Events),
    Silence,
    Compute(Compute),
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Json(code, body) => write!(f, "{code} {body}"),
            Content::Watch(events) => write!(f, "watch {events:?}"),
            Content::Feed(_) => f.write_str("feed"),
            Content::Silence => f.write_str("silence"),
            Content::Compute(_) => f.write_str("computed"),
        }
    }
}

impl Response {
    /// 200 with this body.
    pub fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    /// 201 with this body.
    pub fn created(body: Value) -> Self {
        Self::json(201, body)
    }

    /// Any code with any body.
    pub fn json(code: u16, body: Value) -> Self {
        Content::Json(code, body).into()
    }

    /// A `Status` object, as in an error response of the API server.
    pub fn status(code: u16, reason: &str, message: &str) -> Self {
        let status = if code < 400 { "Success" } else { "Failure" };
        Self::json(
            code,
            json!({
                "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": status,
                "message": message, "reason": reason, "code": code,
            }),
        )
    }

    /// 404 `NotFound`.
    pub fn not_found() -> Self {
        Self::status(404, "NotFound", "not found")
    }

    /// 409 `Conflict`.
    pub fn conflict(message: &str) -> Self {
        Self::status(409, "Conflict", message)
    }

    /// 403 `Forbidden`.
    pub fn forbidden(message: &str) -> Self {
        Self::status(403, "Forbidden", message)
    }

    /// 422 `Invalid`.
    pub fn invalid(message: &str) -> Self {
        Self::status(422, "Invalid", message)
    }

    /// A list of these items. `api_version` and `kind` are those of the list, e.g. `v1`, `ConfigMapList`.
    pub fn list(api_version: &str, kind: &str, items: &[Value]) -> Self {
        Self::ok(
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"resourceVersion": "1"}, "items": items}),
        )
    }

    /// A watch that sends these events (`{"type": …, "object": …}`) and then stays open.
    pub fn watch(events: Vec<Value>) -> Self {
        Content::Watch(events).into()
    }

    /// A watch whose events the test sends as it goes; it closes when the feed is dropped. It serves one call;
    /// the next one finds a watch without events.
    pub fn feed() -> (Feed, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Feed(sender), Content::Feed(Arc::new(Mutex::new(Some(receiver)))).into())
    }

    /// No response, ever.
    pub fn silence() -> Self {
        Content::Silence.into()
    }

    /// A response that depends on the call.
    pub fn with(compute: impl Fn(&Call) -> Self + Send + Sync + 'static) -> Self {
        Content::Compute(Arc::new(compute)).into()
    }

    /// The body of the call as the response: what a create or an apply without surprises returns.
    pub fn echo() -> Self {
        Self::with(|call| Self::ok(call.body.clone()))
    }

    /// The same response, later (tokio's clock, so a paused one works).
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(super) async fn respond(self, call: &Call) -> http::Response<Body> {
        let mut reply = self;
        loop {
            if !reply.delay.is_zero() {
                tokio::time::sleep(reply.delay).await;
            }
            match reply.content {
                Content::Compute(compute) => reply = compute(call),
                Content::Json(code, body) => return respond_with(code, Body::from(body.to_string())),
                Content::Watch(events) => return respond_with(200, watch_body(events)),
                Content::Feed(events) => {
                    let receiver = events.lock().unwrap_or_else(PoisonError::into_inner).take();
                    return respond_with(200, receiver.map_or_else(|| watch_body(Vec::new()), feed_body));
                }
                Content::Silence => std::future::pending::<()>().await,
            }
        }
    }
}

impl From<Content> for Response {
    fn from(content: Content) -> Self {
        Self { delay: Duration::ZERO, content }
    }
}

/// The sending end of a watch; see [`Response::feed`].
pub struct Feed(mpsc::UnboundedSender<Value>);

impl Feed {
    /// Sends one watch event: `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`, and its object.
    pub fn send(&self, kind: &str, object: &Value) {
        // A dropped reader is the end of the test, not an error of the feed.
        let _ = self.0.send(json!({"type": kind, "object": object}));
    }
}

fn respond_with(code: u16, body: Body) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}

fn watch_body(events: Vec<Value>) -> Body {
    use futures_util::StreamExt as _;
    let sent = stream::iter(events.into_iter().map(|event| Ok::<_, Infallible>(line(&event))));
    Body::from_stream(sent.chain(stream::pending()))
}

fn feed_body(receiver: mpsc::UnboundedReceiver<Value>) -> Body {
    Body::from_stream(stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|event| (Ok::<_, Infallible>(line(&event)), receiver))
    }))
}
