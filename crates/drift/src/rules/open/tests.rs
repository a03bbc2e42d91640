//! When open drift is reported first and again, and what the status lists.

use serde_json::json;

use super::*;
use crate::rules::{EventAggregator, aggregate, report};
use plumb_planning::fixtures::{at, deployment, deployment_fields, entry, id};

fn web() -> ObjectId {
    id("prod_web_apps_Deployment")
}

/// Replicas went from 3 to this number through `/scale`, as kubectl does.
fn scaled(to: i64) -> Finding {
    let ours = entry("kustomize-controller", "Apply", "", Some(-60), &deployment_fields());
    let scale = entry("kubectl", "Update", "scale", None, &json!({"f:spec": {"f:replicas": {}}}));
    let live = deployment(to, "web:1", &[scale]);
    Finding::compare(&live, &deployment(3, "web:1", &[ours]), at(3)).unwrap()
}

fn texts(events: &[DriftEvent]) -> Vec<String> {
    events
        .iter()
        .map(|drift_event| format!("{}: {}", drift_event.event.reason, drift_event.event.message))
        .collect()
}

fn open_drift() -> OpenDrift {
    let mut open_drift = OpenDrift::default();
    open_drift.set_revision("main@sha1:abc");
    open_drift
}

#[test]
fn a_correction_reports_fields_manager_time_and_duration() {
    let mut open_drift = open_drift();
    let emitted = open_drift.corrected(&web(), &scaled(8), Duration::from_millis(14), None, at(3));
    assert_eq!(
        texts(&emitted),
        [
            "DriftCorrected: Deployment/prod/web drifted: .spec.replicas 3 → 8 by kubectl (Update, /scale) seen at 12:00:03Z; corrected in 14 ms"
        ]
    );
    let metadata = &emitted[0].event.metadata;
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-class"], "drifted");
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-manager"], "kubectl");
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-paths"], ".spec.replicas");
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-since"], "2026-05-01T12:00:03Z");
    assert_eq!(metadata["revision"], "main@sha1:abc");
    let emitted = open_drift.corrected(&web(), &scaled(8), Duration::ZERO, Some("main@sha1:def"), at(3));
    assert!(texts(&emitted)[0].ends_with("; overwritten by revision main@sha1:def"));
}

#[test]
fn drift_that_is_corrected_within_the_grace_is_never_open() {
    let mut open_drift = open_drift();
    assert!(open_drift.open(&web(), scaled(8), "", ReportAfter::AfterGrace, at(3)).is_empty());
    assert_eq!(report::condition(&open_drift, at(4)), None);
    assert!(open_drift.due(at(7)).is_empty());
    assert_eq!(open_drift.next_due(), Some(at(8)));
    assert_eq!(texts(&open_drift.due(at(8))).len(), 1);
    assert!(report::condition(&open_drift, at(8)).is_some());
    let emitted = open_drift.corrected(&web(), &scaled(8), Duration::from_secs(7), None, at(10));
    assert!(texts(&emitted)[0].starts_with("DriftCorrected"));
    assert!(!open_drift.is_open(&web()));
}

#[test]
fn open_drift_is_reported_once_and_again_after_a_day_or_when_it_changes() {
    let mut open_drift = open_drift();
    let first = open_drift.open(&web(), scaled(8), "the mode is warn", ReportAfter::AtOnce, at(3));
    assert!(texts(&first)[0].ends_with("; not corrected: the mode is warn"), "{:?}", texts(&first));
    assert!(open_drift.open(&web(), scaled(9), "the mode is warn", ReportAfter::AtOnce, at(60)).is_empty());
    let missing =
        open_drift.open(&web(), Finding::missing(at(70)), "the mode is warn", ReportAfter::AtOnce, at(70));
    assert_eq!(missing.len(), 1);
    assert!(open_drift.due(at(71)).is_empty());
    let day = 24 * 3600;
    assert_eq!(open_drift.due(at(70 + day)).len(), 1);
    assert_eq!(open_drift.next_due(), Some(at(70 + 2 * day)));
    let emitted = open_drift.clean(&web(), at(100 + day));
    assert!(
        texts(&emitted)[0]
            .starts_with("DriftResolved: Deployment/prod/web resolved: the object exists again")
    );
    assert!(open_drift.clean(&web(), at(101 + day)).is_empty());
}

#[test]
fn drift_in_the_status_is_not_reported_again_after_a_restart() {
    let mut before = open_drift();
    before.open(&web(), scaled(8), "the mode is warn", ReportAfter::AtOnce, at(3));
    let status = report::status(&before, None, at(4)).unwrap();
    let mut after = open_drift();
    report::remember(&mut after, &status);
    assert!(after.open(&web(), scaled(8), "the mode is warn", ReportAfter::AtOnce, at(600)).is_empty());
    assert_eq!(after.get(&web()).unwrap().since, at(3));
    let mut other = open_drift();
    report::remember(&mut other, &status);
    assert_eq!(texts(&other.clean(&web(), at(600))).len(), 1);
}

#[test]
fn the_status_lists_a_bounded_number_and_counts_all() {
    let mut open_drift = open_drift();
    for number in 0..30 {
        let id = id(&format!("prod_web{number:02}_apps_Deployment"));
        open_drift.open(&id, scaled(8), "", ReportAfter::AtOnce, at(3));
    }
    let condition = report::condition(&open_drift, at(3)).unwrap();
    assert_eq!(
        condition.message,
        "30 objects drifted: Deployment/prod/web00, Deployment/prod/web01, Deployment/prod/web02 and 27 more"
    );
    let status = report::status(&open_drift, Some("2026-05-01T12:00:00Z"), at(3)).unwrap();
    assert_eq!((status.entries.len(), status.objects), (20, Some(30)));
    let field = &status.entries[0].fields[0];
    assert_eq!((field.desired.as_deref(), field.live.as_deref()), (Some("3"), Some("8")));
    assert_eq!(report::status(&super::OpenDrift::default(), None, at(3)), None);
}

#[test]
fn more_than_twenty_objects_in_a_second_are_reported_in_one_event() {
    let events = |count: usize| -> Vec<DriftEvent> {
        let mut open_drift = open_drift();
        let ids = (0..count).map(|number| id(&format!("prod_web{number:02}_apps_Deployment")));
        ids.flat_map(|id| open_drift.open(&id, scaled(8), "", ReportAfter::AtOnce, at(3))).collect()
    };
    let mut few = EventAggregator::default();
    assert_eq!(few.offer(events(20), at(3)).len(), aggregate::AT_ONCE);
    assert_eq!(few.next_due(), Some(at(4)));
    assert_eq!(few.due(at(4)).len(), 20 - aggregate::AT_ONCE);
    let mut many = EventAggregator::default();
    many.offer(events(50), at(3));
    let summary = many.due(at(4));
    assert_eq!(summary.len(), 1);
    assert!(summary[0].message.starts_with("50 objects drifted within a second"), "{}", summary[0].message);
    assert_eq!(summary[0].metadata["event.toolkit.fluxcd.io/drift-manager"], "kubectl");
    assert!(many.due(at(9)).is_empty());
}

#[test]
fn drift_held_by_a_controller_stays_open_and_unreported_while_the_rest_is_corrected() {
    let mut open_drift = open_drift();
    assert_eq!(open_drift.open(&web(), scaled(8), "held", ReportAfter::AtOnce, at(3)).len(), 1);
    let image = Finding { seen: at(9), ..scaled(5) };
    let emitted = open_drift.corrected_in_part(&web(), &image, Duration::ZERO, (scaled(8), "held"), at(9));
    assert_eq!(
        emitted.iter().map(|drift_event| drift_event.event.reason).collect::<Vec<_>>(),
        [Reason::DriftCorrected]
    );
    assert_eq!(open_drift.get(&web()).unwrap().since, at(3));
}
