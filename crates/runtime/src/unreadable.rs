//! An object that cannot be read as its type is told so in its own status and by an event; all other objects live on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt as _};
use plumb_api::meta::RECONCILE_REQUESTED_AT;
use plumb_status::{
    Before, Condition, ConditionType, Detail, Ending, Ledger, Polarity, Reason, Status, chain, summarize,
};
use serde_json::json;

use crate::Key;
use crate::client::call;
use crate::clock::Clock;
use crate::events::Recorder;
use crate::kind::Object;

/// Tells of objects that cannot be read.
#[derive(Clone)]
pub(crate) struct Teller {
    pub(crate) client: Client,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Clock,
    pub(crate) manager: &'static str,
    /// The generation that was told of last, by uid.
    pub(crate) told: Arc<Mutex<BTreeMap<String, i64>>>,
}

/// How many objects are remembered; beyond that something may be told twice.
const REMEMBERED_MAX: usize = 4096;

/// No condition of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum NoCondition {}

impl ConditionType for NoCondition {
    const ALL: &'static [Self] = &[];

    fn as_str(self) -> &'static str {
        match self {}
    }

    fn polarity(self) -> Polarity {
        match self {}
    }
}

/// Nothing was made true.
struct Nothing;

impl Ledger for Nothing {
    type Condition = NoCondition;
}

impl Teller {
    /// Tells once per generation, in the background.
    pub(crate) fn tell<O: Object>(&self, key: &Key, message: &str, raw: &DynamicObject) {
        let generation = raw.metadata.generation.unwrap_or_default();
        let uid = raw.uid().unwrap_or_default();
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.get(&uid) == Some(&generation) {
                return;
            }
            if told.len() >= REMEMBERED_MAX {
                told.clear();
            }
            told.insert(uid.clone(), generation);
        }
        let (teller, key, raw) = (self.clone(), key.clone(), raw.clone());
        let detail = Detail::new(Reason::InvalidSpec, format!("the object cannot be read: {message}"));
        tokio::spawn(async move {
            if let Err(error) = teller.write::<O>(&key, detail, &raw).await {
                teller.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
                tracing::warn!(
                    name = key.name,
                    namespace = key.namespace,
                    error = chain(&error),
                    "a status was not written"
                );
            }
        });
    }

    async fn write<O: Object>(
        &self,
        key: &Key,
        detail: Detail,
        raw: &DynamicObject,
    ) -> Result<(), crate::client::CallError> {
        let stands = status_of(raw);
        let before = Before {
            generation: raw.metadata.generation.unwrap_or_default(),
            requested_at: raw.annotations().get(RECONCILE_REQUESTED_AT).map(String::as_str),
            at_start: &stands,
            current: &stands,
            now: self.clock.now(),
        };
        let summary = summarize(&before, &Nothing, &Ending::Stalled { condition: None, detail });
        let Some(status) = summary.status else { return Ok(()) };
        if status == stands {
            return Ok(());
        }
        let mut fields =
            json!({ "conditions": status.conditions, "observedGeneration": status.observed_generation });
        if let Some(handled) = status.last_handled_reconcile_at {
            fields["lastHandledReconcileAt"] = handled.into();
        }
        let patch = json!({ "metadata": { "resourceVersion": raw.resource_version() }, "status": fields });
        let resource = kube::core::ApiResource::erase::<O>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
        let params = PatchParams { field_manager: Some(self.manager.to_owned()), ..PatchParams::default() };
        call(api.patch_status(&key.name, &params, &Patch::Merge(&patch))).await?;
        for event in summary.events {
            self.recorder.tell_of(&resource, raw, event);
        }
        Ok(())
    }
}

/// What of a status can be read.
fn status_of(raw: &DynamicObject) -> Status {
    let status = raw.data.get("status").cloned().unwrap_or_default();
    let conditions: Vec<Condition> = status
        .get("conditions")
        .and_then(|list| serde_json::from_value(list.clone()).ok())
        .unwrap_or_default();
    Status {
        conditions,
        observed_generation: status
            .get("observedGeneration")
            .and_then(serde_json::Value::as_i64)
            .unwrap_or(-1),
        last_handled_reconcile_at: status
            .get("lastHandledReconcileAt")
            .and_then(|text| text.as_str())
            .map(str::to_owned),
    }
}
