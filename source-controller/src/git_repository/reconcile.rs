//! One attempt at a GitRepository: a table of contents. Policy lives in `validate` and `decide`.

use std::time::Duration;

use jiff::Timestamp;
use plumb_api::source::{GitRepository, GitRepositoryCondition};
use plumb_status::{AttemptOutcome, Detail, Reason, RetryPolicy};

use super::{
    Context,
    act::{self, Receipt, Shared},
    decide::decide,
    error::SourceError,
    facts,
    validate::validate,
};

/// Nothing that a GitRepository depends on is waited for; the room is there because an ending asks for it.
const WAIT: Duration = Duration::from_secs(30);

/// One attempt, and how it ends.
pub async fn reconcile(
    repository: &GitRepository,
    context: &Context,
    ledger: &Shared,
    now: Timestamp,
) -> AttemptOutcome<GitRepositoryCondition> {
    ended(attempt(repository, context, ledger, now).await, ledger)
}

/// The attempt for an object that is being deleted.
pub async fn teardown(
    repository: &GitRepository,
    context: &Context,
    ledger: &Shared,
) -> AttemptOutcome<GitRepositoryCondition> {
    match act::remove(repository, context, ledger).await {
        Ok(()) => AttemptOutcome::Gone,
        Err(error) => AttemptOutcome::of(&error, error.condition(), RetryPolicy::Backoff, WAIT),
    }
}

async fn attempt(
    repository: &GitRepository,
    context: &Context,
    ledger: &Shared,
    now: Timestamp,
) -> Result<Receipt, SourceError> {
    let valid = validate(&repository.spec)?;
    let stored = facts::stored(repository, context).await?;
    ledger.lend().note_stored(&stored);
    // A server may be silent for the whole timeout: that must not hold a worker.
    ledger.park();
    let session = facts::remote(repository, &valid, context).await?;
    let revision = session.found().revision();
    let decision = decide(&stored, &revision, valid.ignore.as_deref(), repository.status.as_ref());
    ledger.lend().note_decision(&decision, &revision);
    act::act(decision, session, repository, &valid, context, ledger, now).await
}

fn ended(result: Result<Receipt, SourceError>, ledger: &Shared) -> AttemptOutcome<GitRepositoryCondition> {
    match (result, ledger.lend().stored_detail()) {
        (Ok(receipt), Some(detail)) => {
            AttemptOutcome::Succeeded { detail, changed: receipt == Receipt::Built }
        }
        (Ok(_), None) => {
            let detail = Detail::new(
                Reason::InternalError,
                "internal error: reconciliation finished without an artifact",
            );
            AttemptOutcome::Failed { condition: None, detail, retry: RetryPolicy::Backoff }
        }
        (Err(error), _) => AttemptOutcome::of(&error, error.condition(), RetryPolicy::Backoff, WAIT),
    }
}
