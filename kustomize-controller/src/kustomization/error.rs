//! Why an attempt at a Kustomization did not succeed, and what follows. Errors of the steps keep their own texts.

use plumb_api::kustomize::{InvalidDriftMode, KustomizationCondition};
use plumb_api::meta::ALLOW_EMPTY;
use plumb_fetch::FetchError;
use plumb_planning::inventory::InventoryError;
use plumb_planning::plan::DuplicateId;
use plumb_rendering::RenderError;
use plumb_runtime::ReportError;
use plumb_secrets::VariablesError;
use plumb_status::{Classify, Consequence, Reason, UnsupportedFields};

/// What helps where the inventory cannot be recorded.
const INVENTORY_REMEDY: &str =
    "split this Kustomization so that each inventory is smaller, or raise etcd's --max-request-bytes";

/// Begins the text of a failed health check; a duration and the summary follow.
pub const HEALTH_CHECK_FAILED: &str = "health check failed after";

/// Why an attempt did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum KustomizationError {
    /// Fields are set that are not supported.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedFields),
    /// A field has a value that cannot be meant.
    #[error("{field} is invalid: {problem}")]
    InvalidField {
        /// The field, from `spec`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A reference to another namespace, which is not allowed.
    #[error("can't access '{object}', cross-namespace references have been blocked")]
    CrossNamespace {
        /// What is referred to.
        object: String,
    },
    /// The mode of drift detection is no mode.
    #[error(transparent)]
    DriftMode(#[from] InvalidDriftMode),
    /// The source is not there.
    #[error("Source '{source_ref}' not found")]
    SourceMissing {
        /// The source, as the spec names it.
        source_ref: String,
    },
    /// The source has no artifact yet.
    #[error("Source artifact not found")]
    ArtifactMissing,
    /// The artifact is announced, but is not there.
    #[error("Source is not ready, artifact not found")]
    ArtifactGone,
    /// The artifact cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Something that must come first has not come.
    #[error("dependency '{name}' {problem}")]
    Dependency {
        /// Which, `namespace/name`.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The source is of a kind that is not enabled.
    #[error("source 'ExternalArtifact/{name}' cannot be used: the feature gate ExternalArtifact is disabled")]
    ExternalArtifactDisabled {
        /// The source.
        name: String,
    },
    /// A ConfigMap or Secret with variables cannot be used.
    #[error(transparent)]
    Variables(#[from] VariablesError),
    /// The manifests cannot be built.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The work on the manifests ended by a fault.
    #[error("internal error: the build panicked")]
    BuildFault,
    /// A build took too long.
    #[error("the build took longer than {seconds} s and was stopped: split the Kustomization")]
    BuildTimeout {
        /// How long it may take, in seconds.
        seconds: u64,
    },
    /// No slot became free for a build.
    #[error("no slot for the build became free within {seconds} s (--concurrent)")]
    BuildSlots {
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// Too many builds that were given up still run.
    #[error("{limit} builds of namespace {namespace} that were superseded or timed out have not ended yet")]
    BuildsAbandoned {
        /// Whose builds.
        namespace: String,
        /// How many may be so.
        limit: usize,
    },
    /// An object is there twice.
    #[error("{0}: remove one of the two manifests")]
    Duplicate(#[from] DuplicateId),
    /// The scope of a kind could not be asked for, so its objects could not be told apart.
    #[error("cannot tell whether {kind} is namespaced: {problem}")]
    Scope {
        /// The kind, with group and version.
        kind: String,
        /// What the request led to.
        problem: String,
    },
    /// The inventory in the status cannot be read.
    #[error("status.inventory cannot be used")]
    Inventory(#[from] InventoryError),
    /// The inventory could not be written before the first apply.
    #[error("cannot record what is about to be applied")]
    Record(#[from] ReportError),
    /// Objects were not applied.
    #[error("{summary}")]
    Apply {
        /// Each object, one a line.
        summary: String,
    },
    /// Objects were not deleted.
    #[error("{summary}")]
    Prune {
        /// Each object.
        summary: String,
    },
    /// The dependencies lead back to this Kustomization.
    #[error("dependency cycle: {way}: remove one of these from spec.dependsOn")]
    DependencyCycle {
        /// From this Kustomization to itself.
        way: String,
    },
    /// The source renders no object, and everything would be deleted.
    #[error(
        "the source renders no objects, and all {count} objects of the inventory would be deleted: set the annotation \
         {ALLOW_EMPTY}: \"true\" or the flag --allow-empty if that is meant, or correct spec.path"
    )]
    EmptyRendering {
        /// How many objects there are.
        count: usize,
    },
    /// Something has changed since the attempt began, so nothing is deleted.
    #[error("nothing is deleted: {what}")]
    PruneStopped {
        /// What has changed.
        what: String,
    },
    /// A Kustomization is deleted, and some of its objects are not deleted, or not yet.
    #[error("not all objects are deleted: {kept}")]
    PruneHeld {
        /// Each object, and why.
        kept: String,
    },
    /// Objects did not become healthy.
    #[error("{HEALTH_CHECK_FAILED} {took}: {summary}")]
    Unhealthy {
        /// How long was waited.
        took: String,
        /// Which.
        summary: String,
    },
}

impl KustomizationError {
    /// The condition that it breaks.
    pub fn condition(&self) -> Option<KustomizationCondition> {
        matches!(self, Self::Unhealthy { .. }).then_some(KustomizationCondition::Healthy)
    }
}

impl Classify for KustomizationError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unsupported(fields) => fields.reason(),
            Self::InvalidField { .. } => Reason::InvalidSpec,
            Self::CrossNamespace { .. } => Reason::AccessDenied,
            Self::ExternalArtifactDisabled { .. } => Reason::FeatureGateDisabled,
            Self::DriftMode(error) => error.reason(),
            Self::SourceMissing { .. } | Self::ArtifactMissing | Self::ArtifactGone => Reason::ArtifactFailed,
            Self::Fetch(error) => error.reason(),
            Self::Dependency { .. } => Reason::DependencyNotReady,
            Self::Render(error) => error.reason(),
            Self::BuildFault => Reason::InternalError,
            Self::Duplicate(_)
            | Self::Variables(_)
            | Self::BuildTimeout { .. }
            | Self::BuildSlots { .. }
            | Self::BuildsAbandoned { .. } => Reason::BuildFailed,
            Self::Scope { .. } | Self::Inventory(_) | Self::Record(_) | Self::Apply { .. } => {
                Reason::ReconciliationFailed
            }
            Self::Prune { .. } => Reason::PruneFailed,
            Self::PruneHeld { .. } | Self::PruneStopped { .. } => Reason::PruneHeld,
            Self::DependencyCycle { .. } => Reason::DependencyCycle,
            Self::EmptyRendering { .. } => Reason::PruneBlocked,
            Self::Unhealthy { .. } => Reason::HealthCheckFailed,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Unsupported(fields) => fields.consequence(),
            Self::InvalidField { .. }
            | Self::CrossNamespace { .. }
            | Self::ExternalArtifactDisabled { .. }
            | Self::DependencyCycle { .. } => Consequence::Stall,
            Self::DriftMode(error) => error.consequence(),
            Self::SourceMissing { .. }
            | Self::ArtifactMissing
            | Self::ArtifactGone
            | Self::PruneHeld { .. }
            | Self::PruneStopped { .. }
            | Self::Dependency { .. } => Consequence::Wait,
            Self::Fetch(error) => error.consequence(),
            Self::Render(error) => error.consequence(),
            Self::BuildFault
            | Self::BuildTimeout { .. }
            | Self::BuildSlots { .. }
            | Self::BuildsAbandoned { .. }
            | Self::EmptyRendering { .. }
            | Self::Variables(_)
            | Self::Duplicate(_)
            | Self::Scope { .. }
            | Self::Inventory(_)
            | Self::Record(_)
            | Self::Apply { .. }
            | Self::Prune { .. }
            | Self::Unhealthy { .. } => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported(fields) => fields.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Render(error) => error.hint(),
            Self::ExternalArtifactDisabled { .. } => {
                Some("start the controller with --feature-gates=ExternalArtifact=true".to_owned())
            }
            Self::Record(ReportError::Rejected { .. }) => Some(INVENTORY_REMEDY.to_owned()),
            _ => None,
        }
    }
}
