//! Tokens of managed identities, from the metadata service of the machine or of its platform.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use plumb_api::sealed::Sealed;
use plumb_transport::{ClientConfig, HttpClient, HttpRequest, Proxy, TokenKey, shown_url, token_key};
use serde::Deserialize;
use url::Url;

use crate::{
    error::AzureError,
    exchange::{AzureTokens, RESPONSE},
};

/// Where the metadata service of a machine is.
const METADATA: &str = "http://169.254.169.254/";
/// How long it may take: it is on the same machine.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Where tokens of a managed identity are.
#[derive(Clone)]
pub enum ManagedIdentity {
    /// The metadata service of the machine.
    Machine {
        /// Its base.
        base: Url,
    },
    /// That of its platform: App Service, Container Apps.
    Platform {
        /// `IDENTITY_ENDPOINT`.
        endpoint: Url,
        /// `IDENTITY_HEADER`.
        header: Sealed,
    },
}

#[derive(Deserialize)]
struct Response {
    access_token: String,
    /// Seconds, as text or as number.
    expires_in: Option<Seconds>,
    expires_on: Option<Seconds>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(i64),
    Text(String),
}

impl Seconds {
    fn get(&self) -> Option<i64> {
        match self {
            Self::Number(seconds) => Some(*seconds),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

impl ManagedIdentity {
    /// What the environment says: `IDENTITY_ENDPOINT` with `IDENTITY_HEADER`, else the machine, perhaps at
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let url = |text: &str| Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let (endpoint, header) = (lookup("IDENTITY_ENDPOINT"), lookup("IDENTITY_HEADER"));
        if let (Some(endpoint), Some(header)) = (endpoint, header) {
            return url(&endpoint).map(|endpoint| Self::Platform { endpoint, header: header.into() });
        }
        let base = lookup("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        url(base.as_deref().unwrap_or(METADATA)).map(|base| Self::Machine { base })
    }

    /// The URL for a scope, with a header that has to be there.
    fn request(&self, client_id: Option<&str>, scope: &str) -> Result<(Url, HttpRequest), AzureError> {
        let header = |text: &str| {
            let mut value =
                HeaderValue::from_str(text).map_err(|_| AzureError::Id { what: "identity header" })?;
            value.set_sensitive(true);
            Ok::<_, AzureError>(value)
        };
        let (mut url, version, name, value) = match self {
            Self::Machine { base } => {
                let url = base.join("/metadata/identity/oauth2/token").map_err(|_| AzureError::Authority)?;
                (url, "2018-02-01", "metadata", header("true")?)
            }
            Self::Platform { endpoint, header: secret } => {
                let value = header(secret.expose_str().unwrap_or_default())?;
                (endpoint.clone(), "2019-08-01", "x-identity-header", value)
            }
        };
        url.query_pairs_mut()
            .append_pair("api-version", version)
            .append_pair("resource", scope.strip_suffix("/.default").unwrap_or(scope));
        if let Some(client_id) = client_id {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        let request = HttpRequest::get(url.clone())
            .header(HeaderName::from_static(name), value)
            .timeout(METADATA_TIMEOUT);
        Ok((url, request))
    }
}

impl AzureTokens {
    /// A token of the managed identity with a client ID, or of the only one, for a scope, at `now`.
    pub async fn managed(
        &self,
        managed: &ManagedIdentity,
        (client_id, scope): (Option<&str>, &str),
        consumer: &str,
        now: Timestamp,
    ) -> Result<Sealed, AzureError> {
        let make = async {
            let _slot = self.slots.acquire(consumer).await;
            let (url, request) = managed.request(client_id, scope)?;
            let url = shown_url(&url);
            let config = ClientConfig {
                // At a fixed address of the machine, never through a proxy.
                proxy: Proxy::None,
                connect_timeout: METADATA_TIMEOUT,
                ..ClientConfig::default()
            };
            let response = HttpClient::new(config)?.send(request).await;
            let response = response.map_err(|source| AzureError::Metadata { url: url.clone(), source })?;
            let status = response.status();
            if !status.is_success() {
                return Err(AzureError::Status { url, status: status.as_u16(), problem: String::new() });
            }
            let mut memory = self.memory.reservation(consumer, RESPONSE);
            let body = response.collect(RESPONSE, &mut memory, |_| ()).await;
            let body = body.map_err(|source| AzureError::Body { url: url.clone(), source })?;
            parse(&body, now).ok_or(AzureError::Malformed { url })
        };
        self.cache.get_or_make(key(client_id, scope), now, make).await
    }
}

fn key(client_id: Option<&str>, scope: &str) -> TokenKey {
    token_key(&["azure managed", client_id.unwrap_or_default(), scope])
}

fn parse(body: &[u8], now: Timestamp) -> Option<(Sealed, Timestamp)> {
    let Response { access_token, expires_in, expires_on } = serde_json::from_slice(body).ok()?;
    let expires_at = match (expires_in, expires_on) {
        (Some(seconds), _) => now.checked_add(SignedDuration::from_secs(seconds.get()?)).ok()?,
        (None, Some(time)) => Timestamp::from_second(time.get()?).ok()?,
        // Without an end it is not kept.
        (None, None) => now,
    };
    (!access_token.is_empty()).then(|| (access_token.into(), expires_at))
}

#[cfg(test)]
mod tests {
    use plumb_memory::MemoryPool;
    use plumb_testkit::registry::{Registry, response};
    use plumb_transport::{TokenCache, TokenLimits};

    use super::*;

    #[tokio::test]
    async fn a_managed_identity_is_asked_with_its_header_and_seldom() {
        let server = Registry::plain().unwrap();
        server.answer(|call| {
            let body = r#"{"access_token":"eyJ.s3cret","expires_in":"3600","token_type":"Bearer"}"#;
            let is_known = call.target.contains("resource=https%3A%2F%2Fstorage.azure.com&client_id=c1");
            Some(if is_known { response(200, &[], body) } else { response(400, &[], "no identity") })
        });
        let base = format!("http://{}/", server.address());
        let platform =
            [("IDENTITY_ENDPOINT", format!("{base}msi/token")), ("IDENTITY_HEADER", "h".to_owned())];
        for (pairs, path) in [
            (
                vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", base.clone())],
                "/metadata/identity/oauth2/token?api-version=2018-02-01&",
            ),
            (platform.to_vec(), "/msi/token?api-version=2019-08-01&"),
        ] {
            let found =
                |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
            let managed = ManagedIdentity::read(found).unwrap();
            let tokens = AzureTokens::new(MemoryPool::new(1 << 30), TokenCache::new(TokenLimits::DEFAULT));
            for (now, is_asked) in [
                ("2026-01-01T00:00:00Z", true),
                ("2026-01-01T00:47:00Z", false),
                ("2026-01-01T00:49:00Z", true),
            ] {
                let wanted = (Some("c1"), "https://storage.azure.com/.default");
                let token = tokens.managed(&managed, wanted, "apps", now.parse().unwrap()).await.unwrap();
                assert!(token.matches(b"eyJ.s3cret"));
                let calls = server.calls();
                server.take_calls();
                assert_eq!(calls.len(), usize::from(is_asked));
                assert!(calls.iter().all(|call| call.target.starts_with(path)), "{}", calls[0].target);
            }
            let wanted = (None, "https://storage.azure.com/.default");
            let error = tokens.managed(&managed, wanted, "apps", Timestamp::UNIX_EPOCH).await.err().unwrap();
            assert!(error.to_string().ends_with("status 400"), "{error}");
            server.take_calls();
        }
    }

    #[test]
    fn the_end_of_a_token_is_a_time_or_a_number_of_seconds() {
        let now = Timestamp::UNIX_EPOCH;
        let end = |body: &str| parse(body.as_bytes(), now).map(|(_, end)| end.as_second());
        assert_eq!(end(r#"{"access_token":"t","expires_in":10}"#), Some(10));
        assert_eq!(end(r#"{"access_token":"t","expires_on":"20"}"#), Some(20));
        assert_eq!(end(r#"{"access_token":"t"}"#), Some(0));
        for body in [r#"{"access_token":""}"#, r#"{"access_token":"t","expires_in":"soon"}"#, "<html>"] {
            assert_eq!(end(body), None, "{body}");
        }
    }
}
