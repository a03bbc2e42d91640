//! One request and its response as JSON, within a budget, with the retries that a client of an API server needs.
//!
//! Requests here are safe to repeat: reads, server-side apply, patches and deletions bound to a version.

use std::time::Duration;

use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use plumb_manifests::ObjectId;
use plumb_status::cadence::Backoff;
use serde_json::Value;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::cause::said_once;
use crate::cluster::Cluster;
use crate::error::{ApiRejection, RequestError};
use crate::repeatable::repeatable;
use crate::unanswered::{Effect, Unanswered};

/// The longest response that is read; an object in etcd has at most 1.5 MiB.
const RESPONSE_BYTES_MAX: usize = 16 << 20;
/// How often a request is sent at most.
const ATTEMPTS_MAX: u32 = 6;
/// The pauses between two attempts. They also bound the pause that the server requests.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(10) };
/// The longest that one request may take. The server gets a timeout for a write that ends [`WRITE_GRACE`] earlier, so that its response
/// response shows its result.
const REQUEST_MAX: Duration = Duration::from_secs(65);
/// How long a response is awaited once there is hurry: no worker is blocked for longer than that after the timeout of its attempt.
const HURRIED_MAX: Duration = Duration::from_secs(10);
/// How long a write in flight is awaited when the budget ends: what is dropped may still be carried out. Shorter than
/// the time that the process has for its end.
const WRITE_GRACE: Duration = Duration::from_secs(5);

/// The request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// What the body is; none for a request without body.
    pub content_type: Option<&'static str>,
    /// What is accepted.
    pub accept: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the response may quote secret values.
    pub confidential: bool,
}

impl Request {
    /// A read.
    pub fn get(target: String, confidential: bool) -> Self {
        let accept = "application/json";
        Self { method: Method::GET, target, content_type: None, accept, body: Vec::new(), confidential }
    }

    /// A write of a JSON body.
    pub fn write(
        method: Method,
        target: String,
        content_type: &'static str,
        body: &Value,
        confidential: bool,
    ) -> Self {
        let body = body.to_string().into_bytes();
        Self {
            method,
            target,
            content_type: Some(content_type),
            accept: "application/json",
            body,
            confidential,
        }
    }

    /// `deadline`: the timeout of the server.
    fn http(&self, deadline: Option<Duration>) -> Result<http::Request<Body>, RequestError> {
        let target = match deadline {
            None => self.target.clone(),
            Some(deadline) => {
                let separator = if self.target.contains('?') { '&' } else { '?' };
                format!("{}{separator}timeout={}s", self.target, deadline.as_secs())
            }
        };
        let mut request =
            http::Request::builder().method(&self.method).uri(target).header(header::ACCEPT, self.accept);
        if let Some(content_type) = self.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        // A name that is not allowed in a path is rejected before the request.
        request
            .body(Body::from(self.body.clone()))
            .map_err(|error| RequestError::Garbled { cause: error.to_string() })
    }
}

/// The response.
#[derive(Debug)]
pub struct Response {
    /// The status, always a success.
    pub code: StatusCode,
    /// The server's clock.
    pub date: Option<Timestamp>,
    /// The body.
    pub body: Value,
}

/// Retries until there is a response or the budget ends. A rejection is an error.
pub async fn send(client: &Client, request: &Request, budget: &Budget) -> Result<Response, RequestError> {
    repeat(client, request, None, budget).await
}

/// The same for a write of an object. One without a response is recorded: see [`Cluster::unanswered`].
pub async fn write(
    cluster: &Cluster,
    id: &ObjectId,
    request: &Request,
    budget: &Budget,
) -> Result<Response, RequestError> {
    repeat(cluster.client(), request, Some((cluster.unanswered(), id)), budget).await
}

async fn repeat(
    client: &Client,
    request: &Request,
    noted: Option<(&Unanswered, &ObjectId)>,
    budget: &Budget,
) -> Result<Response, RequestError> {
    for attempt in 1.. {
        budget.check()?;
        let is_write = request.method != Method::GET;
        let effect = if request.method == Method::DELETE { Effect::Deletes } else { Effect::Applies };
        let deadline = is_write.then(|| write_deadline(budget));
        let sending = noted.zip(deadline).map(|((all, id), deadline)| all.sending(id, effect, deadline));
        let outcome =
            in_time(once(client, request, deadline), is_write, budget).await.and_then(|outcome| outcome);
        match (sending, &outcome) {
            (Some(sending), outcome) if is_response(outcome) => sending.responded(),
            (Some(sending), Err(RequestError::Unreachable { .. })) => sending.lost(),
            // What becomes of it is not known.
            (sending, _) => drop(sending),
        }
        let error = match outcome {
            Ok(success) => return Ok(success),
            // It concerns this object alone: it is named, and the others continue, unless there is hurry.
            Err(error) if is_late(&error) && budget.is_hurried() => {
                budget.stop();
                return Err(error);
            }
            Err(error) => error,
        };
        let wanted = match &error {
            RequestError::Rejected(rejection) if matches!(rejection.code, 429 | 503 | 504) => {
                rejection.retry_after
            }
            RequestError::Unreachable { .. } => None,
            _ => return Err(error),
        };
        if attempt >= ATTEMPTS_MAX || budget.is_hurried() {
            return Err(error);
        }
        tracing::debug!(method = %request.method, attempt, error = %error, "retrying request");
        // The cause is worth more than "the deadline has passed".
        let pause = wanted
            .map_or_else(|| BACKOFF.without_jitter(attempt), |wanted| wanted.clamp(BACKOFF.min, BACKOFF.max));
        budget.pause(pause).await.map_err(|_| error)?;
    }
    Err(RequestError::TimedOut)
}

/// The server's timeout for a write that is sent now, in whole seconds: it ends before the wait for the response does.
fn write_deadline(budget: &Budget) -> Duration {
    let longest = budget.longest(REQUEST_MAX, HURRIED_MAX, WRITE_GRACE);
    Duration::from_secs(longest.saturating_sub(WRITE_GRACE).as_secs().max(1))
}

/// Awaits the response to one request, no longer than one may take.
async fn in_time<F: Future>(request: F, is_write: bool, budget: &Budget) -> Result<F::Output, RequestError> {
    let began = Instant::now();
    let limited = async {
        let hurried = async {
            budget.hurry().await;
            tokio::time::sleep(HURRIED_MAX).await;
        };
        tokio::select! {
            biased;
            done = request => Some(done),
            () = tokio::time::sleep(REQUEST_MAX) => None,
            () = hurried => None,
        }
    };
    let done = if is_write { budget.finish(limited, WRITE_GRACE).await } else { budget.run(limited).await };
    match done {
        Ok(Some(done)) => Ok(done),
        Err(ended) if !budget.is_stopped() => Err(ended),
        // Stopped because of another request without a response: this one got none either.
        Ok(None) | Err(_) => Err(RequestError::NoAnswer { limit: began.elapsed() }),
    }
}

/// Whether the response shows the result of a request. 502 and 504 are of a proxy, or of the server's deadline:
/// the request may still be carried out.
fn is_response(outcome: &Result<Response, RequestError>) -> bool {
    match outcome {
        Ok(_) | Err(RequestError::TooLarge { .. } | RequestError::Garbled { .. }) => true,
        Err(RequestError::Rejected(rejection)) => !matches!(rejection.code, 502 | 504),
        Err(_) => false,
    }
}

/// Whether a request took all the time that it had.
fn is_late(error: &RequestError) -> bool {
    matches!(error, RequestError::NoAnswer { .. })
        || error.rejection().is_some_and(|rejection| rejection.code == 504)
}

async fn once(
    client: &Client,
    request: &Request,
    deadline: Option<Duration>,
) -> Result<Response, RequestError> {
    let response = client.send(request.http(deadline)?).await.map_err(|error| unreachable(&error))?;
    let (head, body) = response.into_parts();
    let body = match Limited::new(body, RESPONSE_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(RequestError::TooLarge { limit: RESPONSE_BYTES_MAX });
        }
        Err(error) => return Err(unreachable(error.as_ref())),
    };
    if !head.status.is_success() {
        let mut rejection = ApiRejection::read(head.status, &body, request.confidential);
        let header = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let seconds = header.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        rejection.retry_after = rejection.retry_after.or(seconds);
        return Err(RequestError::Rejected(Box::new(rejection)));
    }
    let date = head.headers.get(header::DATE).and_then(|value| value.to_str().ok());
    let date = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|zoned| zoned.timestamp());
    // serde_json's message names a position, never the content.
    let body =
        serde_json::from_slice(&body).map_err(|error| RequestError::Garbled { cause: error.to_string() })?;
    Ok(Response { code: head.status, date, body })
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> RequestError {
    RequestError::Unreachable { cause: repeatable(said_once(error)) }
}

/// A part of a path, with what has a meaning in a URL escaped.
pub fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                escaped.push(byte.into());
            }
            _ => {
                escaped.push('%');
                escaped.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
                escaped.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
            }
        }
    }
    escaped
}
