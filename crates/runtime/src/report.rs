//! The only writer of status. A write is one merge patch with the version that it was thought out for; when that was
//! overtaken, the newer object is read and the status is thought out again. What would change nothing is not written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use plumb_api::meta::Reconciled;
use plumb_status::{Before, Status};
use serde_json::{Map, Value, json};

use crate::Key;
use crate::client::{CallError, call};
use crate::kind::Object;
use crate::store::{Change, Store};
use crate::visit::requested_at;
use crate::watch::OnChange;

/// How often the same write is thought out anew because something else was written in between.
const TRIES: u32 = 8;

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The object is gone.
    #[error("the object is gone")]
    Gone,
    /// The API server refused, or did not answer.
    #[error("cannot write the status")]
    Refused(#[from] CallError),
    /// The status cannot be put into words.
    #[error("cannot write the status as JSON")]
    Garbled(#[from] serde_json::Error),
}

/// A status to be written.
pub(crate) struct Draft {
    /// Conditions and bookkeeping.
    pub(crate) status: Status,
    /// The kind's own fields.
    pub(crate) fields: Map<String, Value>,
}

/// Writes the status of objects of a kind. Clones share what was written last.
pub(crate) struct Reporter<O: Object> {
    client: Client,
    manager: &'static str,
    store: Store<O>,
    on_change: OnChange<O>,
    /// What was sent last for an object, and the version that came of it: where a schema lacks our fields the answer
    /// never has them, and to send the same again would change nothing.
    sent: Arc<Mutex<BTreeMap<Key, (String, Value)>>>,
}

impl<O: Object> Clone for Reporter<O> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            manager: self.manager,
            store: self.store.clone(),
            on_change: Arc::clone(&self.on_change),
            sent: Arc::clone(&self.sent),
        }
    }
}

/// [`Before`], owned.
pub(crate) struct Earlier {
    generation: i64,
    requested_at: Option<String>,
    at_start: Status,
    current: Status,
    now: Timestamp,
}

impl Earlier {
    pub(crate) fn as_ref(&self) -> Before<'_> {
        Before {
            generation: self.generation,
            requested_at: self.requested_at.as_deref(),
            at_start: &self.at_start,
            current: &self.current,
            now: self.now,
        }
    }
}

impl<O: Object> Reporter<O> {
    pub(crate) fn new(
        client: Client,
        manager: &'static str,
        store: Store<O>,
        on_change: OnChange<O>,
    ) -> Self {
        Self { client, manager, store, on_change, sent: Arc::default() }
    }

    /// The objects of a namespace.
    pub(crate) fn api(&self, namespace: &str) -> Api<O> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The field manager of statuses and finalizers.
    pub(crate) fn manager(&self) -> &'static str {
        self.manager
    }

    /// What stands in an object, beside what stood when the attempt began. The request and the generation are those
    /// that the attempt saw: newer ones were not answered by it.
    #[expect(clippy::unused_self, reason = "reads as part of the writing")]
    pub(crate) fn before(&self, object: &O, at_start: &O, now: Timestamp) -> Earlier {
        Earlier {
            generation: at_start.meta().generation.unwrap_or_default(),
            requested_at: requested_at(at_start).map(str::to_owned),
            at_start: status_of(at_start),
            current: status_of(object),
            now,
        }
    }

    /// Writes what `compose` makes of the object, which is replaced by the answer.
    pub(crate) async fn write(
        &self,
        current: &mut Arc<O>,
        compose: impl Fn(&O) -> Draft,
    ) -> Result<(), ReportError> {
        let uid = current.uid();
        let key = Key::of(current.as_ref());
        let api = self.api(&key.namespace);
        for _ in 0..TRIES {
            let patch = patch(compose(current.as_ref()))?;
            if self.changes_nothing(&key, current.as_ref(), &patch)? {
                return Ok(());
            }
            let body =
                json!({ "metadata": { "resourceVersion": current.resource_version() }, "status": patch });
            let params =
                PatchParams { field_manager: Some(self.manager.to_owned()), ..PatchParams::default() };
            match call(api.patch_status(&key.name, &params, &Patch::Merge(&body))).await {
                Ok(answer) => {
                    self.note_sent(&key, &answer, patch);
                    *current = self.observed(answer);
                    return Ok(());
                }
                Err(error) if error.code() == Some(404) => return Err(ReportError::Gone),
                Err(error) if error.code() == Some(409) => match call(api.get_opt(&key.name)).await? {
                    Some(newer) if newer.uid() == uid => *current = self.observed(newer),
                    _ => return Err(ReportError::Gone),
                },
                Err(error) => return Err(error.into()),
            }
        }
        Err(ReportError::Refused(CallError::TimedOut))
    }

    /// Takes an answer into the store, so that whoever looks next sees what was written.
    pub(crate) fn observed(&self, mut answer: O) -> Arc<O> {
        answer.meta_mut().managed_fields = None;
        let change = self.store.put(answer.clone());
        if let Some(change @ Change::Applied { .. }) = &change {
            (self.on_change)(change);
        }
        Arc::new(answer)
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn changes_nothing(&self, key: &Key, object: &O, patch: &Value) -> Result<bool, serde_json::Error> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, last)) = sent.get(key)
            && object.resource_version().as_ref() == Some(version)
            && last == patch
        {
            return Ok(true);
        }
        let stands = serde_json::to_value(object)?.get("status").cloned().unwrap_or_default();
        Ok(is_within(patch, &stands))
    }

    fn note_sent(&self, key: &Key, answer: &O, patch: Value) {
        let Some(version) = answer.resource_version() else { return };
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), (version, patch));
    }
}

/// The status as the reducer reads it.
pub(crate) fn status_of<O: Reconciled>(object: &O) -> Status {
    Status {
        conditions: object.conditions().to_vec(),
        observed_generation: object.observed_generation().unwrap_or(Status::default().observed_generation),
        last_handled_reconcile_at: object.last_handled_reconcile_at().map(str::to_owned),
    }
}

/// The merge patch of a status.
fn patch(draft: Draft) -> Result<Value, serde_json::Error> {
    let Draft { status, mut fields } = draft;
    fields.insert("conditions".into(), serde_json::to_value(&status.conditions)?);
    fields.insert("observedGeneration".into(), status.observed_generation.into());
    if let Some(handled) = status.last_handled_reconcile_at {
        fields.insert("lastHandledReconcileAt".into(), handled.into());
    }
    Ok(Value::Object(fields))
}

/// Whether a merge patch changes nothing of a value.
fn is_within(patch: &Value, value: &Value) -> bool {
    match (patch, value) {
        (Value::Object(patch), value) => patch.iter().all(|(key, part)| match (part, value.get(key)) {
            (Value::Null, None) => true,
            (Value::Object(fields), None) => fields.is_empty() && value.get(key).is_some(),
            (part, Some(known)) => is_within(part, known),
            _ => key == "observedGeneration" && *part == json!(-1),
        }),
        (patch, value) => patch == value,
    }
}

#[cfg(test)]
mod tests;
