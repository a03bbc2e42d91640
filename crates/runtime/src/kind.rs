//! What a controller says of a kind: how an attempt is made at an object, and what its status holds. How attempts are
//! chosen, timed, reported and repeated is the runtime's.

use std::future::Future;
use std::time::Duration;

use plumb_api::meta::Reconciled;
use plumb_cluster::{NamespacedName, ObjectEvent};
use plumb_status::summary::IN_PROGRESS;
use plumb_status::{AttemptOutcome, Ledger};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Priority;
use crate::visit::Visit;
use crate::watch::Watched;

/// How long an attempt may take where the kind says nothing.
pub const DEADLINE: Duration = Duration::from_hours(1);

/// An object that can be reconciled.
pub trait Object: Watched + Reconciled + Serialize {}

impl<O: Watched + Reconciled + Serialize> Object for O {}

/// The conditions of a kind.
pub type ConditionOf<K> = <<K as ReconciledKind>::Ledger as Ledger>::Condition;

/// A kind that is reconciled.
pub trait ReconciledKind: Send + Sync + Sized + 'static {
    /// Its objects.
    type Object: Object;
    /// What an attempt has made true so far. It is lent to the attempt and survives its failure.
    type Ledger: Ledger<Condition: Send + Sync> + Send + 'static;

    /// Whether objects are kept until they are torn down.
    const FINALIZER: bool = true;

    /// Whether this object is kept until it is torn down: not one that only holds settings for others.
    fn needs_finalizer(&self, object: &Self::Object) -> bool {
        let _ = object;
        Self::FINALIZER
    }

    /// A ledger that knows what the status knows.
    fn ledger(&self, object: &Self::Object) -> Self::Ledger;

    /// One attempt.
    fn reconcile(
        &self,
        visit: &Visit<Self>,
    ) -> impl Future<Output = AttemptOutcome<ConditionOf<Self>>> + Send;

    /// One attempt to take down what was made for an object that is being deleted; [`AttemptOutcome::Gone`] lets it go.
    fn teardown(
        &self,
        visit: &Visit<Self>,
    ) -> impl Future<Output = AttemptOutcome<ConditionOf<Self>>> + Send {
        let _ = visit;
        async { AttemptOutcome::Gone }
    }

    /// What is done at a suspended object, beside writing its status. Nothing may be changed in the world. How soon to
    /// try again, if it did not work.
    fn reconcile_suspended(&self, visit: &Visit<Self>) -> impl Future<Output = Option<Duration>> + Send {
        let _ = visit;
        async { None }
    }

    /// The kind's own fields of the status, as a merge patch. Called at each write.
    fn status(&self, object: &Self::Object, ledger: &Self::Ledger) -> Map<String, Value>;

    /// How long an attempt at this object may take.
    fn deadline(&self, object: &Self::Object) -> Duration {
        let _ = object;
        DEADLINE
    }

    /// The messages of Ready and Reconciling while an attempt goes on.
    fn in_progress(&self, ledger: &Self::Ledger) -> (String, String) {
        let progress = ledger.progress().unwrap_or_else(|| IN_PROGRESS.to_owned());
        (IN_PROGRESS.to_owned(), progress)
    }

    /// Whether a change asks for an attempt that is neither a new generation, nor a request, nor a deletion.
    fn triggers(&self, old: &Self::Object, new: &Self::Object) -> Option<Priority> {
        let _ = (old, new);
        None
    }

    /// Sees every change of its objects, before it leads to an attempt.
    fn changed(&self, change: &ObjectEvent<Self::Object>) {
        let _ = change;
    }

    /// Hears that no object of this name is there any more, and no attempt at it goes on.
    fn forgotten(&self, key: &NamespacedName) {
        let _ = key;
    }
}
