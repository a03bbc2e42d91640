//! What can end a step of an OCIRepository early, and the condition that it breaks. The crates below have their own errors; here they
//! get the words that tools look for.

use plumb_api::source::SourceCondition;
use plumb_archive::UnpackError;
use plumb_memory::OverBudget;
use plumb_oci::{DigestError, OciError};
use plumb_secrets::SecretError;
use plumb_status::{Classify, Consequence, Reason, UnsupportedFields};
use plumb_transport::NoSlot;
use plumb_version::ConstraintError;

use crate::{
    artifact::{BreaksCondition, IgnoreError, Interrupted},
    cloud::CloudError,
    oci_signature::{MethodError, VerifyError},
};

/// What can end a step early.
#[derive(Debug, thiserror::Error)]
pub enum OciSourceError {
    /// The spec sets what this version does not support.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedFields),
    /// The URL.
    #[error("URL validation failed for '{url}'")]
    Url {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: plumb_oci::ReferenceError,
    },
    /// The reference of the spec.
    #[error("failed to determine the artifact tag for '{url}'")]
    Reference {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
    /// The Secret with credentials, or the ServiceAccount.
    #[error("failed to get credential")]
    Credential(#[source] SecretError),
    /// The cloud gives no credential.
    #[error("failed to get credential from '{provider}'")]
    Cloud {
        /// The provider.
        provider: &'static str,
        /// Why.
        #[source]
        source: Box<CloudError>,
    },
    /// The Secret of the proxy.
    #[error("failed to get proxy address")]
    Proxy(#[source] SecretError),
    /// The Secret with certificates.
    #[error("failed to generate transport for '{url}'")]
    Certificates {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// The tags could not be listed.
    #[error("failed to determine the artifact tag for '{url}'")]
    Tags {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: OciError,
    },
    /// The digest of a tag could not be found out.
    #[error("failed to determine artifact digest")]
    Resolve(#[source] OciError),
    /// The artifact could not be pulled.
    #[error("failed to pull artifact from '{url}'")]
    Pull {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: OciError,
    },
    /// The field `verify`.
    #[error("failed to verify the signature")]
    Verify(#[source] MethodError),
    /// It was not verified.
    #[error("failed to verify the signature using provider '{provider}'")]
    Verification {
        /// The provider.
        provider: &'static str,
        /// Why.
        #[source]
        source: Box<VerifyError>,
    },
    /// Its layer cannot be used.
    #[error(transparent)]
    Layer(LayerError),
    /// Too many operations go on.
    #[error(transparent)]
    NoSlot(#[from] NoSlot),
    /// The controller is shutting down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A reference cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The tag.
    #[error(transparent)]
    Tag(#[from] plumb_oci::ReferenceError),
    /// The range of versions.
    #[error(transparent)]
    Range(#[from] ConstraintError),
    /// The filter of tags.
    #[error("semverFilter {filter:?} is not a regular expression: {problem}")]
    Filter {
        /// The expression.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The filter takes too long.
    #[error("{tags} tags could not be compared within {seconds} s: simplify semverFilter")]
    TooSlow {
        /// How many tags there are.
        tags: usize,
        /// How long it was tried.
        seconds: u64,
    },
    /// No tag is in the range.
    #[error("no match found for semver: {range}: none of the {tags} tags is in the range{}", if *.filtered { " and matches semverFilter" } else { "" })]
    NoMatch {
        /// The range.
        range: String,
        /// How many tags there are.
        tags: usize,
        /// Whether there is a filter.
        filtered: bool,
    },
}

/// A layer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// There is none.
    #[error("no layers found in artifact")]
    None,
    /// None of this media type.
    #[error("failed to find layer with media type '{media_type}' in artifact; it has layers of {}", listed(.found))]
    Missing {
        /// The media type.
        media_type: String,
        /// Those that are there.
        found: Vec<String>,
    },
    /// It cannot be unpacked.
    #[error("failed to extract layer contents from artifact")]
    Unpack(#[source] UnpackError),
    /// Its files take too long.
    #[error("the files of the layer could not be compared with the ignore rules within {seconds} s")]
    TooSlow {
        /// How long it was tried.
        seconds: u64,
    },
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(OverBudget),
    /// The ignore rules cannot be used, or its files are too many or too large.
    #[error("failed to load source ignore patterns from artifact")]
    Ignore(#[source] IgnoreError),
}

/// Media types that an error lists.
const LISTED_MAX: usize = 5;

fn listed(media_types: &[String]) -> String {
    let shown: Vec<String> = media_types.iter().take(LISTED_MAX).map(|one| format!("{one:?}")).collect();
    let more = media_types.len().saturating_sub(LISTED_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

impl BreaksCondition for OciSourceError {
    type Condition = SourceCondition;

    fn condition(&self) -> Option<SourceCondition> {
        match self {
            Self::Unsupported(_) => None,
            Self::Verify(_) | Self::Verification { .. } => Some(SourceCondition::SourceVerified),
            _ => Some(SourceCondition::FetchFailed),
        }
    }
}

impl Classify for OciSourceError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unsupported(error) => error.reason(),
            Self::Url { .. } => Reason::UrlInvalid,
            Self::Reference { .. } | Self::Tags { .. } => Reason::ReadOperationFailed,
            Self::Cloud { source, .. } => source.reason(),
            Self::Credential(_) | Self::Proxy(_) | Self::Certificates { .. } => Reason::AuthenticationFailed,
            Self::Resolve(_) | Self::Pull { .. } | Self::NoSlot(_) | Self::Interrupted(_) => {
                Reason::OciArtifactPullFailed
            }
            Self::Verify(_) | Self::Verification { .. } => Reason::VerificationError,
            Self::Layer(LayerError::Ignore(IgnoreError::Rules(_))) => Reason::SourceIgnoreError,
            Self::Layer(_) => Reason::OciArtifactLayerOperationFailed,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Unsupported(error) => error.consequence(),
            // Only another spec helps.
            Self::Url { .. } | Self::Verify(_) => Consequence::Stall,
            Self::Cloud { source, .. } => source.consequence(),
            Self::Reference { source, .. }
                if !matches!(source, ReferenceError::NoMatch { .. } | ReferenceError::TooSlow { .. }) =>
            {
                Consequence::Stall
            }
            _ => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unsupported(error) => return error.hint(),
            Self::Verification { source, .. } => return source.hint(),
            Self::Cloud { source, .. } => return source.hint(),
            Self::Credential(SecretError::NotFound { .. }) => {
                "create the Secret, or correct spec.secretRef or the imagePullSecrets of the ServiceAccount"
            }
            Self::Credential(SecretError::NoServiceAccount { .. }) => {
                "create the ServiceAccount or correct spec.serviceAccountName"
            }
            Self::Proxy(_) => "correct spec.proxySecretRef or its Secret",
            Self::Certificates { .. } => "correct spec.certSecretRef or its Secret",
            Self::Tags { source, .. } | Self::Resolve(source) | Self::Pull { source, .. } => {
                return hint_of(source);
            }
            Self::Reference { .. } => "correct spec.ref",
            Self::Layer(LayerError::Missing { .. } | LayerError::None) => {
                "correct spec.layerSelector, or push the artifact again"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn hint_of(error: &OciError) -> Option<String> {
    let hint = match error {
        OciError::Unauthorized { has_credential: false, .. } => {
            "set spec.secretRef to a Secret of the type kubernetes.io/dockerconfigjson that has this registry, unless the repository does not exist"
        }
        OciError::Unauthorized { has_credential: true, .. } => {
            "correct the credentials in the Secret of spec.secretRef"
        }
        OciError::Status { status: 403, .. } => {
            "give the credentials of spec.secretRef access to the repository"
        }
        OciError::Status { status: 404, .. } => "correct spec.url or spec.ref, or push the artifact",
        _ => return None,
    };
    Some(hint.to_owned())
}
