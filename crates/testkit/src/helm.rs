//! A Helm repository over HTTP in memory: files, a password, ETags, and the responses that a test wants.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::header,
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    registry::{digest, response},
    server::{Identity, Server},
};

/// One request that arrived, and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCall {
    /// Path and query.
    pub target: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The status of the response.
    pub status: u16,
}

/// A response that takes the place of the server's own, by path and query.
type Answer = Arc<dyn Fn(&str) -> Option<Response> + Send + Sync>;

#[derive(Default)]
struct Content {
    files: BTreeMap<String, Bytes>,
    login: Option<(String, String)>,
    tags: bool,
    calls: Vec<FileCall>,
    answer: Option<Answer>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Content>>);

/// A running server of files. It stops when dropped.
pub struct HelmServer {
    server: Server,
    shared: Shared,
    ca: Option<String>,
}

impl HelmServer {
    /// Starts without TLS.
    pub fn plain() -> Result<Self> {
        let shared = Shared::default();
        Ok(Self { server: Server::start(router(shared.clone()), None)?, shared, ca: None })
    }

    /// Starts with TLS and a CA of its own.
    pub fn tls() -> Result<Self> {
        let (shared, identity) = (Shared::default(), Identity::new()?);
        let server = Server::start(router(shared.clone()), Some(&identity))?;
        Ok(Self { server, shared, ca: Some(identity.ca) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.ca.is_some() { "https" } else { "http" }, self.address())
    }

    /// The certificate of its CA (PEM), with TLS.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// Serves a file at a path.
    pub fn file(&self, path: &str, bytes: impl Into<Bytes>) {
        self.shared.content().files.insert(path.to_owned(), bytes.into());
    }

    /// Sends the digest of a file as its ETag from now on.
    pub fn tags(&self) {
        self.shared.content().tags = true;
    }

    /// Name and password that it wants from now on.
    pub fn login(&self, name: &str, password: &str) {
        self.shared.content().login = Some((name.to_owned(), password.to_owned()));
    }

    /// Responds by `answer` where that gives a response.
    pub fn answer(&self, answer: impl Fn(&str) -> Option<Response> + Send + Sync + 'static) {
        self.shared.content().answer = Some(Arc::new(answer));
    }

    /// Requests so far; they are forgotten then.
    pub fn take_calls(&self) -> Vec<FileCall> {
        std::mem::take(&mut self.shared.content().calls)
    }
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn router(shared: Shared) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (authorization, tag) = (text(header::AUTHORIZATION), text(header::IF_NONE_MATCH));
    let target = request.uri().to_string();
    let answer = shared.content().answer.clone();
    let mut content = shared.content();
    let response = answer
        .and_then(|answer| answer(&target))
        .unwrap_or_else(|| content.serve(request.uri().path(), authorization.as_deref(), tag.as_deref()));
    content.calls.push(FileCall { target, authorization, status: response.status().as_u16() });
    response
}

impl Content {
    fn serve(&self, path: &str, authorization: Option<&str>, tag: Option<&str>) -> Response {
        if let Some((name, password)) = &self.login {
            let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")));
            if authorization != Some(&expected) {
                return response(401, &[("www-authenticate", "Basic realm=\"charts\"")], "no");
            }
        }
        let Some(bytes) = self.files.get(path) else { return response(404, &[], "not here") };
        if !self.tags {
            return response(200, &[], bytes.clone());
        }
        let current = format!("\"{}\"", digest(bytes));
        if tag == Some(&current) {
            return response(304, &[("etag", &current)], "");
        }
        response(200, &[("etag", &current)], bytes.clone())
    }
}
