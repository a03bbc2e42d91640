//! Logins of Azure Container Registry: the token of an identity in, a refresh token for one registry out.

use std::time::Duration;

use http::{HeaderValue, header};
use jiff::Timestamp;
use plumb_api::sealed::Sealed;
use plumb_transport::{ClientConfig, HttpClient, HttpRequest, shown_url, token_key};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use crate::{
    error::AzureError,
    exchange::{AzureTokens, REJECTION_BYTES_MAX, RESPONSE},
};

/// The name of the user of a login.
pub const REGISTRY_USER: &str = "00000000-0000-0000-0000-000000000000";
/// What a token for storage accounts is for.
pub const STORAGE_SCOPE: &str = "https://storage.azure.com/.default";
/// Domains of registries, and the scope of tokens for them.
const REGISTRIES: [(&str, &str); 4] = [
    (".azurecr.io", "https://management.azure.com/.default"),
    (".azurecr.cn", "https://management.chinacloudapi.cn/.default"),
    (".azurecr.de", "https://management.azure.com/.default"),
    (".azurecr.us", "https://management.usgovcloudapi.net/.default"),
];
/// Domains of storage accounts.
const STORAGE: [&str; 3] =
    [".blob.core.windows.net", ".blob.core.chinacloudapi.cn", ".blob.core.usgovcloudapi.net"];

/// The scope of tokens for a registry, `host[:port]`; none if it is not at Azure.
pub fn registry_scope(registry: &str) -> Option<&'static str> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    let found = REGISTRIES.iter().find(|(domain, _)| registry.strip_suffix(domain).is_some_and(is_label));
    found.map(|(_, scope)| *scope)
}

/// The scope of tokens for a registry under another name.
pub fn registry_scope_elsewhere() -> &'static str {
    REGISTRIES[0].1
}

/// Whether a URL is a storage account.
pub fn is_storage(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    url.scheme() == "https"
        && url.port().is_none()
        && STORAGE.iter().any(|domain| host.strip_suffix(domain).is_some_and(|account| !account.is_empty()))
}

#[derive(Deserialize)]
struct Exchanged {
    refresh_token: String,
}

impl AzureTokens {
    /// The refresh token of a registry at `base`. `holder` tells identities apart; `token` is made only when it is exchanged.
    pub async fn registry<E: From<AzureError>>(
        &self,
        config: ClientConfig,
        (base, holder): (&Url, &[&str]),
        token: impl Future<Output = Result<Sealed, E>>,
        consumer: &str,
        (timeout, now): (Duration, Timestamp),
    ) -> Result<Sealed, E> {
        let parts: Vec<&str> =
            ["azure registry", base.as_str()].into_iter().chain(holder.iter().copied()).collect();
        let make = async {
            let token = token.await?;
            Ok::<_, E>(self.exchange_registry(config, base, &token, consumer, timeout).await?)
        };
        self.cache.get_or_make(token_key(&parts), now, make).await
    }

    async fn exchange_registry(
        &self,
        config: ClientConfig,
        base: &Url,
        token: &Sealed,
        consumer: &str,
        timeout: Duration,
    ) -> Result<(Sealed, Timestamp), AzureError> {
        let target = base.join("/oauth2/exchange").map_err(|_| AzureError::Authority)?;
        let url = shown_url(&target);
        let host = base.host_str().unwrap_or_default();
        let service = base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "access_token")
            .append_pair("service", &service)
            .append_pair("access_token", token.expose_str().unwrap_or_default())
            .finish();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request =
            HttpRequest::post(target, form).header(header::CONTENT_TYPE, form_type).timeout(timeout);
        let response = HttpClient::new(config)?.send(request).await;
        let response = response.map_err(|source| AzureError::Connection { url: url.clone(), source })?;
        let status = response.status();
        if !status.is_success() {
            // Its text may quote what was sent: the status says what happened.
            drop(response.excerpt(REJECTION_BYTES_MAX).await);
            return Err(AzureError::Status { url, status: status.as_u16(), problem: String::new() });
        }
        let mut memory = self.memory.reservation(consumer, RESPONSE);
        let body = response.collect(RESPONSE, &mut memory, |_| ()).await;
        let body = body.map_err(|source| AzureError::Body { url: url.clone(), source })?;
        let Exchanged { refresh_token } =
            serde_json::from_slice(&body).map_err(|_| AzureError::Malformed { url: url.clone() })?;
        let expires_at = end(&refresh_token).ok_or(AzureError::Malformed { url })?;
        Ok((refresh_token.into(), expires_at))
    }
}

/// The end of a signed token. Its signature is not checked: the registry does.
fn end(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = token.split('.').nth(1)?;
    let claims = data_encoding::BASE64URL_NOPAD.decode(claims.trim_end_matches('=').as_bytes()).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(exp).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_for_registries_and_storage_accounts_of_azure_only() {
        for (registry, domain) in [
            ("acme.azurecr.io", Some("management.azure.com")),
            ("acme.azurecr.cn", Some("management.chinacloudapi.cn")),
            ("acme.azurecr.us", Some("management.usgovcloudapi.net")),
            (".azurecr.io", None),
            ("acme.azurecr.io:5000", None),
            ("acme.azurecr.io.evil.example", None),
            ("evilazurecr.io", None),
            ("ghcr.io", None),
        ] {
            let scope = domain.map(|domain| format!("https://{domain}/.default"));
            assert_eq!(registry_scope(registry).map(str::to_owned), scope, "{registry}");
        }
        for (url, expect) in [
            ("https://acme.blob.core.windows.net/b", true),
            ("https://acme.blob.core.usgovcloudapi.net", true),
            ("http://acme.blob.core.windows.net/b", false),
            ("https://acme.blob.core.windows.net:8443/", false),
            ("https://acme.blob.core.windows.net.evil.example/", false),
            ("https://evil.example/acme.blob.core.windows.net", false),
        ] {
            assert_eq!(is_storage(&Url::parse(url).unwrap()), expect, "{url}");
        }
    }

    #[test]
    fn a_refresh_token_says_its_end() {
        let claims = data_encoding::BASE64URL_NOPAD.encode(br#"{"exp":1767225600}"#);
        assert_eq!(end(&format!("h.{claims}.s")).unwrap().to_string(), "2026-01-01T00:00:00Z");
        for token in ["", "h", "h.!.s", "h.e30.s"] {
            assert_eq!(end(token), None, "{token}");
        }
    }
}
