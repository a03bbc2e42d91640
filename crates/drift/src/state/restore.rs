//! A user requests by annotation to restore objects once. The request is copied to the status when all were handled.

use std::collections::BTreeSet;

use jiff::Timestamp;
use plumb_api::meta::{RESTORE, REVISION_KEY};
use plumb_manifests::ObjectId;
use plumb_status::{EventDraft, Reason};

use super::input::{OwnerRef, RestoreRequest};
use super::object::CompareRequest;
use super::owner::{OwnerState, Restoring};
use super::{State, Step};
use crate::rules::Restore;

/// IDs that one event names.
const NAMED_MAX: usize = 5;

impl State {
    /// A user requests to restore objects.
    pub(super) fn restore(&mut self, owner_ref: &OwnerRef, request: &RestoreRequest, step: &mut Step) {
        let (now, started) = (step.now, self.settings.started);
        let Some(owner) = self.owners.get_mut(owner_ref) else { return };
        let Some((objects, events)) = begin(owner, request, started) else { return };
        let origin = owner.policy.origin_revision.clone();
        step.report(owner_ref, origin.as_ref(), events);
        for id in objects {
            let request = CompareRequest { restore: true, ..CompareRequest::urgent(now) };
            self.request(owner_ref, &id, request, now);
        }
        step.touch(owner_ref);
    }
}

/// Begins a restore, if it was not handled yet: the objects to look at, and what is to be reported. `None`: nothing is to be
/// done.
fn begin(
    owner: &mut OwnerState,
    request: &RestoreRequest,
    started: Timestamp,
) -> Option<(BTreeSet<ObjectId>, Vec<EventDraft>)> {
    let RestoreRequest { raw, echoed, crd_echoes, inventory } = request;
    if !owner.adopted || owner.policy.suspended {
        return None;
    }
    let under_way = owner.restoring.as_ref().is_some_and(|restoring| restoring.raw == *raw);
    if under_way || owner.restored.as_ref() == Some(raw) {
        return None;
    }
    let wanted = match Restore::parse(raw) {
        Ok(wanted) => wanted,
        Err(error) => {
            // Recorded as handled, so that it is reported once.
            owner.restored = Some(raw.clone());
            return Some((BTreeSet::new(), vec![failed(owner, error.to_string())]));
        }
    };
    if wanted.is_handled(echoed.as_deref(), owner.restored.as_deref(), *crd_echoes, started) {
        owner.restored = Some(raw.clone());
        return None;
    }
    let chosen = wanted.choose(inventory);
    let everything = wanted.ids.is_empty();
    let objects: BTreeSet<ObjectId> = chosen
        .objects
        .into_iter()
        .filter(|id| owner.objects.get(id).is_some_and(|object| object.planned.policy.corrects()))
        .filter(|id| !everything || owner.open.is_open(id))
        .collect();
    // A request during another one takes over what is left of that.
    let before = owner.restoring.take().map(|before| before.left).unwrap_or_default();
    let left = objects.union(&before).cloned().collect();
    owner.restoring = Some(Restoring { raw: raw.clone(), left });
    let mut events = Vec::new();
    if !chosen.strangers.is_empty() {
        let names = chosen.strangers[..chosen.strangers.len().min(NAMED_MAX)].join(", ");
        let count = chosen.strangers.len();
        let message = format!("{count} of the objects named in {RESTORE} are not in the inventory: {names}");
        events.push(failed(owner, message));
    }
    Some((objects, events))
}

fn failed(owner: &OwnerState, message: String) -> EventDraft {
    EventDraft::error(Reason::RestoreFailed, message).with(REVISION_KEY, owner.open.revision())
}
