//! The spec of a GitRepository, checked once: what is not supported is rejected by name, all fields at once, never ignored. Pure;
//! whether the repository exists is not checked here.

use std::time::Duration;

use plumb_api::source::{
    GitProvider, GitRepositoryRef, GitRepositorySpec, GitRepositoryVerification, GitVerificationMode,
};
use plumb_git::{Reference, Selection};
use plumb_status::{UnsupportedField, UnsupportedFields};

use super::{
    error::{GitSourceError, ProviderError},
    include::{self, Include},
    verification::{Verification, VerificationError},
};

/// How long a list of references may take, whatever the timeout.
const LIST_MAX: Duration = Duration::from_mins(2);

/// A spec that this version supports in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valid {
    /// The repository, perhaps with credentials in it.
    pub url: String,
    /// Which commit.
    pub reference: Reference,
    /// The Secret with the credentials.
    pub secret: Option<String>,
    /// The Secret of the proxy.
    pub proxy: Option<String>,
    /// Whether the Secret is one of a GitHub App.
    pub is_github_app: bool,
    /// The provider `azure`.
    pub azure: Option<AzureProvider>,
    /// What is copied from other repositories.
    pub includes: Vec<Include>,
    /// Which files of the repository.
    pub selection: Selection,
    /// What has to be signed.
    pub verification: Option<Verification>,
    /// How long one operation on the repository may take.
    pub timeout: Duration,
}

impl Valid {
    /// How long a list of references may take: it holds a slot that others wait for.
    pub fn list_timeout(&self) -> Duration {
        self.timeout.min(LIST_MAX)
    }
}

/// Who asks Azure for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureProvider {
    /// The ServiceAccount; without, this controller.
    pub service_account: Option<String>,
}

/// Checks a spec. Every field is named, so that a new one is noticed.
pub fn validate(spec: &GitRepositorySpec) -> Result<Valid, GitSourceError> {
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
    let is_azure = *provider == Some(GitProvider::Azure);
    let service_account = service_account_name.clone().filter(|name| !name.is_empty());
    let mut unsupported = Vec::new();
    if service_account.is_some() && !is_azure {
        unsupported.push(UnsupportedField::new("spec.serviceAccountName"));
    }
    if let Some(provider @ GitProvider::Aws) = provider {
        unsupported.push(UnsupportedField::with_value("spec.provider", provider.as_str()));
    }
    if proxy_secret_ref.is_some() && url.starts_with("ssh://") {
        let field = UnsupportedField::with_value("spec.url", "ssh://…");
        unsupported.push(field.remedy("use the https:// URL with spec.proxySecretRef"));
    }
    // Over SSH a token is of no use.
    if let Some(provider @ (GitProvider::Github | GitProvider::Azure)) = provider
        && url.starts_with("ssh://")
    {
        let field = UnsupportedField::with_value("spec.url", "ssh://…");
        unsupported
            .push(field.remedy(format!("use the https:// URL with spec.provider {}", provider.as_str())));
    }
    UnsupportedFields::reject(unsupported)?;
    let is_github_app = *provider == Some(GitProvider::Github);
    if is_github_app && secret_ref.is_none() {
        return Err(GitSourceError::Provider(ProviderError::NoSecret));
    }
    let GitRepositoryRef { branch, commit, name, semver, tag } = reference.clone().unwrap_or_default();
    let reference = Reference::from_fields(
        branch.as_deref(),
        tag.as_deref(),
        semver.as_deref(),
        name.as_deref(),
        commit.as_deref(),
    )
    .map_err(GitSourceError::of_git)?;
    let verification = verify.as_ref().map(|verify| verification(verify, &reference)).transpose()?;
    Ok(Valid {
        url: url.clone(),
        reference,
        secret: secret_ref.as_ref().map(|secret| secret.name.clone()),
        proxy: proxy_secret_ref.as_ref().map(|secret| secret.name.clone()),
        is_github_app,
        azure: is_azure.then_some(AzureProvider { service_account }),
        includes: include::parse(include).map_err(GitSourceError::Include)?,
        selection: Selection {
            // The rules hold for the included files as well, and one of them may leave out the file that has them.
            with_ignored: !include.is_empty(),
            ignore: ignore.clone(),
            sparse_checkout: sparse_checkout.clone(),
            recurse_submodules: *recurse_submodules,
        },
        verification,
        timeout: spec.effective_timeout().to_std(),
    })
}

fn verification(
    verify: &GitRepositoryVerification,
    reference: &Reference,
) -> Result<Verification, GitSourceError> {
    let GitRepositoryVerification { mode, secret_ref } = verify;
    let mode = match mode {
        GitVerificationMode::LowerHead => GitVerificationMode::Head,
        mode => *mode,
    };
    let verification = Verification { mode, secret: secret_ref.name.clone() };
    let is_tag = match reference {
        Reference::Tag(_) | Reference::Version(_) => true,
        Reference::Name(name) => name.starts_with("refs/tags/"),
        Reference::Branch(_) | Reference::Unset | Reference::Commit { .. } => false,
    };
    if verification.of_tag() && !is_tag {
        return Err(GitSourceError::Verification(VerificationError::NoTag));
    }
    Ok(verification)
}

#[cfg(test)]
mod tests {
    use plumb_status::{Classify, Consequence, Detail, Reason};
    use serde_json::{Value, json};

    use super::*;

    fn checked(field: &str, value: &Value) -> Result<Valid, GitSourceError> {
        let mut spec = json!({"url": "https://host/x", "interval": "1m"});
        spec[field] = value.clone();
        validate(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn every_field_is_supported_or_rejected() {
        for (field, value) in [
            ("ignore", json!("/*")),
            ("include", json!([{"repository": {"name": "r"}}])),
            ("interval", json!("5m")),
            ("provider", json!("azure")),
            ("provider", json!("generic")),
            ("proxySecretRef", json!({"name": "p"})),
            ("recurseSubmodules", json!(true)),
            ("ref", json!({"branch": "main"})),
            ("secretRef", json!({"name": "s"})),
            ("sparseCheckout", json!(["a"])),
            ("suspend", json!(true)),
            ("timeout", json!("10s")),
            ("verify", json!({"secretRef": {"name": "k"}})),
            ("url", json!("http://host/y")),
            ("url", json!("ssh://git@host/y")),
        ] {
            assert!(checked(field, &value).is_ok(), "{field}");
        }
        for (field, value) in [("provider", json!("aws")), ("serviceAccountName", json!("sa"))] {
            let error = checked(field, &value).unwrap_err();
            assert_eq!((error.reason(), error.consequence()), (Reason::UnsupportedField, Consequence::Stall));
            assert!(error.to_string().contains(&format!("spec.{field} ")), "{error}");
        }
    }

    #[test]
    fn all_unsupported_fields_are_named_at_once_each_with_a_remedy_that_helps() {
        let spec = json!({
            "url": "https://host/y", "interval": "1m", "provider": "aws", "serviceAccountName": "sa",
        });
        let error = validate(&serde_json::from_value(spec).unwrap()).unwrap_err();
        assert_eq!(
            Detail::of(&error).message,
            "spec.serviceAccountName and spec.provider \"aws\" are not supported by this version of Plumb \
             (remove the fields)"
        );
    }

    #[test]
    fn what_ssh_cannot_use_is_rejected_over_ssh() {
        for (field, value, remedy) in [
            ("provider", json!("github"), "(spec.url: use the https:// URL with spec.provider github)"),
            (
                "proxySecretRef",
                json!({"name": "p"}),
                "(spec.url: use the https:// URL with spec.proxySecretRef)",
            ),
        ] {
            let mut spec = json!({"url": "ssh://git@host/y", "interval": "1m", "secretRef": {"name": "s"}});
            spec[field] = value;
            let error = validate(&serde_json::from_value(spec).unwrap()).unwrap_err();
            assert!(Detail::of(&error).message.ends_with(remedy), "{error}");
        }
    }

    #[test]
    fn the_fields_arrive_where_they_belong() {
        let selection = checked("sparseCheckout", &json!(["./a"])).unwrap().selection;
        assert_eq!(selection, Selection { sparse_checkout: vec!["./a".to_owned()], ..Selection::default() });
        assert!(checked("recurseSubmodules", &json!(true)).unwrap().selection.recurse_submodules);
        let valid = checked("ref", &json!({"semver": ">=1", "branch": "main"})).unwrap();
        assert!(matches!(valid.reference, Reference::Version(_)));
        assert_eq!(valid.timeout, Duration::from_mins(1));
        for (timeout, whole, list) in [("5s", 5, 5), ("1h", 3600, 120)] {
            let valid = checked("timeout", &json!(timeout)).unwrap();
            assert_eq!((valid.timeout.as_secs(), valid.list_timeout().as_secs()), (whole, list));
        }
        let error = checked("ref", &json!({"semver": "nonsense"})).unwrap_err();
        assert_eq!(error.reason(), Reason::GitOperationFailed);
    }

    #[test]
    fn the_signature_of_a_tag_can_be_asked_for_only_with_a_tag() {
        for (reference, has_tag) in [
            (json!({"tag": "v1"}), true),
            (json!({"semver": ">=1"}), true),
            (json!({"name": "refs/tags/v1"}), true),
            (json!({"name": "refs/heads/main"}), false),
            (json!({"branch": "main"}), false),
            (json!({"commit": "1".repeat(40)}), false),
            (json!({}), false),
        ] {
            for (mode, of_tag, shown) in [
                ("HEAD", false, "HEAD"),
                ("head", false, "HEAD"),
                ("Tag", true, "Tag"),
                ("TagAndHEAD", true, "TagAndHEAD"),
            ] {
                let spec = json!({
                    "url": "https://host/x", "interval": "1m", "ref": reference,
                    "verify": {"mode": mode, "secretRef": {"name": "k"}},
                });
                match validate(&serde_json::from_value(spec).unwrap()) {
                    Ok(valid) => {
                        assert!(has_tag || !of_tag, "{reference} {mode}");
                        assert_eq!(valid.verification.unwrap().mode.as_str(), shown);
                    }
                    Err(error) => {
                        assert!(of_tag && !has_tag, "{reference} {mode}");
                        let expect = (Reason::InvalidVerificationMode, Consequence::Stall);
                        assert_eq!((error.reason(), error.consequence()), expect);
                    }
                }
            }
        }
    }
}
