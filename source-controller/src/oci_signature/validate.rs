//! How a spec wants signatures verified. Pure.

use plumb_api::source::{OCIRepositoryVerification, SignatureProvider};
use plumb_status::UnsupportedField;

/// How signatures are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Cosign, with the public keys of a Secret. Identities do not count then, as with Flux.
    CosignKeys {
        /// The Secret.
        secret: String,
    },
}

impl Method {
    /// The provider, as the condition names it.
    pub fn provider(&self) -> &'static str {
        match self {
            Self::CosignKeys { .. } => "cosign",
        }
    }
}

/// The method that a spec wants, or the field that this version does not support.
pub fn method(verify: &OCIRepositoryVerification) -> Result<Method, UnsupportedField> {
    let OCIRepositoryVerification {
        match_oidc_identity: _,
        provider,
        secret_ref,
        trusted_root_secret_ref: _,
    } = verify;
    let secret = secret_ref.as_ref().map(|secret| secret.name.clone());
    match (provider, secret) {
        (SignatureProvider::Cosign, Some(secret)) => Ok(Method::CosignKeys { secret }),
        (SignatureProvider::Cosign, None) => {
            Err(UnsupportedField::with_value("spec.verify.provider", "cosign without secretRef"))
        }
        (SignatureProvider::Notation, _) => {
            Err(UnsupportedField::with_value("spec.verify.provider", provider.as_str()))
        }
    }
}
