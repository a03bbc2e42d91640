//! The credentials for an object store, parsed. Pure: what has to be exchanged first is exchanged in `token`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use plumb_api::sealed::Sealed;
use plumb_transport::Trust;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::signature::{AccessKey, SharedKey};

/// How long a statement of ours holds, in seconds.
const STATEMENT_SECONDS: i64 = 600;
/// How far back it is dated, in seconds: the clock of the server may be behind ours.
const SKEW_SECONDS: i64 = 30;
/// What a token of Google is for.
const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";
/// The same, where objects are written.
const GOOGLE_WRITE_SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// Where Google's tokens are, if a key does not say.
const GOOGLE_TOKENS: &str = "https://oauth2.googleapis.com/token";
/// What a token of Azure is for.
const AZURE_SCOPE: &str = "https://storage.azure.com/.default";
/// Where Azure's tokens are, if a Secret does not say.
const AZURE_AUTHORITY: &str = "https://login.microsoftonline.com/";

/// The credentials for an object store.
#[derive(Clone, Default)]
pub enum BucketCredential {
    /// None: the bucket is public.
    #[default]
    Anonymous,
    /// S3.
    AccessKey(AccessKey),
    /// S3, with temporary credentials of a Security Token Service.
    Ldap(LdapLogin),
    /// Google or Azure, with an access token of an identity of the cloud.
    Bearer(Sealed),
    /// Google.
    Google(GoogleKey),
    /// Azure, with the key of the account.
    SharedKey(SharedKey),
    /// Azure, with a shared access signature.
    Signature(Sealed),
    /// Azure, as an application of Entra ID.
    Entra(EntraApp),
}

/// A login at a Security Token Service as MinIO has it.
#[derive(Clone)]
pub struct LdapLogin {
    /// Its URL.
    pub endpoint: Url,
    /// The name of the user.
    pub username: String,
    /// The password.
    pub password: Sealed,
    /// Which servers are trusted for it.
    pub trust: Trust,
    /// Tells settings of trust apart, without showing them.
    pub fingerprint: String,
}

/// What proves to be somebody to Google.
#[derive(Clone)]
pub struct GoogleKey {
    pub(crate) tokens: Url,
    kind: GoogleKind,
    scope: &'static str,
    pub(crate) fingerprint: [u8; 32],
}

#[derive(Clone)]
enum GoogleKind {
    Account { email: String, key_id: Option<String>, key: EncodingKey },
    User { client: String, secret: Sealed, refresh: Sealed },
}

/// An application of Entra ID.
#[derive(Clone)]
pub struct EntraApp {
    pub(crate) tokens: Url,
    client: String,
    proof: EntraProof,
    pub(crate) fingerprint: [u8; 32],
}

#[derive(Clone)]
enum EntraProof {
    Secret(Sealed),
    Certificate { key: EncodingKey, thumbprint: String, chain: Option<Vec<String>> },
}

/// A credential cannot be used. It never shows the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialProblem(pub String);

fn problem(text: impl Into<String>) -> CredentialProblem {
    CredentialProblem(text.into())
}

impl SharedKey {
    /// The key of an account, in Base64.
    pub fn new(account: String, key: &Sealed) -> Result<Self, CredentialProblem> {
        let text = key.expose_str().unwrap_or_default().trim();
        let key = BASE64_STANDARD.decode(text).map_err(|_| problem("it is not Base64"))?;
        Ok(Self { account, key: Sealed::new(key) })
    }
}

#[derive(Deserialize)]
struct GoogleFile {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    client_email: String,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
}

impl GoogleKey {
    /// The JSON file of a service account, or of a user.
    pub fn parse(json: &Sealed) -> Result<Self, CredentialProblem> {
        let file: GoogleFile = serde_json::from_slice(json.expose())
            .map_err(|_| problem("it is not the JSON of a service account key"))?;
        let kind = match file.kind.as_str() {
            "service_account" => {
                let pem = file.private_key.ok_or_else(|| problem("it has no private_key"))?;
                let key = EncodingKey::from_rsa_pem(pem.as_bytes())
                    .map_err(|_| problem("its private_key is not an RSA key in PEM"))?;
                if file.client_email.is_empty() {
                    return Err(problem("it has no client_email"));
                }
                GoogleKind::Account { email: file.client_email, key_id: file.private_key_id, key }
            }
            "authorized_user" => match (file.client_id, file.client_secret, file.refresh_token) {
                (Some(client), Some(secret), Some(refresh)) => {
                    GoogleKind::User { client, secret: secret.into(), refresh: refresh.into() }
                }
                _ => return Err(problem("it lacks client_id, client_secret or refresh_token")),
            },
            _ => {
                return Err(problem(
                    "its type is not supported: use a key of the type service_account or authorized_user",
                ));
            }
        };
        let tokens = parse_url(file.token_uri.as_deref().unwrap_or(GOOGLE_TOKENS))
            .ok_or_else(|| problem("its token_uri is not an http or https URL"))?;
        let fingerprint = Sha256::digest(json.expose()).into();
        let key = Self { tokens, kind, scope: GOOGLE_SCOPE, fingerprint };
        // A key that cannot sign shows now, where its place in the Secret is known.
        key.form(Timestamp::UNIX_EPOCH)?;
        Ok(key)
    }

    /// The same, for a token that may write.
    #[must_use]
    pub fn for_writing(self) -> Self {
        let fingerprint =
            Sha256::new().chain_update(self.fingerprint).chain_update(GOOGLE_WRITE_SCOPE).finalize().into();
        Self { scope: GOOGLE_WRITE_SCOPE, fingerprint, ..self }
    }

    /// What is sent for a token.
    pub(crate) fn form(&self, now: Timestamp) -> Result<Vec<(&'static str, String)>, CredentialProblem> {
        match &self.kind {
            GoogleKind::Account { email, key_id, key } => {
                let header = Header { kid: key_id.clone(), ..Header::new(Algorithm::RS256) };
                let claims = GoogleClaims {
                    iss: email,
                    scope: self.scope,
                    aud: self.tokens.as_str(),
                    iat: now.as_second() - SKEW_SECONDS,
                    exp: now.as_second() + STATEMENT_SECONDS,
                };
                let assertion = jsonwebtoken::encode(&header, &claims, key)
                    .map_err(|_| problem("its private_key cannot sign"))?;
                Ok(vec![
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
                    ("assertion", assertion),
                ])
            }
            GoogleKind::User { client, secret, refresh } => Ok(vec![
                ("grant_type", "refresh_token".to_owned()),
                ("client_id", client.clone()),
                ("client_secret", text(secret)),
                ("refresh_token", text(refresh)),
            ]),
        }
    }
}

#[derive(Serialize)]
struct GoogleClaims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

/// The identity of an application of Entra ID, as a Secret has it.
pub struct EntraIdentity<'a> {
    /// The tenant: an ID or a domain.
    pub tenant: &'a str,
    /// The ID of the application.
    pub client: &'a str,
    /// The URL of the authority; none for that of the public cloud.
    pub authority: Option<&'a str>,
}

impl EntraApp {
    /// An application that proves its identity by a secret.
    pub fn with_secret(identity: &EntraIdentity<'_>, secret: &Sealed) -> Result<Self, CredentialProblem> {
        Self::new(identity, EntraProof::Secret(secret.clone()), secret.expose())
    }

    /// An application that proves its identity by a certificate and its key, both in PEM. With `sends_chain` the certificates go
    /// with the proof.
    pub fn with_certificate(
        identity: &EntraIdentity<'_>,
        pem: &Sealed,
        sends_chain: bool,
    ) -> Result<Self, CredentialProblem> {
        let certificates = CertificateDer::pem_slice_iter(pem.expose())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| problem("it is not PEM: PKCS#12 is not supported"))?;
        let first = certificates
            .first()
            .ok_or_else(|| problem("it has no certificate in PEM: PKCS#12 is not supported"))?;
        let thumbprint = data_encoding::BASE64URL_NOPAD.encode(&Sha256::digest(first));
        let chain = sends_chain.then(|| certificates.iter().map(|one| BASE64_STANDARD.encode(one)).collect());
        let key = private_key(pem.expose_str().unwrap_or_default())
            .and_then(|pem| EncodingKey::from_rsa_pem(pem.as_bytes()).ok())
            .ok_or_else(|| problem("it has no RSA private key in PEM without a passphrase"))?;
        let app = Self::new(identity, EntraProof::Certificate { key, thumbprint, chain }, pem.expose())?;
        // A key that cannot sign shows now, where its place in the Secret is known.
        app.form(Timestamp::UNIX_EPOCH)?;
        Ok(app)
    }

    fn new(
        identity: &EntraIdentity<'_>,
        proof: EntraProof,
        secret: &[u8],
    ) -> Result<Self, CredentialProblem> {
        let EntraIdentity { tenant, client, authority } = identity;
        let is_tenant = !tenant.is_empty()
            && tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
            && !matches!(*tenant, "." | "..");
        if !is_tenant {
            return Err(problem("tenantId is not the ID or domain of a tenant"));
        }
        let base = parse_url(authority.unwrap_or(AZURE_AUTHORITY))
            .ok_or_else(|| problem("authorityHost is not an http or https URL"))?;
        let tokens = format!("{}/{tenant}/oauth2/v2.0/token", base.as_str().trim_end_matches('/'));
        let tokens =
            parse_url(&tokens).ok_or_else(|| problem("authorityHost is not an http or https URL"))?;
        let fingerprint =
            Sha256::new().chain_update(format!("{tokens} {client} ")).chain_update(secret).finalize().into();
        Ok(Self { tokens, client: (*client).to_owned(), proof, fingerprint })
    }

    /// What is sent for a token.
    pub(crate) fn form(&self, now: Timestamp) -> Result<Vec<(&'static str, String)>, CredentialProblem> {
        let mut form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", self.client.clone()),
            ("scope", AZURE_SCOPE.to_owned()),
        ];
        match &self.proof {
            EntraProof::Secret(secret) => form.push(("client_secret", text(secret))),
            EntraProof::Certificate { key, thumbprint, chain } => {
                let header = Header {
                    x5t_s256: Some(thumbprint.clone()),
                    x5c: chain.clone(),
                    ..Header::new(Algorithm::PS256)
                };
                let now = now.as_second();
                let claims = EntraClaims {
                    aud: self.tokens.as_str(),
                    iss: &self.client,
                    sub: &self.client,
                    jti: format!("{now}-{thumbprint}"),
                    nbf: now - SKEW_SECONDS,
                    exp: now + STATEMENT_SECONDS,
                };
                let assertion = jsonwebtoken::encode(&header, &claims, key)
                    .map_err(|_| problem("its private key cannot sign"))?;
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_assertion_type", kind.to_owned()));
                form.push(("client_assertion", assertion));
            }
        }
        Ok(form)
    }
}

#[derive(Serialize)]
struct EntraClaims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: i64,
    exp: i64,
}

/// The first private key of a text that has certificates, too.
fn private_key(pem: &str) -> Option<&str> {
    const MARK: &str = "PRIVATE KEY-----";
    let label = pem.find(MARK)?;
    let start = pem[..label].rfind("-----BEGIN ")?;
    let body = label + MARK.len();
    let end = body + pem[body..].find(MARK)? + MARK.len();
    Some(&pem[start..end])
}

fn parse_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    is_plain.then_some(url)
}

fn text(secret: &Sealed) -> String {
    secret.expose_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize};
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn key() -> KeyPair {
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
    }

    fn claims(token: &str, key: &KeyPair, algorithm: Algorithm) -> Value {
        let mut rules = Validation::new(algorithm);
        rules.validate_exp = false;
        rules.validate_aud = false;
        jsonwebtoken::decode(token, &DecodingKey::from_rsa_der(key.der_bytes()), &rules).unwrap().claims
    }

    fn field<'a>(form: &'a [(&str, String)], name: &str) -> &'a str {
        form.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value)
    }

    const NOW: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn a_service_account_signs_for_reading_storage() {
        let key = key();
        let file = json!({
            "type": "service_account", "client_email": "me@acme.iam", "private_key_id": "k1",
            "private_key": key.serialize_pem(), "token_uri": "https://tokens.example/token",
        });
        let parsed = GoogleKey::parse(&Sealed::from(file.to_string())).unwrap();
        let form = parsed.form(NOW.parse().unwrap()).unwrap();
        let claims = claims(field(&form, "assertion"), &key, Algorithm::RS256);
        assert_eq!(claims["iss"], "me@acme.iam");
        assert_eq!(claims["aud"], "https://tokens.example/token");
        assert_eq!(claims["scope"], GOOGLE_SCOPE);
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 630);
        let user = json!({ "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r" });
        let parsed = GoogleKey::parse(&Sealed::from(user.to_string())).unwrap();
        assert_eq!(parsed.tokens.as_str(), GOOGLE_TOKENS);
        assert_eq!(field(&parsed.form(Timestamp::UNIX_EPOCH).unwrap(), "refresh_token"), "r");
    }

    #[test]
    fn a_certificate_proves_an_application() {
        let (key, identity) =
            (key(), EntraIdentity { tenant: "acme.example", client: "app", authority: None });
        let certificate = CertificateParams::new(vec!["app".to_owned()]).unwrap().self_signed(&key).unwrap();
        let pem = Sealed::from(format!("{}{}", certificate.pem(), key.serialize_pem()));
        let app = EntraApp::with_certificate(&identity, &pem, true).unwrap();
        let form = app.form(NOW.parse().unwrap()).unwrap();
        let assertion = field(&form, "client_assertion");
        let claims = claims(assertion, &key, Algorithm::PS256);
        let tokens = "https://login.microsoftonline.com/acme.example/oauth2/v2.0/token";
        assert_eq!(
            (&claims["aud"], &claims["iss"], &claims["sub"]),
            (&json!(tokens), &json!("app"), &json!("app"))
        );
        let header = jsonwebtoken::decode_header(assertion).unwrap();
        let thumbprint = data_encoding::BASE64URL_NOPAD.encode(&Sha256::digest(certificate.der()));
        assert_eq!(header.x5t_s256, Some(thumbprint));
        assert_eq!(header.x5c.unwrap().len(), 1);
        assert_eq!(field(&form, "scope"), AZURE_SCOPE);
        let app = EntraApp::with_secret(&identity, &Sealed::from("s3cret")).unwrap();
        assert_eq!(field(&app.form(Timestamp::UNIX_EPOCH).unwrap(), "client_secret"), "s3cret");
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_value() {
        let google =
            |file: Value| GoogleKey::parse(&Sealed::from(file.to_string())).err().unwrap().to_string();
        for (file, expect) in [
            (json!("s3cret"), "not the JSON of a service account key"),
            (json!({ "type": "external_account" }), "its type is not supported"),
            (json!({ "type": "service_account" }), "it has no private_key"),
            (json!({ "type": "service_account", "private_key": "s3cret" }), "is not an RSA key in PEM"),
            (json!({ "type": "service_account", "private_key": key().serialize_pem() }), "no client_email"),
            (json!({ "type": "authorized_user", "client_id": "c" }), "it lacks client_id"),
            (
                json!({ "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "token_uri": "file:///x" }),
                "its token_uri is not",
            ),
        ] {
            let error = google(file);
            assert!(error.contains(expect) && !error.contains("s3cret"), "{error}");
        }
        let identity = |tenant, authority| EntraIdentity { tenant, client: "c", authority };
        for (tenant, authority, expect) in [
            ("../x", None, "tenantId is not"),
            ("", None, "tenantId is not"),
            ("t", Some("login.example"), "authorityHost is not"),
            ("t", Some("https://me:pw@login.example"), "authorityHost is not"),
        ] {
            let error =
                EntraApp::with_secret(&identity(tenant, authority), &Sealed::from("s")).err().unwrap();
            assert!(error.to_string().contains(expect), "{error}");
        }
        for (pem, expect) in [
            ("s3cret", "it has no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "it has no RSA private key"),
        ] {
            let error =
                EntraApp::with_certificate(&identity("t", None), &Sealed::from(pem), false).err().unwrap();
            assert!(error.to_string().contains(expect), "{error}");
        }
        assert!(SharedKey::new("a".to_owned(), &Sealed::from("not base64!")).is_err());
    }
}
