//! Container registries of AWS, and the login of one. Pure.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use plumb_api::sealed::Sealed;
use serde::Deserialize;

use crate::{environment::is_region, error::AwsError};

/// The public registry, and the region of its logins.
const PUBLIC: &str = "public.ecr.aws";
const PUBLIC_REGION: &str = "us-east-1";
/// Domains of the partitions of AWS.
const DOMAINS: [&str; 6] =
    ["amazonaws.com", "amazonaws.com.cn", "sc2s.sgov.gov", "c2s.ic.gov", "cloud.adc-e.uk", "csp.hci.ic.gov"];

/// A container registry of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrRegistry {
    pub(crate) region: String,
    pub(crate) is_public: bool,
}

/// User name and password for a registry.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Sealed,
}

impl EcrRegistry {
    /// The registry at a host, `host[:port]` as in URLs. Any other host gets no login.
    pub fn parse(registry: &str) -> Result<Self, AwsError> {
        if registry == PUBLIC {
            return Ok(Self { region: PUBLIC_REGION.to_owned(), is_public: true });
        }
        Self::private(registry).ok_or_else(|| AwsError::NotEcr { registry: registry.to_owned() })
    }

    /// A registry under another name, in a region.
    pub fn elsewhere(region: String) -> Self {
        Self { region, is_public: false }
    }

    fn private(registry: &str) -> Option<Self> {
        let domain = DOMAINS.iter().find_map(|domain| registry.strip_suffix(domain)?.strip_suffix('.'))?;
        let [account, "dkr", "ecr" | "ecr-fips", region] = domain.split('.').collect::<Vec<_>>()[..] else {
            return None;
        };
        let is_account = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
        (is_account && is_region(region)).then(|| Self { region: region.to_owned(), is_public: false })
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The name of the service, and of the operation that gives a login.
    pub(crate) fn operation(&self) -> (&'static str, &'static str) {
        if self.is_public {
            ("ecr-public", "SpencerFrontendService.GetAuthorizationToken")
        } else {
            ("ecr", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    authorization_data: Data,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Many(Vec<Authorization>),
    One(Authorization),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
    expires_at: f64,
}

/// The token of a response, `user:password` in Base64, and its end.
pub(crate) fn parse_token(body: &[u8]) -> Option<(Sealed, Timestamp)> {
    let Response { authorization_data } = serde_json::from_slice(body).ok()?;
    let Authorization { authorization_token, expires_at } = match authorization_data {
        Data::Many(many) => many.into_iter().next()?,
        Data::One(one) => one,
    };
    let since_epoch = SignedDuration::try_from_secs_f64(expires_at).ok()?;
    let expires_at = Timestamp::from_duration(since_epoch).ok()?;
    login(&Sealed::from(authorization_token.clone()))?;
    Some((authorization_token.into(), expires_at))
}

/// The login of a token.
pub(crate) fn login(token: &Sealed) -> Option<Login> {
    let decoded = BASE64_STANDARD.decode(token.expose()).ok()?;
    let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let is_whole = !username.is_empty() && !password.is_empty();
    is_whole.then(|| Login { username: username.to_owned(), password: password.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_registries_of_aws_only() {
        for (registry, region) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1"),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("public.ecr.aws", "us-east-1"),
        ] {
            let parsed = EcrRegistry::parse(registry).unwrap();
            assert_eq!(
                (parsed.region.as_str(), parsed.is_public),
                (region, registry == PUBLIC),
                "{registry}"
            );
        }
        for registry in [
            "ghcr.io",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:5000",
            "evil.example",
            "x.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "bucket.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.s3.amazonaws.com",
            "dkr.ecr.eu-west-1.amazonaws.com",
            "evilpublic.ecr.aws",
            "amazonaws.com",
        ] {
            assert!(EcrRegistry::parse(registry).is_err(), "{registry}");
        }
    }

    #[test]
    fn a_token_is_user_and_password_until_its_end() {
        let token = BASE64_STANDARD.encode("AWS:s3cret:x");
        for body in [
            format!(
                "{{\"authorizationData\":[{{\"authorizationToken\":\"{token}\",\"expiresAt\":1.7672256E9}}]}}"
            ),
            format!(
                "{{\"authorizationData\":{{\"authorizationToken\":\"{token}\",\"expiresAt\":1767225600}}}}"
            ),
        ] {
            let (token, end) = parse_token(body.as_bytes()).unwrap();
            let Login { username, password } = login(&token).unwrap();
            assert!(username == "AWS" && password.matches(b"s3cret:x"));
            assert_eq!(end.to_string(), "2026-01-01T00:00:00Z");
        }
        for body in [
            "{}",
            "{\"authorizationData\":[]}",
            "{\"authorizationData\":{\"authorizationToken\":\"!\",\"expiresAt\":1}}",
            "{\"authorizationData\":{\"authorizationToken\":\"QVdT\",\"expiresAt\":1}}",
            "{\"authorizationData\":{\"authorizationToken\":\"QVdTOnM=\",\"expiresAt\":1e300}}",
        ] {
            assert!(parse_token(body.as_bytes()).is_none(), "{body}");
        }
    }
}
