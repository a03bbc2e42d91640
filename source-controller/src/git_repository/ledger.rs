//! What an attempt at a GitRepository has made true so far, and how it is told: the artifact, conditions, events. It outlives an
//! attempt that fails. Nothing is read or written here.

use std::collections::BTreeMap;

use plumb_api::{
    meta::{Artifact, DIGEST_KEY, REVISION_KEY},
    source::{GitRepository, GitRepositoryCondition, GitRepositoryStatus},
};
use plumb_status::{ConditionStatus, ConditionUpdate, Detail, EventDraft, Ledger, Reason, Transition};
use plumb_store::{Advertised, Integrity};
use serde_json::{Map, Value, json};

use super::{
    decide::{Decision, Why},
    facts::Stored,
};

/// The longest part of a commit's subject that an event quotes.
const SUBJECT_CHARACTERS_MAX: usize = 50;

/// What is true now.
#[derive(Clone, Debug, Default)]
pub struct GitRepositoryLedger {
    artifact: Option<Artifact>,
    observed_ignore: Option<String>,
    digest_before: Option<String>,
    storage: Storage,
    is_found: bool,
    outdated_by: Option<String>,
    subject: Option<String>,
    progress: Option<String>,
    happened: Vec<EventDraft>,
}

/// What is known of the artifact in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Storage {
    #[default]
    Unknown,
    Holds,
    Lost,
}

impl GitRepositoryLedger {
    /// What the status tells, with the artifact's URL as it is today.
    pub fn of(repository: &GitRepository, advertised: &Advertised) -> Self {
        let artifact = repository.artifact().cloned().map(|artifact| announced(artifact, advertised));
        Self {
            digest_before: artifact.as_ref().map(|artifact| artifact.digest.clone()),
            observed_ignore: repository.status.as_ref().and_then(|status| status.observed_ignore.clone()),
            artifact,
            ..Self::default()
        }
    }

    /// The store was looked at.
    pub fn note_stored(&mut self, stored: &Stored) {
        match stored {
            Stored::Never => {}
            Stored::Intact(_) => self.storage = Storage::Holds,
            Stored::Lost(integrity) => {
                let path = self.artifact.take().map(|artifact| artifact.path).unwrap_or_default();
                self.storage = Storage::Lost;
                let why = match integrity {
                    Integrity::Unreadable => Why::Unreadable,
                    Integrity::Missing | Integrity::Mismatch | Integrity::Intact => Why::Disappeared,
                };
                self.progress = Some(why.progress(""));
                if *integrity == Integrity::Mismatch {
                    self.progress = Some(Why::Damaged.progress(""));
                    let text = format!("stored artifact '{path}' did not match its digest and was removed");
                    self.happened.push(EventDraft::error(Reason::ArtifactVerificationFailed, text));
                }
            }
        }
    }

    /// The repository answered, and it was decided what to do.
    pub fn note_decision(&mut self, decision: &Decision, revision: &str) {
        self.is_found = true;
        if let Decision::Build(why) = decision {
            self.outdated_by = Some(revision.to_owned());
            self.progress = Some(why.progress(revision));
        }
    }

    /// A new artifact is in the store.
    pub fn note_built(&mut self, artifact: Artifact, ignore: Option<String>, subject: String) {
        self.artifact = Some(artifact);
        self.observed_ignore = ignore;
        self.subject = Some(subject);
        self.storage = Storage::Holds;
        self.outdated_by = None;
        self.progress = None;
    }

    /// Something happened that is told whatever the ending.
    pub fn note(&mut self, event: EventDraft) {
        self.happened.push(event);
    }

    /// The artifact as it stands.
    pub fn artifact(&self) -> Option<&Artifact> {
        self.artifact.as_ref()
    }

    /// The fields of the status that are this kind's own, as a merge patch.
    pub fn status(&self, repository: &GitRepository) -> Map<String, Value> {
        let mut patch = Map::new();
        patch.insert("artifact".to_owned(), json!(self.artifact));
        patch.insert("observedIgnore".to_owned(), json!(self.observed_ignore));
        // What Flux noted of an artifact does not hold for one that was built here.
        if self.subject.is_some() {
            let GitRepositoryStatus {
                artifact: _,
                conditions: _,
                included_artifacts,
                last_handled_reconcile_at: _,
                observed_generation: _,
                observed_ignore: _,
                observed_include,
                observed_recurse_submodules,
                observed_sparse_checkout,
                source_verification_mode,
            } = repository.status.clone().unwrap_or_default();
            for (is_set, field) in [
                (!included_artifacts.is_empty(), "includedArtifacts"),
                (!observed_include.is_empty(), "observedInclude"),
                (observed_recurse_submodules, "observedRecurseSubmodules"),
                (!observed_sparse_checkout.is_empty(), "observedSparseCheckout"),
                (source_verification_mode.is_some(), "sourceVerificationMode"),
            ] {
                if is_set {
                    patch.insert(field.to_owned(), Value::Null);
                }
            }
        }
        patch
    }

    /// What Ready and ArtifactInStorage say.
    pub fn stored_detail(&self) -> Option<Detail> {
        let revision = &self.artifact.as_ref()?.revision;
        Some(Detail::new(Reason::Succeeded, format!("stored artifact for revision '{revision}'")))
    }
}

/// The artifact with the URL that holds today.
pub fn announced(artifact: Artifact, advertised: &Advertised) -> Artifact {
    Artifact { url: advertised.url(&artifact.path), ..artifact }
}

impl Ledger for GitRepositoryLedger {
    type Condition = GitRepositoryCondition;

    fn condition(&self, condition: GitRepositoryCondition) -> ConditionUpdate {
        match condition {
            GitRepositoryCondition::ArtifactInStorage => match (self.storage, self.stored_detail()) {
                (Storage::Holds, Some(detail)) => ConditionUpdate::Set(ConditionStatus::True, detail),
                (Storage::Lost, _) => ConditionUpdate::Clear,
                (Storage::Holds | Storage::Unknown, _) => ConditionUpdate::Unchanged,
            },
            GitRepositoryCondition::ArtifactOutdated => match &self.outdated_by {
                Some(revision) => {
                    let text = format!("new upstream revision '{revision}'");
                    ConditionUpdate::Set(ConditionStatus::True, Detail::new(Reason::NewRevision, text))
                }
                None if self.is_found => ConditionUpdate::Clear,
                None => ConditionUpdate::Unchanged,
            },
            GitRepositoryCondition::FetchFailed if self.is_found => ConditionUpdate::Clear,
            GitRepositoryCondition::FetchFailed | GitRepositoryCondition::StorageOperationFailed => {
                ConditionUpdate::Unchanged
            }
            // Left behind by Flux: this version refuses the fields that they belong to.
            GitRepositoryCondition::IncludeUnavailable | GitRepositoryCondition::SourceVerified => {
                if self.is_found { ConditionUpdate::Clear } else { ConditionUpdate::Unchanged }
            }
        }
    }

    fn progress(&self) -> Option<String> {
        self.progress.clone()
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        self.artifact
            .iter()
            .flat_map(|artifact| {
                [
                    (REVISION_KEY.to_owned(), artifact.revision.clone()),
                    (DIGEST_KEY.to_owned(), artifact.digest.clone()),
                ]
            })
            .collect()
    }

    fn events(&self) -> Vec<EventDraft> {
        self.happened.clone()
    }

    fn success(&self, turn: Transition, _detail: &Detail) -> Vec<EventDraft> {
        let Some(artifact) = &self.artifact else { return Vec::new() };
        let commit = self.subject.as_deref().map_or_else(|| artifact.revision.clone(), short);
        let text = format!("stored artifact for commit '{commit}'");
        if self.digest_before.as_ref() != Some(&artifact.digest) {
            return vec![EventDraft::info(Reason::NewArtifact, text)];
        }
        match turn {
            Transition::Recovered => vec![EventDraft::info(Reason::Succeeded, text)],
            Transition::New | Transition::Changed | Transition::Unchanged => Vec::new(),
        }
    }
}

/// A subject in at most as many characters as an event quotes.
fn short(subject: &str) -> String {
    if subject.chars().count() <= SUBJECT_CHARACTERS_MAX {
        return subject.to_owned();
    }
    let kept: String = subject.chars().take(SUBJECT_CHARACTERS_MAX - 3).collect();
    format!("{kept}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_subject_is_cut() {
        assert_eq!(short("Short"), "Short");
        assert_eq!(short(&"ä".repeat(60)), format!("{}...", "ä".repeat(47)));
        assert_eq!(short(&"a".repeat(50)), "a".repeat(50));
    }
}
