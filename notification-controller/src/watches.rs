//! Alerts and Providers as they change: into the directory, and what is wrong with one is told on it.

use std::sync::Arc;

use kube::{Resource, ResourceExt as _};
use plumb_api::notification::{Alert, Provider};
use plumb_runtime::{Change, Recorder};
use plumb_status::{Detail, Occurrence};

use crate::complaints::{self, Complaints};
use crate::directory::Directory;

/// What hears of changes.
#[derive(Clone)]
pub struct Listener {
    /// What the servers know.
    pub directory: Arc<Directory>,
    /// What was told already.
    pub complaints: Arc<Complaints>,
    /// For events.
    pub recorder: Recorder,
}

impl Listener {
    /// Takes in an Alert.
    pub fn alert(&self, change: &Change<Alert>) {
        match change {
            Change::Applied { new, .. } => {
                let judged = self.directory.put_alert(new);
                self.tell(new.as_ref(), complaints::of_alert(&judged));
            }
            Change::Deleted { old } => {
                self.directory.drop_alert(&old.namespace().unwrap_or_default(), &old.name_any());
                self.complaints.forget(&old.uid().unwrap_or_default());
            }
            Change::Unreadable { key, .. } => self.directory.drop_alert(&key.namespace, &key.name),
        }
    }

    /// Takes in a Provider.
    pub fn provider(&self, change: &Change<Provider>) {
        match change {
            Change::Applied { new, .. } => {
                let judged = self.directory.put_provider(new);
                self.tell(new.as_ref(), complaints::of_provider(&judged));
            }
            Change::Deleted { old } => {
                self.directory.drop_provider(&old.namespace().unwrap_or_default(), &old.name_any());
                self.complaints.forget(&old.uid().unwrap_or_default());
            }
            Change::Unreadable { key, .. } => self.directory.drop_provider(&key.namespace, &key.name),
        }
    }

    fn tell<O: Resource<DynamicType = ()>>(&self, object: &O, details: Vec<Detail>) {
        let generation = object.meta().generation.unwrap_or_default();
        if details.is_empty() || !self.complaints.are_due(&object.uid().unwrap_or_default(), generation) {
            return;
        }
        for Detail { reason, message } in details {
            self.recorder.tell(object, Occurrence::error(reason, message));
        }
    }
}
