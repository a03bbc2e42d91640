//! How a spec wants signatures verified. Pure.

use plumb_api::source::{OCIRepositoryVerification, OidcIdentity, SignatureProvider};
use plumb_oci_signature::{Identity, IdentityError};
use plumb_status::UnsupportedField;

/// Identities of a spec.
const IDENTITIES_MAX: usize = 100;

/// How signatures are verified.
#[derive(Clone, Debug)]
pub enum Method {
    /// Cosign, with the public keys of a Secret. Identities do not count then, as with Flux.
    CosignKeys {
        /// The Secret.
        secret: String,
    },
    /// Cosign, with certificates for identities.
    CosignKeyless {
        /// The Secret with the trusted root; none for that of the public Sigstore instance.
        trusted_root: Option<String>,
        /// Identities that may sign.
        identities: Vec<Identity>,
    },
}

impl Method {
    /// The provider, as the condition names it.
    pub fn provider(&self) -> &'static str {
        match self {
            Self::CosignKeys { .. } => "cosign",
            Self::CosignKeyless { .. } => "cosign keyless",
        }
    }
}

/// A field of `verify` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// This version does not support it.
    #[error("spec.verify is not supported in this form")]
    Unsupported(UnsupportedField),
    /// An identity.
    #[error("spec.verify.matchOIDCIdentity[{index}] cannot be used")]
    Identity {
        /// Which one.
        index: usize,
        /// Why.
        #[source]
        source: IdentityError,
    },
    /// Too many identities.
    #[error("spec.verify.matchOIDCIdentity has more than {IDENTITIES_MAX} identities")]
    TooManyIdentities,
}

/// The method that a spec wants.
pub fn method(verify: &OCIRepositoryVerification) -> Result<Method, MethodError> {
    let OCIRepositoryVerification { match_oidc_identity, provider, secret_ref, trusted_root_secret_ref } =
        verify;
    let secret = secret_ref.as_ref().map(|secret| secret.name.clone());
    match (provider, secret) {
        (SignatureProvider::Cosign, Some(secret)) => Ok(Method::CosignKeys { secret }),
        (SignatureProvider::Cosign, None) => Ok(Method::CosignKeyless {
            trusted_root: trusted_root_secret_ref.as_ref().map(|secret| secret.name.clone()),
            identities: identities(match_oidc_identity)?,
        }),
        (SignatureProvider::Notation, _) => {
            let field = UnsupportedField::with_value("spec.verify.provider", provider.as_str());
            Err(MethodError::Unsupported(field))
        }
    }
}

fn identities(wanted: &[OidcIdentity]) -> Result<Vec<Identity>, MethodError> {
    if wanted.len() > IDENTITIES_MAX {
        return Err(MethodError::TooManyIdentities);
    }
    let parsed = |(index, OidcIdentity { issuer, subject }): (usize, &OidcIdentity)| {
        Identity::parse(issuer, subject).map_err(|source| MethodError::Identity { index, source })
    };
    wanted.iter().enumerate().map(parsed).collect()
}
