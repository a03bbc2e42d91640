//! Receiver as the runtime sees it. Every change of one goes into the directory of the servers as well.

use std::sync::Arc;

use kube::{Client, ResourceExt as _};
use plumb_api::notification::{Receiver, ReceiverCondition};
use plumb_runtime::{Change, Kind, Visit};
use plumb_status::Ending;
use serde_json::{Map, Value};

use crate::directory::Directory;
use crate::receiver::ledger::ReceiverLedger;
use crate::receiver::reconcile::reconcile;

/// The kind.
pub struct Receivers {
    /// Where Secrets are read.
    pub client: Client,
    /// What the servers know.
    pub directory: Arc<Directory>,
}

impl Kind for Receivers {
    type Object = Receiver;
    type Ledger = ReceiverLedger;

    fn ledger(&self, object: &Receiver) -> ReceiverLedger {
        ReceiverLedger::of(object)
    }

    async fn reconcile(&self, visit: &Visit<Self>) -> Ending<ReceiverCondition> {
        let (path, ending) = reconcile(visit.object(), &self.client).await;
        visit.ledger().note_path(path);
        ending
    }

    fn status(&self, _: &Receiver, ledger: &ReceiverLedger) -> Map<String, Value> {
        ledger.status()
    }

    fn changed(&self, change: &Change<Receiver>) {
        match change {
            Change::Applied { new, .. } => self.directory.put_receiver(new),
            Change::Deleted { old } => {
                self.directory.drop_receiver(&old.namespace().unwrap_or_default(), &old.name_any());
            }
            Change::Unreadable { key, .. } => self.directory.drop_receiver(&key.namespace, &key.name),
        }
    }
}
