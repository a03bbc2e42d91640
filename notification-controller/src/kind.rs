//! Receiver as the runtime sees it. What an attempt does lives in `receiver`.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use plumb_alerting::rule::CrossNamespace;
use plumb_api::notification::{Receiver, ReceiverCondition};
use plumb_cluster::{NamespacedName, ObjectEvent};
use plumb_runtime::{ReconciledKind, Visit};
use plumb_status::AttemptOutcome;
use serde_json::{Map, Value};

use crate::directory::Directory;
use crate::receiver::ledger::ReceiverLedger;
use crate::receiver::reconcile;

/// What an attempt may take: it reads one Secret.
const DEADLINE: Duration = Duration::from_mins(1);

/// The kind.
pub struct Receivers {
    client: Client,
    directory: Arc<Directory>,
    cross_namespace: CrossNamespace,
}

impl Receivers {
    /// The kind: Secrets are read with this client, the receiver server finds Receivers in this directory.
    pub fn new(client: Client, directory: Arc<Directory>, cross_namespace: CrossNamespace) -> Self {
        Self { client, directory, cross_namespace }
    }
}

impl ReconciledKind for Receivers {
    type Object = Receiver;
    type Ledger = ReceiverLedger;

    fn ledger(&self, object: &Receiver) -> ReceiverLedger {
        ReceiverLedger::of(object)
    }

    async fn reconcile(&self, visit: &Visit<Self>) -> AttemptOutcome<ReceiverCondition> {
        let attempted = reconcile::attempt(visit.object(), &self.client, self.cross_namespace).await;
        reconcile::conclude(attempted, &mut visit.ledger())
    }

    fn status(&self, _: &Receiver, ledger: &ReceiverLedger) -> Map<String, Value> {
        ledger.status()
    }

    fn deadline(&self, _: &Receiver) -> Duration {
        DEADLINE
    }

    fn changed(&self, change: &ObjectEvent<Receiver>) {
        let forget = |key: &NamespacedName| self.directory.drop_receiver(&key.namespace, &key.name);
        match change {
            // What is going listens no longer.
            ObjectEvent::Applied { old: _, new } if new.metadata.deletion_timestamp.is_some() => {
                forget(&NamespacedName::of(new.as_ref()));
            }
            ObjectEvent::Applied { old: _, new } => self.directory.put_receiver(new),
            ObjectEvent::Deleted { old } => forget(&NamespacedName::of(old.as_ref())),
            ObjectEvent::Unreadable { key, message: _, raw: _ } => forget(key),
        }
    }
}
