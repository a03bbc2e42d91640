//! What an attempt at a Receiver has made true so far: the path. It outlives an attempt that fails. Nothing is read or
//! written here.

use plumb_api::meta::GoDuration;
use plumb_api::notification::{Receiver, ReceiverCondition};
use plumb_status::{Detail, EventDraft, Ledger, Reason, Transition};
use serde_json::{Map, Value, json};

/// What is true now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverLedger {
    path: Option<String>,
    interval: GoDuration,
}

impl ReceiverLedger {
    /// Read from the status.
    pub fn of(receiver: &Receiver) -> Self {
        let path = receiver.status.as_ref().and_then(|status| status.webhook_path.clone());
        Self { path, interval: receiver.spec.effective_interval() }
    }

    /// Webhooks are taken under this path. Whether it is another one than before.
    pub fn note_path(&mut self, path: &str) -> bool {
        let before = self.path.replace(path.to_owned());
        before.as_deref() != Some(path)
    }

    /// There is no token, so there is no path.
    pub fn note_no_path(&mut self) {
        self.path = None;
    }

    /// The fields of the status that are this kind's own, as a merge patch.
    pub fn status(&self) -> Map<String, Value> {
        Map::from_iter([("webhookPath".to_owned(), json!(self.path))])
    }
}

impl Ledger for ReceiverLedger {
    type Condition = ReceiverCondition;

    // Not the detail of Ready, as usual: it has the path, and events go to more people than statuses.
    fn success(&self, turn: Transition, _: &Detail) -> Vec<EventDraft> {
        match turn {
            Transition::New | Transition::Changed | Transition::Recovered => {
                let text = format!("Reconciliation finished, next run in {}", self.interval);
                vec![EventDraft::info(Reason::Succeeded, text)]
            }
            Transition::Unchanged => Vec::new(),
        }
    }
}
