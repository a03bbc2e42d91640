//! Suspension: an event when an object is suspended or resumed, with who did it and when. Whoever keeps the object in
//! Git sees otherwise only that nothing happens.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use plumb_cluster::NamespacedName;
use plumb_status::{EventDraft, Reason};

/// What the last visit of each object saw. An object that no visit of this process saw before is not reported.
#[derive(Debug, Default)]
pub(crate) struct Suspensions(Mutex<BTreeMap<NamespacedName, bool>>);

/// Who wrote `spec.suspend` last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SuspendWriter {
    manager: String,
    at: Option<Timestamp>,
}

impl Suspensions {
    /// Whether an object was suspended or resumed since the last visit.
    pub(crate) fn has_changed(&self, key: &NamespacedName, suspended: bool) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(key.clone(), suspended).is_some_and(|before| before != suspended)
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, key: &NamespacedName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// The manager that owns `spec.suspend`, if one does: who removed the field is not recorded.
pub(crate) fn suspend_writer(entries: &[ManagedFieldsEntry]) -> Option<SuspendWriter> {
    let owns = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| fields.pointer("/f:spec/f:suspend").is_some())
    };
    let time = |entry: &ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
    let entry = entries.iter().filter(owns).max_by_key(|entry| time(entry))?;
    Some(SuspendWriter { manager: entry.manager.clone().filter(|name| !name.is_empty())?, at: time(entry) })
}

/// The event.
pub(crate) fn event(suspended: bool, writer: Option<&SuspendWriter>) -> EventDraft {
    let (reason, done, value) = if suspended {
        (Reason::Suspended, "suspended", "spec.suspend is true")
    } else {
        (Reason::Resumed, "resumed", "spec.suspend is not true any more")
    };
    let by = writer.map(|writer| format!(" by {:?}", writer.manager)).unwrap_or_default();
    let at = writer.and_then(|writer| writer.at).map(|at| format!(" at {at}")).unwrap_or_default();
    EventDraft::info(reason, format!("reconciliation {done}{by}{at}: {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(entries: &serde_json::Value) -> Vec<ManagedFieldsEntry> {
        serde_json::from_value(entries.clone()).unwrap()
    }

    #[test]
    fn only_a_change_is_reported_and_not_what_is_seen_first() {
        let (seen, key) = (Suspensions::default(), NamespacedName::new("apps", "web"));
        let steps = [(true, false), (true, false), (false, true), (false, false), (true, true)];
        for (suspended, changed) in steps {
            assert_eq!(seen.has_changed(&key, suspended), changed);
        }
        seen.forget(&key);
        assert!(!seen.has_changed(&key, false));
    }

    #[test]
    fn the_last_manager_of_the_field_is_named() {
        let all = entries(&serde_json::json!([
            { "manager": "kustomize-controller", "time": "2026-11-25T06:30:00Z", "fieldsV1": { "f:spec": { "f:path": {} } } },
            { "manager": "kubectl-edit", "time": "2026-11-25T06:31:00Z", "fieldsV1": { "f:spec": { "f:suspend": {} } } },
            { "manager": "flux", "time": "2026-11-25T06:32:00Z", "fieldsV1": { "f:spec": { "f:suspend": {} } } }
        ]));
        let message = event(true, suspend_writer(&all).as_ref()).message;
        let expect = "reconciliation suspended by \"flux\" at 2026-11-25T06:32:00Z: spec.suspend is true";
        assert_eq!(message, expect);
        assert_eq!(suspend_writer(&all[..1]), None);
        assert_eq!(event(false, None).message, "reconciliation resumed: spec.suspend is not true any more");
    }
}
