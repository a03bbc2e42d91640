//! Reports the periods of a spec that are outside of their range: once per object and value, not at each attempt. The
//! ranges, and what is used instead, belong to `plumb_api::meta::Periods`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use kube::Resource;
use plumb_api::meta::{Period, Periods};
use plumb_cluster::NamespacedName;
use plumb_status::{Audience, EventDraft, Reason};

use crate::events::Recorder;

/// Reports clamped periods as Kubernetes events.
pub(crate) struct PeriodReporter {
    recorder: Recorder,
    /// What was reported last, by object; at most one entry for each object that has a clamped period.
    reported: Mutex<BTreeMap<NamespacedName, Vec<String>>>,
}

impl PeriodReporter {
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self { recorder, reported: Mutex::default() }
    }

    /// Emits an event for each clamped period of the object, unless the last report said the same.
    pub(crate) fn report<O: Resource<DynamicType = ()> + Periods>(&self, object: &O) {
        let warnings: Vec<String> = object.periods().into_iter().filter_map(Period::warning).collect();
        let key = NamespacedName::of(object);
        let before = {
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            if warnings.is_empty() {
                reported.remove(&key);
                return;
            }
            reported.insert(key.clone(), warnings.clone()).unwrap_or_default()
        };
        for warning in warnings.into_iter().filter(|warning| !before.contains(warning)) {
            tracing::warn!(
                name = key.name,
                namespace = key.namespace,
                warning,
                "period out of range, using the nearest limit"
            );
            let event = EventDraft::info(Reason::PeriodLimited, warning).only_for(Audience::Cluster);
            self.recorder.emit(object, event);
        }
    }

    /// Drops what was reported for an object that is gone.
    pub(crate) fn forget(&self, key: &NamespacedName) {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
