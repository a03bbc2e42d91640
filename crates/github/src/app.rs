//! A GitHub App, one of its installations, and the JWT that proves to be the app. Pure.

use std::fmt;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use plumb_api::sealed::Sealed;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use url::Url;

/// The API where none is named.
const API: &str = "https://api.github.com/";
/// How far back a JWT is dated, in seconds: the clock of the server may be behind ours.
const CLOCK_SKEW: i64 = 60;
/// How long a JWT holds, in seconds: GitHub takes ten minutes at most, counted by its own clock.
const LIFETIME: i64 = 540;

/// Which installation of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installation {
    /// By its number.
    Id(u64),
    /// That of an organization or a user.
    Owner(String),
}

/// A GitHub App.
#[derive(Clone)]
pub struct App {
    id: u64,
    pub(crate) installation: Installation,
    pub(crate) api: Url,
    key: EncodingKey,
    fingerprint: [u8; 32],
}

/// A part of an app cannot be used. It never shows the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// The number of the app.
    #[error("the app ID is not a number")]
    Id,
    /// The number of the installation.
    #[error("the installation ID is not a number")]
    InstallationId,
    /// The name of an organization or user.
    #[error("the installation owner is not the name of an organization or user")]
    Owner,
    /// The key.
    #[error("the private key is not an RSA key in PEM without a passphrase")]
    Key,
    /// The URL of the API.
    #[error("the base URL is not an http or https URL without credentials, query and fragment")]
    BaseUrl,
}

#[derive(Serialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: String,
}

impl App {
    /// An app from the texts of a Secret. Without a base URL it is an app of github.com.
    pub fn new(
        id: &str,
        installation: Installation,
        key: &Sealed,
        base_url: Option<&str>,
    ) -> Result<Self, AppError> {
        let number: u64 = id.trim().parse().map_err(|_| AppError::Id)?;
        if let Installation::Owner(owner) = &installation
            && !is_owner(owner)
        {
            return Err(AppError::Owner);
        }
        let parsed = EncodingKey::from_rsa_pem(key.expose()).map_err(|_| AppError::Key)?;
        let api = api(base_url.unwrap_or(API))?;
        let hash = Sha256::new()
            .chain_update(format!("{number} {installation:?} {api} "))
            .chain_update(key.expose());
        let app = Self { id: number, installation, api, key: parsed, fingerprint: hash.finalize().into() };
        // A key that cannot sign shows now, where its place in the Secret is known.
        app.jwt(Timestamp::UNIX_EPOCH)?;
        Ok(app)
    }

    /// The installation with this number, as a Secret has it.
    pub fn installation_id(text: &str) -> Result<Installation, AppError> {
        text.trim().parse().map(Installation::Id).map_err(|_| AppError::InstallationId)
    }

    /// Tells apps and keys apart without showing them.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// A signed JWT that proves to be this app.
    pub(crate) fn jwt(&self, now: Timestamp) -> Result<Sealed, AppError> {
        let now = now.as_second();
        let claims = Claims { iat: now - CLOCK_SKEW, exp: now + LIFETIME, iss: self.id.to_string() };
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key);
        Ok(Sealed::from(signed.map_err(|_| AppError::Key)?))
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({}, {:?}, {})", self.id, self.installation, self.api)
    }
}

/// Names of GitHub have letters, digits and hyphens. Anything else could lead to another path.
fn is_owner(owner: &str) -> bool {
    !owner.is_empty()
        && owner.len() <= 100
        && owner.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn api(base_url: &str) -> Result<Url, AppError> {
    let mut url = Url::parse(base_url).map_err(|_| AppError::BaseUrl)?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_plain {
        return Err(AppError::BaseUrl);
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
pub(crate) mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize};
    use serde_json::Value;

    use super::*;

    /// A private key, and the public one in DER.
    pub(crate) fn key() -> (Sealed, Vec<u8>) {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        (Sealed::from(pair.serialize_pem()), pair.der_bytes().to_vec())
    }

    #[test]
    fn a_statement_names_the_app_and_is_signed_by_its_key() {
        let (key, public) = key();
        let app = App::new(" 42\n", Installation::Id(7), &key, None).unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let jwt = app.jwt(now).unwrap();
        let mut rules = Validation::new(Algorithm::RS256);
        rules.validate_exp = false;
        let text = jwt.expose_str().unwrap();
        let read: Value =
            jsonwebtoken::decode(text, &DecodingKey::from_rsa_der(&public), &rules).unwrap().claims;
        assert_eq!((read["iss"].as_str(), read["iat"].as_i64()), (Some("42"), Some(now.as_second() - 60)));
        assert!(read["exp"].as_i64().unwrap() - now.as_second() < 600);
        assert_eq!(format!("{app:?}"), "App(42, Id(7), https://api.github.com/)");
    }

    #[test]
    fn what_cannot_be_used_is_named_without_the_key() {
        let (key, _) = key();
        let id = || Installation::Id(7);
        let app = |id: &str, installation, base_url| App::new(id, installation, &key, base_url).map(drop);
        assert_eq!(app("x", id(), None), Err(AppError::Id));
        assert_eq!(App::installation_id("x"), Err(AppError::InstallationId));
        assert_eq!(App::installation_id("7\n"), Ok(Installation::Id(7)));
        for owner in ["", "a/b", "../x", "a b"] {
            assert_eq!(
                app("1", Installation::Owner(owner.to_owned()), None),
                Err(AppError::Owner),
                "{owner}"
            );
        }
        for base_url in ["nonsense", "file:///x", "https://me:pw@host", "https://host?a=b", "https://host#a"]
        {
            assert_eq!(app("1", id(), Some(base_url)), Err(AppError::BaseUrl), "{base_url}");
        }
        let bad = App::new("1", id(), &Sealed::from("s3cret"), None).map(drop);
        assert_eq!(bad, Err(AppError::Key));
        let enterprise = App::new("1", id(), &key, Some("https://git.example/api/v3")).unwrap();
        assert_eq!(enterprise.api.as_str(), "https://git.example/api/v3/");
    }

    #[test]
    fn apps_are_told_apart() {
        let ((one, _), (two, _)) = (key(), key());
        let print =
            |id: &str, installation, key, base| App::new(id, installation, key, base).unwrap().fingerprint();
        let all = [
            print("1", Installation::Id(7), &one, None),
            print("2", Installation::Id(7), &one, None),
            print("1", Installation::Id(8), &one, None),
            print("1", Installation::Owner("7".into()), &one, None),
            print("1", Installation::Id(7), &two, None),
            print("1", Installation::Id(7), &one, Some("https://git.example/api/v3")),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }
}
