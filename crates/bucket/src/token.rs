//! Credentials that are exchanged before they are used: for a bearer token of Google or Entra ID, or for temporary keys of a
//! Security Token Service. What was given is kept for most of its lifetime.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use plumb_api::sealed::Sealed;
use plumb_aws::TemporaryKey;
use plumb_memory::{Limit, MemoryPool};
use plumb_transport::{HttpClient, HttpRequest, shown_url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use url::Url;

use crate::{
    credential::{CredentialProblem, EntraApp, GoogleKey, LdapLogin},
    error::{BucketError, ResponseError, code},
    signature::AccessKey,
};

/// A response with a credential.
const RESPONSE: Limit = Limit { name: "a response with a token", bytes_max: 256 << 10 };
/// Bytes of an error response.
const ERROR_BYTES_MAX: usize = 16 << 10;
/// The part of its lifetime that a credential is used for, in percent.
const USED_PERCENT: u32 = 80;
/// The longest that one is used, whatever its lifetime.
const USED_MAX: Duration = Duration::from_hours(1);
/// Credentials that are kept.
const KEPT_MAX: usize = 1000;

/// Credentials that were exchanged, by what they were exchanged for.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<[u8; 32], (Given, Instant)>>);

/// What an exchange gives.
#[derive(Clone)]
pub(crate) enum Given {
    Bearer(Sealed),
    AccessKey(AccessKey),
}

/// What is exchanged.
pub(crate) enum Exchange<'a> {
    Google(&'a GoogleKey),
    Entra(&'a EntraApp),
    Ldap(&'a LdapLogin),
}

impl Exchange<'_> {
    /// Tells exchanges apart.
    pub fn fingerprint(&self) -> [u8; 32] {
        match self {
            Self::Google(key) => key.fingerprint,
            Self::Entra(app) => app.fingerprint,
            Self::Ldap(login) => {
                let LdapLogin { endpoint, username, password, trust: _, fingerprint } = login;
                let parts = format!("{endpoint}\n{fingerprint}\n{}\n{username}\n", username.len());
                Sha256::new().chain_update(parts).chain_update(password.expose()).finalize().into()
            }
        }
    }

    fn url(&self) -> &Url {
        match self {
            Self::Google(key) => &key.tokens,
            Self::Entra(app) => &app.tokens,
            Self::Ldap(login) => &login.endpoint,
        }
    }

    fn form(&self, now: Timestamp) -> Result<Vec<(&'static str, String)>, CredentialProblem> {
        match self {
            Self::Google(key) => key.form(now),
            Self::Entra(app) => app.form(now),
            Self::Ldap(login) => Ok(vec![
                ("Action", "AssumeRoleWithLDAPIdentity".to_owned()),
                ("Version", "2011-06-15".to_owned()),
                ("LDAPUsername", login.username.clone()),
                ("LDAPPassword", login.password.expose_str().unwrap_or_default().to_owned()),
            ]),
        }
    }
}

impl Tokens {
    pub fn get(&self, fingerprint: &[u8; 32]) -> Option<Given> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (given, until) = kept.get(fingerprint)?;
        (Instant::now() < *until).then(|| given.clone())
    }

    pub fn forget(&self, fingerprint: &[u8; 32]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(fingerprint);
    }

    fn keep(&self, fingerprint: [u8; 32], given: Given, lifetime: Duration) {
        let now = Instant::now();
        let used_for = (lifetime * USED_PERCENT / 100).min(USED_MAX);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (_, until)| now < *until);
        // Beyond so many, the one that holds for the shortest time goes.
        if kept.len() >= KEPT_MAX
            && let Some(soonest) = kept.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| *key)
        {
            kept.remove(&soonest);
        }
        kept.insert(fingerprint, (given, now + used_for));
    }

    /// Exchanges a credential, or takes what it was exchanged for before.
    pub async fn exchange(
        &self,
        exchange: &Exchange<'_>,
        http: &HttpClient,
        memory: (&MemoryPool, &str),
        timeout: Duration,
    ) -> Result<Given, BucketError> {
        let fingerprint = exchange.fingerprint();
        if let Some(given) = self.get(&fingerprint) {
            return Ok(given);
        }
        let now = Timestamp::now();
        let (url, form) = (exchange.url(), exchange.form(now));
        let form = form.map_err(|_| BucketError::BadCredential { problem: "the key cannot sign" })?;
        let request = format!("POST {}", shown_url(url));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
        let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let sent =
            HttpRequest::post(url.clone(), body).header(header::CONTENT_TYPE, content_type).timeout(timeout);
        let response = http.send(sent).await;
        let response =
            response.map_err(|source| BucketError::Connection { request: request.clone(), source })?;
        let status = response.status();
        if status != StatusCode::OK {
            let excerpt = response.excerpt(ERROR_BYTES_MAX).await.unwrap_or_default();
            let code = error_code(&excerpt);
            return Err(BucketError::Status { request, status: status.as_u16(), code, location: None });
        }
        let (pool, consumer) = memory;
        let mut reservation = pool.reservation(consumer, RESPONSE);
        let body = response.collect(RESPONSE, &mut reservation, |_| ()).await;
        let body = body.map_err(|source| BucketError::Body { request: request.clone(), source })?;
        let parsed = match exchange {
            Exchange::Ldap(_) => parse_keys(&body, now),
            Exchange::Google(_) | Exchange::Entra(_) => parse_token(&body),
        };
        let (given, lifetime) = parsed.map_err(|source| BucketError::Response { request, source })?;
        self.keep(fingerprint, given.clone(), lifetime);
        Ok(given)
    }
}

#[derive(Deserialize)]
struct RawToken {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

fn parse_token(body: &[u8]) -> Result<(Given, Duration), ResponseError> {
    let malformed = ResponseError::Malformed { what: "the JSON of a token" };
    let RawToken { access_token, expires_in } =
        serde_json::from_slice(body).map_err(|_| malformed.clone())?;
    if access_token.is_empty() {
        return Err(malformed);
    }
    Ok((Given::Bearer(access_token.into()), Duration::from_secs(expires_in.min(USED_MAX.as_secs() * 2))))
}

fn parse_keys(body: &[u8], now: Timestamp) -> Result<(Given, Duration), ResponseError> {
    let malformed = ResponseError::Malformed { what: "the temporary credentials of an STS" };
    let TemporaryKey { key, expires_at } = plumb_aws::parse_sts(body).ok_or(malformed)?;
    // Without an end they are not kept.
    let left = expires_at
        .map_or(Duration::ZERO, |ends| Duration::try_from(ends.duration_since(now)).unwrap_or_default());
    Ok((Given::AccessKey(key), left))
}

#[derive(Deserialize)]
struct RawError {
    error: String,
}

/// The code of an error: of OAuth, or of an STS.
fn error_code(body: &[u8]) -> Option<String> {
    if let Ok(RawError { error }) = serde_json::from_slice(body) {
        return code(&error);
    }
    plumb_aws::error_code(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn keys(rest: &str) -> Result<(AccessKey, Duration), ResponseError> {
        let body = format!(
            "<AssumeRoleWithLDAPIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithLDAPIdentityResult><Credentials>{rest}</Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>"
        );
        parse_keys(body.as_bytes(), now()).map(|(given, lifetime)| match given {
            Given::AccessKey(key) => (key, lifetime),
            Given::Bearer(_) => unreachable!("an STS gives keys"),
        })
    }

    #[test]
    fn temporary_keys_hold_until_their_end() {
        let pair = "<AccessKeyId>id</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>";
        let all =
            format!("{pair}<SessionToken>t</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration>");
        let (key, lifetime) = keys(&all).unwrap();
        assert_eq!((key.id.as_str(), lifetime), ("id", Duration::from_hours(1)));
        assert!(key.secret.matches(b"secret") && key.session.unwrap().matches(b"t"));
        assert_eq!(keys(pair).unwrap().1, Duration::ZERO);
        let past = format!("{pair}<Expiration>2025-01-01T01:00:00Z</Expiration>");
        assert_eq!(keys(&past).unwrap().1, Duration::ZERO);
        assert!(keys("<AccessKeyId>id</AccessKeyId>").is_err());
        assert!(keys(&format!("{pair}<Expiration>soon</Expiration>")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_used_for_most_of_its_lifetime() {
        let (given, lifetime) =
            parse_token(br#"{"access_token":"t","expires_in":100,"token_type":"Bearer"}"#).unwrap();
        let tokens = Tokens::default();
        tokens.keep([1; 32], given.clone(), lifetime);
        tokio::time::advance(Duration::from_secs(79)).await;
        assert!(tokens.get(&[1; 32]).is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(tokens.get(&[1; 32]).is_none());
        for index in 0..=KEPT_MAX {
            let mut fingerprint = [0; 32];
            fingerprint[..8].copy_from_slice(&index.to_le_bytes());
            tokens.keep(fingerprint, given.clone(), lifetime + Duration::from_secs(index as u64));
        }
        assert_eq!(tokens.0.lock().unwrap().len(), KEPT_MAX);
        tokens.forget(&[0; 32]);
        for body in ["{}", "<html>", r#"{"access_token":""}"#] {
            assert!(parse_token(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn errors_have_codes() {
        assert_eq!(
            error_code(br#"{"error":"invalid_client","error_description":"x"}"#).as_deref(),
            Some("invalid_client")
        );
        let body = b"<ErrorResponse><Error><Type/><Code>InvalidParameterValue</Code></Error></ErrorResponse>";
        assert_eq!(error_code(body).as_deref(), Some("InvalidParameterValue"));
        assert_eq!(error_code(b"plain"), None);
    }
}
