//! Watch: from what the watches show to who is looked at. No object is read here.

use std::sync::Arc;

use plumb_cluster::{GroupVersionKind, NamespacedName, WatchChange, WatchEvent};
use plumb_manifests::ObjectId;
use plumb_planning::drift::{Class, DriftEvent, Finding, Seen, Wake, vanish, wake};
use plumb_planning::stage;
use plumb_status::Reason;
use serde_json::Value;
use tokio::sync::mpsc::Receiver;

use super::book::{CompareRequest, Gone, Kind, Phase, Witnessed, word};
use super::desk::Shared;
use super::sitting::{Step, owner};

/// Hears the watches until the desk closes.
pub(super) async fn listen(shared: Arc<Shared>, mut sights: Receiver<WatchEvent>) {
    let shutdown = shared.deps.shutdown.clone();
    while let Some(Some(sight)) = shutdown.run_until_cancelled(sights.recv()).await {
        hear(&shared, sight);
    }
}

fn hear(shared: &Shared, sight: WatchEvent) {
    let WatchEvent { kind, change: news } = sight;
    match news {
        WatchChange::Seen { metadata, listed } => {
            let id = id_of(&kind, &metadata);
            let Some(key) = shared.lock().keeper(&id).cloned() else { return };
            let seen = Seen::of(&metadata, &owner(&key), &shared.deps.takeover, listed);
            let defines = stage::is_definition(&id) && !listed;
            let someone_waits = shared.sit(|sitting| {
                sitting.state.blind.remove(&names(&kind));
                sitting.state.gone.remove(&names(&kind));
                sitting.saw(&key, &id, seen);
                !sitting.state.gone.is_empty()
            });
            if defines && someone_waits {
                shared.watchers.kinds_changed();
            }
        }
        WatchChange::Deleted { metadata } => {
            let id = id_of(&kind, &metadata);
            shared.sit(|sitting| {
                if let Some(key) = sitting.state.keeper(&id).cloned() {
                    let gone = sitting.how_gone(&key, &id, &metadata);
                    sitting.missed(&key, &id, gone);
                }
            });
        }
        WatchChange::Relisted { present } => shared.sit(|sitting| {
            sitting.state.blind.remove(&names(&kind));
            sitting.state.gone.remove(&names(&kind));
            for (key, id) in sitting.state.kept_of(&kind.group, &kind.kind) {
                if !present.contains(&(id.namespace.clone(), id.name.clone())) {
                    sitting.missed(&key, &id, Gone::Somehow);
                }
            }
        }),
        WatchChange::Denied { message } => shared.sit(|sitting| sitting.denied(&kind, &message)),
        WatchChange::Gone => shared.sit(|sitting| {
            sitting.state.gone.insert(names(&kind));
            for (key, id) in sitting.state.kept_of(&kind.group, &kind.kind) {
                sitting.missed(&key, &id, Gone::Somehow);
            }
        }),
    }
}

fn names(kind: &GroupVersionKind) -> Kind {
    (kind.group.clone(), kind.version.clone(), kind.kind.clone())
}

fn id_of(kind: &GroupVersionKind, metadata: &Value) -> ObjectId {
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    ObjectId {
        namespace: text("namespace"),
        name: text("name"),
        group: kind.group.clone(),
        kind: kind.kind.clone(),
    }
}

impl Step<'_> {
    /// A sight of a kept object.
    pub fn saw(&mut self, key: &NamespacedName, id: &ObjectId, seen: Seen) {
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key) else { return };
        let held = book.holds > 0;
        let Some(kept) = book.objects.get_mut(id) else { return };
        if held || kept.phase == Phase::Running {
            let wakes =
                kept.record.as_ref().is_some_and(|record| matches!(wake(record, &seen), Wake::Compare(_)));
            let version = seen.version.clone();
            kept.late.gone = None;
            kept.late.seen = Some(seen);
            if held && wakes {
                self.glance(key, id, version);
            }
            return;
        }
        // One that was never compared waits for its comparison, which sees all that came before.
        let Some(record) = &mut kept.record else { return };
        match wake(record, &seen) {
            Wake::Stale => {}
            Wake::Sleep => record.advance(&seen),
            Wake::Compare(cause) => {
                record.advance(&seen);
                tracing::debug!(kustomization = %key, object = %id, cause = word(cause), "comparing object");
                self.request(key, id, CompareRequest::urgent(now));
            }
        }
    }

    /// Whether the last metadata of a kept object shows that it was deleted before its time.
    fn how_gone(&self, key: &NamespacedName, id: &ObjectId, metadata: &Value) -> Gone {
        let kept = self.state.books.get(key).and_then(|book| book.objects.get(id));
        let cut_short = kept.is_some_and(|kept| vanish::was_cut_short(&kept.planned.object, metadata));
        if cut_short { Gone::CutShort } else { Gone::Somehow }
    }

    /// A kept object left the watch: it was deleted, or its labels were.
    pub fn missed(&mut self, key: &NamespacedName, id: &ObjectId, gone: Gone) {
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key) else { return };
        let held = book.holds > 0;
        let stands = book.standings.get(id).map(|stand| stand.finding.class);
        let Some(kept) = book.objects.get_mut(id) else { return };
        let vanished = gone == Gone::Somehow && kept.may_vanish(now);
        if held || kept.phase == Phase::Running {
            kept.late = super::book::Late { seen: None, gone: Some(gone) };
            if held && !vanished && kept.record.is_some() && !kept.is_known_absent() {
                book.witnessed.insert(id.clone(), Witnessed::before(Finding::missing(now)));
            }
            return;
        }
        // A list does not show what was found missing or disowned already.
        if kept.record.is_none() || (vanished || stands == Some(Class::Missing)) && kept.is_known_absent() {
            return;
        }
        if vanished && stands.is_none() {
            // Nothing to tell, and nothing to look at: whatever comes back under its name is compared.
            kept.remember_absence();
            return;
        }
        let errand = CompareRequest { gone, ..CompareRequest::urgent(now) };
        self.request(key, id, errand);
    }

    /// A kind may not be watched: told once for each Kustomization, and compared at the interval from now on.
    pub fn denied(&mut self, kind: &GroupVersionKind, message: &str) {
        if !self.state.blind.insert(names(kind)) {
            return;
        }
        let mut keepers = std::collections::BTreeMap::<NamespacedName, (ObjectId, usize)>::new();
        for (key, id) in self.state.kept_of(&kind.group, &kind.kind) {
            keepers.entry(key).or_insert((id, 0)).1 += 1;
        }
        for (key, (id, count)) in keepers {
            let Some(book) = self.state.books.get(&key) else { continue };
            let finding = Finding::unknown(message, self.now);
            let text = format!(
                "{} cannot be watched for drift ({count} managed here): {message}; compared at the interval only",
                kind.kind
            );
            let revision = book.standings.revision();
            let telling = DriftEvent::new(&id, &finding, self.now, revision, Reason::DriftUnknown, text);
            self.send(&key, vec![telling.event]);
        }
    }
}
