//! The spec of an OCIRepository, checked once: what is not supported is rejected by name, all fields at once, never ignored. Pure;
//! whether the artifact exists is not checked here.

use std::time::Duration;

use plumb_api::source::{
    CloudProvider, OCILayerOperation, OCILayerSelector, OCIRepositoryRef, OCIRepositorySpec,
};
use plumb_oci::{Digest, Repository, check_tag};
use plumb_version::Constraint;
use regex::{Regex, RegexBuilder};

use super::error::{OciSourceError, ReferenceError};
use crate::oci_signature::{Method, method};

/// The tag where no reference is set.
const DEFAULT_TAG: &str = "latest";
/// Memory of a compiled `semverFilter`, in bytes.
const FILTER_BYTES_MAX: usize = 1 << 20;

/// A spec that this version supports in full.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The repository.
    pub repository: Repository,
    /// Which artifact.
    pub reference: Reference,
    /// Which layer.
    pub layer: LayerSelector,
    /// The Secret with credentials.
    pub secret: Option<String>,
    /// Whose credentials are used without a Secret.
    pub provider: CloudProvider,
    /// The ServiceAccount with image pull Secrets, or with an identity of the provider.
    pub service_account: Option<String>,
    /// The Secret with certificates.
    pub certificates: Option<String>,
    /// The Secret of the proxy.
    pub proxy: Option<String>,
    /// Whether the registry may have no TLS, or a certificate that nobody vouches for.
    pub insecure: bool,
    /// How its signature is verified.
    pub verify: Option<Method>,
    /// What to leave out.
    pub ignore: Option<String>,
    /// How long one operation on the registry may take.
    pub timeout: Duration,
}

/// Which artifact of a repository.
#[derive(Clone, Debug)]
pub enum Reference {
    /// The one with this digest.
    Digest(Digest),
    /// The one of the highest tag in a range of versions; only tags that match the filter count.
    Version {
        /// The range.
        constraint: Constraint,
        /// The filter.
        filter: Option<Regex>,
    },
    /// The one that a tag leads to.
    Tag(String),
}

/// Which layer of an artifact, and what is done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSelector {
    /// Its media type; the first layer where none is set.
    pub media_type: Option<String>,
    /// Whether it is stored as it is.
    pub copies: bool,
}

/// Checks a spec. Every field is named, so that a new one is noticed.
pub fn validate(spec: &OCIRepositorySpec) -> Result<Valid, OciSourceError> {
    let OCIRepositorySpec {
        cert_secret_ref,
        ignore,
        insecure,
        interval: _,
        layer_selector,
        provider,
        proxy_secret_ref,
        reference,
        secret_ref,
        service_account_name,
        suspend: _,
        timeout: _,
        url,
        verify,
    } = spec;
    let service_account = service_account_name.clone().filter(|name| !name.is_empty());
    let verify = verify.as_ref().map(method).transpose().map_err(OciSourceError::Verify)?;
    let repository = Repository::parse(url)
        .map_err(|source| OciSourceError::Url { url: plumb_transport::shown_text(url), source })?;
    let reference = parse_reference(reference.clone().unwrap_or_default())
        .map_err(|source| OciSourceError::Reference { url: url.clone(), source })?;
    let OCILayerSelector { media_type, operation } = layer_selector.clone().unwrap_or_default();
    let name = |reference: &Option<plumb_api::meta::LocalObjectReference>| {
        reference.as_ref().map(|secret| secret.name.clone()).filter(|name| !name.is_empty())
    };
    Ok(Valid {
        repository,
        reference,
        layer: LayerSelector {
            media_type: media_type.filter(|media_type| !media_type.is_empty()),
            copies: operation == Some(OCILayerOperation::Copy),
        },
        secret: name(secret_ref),
        provider: *provider,
        service_account,
        certificates: name(cert_secret_ref),
        proxy: name(proxy_secret_ref),
        insecure: *insecure,
        verify,
        ignore: ignore.clone(),
        timeout: spec.effective_timeout().to_std(),
    })
}

/// `digest` before `semver` before `tag`. An empty field is one that is not set.
fn parse_reference(reference: OCIRepositoryRef) -> Result<Reference, ReferenceError> {
    let OCIRepositoryRef { digest, semver, semver_filter, tag } = reference;
    let set = |field: Option<String>| field.filter(|text| !text.is_empty());
    if let Some(digest) = set(digest) {
        return Ok(Reference::Digest(Digest::parse(&digest)?));
    }
    if let Some(semver) = set(semver) {
        let constraint = Constraint::parse(&semver)?;
        let filter = set(semver_filter).map(|filter| parse_filter(&filter)).transpose()?;
        return Ok(Reference::Version { constraint, filter });
    }
    let tag = set(tag).unwrap_or_else(|| DEFAULT_TAG.to_owned());
    check_tag(&tag)?;
    Ok(Reference::Tag(tag))
}

fn parse_filter(filter: &str) -> Result<Regex, ReferenceError> {
    RegexBuilder::new(filter)
        .size_limit(FILTER_BYTES_MAX)
        .build()
        .map_err(|error| ReferenceError::Filter { filter: filter.to_owned(), problem: problem(&error) })
}

/// The last line of the error: those before it draw the expression.
fn problem(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use plumb_status::{Classify, Consequence, Reason};
    use serde_json::{Value, json};

    use super::*;

    fn checked(field: &str, value: &Value) -> Result<Valid, OciSourceError> {
        let mut spec = json!({ "url": "oci://ghcr.io/org/app", "interval": "1m" });
        spec[field] = value.clone();
        validate(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn every_field_is_supported_or_rejected() {
        for (field, value) in [
            ("certSecretRef", json!({ "name": "tls" })),
            ("ignore", json!("/*")),
            ("insecure", json!(true)),
            ("interval", json!("5m")),
            ("layerSelector", json!({ "mediaType": "x", "operation": "copy" })),
            ("provider", json!("generic")),
            ("provider", json!("aws")),
            ("proxySecretRef", json!({ "name": "p" })),
            ("ref", json!({ "tag": "v1" })),
            ("secretRef", json!({ "name": "s" })),
            ("serviceAccountName", json!("sa")),
            ("suspend", json!(true)),
            ("timeout", json!("10s")),
            ("url", json!("oci://localhost:5000/a/b")),
            ("verify", json!({ "provider": "cosign", "secretRef": { "name": "keys" } })),
            ("verify", json!({ "provider": "cosign" })),
            ("verify", json!({ "matchOIDCIdentity": [{ "issuer": "^https://a$", "subject": "b" }] })),
            ("verify", json!({ "trustedRootSecretRef": { "name": "root" } })),
            ("verify", json!({ "provider": "notation", "secretRef": { "name": "n" } })),
        ] {
            assert!(checked(field, &value).is_ok(), "{field}");
        }
    }

    #[test]
    fn the_reference_is_the_first_of_digest_semver_and_tag() {
        let digest = Digest::of(b"").to_string();
        let reference = |value: Value| checked("ref", &value).unwrap().reference;
        let all = json!({ "digest": digest, "semver": "1.x", "semverFilter": "a", "tag": "v1" });
        assert!(matches!(reference(all), Reference::Digest(_)));
        let two = json!({ "digest": "", "semver": "1.x", "semverFilter": ".*-rc.*", "tag": "v1" });
        assert!(matches!(reference(two), Reference::Version { filter: Some(_), .. }));
        assert!(matches!(reference(json!({ "tag": "v1" })), Reference::Tag(tag) if tag == "v1"));
        assert!(matches!(reference(json!({})), Reference::Tag(tag) if tag == "latest"));
    }

    #[test]
    fn what_is_not_valid_is_named_with_its_field() {
        for (field, value, reason, expect) in [
            ("url", json!("oci://ghcr.io/org/app:v1"), Reason::UrlInvalid, "remove ':v1'"),
            ("url", json!("https://ghcr.io/org/app"), Reason::UrlInvalid, "'oci://<domain>/<org>/<repo>'"),
            ("ref", json!({ "tag": "a/b" }), Reason::ReadOperationFailed, "tag \"a/b\" may only contain"),
            (
                "ref",
                json!({ "digest": "sha256:x" }),
                Reason::ReadOperationFailed,
                "digest \"sha256:x\" is not",
            ),
            (
                "ref",
                json!({ "semver": "nonsense" }),
                Reason::ReadOperationFailed,
                "semver range \"nonsense\"",
            ),
            (
                "ref",
                json!({ "semver": "1.x", "semverFilter": "(" }),
                Reason::ReadOperationFailed,
                "semverFilter \"(\" is not a regular expression: unclosed group",
            ),
            (
                "ref",
                json!({ "semver": "1.x", "semverFilter": "(a{1000}){1000}" }),
                Reason::ReadOperationFailed,
                "exceeds size limit",
            ),
            (
                "verify",
                json!({ "matchOIDCIdentity": [{ "issuer": "a", "subject": "b" }, { "issuer": "a", "subject": "(" }] }),
                Reason::VerificationError,
                "spec.verify.matchOIDCIdentity[1] cannot be used: subject \"(\" is not a regular expression",
            ),
            (
                "verify",
                json!({ "matchOIDCIdentity": vec![json!({ "issuer": "a", "subject": "b" }); 101] }),
                Reason::VerificationError,
                "more than 100 identities",
            ),
            (
                "verify",
                json!({ "provider": "notation" }),
                Reason::VerificationError,
                "spec.verify.secretRef cannot be empty for the provider 'notation'",
            ),
        ] {
            let error = checked(field, &value).unwrap_err();
            assert_eq!((error.reason(), error.consequence()), (reason, Consequence::Stall), "{error}");
            let text = plumb_status::chain(&error);
            assert!(text.contains(expect), "{text}");
        }
    }
}
