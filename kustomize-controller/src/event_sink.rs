//! Passes on what the drift desk has to say: events, and the wish for a status write.

use std::sync::{Arc, OnceLock};

use plumb_cluster::NamespacedName;
use plumb_runtime::{Handle, Recorder};
use plumb_status::EventDraft;

use crate::drift::EventSink;
use crate::kind::Kustomizations;

/// Speaks in the name of Kustomizations.
pub struct KustomizationEvents {
    /// For events.
    pub recorder: Recorder,
    /// For statuses; filled when the kind is installed.
    pub handle: Arc<OnceLock<Handle<Kustomizations>>>,
}

impl EventSink for KustomizationEvents {
    fn emit(&self, key: &NamespacedName, occurrence: EventDraft) {
        if let Some(object) = self.handle.get().and_then(|handle| handle.store.get(key)) {
            self.recorder.emit(object.as_ref(), occurrence);
        }
    }

    fn exists(&self, key: &NamespacedName) -> bool {
        self.handle.get().is_some_and(|handle| handle.store.get(key).is_some())
    }

    fn drift_changed(&self, key: &NamespacedName) {
        if let Some(handle) = self.handle.get().cloned() {
            let key = key.clone();
            tokio::spawn(async move { handle.amend(&key).await });
        }
    }
}
