//! Passes on what the drift loop reports: events, and changes of the status.

use std::sync::{Arc, OnceLock};

use plumb_drift::EventSink;
use plumb_drift::state::OwnerRef;
use plumb_runtime::{Handle, Recorder};
use plumb_status::EventDraft;

use crate::kind::Kustomizations;

/// Emits events of Kustomizations, and asks for writes of their status.
pub struct KustomizationEvents {
    /// For events.
    pub recorder: Recorder,
    /// For statuses; filled when the kind is installed.
    pub handle: Arc<OnceLock<Handle<Kustomizations>>>,
}

impl EventSink for KustomizationEvents {
    fn emit(&self, owner: &OwnerRef, event: EventDraft) {
        if let Some(object) = self.handle.get().and_then(|handle| handle.store.get(&owner.name)) {
            self.recorder.emit(object.as_ref(), event);
        }
    }

    fn exists(&self, owner: &OwnerRef) -> bool {
        self.handle.get().is_some_and(|handle| handle.store.get(&owner.name).is_some())
    }

    fn drift_changed(&self, owner: &OwnerRef) {
        if let Some(handle) = self.handle.get().cloned() {
            let key = owner.name.clone();
            tokio::spawn(async move { handle.amend(&key).await });
        }
    }
}
