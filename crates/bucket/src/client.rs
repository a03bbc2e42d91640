//! Requests to an object store: who signs them, what a response has to be, and when one is tried again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use plumb_api::sealed::Sealed;
use plumb_memory::{Limit, MemoryPool, MemoryReservation};
use plumb_status::cadence::Backoff;
use plumb_transport::{
    BodyError, BoundedResponse, ClientConfig, ClientError, Credential, HttpClient, Proxy, Trust,
    address::AddressPolicy, shown_text, shown_url,
};
use tokio::time::Instant;
use url::Url;

use crate::{
    address::BucketAddress,
    credential::BucketCredential,
    error::{BucketError, ResponseError},
    listing::{BucketLimits, Listing, Object, Page, Pages, memory_limit},
    request::{ObjectRequest, Signer},
    token::{Exchange, Given, Tokens},
};

/// How this client names itself.
const AGENT: &str = concat!("plumb/", env!("CARGO_PKG_VERSION"));
/// Clients with settings of their own: the one that was used longest ago goes first.
const CLIENTS_MAX: usize = 64;
/// How long a server may be silent between two parts of a response.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes of an error response.
const ERROR_BYTES_MAX: usize = 16 << 10;
/// How often a request is sent: servers that are overloaded ask for it to be sent again.
const ATTEMPTS_MAX: u32 = 4;
/// The wait before it is sent again.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(250), max: Duration::from_secs(5) };

/// The client of all buckets. Clones share it.
#[derive(Clone)]
pub struct BucketClient(Arc<Inner>);

struct Inner {
    addresses: AddressPolicy,
    memory: MemoryPool,
    limits: BucketLimits,
    clients: Mutex<VecDeque<(String, HttpClient)>>,
    tokens: Tokens,
}

/// How a bucket is reached.
#[derive(Clone)]
pub struct Access {
    /// Which servers are trusted, and the client certificate.
    pub trust: Trust,
    /// The proxy.
    pub proxy: Proxy,
    /// Tells other settings of trust and proxy apart, without showing them.
    pub fingerprint: String,
    /// Whether a token may be sent over a connection without TLS.
    pub insecure: bool,
    /// The credential.
    pub credential: BucketCredential,
}

/// A bucket that requests can be sent to, until its deadline.
pub struct Remote {
    pub(crate) client: BucketClient,
    http: HttpClient,
    address: Mutex<BucketAddress>,
    pub(crate) signer: Signer,
    exchanged: Option<[u8; 32]>,
    pub(crate) consumer: String,
    pub(crate) deadline: Instant,
}

/// The content of an object, and what it is charged to.
#[derive(Debug)]
pub struct Content {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Held as long as the bytes are.
    pub memory: MemoryReservation,
}

impl BucketClient {
    /// A client. Bodies are charged to `memory`.
    pub fn new(addresses: AddressPolicy, memory: MemoryPool, limits: BucketLimits) -> Self {
        let (clients, tokens) = (Mutex::default(), Tokens::default());
        Self(Arc::new(Inner { addresses, memory, limits, clients, tokens }))
    }

    /// What one bucket may cost.
    pub fn limits(&self) -> BucketLimits {
        self.0.limits
    }

    /// What bodies are charged to.
    pub fn memory(&self) -> &MemoryPool {
        &self.0.memory
    }

    /// Exchanges the credential, where it has to be. All that is done with the bucket is done within `timeout`, and charged to
    /// `consumer`.
    pub async fn connect(
        &self,
        consumer: &str,
        address: &BucketAddress,
        access: Access,
        timeout: Duration,
    ) -> Result<Remote, BucketError> {
        let deadline = Instant::now() + timeout;
        let http = self.http(&access.fingerprint, &access.trust, &access.proxy)?;
        let mut exchanged = None;
        let signer = match &access.credential {
            BucketCredential::Anonymous => Signer::None,
            BucketCredential::AccessKey(key) => Signer::AccessKey(key.clone()),
            BucketCredential::SharedKey(key) => Signer::SharedKey(key.clone()),
            BucketCredential::Signature(signature) => Signer::Signature(signature.clone()),
            BucketCredential::Ldap(login) => {
                let settings = format!("{}\n{}", access.fingerprint, login.fingerprint);
                let http = self.http(&settings, &login.trust, &access.proxy)?;
                self.exchange(Exchange::Ldap(login), &http, consumer, deadline, &mut exchanged).await?
            }
            BucketCredential::Google(_) | BucketCredential::Entra(_) | BucketCredential::Bearer(_)
                if address.is_plain() && !access.insecure =>
            {
                return Err(BucketError::PlainToken { url: shown_text(address.shown()) });
            }
            BucketCredential::Bearer(token) => bearer(token.clone())?,
            BucketCredential::Google(key) => {
                self.exchange(Exchange::Google(key), &http, consumer, deadline, &mut exchanged).await?
            }
            BucketCredential::Entra(app) => {
                self.exchange(Exchange::Entra(app), &http, consumer, deadline, &mut exchanged).await?
            }
        };
        let (client, consumer, address) = (self.clone(), consumer.to_owned(), Mutex::new(address.clone()));
        Ok(Remote { client, http, address, signer, exchanged, consumer, deadline })
    }

    async fn exchange(
        &self,
        exchange: Exchange<'_>,
        http: &HttpClient,
        consumer: &str,
        deadline: Instant,
        exchanged: &mut Option<[u8; 32]>,
    ) -> Result<Signer, BucketError> {
        *exchanged = Some(exchange.fingerprint());
        let memory = (&self.0.memory, consumer);
        match self.0.tokens.exchange(&exchange, http, memory, left(deadline)).await? {
            Given::AccessKey(key) => Ok(Signer::AccessKey(key)),
            Given::Bearer(token) => bearer(token),
        }
    }

    /// A client with these settings: connections are pooled in it. Redirects are not followed: a signature is for one host.
    fn http(&self, settings: &str, trust: &Trust, proxy: &Proxy) -> Result<HttpClient, BucketError> {
        let mut kept = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(known, _)| known == settings)
            && let Some((known, client)) = kept.remove(at)
        {
            kept.push_back((known, client.clone()));
            return Ok(client);
        }
        let client = HttpClient::new(ClientConfig {
            trust: trust.clone(),
            proxy: proxy.clone(),
            addresses: Some(self.0.addresses),
            user_agent: Some(HeaderValue::from_static(AGENT)),
            read_timeout: Some(SILENCE_MAX),
            ..ClientConfig::default()
        });
        let client = client.map_err(|error: ClientError| BucketError::Client(error))?;
        if kept.len() == CLIENTS_MAX {
            kept.pop_front();
        }
        kept.push_back((settings.to_owned(), client.clone()));
        Ok(client)
    }
}

fn bearer(token: Sealed) -> Result<Signer, BucketError> {
    let value = Credential::Bearer { token }.authorization().map_err(BucketError::Credential)?;
    Ok(value.map_or(Signer::None, Signer::Bearer))
}

impl Remote {
    /// The same bucket with another deadline.
    #[must_use]
    pub fn restarted(self, timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, ..self }
    }

    /// Lists the objects whose keys have a prefix, over all pages. Those that `keeps` takes are returned.
    pub async fn list(
        &self,
        prefix: &str,
        keeps: &mut (dyn FnMut(&Object) -> bool + Send),
    ) -> Result<Listing, BucketError> {
        let limits = self.client.0.limits;
        let memory = self.client.0.memory.reservation(&self.consumer, memory_limit(&limits));
        let mut pages = Pages::new(limits, memory);
        let mut next: Option<String> = None;
        loop {
            let mut retries = Retries::default();
            let page = loop {
                match self.page(prefix, next.as_deref(), limits.page_bytes_max).await {
                    Ok(page) => break page,
                    Err(error) => retries.wait(error, self.deadline).await?,
                }
            };
            match pages.add(page, keeps)? {
                None => return pages.finish(),
                Some(token) => next = Some(token),
            }
        }
    }

    async fn page(&self, prefix: &str, next: Option<&str>, bytes_max: u64) -> Result<Page, BucketError> {
        let address = self.address();
        let url = address.list_url(prefix, next)?;
        let wanted = ObjectRequest { is_listing: true, ..ObjectRequest::get(url) };
        let response = self.send(&address, &wanted).await?;
        let limit = Limit { name: "a page of a bucket listing", bytes_max };
        let Content { bytes, memory: _memory } = self.body(&wanted, response, limit).await?;
        let parsed = address.parse_page(&bytes);
        parsed.map_err(|source| BucketError::Response { request: wanted.shown(), source })
    }

    /// The content of an object of the listing: exactly what was listed, or an error.
    pub async fn get(&self, object: &Object, limit: Limit) -> Result<Content, BucketError> {
        let limit = Limit { bytes_max: object.size.unwrap_or(limit.bytes_max).min(limit.bytes_max), ..limit };
        let mut retries = Retries::default();
        loop {
            match self.get_once(object, limit).await {
                Err(error) if matches!(error.status(), Some(404 | 412)) => {
                    return Err(BucketError::Changed { key: object.key.clone() });
                }
                Err(error) => retries.wait(error, self.deadline).await?,
                done => return done,
            }
        }
    }

    async fn get_once(&self, object: &Object, limit: Limit) -> Result<Content, BucketError> {
        let address = self.address();
        let url = address.object_url(&object.key, object.generation.as_deref())?;
        let if_match = address.if_match(object);
        let wanted = ObjectRequest::get(url).with("if-match", if_match.clone());
        let response = self.send(&address, &wanted).await?;
        if let Some(if_match) = &if_match {
            let found = response.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok());
            // A server may not know the condition, and send what is there now.
            if found.map(|found| address.etag(found)) != Some(address.etag(if_match)) {
                return Err(BucketError::Response { request: wanted.shown(), source: ResponseError::Etag });
            }
        }
        let content = self.body(&wanted, response, limit).await?;
        let found = content.bytes.len() as u64;
        if let Some(expected) = object.size.filter(|size| *size != found) {
            let source = ResponseError::Size { expected, found };
            return Err(BucketError::Response { request: wanted.shown(), source });
        }
        Ok(content)
    }

    /// The content of an object that was not listed; none where it is not there.
    pub async fn find(&self, key: &str, limit: Limit) -> Result<Option<Content>, BucketError> {
        let mut retries = Retries::default();
        loop {
            match self.find_once(key, limit).await {
                Ok(content) => return Ok(Some(content)),
                Err(error) if error.status() == Some(404) => return Ok(None),
                Err(error) => retries.wait(error, self.deadline).await?,
            }
        }
    }

    async fn find_once(&self, key: &str, limit: Limit) -> Result<Content, BucketError> {
        let address = self.address();
        let url = address.object_url(key, None)?;
        let wanted = ObjectRequest::get(url);
        let response = self.send(&address, &wanted).await?;
        self.body(&wanted, response, limit).await
    }

    pub(crate) fn address(&self) -> BucketAddress {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request that is sent again where the server is overloaded, or the connection broke.
    pub(crate) async fn repeated(
        &self,
        address: &BucketAddress,
        wanted: &ObjectRequest,
    ) -> Result<BoundedResponse, BucketError> {
        let mut retries = Retries::default();
        loop {
            match self.send(address, wanted).await {
                Err(error) => retries.wait(error, self.deadline).await?,
                done => return done,
            }
        }
    }

    /// A request whose response is a success. A bucket of another region is asked there.
    pub(crate) async fn send(
        &self,
        address: &BucketAddress,
        wanted: &ObjectRequest,
    ) -> Result<BoundedResponse, BucketError> {
        let failure = match self.attempt(address, wanted, &wanted.url).await? {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let Failure { status, code, region, location } = failure;
        if status == StatusCode::UNAUTHORIZED
            && let Some(exchanged) = &self.exchanged
        {
            // The next attempt gets another one.
            self.client.0.tokens.forget(exchanged);
        }
        if let Some(elsewhere) = region.and_then(|region| address.in_region(&region)) {
            *self.address.lock().unwrap_or_else(PoisonError::into_inner) = elsewhere.clone();
            let moved = moved(address, &elsewhere, wanted)?;
            if let Ok(response) = self.attempt(&elsewhere, wanted, &moved).await? {
                return Ok(response);
            }
        }
        let status = status.as_u16();
        if address.is_no_bucket(status, code.as_deref(), wanted.is_listing) {
            return Err(BucketError::NoBucket { bucket: address.bucket().to_owned() });
        }
        Err(BucketError::Status { request: wanted.shown(), status, code, location })
    }

    async fn attempt(
        &self,
        address: &BucketAddress,
        wanted: &ObjectRequest,
        url: &Url,
    ) -> Result<Result<BoundedResponse, Failure>, BucketError> {
        let timeout = left(self.deadline);
        if timeout.is_zero() {
            return Err(BucketError::TimedOut);
        }
        let request = wanted.signed(address, &self.signer, url, Timestamp::now())?.timeout(timeout);
        let response = self.http.send(request).await;
        let response =
            response.map_err(|source| BucketError::Connection { request: wanted.shown(), source })?;
        if response.status().as_u16() == wanted.expects {
            return Ok(Ok(response));
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.and_then(|text| Url::parse(text).ok()).map(|url| shown_url(&url));
        let excerpt = response.excerpt(ERROR_BYTES_MAX).await.unwrap_or_default();
        let (code, region) = address.error_code(&headers, &excerpt);
        Ok(Err(Failure { status, code, region, location }))
    }

    pub(crate) async fn body(
        &self,
        wanted: &ObjectRequest,
        response: BoundedResponse,
        limit: Limit,
    ) -> Result<Content, BucketError> {
        let mut memory = self.client.0.memory.reservation(&self.consumer, limit);
        match response.collect(limit, &mut memory, |_| ()).await {
            Ok(bytes) => Ok(Content { bytes, memory }),
            Err(BodyError::OverBudget(over)) => Err(BucketError::OverBudget(over)),
            Err(source) => Err(BucketError::Body { request: wanted.shown(), source }),
        }
    }
}

/// How often a request has failed.
#[derive(Default)]
pub(crate) struct Retries {
    failures: u32,
}

impl Retries {
    /// Waits where the server is overloaded, or the connection broke. Otherwise, and at the end, it returns the error.
    pub async fn wait(&mut self, error: BucketError, deadline: Instant) -> Result<(), BucketError> {
        self.failures += 1;
        let wait = BACKOFF.without_jitter(self.failures);
        if self.failures == ATTEMPTS_MAX || !error.is_transient() || Instant::now() + wait >= deadline {
            return Err(error);
        }
        tracing::debug!(error = %plumb_status::chain(&error), "request to an object store failed, backing off");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// A response that is an error.
struct Failure {
    status: StatusCode,
    code: Option<String>,
    region: Option<String>,
    location: Option<String>,
}

/// The same request in another region.
fn moved(from: &BucketAddress, to: &BucketAddress, wanted: &ObjectRequest) -> Result<Url, BucketError> {
    let text = wanted.url.as_str().strip_prefix(&from.base()).map(|rest| format!("{}{rest}", to.base()));
    let moved = text.and_then(|text| Url::parse(&text).ok());
    moved.ok_or_else(|| BucketError::Response {
        request: wanted.shown(),
        source: ResponseError::Malformed { what: "from a bucket of this endpoint" },
    })
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests;
