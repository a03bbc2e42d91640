//! What can go wrong with a store in a bucket, and what helps.

use std::io;

use plumb_bucket::BucketError;
use plumb_transport::NoSlot;

/// What was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An artifact was to be uploaded.
    Store,
    /// An artifact was to be read or compared.
    Read,
    /// Artifacts were to be deleted.
    Remove,
    /// The artifacts of a kind were to be listed.
    List,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Store => "store artifact",
            Self::Read => "read artifact",
            Self::Remove => "remove artifact",
            Self::List => "list artifacts",
        })
    }
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum BucketProblem {
    /// The object store.
    #[error(transparent)]
    Request(BucketError),
    /// The credential. It never shows a value.
    #[error("{0}")]
    Credential(String),
    /// Too many of these operations.
    #[error(transparent)]
    NoSlot(NoSlot),
    /// Too many requests of clients.
    #[error("{max} requests of clients, or {client_max} of this one, are being answered already")]
    Busy {
        /// The limit.
        max: usize,
        /// That of one client.
        client_max: usize,
    },
    /// The file that is uploaded.
    #[error("cannot read the file that is uploaded")]
    File(#[source] io::Error),
    /// An object is larger than its reader accepts.
    #[error("it has {size} bytes, and {max} are accepted")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// What was uploaded is not what is there now.
    #[error("another object is in its place right after the upload")]
    Lost,
}

impl From<BucketError> for BucketProblem {
    fn from(error: BucketError) -> Self {
        Self::Request(error)
    }
}

impl BucketProblem {
    /// What the operator can do.
    pub(crate) fn hint(&self, bucket: &str) -> Option<String> {
        let text = match self {
            Self::Request(BucketError::NoBucket { .. }) => {
                format!("create bucket '{bucket}', or correct --storage-bucket or --storage-endpoint")
            }
            Self::Request(error) if matches!(error.status(), Some(401 | 403)) => format!(
                "check the credential of the storage: it has to be allowed to list bucket '{bucket}', and to read, write and delete its objects"
            ),
            Self::Request(BucketError::PlainToken { .. }) => {
                "use an https endpoint, or set --storage-insecure".to_owned()
            }
            Self::Request(
                BucketError::Connection { .. } | BucketError::TimedOut | BucketError::Status { .. },
            ) => "it is retried; if it stays, check --storage-endpoint, --storage-ca-file, the proxy and the network policies".to_owned(),
            Self::Credential(_) => "check --storage-credentials-dir and the Secret that is mounted there".to_owned(),
            Self::Lost => {
                "two controllers may write to the same place: give each its own --storage-bucket-prefix".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}
