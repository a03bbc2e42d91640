//! What can end a step of a Bucket early, and the condition that it breaks. The crates below have their own errors; here they get the
//! words that tools look for.

use plumb_api::source::SourceCondition;
use plumb_bucket::{AddressError, BucketError};
use plumb_filetree::{PathError, TreeError, ignore::TooManyPatterns};
use plumb_memory::OverBudget;
use plumb_secrets::SecretError;
use plumb_status::{Classify, Consequence, Reason, UnsupportedFields};
use plumb_transport::NoSlot;

use crate::{
    artifact::{BreaksCondition, Interrupted},
    cloud::CloudError,
};

/// What can end a step early.
#[derive(Debug, thiserror::Error)]
pub enum BucketSourceError {
    /// The spec sets what this version does not support.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedFields),
    /// Endpoint, name or region.
    #[error(transparent)]
    Address(AddressError),
    /// The Security Token Service does not go with the provider.
    #[error(transparent)]
    Sts(StsError),
    /// Its endpoint.
    #[error("failed to parse STS endpoint '{endpoint}': it is not an http or https URL")]
    StsEndpoint {
        /// The endpoint, without what may be a secret.
        endpoint: String,
    },
    /// The Secret with credentials.
    #[error(transparent)]
    Credential(SecretError),
    /// The Secret for the Security Token Service.
    #[error("failed to get STS secret")]
    StsCredential(#[source] SecretError),
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
    #[error("failed to get proxy URL")]
    Proxy(#[source] SecretError),
    /// The Secret with certificates.
    #[error("failed to get TLS config")]
    Certificates(#[source] SecretError),
    /// The Secret with certificates for the Security Token Service.
    #[error("failed to get STS TLS config")]
    StsCertificates(#[source] SecretError),
    /// The credential could not be exchanged.
    #[error("failed to get credential")]
    Connect(#[source] Box<BucketError>),
    /// The bucket could not be listed.
    #[error("indexation of objects from bucket '{bucket}' failed")]
    List {
        /// Its name.
        bucket: String,
        /// Why.
        #[source]
        source: Box<BucketError>,
    },
    /// There is no bucket of this name.
    #[error("bucket '{bucket}' not found")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The file with ignore rules could not be fetched.
    #[error("failed to get '.sourceignore' object")]
    IgnoreFile(#[source] Box<BucketError>),
    /// The ignore rules cannot be used.
    #[error("failed to load source ignore patterns from bucket '{bucket}'")]
    Rules {
        /// Its name.
        bucket: String,
        /// Why.
        #[source]
        source: TooManyPatterns,
    },
    /// Keys cannot be compared with the rules in time.
    #[error(
        "the objects of bucket '{bucket}' could not be compared with the ignore rules within {seconds} s"
    )]
    TooSlow {
        /// Its name.
        bucket: String,
        /// How long it was tried.
        seconds: u64,
    },
    /// A key cannot be a file.
    #[error("indexation of objects from bucket '{bucket}' failed")]
    Key {
        /// Its name.
        bucket: String,
        /// Why.
        #[source]
        source: Box<KeyError>,
    },
    /// An object could not be fetched.
    #[error("fetch from bucket '{bucket}' failed: failed to get '{key}' object")]
    Fetch {
        /// Its name.
        bucket: String,
        /// The object.
        key: String,
        /// Why.
        #[source]
        source: Box<BucketError>,
    },
    /// The objects are too many or too large.
    #[error("fetch from bucket '{bucket}' failed")]
    Tree {
        /// Its name.
        bucket: String,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(OverBudget),
    /// Too many operations go on.
    #[error(transparent)]
    NoSlot(#[from] NoSlot),
    /// The controller is shutting down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A Security Token Service does not go with the provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StsError {
    /// The provider has none.
    #[error("STS configuration is not supported for '{bucket}' bucket provider")]
    NotSupported {
        /// The provider of the bucket.
        bucket: &'static str,
    },
    /// The provider has another one.
    #[error("STS provider '{sts}' is not supported for '{bucket}' bucket provider")]
    Incompatible {
        /// The provider of the bucket.
        bucket: &'static str,
        /// The provider of credentials.
        sts: &'static str,
    },
    /// A field without a use.
    #[error("spec.sts.{field} is not required for the '{sts}' STS provider")]
    NotRequired {
        /// The field.
        field: &'static str,
        /// The provider of credentials.
        sts: &'static str,
    },
}

/// A key cannot be a file of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no path inside the artifact.
    #[error("object key {key:?} is not a path: remove the object, or exclude it by spec.ignore")]
    Path {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// It has a character that file names do not have.
    #[error("object key {key:?} has a control character: remove the object, or exclude it by spec.ignore")]
    Control {
        /// The key.
        key: String,
    },
    /// Another key is the same path.
    #[error(
        "object keys {first:?} and {second:?} are the same path: remove one of them, or exclude it by spec.ignore"
    )]
    Same {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

impl BreaksCondition for BucketSourceError {
    type Condition = SourceCondition;

    fn condition(&self) -> Option<SourceCondition> {
        match self {
            Self::Unsupported(_) => None,
            _ => Some(SourceCondition::FetchFailed),
        }
    }
}

impl Classify for BucketSourceError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unsupported(error) => error.reason(),
            Self::Address(AddressError::Endpoint { .. }) | Self::StsEndpoint { .. } => Reason::UrlInvalid,
            Self::Address(AddressError::Bucket { .. } | AddressError::Region { .. }) => Reason::InvalidSpec,
            Self::Sts(_) => Reason::InvalidStsConfiguration,
            Self::Cloud { source, .. } => source.reason(),
            Self::Credential(_)
            | Self::StsCredential(_)
            | Self::Proxy(_)
            | Self::Certificates(_)
            | Self::StsCertificates(_)
            | Self::Connect(_) => Reason::AuthenticationFailed,
            Self::Rules { .. } => Reason::SourceIgnoreError,
            Self::List { .. }
            | Self::NoBucket { .. }
            | Self::IgnoreFile(_)
            | Self::TooSlow { .. }
            | Self::Key { .. }
            | Self::Fetch { .. }
            | Self::Tree { .. }
            | Self::OverBudget(_)
            | Self::NoSlot(_)
            | Self::Interrupted(_) => Reason::BucketOperationFailed,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Unsupported(error) => error.consequence(),
            Self::Cloud { source, .. } => source.consequence(),
            // Only another spec helps.
            Self::Address(_) | Self::Sts(_) | Self::StsEndpoint { .. } => Consequence::Stall,
            _ => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unsupported(error) => return error.hint(),
            Self::Cloud { source, .. } => return source.hint(),
            Self::Address(AddressError::Endpoint { .. }) => "correct spec.endpoint",
            Self::Address(AddressError::Bucket { .. }) => "correct spec.bucketName",
            Self::Address(AddressError::Region { .. }) => "correct spec.region",
            Self::Sts(_) | Self::StsEndpoint { .. } => "correct spec.sts",
            Self::Credential(SecretError::NotFound { .. }) => "create the Secret or correct spec.secretRef",
            Self::StsCredential(_) => "correct spec.sts.secretRef or its Secret",
            Self::Proxy(_) => "correct spec.proxySecretRef or its Secret",
            Self::Certificates(_) => "correct spec.certSecretRef or its Secret",
            Self::StsCertificates(_) => "correct spec.sts.certSecretRef or its Secret",
            Self::NoBucket { .. } => "create the bucket, or correct spec.bucketName or spec.endpoint",
            Self::Tree { source: TreeError::TooManyBytes { .. }, .. } => {
                "narrow spec.prefix or spec.ignore, or raise --bucket-max-size"
            }
            Self::List { source, .. } | Self::IgnoreFile(source) | Self::Fetch { source, .. } => {
                return hint_of(source);
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn hint_of(error: &BucketError) -> Option<String> {
    let hint = match error {
        BucketError::TooMany { what: "objects", .. } => "narrow spec.prefix, or raise --bucket-objects-max",
        BucketError::Status { status: 301 | 307 | 308, .. } => {
            "set spec.endpoint to the endpoint of the bucket, and spec.region to its region"
        }
        BucketError::Status { status: 401 | 403, .. } => {
            "correct the credentials in the Secret of spec.secretRef, and give them access to list the bucket and get its objects"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}
