//! How a spec wants signatures verified. Pure.

use plumb_api::{
    meta::LocalObjectReference,
    source::{HelmChartVerification, OCIRepositoryVerification, OidcIdentity, SignatureProvider},
};
use plumb_oci_signature::{Identity, IdentityError};

/// Identities of a spec.
const IDENTITIES_MAX: usize = 100;

/// How signatures are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Notation.
    Notation {
        /// The Secret with the trust policy and certificates.
        secret: String,
    },
}

impl Method {
    /// The provider, as the condition names it.
    pub fn provider(&self) -> &'static str {
        match self {
            Self::CosignKeys { .. } => "cosign",
            Self::CosignKeyless { .. } => "cosign keyless",
            Self::Notation { .. } => "notation",
        }
    }
}

/// A field of `verify` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// Notation without a Secret.
    #[error("spec.verify.secretRef cannot be empty for the provider 'notation'")]
    NoSecret,
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

/// The method that an OCIRepository wants.
pub fn method(verify: &OCIRepositoryVerification) -> Result<Method, MethodError> {
    let OCIRepositoryVerification { match_oidc_identity, provider, secret_ref, trusted_root_secret_ref } =
        verify;
    let name = |secret: &Option<LocalObjectReference>| secret.as_ref().map(|secret| secret.name.clone());
    match (provider, name(secret_ref)) {
        (SignatureProvider::Cosign, Some(secret)) => Ok(Method::CosignKeys { secret }),
        (SignatureProvider::Cosign, None) => Ok(Method::CosignKeyless {
            trusted_root: name(trusted_root_secret_ref),
            identities: identities(match_oidc_identity)?,
        }),
        (SignatureProvider::Notation, Some(secret)) => Ok(Method::Notation { secret }),
        (SignatureProvider::Notation, None) => Err(MethodError::NoSecret),
    }
}

/// The method that a HelmChart wants.
pub fn chart_method(verify: &HelmChartVerification) -> Result<Method, MethodError> {
    let HelmChartVerification { match_oidc_identity, provider, secret_ref } = verify.clone();
    method(&OCIRepositoryVerification {
        match_oidc_identity,
        provider,
        secret_ref,
        trusted_root_secret_ref: None,
    })
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
