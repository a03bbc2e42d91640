//! Requests to a registry: which scheme, which authorization, and what a response has to be. What is known of a registry is kept, so
//! that a poll is one request.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Method, StatusCode, header};
use plumb_api::sealed::Sealed;
use plumb_memory::{Limit, MemoryPool, MemoryReservation};
use plumb_transport::{
    BodyError, BoundedResponse, ClientConfig, ClientError, ConnectionError, Credential, HttpClient,
    HttpRequest, Proxy, Redirects, Trust, address::AddressPolicy, shown_url,
};
use tokio::time::Instant;
use url::Url;

use crate::{
    challenge::Challenge,
    credential::RegistryCredential,
    digest::{Digest, Hasher},
    error::{OciError, ResponseError, codes},
    manifest::{ACCEPT, Descriptor, Document, Manifest, ManifestError},
    reference::Repository,
    tags::{next_page, parse_page},
    token::{Token, may_receive, token_url},
};

/// How this client names itself.
const AGENT: &str = concat!("plumb/", env!("CARGO_PKG_VERSION"));
/// The header with the digest of a manifest.
const CONTENT_DIGEST: &str = "docker-content-digest";
/// Entries of what is cached of registries.
const CACHE_ENTRIES_MAX: usize = 4096;
/// Clients with settings of their own.
const CLIENTS_MAX: usize = 64;
/// How long it is known that a registry takes no token but a password, and which scheme it has.
const CACHE_TTL: Duration = Duration::from_mins(10);
/// How long a registry may be silent between two parts of a response.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes of the response of a token server, and of an error response.
const TOKEN_RESPONSE_BYTES_MAX: u64 = 256 << 10;
const ERROR_BYTES_MAX: usize = 16 << 10;
/// Tags of a page that are asked for: the most that registries give.
const PAGE_TAGS: &str = "1000";
/// Memory of a tag, at most.
const TAG_BYTES: u64 = 192;
/// How often an index leads to a manifest.
const INDEX_DEPTH_MAX: usize = 2;

/// What one artifact may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OciLimits {
    /// Bytes of a manifest: the specification asks registries for 4 MiB.
    pub manifest_bytes_max: u64,
    /// Bytes of a layer as it is stored in the registry.
    pub layer_bytes_max: u64,
    /// Tags of a repository.
    pub tags_max: usize,
    /// Pages of a list of tags.
    pub tag_pages_max: usize,
    /// Bytes of one page of a list of tags: some registries send all tags at once.
    pub tag_page_bytes_max: u64,
}

impl OciLimits {
    /// 4 MiB, 256 MiB, 100 000 tags in 1000 pages of 16 MiB at most.
    pub const DEFAULT: Self = Self {
        manifest_bytes_max: 4 << 20,
        layer_bytes_max: 256 << 20,
        tags_max: 100_000,
        tag_pages_max: 1000,
        tag_page_bytes_max: 16 << 20,
    };
}

/// The client of all registries. Clones share it.
#[derive(Clone)]
pub struct OciClient(Arc<Inner>);

struct Inner {
    addresses: AddressPolicy,
    memory: MemoryPool,
    limits: OciLimits,
    clients: Mutex<Cache<String, HttpClient>>,
    schemes: Mutex<Cache<(String, String), &'static str>>,
    authorizations: Mutex<Cache<AuthorizationKey, HeaderValue>>,
}

/// For whom an authorization holds.
#[derive(Clone, PartialEq, Eq, Hash)]
struct AuthorizationKey {
    scheme: &'static str,
    settings: String,
    repository: Repository,
    credential: [u8; 32],
}

/// How a repository is reached.
#[derive(Clone)]
pub struct Access {
    /// Which servers are trusted, and the client certificate.
    pub trust: Trust,
    /// The proxy.
    pub proxy: Proxy,
    /// Tells other settings of trust and proxy apart, without showing them.
    pub fingerprint: String,
    /// Whether plain HTTP will do where the registry has no TLS.
    pub plain_http: bool,
    /// The credential for the registry.
    pub credential: RegistryCredential,
}

/// A repository that requests can be sent to, until its deadline.
pub struct Remote {
    client: OciClient,
    http: HttpClient,
    base: Url,
    key: AuthorizationKey,
    credential: RegistryCredential,
    consumer: String,
    deadline: Instant,
}

/// A blob whose digest was checked, and what it is charged to.
#[derive(Debug)]
pub struct Blob {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Held as long as the bytes are.
    pub memory: MemoryReservation,
}

impl OciClient {
    /// A client. Bodies are charged to `memory`.
    pub fn new(addresses: AddressPolicy, memory: MemoryPool, limits: OciLimits) -> Self {
        Self(Arc::new(Inner {
            addresses,
            memory,
            limits,
            clients: Mutex::new(Cache::new(CLIENTS_MAX)),
            schemes: Mutex::new(Cache::new(CACHE_ENTRIES_MAX)),
            authorizations: Mutex::new(Cache::new(CACHE_ENTRIES_MAX)),
        }))
    }

    /// Finds out how the repository is reached. All that is done with it is done within `timeout`, and charged to `consumer`.
    pub async fn connect(
        &self,
        consumer: &str,
        repository: &Repository,
        access: Access,
        timeout: Duration,
    ) -> Result<Remote, OciError> {
        let deadline = Instant::now() + timeout;
        let http = self.http(&access).map_err(OciError::Client)?;
        let scheme = self.scheme(&http, repository, &access, deadline).await?;
        let text = format!("{scheme}://{}/v2/{}/", repository.registry(), repository.path());
        let base = Url::parse(&text).map_err(|_| malformed(&text, "URL of a repository"))?;
        if scheme == "http" && access.credential.is_some() {
            tracing::warn!(url = %shown_url(&base), "credentials are sent over an unencrypted connection");
        }
        let key = AuthorizationKey {
            scheme,
            settings: access.fingerprint,
            repository: repository.clone(),
            credential: access.credential.fingerprint(),
        };
        let (client, consumer, credential) = (self.clone(), consumer.to_owned(), access.credential);
        Ok(Remote { client, http, base, key, credential, consumer, deadline })
    }

    /// A client with these settings: connections are pooled in it.
    fn http(&self, access: &Access) -> Result<HttpClient, ClientError> {
        if let Some(client) = self.0.clients().get(&access.fingerprint) {
            return Ok(client);
        }
        let client = HttpClient::new(ClientConfig {
            trust: access.trust.clone(),
            proxy: access.proxy.clone(),
            addresses: Some(self.0.addresses),
            redirects: Redirects::Follow,
            user_agent: Some(HeaderValue::from_static(AGENT)),
            read_timeout: Some(SILENCE_MAX),
            ..ClientConfig::default()
        })?;
        self.0.clients().insert(access.fingerprint.clone(), client.clone(), None);
        Ok(client)
    }

    /// TLS wherever the registry has it; plain HTTP only where that will do.
    async fn scheme(
        &self,
        http: &HttpClient,
        repository: &Repository,
        access: &Access,
        deadline: Instant,
    ) -> Result<&'static str, OciError> {
        if !access.plain_http {
            return Ok("https");
        }
        let key = (access.fingerprint.clone(), repository.registry().to_owned());
        if let Some(scheme) = self.0.schemes().get(&key) {
            return Ok(scheme);
        }
        let probed = |scheme: &'static str| {
            let (text, timeout) = (format!("{scheme}://{}/v2/", repository.registry()), left(deadline));
            async move {
                let url = Url::parse(&text).map_err(|_| malformed(&text, "URL of a registry"))?;
                let request = shown(&Method::GET, &url);
                let sent = http.send(HttpRequest::get(url).timeout(timeout)).await;
                Ok(sent.map(|response| response.status()).map_err(|source| (request, source)))
            }
        };
        let failed = |(request, source)| Err(OciError::Connection { request, source });
        let scheme = match probed("https").await? {
            Ok(_) => "https",
            Err(first) if !may_lack_tls(&first.1) => return failed(first),
            Err(first) => match probed("http").await? {
                // A port for TLS may answer a plain request with an error: only a registry's own responses count.
                Ok(StatusCode::OK | StatusCode::UNAUTHORIZED) => "http",
                // That there is no TLS tells less than what is wrong without.
                Err(second) if lacks_tls(&first.1) => return failed(second),
                Ok(_) | Err(_) => return failed(first),
            },
        };
        self.0.schemes().insert(key, scheme, Some(CACHE_TTL));
        Ok(scheme)
    }
}

/// Whether plain HTTP is worth a try. It is not where a certificate is wrong.
fn may_lack_tls(error: &ConnectionError) -> bool {
    lacks_tls(error)
        || matches!(error, ConnectionError::Refused | ConnectionError::Reset | ConnectionError::Truncated)
}

fn lacks_tls(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::Tls { .. } | ConnectionError::Malformed)
}

impl Inner {
    fn clients(&self) -> std::sync::MutexGuard<'_, Cache<String, HttpClient>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schemes(&self) -> std::sync::MutexGuard<'_, Cache<(String, String), &'static str>> {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authorizations(&self) -> std::sync::MutexGuard<'_, Cache<AuthorizationKey, HeaderValue>> {
        self.authorizations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    /// When requests end.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same repository with another deadline.
    #[must_use]
    pub fn restarted(self, timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, ..self }
    }

    /// The digest that a tag leads to now: by a HEAD request, or by the manifest itself where the registry sends no digest.
    pub async fn digest_of(&self, tag: &str) -> Result<Digest, OciError> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let response = self.send(Method::HEAD, &url, ACCEPT).await?;
        if response.status() == StatusCode::OK
            && let Some(digest) = content_digest(&response)
        {
            return Ok(digest);
        }
        // The response to a HEAD has no body that says what is wrong.
        let response = self.get(&url, ACCEPT).await?;
        let announced = content_digest(&response);
        let (bytes, _memory, found) = self.body(&url, response, self.manifest_limit()).await?;
        drop(bytes);
        match announced {
            Some(expected) if expected != found => Err(mismatch(&url, expected, found)),
            _ => Ok(found),
        }
    }

    /// All tags, in the order in which the registry lists them, and what they are charged to.
    pub async fn tags(&self) -> Result<(Vec<String>, MemoryReservation), OciError> {
        let OciLimits { tags_max, tag_pages_max, tag_page_bytes_max, .. } = self.client.0.limits;
        let mut url = self.url("tags/list")?;
        url.query_pairs_mut().append_pair("n", PAGE_TAGS);
        let (mut tags, mut counted) = (Vec::new(), 0);
        let limit = Limit { name: "tags of a repository", bytes_max: tags_max as u64 * TAG_BYTES };
        let mut charged = self.client.0.memory.reservation(&self.consumer, limit);
        let wrong = |url: &Url, source| OciError::Response { request: shown(&Method::GET, url), source };
        for _ in 0..tag_pages_max {
            let response = self.get(&url, "application/json").await?;
            let next = next_page(&url, response.headers()).map_err(|source| wrong(&url, source))?;
            let limit = Limit { name: "a page of the list of tags", bytes_max: tag_page_bytes_max };
            let (body, _memory, _) = self.body(&url, response, limit).await?;
            parse_page(&body, &mut tags, tags_max).map_err(|source| wrong(&url, source))?;
            charged.try_grow((tags.len() - counted) as u64 * TAG_BYTES).map_err(OciError::OverBudget)?;
            counted = tags.len();
            match next {
                None => return Ok((tags, charged)),
                Some(next) if next == url => {
                    let problem = "it leads to the same page";
                    return Err(wrong(&url, ResponseError::Link { problem }));
                }
                Some(next) => url = next,
            }
        }
        Err(wrong(&url, ResponseError::TooMany { what: "pages", max: tag_pages_max }))
    }

    /// The manifest with a digest. Of an index, the manifest of its platform.
    pub async fn manifest(&self, digest: &Digest) -> Result<Manifest, OciError> {
        let mut digest = digest.clone();
        for _ in 0..=INDEX_DEPTH_MAX {
            let (bytes, _memory, media_type) = self.manifest_bytes(&digest).await?;
            match Document::parse(&bytes, media_type.as_deref()) {
                Ok(Document::Manifest(manifest)) => return Ok(manifest),
                Ok(Document::Index(child)) => digest = child,
                Err(source) => return Err(OciError::Manifest { digest, source }),
            }
        }
        Err(OciError::Manifest { digest, source: ManifestError::Nested })
    }

    /// The manifest or index with a digest, what it is charged to, and its media type according to the registry.
    pub(crate) async fn manifest_bytes(
        &self,
        digest: &Digest,
    ) -> Result<(Vec<u8>, MemoryReservation, Option<String>), OciError> {
        let url = self.url(&format!("manifests/{digest}"))?;
        let response = self.get(&url, ACCEPT).await?;
        let media_type = response.headers().get(header::CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (bytes, memory, found) = self.body(&url, response, self.manifest_limit()).await?;
        if *digest != found {
            return Err(mismatch(&url, digest.clone(), found));
        }
        Ok((bytes, memory, media_type))
    }

    /// The bytes of a layer.
    pub async fn blob(&self, layer: &Descriptor) -> Result<Blob, OciError> {
        self.blob_within(layer, self.client.0.limits.layer_bytes_max).await
    }

    /// The bytes of a layer that has at most so many.
    pub async fn blob_within(&self, layer: &Descriptor, max: u64) -> Result<Blob, OciError> {
        let Descriptor { media_type: _, digest, size, annotations: _ } = layer;
        if *size > max {
            return Err(OciError::LayerTooLarge { digest: digest.clone(), size: *size, max });
        }
        let url = self.url(&format!("blobs/{digest}"))?;
        let response = self.get(&url, "*/*").await?;
        let limit = Limit { name: "a layer of an OCI artifact", bytes_max: *size };
        let (bytes, memory, found) = self.body(&url, response, limit).await?;
        let length = bytes.len() as u64;
        if length != *size {
            let source = ResponseError::Size { expected: *size, found: length };
            return Err(OciError::Response { request: shown(&Method::GET, &url), source });
        }
        if found != *digest {
            return Err(mismatch(&url, digest.clone(), found));
        }
        Ok(Blob { bytes, memory })
    }

    pub(crate) fn manifest_limit(&self) -> Limit {
        Limit { name: "a manifest", bytes_max: self.client.0.limits.manifest_bytes_max }
    }

    pub(crate) fn url(&self, path: &str) -> Result<Url, OciError> {
        self.base.join(path).map_err(|_| malformed(path, "path in a repository"))
    }

    /// A GET whose response is a success.
    pub(crate) async fn get(&self, url: &Url, accept: &'static str) -> Result<BoundedResponse, OciError> {
        let response = self.send(Method::GET, url, accept).await?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(failed(shown(&Method::GET, url), response).await)
    }

    /// A body, its charge and its digest.
    pub(crate) async fn body(
        &self,
        url: &Url,
        response: BoundedResponse,
        limit: Limit,
    ) -> Result<(Vec<u8>, MemoryReservation, Digest), OciError> {
        let mut memory = self.client.0.memory.reservation(&self.consumer, limit);
        let mut hasher = Hasher::default();
        let body = response.collect(limit, &mut memory, |piece| hasher.update(piece)).await;
        match body {
            Ok(bytes) => Ok((bytes, memory, hasher.finish())),
            Err(BodyError::OverBudget(over)) => Err(OciError::OverBudget(over)),
            Err(source) => Err(OciError::Body { request: shown(&Method::GET, url), source }),
        }
    }

    /// A request with the authorization that is known, and with another one if the registry asks for it.
    async fn send(
        &self,
        method: Method,
        url: &Url,
        accept: &'static str,
    ) -> Result<BoundedResponse, OciError> {
        let response = self.request(&method, url, accept, self.known()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.client.0.authorizations().remove(&self.key);
        let Some(challenge) = Challenge::of(response.headers()) else { return Ok(response) };
        let request = shown(&method, url);
        let authorization = match challenge {
            Challenge::Basic => self.basic(&request)?,
            Challenge::Bearer { realm, service, scope: _ } => {
                self.token(&request, &realm, service.as_deref()).await?
            }
        };
        let response = self.request(&method, url, accept, Some(authorization)).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.client.0.authorizations().remove(&self.key);
            let problem =
                if self.credential.is_some() { "the credentials are not accepted" } else { NONE_SENT };
            return Err(self.unauthorized(request, response, problem.to_owned()).await);
        }
        Ok(response)
    }

    async fn request(
        &self,
        method: &Method,
        url: &Url,
        accept: &'static str,
        authorization: Option<HeaderValue>,
    ) -> Result<BoundedResponse, OciError> {
        let mut request = HttpRequest::new(method.clone(), url.clone())
            .header(header::ACCEPT, HeaderValue::from_static(accept))
            .timeout(left(self.deadline));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let sent = self.http.send(request).await;
        sent.map_err(|source| {
            // The registry may have got TLS, or lost it.
            let registry = self.key.repository.registry().to_owned();
            self.client.0.schemes().remove(&(self.key.settings.clone(), registry));
            OciError::Connection { request: shown(method, url), source }
        })
    }

    /// The authorization that the registry accepted last, or a token that is for the registry itself.
    fn known(&self) -> Option<HeaderValue> {
        if let RegistryCredential::RegistryToken(token) = &self.credential {
            return authorization(&Credential::Bearer { token: token.clone() }).ok();
        }
        self.client.0.authorizations().get(&self.key)
    }

    fn basic(&self, request: &str) -> Result<HeaderValue, OciError> {
        let RegistryCredential::Basic { username, password } = &self.credential else {
            let problem = if self.credential.is_some() {
                "the registry wants a user name and a password, and there is only a token".to_owned()
            } else {
                NONE_SENT.to_owned()
            };
            return Err(OciError::Unauthorized {
                request: request.to_owned(),
                codes: Vec::new(),
                problem,
                has_credential: self.credential.is_some(),
            });
        };
        let credential = Credential::Basic { username: username.clone(), password: password.clone() };
        let value = authorization(&credential)?;
        self.client.0.authorizations().insert(self.key.clone(), value.clone(), Some(CACHE_TTL));
        Ok(value)
    }

    /// A token of the registry's token server, for reading this repository and nothing else.
    async fn token(
        &self,
        request: &str,
        realm: &str,
        service: Option<&str>,
    ) -> Result<HeaderValue, OciError> {
        let bad_realm = || {
            let shown = plumb_transport::shown_text(realm);
            OciError::Response { request: request.to_owned(), source: ResponseError::Realm { realm: shown } }
        };
        let realm = Url::parse(realm).map_err(|_| bad_realm())?;
        if !matches!(realm.scheme(), "http" | "https") {
            return Err(bad_realm());
        }
        let trusted = may_receive(&self.base, &realm);
        let scope = format!("repository:{}:pull", self.key.repository.path());
        let credential = if trusted { &self.credential } else { &RegistryCredential::Anonymous };
        let (asked, http_request) = token_request(&realm, service, &scope, credential)?;
        let http_request = http_request.timeout(left(self.deadline));
        let response = self.http.send(http_request).await;
        let response = response.map_err(|source| OciError::Connection { request: asked.clone(), source })?;
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let problem = if !trusted && self.credential.is_some() {
                let host = realm.host_str().unwrap_or_default();
                format!(
                    "the token server {host:?} is on another domain than the registry: no credentials are sent there"
                )
            } else if self.credential.is_some() {
                "the credentials are not accepted".to_owned()
            } else {
                NONE_SENT.to_owned()
            };
            return Err(self.unauthorized(asked, response, problem).await);
        }
        if response.status() != StatusCode::OK {
            return Err(failed(asked, response).await);
        }
        let limit = Limit { name: "the response of a token server", bytes_max: TOKEN_RESPONSE_BYTES_MAX };
        let (body, _memory, _) = self.body(&realm, response, limit).await?;
        let token = Token::parse(&body);
        let Token { value, used_for } =
            token.map_err(|source| OciError::Response { request: asked, source })?;
        let value = authorization(&Credential::Bearer { token: value })?;
        self.client.0.authorizations().insert(self.key.clone(), value.clone(), Some(used_for));
        Ok(value)
    }

    async fn unauthorized(&self, request: String, response: BoundedResponse, problem: String) -> OciError {
        let codes = excerpt_codes(response).await;
        OciError::Unauthorized { request, codes, problem, has_credential: self.credential.is_some() }
    }
}

const NONE_SENT: &str = "no credentials were sent";

/// The request for a token, and how errors name it.
fn token_request(
    realm: &Url,
    service: Option<&str>,
    scope: &str,
    credential: &RegistryCredential,
) -> Result<(String, HttpRequest), OciError> {
    let url = token_url(realm, service, scope);
    match credential {
        RegistryCredential::Basic { username, password } => {
            let basic = Credential::Basic { username: username.clone(), password: password.clone() };
            let asked = shown(&Method::GET, &url);
            Ok((asked, HttpRequest::get(url).header(header::AUTHORIZATION, authorization(&basic)?)))
        }
        RegistryCredential::IdentityToken(token) => {
            let body = refresh_form(service, scope, token);
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            let request = HttpRequest::post(realm.clone(), body).header(header::CONTENT_TYPE, form);
            Ok((shown(&Method::POST, realm), request))
        }
        RegistryCredential::Anonymous | RegistryCredential::RegistryToken(_) => {
            Ok((shown(&Method::GET, &url), HttpRequest::get(url)))
        }
    }
}

/// The body of a request that exchanges an identity token (OAuth 2).
fn refresh_form(service: Option<&str>, scope: &str, token: &Sealed) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("client_id", "plumb");
    if let Some(service) = service {
        form.append_pair("service", service);
    }
    form.append_pair("scope", scope).append_pair("refresh_token", token.expose_str().unwrap_or_default());
    form.finish()
}

fn authorization(credential: &Credential) -> Result<HeaderValue, OciError> {
    let value = credential.authorization().map_err(OciError::Credential)?;
    Ok(value.unwrap_or_else(|| HeaderValue::from_static("")))
}

/// The error of a response that is none of what was asked for.
async fn failed(request: String, response: BoundedResponse) -> OciError {
    let status = response.status().as_u16();
    OciError::Status { request, status, codes: excerpt_codes(response).await }
}

/// The known codes of an error response; none where it breaks off.
async fn excerpt_codes(response: BoundedResponse) -> Vec<&'static str> {
    codes(&response.excerpt(ERROR_BYTES_MAX).await.unwrap_or_default())
}

fn content_digest(response: &BoundedResponse) -> Option<Digest> {
    Digest::parse(response.headers().get(CONTENT_DIGEST)?.to_str().ok()?).ok()
}

fn mismatch(url: &Url, expected: Digest, found: Digest) -> OciError {
    let source = ResponseError::Digest { expected, found };
    OciError::Response { request: shown(&Method::GET, url), source }
}

fn malformed(text: &str, what: &'static str) -> OciError {
    OciError::Response { request: text.to_owned(), source: ResponseError::Malformed { what } }
}

pub(crate) fn shown(method: &Method, url: &Url) -> String {
    format!("{method} {}", shown_url(url))
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// What is cached for a time; of more than so many entries the one that was not used for longest goes.
struct Cache<K, V> {
    max: usize,
    entries: HashMap<K, (V, Option<Instant>)>,
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    fn new(max: usize) -> Self {
        Self { max, entries: HashMap::new(), order: VecDeque::new() }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        let (value, until) = self.entries.get(key)?;
        let value = until.is_none_or(|until| Instant::now() < until).then(|| value.clone())?;
        // The last one in the order is the last one that was used; moving it costs as much as there are entries in between.
        if self.order.len() == self.max
            && let Some(at) = self.order.iter().position(|kept| kept == key)
            && let Some(kept) = self.order.remove(at)
        {
            self.order.push_back(kept);
        }
        Some(value)
    }

    fn insert(&mut self, key: K, value: V, keep_for: Option<Duration>) {
        let until = keep_for.map(|keep_for| Instant::now() + keep_for);
        if self.entries.insert(key.clone(), (value, until)).is_none() {
            self.order.push_back(key);
        }
        while self.entries.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &K) {
        if self.entries.remove(key).is_some() {
            self.order.retain(|kept| kept != key);
        }
    }
}

#[cfg(test)]
mod tests;
