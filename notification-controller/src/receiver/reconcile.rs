//! One attempt at a Receiver: a table of contents.

use std::time::Duration;

use kube::Client;
use plumb_alerting::validate;
use plumb_api::notification::{Receiver, ReceiverCondition};
use plumb_status::{Detail, Ending, Reason, Retry};

use super::decide::{Decision, Refusal, decide};
use super::facts;

/// Nothing that a Receiver depends on is waited for; an ending asks for a time all the same.
const WAIT: Duration = Duration::from_secs(30);

/// Under which path the Receiver listens, and how the attempt ends.
pub async fn reconcile(receiver: &Receiver, client: &Client) -> (Option<String>, Ending<ReceiverCondition>) {
    match attempt(receiver, client).await {
        Ok(Decision { webhook_path }) => {
            let text = format!("Receiver initialized for path: {webhook_path}");
            let ending = Ending::Succeeded { detail: Detail::new(Reason::Succeeded, text), changed: false };
            (Some(webhook_path), ending)
        }
        Err(refusal) => (None, Ending::of(&refusal, None, Retry::Backoff, WAIT)),
    }
}

async fn attempt(receiver: &Receiver, client: &Client) -> Result<Decision, Refusal> {
    validate::receiver(&receiver.spec)?;
    let name = receiver.metadata.name.as_deref().unwrap_or_default();
    let namespace = receiver.metadata.namespace.as_deref().unwrap_or_default();
    let facts = facts::gather(client, namespace, &receiver.spec).await;
    decide(facts, name, namespace)
}
