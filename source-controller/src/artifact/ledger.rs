//! What an attempt has done so far, with its status and events: the artifact, conditions, events. It outlives an
//! attempt that fails. Nothing is read or written here.

use std::collections::BTreeMap;

use plumb_api::meta::{Artifact, DIGEST_KEY, REVISION_KEY};
use plumb_status::{
    ConditionStatus, ConditionType, ConditionUpdate, Detail, EventDraft, Ledger, Reason, Transition,
};
use plumb_store::Collected;
use serde_json::{Map, Value, json};

use super::{
    decide::{BuildReason, Decision, Loss, Stored},
    inputs::Inputs,
    source::{Resolved, SourceObject},
    storage::Storage,
};

/// The conditions that every kind of source has; further ones are the kind's own.
pub trait ArtifactCondition: ConditionType + Send + Sync {
    /// The storage failed.
    const STORAGE_OPERATION_FAILED: Self;
    /// The source could not be fetched.
    const FETCH_FAILED: Self;
    /// The artifact is not that of the newest revision.
    const ARTIFACT_OUTDATED: Self;
    /// The artifact of the revision is stored.
    const ARTIFACT_IN_STORAGE: Self;
}

/// What is true now.
#[derive(Clone, Debug)]
pub struct ArtifactLedger<C> {
    current: Option<Current>,
    digest_before: Option<String>,
    has_url: bool,
    in_storage: InStorage,
    is_reached: bool,
    is_resolved: bool,
    outdated_by: Option<String>,
    own: Vec<(C, ConditionUpdate)>,
    observed: Map<String, Value>,
    built: Option<Built>,
    progress: Option<String>,
    events: Vec<EventDraft>,
}

/// The artifact that the status announces, and its texts.
#[derive(Clone, Debug)]
struct Current {
    artifact: Artifact,
    detail: Detail,
    recovered: Detail,
}

/// Changes with a new artifact, other than the artifact itself.
#[derive(Clone, Debug)]
struct Built {
    announcement: Detail,
    status: Map<String, Value>,
}

/// What is known of the artifact in the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InStorage {
    Unknown,
    Yes,
    No,
}

impl Current {
    fn new<O: SourceObject>(object: &O, artifact: Artifact) -> Self {
        let (detail, recovered) = (object.stored_detail(&artifact), object.recovered(&artifact));
        Self { artifact, detail, recovered }
    }
}

impl<C: ArtifactCondition> ArtifactLedger<C> {
    /// The artifact of the status, with its current URL.
    pub fn of<O: SourceObject<Condition = C>>(object: &O, storage: &Storage) -> Self {
        let artifact = object.artifact().cloned().map(|artifact| storage.announced(artifact));
        Self {
            digest_before: artifact.as_ref().map(|artifact| artifact.digest.clone()),
            current: artifact.map(|artifact| Current::new(object, artifact)),
            has_url: O::HAS_URL,
            in_storage: InStorage::Unknown,
            is_reached: false,
            is_resolved: false,
            outdated_by: None,
            own: Vec::new(),
            observed: Map::new(),
            built: None,
            progress: None,
            events: Vec::new(),
        }
    }

    /// The storage was compared with the status.
    pub(super) fn note_stored(&mut self, stored: &Stored) {
        match stored {
            Stored::Never => {}
            Stored::Intact { .. } => self.in_storage = InStorage::Yes,
            Stored::Lost(loss) => {
                let path = self.current.take().map(|current| current.artifact.path).unwrap_or_default();
                self.in_storage = InStorage::No;
                self.progress = Some(BuildReason::Lost(*loss).progress());
                if *loss == Loss::Damaged {
                    let text = format!("stored artifact '{path}' did not match its digest and was removed");
                    self.events.push(EventDraft::error(Reason::ArtifactVerificationFailed, text));
                }
            }
        }
    }

    /// The source responded with a revision. Whether it is accepted is not known yet.
    pub(super) fn note_reached(&mut self) {
        self.is_reached = true;
    }

    /// The revision was resolved and accepted, and it was decided what to do.
    pub(super) fn note_resolved<R>(&mut self, decision: &Decision, resolved: &Resolved<R, C>) {
        self.is_resolved = true;
        self.note_conditions(resolved.conditions.clone());
        if let Decision::Build(reason) = decision {
            self.outdated_by = Some(resolved.revision.clone());
            self.progress = Some(reason.progress());
        }
    }

    /// Fields of the status that hold whatever is built.
    pub(super) fn note_observed(&mut self, fields: Map<String, Value>) {
        self.observed.extend(fields);
    }

    /// What conditions the kind sets or clears. One that is not mentioned remains as before.
    pub(super) fn note_conditions(&mut self, updates: Vec<(C, ConditionUpdate)>) {
        for (condition, update) in updates {
            self.own.retain(|(noted, _)| *noted != condition);
            self.own.push((condition, update));
        }
    }

    /// A new artifact is in the storage.
    pub(super) fn note_built<O: SourceObject<Condition = C>>(
        &mut self,
        object: &O,
        artifact: Artifact,
        announcement: Detail,
        inputs: &Inputs,
        mut status: Map<String, Value>,
    ) {
        status.extend(inputs.patch());
        let mut current = Current::new(object, artifact);
        if O::STORED_IS_ANNOUNCED {
            current.detail = announcement.clone();
            current.recovered = announcement.clone();
        }
        self.current = Some(current);
        self.built = Some(Built { announcement, status });
        self.in_storage = InStorage::Yes;
        self.outdated_by = None;
        self.progress = None;
    }

    /// The result of a collection of expired artifacts, or of all.
    pub(super) fn note_collected(&mut self, collected: Collected, message: &str) {
        if collected != Collected::default() {
            self.events.push(EventDraft::trace(Reason::GarbageCollectionSucceeded, message));
        }
    }

    /// An event that is emitted however the attempt ends.
    pub(super) fn note_event(&mut self, event: EventDraft) {
        self.events.push(event);
    }

    /// The path of the artifact that the status announces.
    pub(super) fn path(&self) -> Option<String> {
        self.current.as_ref().map(|current| current.artifact.path.clone())
    }

    /// The text of Ready and ArtifactInStorage.
    pub(super) fn stored_detail(&self) -> Option<Detail> {
        self.current.as_ref().map(|current| current.detail.clone())
    }

    /// The fields of the status that every kind of source has, and those that the kind changes with an artifact, as a merge patch.
    pub fn status(&self) -> Map<String, Value> {
        let mut patch = self.observed.clone();
        patch.extend(self.built.iter().flat_map(|built| built.status.clone()));
        let artifact = self.current.as_ref().map(|current| &current.artifact);
        patch.insert("artifact".to_owned(), json!(artifact));
        if self.has_url {
            patch.insert("url".to_owned(), json!(artifact.map(|artifact| &artifact.url)));
        }
        patch
    }

    fn own(&self, condition: C) -> Option<ConditionUpdate> {
        self.own.iter().find(|(noted, _)| *noted == condition).map(|(_, update)| update.clone())
    }
}

impl<C: ArtifactCondition> Ledger for ArtifactLedger<C> {
    type Condition = C;

    fn condition(&self, condition: C) -> ConditionUpdate {
        if let Some(update) = self.own(condition) {
            return update;
        }
        if condition == C::ARTIFACT_IN_STORAGE {
            return match (self.in_storage, self.stored_detail()) {
                (InStorage::Yes, Some(detail)) => ConditionUpdate::Set(ConditionStatus::True, detail),
                (InStorage::No, _) => ConditionUpdate::Clear,
                (InStorage::Yes | InStorage::Unknown, _) => ConditionUpdate::Unchanged,
            };
        }
        if condition == C::ARTIFACT_OUTDATED
            && let Some(revision) = &self.outdated_by
        {
            let text = format!("new upstream revision '{revision}'");
            return ConditionUpdate::Set(ConditionStatus::True, Detail::new(Reason::NewRevision, text));
        }
        let is_settled = (condition == C::FETCH_FAILED && self.is_reached)
            || (condition == C::ARTIFACT_OUTDATED && self.is_resolved);
        if is_settled { ConditionUpdate::Clear } else { ConditionUpdate::Unchanged }
    }

    fn progress(&self) -> Option<String> {
        self.progress.clone()
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        let Some(Current { artifact, .. }) = &self.current else { return BTreeMap::new() };
        BTreeMap::from([
            (REVISION_KEY.to_owned(), artifact.revision.clone()),
            (DIGEST_KEY.to_owned(), artifact.digest.clone()),
        ])
    }

    fn events(&self) -> Vec<EventDraft> {
        self.events.clone()
    }

    fn success(&self, transition: Transition, _detail: &Detail) -> Vec<EventDraft> {
        let Some(Current { artifact, recovered, .. }) = &self.current else { return Vec::new() };
        let announcement = self.built.as_ref().map(|built| &built.announcement);
        if let Some(Detail { reason, message }) = announcement
            && self.digest_before.as_ref() != Some(&artifact.digest)
        {
            return vec![EventDraft::info(*reason, message.clone())];
        }
        match transition {
            Transition::Recovered => {
                let message = &announcement.unwrap_or(recovered).message;
                vec![EventDraft::info(recovered.reason, message.clone())]
            }
            Transition::New | Transition::Changed | Transition::Unchanged => Vec::new(),
        }
    }
}
