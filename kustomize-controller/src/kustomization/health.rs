//! Waits for health. An object whose version has not moved since it was healthy is healthy: the drift watches know the
//! version of each object that is kept, so an interval in which nothing changed asks nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plumb_api::kustomize::Kustomization;
use plumb_api::meta::{GoDuration, KUSTOMIZE_GROUP, Reconciled as _};
use plumb_apply::{End, Target, Wait, settle};
use plumb_cluster::{Budget, GroupVersionKind, NamespacedName, RequestError};
use plumb_drift::rules::vanish;
use plumb_drift::state::OwnerRef;
use plumb_manifests::ObjectId;
use plumb_planning::plan::Planned;
use plumb_runtime::Visit;
use plumb_status::Condition;
use plumb_status::condition::find;
use tokio::time::Instant;

use super::Context;
use super::error::{HEALTH_CHECK_FAILED, KustomizationError};
use super::validate::Valid;
use crate::kind::Kustomizations;

/// The versions in which objects were healthy.
type Versions = BTreeMap<ObjectId, Box<str>>;

/// What was healthy when it was looked at last, by Kustomization.
#[derive(Default)]
pub struct Healthy(Mutex<BTreeMap<NamespacedName, Versions>>);

impl Healthy {
    /// Forgets a Kustomization.
    pub fn forget(&self, key: &NamespacedName) {
        self.lock().remove(key);
    }

    /// Those of the targets that may not be healthy any more.
    fn doubtful(&self, key: &NamespacedName, targets: &[Target], now: &Versions) -> Vec<Target> {
        let all = self.lock();
        let then = all.get(key);
        let same = |target: &&Target| {
            let seen = now.get(&target.id);
            seen.is_none() || then.and_then(|then| then.get(&target.id)) != seen
        };
        targets.iter().filter(same).cloned().collect()
    }

    fn note(&self, key: &NamespacedName, versions: Versions) {
        self.lock().insert(key.clone(), versions);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NamespacedName, Versions>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the objects that the spec asks about are healthy. None if something newer arrived.
pub async fn health(
    valid: &Valid,
    planned: &[Arc<Planned>],
    visit: &Visit<Kustomizations>,
    context: &Context,
) -> Result<Option<()>, KustomizationError> {
    let (key, object) = (visit.key(), visit.object());
    let targets = targets(valid, planned, object);
    if targets.is_empty() {
        visit.ledger().note_health_unasked();
        return Ok(Some(()));
    }
    let stands = find(object.conditions(), "Healthy").filter(|condition| condition.is_true());
    let stands = stands.map(|Condition { message, .. }| message.as_str());
    // As they are before anybody looks: what moves meanwhile is doubtful again.
    let versions = context.drift.watched_versions(&OwnerRef::kustomization(key));
    let doubtful = context.healthy.doubtful(key, &targets, &versions);
    if doubtful.is_empty() && stands.is_some() {
        visit.ledger().note_healthy(Duration::ZERO, stands);
        return Ok(Some(()));
    }
    let timeout = object.spec.effective_timeout();
    if stands.is_none() || visit.ledger().has_changed() {
        visit.ledger().note_waiting_for_health(timeout);
    }
    let budget = Budget::new(Instant::now() + timeout.to_std(), visit.token());
    let unserved =
        if valid.wait { Vec::new() } else { unserved(&valid.health_checks, context, &budget).await? };
    if !unserved.is_empty() {
        visit.ledger().note_unserved(&unserved.join(", "), timeout);
    }
    visit.park();
    let vanishing = vanishing(planned, context.cluster.now());
    let wait = Wait { targets: doubtful, vanishing, fail_fast: true, budget };
    let settled = settle(&context.cluster, wait).await;
    match (settled.end, settled.error_summary()) {
        (End::Cancelled, _) => Ok(None),
        (End::Healthy, _) | (_, None) => {
            context.healthy.note(key, versions);
            visit.ledger().note_healthy(settled.took, stands);
            Ok(Some(()))
        }
        (End::Failed | End::TimedOut, Some(summary)) => {
            context.healthy.forget(key);
            let took = GoDuration::from(settled.took).to_string();
            let error = KustomizationError::Unhealthy { took, summary: named(summary, &unserved) };
            Err(as_reported(error, find(object.conditions(), "Healthy")))
        }
    }
}

/// The failure with the duration that the condition has, where it tells of the same one: another duration alone is no news.
fn as_reported(error: KustomizationError, stands: Option<&Condition>) -> KustomizationError {
    let KustomizationError::Unhealthy { took, summary } = error else { return error };
    let told = stands.filter(|condition| condition.is_false()).and_then(|condition| {
        let text = condition.message.strip_prefix(HEALTH_CHECK_FAILED)?.strip_prefix(' ')?;
        text.strip_suffix(summary.as_str())?.strip_suffix(": ")
    });
    let took = told.filter(|told| told.parse::<GoDuration>().is_ok()).map_or(took, str::to_owned);
    KustomizationError::Unhealthy { took, summary }
}

/// A failure of the wait, with the kinds that the cluster does not serve.
fn named(summary: String, unserved: &[String]) -> String {
    if unserved.is_empty() {
        return summary;
    }
    let kinds = unserved.join(", ");
    format!(
        "{summary}; not served by the cluster: {kinds} (install the definition, or correct spec.healthChecks)"
    )
}

/// Objects whose absence is no failure.
fn vanishing(planned: &[Arc<Planned>], now: jiff::Timestamp) -> BTreeSet<ObjectId> {
    let all = planned.iter().filter(|planned| vanish::may_vanish(&planned.object, now));
    all.map(|planned| planned.id.clone()).collect()
}

/// Kinds of `spec.healthChecks` that the cluster does not serve: they may come, as `Kind (apiVersion)`. An error for one that
/// cannot come: a group without a dot in its name is Kubernetes's own, and no definition adds kinds to it.
async fn unserved(
    checks: &[Target],
    context: &Context,
    budget: &Budget,
) -> Result<Vec<String>, KustomizationError> {
    let mapper = context.cluster.mapper();
    let mut open = BTreeSet::new();
    for (at, Target { id, version }) in checks.iter().enumerate() {
        let kind = GroupVersionKind::gvk(&id.group, version, &id.kind);
        // What else may be wrong is said by the wait itself.
        let Err(error @ RequestError::NoMatch { .. }) = mapper.resolve(&kind, budget).await else { continue };
        if id.group.contains('.') {
            open.insert(format!("{} ({})", id.kind, kind.api_version()));
            continue;
        }
        let served = mapper.api_versions_of(&id.kind).join(" or ");
        let remedy = if served.is_empty() {
            format!("correct spec.healthChecks[{at}]")
        } else {
            format!("set spec.healthChecks[{at}].apiVersion to {served}")
        };
        return Err(KustomizationError::Unhealthy {
            took: "0s".to_owned(),
            summary: format!("{error}: {remedy}"),
        });
    }
    Ok(open.into_iter().collect())
}

/// Which objects are waited for. A Kustomization never waits for itself.
fn targets(valid: &Valid, planned: &[Arc<Planned>], object: &Kustomization) -> Vec<Target> {
    let target = |planned: &Arc<Planned>| Target {
        id: planned.id.clone(),
        version: planned.object.version().to_owned(),
    };
    let all = if valid.wait {
        planned.iter().filter(|planned| planned.policy.corrects()).map(target).collect()
    } else {
        valid.health_checks.clone()
    };
    let own = |target: &Target| {
        target.id.kind == "Kustomization"
            && target.id.group == KUSTOMIZE_GROUP
            && Some(&target.id.name) == object.metadata.name.as_ref()
            && Some(&target.id.namespace) == object.metadata.namespace.as_ref()
    };
    all.into_iter().filter(|target| !own(target)).collect()
}

#[cfg(test)]
mod tests {
    use plumb_status::ConditionStatus;

    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            namespace: "prod".into(),
            name: name.into(),
            group: "apps".into(),
            kind: "Deployment".into(),
        }
    }

    fn versions(all: &[(&str, &str)]) -> Versions {
        all.iter().map(|(name, version)| (id(name), (*version).into())).collect()
    }

    #[test]
    fn a_timeout_names_the_kinds_that_are_not_served() {
        let text = "timeout waiting for: [Gate/prod/x status: 'NotFound']";
        assert_eq!(named(text.to_owned(), &[]), text);
        assert_eq!(
            named(text.to_owned(), &["Gate (net.test/v1)".to_owned()]),
            format!(
                "{text}; not served by the cluster: Gate (net.test/v1) (install the definition, or correct \
                 spec.healthChecks)"
            )
        );
    }

    #[test]
    fn the_same_failure_keeps_the_duration_that_was_told() {
        let condition = |status, message: &str| Condition {
            type_: "Healthy".into(),
            status,
            observed_generation: None,
            last_transition_time: jiff::Timestamp::UNIX_EPOCH,
            reason: "HealthCheckFailed".into(),
            message: message.into(),
        };
        let text = |stands: Option<&Condition>| {
            let (took, summary) = ("30.5s".to_owned(), "timeout waiting for: [a]".to_owned());
            as_reported(KustomizationError::Unhealthy { took, summary }, stands).to_string()
        };
        let [first, now] = ["30.1s", "30.5s"]
            .map(|took| format!("health check failed after {took}: timeout waiting for: [a]"));
        assert_eq!(text(None), now);
        assert_eq!(text(Some(&condition(ConditionStatus::False, &first))), first);
        for (status, message) in [
            (ConditionStatus::True, first.as_str()),
            (ConditionStatus::False, "health check failed after 30.1s: timeout waiting for: [b]"),
            (ConditionStatus::False, "health check failed after 30.1s: b: timeout waiting for: [a]"),
            (ConditionStatus::False, "timeout waiting for: [a]"),
        ] {
            assert_eq!(text(Some(&condition(status, message))), now, "{message}");
        }
    }

    #[test]
    fn only_what_moved_or_is_not_watched_is_doubtful() {
        let (healthy, key) = (Healthy::default(), NamespacedName::new("flux-system", "apps"));
        let targets: Vec<Target> =
            ["a", "b", "c"].iter().map(|name| Target { id: id(name), version: "v1".into() }).collect();
        let doubtful = |now: &[(&str, &str)]| -> Vec<String> {
            let all = healthy.doubtful(&key, &targets, &versions(now));
            all.into_iter().map(|target| target.id.name).collect()
        };
        let seen = [("a", "1"), ("b", "1")];
        assert_eq!(doubtful(&seen), ["a", "b", "c"], "nothing was looked at yet");
        healthy.note(&key, versions(&seen));
        assert_eq!(doubtful(&seen), ["c"], "c is not watched");
        assert_eq!(doubtful(&[("a", "2"), ("b", "1")]), ["a", "c"]);
        healthy.forget(&key);
        assert_eq!(doubtful(&seen), ["a", "b", "c"]);
    }
}
