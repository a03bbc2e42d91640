//! A request to the proxy, and its record.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::Method;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// One request as it arrived at the proxy.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The HTTP method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, without `?`; empty if there is none.
    pub query: String,
    /// The body; empty if there is none.
    pub body: Bytes,
}

impl Seen {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Whether this opens a watch.
    pub fn is_watch(&self) -> bool {
        self.method == Method::GET
            && self.query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
    }

    /// Whether this changes the cluster. Leases, events, reviews and dry runs are excluded: their number depends on
    /// time, or they change nothing.
    pub fn is_write(&self) -> bool {
        let excluded = ["/leases", "/events", "reviews"];
        self.method != Method::GET
            && !excluded.iter().any(|part| self.path.contains(part))
            && !self.query.contains("dryRun=")
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No response yet.
    Pending,
    /// The API server's own response arrived at the controller.
    Responded(u16),
    /// The API server responded with this, and the controller never received it.
    Lost(u16),
    /// The proxy responded with this; the API server did not receive the request.
    Refused(u16),
    /// The connection was reset; the API server did not receive the request.
    Reset,
    /// Forwarded, but the API server sent no response.
    Failed,
}

impl Outcome {
    /// Whether the client got a response, of the API server or of the proxy.
    pub fn reached_the_client(self) -> bool {
        matches!(self, Self::Responded(_) | Self::Refused(_))
    }
}

/// One request and its end: the record that a test compares.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Time since the proxy started.
    pub at: Duration,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without `?`.
    pub query: String,
    /// Length of the body in bytes.
    pub bytes: usize,
    /// SHA-256 of the body, hexadecimal.
    pub digest: String,
    /// Whether it counts as a write, see [`Seen::is_write`].
    pub write: bool,
    /// How it ended.
    pub outcome: Outcome,
}

impl Record {
    pub(super) fn new(seen: &Seen, at: Duration) -> Self {
        Self {
            at,
            method: seen.method.to_string(),
            path: seen.path.clone(),
            query: seen.query.clone(),
            bytes: seen.body.len(),
            digest: HEXLOWER.encode(&Sha256::digest(&seen.body)),
            write: seen.is_write(),
            outcome: Outcome::Pending,
        }
    }

    /// Whether the API server received and accepted it.
    pub fn took_effect(&self) -> bool {
        matches!(self.outcome, Outcome::Responded(code) | Outcome::Lost(code) if (200..300).contains(&code))
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, method, path, bytes, outcome, .. } = self;
        write!(f, "{:8.3} {method} {path} {bytes} B: {outcome:?}", at.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, path: &str, query: &str, write: bool) {
        let seen = Seen { method, path: path.to_owned(), query: query.to_owned(), body: Bytes::new() };
        assert_eq!(seen.is_write(), write, "{path}");
    }

    #[test]
    fn leases_events_reviews_and_dry_runs_are_no_writes() {
        check(Method::PATCH, "/api/v1/namespaces/a/configmaps/b", "fieldManager=x", true);
        check(Method::DELETE, "/api/v1/namespaces/a/configmaps/b", "", true);
        check(Method::GET, "/api/v1/namespaces/a/configmaps/b", "", false);
        check(Method::PATCH, "/api/v1/namespaces/a/configmaps/b", "dryRun=All", false);
        check(Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "", false);
        check(Method::POST, "/api/v1/namespaces/a/events", "", false);
        check(Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "", false);
    }
}
