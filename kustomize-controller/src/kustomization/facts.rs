//! What is the case: the source and what must come first, as the watches know them. Reads memory only.

use plumb_api::kustomize::Kustomization;
use plumb_api::meta::{Artifact, Reconciled as _};
use plumb_api::source::GitRepository;
use plumb_runtime::{Key, Store};
use plumb_status::Condition;
use plumb_status::condition::{READY, find};

use super::validate::Valid;

/// What is known of the source.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// It is not there.
    Missing,
    /// It is there and has no artifact.
    Empty,
    /// It has this artifact.
    Holds(Box<Artifact>),
}

/// What is known of a Kustomization that must come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is not there.
    Missing,
    /// It is there.
    There {
        /// Whether it is Ready, as of its newest generation.
        ready: bool,
        /// Its source.
        source: Key,
        /// The revision that it applied last.
        revision: Option<String>,
    },
}

/// What an attempt goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The source.
    pub source: Source,
    /// What must come first, in the order of the spec.
    pub dependencies: Vec<(Key, Standing)>,
}

/// Looks around.
pub fn gather(valid: &Valid, repositories: &Store<GitRepository>, others: &Store<Kustomization>) -> Facts {
    let source = match repositories.get(&valid.source) {
        None => Source::Missing,
        Some(repository) => match repository.artifact() {
            None => Source::Empty,
            Some(artifact) => Source::Holds(Box::new(artifact.clone())),
        },
    };
    let dependencies = valid
        .depends_on
        .iter()
        .map(|key| (key.clone(), others.get(key).as_deref().map_or(Standing::Missing, standing)));
    Facts { source, dependencies: dependencies.collect() }
}

fn standing(object: &Kustomization) -> Standing {
    let spec = &object.spec.source_ref;
    let own = object.metadata.namespace.clone().unwrap_or_default();
    Standing::There {
        ready: is_ready(object),
        source: Key::new(spec.namespace.clone().unwrap_or(own), &spec.name),
        revision: object.status.as_ref().and_then(|status| status.last_applied_revision.clone()),
    }
}

/// Whether a Kustomization is Ready, as of its newest generation.
pub fn is_ready(object: &Kustomization) -> bool {
    object.observed_generation() == object.metadata.generation
        && find(object.conditions(), READY).is_some_and(Condition::is_true)
}
