//! The conditions of the sources that have none of their own.

use plumb_status::{ConditionType, Polarity};

/// Conditions of a source other than Ready, Reconciling and Stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceCondition {
    /// The storage did not work.
    StorageOperationFailed,
    /// The source could not be fetched.
    FetchFailed,
    /// The artifact is not that of the newest revision.
    ArtifactOutdated,
    /// The artifact of the revision is stored.
    ArtifactInStorage,
    /// The signature was verified.
    SourceVerified,
}

impl ConditionType for SourceCondition {
    const ALL: &'static [Self] = &[
        Self::StorageOperationFailed,
        Self::FetchFailed,
        Self::ArtifactOutdated,
        Self::ArtifactInStorage,
        Self::SourceVerified,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::StorageOperationFailed => "StorageOperationFailed",
            Self::FetchFailed => "FetchFailed",
            Self::ArtifactOutdated => "ArtifactOutdated",
            Self::ArtifactInStorage => "ArtifactInStorage",
            Self::SourceVerified => "SourceVerified",
        }
    }

    fn polarity(self) -> Polarity {
        match self {
            Self::StorageOperationFailed | Self::FetchFailed | Self::ArtifactOutdated => Polarity::Negative,
            Self::ArtifactInStorage | Self::SourceVerified => Polarity::Positive,
        }
    }
}
