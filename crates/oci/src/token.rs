//! Tokens of a registry's token server: where credentials for a registry may go, the request, the response. Pure.

use std::time::Duration;

use plumb_api::sealed::Sealed;
use serde::Deserialize;
use url::{Host, Url};

use crate::error::ResponseError;

/// How long a token holds that does not say so, as the specification has it.
const LIFETIME: Duration = Duration::from_mins(1);
/// How long a token is used at most, whatever it says.
const LIFETIME_MAX: Duration = Duration::from_hours(1);
/// The part of its lifetime that a token is used for, in percent.
const USED_PERCENT: u32 = 80;
/// Characters of the labels of a domain like `co.uk`, which belongs to many.
const COUNTRY_LABEL: usize = 2;
const SUFFIX_LABEL_MAX: usize = 3;
/// Domains below which every customer has a registry of its own: the hosts do not trust each other.
const SHARED_BY_CUSTOMERS: [&str; 5] = ["azurecr.io", "azurecr.cn", "pkg.dev", "amazonaws.com", "jfrog.io"];

#[derive(Deserialize)]
struct TokenResponse {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

/// A token, and how long it is used.
pub(crate) struct Token {
    pub(crate) value: Sealed,
    pub(crate) used_for: Duration,
}

impl Token {
    /// The response of a token server.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ResponseError> {
        let malformed = ResponseError::Malformed { what: "token" };
        let response: TokenResponse = serde_json::from_slice(body).map_err(|_| malformed.clone())?;
        let value = if response.token.is_empty() { response.access_token } else { response.token };
        if value.is_empty() {
            return Err(malformed);
        }
        let lifetime = response.expires_in.map_or(LIFETIME, Duration::from_secs).min(LIFETIME_MAX);
        Ok(Self { value: value.into(), used_for: lifetime * USED_PERCENT / 100 })
    }
}

/// The URL of a token server, with the service and the scope.
pub(crate) fn token_url(realm: &Url, service: Option<&str>, scope: &str) -> Url {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", scope);
    }
    url
}

/// Whether credentials for a registry may go to a token server: it is the same host, or one that belongs to the same domain, and the
/// connection is as safe.
pub(crate) fn may_receive(registry: &Url, realm: &Url) -> bool {
    let as_safe = realm.scheme() == "https" || registry.scheme() == realm.scheme();
    if !as_safe {
        return false;
    }
    match (registry.host(), realm.host()) {
        (Some(Host::Domain(registry)), Some(Host::Domain(realm))) => {
            registry == realm || is_shared(&shared_domain(registry, realm))
        }
        (Some(registry), Some(realm)) => registry == realm,
        _ => false,
    }
}

/// The labels that two names have in common, from the right.
fn shared_domain<'a>(one: &'a str, other: &str) -> Vec<&'a str> {
    let labels = one.rsplit('.').zip(other.rsplit('.'));
    labels.take_while(|(one, other)| one == other).map(|(label, _)| label).collect()
}

/// Whether hosts of this domain, given from the right, belong together.
fn is_shared(domain: &[&str]) -> bool {
    let [top, second, rest @ ..] = domain else { return false };
    let is_suffix = rest.is_empty() && top.len() == COUNTRY_LABEL && second.len() <= SUFFIX_LABEL_MAX;
    !is_suffix && !SHARED_BY_CUSTOMERS.contains(&format!("{second}.{top}").as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_the_registry_and_to_its_own_token_server() {
        let url = |text: &str| Url::parse(text).unwrap();
        for (registry, realm, expect) in [
            ("https://ghcr.io", "https://ghcr.io/token", true),
            ("https://ghcr.io", "https://ghcr.io:8443/token", true),
            ("https://index.docker.io", "https://auth.docker.io/token", true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("https://registry.corp.example.com", "https://gitlab.example.com/jwt/auth", true),
            ("https://registry.example.co.uk", "https://gitlab.example.co.uk/jwt/auth", true),
            ("http://localhost:5000", "http://localhost:5001/token", true),
            ("http://localhost:5000", "https://localhost:5001/token", true),
            ("https://10.0.0.1", "https://10.0.0.1:5001/token", true),
            ("https://10.0.0.1", "https://10.0.0.2/token", false),
            ("https://ghcr.io", "http://ghcr.io/token", false),
            ("https://ghcr.io", "https://evil.example/token", false),
            ("https://ghcr.io", "https://evil-ghcr.io/token", false),
            ("https://ghcr.io", "https://evil.io/token", false),
            ("https://registry.co.uk", "https://evil.co.uk/token", false),
            ("https://ours.azurecr.io", "https://evil.azurecr.io/token", false),
            ("https://1.dkr.ecr.eu.amazonaws.com", "https://evil.amazonaws.com/token", false),
            ("https://ours.jfrog.io", "https://ours.jfrog.io/artifactory/api/docker/token", true),
            ("https://ghcr.io", "file:///etc/passwd", false),
        ] {
            assert_eq!(may_receive(&url(registry), &url(realm)), expect, "{registry} {realm}");
        }
    }

    #[test]
    fn a_token_is_used_for_most_of_its_lifetime() {
        let used = |body: &str| Token::parse(body.as_bytes()).map(|token| token.used_for.as_secs());
        for (body, expect) in [
            (r#"{"token": "t"}"#, Ok(48)),
            (r#"{"token": "t", "expires_in": 300}"#, Ok(240)),
            (r#"{"access_token": "t", "expires_in": 0}"#, Ok(0)),
            (r#"{"token": "t", "expires_in": 999999999999}"#, Ok(2880)),
        ] {
            assert_eq!(used(body), expect, "{body}");
        }
        for body in ["{}", "<html>", r#"{"token": ""}"#, r#"{"token": "t", "expires_in": "soon"}"#] {
            assert!(used(body).is_err(), "{body}");
        }
    }

    #[test]
    fn what_is_asked_for_is_in_the_query() {
        let realm = Url::parse("https://host/token?a=b").unwrap();
        let url = token_url(&realm, Some("the registry"), "repository:a/b:pull");
        assert_eq!(
            url.as_str(),
            "https://host/token?a=b&service=the+registry&scope=repository%3Aa%2Fb%3Apull"
        );
        assert!(!token_url(&realm, None, "x").as_str().contains("service"));
    }
}
