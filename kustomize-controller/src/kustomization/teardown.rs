//! A Kustomization that is being deleted: the same path with nothing desired. What cannot be deleted keeps it.

use std::collections::BTreeSet;
use std::time::Duration;

use plumb_api::kustomize::KustomizationCondition;
use plumb_apply::prune;
use plumb_drift::state::{Input, OwnerRef};
use plumb_planning::inventory::Inventory;
use plumb_planning::plan;
use plumb_runtime::Visit;
use plumb_status::AttemptOutcome;

use super::act;
use super::build::owner;
use super::claims::{self, Question};
use super::error::KustomizationError;
use super::identity::identify;
use super::reconcile::superseded;
use super::reread::{self, Reread};
use crate::kind::Kustomizations;

/// How long one attempt to delete everything may take.
const TEARDOWN_MAX: Duration = Duration::from_mins(20);

/// How taking everything down went.
enum Teardown {
    Done,
    Superseded,
}

/// One attempt to take everything down.
pub async fn teardown(
    visit: &Visit<Kustomizations>,
    kind: &Kustomizations,
) -> AttemptOutcome<KustomizationCondition> {
    match take_down(visit, kind).await {
        Ok(Teardown::Done) => AttemptOutcome::Gone,
        Ok(Teardown::Superseded) => superseded(visit),
        Err(error) => AttemptOutcome::of(&error, None).waiting_for(kind.context.requeue),
    }
}

async fn take_down(
    visit: &Visit<Kustomizations>,
    kind: &Kustomizations,
) -> Result<Teardown, KustomizationError> {
    let (object, context) = (visit.object(), kind.context.as_ref());
    // From here on nothing of it is put back.
    let drift_owner = OwnerRef::kustomization(visit.key());
    let attempt = context.drift.begin(&drift_owner).await;
    context.drift.step(Input::Forget(drift_owner));
    drop(attempt);
    let before = Inventory::from_wire(object.status.as_ref().and_then(|status| status.inventory.as_ref()))?;
    if object.spec.suspend || !object.spec.deletes_objects() {
        visit.ledger().note_released(&before, object.spec.suspend);
        return Ok(Teardown::Done);
    }
    if reread::reread(visit, None, context).await? == Reread::Superseded {
        return Ok(Teardown::Superseded);
    }
    let before = identify(&[], before, context).await?.before;
    let plan = plan::teardown(&before, true);
    let budget = act::budget(visit, context, TEARDOWN_MAX);
    let artifact = claims::current_artifact(object, context);
    let question = Question {
        candidates: &plan.prune,
        rendered: &[],
        applied: BTreeSet::new(),
        artifact: artifact.as_ref(),
    };
    let asked = claims::check(question, visit, kind).await;
    let (owner, wanted) = (owner(object), asked.claims.clone());
    let pruned = prune(&context.cluster, &plan.prune, &owner, wanted, context.concurrency, &budget).await;
    let (said, is_news) = claims::remember(&pruned, &asked, visit, kind);
    let mut rest = before;
    for id in pruned.released() {
        rest.remove(id);
    }
    let mut ledger = visit.ledger();
    ledger.note_lines(pruned.lines());
    ledger.note_kept(said, is_news);
    for id in rest.unreadable() {
        ledger.note_kept(Some(format!("inventory entry {id:?} cannot be read")), false);
    }
    ledger.note_inventory(rest);
    let said = ledger.kept();
    match (pruned.error_summary(), said) {
        (Some(summary), _) => Err(KustomizationError::Prune { summary }),
        (None, Some(kept)) => Err(KustomizationError::PruneHeld { kept }),
        (None, None) => Ok(Teardown::Done),
    }
}
