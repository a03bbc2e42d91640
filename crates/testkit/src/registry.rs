//! A container registry in memory, with the responses that a test wants: tokens, passwords, pages, and lies.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::server::{Identity, Server};

/// The media type of an OCI manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of the layer that `flux push artifact` writes.
pub const FLUX_LAYER: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";
/// The media type of the layer that `helm push` writes.
pub const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// Bytes of a request that are read.
const BODY_MAX: usize = 64 << 10;

/// What a registry wants from its clients.
#[derive(Clone, Debug, Default)]
pub enum Login {
    /// Nothing.
    #[default]
    Open,
    /// Name and password, as basic authentication.
    Basic(String, String),
    /// A token of a token server.
    Token {
        /// The URL of the token server; none for `/token` of the registry itself.
        realm: Option<String>,
        /// Name and password that the token server wants; none where it gives tokens to everybody.
        user: Option<(String, String)>,
        /// How long a token holds, in seconds.
        expires_in: Option<u64>,
    },
}

/// One request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// Its body.
    pub body: String,
}

/// How a list of tags is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// As distribution 3 does: sorted, at most this many a page, with a link to the next page.
    Linked(usize),
    /// As docker-registry 2.8 does: all at once, in the order in which they were pushed.
    #[default]
    Whole,
}

/// A response that takes the place of the registry's own.
type Answer = Arc<dyn Fn(&Call) -> Option<Response> + Send + Sync>;

#[derive(Default)]
struct Content {
    secure: bool,
    login: Login,
    pages: Pages,
    tags: Vec<(String, String)>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
    referrers: BTreeMap<String, Vec<Value>>,
    lists_referrers: bool,
    calls: Vec<Call>,
    tokens: usize,
    answer: Option<Answer>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Content>>);

/// A running registry with any number of repositories, which all have the same content. It stops when dropped.
pub struct Registry {
    server: Server,
    shared: Shared,
    ca: Option<String>,
}

impl Registry {
    /// Starts without TLS.
    pub fn plain() -> Result<Self> {
        let shared = Shared::default();
        Ok(Self { server: Server::start(router(shared.clone()), None)?, shared, ca: None })
    }

    /// Starts with TLS and a CA of its own.
    pub fn tls() -> Result<Self> {
        let (shared, identity) = (Shared::default(), Identity::new()?);
        shared.content().secure = true;
        let server = Server::start(router(shared.clone()), Some(&identity))?;
        Ok(Self { server, shared, ca: Some(identity.ca) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The URL of a repository, as a spec has it.
    pub fn url(&self, path: &str) -> String {
        format!("oci://{}/{path}", self.address())
    }

    /// The certificate of its CA (PEM), with TLS.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// What it wants from its clients from now on. Tokens that were given hold no longer.
    pub fn login(&self, login: Login) {
        let mut content = self.shared.content();
        content.login = login;
        content.tokens += 1;
    }

    /// How it lists tags.
    pub fn pages(&self, pages: Pages) {
        self.shared.content().pages = pages;
    }

    /// Responds by `answer` where that gives a response.
    pub fn answer(&self, answer: impl Fn(&Call) -> Option<Response> + Send + Sync + 'static) {
        self.shared.content().answer = Some(Arc::new(answer));
    }

    /// Stores a blob; its digest.
    pub fn blob(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        self.shared.content().blobs.insert(digest.clone(), bytes.to_vec());
        digest
    }

    /// Stores a manifest; its digest.
    pub fn manifest(&self, media_type: &str, manifest: &Value) -> String {
        let bytes = manifest.to_string().into_bytes();
        let digest = digest(&bytes);
        self.shared.content().manifests.insert(digest.clone(), (media_type.to_owned(), bytes));
        digest
    }

    /// Lets a tag lead to a digest.
    pub fn tag(&self, tag: &str, digest: &str) {
        let mut content = self.shared.content();
        content.tags.retain(|(known, _)| known != tag);
        content.tags.push((tag.to_owned(), digest.to_owned()));
    }

    /// Stores an artifact of layers (media type, content) under a tag; the digest of its manifest.
    pub fn push(&self, tag: &str, layers: &[(&str, &[u8])], annotations: &Value) -> String {
        let layers: Vec<Value> = layers
            .iter()
            .map(|(media_type, bytes)| json!({ "mediaType": media_type, "digest": self.blob(bytes), "size": bytes.len() }))
            .collect();
        let config = json!({ "mediaType": "application/vnd.cncf.flux.config.v1+json", "digest": self.blob(b"{}"), "size": 2 });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, "annotations": annotations,
        });
        let digest = self.manifest(MANIFEST, &manifest);
        self.tag(tag, &digest);
        digest
    }

    /// Stores an artifact that refers to another one, and adds it to the index under the tag that is made of the digest; its digest.
    pub fn attach(
        &self,
        subject: &str,
        artifact_type: &str,
        layers: &[Value],
        annotations: &Value,
    ) -> String {
        let config = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "digest": self.blob(b"{}"), "size": 2 });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type, "config": config,
            "layers": layers, "annotations": annotations,
            "subject": { "mediaType": MANIFEST, "digest": subject, "size": 1 },
        });
        let digest = self.manifest(MANIFEST, &manifest);
        let entry = json!({
            "mediaType": MANIFEST, "digest": digest, "size": manifest.to_string().len(), "artifactType": artifact_type,
        });
        let all = {
            let mut content = self.shared.content();
            let all = content.referrers.entry(subject.to_owned()).or_default();
            all.push(entry);
            all.clone()
        };
        let index =
            self.manifest(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all }));
        self.tag(&subject.replace(':', "-"), &index);
        digest
    }

    /// Whether it has the referrers API; the index under a tag is there in any case.
    pub fn lists_referrers(&self, lists: bool) {
        self.shared.content().lists_referrers = lists;
    }

    /// The descriptor of a blob, which it stores.
    pub fn described(&self, media_type: &str, bytes: &[u8], annotations: &Value) -> Value {
        json!({ "mediaType": media_type, "digest": self.blob(bytes), "size": bytes.len(), "annotations": annotations })
    }

    /// Requests so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.content().calls.clone()
    }

    /// Requests so far, as method and target; they are forgotten then.
    pub fn take_calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.shared.content().calls);
        calls.into_iter().map(|call| format!("{} {}", call.method, call.target)).collect()
    }
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A response of a test.
///
/// # Panics
/// If a header is not valid.
pub fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).expect("the test gives valid headers")
}

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        // A String takes every write.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn router(shared: Shared) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_MAX).await.unwrap_or_default();
    let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let call = Call {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        authorization: authorization.map(str::to_owned),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let answer = {
        let mut content = shared.content();
        content.calls.push(call.clone());
        content.answer.clone()
    };
    if let Some(response) = answer.and_then(|answer| answer(&call)) {
        return response;
    }
    let content = shared.content();
    if head.uri.path() == "/token" {
        return content.token(&call);
    }
    if let Some(challenge) = content.challenge(&call, &head.headers) {
        return response(401, &[("www-authenticate", &challenge)], errors("UNAUTHORIZED"));
    }
    let mut response = content.serve(head.uri.path(), head.uri.query().unwrap_or_default());
    if head.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

fn errors(code: &str) -> String {
    json!({ "errors": [{ "code": code, "message": "a text that may hold anything" }] }).to_string()
}

impl Content {
    /// What the client has to do first, if anything.
    fn challenge(&self, call: &Call, headers: &HeaderMap) -> Option<String> {
        match &self.login {
            Login::Open => None,
            Login::Basic(user, password) => {
                let accepted = call.authorization == Some(basic(user, password));
                (!accepted).then(|| "Basic realm=\"a registry\"".to_owned())
            }
            Login::Token { realm, .. } => {
                let accepted = call.authorization == Some(format!("Bearer {}", self.token_text()));
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                let realm = realm.clone().unwrap_or_else(|| {
                    format!("{}://{host}/token", if self.secure { "https" } else { "http" })
                });
                (!accepted)
                    .then(|| format!("Bearer realm=\"{realm}\",service=\"test\",scope=\"registry:all:*\""))
            }
        }
    }

    fn token_text(&self) -> String {
        format!("t0ken-{}", self.tokens)
    }

    fn token(&self, call: &Call) -> Response {
        let (user, expires_in) = match &self.login {
            Login::Token { user, expires_in, .. } => (user.as_ref(), *expires_in),
            _ => (None, None),
        };
        let accepted = user.is_none_or(|(name, password)| {
            call.authorization == Some(basic(name, password))
                || (call.method == "POST" && call.body.contains(&format!("refresh_token={password}")))
        });
        if !accepted {
            return response(401, &[], errors("UNAUTHORIZED"));
        }
        let mut answer = json!({ "token": self.token_text() });
        if let Some(expires_in) = expires_in {
            answer["expires_in"] = expires_in.into();
        }
        response(200, &[("content-type", "application/json")], answer.to_string())
    }

    fn serve(&self, path: &str, query: &str) -> Response {
        let parts: Vec<&str> = path.trim_start_matches("/v2/").split('/').collect();
        match parts.as_slice() {
            [""] => response(200, &[], "{}"),
            [repository @ .., "tags", "list"] => self.list(&repository.join("/"), query),
            [.., "manifests", reference] => {
                let tagged =
                    self.tags.iter().find(|(tag, _)| tag == reference).map(|(_, digest)| digest.as_str());
                let digest = tagged.unwrap_or(reference);
                match self.manifests.get(digest) {
                    Some((media_type, bytes)) => response(
                        200,
                        &[("content-type", media_type), ("docker-content-digest", digest)],
                        bytes.clone(),
                    ),
                    None => response(404, &[], errors("MANIFEST_UNKNOWN")),
                }
            }
            [.., "referrers", digest] if self.lists_referrers => {
                let all = self.referrers.get(*digest).cloned().unwrap_or_default();
                let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all });
                response(200, &[("content-type", INDEX)], index.to_string())
            }
            [.., "blobs", digest] => match self.blobs.get(*digest) {
                Some(bytes) => response(200, &[], Bytes::from(bytes.clone())),
                None => response(404, &[], errors("BLOB_UNKNOWN")),
            },
            _ => response(404, &[], errors("NAME_UNKNOWN")),
        }
    }

    fn list(&self, repository: &str, query: &str) -> Response {
        let mut tags: Vec<&str> = self.tags.iter().map(|(tag, _)| tag.as_str()).collect();
        let Pages::Linked(page) = self.pages else {
            return response(200, &[], json!({ "name": repository, "tags": tags }).to_string());
        };
        tags.sort_unstable();
        let parameter = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let asked = parameter("n").and_then(|n| n.parse().ok()).unwrap_or(page).min(page);
        let last = parameter("last").unwrap_or_default();
        tags.retain(|tag| *tag > last);
        let more = tags.len() > asked;
        tags.truncate(asked);
        let mut response = response(200, &[], json!({ "name": repository, "tags": tags }).to_string());
        if let Some(last) = tags.last().filter(|_| more) {
            let link = format!("</v2/{repository}/tags/list?last={last}&n={asked}>; rel=\"next\"");
            let link = HeaderValue::from_str(&link).expect("tags are valid in a header");
            response.headers_mut().insert(header::LINK, link);
        }
        *response.status_mut() = StatusCode::OK;
        response
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}
