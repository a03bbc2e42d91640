//! What is waited for, what is applied, what is pruned: from every past that an attempt can have.

use std::sync::Arc;

use plumb_api::kustomize::SourceKind;
use plumb_cluster::NamespacedName;
use plumb_manifests::Object;
use plumb_planning::fingerprint::HashKey;
use plumb_planning::ownership::Owner;
use serde_json::json;

use super::*;
use crate::source_ref::SourceRef;

fn planned(values: &[(&str, &str)]) -> Vec<Arc<Planned>> {
    let objects = values.iter().map(|(name, value)| {
        Object::try_from(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "apps" }, "data": { "a": value }
        }))
        .unwrap()
    });
    let owner = Owner { name: "apps".into(), namespace: "flux-system".into() };
    plan::prepare(objects.collect(), &owner, &HashKey::new([7; 32])).unwrap()
}

/// A process that applied these and knows them.
fn past(applied: &[(&str, &str)]) -> Past {
    let planned = planned(applied);
    Past {
        inventory: planned.iter().map(|planned| (planned.id.clone(), "v1".to_owned())).collect(),
        revision: Some("main@sha1:1".into()),
        whole: true,
        known: true,
        applied: planned.into_iter().map(|planned| (planned.id.clone(), planned.digest)).collect(),
        due: BTreeSet::new(),
    }
}

fn restarted(applied: &[(&str, &str)]) -> Past {
    Past { known: false, applied: BTreeMap::new(), ..past(applied) }
}

fn applies(decision: &Decision) -> Vec<&str> {
    decision.plan.applies().map(|id| id.name.as_str()).collect()
}

const BOTH: &[(&str, &str)] = &[("a", "1"), ("b", "1")];

#[test]
fn nothing_is_applied_when_nothing_changed() {
    let decision = decide(&planned(BOTH), &past(BOTH), "main@sha1:2", DriftMode::Enabled, true);
    assert!(decision.plan.is_idle(), "{decision:?}");
    assert_eq!(decision.memory, Memory::Kept);
}

#[test]
fn only_what_changed_is_applied_and_what_left_is_pruned() {
    let decision =
        decide(&planned(&[("a", "2"), ("c", "1")]), &past(BOTH), "main@sha1:2", DriftMode::Enabled, true);
    assert_eq!(applies(&decision), ["a", "c"]);
    let pruned: Vec<_> = decision.plan.prune.iter().map(|candidate| candidate.id.name.as_str()).collect();
    assert_eq!(pruned, ["b"]);
    assert!(decision.plan.write_ahead.covers(&decision.plan.desired) && decision.plan.write_ahead.len() == 3);
}

#[test]
fn without_prune_what_left_stays() {
    let decision = decide(&planned(&[("a", "1")]), &past(BOTH), "main@sha1:2", DriftMode::Enabled, false);
    assert!(decision.plan.prune.is_empty());
}

#[test]
fn what_a_controller_took_is_applied_when_it_is_due() {
    let mut past = past(BOTH);
    past.due = planned(&[("b", "1")]).into_iter().map(|planned| planned.id.clone()).collect();
    assert_eq!(applies(&decide(&planned(BOTH), &past, "main@sha1:1", DriftMode::Enabled, true)), ["b"]);
}

#[test]
fn without_watches_everything_is_applied_each_time() {
    let decision = decide(&planned(BOTH), &past(BOTH), "main@sha1:1", DriftMode::Disabled, true);
    assert_eq!(applies(&decision), ["a", "b"]);
}

#[test]
fn after_a_restart_at_the_same_revision_nothing_is_applied_but_all_is_compared() {
    let decision = decide(&planned(BOTH), &restarted(BOTH), "main@sha1:1", DriftMode::Enabled, true);
    assert!(decision.plan.is_idle());
    assert_eq!(decision.memory, Memory::Unverified);
}

#[test]
fn after_a_restart_everything_is_applied_where_it_cannot_be_known_what_was() {
    let moved = decide(&planned(BOTH), &restarted(BOTH), "main@sha1:2", DriftMode::Warn, true);
    assert_eq!((applies(&moved), moved.memory), (vec!["a", "b"], Memory::Witnessed));
    let failed = Past { whole: false, ..restarted(BOTH) };
    assert_eq!(
        applies(&decide(&planned(BOTH), &failed, "main@sha1:1", DriftMode::Enabled, true)),
        ["a", "b"]
    );
    let unrecorded = restarted(&[("a", "1")]);
    assert_eq!(
        applies(&decide(&planned(BOTH), &unrecorded, "main@sha1:1", DriftMode::Enabled, true)),
        ["a", "b"]
    );
    let never = Past { revision: None, whole: false, ..restarted(&[]) };
    assert_eq!(decide(&planned(BOTH), &never, "main@sha1:1", DriftMode::Enabled, true).memory, Memory::Fresh);
}

#[test]
fn a_rendering_without_objects_is_refused_where_it_would_prune_everything() {
    let object = |prune: bool, annotation: &str| -> Kustomization {
        serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": { "name": "apps", "annotations": { ALLOW_EMPTY: annotation } },
            "spec": { "interval": "1m", "prune": prune, "sourceRef": { "kind": "GitRepository", "name": "repo" } }
        }))
        .unwrap()
    };
    let (nothing, before) = (Inventory::default(), past(BOTH).inventory);
    let refused = |object: &Kustomization, planned: &[Arc<Planned>], before: &Inventory, flag: bool| {
        reject_empty(object, planned, before, flag).is_err()
    };
    assert!(refused(&object(true, "false"), &[], &before, false));
    assert!(!refused(&object(true, "true"), &[], &before, false), "the annotation allows it");
    assert!(!refused(&object(true, ""), &[], &before, true), "the flag allows it");
    assert!(!refused(&object(false, ""), &[], &before, false), "nothing is pruned");
    assert!(!refused(&object(true, ""), &[], &nothing, false), "nothing was applied");
    assert!(!refused(&object(true, ""), &planned(BOTH), &before, false));
}

#[test]
fn only_a_prune_of_nearly_everything_is_large() {
    let large = [(19, 20), (20, 20), (95, 100), (10, 10)];
    assert!(large.iter().all(|(deleted, before)| is_large(*deleted, *before)));
    let small = [(0, 0), (9, 9), (94, 100), (10, 20)];
    assert!(!small.iter().any(|(deleted, before)| is_large(*deleted, *before)));
}

fn facts(source: Source, dependency: Option<DependencyState>) -> Facts {
    Facts {
        source,
        cycle: None,
        dependencies: dependency
            .map(|standing| (NamespacedName::new("apps", "base"), standing))
            .into_iter()
            .collect(),
    }
}

fn artifact() -> Source {
    Source::Holds(Box::new(Artifact {
        digest: format!("sha256:{}", "0".repeat(64)),
        last_update_time: "2026-11-25T06:30:00Z".parse().unwrap(),
        metadata: BTreeMap::new(),
        path: "p".into(),
        revision: "main@sha1:2".into(),
        size: None,
        url: "http://source/p".into(),
    }))
}

#[test]
fn an_attempt_waits_for_its_source_and_for_what_comes_first() {
    let valid = Valid {
        source: SourceRef::new(SourceKind::GitRepository, NamespacedName::new("flux-system", "repo")),
        source_ref: "GitRepository/repo".into(),
        depends_on: Vec::new(),
        wait: false,
        health_checks: Vec::new(),
        mode: DriftMode::Enabled,
    };
    let of = |kind, ready, source: &str, revision: &str| DependencyState::There {
        ready,
        source: SourceRef::new(kind, NamespacedName::new("flux-system", source)),
        revision: Some(revision.to_owned()),
    };
    let there = |ready, source: &str, revision: &str| of(SourceKind::GitRepository, ready, source, revision);
    for (facts, text) in [
        (facts(Source::Missing, None), "Source 'GitRepository/repo' not found"),
        (facts(Source::Empty, None), "Source artifact not found"),
        (facts(artifact(), Some(DependencyState::Missing)), "dependency 'apps/base' not found"),
        (facts(artifact(), Some(there(false, "repo", "main@sha1:2"))), "dependency 'apps/base' is not ready"),
        (
            facts(artifact(), Some(there(true, "repo", "main@sha1:1"))),
            "dependency 'apps/base' revision is not up to date",
        ),
    ] {
        assert_eq!(ready(&facts, &valid).unwrap_err().to_string(), text);
    }
    assert!(ready(&facts(artifact(), Some(there(true, "repo", "main@sha1:2"))), &valid).is_ok());
    assert!(ready(&facts(artifact(), Some(there(true, "another", "main@sha1:1"))), &valid).is_ok());
    // A source of another kind with the same name is another source: its revision is not compared.
    let bucket = of(SourceKind::Bucket, true, "repo", "latest@sha256:1");
    assert!(ready(&facts(artifact(), Some(bucket)), &valid).is_ok());
}

#[test]
fn what_is_due_at_the_interval_is_due_however_urgent_the_attempt_is() {
    for (priority, interval_due, expect) in [
        (Priority::Revision, false, false),
        (Priority::Revision, true, true),
        (Priority::Bookkeeping, true, true),
        (Priority::Interval, false, true),
        (Priority::Forced, false, true),
    ] {
        assert_eq!(is_at_interval(priority, interval_due), expect, "{priority:?} {interval_due}");
    }
}
