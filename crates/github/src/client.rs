//! The exchange: the number of the installation where only its owner is known, then a token for it.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use plumb_api::sealed::Sealed;
use plumb_memory::{Limit, MemoryPool};
use plumb_transport::{
    BodyError, ClientConfig, ClientError, ConnectionError, Credential, HttpClient, HttpRequest, Slots,
    TokenCache, shown_url,
};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use crate::app::{App, AppError, Installation};

/// The media type of the responses, for the `Accept` header.
const ACCEPT: HeaderValue = HeaderValue::from_static("application/vnd.github+json");
const VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28"));
/// A response of the API.
const RESPONSE: Limit = Limit { name: "a response of the GitHub API", bytes_max: 1 << 20 };
/// Exchanges that go on at a time, over all apps.
const EXCHANGES_MAX: usize = 16;

/// Tokens of installations. Clones share them.
#[derive(Clone)]
pub struct GithubApps {
    memory: MemoryPool,
    tokens: TokenCache,
    slots: Slots,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum GithubError {
    /// The app cannot sign.
    #[error(transparent)]
    App(#[from] AppError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The connection failed.
    #[error("{request}")]
    Connection {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: ConnectionError,
    },
    /// GitHub refused.
    #[error("{request}: status {status}")]
    Status {
        /// Method and URL.
        request: String,
        /// The status.
        status: u16,
    },
    /// The app is not installed there.
    #[error("the app is not installed for {owner:?}")]
    NotInstalled {
        /// The organization or user.
        owner: String,
    },
    /// A response that is too large, or ended early.
    #[error("{request}")]
    Body {
        /// Method and URL.
        request: String,
        /// Why.
        #[source]
        source: BodyError,
    },
    /// A response that is not what was asked for.
    #[error("{request}: the response is not the JSON of a {what}")]
    Malformed {
        /// Method and URL.
        request: String,
        /// What it should be.
        what: &'static str,
    },
}

#[derive(Deserialize)]
struct InstallationResponse {
    id: u64,
}

#[derive(Deserialize)]
struct TokenResponse {
    token: String,
    expires_at: Timestamp,
}

impl GithubApps {
    /// Keeps tokens in `tokens`. Responses are charged to `memory`.
    pub fn new(memory: MemoryPool, tokens: TokenCache) -> Self {
        Self { memory, tokens, slots: Slots::new(EXCHANGES_MAX) }
    }

    /// A token of the app's installation, at `now`: one that was made before, while it is far from its end. Requests are sent with
    /// `config`, and their responses charged to `consumer`.
    pub async fn token(
        &self,
        config: ClientConfig,
        app: &App,
        consumer: &str,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<Sealed, GithubError> {
        let make = async {
            let _slot = self.slots.acquire(consumer).await;
            let (http, jwt) = (HttpClient::new(config)?, app.jwt(now)?);
            let exchange = Exchange { apps: self, http, app, consumer, timeout, jwt };
            let id = match &app.installation {
                Installation::Id(id) => *id,
                Installation::Owner(owner) => exchange.installation(owner).await?,
            };
            let url = exchange.url(&format!("app/installations/{id}/access_tokens"))?;
            let (request, response) =
                exchange.request_json::<TokenResponse>(Method::POST, url, "token").await?;
            let Some(TokenResponse { token, expires_at }) = response else {
                return Err(GithubError::Status { request, status: StatusCode::NOT_FOUND.as_u16() });
            };
            Ok((Sealed::from(token), expires_at))
        };
        self.tokens.get_or_make(app.fingerprint(), now, make).await
    }

    /// Drops the token of an app: it is not accepted any more.
    pub fn forget(&self, app: &App) {
        self.tokens.forget(&app.fingerprint());
    }
}

/// The requests for one token.
struct Exchange<'a> {
    apps: &'a GithubApps,
    http: HttpClient,
    app: &'a App,
    consumer: &'a str,
    timeout: Duration,
    jwt: Sealed,
}

impl Exchange<'_> {
    /// The installation of an organization, or else of a user.
    async fn installation(&self, owner: &str) -> Result<u64, GithubError> {
        for kind in ["orgs", "users"] {
            let url = self.url(&format!("{kind}/{owner}/installation"))?;
            let (_, response) =
                self.request_json::<InstallationResponse>(Method::GET, url, "installation").await?;
            if let Some(InstallationResponse { id }) = response {
                return Ok(id);
            }
        }
        Err(GithubError::NotInstalled { owner: owner.to_owned() })
    }

    fn url(&self, path: &str) -> Result<Url, GithubError> {
        self.app.api.join(path).map_err(|_| GithubError::App(AppError::BaseUrl))
    }

    /// One request, and its response; none where there is no such thing. How errors name it comes with it.
    async fn request_json<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        what: &'static str,
    ) -> Result<(String, Option<T>), GithubError> {
        let request = format!("{method} {}", shown_url(&url));
        let credential = Credential::Bearer { token: self.jwt.clone() };
        let authorization = credential.authorization().ok().flatten();
        let authorization = authorization.ok_or(GithubError::App(AppError::Key))?;
        let sent = HttpRequest::new(method, url)
            .header(header::ACCEPT, ACCEPT)
            .header(VERSION.0, VERSION.1)
            .header(header::AUTHORIZATION, authorization)
            .timeout(self.timeout);
        let connection = |source| GithubError::Connection { request: request.clone(), source };
        let response = self.http.send(sent).await.map_err(connection)?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Ok((request, None));
        }
        if !status.is_success() {
            return Err(GithubError::Status { request, status: status.as_u16() });
        }
        let mut memory = self.apps.memory.reservation(self.consumer, RESPONSE);
        let body = response.collect(RESPONSE, &mut memory, |_| ()).await;
        let body = body.map_err(|source| GithubError::Body { request: request.clone(), source })?;
        match serde_json::from_slice(&body) {
            Ok(parsed) => Ok((request, Some(parsed))),
            Err(_) => Err(GithubError::Malformed { request, what }),
        }
    }
}

#[cfg(test)]
mod tests {
    use plumb_testkit::registry::{Call, Registry, response};
    use plumb_transport::Proxy;
    use serde_json::json;

    use plumb_transport::TokenLimits;

    use super::*;
    use crate::app::tests::key;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A server that plays the API: it has an installation 7 of the user `octo`.
    fn github() -> Registry {
        let server = Registry::plain().unwrap();
        server.answer(|call| {
            Some(match (call.method.as_str(), call.target.as_str()) {
                ("GET", "/api/v3/users/octo/installation") => response(200, &[], r#"{"id": 7}"#),
                ("POST", "/api/v3/app/installations/7/access_tokens") => {
                    let answer = json!({ "token": "ghs_s3cret", "expires_at": "2026-01-01T01:00:00Z" });
                    response(201, &[], answer.to_string())
                }
                ("POST", "/api/v3/app/installations/8/access_tokens") => response(401, &[], "{}"),
                ("POST", "/api/v3/app/installations/9/access_tokens") => response(200, &[], "<html>"),
                _ => response(404, &[], "{}"),
            })
        });
        server
    }

    fn app(server: &Registry, installation: Installation) -> App {
        let base_url = format!("http://{}/api/v3", server.address());
        App::new("42", installation, &key().0, Some(&base_url)).unwrap()
    }

    fn config() -> ClientConfig {
        ClientConfig { proxy: Proxy::None, ..ClientConfig::default() }
    }

    #[tokio::test]
    async fn a_token_is_made_once_and_again_shortly_before_its_end() {
        let server = github();
        let apps = GithubApps::new(MemoryPool::new(1 << 30), TokenCache::new(TokenLimits::DEFAULT));
        for installation in [Installation::Id(7), Installation::Owner("octo".to_owned())] {
            let app = app(&server, installation);
            server.take_calls();
            for (now, made) in [
                ("2026-01-01T00:00:00Z", true),
                ("2026-01-01T00:47:00Z", false),
                ("2026-01-01T00:48:30Z", true),
            ] {
                let token = apps.token(config(), &app, "apps", TIMEOUT, at(now)).await.unwrap();
                assert!(token.matches(b"ghs_s3cret"));
                let posts = server.calls().iter().filter(|call| call.method == "POST").count();
                assert_eq!(posts > 0, made, "{now}");
                let signed = |call: &Call| {
                    call.authorization.as_deref().is_some_and(|text| text.starts_with("Bearer ey"))
                };
                assert!(server.calls().iter().all(signed));
                server.take_calls();
            }
        }
    }

    #[tokio::test]
    async fn many_that_need_a_token_at_once_make_one() {
        let server = github();
        let apps = GithubApps::new(MemoryPool::new(1 << 30), TokenCache::new(TokenLimits::DEFAULT));
        let app = app(&server, Installation::Id(7));
        let now = at("2026-01-01T00:00:00Z");
        let all = (0..20).map(|_| {
            let (apps, app) = (apps.clone(), app.clone());
            tokio::spawn(async move { apps.token(config(), &app, "apps", TIMEOUT, now).await.is_ok() })
        });
        for one in all.collect::<Vec<_>>() {
            assert!(one.await.unwrap());
        }
        assert_eq!(server.take_calls().len(), 1);
        apps.forget(&app);
        apps.token(config(), &app, "apps", TIMEOUT, now).await.ok().unwrap();
        assert_eq!(server.take_calls().len(), 1, "a token that is not accepted is not used again");
    }

    #[tokio::test]
    async fn a_refusal_names_the_request_and_no_secret() {
        let server = github();
        let apps = GithubApps::new(MemoryPool::new(1 << 30), TokenCache::new(TokenLimits::DEFAULT));
        for (installation, expect) in [
            (Installation::Id(8), "/api/v3/app/installations/8/access_tokens: status 401"),
            (Installation::Id(9), "is not the JSON of a token"),
            (Installation::Id(10), "status 404"),
            (Installation::Owner("nobody".to_owned()), "the app is not installed for \"nobody\""),
        ] {
            let app = app(&server, installation);
            let now = at("2026-01-01T00:00:00Z");
            let error = apps.token(config(), &app, "apps", TIMEOUT, now).await.err().unwrap();
            let text = plumb_status::chain(&error);
            assert!(text.contains(expect) && !text.contains("ey"), "{text}");
        }
    }
}
