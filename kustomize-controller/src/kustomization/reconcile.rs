//! One attempt at a Kustomization: a table of contents. Policy lives in `validate` and `decide`.

use std::time::Duration;

use plumb_api::kustomize::{DriftMode, Kustomization, KustomizationCondition};
use plumb_api::meta::{GoDuration, RESTORE, Reconciled as _};
use plumb_cluster::NamespacedName;
use plumb_drift::rules::correction;
use plumb_drift::state::{Input, Managed, OwnerRef, RestoreRequest};
use plumb_planning::inventory::Inventory;
use plumb_runtime::Visit;
use plumb_status::condition::{READY, find};
use plumb_status::{AttemptOutcome, Classify as _, Consequence, Detail, Reason};

use super::act::{self, Receipt};
use super::build::build;
use super::decide::{self, Past};
use super::error::KustomizationError;
use super::identity::{Identified, identify};
use super::validate::validate;
use super::{Context, facts, health, retyped};
use crate::kind::Kustomizations;

/// How an attempt that did not fail went.
enum AttemptEnd {
    Done(Receipt),
    Superseded,
}

/// One attempt, and how it ends.
pub async fn reconcile(
    visit: &Visit<Kustomizations>,
    kind: &Kustomizations,
) -> AttemptOutcome<KustomizationCondition> {
    let outcome = attempt(visit, kind).await;
    let spec = &visit.object().spec;
    let (took, now) = (visit.took(), visit.now());
    match outcome {
        Ok(AttemptEnd::Superseded) => superseded(visit),
        Ok(AttemptEnd::Done(receipt)) => {
            let mut ledger = visit.ledger();
            ledger.note_history(Reason::ReconciliationSucceeded, now, took);
            ledger.note_applied();
            ledger.note_finished(took, spec.effective_interval());
            let text = match ledger.kept() {
                None => format!("Applied revision: {}", ledger.applied_revision()),
                Some(kept) => format!("Applied revision: {}; {kept}", ledger.applied_revision()),
            };
            let detail = Detail::new(Reason::ReconciliationSucceeded, text);
            AttemptOutcome::Succeeded { detail, changed: receipt == Receipt::Changed }
        }
        // Cut short by the end of the process: the next one goes on, and nothing has failed.
        Err(_) if kind.context.shutdown.is_cancelled() => {
            AttemptOutcome::Superseded { by: "the end of the process".to_owned() }
        }
        Err(error) => {
            let mut ledger = visit.ledger();
            ledger.note_history(error.reason(), now, took);
            if matches!(error, KustomizationError::Dependency { .. }) {
                let wait = GoDuration::from(kind.context.requeue);
                ledger.note_waiting(format!("Dependencies do not meet ready condition, retrying in {wait}"));
            }
            failed(&error, spec.effective_retry_interval().to_std(), kind.context.requeue)
        }
    }
}

/// How an attempt ends that did not succeed. `retry` is the retry interval of the spec, `requeue` how soon a Kustomization
/// is looked at again that waits for another object.
fn failed(
    error: &KustomizationError,
    retry: Duration,
    requeue: Duration,
) -> AttemptOutcome<KustomizationCondition> {
    let wait = if matches!(error, KustomizationError::SourceMissing { .. }) { retry } else { requeue };
    let mut outcome = AttemptOutcome::of(error, error.condition()).retried_after(retry).waiting_for(wait);
    if let AttemptOutcome::Waiting { on, retry } = &mut outcome
        && matches!(error, KustomizationError::ArtifactMissing | KustomizationError::ArtifactGone)
    {
        on.message = format!("{}, retrying in {}", on.message, GoDuration::from(*retry));
    }
    outcome
}

/// The next attempt starts at once.
pub fn superseded(visit: &Visit<Kustomizations>) -> AttemptOutcome<KustomizationCondition> {
    // Where a read was faster than the watch, nobody has said yet by what.
    let by = visit.superseded_by();
    AttemptOutcome::Superseded { by: if by.is_empty() { "a newer revision".to_owned() } else { by } }
}

async fn attempt(
    visit: &Visit<Kustomizations>,
    kind: &Kustomizations,
) -> Result<AttemptEnd, KustomizationError> {
    let (object, context) = (visit.object(), kind.context.as_ref());
    let timeout = object.spec.effective_timeout();
    let valid = validate(object, context.rules)?;
    let before = Inventory::from_wire(object.status.as_ref().and_then(|status| status.inventory.as_ref()))?;
    let facts = facts::gather(visit.key(), &valid, &context.sources, &kind.others());
    let artifact = decide::ready(&facts, &valid)?;
    tracing::Span::current().record("revision", artifact.revision.as_str());
    visit.ledger().note_artifact(artifact, timeout);
    let Ok(built) = visit.unless_superseded(build(object, artifact, context, Some(visit.worker()))).await
    else {
        return Ok(AttemptEnd::Superseded);
    };
    let built = built.inspect_err(|error| {
        // Found, but not built: the revision was tried.
        if error.reason() == Reason::BuildFailed {
            visit.ledger().note_attempted();
        }
    })?;
    visit.ledger().note_built(&built.digest, timeout);
    if let Some(event) = context.build_warnings.event(object, &artifact.revision, &built.warnings) {
        visit.emit(event);
    }
    for planned in &built.planned {
        correction::mode_of(valid.mode, &planned.object)?;
    }
    let policy = act::policy(object, &valid, artifact);
    let owner = OwnerRef::kustomization(visit.key());
    remember(object, &owner, context);
    context.drift.step(Input::Policy(owner.clone(), policy.clone()));
    let Identified { planned, before } = identify(&built.planned, before, context).await?;
    decide::reject_empty(object, &planned, &before, context.allow_empty)?;
    note_unreadable(&before, visit);
    let mut past = past(object, before, &built.digest, visit, kind);
    // What became of a write that was not answered is found out by another one.
    let unanswered = context.cluster.unanswered().among(planned.iter().map(|planned| &planned.id));
    past.due.extend(unanswered.into_keys());
    let decision = decide::decide(&planned, &past, &artifact.revision, valid.mode, object.spec.prune);
    let receipt = act::act(decision, &planned, (policy, artifact), visit, kind)
        .await
        .map_err(|error| retyped::explain(error, &built.retyped))?;
    if receipt == Receipt::Superseded {
        return Ok(AttemptEnd::Superseded);
    }
    restore(object, visit, kind);
    if visit.forced() && valid.mode != DriftMode::Disabled {
        context.drift.step(Input::Audit(owner));
    }
    match health::health(&valid, &planned, visit, context).await? {
        Some(()) => Ok(AttemptEnd::Done(receipt)),
        None => Ok(AttemptEnd::Superseded),
    }
}

/// Says which entries of the inventory cannot be read: they are kept, but nothing can be done about their objects.
fn note_unreadable(before: &Inventory, visit: &Visit<Kustomizations>) {
    let ready = find(visit.object().conditions(), READY).map(|ready| ready.message.as_str());
    for id in before.unreadable() {
        let text = format!("inventory entry {id:?} cannot be read and is kept");
        // While attempts fail, Ready says something else.
        let is_news = visit.failures() == 0 && !ready.unwrap_or_default().contains(&text);
        visit.ledger().note_kept(Some(text), is_news);
    }
}

/// What is remembered of earlier attempts.
fn past(
    object: &Kustomization,
    inventory: Inventory,
    digest: &str,
    visit: &Visit<Kustomizations>,
    kind: &Kustomizations,
) -> Past {
    let (key, context, others) = (visit.key(), kind.context.as_ref(), kind.others());
    // The revision alone does not say it: variables, or how a build is made, may have changed since.
    let history = object.status.as_ref().and_then(|status| status.history.first());
    let same_manifests = history.is_some_and(|entry| entry.digest == digest);
    let at_interval = decide::is_at_interval(visit.priority(), visit.interval_due());
    let is_active = |holder: &NamespacedName| others.get(holder).is_some_and(|holder| !holder.spec.suspend);
    let owner = OwnerRef::kustomization(key);
    let mut due = context.holds.handed_over_to(key, is_active);
    if at_interval {
        due.extend(context.drift.at_interval(&owner));
    }
    Past {
        inventory,
        revision: object.status.as_ref().and_then(|status| status.last_applied_revision.clone()),
        whole: same_manifests && (facts::is_ready(object) || is_underway(object)),
        known: context.drift.is_known(&owner),
        applied: context.drift.applied(&owner),
        due,
    }
}

/// Whether an attempt was cut off that had nothing to do: everything was applied, and the generation is the same.
fn is_underway(object: &Kustomization) -> bool {
    let status = object.status.as_ref();
    let same = status.is_some_and(|status| status.last_applied_revision == status.last_attempted_revision);
    same && object.observed_generation() == object.metadata.generation
        && object
            .conditions()
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.reason == "Progressing")
}

/// After a restart: drift that was told already is not told again.
pub fn remember(object: &Kustomization, owner: &OwnerRef, context: &Context) {
    if let Some(drift) = object.status.as_ref().and_then(|status| status.drift.as_ref()) {
        context.drift.step(Input::Remember(owner.clone(), drift.clone()));
    }
}

/// Puts back what someone asked to be put back, once.
fn restore(object: &Kustomization, visit: &Visit<Kustomizations>, kind: &Kustomizations) {
    let Some(raw) = object.metadata.annotations.as_ref().and_then(|all| all.get(RESTORE)) else { return };
    let drift = object.status.as_ref().and_then(|status| status.drift.as_ref());
    let inventory = visit.ledger().inventory();
    let request = RestoreRequest {
        raw: raw.clone(),
        echoed: drift.and_then(|drift| drift.last_handled_restore.clone()),
        crd_echoes: kind.crd_echoes,
        inventory,
    };
    kind.context.drift.step(Input::Restore(OwnerRef::kustomization(visit.key()), request));
}

/// A suspended Kustomization: nothing is applied, but drift is seen. What this process does not know yet it looks at
/// once, if the revision that was applied last is still the source's. How soon to try again, if that did not work.
pub async fn reconcile_suspended(visit: &Visit<Kustomizations>, kind: &Kustomizations) -> Option<Duration> {
    let (object, context) = (visit.object(), kind.context.as_ref());
    let error = look(visit, object, kind, context).await.err()?;
    let message = Detail::of(&error).message;
    tracing::warn!(error = message, "a suspended Kustomization cannot be watched for drift");
    // What is wrong with the spec does not pass by waiting.
    (error.consequence() != Consequence::Stall).then(|| object.spec.effective_retry_interval().to_std())
}

async fn look(
    visit: &Visit<Kustomizations>,
    object: &Kustomization,
    kind: &Kustomizations,
    context: &Context,
) -> Result<(), KustomizationError> {
    let valid = validate(object, context.rules)?;
    let facts = facts::gather(visit.key(), &valid, &context.sources, &kind.others());
    let artifact = decide::ready(&facts, &valid)?;
    let applied = object.status.as_ref().and_then(|status| status.last_applied_revision.as_ref());
    if applied != Some(&artifact.revision) {
        return Ok(());
    }
    let policy = act::policy(object, &valid, artifact);
    let owner = OwnerRef::kustomization(visit.key());
    if context.drift.is_known(&owner) {
        context.drift.step(Input::Policy(owner, policy));
        return Ok(());
    }
    let built = build(object, artifact, context, Some(visit.worker())).await?;
    remember(object, &owner, context);
    let objects = identify(&built.planned, Inventory::default(), context).await?.planned.into_owned();
    context.drift.step(Input::AdoptUnverified(owner, Managed { policy, objects, applied: Vec::new() }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use plumb_status::RetryPolicy;

    use super::*;

    #[test]
    fn an_attempt_that_waits_says_how_long_and_one_that_failed_is_retried_at_the_interval_of_the_spec() {
        let end = |error| match failed(&error, Duration::from_mins(2), Duration::from_secs(30)) {
            AttemptOutcome::Waiting { on, retry } => format!("wait {}s: {}", retry.as_secs(), on.message),
            AttemptOutcome::Failed { retry: RetryPolicy::After(retry), detail, .. } => {
                format!("retry {}s: {}", retry.as_secs(), detail.message)
            }
            other => format!("{other:?}"),
        };
        assert_eq!(
            end(KustomizationError::ArtifactMissing),
            "wait 30s: Source artifact not found, retrying in 30s"
        );
        let gone = "wait 30s: Source is not ready, artifact not found, retrying in 30s";
        assert_eq!(end(KustomizationError::ArtifactGone), gone);
        let missing = KustomizationError::SourceMissing { source_ref: "GitRepository/repo".to_owned() };
        assert_eq!(end(missing), "wait 120s: Source 'GitRepository/repo' not found");
        let dependency =
            KustomizationError::Dependency { name: "apps/base".to_owned(), problem: "is not ready" };
        assert_eq!(end(dependency), "wait 30s: dependency 'apps/base' is not ready");
        assert!(end(KustomizationError::BuildFault).starts_with("retry 120s: internal error"));
    }
}
