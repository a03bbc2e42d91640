//! Wire: one request and its answer as JSON, within a budget, with the retries that every client of an API server owes it.
//!
//! Requests here are safe to repeat: reads, server-side apply, patches and deletions bound to a version.

use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::Value;

use crate::budget::Budget;
use crate::refusal::{Refusal, RequestError};

/// The longest answer that is read; an object in etcd has at most 1.5 MiB.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How often a request is sent at most.
const ATTEMPTS_MAX: u32 = 6;
/// The first pause between two attempts; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between two attempts, also where the server asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest that one request may take; the server itself gives up after 60 s.
const REQUEST_MAX: Duration = Duration::from_secs(65);

/// How long a write in flight is awaited when the budget ends: what is dropped may still be carried out. Shorter than
/// the time that the process has for its end.
const WRITE_GRACE: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
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
    /// Whether the answer may quote secret values.
    pub confidential: bool,
}

impl Ask {
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

    fn request(&self) -> Result<Request<Body>, RequestError> {
        let mut request =
            Request::builder().method(&self.method).uri(&self.target).header(header::ACCEPT, self.accept);
        if let Some(content_type) = self.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        // A name that cannot stand in a path is refused before it is sent.
        request
            .body(Body::from(self.body.clone()))
            .map_err(|error| RequestError::Garbled { cause: error.to_string() })
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status, always a success.
    pub code: StatusCode,
    /// The server's clock.
    pub date: Option<Timestamp>,
    /// The body.
    pub body: Value,
}

/// Asks until there is an answer or the budget ends. A no is an error.
pub async fn ask(client: &Client, ask: &Ask, budget: &Budget) -> Result<Answer, RequestError> {
    let mut pause = PAUSE_FIRST;
    for attempt in 1.. {
        budget.check()?;
        let (limit, sent) = (budget.at_most(REQUEST_MAX), once(client, ask));
        let outcome = if ask.method == Method::GET {
            limit.run(sent).await
        } else {
            limit.finish(sent, WRITE_GRACE).await
        };
        let outcome = outcome.and_then(|outcome| outcome);
        let error = match outcome {
            Ok(answer) => return Ok(answer),
            // It concerns this object alone: it is named, and the others go on.
            Err(RequestError::TimedOut) if budget.check().is_ok() => {
                return Err(RequestError::NoAnswer { limit: REQUEST_MAX });
            }
            Err(error) => error,
        };
        let wanted = match &error {
            RequestError::Refused(refusal) if matches!(refusal.code, 429 | 503 | 504) => refusal.retry_after,
            RequestError::Unreachable { .. } => None,
            _ => return Err(error),
        };
        if attempt >= ATTEMPTS_MAX {
            return Err(error);
        }
        tracing::debug!(method = %ask.method, attempt, error = %error, "request is repeated");
        // The cause is worth more than "the deadline has passed".
        budget.pause(wanted.unwrap_or(pause).clamp(PAUSE_FIRST, PAUSE_MAX)).await.map_err(|_| error)?;
        pause *= 2;
    }
    Err(RequestError::TimedOut)
}

async fn once(client: &Client, ask: &Ask) -> Result<Answer, RequestError> {
    let response = client.send(ask.request()?).await.map_err(|error| unreachable(&error))?;
    let (head, body) = response.into_parts();
    let body = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(RequestError::TooLarge { limit: ANSWER_BYTES_MAX });
        }
        Err(error) => return Err(unreachable(error.as_ref())),
    };
    if !head.status.is_success() {
        let mut refusal = Refusal::read(head.status, &body, ask.confidential);
        let header = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let seconds = header.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        refusal.retry_after = refusal.retry_after.or(seconds);
        return Err(RequestError::Refused(Box::new(refusal)));
    }
    let date = head.headers.get(header::DATE).and_then(|value| value.to_str().ok());
    let date = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|zoned| zoned.timestamp());
    // serde_json's message names a position, never the content.
    let body =
        serde_json::from_slice(&body).map_err(|error| RequestError::Garbled { cause: error.to_string() })?;
    Ok(Answer { code: head.status, date, body })
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> RequestError {
    let mut cause = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !cause.contains(&text) {
            cause.push_str(": ");
            cause.push_str(&text);
        }
        next = error.source();
    }
    RequestError::Unreachable { cause }
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
