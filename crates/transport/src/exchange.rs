//! One request and its response, for async callers: the deadline covers all of the exchange, redirects are followed by the rules of
//! this crate, and the body is read through its limits only. What the messages mean is up to the caller; nothing is tried again here.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, COOKIE},
};
use tokio::time::Instant;
use url::Url;

use crate::{
    address::AddressPolicy,
    body::BoundedResponse,
    client::{ClientConfig, ClientError},
    connection::ConnectionError,
    credential::{Origin, OriginCredential},
    redirect::{REDIRECTS_MAX, RedirectError, Redirects, redirect_target},
};

/// How long an exchange may take, its redirects and its body included, where the request sets no other time.
pub const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// An HTTP client. Clones share its pool of connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: reqwest::Client,
    addresses: Option<AddressPolicy>,
    redirects: Redirects,
}

/// A request. What is sent to another origin after a redirect is neither the credential nor a header that is marked as sensitive.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    method: Method,
    url: Url,
    headers: HeaderMap,
    credential: Option<OriginCredential>,
    body: Bytes,
    timeout: Duration,
}

impl HttpClient {
    /// A client with these settings. Names are resolved, and addresses checked, at the time of each connection.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let (addresses, redirects) = (config.addresses, config.redirects);
        // Redirects are followed here: credentials are bound to their origin, and each target is checked before the request.
        let client = config.build()?;
        Ok(Self { client, addresses, redirects })
    }

    /// Sends a request and waits for the head of its response; every status is a response. With [`Redirects::Follow`], redirects of
    /// GET and HEAD are followed; those of other methods are responses, because their body was meant for the first origin. Dropping
    /// the future, or the response, closes the connection.
    pub async fn send(&self, request: HttpRequest) -> Result<BoundedResponse, ConnectionError> {
        let HttpRequest { method, mut url, mut headers, credential, body, timeout } = request;
        let (origin, deadline) = (Origin::of(&url), Instant::now() + timeout);
        let is_followed = self.redirects == Redirects::Follow && matches!(method, Method::GET | Method::HEAD);
        if let Some(authorization) = credential.as_ref().and_then(|bound| bound.authorization(&url)) {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        for _ in 0..=REDIRECTS_MAX {
            self.check(&url)?;
            let left = deadline.saturating_duration_since(Instant::now());
            let sent = self.client.request(method.clone(), url.clone()).headers(headers.clone());
            let sent = sent.body(body.clone()).timeout(left).send().await;
            let response = sent.map_err(|error| ConnectionError::of(&error))?;
            if !is_followed || !is_redirect(response.status()) {
                return Ok(BoundedResponse::new(url, response));
            }
            url = redirect_target(&url, response.headers()).map_err(ConnectionError::Redirect)?;
            if !origin.covers(&url) {
                // For good: a target that leads back did not come from the first origin.
                without_secrets(&mut headers);
            }
        }
        Err(ConnectionError::Redirect(RedirectError::TooMany))
    }

    fn check(&self, url: &Url) -> Result<(), ConnectionError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ConnectionError::Scheme { scheme: url.scheme().to_owned() });
        }
        self.addresses.map_or(Ok(()), |addresses| addresses.check_url(url)).map_err(ConnectionError::Address)
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn without_secrets(headers: &mut HeaderMap) {
    let is_secret = |name: &HeaderName, value: &HeaderValue| {
        value.is_sensitive() || [AUTHORIZATION, COOKIE].contains(name)
    };
    let names: Vec<_> =
        headers.iter().filter(|(name, value)| is_secret(name, value)).map(|(name, _)| name.clone()).collect();
    for name in names {
        headers.remove(name);
    }
}

impl HttpRequest {
    /// A request without body. User info of the URL is sent as basic authentication, to this URL only.
    pub fn new(method: Method, url: Url) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, url, headers, credential: None, body, timeout: REQUEST_TIMEOUT }
    }

    /// A GET.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// A HEAD.
    pub fn head(url: Url) -> Self {
        Self::new(Method::HEAD, url)
    }

    /// A POST with this body.
    pub fn post(url: Url, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, url).body(body)
    }

    /// Sets the body. A request that is sent again shares it.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Adds a header. Mark a secret as sensitive: it stays with the origin of the request, and out of logs.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sends a credential, if the URL is of its origin.
    #[must_use]
    pub fn credential(self, credential: OriginCredential) -> Self {
        Self { credential: Some(credential), ..self }
    }

    /// How long the exchange may take, its redirects and its body included. At the end, the response's body fails with
    /// [`ConnectionError::TimedOut`].
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

#[cfg(test)]
mod tests;
