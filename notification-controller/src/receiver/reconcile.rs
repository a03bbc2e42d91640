//! One attempt at a Receiver: a table of contents. Policy lives in `decide`.

use kube::Client;
use plumb_alerting::rule::CrossNamespace;
use plumb_alerting::validate;
use plumb_api::notification::{Receiver, ReceiverCondition};
use plumb_status::{AttemptOutcome, Detail, Reason};

use super::decide::{Decision, InvalidReceiver, decide};
use super::facts;
use super::ledger::ReceiverLedger;

/// One attempt.
pub async fn attempt(
    receiver: &Receiver,
    client: &Client,
    cross_namespace: CrossNamespace,
) -> Result<Decision, InvalidReceiver> {
    validate::receiver(&receiver.spec)?;
    let name = receiver.metadata.name.as_deref().unwrap_or_default();
    let namespace = receiver.metadata.namespace.as_deref().unwrap_or_default();
    let facts = facts::gather(client, namespace, &receiver.spec).await;
    decide(facts, &receiver.spec, name, namespace, cross_namespace)
}

/// How it ends.
pub fn conclude(
    attempted: Result<Decision, InvalidReceiver>,
    ledger: &mut ReceiverLedger,
) -> AttemptOutcome<ReceiverCondition> {
    match attempted {
        Ok(Decision { webhook_path, invalid: Some(invalid) }) => {
            ledger.note_path(&webhook_path);
            AttemptOutcome::of(&invalid, None)
        }
        Ok(Decision { webhook_path, invalid: None }) => {
            let changed = ledger.note_path(&webhook_path);
            let text = format!("Receiver initialized for path: {webhook_path}");
            AttemptOutcome::Succeeded { detail: Detail::new(Reason::Succeeded, text), changed }
        }
        Err(invalid) => {
            if invalid.ends_path() {
                ledger.note_no_path();
            }
            AttemptOutcome::of(&invalid, None)
        }
    }
}
