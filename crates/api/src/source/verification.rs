//! Signatures of OCI artifacts, as OCIRepository and HelmChart ask for them. Verifying never enters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::LocalObjectReference;
use crate::string_enum::string_enum;

string_enum! {
    /// Signature format of an OCI artifact.
    #[derive(Default)]
    pub enum SignatureProvider {
        /// Sigstore's cosign.
        #[default]
        Cosign = "cosign",
        /// Notary's notation.
        Notation = "notation",
    }
}

string_enum! {
    /// Authentication provider of a registry or object store.
    #[derive(Default)]
    pub enum CloudProvider {
        /// Credentials of the Secret.
        #[default]
        Generic = "generic",
        /// Amazon Web Services.
        Aws = "aws",
        /// Microsoft Azure.
        Azure = "azure",
        /// Google Cloud.
        Gcp = "gcp",
    }
}

/// Verification of the signature of an OCI artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[schemars(extend("required" = ["provider"]))]
pub struct OCIRepositoryVerification {
    /// Identities for keyless verification. At least one must match.
    #[serde(rename = "matchOIDCIdentity")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_oidc_identity: Vec<OidcIdentity>,
    /// Signature provider: `cosign` or `notation`. Default: `cosign`.
    #[serde(default)]
    pub provider: SignatureProvider,
    /// Secret with the public keys of trusted signers. Unset: keyless verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// Secret with the `trusted_root.json` of a private Sigstore instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root_secret_ref: Option<LocalObjectReference>,
}

/// Verification of the signature of a chart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[schemars(extend("required" = ["provider"]))]
pub struct HelmChartVerification {
    /// Identities for keyless verification. At least one must match.
    #[serde(rename = "matchOIDCIdentity")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_oidc_identity: Vec<OidcIdentity>,
    /// Signature provider: `cosign` or `notation`. Default: `cosign`.
    #[serde(default)]
    pub provider: SignatureProvider,
    /// Secret with the public keys of trusted signers. Unset: keyless verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
}

/// OIDC identity for keyless verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OidcIdentity {
    /// Regular expression for the OIDC issuer.
    pub issuer: String,
    /// Regular expression for the identity subject.
    pub subject: String,
}
