//! Whether the artifacts have to be generated anew, and why. Pure but for the storage, whose answers are arguments.

use plumb_api::{
    meta::Reconciled as _,
    source::{ArtifactGenerator, ExternalArtifact, GeneratedArtifact},
};
use plumb_status::condition::{READY, find};
use plumb_store::Integrity;

use super::{outputs, plan::Plan};

/// Why artifacts are generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// The last attempt failed.
    NotReady,
    /// The spec is new.
    GenerationChanged,
    /// A source has something new.
    SourcesChanged,
    /// The artifacts are not those of the spec.
    ArtifactsChanged,
    /// A file is gone.
    ArtifactMissing,
    /// A file is damaged.
    ArtifactCorrupted,
    /// An ExternalArtifact is gone.
    ExternalArtifactsNotFound,
    /// An ExternalArtifact says something else.
    ExternalArtifactsChanged,
}

impl Drift {
    /// The word that logs have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "NotReady",
            Self::GenerationChanged => "GenerationChanged",
            Self::SourcesChanged => "SourcesChanged",
            Self::ArtifactsChanged => "ArtifactsChanged",
            Self::ArtifactMissing => "ArtifactMissing",
            Self::ArtifactCorrupted => "ArtifactCorrupted",
            Self::ExternalArtifactsNotFound => "ExternalArtifactsNotFound",
            Self::ExternalArtifactsChanged => "ExternalArtifactsChanged",
        }
    }
}

/// What the status alone shows.
pub fn of_status(object: &ArtifactGenerator, plan: &Plan, sources_digest: &str) -> Option<Drift> {
    let status = object.status.as_ref();
    let ready = find(object.conditions(), READY);
    if !ready.is_some_and(plumb_status::Condition::is_true) {
        return Some(Drift::NotReady);
    }
    if object.metadata.generation != object.observed_generation() {
        return Some(Drift::GenerationChanged);
    }
    if status.and_then(|status| status.observed_sources_digest.as_deref()) != Some(sources_digest) {
        return Some(Drift::SourcesChanged);
    }
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    let inventory = status.map_or(&[][..], |status| &status.inventory);
    if inventory.iter().any(|entry| entry.namespace != own) {
        // Whoever may write a status must not reach what is stored for other namespaces.
        return Some(Drift::ArtifactsChanged);
    }
    if plan.pattern.is_some() {
        // The artifacts follow from the spec and the sources, which are the same.
        return None;
    }
    let names = plan.outputs.iter().map(|output| inventory.iter().any(|entry| entry.name == output.name));
    let is_complete = names.clone().all(|known| known) && names.count() == inventory.len();
    (!is_complete).then_some(Drift::ArtifactsChanged)
}

/// What one file of the storage shows.
pub fn of_file(integrity: Integrity) -> Option<Drift> {
    match integrity {
        Integrity::Intact => None,
        Integrity::Missing => Some(Drift::ArtifactMissing),
        Integrity::Mismatch | Integrity::Unreadable => Some(Drift::ArtifactCorrupted),
    }
}

/// What one ExternalArtifact shows.
pub fn of_external(
    object: &ArtifactGenerator,
    entry: &GeneratedArtifact,
    external: Option<&ExternalArtifact>,
    url: &str,
) -> Option<Drift> {
    let Some(external) = external.filter(|external| outputs::is_owned(external, object)) else {
        return Some(Drift::ExternalArtifactsNotFound);
    };
    let artifact = external.status.as_ref().and_then(|status| status.artifact.as_ref());
    let is_same = artifact.is_some_and(|artifact| artifact.digest == entry.digest && artifact.url == url);
    (!is_same).then_some(Drift::ExternalArtifactsChanged)
}
