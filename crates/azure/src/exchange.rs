//! The exchange of a proof of an identity for a token, by the client credentials grant of OAuth 2.0.

use std::time::Duration;

use http::{HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use plumb_api::sealed::Sealed;
use plumb_memory::{Limit, MemoryPool};
use plumb_transport::{ClientConfig, HttpClient, HttpRequest, Slots, TokenCache, shown_url};
use serde::Deserialize;
use url::form_urlencoded;

use crate::{error::AzureError, identity::AzureIdentity};

/// A response of the authority.
pub(crate) const RESPONSE: Limit = Limit { name: "a response of the authority of Azure", bytes_max: 1 << 20 };
/// Bytes of a rejection that are read.
pub(crate) const REJECTION_BYTES_MAX: usize = 8 << 10;
/// Characters of a rejection that are shown.
const REJECTION_CHARACTERS_MAX: usize = 300;
/// Exchanges that go on at a time, over all identities.
const EXCHANGES_MAX: usize = 16;
/// The type of an assertion.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What shows that the caller is the identity.
#[derive(Clone)]
pub enum Proof {
    /// A signed token of a ServiceAccount.
    Assertion(Sealed),
    /// The secret of an application.
    Secret(Sealed),
}

/// Tokens of identities. Clones share them.
#[derive(Clone)]
pub struct AzureTokens {
    pub(crate) memory: MemoryPool,
    pub(crate) cache: TokenCache,
    pub(crate) slots: Slots,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    expires_in: i64,
}

#[derive(Deserialize)]
struct Rejection {
    error_description: String,
}

impl AzureTokens {
    /// Keeps tokens in `cache`. Responses are charged to `memory`.
    pub fn new(memory: MemoryPool, cache: TokenCache) -> Self {
        Self { memory, cache, slots: Slots::new(EXCHANGES_MAX) }
    }

    /// A token of an identity for a scope, at `now`: one that was made before, while it is far from its end. `proof` is read only
    /// when one is made. Requests are sent with `config`, and their responses charged to `consumer`.
    pub async fn token<E: From<AzureError>>(
        &self,
        config: ClientConfig,
        (identity, scope): (&AzureIdentity, &str),
        proof: impl Future<Output = Result<Proof, E>>,
        consumer: &str,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<Sealed, E> {
        let make = async {
            let _slot = self.slots.acquire(consumer).await;
            let proof = proof.await?;
            let exchange = Exchange { memory: &self.memory, identity, scope, consumer, timeout };
            let TokenResponse { access_token, expires_in } = exchange.send(config, &proof).await?;
            let expires_at = now.checked_add(SignedDuration::from_secs(expires_in)).unwrap_or(now);
            Ok((Sealed::from(access_token), expires_at))
        };
        self.cache.get_or_make(identity.key(scope), now, make).await
    }

    /// Drops the token of an identity: it is not accepted any more.
    pub fn forget(&self, identity: &AzureIdentity, scope: &str) {
        self.cache.forget(&identity.key(scope));
    }
}

struct Exchange<'a> {
    memory: &'a MemoryPool,
    identity: &'a AzureIdentity,
    scope: &'a str,
    consumer: &'a str,
    timeout: Duration,
}

impl Exchange<'_> {
    async fn send(&self, config: ClientConfig, proof: &Proof) -> Result<TokenResponse, AzureError> {
        let url = shown_url(self.identity.token_url());
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = HttpRequest::post(self.identity.token_url().clone(), self.form(proof))
            .header(header::CONTENT_TYPE, form)
            .timeout(self.timeout);
        let response = HttpClient::new(config)?.send(request).await;
        let response = response.map_err(|source| AzureError::Connection { url: url.clone(), source })?;
        let status = response.status();
        if !status.is_success() {
            // A body that ends early adds nothing: the status says what happened.
            let problem = response
                .excerpt(REJECTION_BYTES_MAX)
                .await
                .map_or_else(|_| String::new(), |body| problem(&body));
            return Err(AzureError::Status { url, status: status.as_u16(), problem });
        }
        let mut memory = self.memory.reservation(self.consumer, RESPONSE);
        let body = response.collect(RESPONSE, &mut memory, |_| ()).await;
        let body = body.map_err(|source| AzureError::Body { url: url.clone(), source })?;
        serde_json::from_slice(&body).map_err(|_| AzureError::Malformed { url })
    }

    fn form(&self, proof: &Proof) -> Vec<u8> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials")
            .append_pair("client_id", self.identity.client_id())
            .append_pair("scope", self.scope);
        match proof {
            Proof::Assertion(token) => form
                .append_pair("client_assertion_type", ASSERTION_TYPE)
                .append_pair("client_assertion", token.expose_str().unwrap_or_default().trim()),
            Proof::Secret(secret) => {
                form.append_pair("client_secret", secret.expose_str().unwrap_or_default())
            }
        };
        form.finish().into_bytes()
    }
}

/// The first line of what the authority says, without control characters.
fn problem(body: &[u8]) -> String {
    let Ok(Rejection { error_description }) = serde_json::from_slice(body) else { return String::new() };
    let line = error_description.lines().next().unwrap_or_default().trim();
    let shown: String =
        line.chars().filter(|letter| !letter.is_control()).take(REJECTION_CHARACTERS_MAX).collect();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}

#[cfg(test)]
mod tests {
    use plumb_testkit::registry::{Registry, response};
    use plumb_transport::Proxy;
    use serde_json::json;

    use plumb_transport::TokenLimits;

    use super::*;
    use crate::identity::DEVOPS_SCOPE;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A server that plays the authority of the tenant `t`.
    fn authority() -> Registry {
        let server = Registry::plain().unwrap();
        server.answer(|call| {
            let token = json!({ "token_type": "Bearer", "expires_in": 3600, "access_token": "eyJ.s3cret" });
            let rejected = json!({ "error": "invalid_client", "error_description": "AADSTS70021: no match\r\nTrace ID: 1" });
            Some(match call.target.as_str() {
                "/t/oauth2/v2.0/token" => response(200, &[], token.to_string()),
                "/rejected/oauth2/v2.0/token" => response(401, &[], rejected.to_string()),
                "/odd/oauth2/v2.0/token" => response(200, &[], "<html>"),
                _ => response(503, &[], "busy"),
            })
        });
        server
    }

    fn identity(server: &Registry, tenant: &str) -> AzureIdentity {
        AzureIdentity::new(&format!("http://{}/", server.address()), tenant, "client-1", "controller")
            .unwrap()
    }

    async fn token(
        tokens: &AzureTokens,
        identity: &AzureIdentity,
        proof: Proof,
        now: &str,
    ) -> Result<Sealed, AzureError> {
        let config = ClientConfig { proxy: Proxy::None, ..ClientConfig::default() };
        let proof = async { Ok(proof) };
        tokens.token(config, (identity, DEVOPS_SCOPE), proof, "apps", TIMEOUT, now.parse().unwrap()).await
    }

    fn form(body: &[u8]) -> Vec<(String, String)> {
        form_urlencoded::parse(body).into_owned().collect()
    }

    #[tokio::test]
    async fn an_assertion_or_a_secret_is_exchanged_for_a_token_that_is_used_until_shortly_before_its_end() {
        let server = authority();
        for (proof, pairs) in [
            (
                Proof::Assertion("header.body.sig\n".into()),
                &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", "header.body.sig")][..],
            ),
            (Proof::Secret("a&b=c".into()), &[("client_secret", "a&b=c")]),
        ] {
            let tokens = AzureTokens::new(MemoryPool::new(1 << 30), TokenCache::new(TokenLimits::DEFAULT));
            let identity = identity(&server, "t");
            server.take_calls();
            for (now, is_made) in [
                ("2026-01-01T00:00:00Z", true),
                ("2026-01-01T00:47:00Z", false),
                ("2026-01-01T00:49:00Z", true),
            ] {
                let made = token(&tokens, &identity, proof.clone(), now).await.unwrap();
                assert!(made.matches(b"eyJ.s3cret"));
                assert_eq!(server.calls().len(), usize::from(is_made), "{now}");
                for call in server.calls() {
                    let mut expect = vec![
                        ("grant_type", "client_credentials"),
                        ("client_id", "client-1"),
                        ("scope", DEVOPS_SCOPE),
                    ];
                    expect.extend(pairs);
                    let expect: Vec<_> =
                        expect.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                    assert_eq!(form(call.body.as_bytes()), expect);
                }
                server.take_calls();
            }
            tokens.forget(&identity, DEVOPS_SCOPE);
            token(&tokens, &identity, proof, "2026-01-01T00:50:00Z").await.unwrap();
            assert_eq!(server.calls().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_rejection_names_what_the_authority_says_and_no_secret() {
        let server = authority();
        for (tenant, expect) in [
            ("rejected", "/rejected/oauth2/v2.0/token: status 401: AADSTS70021: no match"),
            ("odd", "the response is not the JSON of a token"),
            ("busy", "/busy/oauth2/v2.0/token: status 503"),
        ] {
            let tokens = AzureTokens::new(MemoryPool::new(1 << 30), TokenCache::new(TokenLimits::DEFAULT));
            let proof = Proof::Secret("s3cret-word".into());
            let error = token(&tokens, &identity(&server, tenant), proof, "2026-01-01T00:00:00Z")
                .await
                .err()
                .unwrap();
            let text = plumb_status::chain(&error);
            assert!(text.ends_with(expect) && !text.contains("s3cret-word"), "{text}");
        }
    }
}
