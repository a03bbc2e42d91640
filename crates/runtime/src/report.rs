//! The only writer of status. A write is one merge patch with the version that it was computed for; when that was
//! overtaken, the newer object is read and the status is recomputed. What would change nothing is not written.
//!
//! Writes of one object come one after the other. A write that was sent is awaited even if whoever requested it is
//! gone: it may be carried out all the same, and nothing may be compared with what stood before it. Where no answer
//! says whether it was carried out, the object is read again first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use plumb_api::meta::Reconciled;
use plumb_cluster::{CallError, NamespacedName, ObjectCache, ObjectEvent, call, is_newer};
use plumb_status::{Before, Status};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::kind::Object;
use crate::visit::requested_at;
use crate::watch::OnChange;

/// How often the same write is recomputed because something else was written in between.
const TRIES: u32 = 8;

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The object is gone.
    #[error("the object is gone")]
    Gone,
    /// The API server does not take this status, whenever it is sent: mostly because the object would be too large.
    #[error(
        "the API server rejected a status of {bytes} bytes (etcd stores objects up to 1.5 MiB by default)"
    )]
    Rejected {
        /// The size of the status, in bytes of JSON.
        bytes: usize,
        /// What it said.
        #[source]
        source: CallError,
    },
    /// Others changed the object before each write.
    #[error("cannot write the status: the object was changed by others {TRIES} times in a row")]
    Overtaken,
    /// The API server refused, or did not answer.
    #[error("cannot write the status")]
    Call(#[from] CallError),
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
    store: ObjectCache<O>,
    on_change: OnChange<O>,
    writes: Arc<Mutex<BTreeMap<NamespacedName, Arc<AsyncMutex<Writes>>>>>,
}

/// What is known of the status writes of one object. Locked while one is in flight.
#[derive(Default)]
struct Writes {
    /// What was sent last, and the version that came of it: where a schema lacks our fields the answer never has them,
    /// and to send the same again would change nothing.
    sent: Option<(String, Value)>,
    /// Whether a write was sent of which nobody knows whether it was carried out.
    in_doubt: bool,
}

impl<O: Object> Clone for Reporter<O> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            manager: self.manager,
            store: self.store.clone(),
            on_change: Arc::clone(&self.on_change),
            writes: Arc::clone(&self.writes),
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
        store: ObjectCache<O>,
        on_change: OnChange<O>,
    ) -> Self {
        Self { client, manager, store, on_change, writes: Arc::default() }
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

    /// Writes what `compose` makes of the object, which is replaced by the newest that is known.
    pub(crate) async fn write(
        &self,
        current: &mut Arc<O>,
        compose: impl Fn(&O) -> Draft,
    ) -> Result<(), ReportError> {
        self.write_patch(current, |object| patch(compose(object))).await
    }

    /// Removes every field of the status.
    pub(crate) async fn clear(&self, current: &mut Arc<O>) -> Result<(), ReportError> {
        self.write_patch(current, |object| {
            let mut status =
                serde_json::to_value(object)?.get_mut("status").map(Value::take).unwrap_or_default();
            status.as_object_mut().into_iter().flatten().for_each(|(_, field)| *field = Value::Null);
            Ok(status)
        })
        .await
    }

    async fn write_patch(
        &self,
        current: &mut Arc<O>,
        compose: impl Fn(&O) -> Result<Value, serde_json::Error>,
    ) -> Result<(), ReportError> {
        let key = NamespacedName::of(current.as_ref());
        let mut writes = self.writes(&key).lock_owned().await;
        if writes.in_doubt {
            *current = self.read_again(current).await?;
            writes.in_doubt = false;
        } else if let Some(newer) = self.store.get(&key)
            && newer.uid() == current.uid()
            && is_newer(newer.as_ref(), current.as_ref())
        {
            *current = newer;
        }
        for _ in 0..TRIES {
            let patch = compose(current.as_ref())?;
            if changes_nothing(&writes, current.as_ref(), &patch)? {
                return Ok(());
            }
            let bytes = patch.to_string().len();
            let (answer, returned) = self.send(current, patch, writes).await;
            writes = returned;
            match answer {
                Ok(answer) => {
                    *current = answer;
                    return Ok(());
                }
                Err(error) if error.code() == Some(404) => return Err(ReportError::Gone),
                Err(error) if error.code() == Some(409) => *current = self.read_again(current).await?,
                Err(source) if is_rejected(&source) => return Err(ReportError::Rejected { bytes, source }),
                Err(error) => return Err(error.into()),
            }
        }
        Err(ReportError::Overtaken)
    }

    fn writes(&self, key: &NamespacedName) -> Arc<AsyncMutex<Writes>> {
        let mut all = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(key.clone()).or_default())
    }

    /// Sends one patch, and notes its outcome also if the caller is dropped meanwhile.
    async fn send(
        &self,
        current: &Arc<O>,
        patch: Value,
        mut writes: OwnedMutexGuard<Writes>,
    ) -> (Result<Arc<O>, CallError>, OwnedMutexGuard<Writes>) {
        let (key, reporter) = (NamespacedName::of(current.as_ref()), self.clone());
        let body = json!({ "metadata": { "resourceVersion": current.resource_version() }, "status": patch });
        writes.in_doubt = true;
        let sending = tokio::spawn(async move {
            let params =
                PatchParams { field_manager: Some(reporter.manager.to_owned()), ..PatchParams::default() };
            let api = reporter.api(&key.namespace);
            let answer = call(api.patch_status(&key.name, &params, &Patch::Merge(&body))).await;
            writes.in_doubt = answer.as_ref().is_err_and(is_doubtful);
            if let Ok(answer) = &answer {
                writes.sent = answer.resource_version().map(|version| (version, patch));
            }
            (answer.map(|answer| reporter.observed(answer)), writes)
        });
        match sending.await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(outcome) => outcome,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The executor ends, and this task with it.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    /// The object as it is now, if it is still the same one.
    async fn read_again(&self, current: &Arc<O>) -> Result<Arc<O>, ReportError> {
        let key = NamespacedName::of(current.as_ref());
        match call(self.api(&key.namespace).get_opt(&key.name)).await? {
            Some(newer) if newer.uid() == current.uid() => Ok(self.observed(newer)),
            _ => Err(ReportError::Gone),
        }
    }

    /// Takes an answer into the store, so that whoever looks next sees what was written.
    pub(crate) fn observed(&self, mut answer: O) -> Arc<O> {
        answer.meta_mut().managed_fields = None;
        let change = self.store.put(answer.clone());
        if let Some(change @ ObjectEvent::Applied { .. }) = &change {
            (self.on_change)(change);
        }
        Arc::new(answer)
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, key: &NamespacedName) {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn changes_nothing<O: Object>(writes: &Writes, object: &O, patch: &Value) -> Result<bool, serde_json::Error> {
    if let Some((version, last)) = &writes.sent
        && object.resource_version().as_ref() == Some(version)
        && last == patch
    {
        return Ok(true);
    }
    let stands = serde_json::to_value(object)?.get("status").cloned().unwrap_or_default();
    Ok(is_within(patch, &stands))
}

/// Whether a write may have been carried out although it failed.
fn is_doubtful(error: &CallError) -> bool {
    error.code().is_none_or(|code| code >= 500)
}

/// Whether the same status would be rejected again.
fn is_rejected(error: &CallError) -> bool {
    let CallError::Failed(kube::Error::Api(status)) = error else { return false };
    // etcd's own limits come through as 500.
    let too_large = ["too large", "larger than max"].iter().any(|text| status.message.contains(text));
    matches!(status.code, 400 | 413 | 422) || too_large
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
