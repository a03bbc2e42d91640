//! The spec of a HelmRepository, checked once. Pure; whether the repository exists is not checked here.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use plumb_api::{meta::LocalObjectReference, source::HelmRepositorySpec};
use plumb_transport::Credential;
use url::Url;

use super::error::{HelmRepositoryError, UrlError};
use crate::artifact::Validated;

/// The file of a repository.
const INDEX: &str = "index.yaml";

/// How long a poll may take, whatever the timeout: it holds a slot that others wait for.
pub const POLL_MAX: Duration = Duration::from_mins(2);

/// A spec that this version supports in full.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The repository, without credentials.
    pub url: Url,
    /// Its index.
    pub index: Url,
    /// The credentials of the URL.
    pub url_credential: Credential,
    /// The Secret with the credentials.
    pub secret: Option<String>,
    /// The Secret with certificates.
    pub certificates: Option<String>,
    /// How long one operation on the repository may take.
    pub timeout: Duration,
}

impl Valid {
    /// How long a poll may take: it holds a slot that others wait for.
    pub fn poll_timeout(&self) -> Duration {
        self.timeout.min(POLL_MAX)
    }
}

/// Checks a spec. Every field is named, so that a new one is noticed.
pub fn validate(spec: &HelmRepositorySpec) -> Result<Validated<Valid>, HelmRepositoryError> {
    let HelmRepositorySpec {
        // Without effect, as with Flux.
        access_from: _,
        cert_secret_ref,
        // For registries only.
        insecure: _,
        provider: _,
        interval: _,
        // For charts only.
        pass_credentials: _,
        secret_ref,
        suspend: _,
        timeout: _,
        type_: _,
        url: text,
    } = spec;
    if spec.is_registry() {
        return Ok(Validated::Static);
    }
    let url = parse(text).map_err(HelmRepositoryError::Url)?;
    let name = |reference: &Option<LocalObjectReference>| {
        reference.as_ref().map(|secret| secret.name.clone()).filter(|name| !name.is_empty())
    };
    let (url, url_credential) = without_credential(url);
    Ok(Validated::Artifact(Valid {
        index: index_of(&url).map_err(HelmRepositoryError::Url)?,
        url,
        url_credential,
        secret: name(secret_ref),
        certificates: name(cert_secret_ref),
        timeout: spec.effective_timeout().to_std(),
    }))
}

fn parse(text: &str) -> Result<Url, UrlError> {
    if text.starts_with("oci://") {
        return Err(UrlError::Registry);
    }
    let malformed = || UrlError::Malformed { url: plumb_transport::shown_text(text) };
    let url = Url::parse(text).map_err(|_| malformed())?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(malformed()) }
}

/// Flux keeps the query of the URL.
fn index_of(url: &Url) -> Result<Url, UrlError> {
    let mut index = url.clone();
    let malformed = |()| UrlError::Malformed { url: plumb_transport::shown_url(url) };
    index.path_segments_mut().map_err(malformed)?.pop_if_empty().push(INDEX);
    index.set_fragment(None);
    Ok(index)
}

/// Takes name and password out of a URL, which is shown in errors and events.
fn without_credential(mut url: Url) -> (Url, Credential) {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let credential = match (url.username(), url.password()) {
        ("", None) => Credential::None,
        (username, password) => Credential::Basic {
            username: decoded(username),
            password: decoded(password.unwrap_or_default()).as_str().into(),
        },
    };
    // A URL with a host takes both.
    let is_bare = url.set_username("").is_ok() && url.set_password(None).is_ok();
    (url, if is_bare { credential } else { Credential::None })
}

#[cfg(test)]
mod tests {
    use plumb_status::{Classify, Consequence, Reason, chain};
    use serde_json::{Value, json};

    use super::*;

    fn checked(spec: &Value) -> Result<Validated<Valid>, HelmRepositoryError> {
        validate(&serde_json::from_value(spec.clone()).unwrap())
    }

    fn artifact(spec: &Value) -> Valid {
        match checked(spec) {
            Ok(Validated::Artifact(valid)) => valid,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_field_is_supported() {
        for (field, value) in [
            ("accessFrom", json!({ "namespaceSelectors": [] })),
            ("certSecretRef", json!({ "name": "tls" })),
            ("insecure", json!(true)),
            ("interval", json!("5m")),
            ("passCredentials", json!(true)),
            ("provider", json!("aws")),
            ("secretRef", json!({ "name": "s" })),
            ("suspend", json!(true)),
            ("timeout", json!("10s")),
            ("type", json!("default")),
        ] {
            let mut spec = json!({ "url": "https://charts.example" });
            spec[field] = value;
            artifact(&spec);
        }
        let valid = artifact(&json!({ "url": "http://h/x", "secretRef": { "name": "s" }, "timeout": "9s" }));
        assert_eq!((valid.secret.as_deref(), valid.timeout), (Some("s"), Duration::from_secs(9)));
        assert_eq!(valid.poll_timeout(), Duration::from_secs(9));
        assert_eq!(artifact(&json!({ "url": "http://h/x", "timeout": "1h" })).poll_timeout(), POLL_MAX);
    }

    #[test]
    fn the_index_is_below_the_url() {
        for (url, index) in [
            ("https://charts.example", "https://charts.example/index.yaml"),
            ("https://charts.example/", "https://charts.example/index.yaml"),
            ("http://h:8080/a/b", "http://h:8080/a/b/index.yaml"),
            ("http://h/a%2Fb/?token=t#x", "http://h/a%2Fb/index.yaml?token=t"),
        ] {
            assert_eq!(artifact(&json!({ "url": url })).index.as_str(), index);
        }
    }

    #[test]
    fn credentials_leave_the_url() {
        let valid = artifact(&json!({ "url": "https://me:p%40ss@charts.example/x" }));
        assert_eq!(valid.url.as_str(), "https://charts.example/x");
        let Credential::Basic { username, password } = &valid.url_credential else { panic!("a credential") };
        assert!(username == "me" && password.matches(b"p@ss"));
        assert!(!artifact(&json!({ "url": "https://charts.example" })).url_credential.is_some());
    }

    #[test]
    fn a_registry_is_static_and_a_url_of_one_needs_the_type() {
        let registry = json!({ "type": "oci", "url": "oci://ghcr.io/org/charts" });
        assert!(matches!(checked(&registry), Ok(Validated::Static)));
        for (url, expect) in [
            (
                "oci://ghcr.io/org",
                "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type",
            ),
            ("http://me:s3cret@[", "invalid Helm repository URL: \"http://…@[\" is not an http or https URL"),
        ] {
            let error = checked(&json!({ "url": url })).unwrap_err();
            assert_eq!((error.reason(), error.consequence()), (Reason::UrlInvalid, Consequence::Stall));
            assert_eq!(chain(&error), expect);
        }
    }
}
