//! GitRepository as the runtime sees it. Every method is one line: what an attempt does lives in `git_repository`.

use std::{sync::MutexGuard, time::Duration};

use plumb_api::source::{GitRepository, GitRepositoryCondition};
use plumb_runtime::{ReconciledKind, Visit};
use plumb_status::AttemptOutcome;
use serde_json::{Map, Value};

use crate::git_repository::{Context, act::Lender, ledger::GitRepositoryLedger, reconcile};

/// What an attempt may take beside its two operations on the repository: the Secret, the store.
const STORAGE_ALLOWANCE: Duration = Duration::from_mins(1);

/// The kind.
pub struct GitRepositories {
    context: Context,
}

impl GitRepositories {
    /// The kind, with what its attempts work with.
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

impl ReconciledKind for GitRepositories {
    type Object = GitRepository;
    type Ledger = GitRepositoryLedger;

    fn ledger(&self, object: &GitRepository) -> GitRepositoryLedger {
        GitRepositoryLedger::of(object, &self.context.advertised)
    }

    async fn reconcile(&self, visit: &Visit<Self>) -> AttemptOutcome<GitRepositoryCondition> {
        reconcile::reconcile(visit.object(), &self.context, visit, visit.now()).await
    }

    async fn teardown(&self, visit: &Visit<Self>) -> AttemptOutcome<GitRepositoryCondition> {
        reconcile::teardown(visit.object(), &self.context, visit).await
    }

    fn status(&self, object: &GitRepository, ledger: &GitRepositoryLedger) -> Map<String, Value> {
        ledger.status(object)
    }

    fn deadline(&self, object: &GitRepository) -> Duration {
        object.spec.effective_timeout().to_std().saturating_mul(2).saturating_add(STORAGE_ALLOWANCE)
    }
}

impl Lender for Visit<GitRepositories> {
    fn lend(&self) -> MutexGuard<'_, GitRepositoryLedger> {
        self.ledger()
    }

    fn park(&self) {
        Visit::park(self);
    }
}
