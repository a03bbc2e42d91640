//! What an attempt at a Receiver has made true: its path.

use plumb_api::meta::GoDuration;
use plumb_api::notification::{Receiver, ReceiverCondition};
use plumb_status::{Detail, Ledger, Occurrence, Turn};
use serde_json::{Map, Value, json};

/// What is true now.
pub struct ReceiverLedger {
    webhook_path: Option<String>,
    interval: GoDuration,
}

impl ReceiverLedger {
    /// What the status tells.
    pub fn of(receiver: &Receiver) -> Self {
        Self {
            webhook_path: receiver.status.as_ref().and_then(|status| status.webhook_path.clone()),
            interval: receiver.spec.effective_interval(),
        }
    }

    /// It listens under this path from now on; under none, if there is no token.
    pub fn note_path(&mut self, path: Option<String>) {
        self.webhook_path = path;
    }

    /// The fields of the status that are this kind's own, as a merge patch.
    pub fn status(&self) -> Map<String, Value> {
        Map::from_iter([("webhookPath".to_owned(), json!(self.webhook_path))])
    }
}

impl Ledger for ReceiverLedger {
    type Condition = ReceiverCondition;

    fn success(&self, turn: Turn, detail: &Detail) -> Vec<Occurrence> {
        if turn == Turn::Unchanged {
            return Vec::new();
        }
        let text = format!("Reconciliation finished, next run in {}", self.interval);
        vec![Occurrence::info(detail.reason, text)]
    }
}
