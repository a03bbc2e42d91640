//! Files of credentials and responses. Pure.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use plumb_api::sealed::Sealed;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{error::GcpError, identity::is_part};

/// How long a statement of ours is valid, in seconds.
const STATEMENT_SECONDS: i64 = 600;
/// How far back it is dated, in seconds: the clock of the server may be behind ours.
const SKEW_SECONDS: i64 = 30;
const TOKENS: &str = "https://oauth2.googleapis.com/token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// An http or https URL.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct HttpUrl(pub Url);

impl TryFrom<String> for HttpUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.map(Self).ok_or("it is not an http or https URL")
    }
}

/// What a file of credentials says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum File {
    ServiceAccount {
        client_email: String,
        private_key: String,
        private_key_id: Option<String>,
        token_uri: Option<HttpUrl>,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        token_uri: Option<HttpUrl>,
    },
    ExternalAccount {
        audience: String,
        subject_token_type: String,
        token_url: HttpUrl,
        service_account_impersonation_url: Option<HttpUrl>,
        credential_source: Source,
    },
}

/// Where the token of an external account is.
#[derive(Deserialize)]
pub(crate) struct Source {
    pub file: std::path::PathBuf,
}

/// A form that is sent for a token.
pub(crate) struct Exchange {
    pub url: Url,
    pub form: Vec<(&'static str, String)>,
    /// Where the token that it gives is exchanged for that of a service account.
    pub impersonation: Option<Url>,
}

/// The file, without quoting it.
pub(crate) fn parse_file(json: &Sealed) -> Result<File, GcpError> {
    let problem =
        "is not the JSON of a service_account, authorized_user or external_account with a file as its source";
    serde_json::from_slice(json.expose()).map_err(|_| GcpError::File { problem: problem.to_owned() })
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

/// What is sent for a token of a service account or user; for an external account, see [`federated`].
pub(crate) fn signed(file: &File, scope: &str, now: Timestamp) -> Result<Option<Exchange>, GcpError> {
    let wrong = |problem: &str| GcpError::File { problem: problem.to_owned() };
    let default = || Url::parse(TOKENS).map_err(|_| wrong("has no token_uri"));
    let own = |url: &Option<HttpUrl>| url.clone().map_or_else(default, |HttpUrl(url)| Ok(url));
    Ok(match file {
        File::ServiceAccount { client_email, private_key, private_key_id, token_uri } => {
            let url = own(token_uri)?;
            let key = EncodingKey::from_rsa_pem(private_key.as_bytes())
                .map_err(|_| wrong("has a private_key that is not an RSA key in PEM"))?;
            let header = Header { kid: private_key_id.clone(), ..Header::new(Algorithm::RS256) };
            let now = now.as_second();
            let claims = Claims {
                iss: client_email,
                scope,
                aud: url.as_str(),
                iat: now - SKEW_SECONDS,
                exp: now + STATEMENT_SECONDS,
            };
            let assertion = jsonwebtoken::encode(&header, &claims, &key)
                .map_err(|_| wrong("has a private_key that cannot sign"))?;
            let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned();
            let form = vec![("grant_type", grant), ("assertion", assertion)];
            Some(Exchange { url, form, impersonation: None })
        }
        File::AuthorizedUser { client_id, client_secret, refresh_token, token_uri } => {
            let form = vec![
                ("grant_type", "refresh_token".to_owned()),
                ("client_id", client_id.clone()),
                ("client_secret", client_secret.clone()),
                ("refresh_token", refresh_token.clone()),
            ];
            Some(Exchange { url: own(token_uri)?, form, impersonation: None })
        }
        File::ExternalAccount { .. } => None,
    })
}

/// What is sent to a Security Token Service for a token of somebody else.
pub(crate) fn federated(
    url: Url,
    (audience, token_type): (&str, Option<&str>),
    token: &Sealed,
    scope: &str,
    impersonation: Option<Url>,
) -> Exchange {
    let form = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
        ("audience", audience.to_owned()),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token".to_owned()),
        ("scope", scope.to_owned()),
        ("subject_token_type", token_type.unwrap_or(JWT).to_owned()),
        ("subject_token", token.expose_str().unwrap_or_default().trim().to_owned()),
    ];
    Exchange { url, form, impersonation }
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    #[serde(default)]
    expires_in: i64,
}

/// A token of OAuth or of the metadata service, and its end.
pub(crate) fn parse_token(body: &[u8], now: Timestamp) -> Option<(Sealed, Timestamp)> {
    let Token { access_token, expires_in } = serde_json::from_slice(body).ok()?;
    let expires_at = now.checked_add(SignedDuration::from_secs(expires_in.max(0))).unwrap_or(now);
    (!access_token.is_empty()).then(|| (access_token.into(), expires_at))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: Timestamp,
}

/// The token of a service account, and its end.
pub(crate) fn parse_impersonated(body: &[u8]) -> Option<(Sealed, Timestamp)> {
    let Impersonated { access_token, expire_time } = serde_json::from_slice(body).ok()?;
    (!access_token.is_empty()).then(|| (access_token.into(), expire_time))
}

/// The code of an error response: of OAuth, or of an API.
pub(crate) fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Code {
        OAuth(String),
        Api { status: String },
    }
    #[derive(Deserialize)]
    struct Response {
        error: Code,
    }
    let Response { error: Code::OAuth(code) | Code::Api { status: code } } =
        serde_json::from_slice(body).ok()?;
    is_part(&code).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_code_is_shown() {
        for (body, expect) in [
            (r#"{"error":"invalid_grant","error_description":"x"}"#, Some("invalid_grant")),
            (
                r#"{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}}"#,
                Some("PERMISSION_DENIED"),
            ),
            (r#"{"error":"eyJ.to.ken"}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(error_code(body.as_bytes()).as_deref(), expect, "{body}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_not_quoted() {
        for json in ["{}", "s3cret", r#"{"type":"external_account","audience":"s3cret"}"#] {
            let error = parse_file(&Sealed::from(json)).err().unwrap().to_string();
            assert!(
                error.starts_with("the file of GOOGLE_APPLICATION_CREDENTIALS is not")
                    && !error.contains("s3cret")
            );
        }
        let file = r#"{"type":"service_account","client_email":"a","private_key":"s3cret"}"#;
        let file = parse_file(&Sealed::from(file)).unwrap();
        let error = signed(&file, "s", Timestamp::UNIX_EPOCH).err().unwrap().to_string();
        assert!(error.contains("private_key that is not an RSA key") && !error.contains("s3cret"), "{error}");
    }
}
