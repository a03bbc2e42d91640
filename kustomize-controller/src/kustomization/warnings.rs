//! Warnings of a build as one Kubernetes event for each revision. They never leave the cluster: an event on the wire with
//! a revision would be a commit status that says success before anything is applied.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use plumb_api::kustomize::Kustomization;
use plumb_api::meta::Reconciled as _;
use plumb_cluster::NamespacedName;
use plumb_kustomize::{Warning, WarningKind};
use plumb_status::{Audience, EventDraft, Reason};

/// Warnings in one event; the others are counted.
const WARNINGS_MAX: usize = 10;

/// What was reported last, by Kustomization: at most one entry for each that has warnings.
#[derive(Default)]
pub struct ReportedWarnings(Mutex<BTreeMap<NamespacedName, String>>);

impl ReportedWarnings {
    /// The event for the warnings of a build, unless it was emitted for this revision already: by this process, or by
    /// one before it, which the status shows. What kustomize prints as well is left to the log.
    pub fn event(&self, object: &Kustomization, revision: &str, warnings: &[Warning]) -> Option<EventDraft> {
        let key = NamespacedName::of(object);
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(text) = text(revision, warnings) else {
            reported.remove(&key);
            return None;
        };
        let before = reported.insert(key, text.clone());
        let is_news = before.map_or_else(|| !was_attempted(object, revision), |before| before != text);
        let event = EventDraft::info(Reason::BuildWarning, text).only_for(Audience::Cluster);
        is_news.then_some(event)
    }

    /// Drops what was reported for a Kustomization that is gone.
    pub fn forget(&self, key: &NamespacedName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Whether an earlier attempt at the same spec has built the revision.
fn was_attempted(object: &Kustomization, revision: &str) -> bool {
    let attempted = object.status.as_ref().and_then(|status| status.last_attempted_revision.as_deref());
    attempted == Some(revision) && object.observed_generation() == object.metadata.generation
}

fn text(revision: &str, warnings: &[Warning]) -> Option<String> {
    let silent: Vec<&Warning> =
        warnings.iter().filter(|warning| warning.kind == WarningKind::Silent).collect();
    if silent.is_empty() {
        return None;
    }
    let mut text = format!("built revision {revision} with warnings ({})", silent.len());
    for warning in silent.iter().take(WARNINGS_MAX) {
        text.push('\n');
        text.push_str(&warning.text);
    }
    if silent.len() > WARNINGS_MAX {
        text.push_str("\nthe log of kustomize-controller and `plumb build` list all of them");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(attempted: Option<&str>, observed: i64) -> Kustomization {
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": { "name": "apps", "namespace": "flux-system", "generation": 2 },
            "spec": { "interval": "1h", "prune": true, "sourceRef": { "kind": "GitRepository", "name": "repo" } },
            "status": { "lastAttemptedRevision": attempted, "observedGeneration": observed }
        });
        serde_json::from_value(object).unwrap()
    }

    fn warnings(count: usize, kind: WarningKind) -> Vec<Warning> {
        (0..count).map(|number| Warning { kind, text: format!("w{number}") }).collect()
    }

    #[test]
    fn one_event_for_each_revision_and_for_warnings_that_are_new() {
        let reported = ReportedWarnings::default();
        let event = |revision: &str, count| {
            let silent = warnings(count, WarningKind::Silent);
            reported.event(&object(None, 0), revision, &silent).map(|event| event.message)
        };
        assert_eq!(event("a", 1).unwrap(), "built revision a with warnings (1)\nw0");
        assert_eq!(event("a", 1), None);
        assert_eq!(event("a", 2).unwrap(), "built revision a with warnings (2)\nw0\nw1");
        assert!(event("b", 2).is_some());
        assert_eq!(event("b", 0), None);
        assert!(event("b", 2).is_some());
    }

    #[test]
    fn what_an_earlier_process_reported_is_not_reported_again() {
        let silent = warnings(1, WarningKind::Silent);
        let event = |attempted, observed| {
            ReportedWarnings::default().event(&object(attempted, observed), "a", &silent).is_some()
        };
        assert!(!event(Some("a"), 2));
        assert!(event(Some("a"), 1), "another spec");
        assert!(event(Some("b"), 2), "another revision");
        assert!(event(None, 2));
    }

    #[test]
    fn the_event_stays_in_the_cluster_is_bounded_and_leaves_out_what_kustomize_prints() {
        let reported = ReportedWarnings::default();
        assert_eq!(reported.event(&object(None, 0), "a", &warnings(3, WarningKind::Notice)), None);
        let event = reported.event(&object(None, 0), "a", &warnings(50, WarningKind::Silent)).unwrap();
        assert_eq!((event.audience, event.reason), (Audience::Cluster, Reason::BuildWarning));
        assert_eq!(event.severity, plumb_status::Severity::Info);
        assert_eq!(event.message.lines().count(), 1 + WARNINGS_MAX + 1, "{}", event.message);
        assert!(event.message.starts_with("built revision a with warnings (50)\n"));
    }
}
