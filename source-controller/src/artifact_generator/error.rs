//! Why an attempt at an ArtifactGenerator failed, and what follows.

use plumb_cluster::CallError;
use plumb_fetch::FetchError;
use plumb_runtime::ReportError;
use plumb_status::{Classify, Consequence, Reason};
use plumb_store::StoreError;
use plumb_transport::NoSlot;

use super::{compose::ComposeError, plan::SourceName};
use crate::artifact::Interrupted;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum GeneratorError {
    /// The spec contradicts itself.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
    },
    /// A source is in another namespace.
    #[error("cross-namespace reference to source {source_name} is not allowed")]
    CrossNamespace {
        /// The source.
        source_name: SourceName,
    },
    /// A source does not exist.
    #[error("get sources failed: source '{source_name}' not found")]
    SourceMissing {
        /// The source.
        source_name: SourceName,
    },
    /// A source has no artifact.
    #[error("get sources failed: source '{source_name}' is not ready")]
    SourceNotReady {
        /// The source.
        source_name: SourceName,
    },
    /// The artifact of a source could not be fetched.
    #[error("fetch sources failed: '{source_name}'")]
    Fetch {
        /// The source.
        source_name: SourceName,
        /// Why.
        #[source]
        source: Box<FetchError>,
    },
    /// An artifact could not be composed.
    #[error("{name} build failed")]
    Build {
        /// The artifact.
        name: String,
        /// Why.
        #[source]
        source: Box<ComposeError>,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// An ExternalArtifact could not be written.
    #[error("{name} reconcile failed: failed to {action} ExternalArtifact")]
    Write {
        /// The artifact.
        name: String,
        /// What was done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: CallError,
    },
    /// The finalizer of source-watcher could not be removed.
    #[error("failed to remove the finalizer that source-watcher left")]
    Release {
        /// Why.
        #[source]
        source: CallError,
    },
    /// The inventory could not be written before the artifacts.
    #[error("failed to update inventory")]
    Inventory(#[from] ReportError),
    /// Too many artifacts are being generated.
    #[error(transparent)]
    NoSlot(#[from] NoSlot),
    /// The controller is shutting down.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Classify for GeneratorError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid { .. } => Reason::ValidationFailed,
            Self::CrossNamespace { .. } => Reason::AccessDenied,
            Self::SourceMissing { .. } | Self::SourceNotReady { .. } | Self::Fetch { .. } => {
                Reason::SourceFetchFailed
            }
            Self::Build { .. } | Self::NoSlot(_) | Self::Interrupted(_) => Reason::BuildFailed,
            Self::Storage(error) => error.reason(),
            Self::Write { .. } | Self::Release { .. } | Self::Inventory(_) => Reason::ReconciliationFailed,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Invalid { .. } | Self::CrossNamespace { .. } => Consequence::Stall,
            Self::SourceMissing { .. } | Self::SourceNotReady { .. } => Consequence::Wait,
            Self::Storage(error) => error.consequence(),
            Self::Fetch { .. }
            | Self::Build { .. }
            | Self::Write { .. }
            | Self::Release { .. }
            | Self::Inventory(_)
            | Self::NoSlot(_)
            | Self::Interrupted(_) => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::CrossNamespace { .. } => {
                "move the source, or start the controller without --no-cross-namespace-refs"
            }
            Self::SourceMissing { .. } => "create it, or correct spec.sources",
            Self::Build { .. } => "correct spec.artifacts, or the files of the sources",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
