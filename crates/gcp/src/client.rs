//! Requests for tokens, and the cache of their responses.

use std::{path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use plumb_api::sealed::Sealed;
use plumb_memory::{Limit, MemoryPool};
use plumb_transport::{
    ClientConfig, Credential, HttpClient, HttpRequest, OriginCredential, Proxy, Slots, TokenCache, TokenKey,
    read_token_file, shown_url, token_key,
};
use serde_json::json;
use url::{Url, form_urlencoded};

use crate::{
    error::GcpError,
    identity::{Federation, GcpEndpoints, is_part},
    parse::{
        Exchange, File, HttpUrl, error_code, federated, parse_file, parse_impersonated, parse_token, signed,
    },
};

/// A response with a token.
const RESPONSE: Limit = Limit { name: "a response of Google with a token", bytes_max: 256 << 10 };
/// Bytes of an error response.
const ERROR_BYTES_MAX: usize = 16 << 10;
/// How long the metadata service may take: it is on the same machine.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// Exchanges that go on at a time, over all identities.
const EXCHANGES_MAX: usize = 16;

/// Tokens of Google Cloud. Clones share them.
#[derive(Clone)]
pub struct GcpClient {
    /// The services that are called.
    pub endpoints: GcpEndpoints,
    file: Option<PathBuf>,
    memory: MemoryPool,
    cache: TokenCache,
    slots: Slots,
}

/// Whose token it is.
#[derive(Clone, Debug)]
pub enum GcpIdentity {
    /// That of the environment.
    Environment,
    /// That of a Kubernetes ServiceAccount.
    Account {
        /// Its namespace and name.
        account: (String, String),
        /// Where its token is accepted.
        federation: Federation,
        /// The service account that it acts as; none for itself.
        email: Option<String>,
    },
}

/// How tokens are requested.
#[derive(Clone)]
pub struct Caller<'a> {
    /// Whom responses are charged to.
    pub consumer: &'a str,
    /// How requests are sent, but those to the metadata service.
    pub config: ClientConfig,
    /// How long one request may take.
    pub timeout: Duration,
    /// The time.
    pub now: Timestamp,
}

/// The signed token of a Kubernetes ServiceAccount, when it is needed.
pub type AccountToken<E> = Result<Sealed, E>;

impl GcpClient {
    /// Keeps tokens in `cache`. `file` has credentials; without it, the metadata service is asked. Responses are charged to `memory`.
    pub fn new(
        endpoints: GcpEndpoints,
        file: Option<PathBuf>,
        memory: MemoryPool,
        cache: TokenCache,
    ) -> Self {
        Self { endpoints, file, memory, cache, slots: Slots::new(EXCHANGES_MAX) }
    }

    /// A token for a scope. `token` is that of the ServiceAccount; it is read only when it is exchanged.
    pub async fn token<E: From<GcpError>>(
        &self,
        identity: &GcpIdentity,
        scope: &str,
        caller: &Caller<'_>,
        token: impl Future<Output = AccountToken<E>>,
    ) -> Result<Sealed, E> {
        let make = async {
            let _slot = self.slots.acquire(caller.consumer).await;
            match identity {
                GcpIdentity::Environment => Ok::<_, E>(self.of_environment(scope, caller).await?),
                GcpIdentity::Account { federation, email, .. } => {
                    let impersonation =
                        email.as_deref().map(|email| self.impersonation(email)).transpose()?;
                    let token = token.await?;
                    let audience = (federation.audience.as_str(), None);
                    let exchange =
                        federated(self.endpoints.sts.clone(), audience, &token, scope, impersonation);
                    Ok(self.exchange(exchange, scope, caller).await?)
                }
            }
        };
        self.cache.get_or_make(cache_key(identity, scope), caller.now, make).await
    }

    /// The workload identities of the cluster of GKE that this process is in.
    pub async fn cluster(&self, caller: &Caller<'_>) -> Result<Federation, GcpError> {
        let project = self.attribute("project/project-id", caller).await?;
        let location = self.attribute("instance/attributes/cluster-location", caller).await?;
        let cluster = self.attribute("instance/attributes/cluster-name", caller).await?;
        Ok(Federation::of_cluster(&project, &location, &cluster))
    }

    async fn attribute(&self, path: &str, caller: &Caller<'_>) -> Result<String, GcpError> {
        let (url, body) = self.metadata(path, caller).await?;
        let text = String::from_utf8(body).ok().map(|text| text.trim().to_owned());
        text.filter(|text| is_part(text)).ok_or_else(|| malformed(&Method::GET, &url, "a name"))
    }

    async fn of_environment(
        &self,
        scope: &str,
        caller: &Caller<'_>,
    ) -> Result<(Sealed, Timestamp), GcpError> {
        let Some(file) = &self.file else {
            let (url, body) = self.metadata("instance/service-accounts/default/token", caller).await?;
            return parse_token(&body, caller.now).ok_or_else(|| malformed(&Method::GET, &url, TOKEN));
        };
        let file = parse_file(&read_file(file.clone()).await?)?;
        if let Some(exchange) = signed(&file, scope, caller.now)? {
            return self.exchange(exchange, scope, caller).await;
        }
        let File::ExternalAccount {
            audience,
            subject_token_type,
            token_url,
            service_account_impersonation_url,
            credential_source,
        } = file
        else {
            return Err(GcpError::File { problem: "is of a type that is not supported".to_owned() });
        };
        let token = read_file(credential_source.file).await?;
        let audience = (audience.as_str(), Some(subject_token_type.as_str()));
        let impersonation = service_account_impersonation_url.map(|HttpUrl(url)| url);
        let exchange = federated(token_url.0, audience, &token, scope, impersonation);
        self.exchange(exchange, scope, caller).await
    }

    fn impersonation(&self, email: &str) -> Result<Url, GcpError> {
        let path = format!("/v1/projects/-/serviceAccounts/{email}:generateAccessToken");
        self.endpoints.iam.join(&path).map_err(|_| malformed(&Method::POST, &self.endpoints.iam, "a URL"))
    }

    async fn exchange(
        &self,
        exchange: Exchange,
        scope: &str,
        caller: &Caller<'_>,
    ) -> Result<(Sealed, Timestamp), GcpError> {
        let Exchange { url, form, impersonation } = exchange;
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = HttpRequest::post(url.clone(), body)
            .header(header::CONTENT_TYPE, form_type)
            .timeout(caller.timeout);
        let body = self.send(caller.config.clone(), (&Method::POST, &url), request, caller).await?;
        let made = parse_token(&body, caller.now).ok_or_else(|| malformed(&Method::POST, &url, TOKEN))?;
        let Some(url) = impersonation else { return Ok(made) };
        let credential = Credential::Bearer { token: made.0 };
        let credential = OriginCredential::new(&url, &credential).map_err(|_| GcpError::Header)?;
        let body = json!({ "scope": [scope], "lifetime": "3600s" }).to_string();
        let request = HttpRequest::post(url.clone(), body)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .credential(credential)
            .timeout(caller.timeout);
        let body = self.send(caller.config.clone(), (&Method::POST, &url), request, caller).await?;
        parse_impersonated(&body).ok_or_else(|| malformed(&Method::POST, &url, TOKEN))
    }

    /// A request to the metadata service: at a fixed address of the machine, never through a proxy.
    async fn metadata(&self, path: &str, caller: &Caller<'_>) -> Result<(Url, Vec<u8>), GcpError> {
        let path = format!("/computeMetadata/v1/{path}");
        let url = self.endpoints.metadata.join(&path).map_err(|_| GcpError::MetadataHost)?;
        let config =
            ClientConfig { proxy: Proxy::None, connect_timeout: METADATA_TIMEOUT, ..ClientConfig::default() };
        let request = HttpRequest::get(url.clone())
            .header(HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("Google"))
            .timeout(METADATA_TIMEOUT);
        let body = self.send(config, (&Method::GET, &url), request, caller).await?;
        Ok((url, body))
    }

    async fn send(
        &self,
        config: ClientConfig,
        (method, url): (&Method, &Url),
        request: HttpRequest,
        caller: &Caller<'_>,
    ) -> Result<Vec<u8>, GcpError> {
        let shown = format!("{method} {}", shown_url(url));
        let response = HttpClient::new(config)?.send(request).await;
        let response = response.map_err(|source| GcpError::Connection { request: shown.clone(), source })?;
        let status = response.status();
        if !status.is_success() {
            // A body that ends early adds nothing: the status says what happened.
            let excerpt = response.excerpt(ERROR_BYTES_MAX).await.unwrap_or_default();
            let code = error_code(&excerpt);
            return Err(GcpError::Status { request: shown, status: status.as_u16(), code });
        }
        let mut memory = self.memory.reservation(caller.consumer, RESPONSE);
        let body = response.collect(RESPONSE, &mut memory, |_| ()).await;
        body.map_err(|source| GcpError::Body { request: shown, source })
    }
}

const TOKEN: &str = "the JSON of a token";

fn malformed(method: &Method, url: &Url, what: &'static str) -> GcpError {
    GcpError::Malformed { request: format!("{method} {}", shown_url(url)), what }
}

async fn read_file(file: PathBuf) -> Result<Sealed, GcpError> {
    let read = read_token_file(file).await;
    read.map_err(|error| GcpError::File { problem: format!("cannot be read: {error}") })
}

/// Everything that leads to a token: another tenant never gets it.
fn cache_key(identity: &GcpIdentity, scope: &str) -> TokenKey {
    match identity {
        GcpIdentity::Environment => token_key(&["gcp", scope]),
        GcpIdentity::Account { account: (namespace, name), federation, email } => token_key(&[
            "gcp",
            scope,
            namespace,
            name,
            &federation.audience,
            email.as_deref().unwrap_or_default(),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use plumb_testkit::registry::{Registry, response};
    use plumb_transport::TokenLimits;

    use super::*;
    use crate::identity::{CLOUD_SCOPE, STORAGE_SCOPE};

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn server() -> Registry {
        let server = Registry::plain().unwrap();
        server.answer(|call| {
            let token = json!({ "access_token": "ya29.s3cret", "expires_in": 3600, "token_type": "Bearer" });
            let of_account = json!({ "accessToken": "ya29.account", "expireTime": "2026-01-01T01:00:00Z" });
            let denied = json!({ "error": { "status": "PERMISSION_DENIED", "message": "ya29.s3cret" } });
            Some(match call.target.as_str() {
                "/computeMetadata/v1/instance/service-accounts/default/token" | "/v1/token" | "/token" => {
                    response(200, &[], token.to_string())
                }
                "/computeMetadata/v1/project/project-id" => response(200, &[], "acme"),
                "/computeMetadata/v1/instance/attributes/cluster-location" => {
                    response(200, &[], "europe-west1")
                }
                "/computeMetadata/v1/instance/attributes/cluster-name" => response(200, &[], "prod"),
                target if target.contains("denied@") => response(403, &[], denied.to_string()),
                target if target.ends_with(":generateAccessToken") => {
                    response(200, &[], of_account.to_string())
                }
                _ => response(404, &[], ""),
            })
        });
        server
    }

    fn client(server: &Registry, file: Option<&std::path::Path>) -> GcpClient {
        let url = |path: &str| Url::parse(&format!("http://{}{path}", server.address())).unwrap();
        let endpoints = GcpEndpoints { metadata: url("/"), sts: url("/v1/token"), iam: url("/") };
        let cache = TokenCache::new(TokenLimits::DEFAULT);
        GcpClient::new(endpoints, file.map(PathBuf::from), MemoryPool::new(1 << 30), cache)
    }

    fn caller(now: &str) -> Caller<'static> {
        Caller {
            consumer: "apps",
            config: ClientConfig { proxy: Proxy::None, ..ClientConfig::default() },
            timeout: Duration::from_secs(10),
            now: now.parse().unwrap(),
        }
    }

    fn account(name: &str, email: Option<&str>) -> GcpIdentity {
        let federation = Federation::of_cluster("acme", "europe-west1", "prod");
        GcpIdentity::Account {
            account: ("apps".to_owned(), name.to_owned()),
            federation,
            email: email.map(str::to_owned),
        }
    }

    fn account_token() -> std::future::Ready<Result<Sealed, GcpError>> {
        std::future::ready(Ok(Sealed::from("k8s-token")))
    }

    #[tokio::test]
    async fn the_metadata_service_gives_tokens_that_are_used_until_shortly_before_their_end() {
        let server = server();
        let gcp = client(&server, None);
        for (now, scope, is_asked) in [
            (NOW, STORAGE_SCOPE, true),
            ("2026-01-01T00:47:00Z", STORAGE_SCOPE, false),
            ("2026-01-01T00:47:00Z", CLOUD_SCOPE, true),
            ("2026-01-01T00:49:00Z", STORAGE_SCOPE, true),
        ] {
            let made = gcp.token(&GcpIdentity::Environment, scope, &caller(now), account_token()).await;
            assert!(made.unwrap().matches(b"ya29.s3cret"));
            assert_eq!(server.take_calls().len(), usize::from(is_asked), "{now} {scope}");
        }
    }

    #[tokio::test]
    async fn a_service_account_is_exchanged_and_acts_as_another_and_shares_its_token_with_nobody() {
        let server = server();
        let gcp = client(&server, None);
        let federation = gcp.cluster(&caller(NOW)).await.unwrap();
        assert_eq!(federation, Federation::of_cluster("acme", "europe-west1", "prod"));
        assert_eq!(federation.token_audience, "acme.svc.id.goog");
        server.take_calls();
        let email = Some("me@acme.iam.gserviceaccount.com");
        for (identity, token, calls) in [
            (account("sa", email), "ya29.account", 2),
            (account("sa", email), "ya29.account", 0),
            (account("other", email), "ya29.account", 2),
            (account("sa", None), "ya29.s3cret", 1),
        ] {
            let made = gcp.token(&identity, CLOUD_SCOPE, &caller(NOW), account_token()).await.unwrap();
            assert!(made.matches(token.as_bytes()));
            let sent = server.calls();
            server.take_calls();
            assert_eq!(sent.len(), calls, "{identity:?}");
            if let Some(first) = sent.first() {
                for part in [
                    "subject_token=k8s-token",
                    "audience=identitynamespace%3Aacme.svc.id.goog%3A",
                    "grant-type%3Atoken-exchange",
                ] {
                    assert!(first.body.contains(part), "{}", first.body);
                }
            }
            if let Some(second) = sent.get(1) {
                assert_eq!(
                    second.target,
                    "/v1/projects/-/serviceAccounts/me@acme.iam.gserviceaccount.com:generateAccessToken"
                );
                assert_eq!(second.authorization.as_deref(), Some("Bearer ya29.s3cret"));
            }
        }
    }

    #[tokio::test]
    async fn a_file_of_an_external_account_is_used() {
        let server = server();
        let directory = tempfile::tempdir().unwrap();
        let (token, file) = (directory.path().join("token"), directory.path().join("credentials.json"));
        std::fs::write(&token, "file-token\n").unwrap();
        let json = json!({
            "type": "external_account", "audience": "//iam.googleapis.com/x", "subject_token_type": "urn:jwt",
            "token_url": format!("http://{}/token", server.address()), "credential_source": { "file": token },
        });
        std::fs::write(&file, json.to_string()).unwrap();
        let gcp = client(&server, Some(&file));
        let made = gcp.token(&GcpIdentity::Environment, CLOUD_SCOPE, &caller(NOW), account_token()).await;
        assert!(made.unwrap().matches(b"ya29.s3cret"));
        assert!(server.calls()[0].body.contains("subject_token=file-token"));
    }

    #[tokio::test]
    async fn a_rejection_shows_its_code_and_no_token() {
        let server = server();
        let identity = account("sa", Some("denied@acme.iam.gserviceaccount.com"));
        let made = client(&server, None).token(&identity, CLOUD_SCOPE, &caller(NOW), account_token()).await;
        let text = made.err().unwrap().to_string();
        assert!(text.ends_with(": status 403 PERMISSION_DENIED") && !text.contains("ya29"), "{text}");
    }
}
