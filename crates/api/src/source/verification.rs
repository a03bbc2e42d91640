//! Signatures of OCI artifacts, as OCIRepository and HelmChart ask for them. Verifying never enters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::LocalObjectReference;
use crate::words::words;

words! {
    /// How OCI artifacts are signed.
    #[derive(Default)]
    pub enum SignatureProvider {
        /// Sigstore's cosign.
        #[default]
        Cosign = "cosign",
        /// Notary's notation.
        Notation = "notation",
    }
}

words! {
    /// Who issues the credentials of a registry or object store.
    #[derive(Default)]
    pub enum CloudProvider {
        /// Nobody: they stand in the Secret.
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

/// Whose signature an OCI artifact must carry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[schemars(extend("required" = ["provider"]))]
pub struct OCIRepositoryVerification {
    /// Identities, one of which must have signed without a key.
    #[serde(rename = "matchOIDCIdentity")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_oidc_identity: Vec<OidcIdentity>,
    /// How it is signed.
    #[serde(default)]
    pub provider: SignatureProvider,
    /// A Secret with the public keys of those who may sign; without it, the identity counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
    /// A Secret with a trusted_root.json of a Sigstore of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root_secret_ref: Option<LocalObjectReference>,
}

/// Whose signature a chart must carry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
#[schemars(extend("required" = ["provider"]))]
pub struct HelmChartVerification {
    /// Identities, one of which must have signed without a key.
    #[serde(rename = "matchOIDCIdentity")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_oidc_identity: Vec<OidcIdentity>,
    /// How it is signed.
    #[serde(default)]
    pub provider: SignatureProvider,
    /// A Secret with the public keys of those who may sign; without it, the identity counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,
}

/// Who signed without a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct OidcIdentity {
    /// A regular expression that the issuer of the identity matches.
    pub issuer: String,
    /// A regular expression that the identity matches.
    pub subject: String,
}
