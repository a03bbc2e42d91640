//! What an attempt at a Kustomization has made true so far, and how it is told: inventory, revisions, conditions,
//! history, events. It outlives an attempt that fails. Open drift is read from a snapshot at each write.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use plumb_api::kustomize::{HISTORY_ENTRIES_MAX, HistoryEntry, Kustomization, KustomizationCondition};
use plumb_api::meta::{
    Artifact, COMMIT_STATUS_KEY, COMMIT_STATUS_UPDATE, GoDuration, ORIGIN_REVISION_KEY,
    ORIGIN_REVISION_METADATA, REVISION_KEY,
};
use plumb_cluster::NamespacedName;
use plumb_drift::state::OwnerRef;
use plumb_drift::{DriftLoop, DriftSnapshot};
use plumb_planning::inventory::Inventory;
use plumb_status::{
    Audience, ConditionStatus, ConditionUpdate, Detail, EventDraft, Ledger, Reason, Transition,
};
use serde_json::{Map, Value, json};

use super::record::InventoryRecord;

/// What is true now.
pub struct KustomizationLedger {
    drift: DriftSnapshot,
    inventory: InventoryRecord,
    applied: Option<Revision>,
    applied_before: Option<String>,
    attempted: Option<String>,
    current: Option<Revision>,
    digest: Option<String>,
    history: Vec<HistoryEntry>,
    healthy: ConditionUpdate,
    progress: Option<String>,
    lines: Vec<String>,
    /// What is not deleted though it left the source.
    kept: Vec<String>,
    /// What is told beside the changes of objects.
    notices: Vec<EventDraft>,
    waiting: Option<String>,
    finished: Option<(Duration, GoDuration)>,
    /// Whether the status holds drift that the drift loop may not know yet.
    drift_stands: bool,
}

/// A revision, and what it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Revision {
    revision: String,
    origin: Option<String>,
}

impl KustomizationLedger {
    /// What the status tells.
    pub fn of(object: &Kustomization, drift: &DriftLoop) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let applied = status.last_applied_revision.clone();
        Self {
            drift: drift.snapshot(&OwnerRef::kustomization(&NamespacedName::of(object))),
            // An inventory that cannot be read ends the attempt before it is used; it is never overwritten.
            inventory: InventoryRecord::of(status.inventory.as_ref()),
            applied: applied
                .clone()
                .map(|revision| Revision { revision, origin: status.last_applied_origin_revision }),
            applied_before: applied,
            attempted: status.last_attempted_revision,
            current: None,
            digest: None,
            history: status.history,
            healthy: ConditionUpdate::Unchanged,
            progress: None,
            lines: Vec::new(),
            kept: Vec::new(),
            notices: Vec::new(),
            waiting: None,
            finished: None,
            drift_stands: status.drift.is_some(),
        }
    }

    /// What the attempt works with.
    pub fn note_artifact(&mut self, artifact: &Artifact, timeout: GoDuration) {
        let origin = artifact.metadata.get(ORIGIN_REVISION_METADATA).cloned();
        self.current = Some(Revision { revision: artifact.revision.clone(), origin });
        self.progress = Some(format!(
            "Fetching manifests for revision {} with a timeout of {timeout}",
            artifact.revision
        ));
    }

    /// The build is done.
    pub fn note_built(&mut self, digest: &str, timeout: GoDuration) {
        self.digest = Some(digest.to_owned());
        self.note_attempted();
        self.note_step("Detecting drift", timeout);
    }

    /// The revision was tried, whatever comes of it.
    pub fn note_attempted(&mut self) {
        self.attempted = self.current.as_ref().map(|current| current.revision.clone());
    }

    /// Health is waited for.
    pub fn note_waiting_for_health(&mut self, timeout: GoDuration) {
        self.note_step("Running health checks", timeout);
        let progress = self.progress.clone().unwrap_or_default();
        self.healthy =
            ConditionUpdate::Set(ConditionStatus::Unknown, Detail::new(Reason::Progressing, progress));
    }

    /// Health is waited for, of kinds among others that the cluster does not serve yet.
    pub fn note_unserved(&mut self, kinds: &str, timeout: GoDuration) {
        self.note_step(&format!("Waiting for the cluster to serve {kinds}, running health checks"), timeout);
        let progress = self.progress.clone().unwrap_or_default();
        self.healthy =
            ConditionUpdate::Set(ConditionStatus::Unknown, Detail::new(Reason::Progressing, progress));
    }

    /// What the attempt is at, as Flux words it.
    pub fn note_step(&mut self, step: &str, timeout: GoDuration) {
        let revision = self.current.as_ref().map(|current| current.revision.as_str()).unwrap_or_default();
        self.progress = Some(format!("{step} for revision {revision} with a timeout of {timeout}"));
    }

    /// The objects that this Kustomization answers for from now on.
    pub fn note_inventory(&mut self, inventory: Inventory) {
        self.inventory.note(inventory);
    }

    /// The objects that it answers for.
    pub fn inventory(&self) -> Inventory {
        self.inventory.inventory()
    }

    /// Something was done to objects.
    pub fn note_lines(&mut self, lines: impl IntoIterator<Item = String>) {
        self.lines.extend(lines);
    }

    /// Whether anything was done to objects.
    pub fn has_changed(&self) -> bool {
        !self.lines.is_empty()
    }

    /// What is not deleted though it left the source, and whether that is news.
    pub fn note_kept(&mut self, kept: Option<String>, is_news: bool) {
        let Some(kept) = kept else { return };
        if is_news {
            self.note(EventDraft::info(Reason::PruneHeld, kept.clone()));
        }
        self.kept.push(kept);
    }

    /// What is not deleted though it left the source.
    pub fn kept(&self) -> Option<String> {
        (!self.kept.is_empty()).then(|| self.kept.join("; "))
    }

    /// A Kustomization goes away and leaves its objects.
    pub fn note_released(&mut self, objects: &Inventory, suspended: bool) {
        let count = objects.len() + objects.unreadable().count();
        if count == 0 {
            return;
        }
        let why =
            if suspended { "it was suspended when it was deleted" } else { "its spec does not delete them" };
        let text = format!("{count} objects of this Kustomization are left in the cluster: {why}");
        self.note(EventDraft::info(Reason::ObjectsReleased, text));
    }

    /// Something that people should hear of, whatever the ending.
    pub fn note(&mut self, notice: EventDraft) {
        self.notices.push(notice);
    }

    /// Nobody asked for health, or there was nothing to look at.
    pub fn note_health_unasked(&mut self) {
        self.healthy = ConditionUpdate::Clear;
    }

    /// All objects that were asked about are healthy; `stands` is what the condition says already.
    pub fn note_healthy(&mut self, took: Duration, stands: Option<&str>) {
        // Another duration alone is no news.
        let text = if let Some(stands) = stands.filter(|_| !self.has_changed()) {
            stands.to_owned()
        } else {
            let text = format!("Health check passed in {}", GoDuration::from(took));
            self.lines.push(text.clone());
            text
        };
        self.healthy = ConditionUpdate::Set(ConditionStatus::True, Detail::new(Reason::Succeeded, text));
    }

    /// What is waited for, for the event.
    pub fn note_waiting(&mut self, text: String) {
        self.waiting = Some(text);
    }

    /// Everything is as the revision says.
    pub fn note_applied(&mut self) {
        self.applied.clone_from(&self.current);
        self.progress = None;
    }

    /// The revision that was applied last; empty if none was.
    pub fn applied_revision(&self) -> &str {
        self.applied.as_ref().map(|applied| applied.revision.as_str()).unwrap_or_default()
    }

    /// The attempt is over.
    pub fn note_finished(&mut self, took: Duration, interval: GoDuration) {
        self.finished = Some((took, interval));
    }

    /// Puts the attempt into the history, unless it was one that changed nothing.
    pub fn note_history(&mut self, outcome: Reason, now: Timestamp, took: Duration) {
        let (Some(digest), Some(current)) = (self.digest.clone(), self.current.clone()) else { return };
        let at = self
            .history
            .iter()
            .position(|entry| entry.digest == digest && entry.last_reconciled_status == outcome.as_str());
        if at == Some(0) && !self.has_changed() && self.applied_before.as_ref() == Some(&current.revision) {
            return;
        }
        let earlier = at.map(|at| self.history.remove(at));
        let mut metadata = BTreeMap::from([(REVISION_KEY.to_owned(), current.revision)]);
        metadata.extend(current.origin.map(|origin| (ORIGIN_REVISION_KEY.to_owned(), origin)));
        let entry = HistoryEntry {
            digest,
            first_reconciled: earlier.as_ref().map_or(now, |entry| entry.first_reconciled),
            last_reconciled: now,
            last_reconciled_duration: GoDuration::from(took),
            last_reconciled_status: outcome.as_str().to_owned(),
            metadata,
            total_reconciliations: earlier.map_or(0, |entry| entry.total_reconciliations).saturating_add(1),
        };
        self.history.insert(0, entry);
        self.history.truncate(HISTORY_ENTRIES_MAX);
    }

    /// The fields of the status that are this kind's own, as a merge patch over what the object says now.
    pub fn status(&self, object: &Kustomization) -> Map<String, Value> {
        let mut patch = Map::new();
        let stored = object.status.as_ref().and_then(|status| status.inventory.as_ref());
        if let Some(inventory) = self.inventory.over(stored) {
            patch.insert("inventory".into(), json!(inventory));
        }
        if let Some(Revision { revision, origin }) = &self.applied {
            patch.insert("lastAppliedRevision".into(), json!(revision));
            patch.insert("lastAppliedOriginRevision".into(), json!(origin));
        }
        if let Some(attempted) = &self.attempted {
            patch.insert("lastAttemptedRevision".into(), json!(attempted));
        }
        if !self.history.is_empty() {
            patch.insert("history".into(), json!(self.history));
        }
        if let Some(standing) = self.drift.get()
            && (self.drift_stands || standing.drift.is_some())
        {
            patch.insert("drift".into(), drift(standing.drift.as_ref()));
        }
        patch
    }
}

/// A merge patch never removes what it does not name, so every field that may be gone is named.
fn drift(drift: Option<&plumb_api::kustomize::DriftStatus>) -> Value {
    let Some(drift) = drift else { return Value::Null };
    let mut value = json!(drift);
    if let Some(fields) = value.as_object_mut() {
        for field in ["entries", "objects", "observedAt", "lastHandledRestore"] {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    value
}

impl Ledger for KustomizationLedger {
    type Condition = KustomizationCondition;

    fn condition(&self, condition: KustomizationCondition) -> ConditionUpdate {
        match condition {
            KustomizationCondition::Healthy => self.healthy.clone(),
            KustomizationCondition::Drifted => match self.drift.get() {
                None => ConditionUpdate::Unchanged,
                Some(standing) => match standing.condition {
                    Some(detail) => ConditionUpdate::Set(ConditionStatus::True, detail),
                    None => ConditionUpdate::Clear,
                },
            },
        }
    }

    fn progress(&self) -> Option<String> {
        self.progress.clone()
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        let Some(Revision { revision, origin }) = self.current.clone() else { return BTreeMap::new() };
        let mut metadata = BTreeMap::from([(REVISION_KEY.to_owned(), revision)]);
        metadata.extend(origin.map(|origin| (ORIGIN_REVISION_KEY.to_owned(), origin)));
        metadata
    }

    fn events(&self) -> Vec<EventDraft> {
        let mut told = Vec::new();
        if !self.lines.is_empty() {
            told.push(EventDraft::info(Reason::Progressing, self.lines.join("\n")));
        }
        told.extend(self.notices.iter().cloned());
        told
    }

    fn success(&self, turn: Transition, detail: &Detail) -> Vec<EventDraft> {
        let current = self.current.as_ref().map(|current| &current.revision);
        if turn == Transition::Unchanged && current == self.applied_before.as_ref() {
            return Vec::new();
        }
        let text = match self.finished {
            Some((took, interval)) => {
                format!("Reconciliation finished in {}, next run in {interval}", GoDuration::from(took))
            }
            None => detail.message.clone(),
        };
        let audience = if self.has_changed() { Audience::Everyone } else { Audience::Wire };
        let event = EventDraft::info(Reason::ReconciliationSucceeded, text).only_for(audience);
        vec![event.with(COMMIT_STATUS_KEY, COMMIT_STATUS_UPDATE)]
    }

    fn waiting(&self, detail: &Detail) -> Vec<EventDraft> {
        self.waiting.iter().map(|text| EventDraft::info(detail.reason, text.clone())).collect()
    }
}
