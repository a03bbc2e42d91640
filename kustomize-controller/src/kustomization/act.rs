//! Carries a decision out: record, apply, prune. It makes no choice. What it has done stands in the
//! ledger at once, so that nothing true is lost if the next step fails.

use std::sync::Arc;
use std::time::Duration;

use plumb_api::kustomize::{DriftMode, Kustomization};
use plumb_api::meta::Artifact;
use plumb_apply::{ApplyOptions, ObjectChange, execute, prune};
use plumb_cluster::Budget;
use plumb_drift::state::{DriftPolicy, Input, Managed, OwnerRef};
use plumb_manifests::ObjectId;
use plumb_planning::plan::{Plan, Planned};
use plumb_runtime::{Priority, Visit};
use plumb_status::{EventDraft, Reason, chain};
use tokio::time::Instant;

use super::Context;
use super::build::owner;
use super::claims::{self, Question};
use super::decide::{self, Decision, Memory};
use super::error::KustomizationError;
use super::reread::{self, Reread};
use super::validate::Valid;
use crate::kind::Kustomizations;

/// How long applying and pruning may take.
const APPLY_MAX: Duration = Duration::from_mins(20);

/// Whether the cluster is different now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It is as it was.
    Kept,
    /// Something was applied or deleted.
    Changed,
    /// Something newer made the attempt pointless before it was done.
    Superseded,
}

/// How a prune went that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pruning {
    Done,
    Superseded,
}

/// Carries out what is decided about objects.
pub async fn act(
    decision: Decision,
    planned: &[Arc<Planned>],
    (policy, artifact): (DriftPolicy, &Artifact),
    visit: &Visit<Kustomizations>,
    kind: &Kustomizations,
) -> Result<Receipt, KustomizationError> {
    let (key, context) = (visit.key(), kind.context.as_ref());
    let Decision { plan, memory } = decision;
    let owner = OwnerRef::kustomization(key);
    let managed = |changes: Vec<ObjectChange>| Managed {
        policy: policy.clone(),
        objects: planned.to_vec(),
        applied: changes.into_iter().map(Into::into).collect(),
    };
    if memory == Memory::Unverified {
        context.drift.step(Input::AdoptUnverified(owner.clone(), managed(Vec::new())));
    }
    let recorded = visit.ledger().inventory();
    if plan.prune.is_empty() {
        context.holds.forget(key);
    }
    if plan.is_idle() && recorded == plan.desired && matches!(memory, Memory::Kept | Memory::Unverified) {
        return Ok(Receipt::Kept);
    }
    log_skipped(&plan);
    let budget = budget(visit, context, APPLY_MAX);
    let attempt = context.drift.begin(&owner).await;
    if memory == Memory::Witnessed {
        attempt.read_before_apply(planned, &budget).await;
    }
    let before = recorded.len();
    if recorded != plan.write_ahead {
        visit.ledger().note_inventory(plan.write_ahead.clone());
        if let Err(error) = visit.write_ahead().await {
            // Nothing was applied: what was recorded before is still true, and a status with it is still taken.
            visit.ledger().note_inventory(recorded);
            return Err(error.into());
        }
    }
    let order = ApplyOptions {
        concurrency: context.concurrency,
        takeover: context.takeover.clone(),
        known: attempt.known(),
        budget: budget.clone(),
    };
    let applied = execute(&context.cluster, &plan.waves, &order).await;
    visit.ledger().note_lines(applied.lines());
    let (complete, summary) = (applied.is_complete(), applied.error_summary());
    if applied.untouched > 0 {
        tracing::info!(kustomization = %key, objects = applied.untouched, "the apply ended before these objects were begun");
    }
    let outcome = if complete {
        // What is applied, or put back where it is missing: the watch may not show it yet.
        let wanted = match policy.mode {
            DriftMode::Enabled => planned.iter().map(|planned| &planned.id).collect(),
            DriftMode::Warn | DriftMode::Disabled => plan.applies().collect(),
        };
        let question = Question {
            candidates: &plan.prune,
            rendered: planned,
            applied: wanted,
            artifact: Some(artifact),
        };
        delete(question, &budget, visit, kind, (before, plan.desired.clone())).await
    } else {
        let summary = summary.unwrap_or_default();
        failed(KustomizationError::Apply { summary }, &budget, visit)
    };
    // Whatever was applied is known from now on, also when the rest failed.
    attempt.finish(managed(applied.changes));
    verify_later(plan.write_ahead.ids(), visit, kind);
    match outcome? {
        Pruning::Superseded => Ok(Receipt::Superseded),
        Pruning::Done if visit.ledger().has_changed() => Ok(Receipt::Changed),
        Pruning::Done => Ok(Receipt::Kept),
    }
}

fn log_skipped(plan: &Plan) {
    for (id, why) in &plan.skipped {
        tracing::debug!(object = %id, reason = %why, "object is not applied");
    }
}

/// The budget of an apply or a prune, which may take `longest`. Once `spec.timeout` has passed, or something newer arrives, no
/// slow answer of the API server is waited for any more.
pub fn budget(visit: &Visit<Kustomizations>, context: &Context, longest: Duration) -> Budget {
    let (now, timeout) = (Instant::now(), visit.object().spec.effective_timeout().to_std());
    Budget::new(now + longest, context.shutdown.clone()).hurried(now + timeout, visit.token())
}

/// A failure, unless it is one of an attempt that something newer has made pointless: the server did not answer in time, and
/// the attempt that follows finds out what became of it.
fn failed(
    error: KustomizationError,
    budget: &Budget,
    visit: &Visit<Kustomizations>,
) -> Result<Pruning, KustomizationError> {
    if !visit.is_superseded() || !budget.is_stopped() {
        return Err(error);
    }
    tracing::warn!(error = chain(&error), "superseded while a request to the API server was pending");
    Ok(Pruning::Superseded)
}

/// Looks again as soon as no unanswered write of these objects can be carried out any more.
pub fn verify_later<'a>(
    ids: impl IntoIterator<Item = &'a ObjectId>,
    visit: &Visit<Kustomizations>,
    kind: &Kustomizations,
) {
    let open = kind.context.cluster.unanswered().among(ids);
    let now = Instant::now();
    let Some(until) = open.into_values().filter(|until| *until > now).max() else { return };
    if let Some(handle) = kind.handle.get() {
        handle.queue.add_after(visit.key(), until - now, Priority::Revision);
    }
}

/// Deletes what is no longer wanted; what could not be deleted stays in the inventory. `before`: how many objects the
/// inventory had when the attempt began.
async fn delete(
    question: Question<'_>,
    budget: &Budget,
    visit: &Visit<Kustomizations>,
    kind: &Kustomizations,
    (before, desired): (usize, plumb_planning::inventory::Inventory),
) -> Result<Pruning, KustomizationError> {
    let (context, candidates) = (kind.context.as_ref(), question.candidates);
    if candidates.is_empty() {
        visit.ledger().note_inventory(desired);
        return Ok(Pruning::Done);
    }
    if reread::reread(visit, question.artifact, context).await? == Reread::Superseded {
        return Ok(Pruning::Superseded);
    }
    let asked = claims::check(question, visit, kind).await;
    let (owner, claims) = (owner(visit.object()), asked.claims.clone());
    let pruned = prune(&context.cluster, candidates, &owner, claims, context.concurrency, budget).await;
    let (said, is_news) = claims::remember(&pruned, &asked, visit, kind);
    let mut kept = desired;
    let released: std::collections::BTreeSet<_> = pruned.released().cloned().collect();
    for candidate in candidates.iter().filter(|candidate| !released.contains(&candidate.id)) {
        kept.insert(candidate.id.clone(), candidate.version.clone());
    }
    let mut ledger = visit.ledger();
    ledger.note_inventory(kept);
    ledger.note_lines(pruned.lines());
    ledger.note_kept(said, is_news);
    let deleted = pruned.deletions();
    if decide::is_large(deleted, before) {
        let text = format!("{deleted} of {before} objects left the source and were deleted");
        ledger.note(EventDraft::error(Reason::LargePrune, text));
    }
    drop(ledger);
    match pruned.error_summary() {
        None => Ok(Pruning::Done),
        Some(summary) => failed(KustomizationError::Prune { summary }, budget, visit),
    }
}

/// How drift of it is handled.
pub fn policy(object: &Kustomization, valid: &Valid, artifact: &Artifact) -> DriftPolicy {
    DriftPolicy {
        revision: artifact.revision.clone(),
        origin_revision: artifact.metadata.get(plumb_api::meta::ORIGIN_REVISION_METADATA).cloned(),
        mode: valid.mode,
        suspended: object.spec.suspend,
        interval: object.spec.effective_interval().to_std(),
    }
}
