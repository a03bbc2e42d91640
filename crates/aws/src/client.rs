//! Requests for credentials, and the cache of their responses.

use std::{path::PathBuf, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use plumb_api::sealed::Sealed;
use plumb_memory::{Limit, MemoryPool};
use plumb_transport::{
    ClientConfig, HttpClient, HttpRequest, Proxy, Slots, TokenCache, TokenKey, read_token_file, shown_url,
    token_key,
};
use sha2::{Digest as _, Sha256};
use url::{Url, form_urlencoded};

use crate::{
    ecr::{self, EcrRegistry, Login},
    environment::{Environment, Source},
    error::AwsError,
    parse::{TemporaryKey, error_code, pack, parse_metadata, parse_sts, unpack},
    signature::{AccessKey, Scope, Signed, sign},
};

/// A response with credentials.
const RESPONSE: Limit = Limit { name: "a response of AWS with credentials", bytes_max: 256 << 10 };
/// Bytes of an error response.
const ERROR_BYTES_MAX: usize = 16 << 10;
/// How long a metadata service may take: it is on the same machine.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a token for the metadata service is valid, in seconds.
const METADATA_TOKEN_SECONDS: &str = "60";
/// Bytes of a name of a role.
const ROLE_BYTES_MAX: u64 = 1 << 10;
/// Exchanges that go on at a time, over all identities.
const EXCHANGES_MAX: usize = 16;
/// Characters of the name of a session.
const SESSION_LENGTH_MAX: usize = 64;

/// Credentials of AWS. Clones share them.
#[derive(Clone)]
pub struct AwsClient {
    memory: MemoryPool,
    cache: TokenCache,
    slots: Slots,
    environment: Arc<Environment>,
}

/// As whom, where and how credentials are requested.
#[derive(Clone)]
pub struct Identity<'a> {
    /// The role that the token of a ServiceAccount may assume; none for the identity of the environment.
    pub role: Option<WebIdentity>,
    /// The region.
    pub region: Option<&'a str>,
    /// The endpoint of the Security Token Service that the spec names.
    pub sts_endpoint: Option<&'a str>,
    /// Whom responses are charged to.
    pub consumer: &'a str,
    /// How requests are sent, but those to a metadata service.
    pub config: ClientConfig,
    /// How long one request may take.
    pub timeout: Duration,
    /// The time.
    pub now: Timestamp,
}

/// A role, and who may assume it.
#[derive(Clone)]
pub struct WebIdentity {
    /// The ARN of the role.
    pub role: String,
    /// The namespace of the ServiceAccount. Its name.
    pub account: (String, String),
}

impl AwsClient {
    /// Keeps credentials in `cache`. Responses are charged to `memory`.
    pub fn new(environment: Environment, memory: MemoryPool, cache: TokenCache) -> Self {
        Self { memory, cache, slots: Slots::new(EXCHANGES_MAX), environment: Arc::new(environment) }
    }

    /// What the environment says.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// An access key. `token` is the token of the ServiceAccount; it is read only when it is exchanged.
    pub async fn key<E: From<AwsError>>(
        &self,
        identity: &Identity<'_>,
        token: impl Future<Output = Result<Sealed, E>>,
    ) -> Result<AccessKey, E> {
        let make = async {
            let _slot = self.slots.acquire(identity.consumer).await;
            let TemporaryKey { key, expires_at } = self.fetch_key(identity, token).await?;
            let packed = pack(&key).ok_or(AwsError::Header)?;
            // Without an end it is not kept.
            Ok::<_, E>((packed, expires_at.unwrap_or(identity.now)))
        };
        let packed = self.cache.get_or_make(cache_key("key", identity), identity.now, make).await?;
        unpack(&packed).ok_or_else(|| AwsError::Header.into())
    }

    /// The login of a registry.
    pub async fn login<E: From<AwsError>>(
        &self,
        registry: &EcrRegistry,
        identity: &Identity<'_>,
        token: impl Future<Output = Result<Sealed, E>>,
    ) -> Result<Login, E> {
        let identity = &Identity { region: Some(&registry.region), ..identity.clone() };
        let make = async {
            let key = self.key(identity, token).await?;
            Ok::<_, E>(self.fetch_login(registry, identity, &key).await?)
        };
        let (service, _) = registry.operation();
        let token = self.cache.get_or_make(cache_key(service, identity), identity.now, make).await?;
        ecr::login(&token).ok_or_else(|| AwsError::Header.into())
    }

    async fn fetch_key<E: From<AwsError>>(
        &self,
        identity: &Identity<'_>,
        token: impl Future<Output = Result<Sealed, E>>,
    ) -> Result<TemporaryKey, E> {
        if let Some(WebIdentity { role, account: (namespace, name) }) = &identity.role {
            let region = self.environment.region(identity.region)?;
            let url = self.environment.endpoints().sts(&region, identity.sts_endpoint)?;
            let session = session_name(&format!("{name}.{namespace}.{region}.fluxcd.io"));
            return Ok(self.assume(identity, url, (role, &session), &token.await?).await?);
        }
        Ok(match self.environment.source()? {
            // Permanent, or temporary with an end that is not known.
            Source::Key(key) => TemporaryKey { key, expires_at: None },
            Source::Role { arn, file, session } => {
                let region = self.environment.region(identity.region)?;
                let url = self.environment.endpoints().sts(&region, identity.sts_endpoint)?;
                let token = read_file("AWS_WEB_IDENTITY_TOKEN_FILE", file).await?;
                self.assume(identity, url, (&arn, &session_name(&session)), &token).await?
            }
            Source::Container { url, token, token_file } => {
                let token = match token_file {
                    Some(file) => Some(read_file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file).await?),
                    None => token,
                };
                let headers = token.iter().map(|token| ("authorization", token)).collect::<Vec<_>>();
                let body = self.metadata(identity, Method::GET, &url, &headers, RESPONSE).await?;
                parse_metadata(&body).ok_or_else(|| malformed(&Method::GET, &url, KEYS))?
            }
            Source::Metadata { base } => self.instance(identity, &base).await?,
        })
    }

    /// Assumes a role with a signed token.
    async fn assume(
        &self,
        identity: &Identity<'_>,
        url: Url,
        (role, session): (&str, &str),
        token: &Sealed,
    ) -> Result<TemporaryKey, AwsError> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", role)
            .append_pair("RoleSessionName", session)
            .append_pair("WebIdentityToken", token.expose_str().unwrap_or_default().trim())
            .finish();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = HttpRequest::post(url.clone(), form)
            .header(header::CONTENT_TYPE, form_type)
            .timeout(identity.timeout);
        let body =
            self.send(identity, identity.config.clone(), (&Method::POST, &url), request, RESPONSE).await?;
        parse_sts(&body).ok_or_else(|| malformed(&Method::POST, &url, KEYS))
    }

    /// The role of the machine, version 2 of its metadata service.
    async fn instance(&self, identity: &Identity<'_>, base: &Url) -> Result<TemporaryKey, AwsError> {
        let at = |path: &str| {
            let problem = "is not the base of a URL";
            base.join(path)
                .map_err(|_| AwsError::Variable { name: "AWS_EC2_METADATA_SERVICE_ENDPOINT", problem })
        };
        let limit = Limit { bytes_max: ROLE_BYTES_MAX, ..RESPONSE };
        let url = at("/latest/api/token")?;
        let seconds = Sealed::from(METADATA_TOKEN_SECONDS);
        let lifetime = [("x-aws-ec2-metadata-token-ttl-seconds", &seconds)];
        let token = Sealed::new(self.metadata(identity, Method::PUT, &url, &lifetime, limit).await?);
        let headers = [("x-aws-ec2-metadata-token", &token)];
        let url = at("/latest/meta-data/iam/security-credentials/")?;
        let roles = self.metadata(identity, Method::GET, &url, &headers, limit).await?;
        let role = std::str::from_utf8(&roles).ok().and_then(|text| text.lines().next()).map(str::trim);
        let is_name = |role: &&str| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
            !role.is_empty() && !role.starts_with('.') && role.bytes().all(is_allowed)
        };
        let role = role.filter(is_name).ok_or_else(|| malformed(&Method::GET, &url, "the name of a role"))?;
        let url = at(&format!("/latest/meta-data/iam/security-credentials/{role}"))?;
        let body = self.metadata(identity, Method::GET, &url, &headers, RESPONSE).await?;
        parse_metadata(&body).ok_or_else(|| malformed(&Method::GET, &url, KEYS))
    }

    async fn fetch_login(
        &self,
        registry: &EcrRegistry,
        identity: &Identity<'_>,
        key: &AccessKey,
    ) -> Result<(Sealed, Timestamp), AwsError> {
        const BODY: &str = "{}";
        const TYPE: &str = "application/x-amz-json-1.1";
        let (service, target) = registry.operation();
        let region = self.environment.region(Some(&registry.region))?;
        let endpoints = self.environment.endpoints();
        let url = if registry.is_public { endpoints.ecr_public(&region)? } else { endpoints.ecr(&region)? };
        let headers = [("content-type", TYPE), ("x-amz-target", target)];
        let signed = Signed { method: "POST", url: &url, headers: &headers };
        let digest = HEXLOWER.encode(&Sha256::digest(BODY));
        let added = sign(key, Scope { region: &region, service }, &signed, &digest, identity.now);
        let mut request = HttpRequest::post(url.clone(), BODY).timeout(identity.timeout);
        let headers = headers.map(|(name, value)| (name, value.to_owned()));
        for (name, value) in headers.into_iter().chain(added) {
            let mut value = HeaderValue::from_str(&value).map_err(|_| AwsError::Header)?;
            value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
            request = request.header(HeaderName::from_static(name), value);
        }
        let body =
            self.send(identity, identity.config.clone(), (&Method::POST, &url), request, RESPONSE).await?;
        ecr::parse_token(&body).ok_or_else(|| malformed(&Method::POST, &url, "an authorization token"))
    }

    /// A request to a metadata service: at a fixed address of the machine, never through a proxy.
    async fn metadata(
        &self,
        identity: &Identity<'_>,
        method: Method,
        url: &Url,
        headers: &[(&'static str, &Sealed)],
        limit: Limit,
    ) -> Result<Vec<u8>, AwsError> {
        let config =
            ClientConfig { proxy: Proxy::None, connect_timeout: METADATA_TIMEOUT, ..ClientConfig::default() };
        let mut request = HttpRequest::new(method.clone(), url.clone()).timeout(METADATA_TIMEOUT);
        for (name, value) in headers {
            let text = value.expose_str().unwrap_or_default().trim();
            let mut value = HeaderValue::from_str(text).map_err(|_| AwsError::Header)?;
            value.set_sensitive(true);
            request = request.header(HeaderName::from_static(name), value);
        }
        self.send(identity, config, (&method, url), request, limit).await
    }

    async fn send(
        &self,
        identity: &Identity<'_>,
        config: ClientConfig,
        (method, url): (&Method, &Url),
        request: HttpRequest,
        limit: Limit,
    ) -> Result<Vec<u8>, AwsError> {
        let shown = format!("{method} {}", shown_url(url));
        let response = HttpClient::new(config)?.send(request).await;
        let response = response.map_err(|source| AwsError::Connection { request: shown.clone(), source })?;
        let status = response.status();
        if !status.is_success() {
            // A body that ends early adds nothing: the status says what happened.
            let excerpt = response.excerpt(ERROR_BYTES_MAX).await.unwrap_or_default();
            let code = error_code(&excerpt);
            return Err(AwsError::Status { request: shown, status: status.as_u16(), code });
        }
        let mut memory = self.memory.reservation(identity.consumer, limit);
        let body = response.collect(limit, &mut memory, |_| ()).await;
        body.map_err(|source| AwsError::Body { request: shown, source })
    }
}

const KEYS: &str = "the temporary credentials of AWS";

fn malformed(method: &Method, url: &Url, what: &'static str) -> AwsError {
    AwsError::Malformed { request: format!("{method} {}", shown_url(url)), what }
}

async fn read_file(name: &'static str, file: PathBuf) -> Result<Sealed, AwsError> {
    read_token_file(file).await.map_err(|error| AwsError::File { name, problem: error.to_string() })
}

/// Everything that leads to a credential: another tenant never gets it.
fn cache_key(kind: &str, identity: &Identity<'_>) -> TokenKey {
    let Identity { role, region, sts_endpoint, consumer: _, config: _, timeout: _, now: _ } = identity;
    let (role, namespace, name) = role.as_ref().map_or(("", "", ""), |identity| {
        let (namespace, name) = &identity.account;
        (identity.role.as_str(), namespace.as_str(), name.as_str())
    });
    token_key(&[
        "aws",
        kind,
        role,
        namespace,
        name,
        region.unwrap_or_default(),
        sts_endpoint.unwrap_or_default(),
    ])
}

/// A name of a session: its characters are limited.
fn session_name(text: &str) -> String {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "+=,.@_-".contains(letter);
    text.chars().filter(|letter| is_allowed(*letter)).take(SESSION_LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests;
