//! The spec of a GitRepository, checked once: what is not honoured is refused by name, never ignored. Pure; whether the repository
//! exists is not asked here.

use std::time::Duration;

use plumb_api::source::{GitProvider, GitRepositoryRef, GitRepositorySpec};
use plumb_git::Reference;

use super::error::SourceError;

/// A spec that this version honours in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valid {
    /// The repository, perhaps with credentials in it.
    pub url: String,
    /// Which commit.
    pub reference: Reference,
    /// The Secret to be let in with.
    pub secret: Option<String>,
    /// What to leave out.
    pub ignore: Option<String>,
    /// How long one operation on the repository may take.
    pub timeout: Duration,
}

/// Checks a spec. Every field is named, so that a new one is noticed.
pub fn validate(spec: &GitRepositorySpec) -> Result<Valid, SourceError> {
    let GitRepositorySpec {
        ignore,
        include,
        interval: _,
        provider,
        proxy_secret_ref,
        recurse_submodules,
        reference,
        secret_ref,
        service_account_name,
        sparse_checkout,
        suspend: _,
        timeout: _,
        url,
        verify,
    } = spec;
    let refuse = |field, detail| Err(SourceError::Unsupported { field, detail });
    for (is_set, field) in [
        (!include.is_empty(), "include"),
        (proxy_secret_ref.is_some(), "proxySecretRef"),
        (*recurse_submodules, "recurseSubmodules"),
        (service_account_name.as_ref().is_some_and(|name| !name.is_empty()), "serviceAccountName"),
        (!sparse_checkout.is_empty(), "sparseCheckout"),
        (verify.is_some(), "verify"),
    ] {
        if is_set {
            return refuse(field, "");
        }
    }
    match provider {
        None | Some(GitProvider::Generic) => {}
        Some(GitProvider::Aws) => return refuse("provider", ": aws"),
        Some(GitProvider::Azure) => return refuse("provider", ": azure"),
        Some(GitProvider::Github) => return refuse("provider", ": github"),
    }
    if url.starts_with("ssh://") {
        return refuse("url", ": ssh, only http and https are");
    }
    let GitRepositoryRef { branch, commit, name, semver, tag } = reference.clone().unwrap_or_default();
    let reference = Reference::from_fields(
        branch.as_deref(),
        tag.as_deref(),
        semver.as_deref(),
        name.as_deref(),
        commit.as_deref(),
    )
    .map_err(SourceError::of_git)?;
    Ok(Valid {
        url: url.clone(),
        reference,
        secret: secret_ref.as_ref().map(|secret| secret.name.clone()),
        ignore: ignore.clone(),
        timeout: spec.effective_timeout().to_std(),
    })
}

#[cfg(test)]
mod tests {
    use plumb_status::{Classify, Consequence, Reason};
    use serde_json::{Value, json};

    use super::*;

    fn checked(field: &str, value: &Value) -> Result<Valid, SourceError> {
        let mut spec = json!({"url": "https://host/x", "interval": "1m"});
        spec[field] = value.clone();
        validate(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn every_field_is_honoured_or_refused() {
        for (field, value) in [
            ("ignore", json!("/*")),
            ("interval", json!("5m")),
            ("provider", json!("generic")),
            ("ref", json!({"branch": "main"})),
            ("secretRef", json!({"name": "s"})),
            ("suspend", json!(true)),
            ("timeout", json!("10s")),
            ("url", json!("http://host/y")),
        ] {
            assert!(checked(field, &value).is_ok(), "{field}");
        }
        for (field, value) in [
            ("include", json!([{"repository": {"name": "r"}}])),
            ("provider", json!("aws")),
            ("provider", json!("azure")),
            ("provider", json!("github")),
            ("proxySecretRef", json!({"name": "p"})),
            ("recurseSubmodules", json!(true)),
            ("serviceAccountName", json!("sa")),
            ("sparseCheckout", json!(["a"])),
            ("url", json!("ssh://git@host/y")),
            ("verify", json!({"secretRef": {"name": "k"}})),
        ] {
            let error = checked(field, &value).unwrap_err();
            assert_eq!((error.reason(), error.consequence()), (Reason::UnsupportedField, Consequence::Stall));
            assert!(error.to_string().contains(&format!("spec.{field} ")), "{error}");
        }
    }

    #[test]
    fn the_fields_arrive_where_they_belong() {
        let valid = checked("ref", &json!({"semver": ">=1", "branch": "main"})).unwrap();
        assert!(matches!(valid.reference, Reference::Version(_)));
        assert_eq!(valid.timeout, Duration::from_mins(1));
        assert_eq!(checked("timeout", &json!("5s")).unwrap().timeout, Duration::from_secs(5));
        let error = checked("ref", &json!({"semver": "nonsense"})).unwrap_err();
        assert_eq!(error.reason(), Reason::GitOperationFailed);
    }
}
