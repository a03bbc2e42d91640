//! Whether, when and with what drift is corrected, and which kind of writer is behind a write.

use plumb_api::kustomize::Confidence;
use serde_json::json;

use super::*;
use crate::rules::{Debounce, Due, Finding, Restore, attribution};
use plumb_planning::fixtures::{at, deployment, deployment_fields, entry, id};
use plumb_planning::inventory::Inventory;

fn replicas() -> Value {
    json!({"f:spec": {"f:replicas": {}}})
}

#[test]
fn what_may_be_corrected_depends_on_object_kustomization_and_mode() {
    let usual =
        Situation { mode: DriftMode::Enabled, suspended: false, policy: Policy::Override, deleting: false };
    assert_eq!(usual.allows(), Ok(()));
    assert_eq!(Situation { mode: DriftMode::Warn, ..usual }.allows(), Err(SkipReason::WarnMode));
    assert_eq!(Situation { suspended: true, ..usual }.allows(), Err(SkipReason::Suspended));
    assert_eq!(Situation { deleting: true, ..usual }.allows(), Err(SkipReason::BeingDeleted));
    assert_eq!(Situation { policy: Policy::Ignore, ..usual }.allows(), Err(SkipReason::SsaIgnore));
}

#[test]
fn the_mode_of_an_object_comes_from_its_annotation_and_never_from_a_typo() {
    let mut object = deployment(3, "web:1", &[]);
    assert_eq!(mode_of(DriftMode::Warn, &object), Ok(DriftMode::Warn));
    object.set_annotation("kustomize.toolkit.fluxcd.io/drift-detection", "Disabled");
    assert_eq!(mode_of(DriftMode::Enabled, &object), Ok(DriftMode::Disabled));
    object.set_annotation("kustomize.toolkit.fluxcd.io/drift-detection", "of");
    let text = mode_of(DriftMode::Enabled, &object).unwrap_err().to_string();
    assert!(text.contains("\"of\"") && text.contains("Deployment/prod/web"), "{text}");
}

#[test]
fn writers_differ_by_manager_and_subresource() {
    let tools = Tools::default();
    for (manager, subresource, expect) in [
        ("kubectl-edit", "", WriterKind::Person),
        ("kubectl", "scale", WriterKind::Person),
        ("OpenLens", "", WriterKind::Person),
        ("Mozilla", "", WriterKind::Person),
        ("kube-controller-manager", "scale", WriterKind::Controller),
        ("horizontal-pod-autoscaler", "", WriterKind::Controller),
        ("my-operator", "", WriterKind::Controller),
        ("whoever", "scale", WriterKind::Controller),
        ("whoever", "", WriterKind::Other),
        ("kustomize-controller", "", WriterKind::Other),
    ] {
        assert_eq!(tools.writer_kind(manager, subresource), expect, "{manager}/{subresource}");
    }
}

#[test]
fn fields_of_a_controller_are_left_for_the_interval_and_the_rest_is_corrected() {
    let ours = entry("kustomize-controller", "Apply", "", Some(0), &deployment_fields());
    let expected = deployment(3, "web:1", &[ours]);
    let autoscaler = entry("kube-controller-manager", "Update", "scale", None, &replicas());
    let containers = deployment_fields()["f:spec"]["f:template"].clone();
    let person = entry("kubectl-edit", "Update", "", Some(2), &json!({"f:spec": {"f:template": containers}}));
    let live = deployment(8, "web:2", &[autoscaler, person]);
    let tools = Tools::default();
    assert!(controller_may_hold(&expected, &live, &tools));
    let finding = Finding::compare(&live, &expected, at(3)).unwrap();
    let (now, later) = split(finding.fields, &tools);
    let paths =
        |fields: &[FieldDrift]| fields.iter().map(|field| field.change.path.to_string()).collect::<Vec<_>>();
    assert_eq!(paths(&now), [".spec.template.spec.containers[name=\"web\"].image"]);
    assert_eq!(paths(&later), [".spec.replicas"]);
    let rest = without(&expected, &later);
    assert_eq!(rest.at(&["spec", "replicas"]), None);
    assert!(rest.at(&["spec", "template"]).is_some());
    assert!(!controller_may_hold(&expected, &deployment(3, "web:1", &[]), &tools));
}

#[test]
fn a_change_is_attributed_exactly_probably_or_not_at_all() {
    use plumb_planning::fields::FieldPath;
    use plumb_planning::managed_fields::entries;
    let path = FieldPath::of(&["spec", "replicas"]);
    let who = |list: &[Value]| attribution::attribute(&entries(Some(&json!(list))), &path, at(9));
    let exact = who(&[entry("kubectl-edit", "Update", "", Some(3), &replicas())]);
    assert_eq!((exact.manager.as_str(), exact.confidence), ("kubectl-edit", Confidence::Exact));
    let other = entry("editor", "Update", "", Some(3), &json!({"f:spec": {"f:paused": {}}}));
    let ours = entry("kustomize-controller", "Apply", "", Some(0), &json!({"f:spec": {"f:template": {}}}));
    let probable = who(&[ours.clone(), other]);
    assert_eq!((probable.manager.as_str(), probable.confidence), ("editor", Confidence::Probable));
    let unknown = who(&[ours]);
    assert_eq!(unknown.confidence, Confidence::Unknown);
}

#[test]
fn comparisons_of_one_object_are_joined_to_one_a_second_after_the_first() {
    let mut pace = Debounce::default();
    assert_eq!(pace.request(at(0)), Due::Now);
    assert_eq!(pace.request(at(0)), Due::At(at(1)));
    assert_eq!(pace.request(at(0)), Due::Joined);
    pace.begin(at(1));
    assert_eq!(pace.request(at(5)), Due::Now);
}

#[test]
fn a_restore_names_objects_or_selects_all() {
    let inventory: Inventory =
        ["prod_a__ConfigMap", "prod_b__ConfigMap"].iter().map(|text| (id(text), "v1".to_owned())).collect();
    let all = Restore::parse("2026-05-01T12:00:00Z").unwrap();
    assert_eq!(all.choose(&inventory).objects.len(), 2);
    let one = Restore::parse("2026-05-01T12:00:00Z prod_a__ConfigMap prod_x__ConfigMap").unwrap();
    let chosen = one.choose(&inventory);
    assert_eq!((chosen.objects.len(), chosen.strangers), (1, vec!["prod_x__ConfigMap".to_owned()]));
    assert!(one.is_handled(Some(&one.raw), None, true, at(0)));
    assert!(!one.is_handled(None, Some(&all.raw), true, at(0)));
    assert!(one.is_handled(None, None, false, at(60)), "older than the process, and no CRD to say so");
    assert!(Restore::parse("now").is_err() && Restore::parse("").is_err());
}
