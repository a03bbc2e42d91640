//! Which events of an object trigger a comparison: the table of the design, row by row.

use serde_json::json;

use super::*;
use crate::fingerprint::Fingerprint;
use crate::fixtures::{entry, object, owner};
use crate::takeover::Takeover;

const LABELS: [(&str, &str); 2] =
    [("kustomize.toolkit.fluxcd.io/name", "apps"), ("kustomize.toolkit.fluxcd.io/namespace", "flux-system")];

/// Metadata at a version, with a generation (0: the kind has none), our entry's second, and other entries.
fn metadata(version: u64, generation: i64, own: i64, others: &[Value]) -> Value {
    let labels: serde_json::Map<_, _> =
        LABELS.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let mut entries =
        vec![entry("kustomize-controller", "Apply", "", Some(own), &json!({"f:data": {"f:a": {}}}))];
    entries.extend_from_slice(others);
    json!({
        "name": "x", "uid": "u1", "resourceVersion": version.to_string(), "generation": generation,
        "labels": labels, "managedFields": entries,
    })
}

fn record(metadata: &Value, watchfulness: Watchfulness) -> Record {
    let live = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}));
    Record::baseline(&live, Fingerprint::default(), watchfulness)
}

#[track_caller]
fn check(watchfulness: Watchfulness, before: &Value, after: &Value, expect: EventAction) {
    let seen = Seen::of(after, &owner(), &Takeover::default(), false);
    assert_eq!(action_for(&record(before, watchfulness), &seen), expect);
}

fn foreign(second: i64) -> Value {
    entry("some-tool", "Update", "", Some(second), &json!({"f:data": {"f:b": {}}}))
}

fn status(second: i64) -> Value {
    entry("kube-controller-manager", "Update", "status", Some(second), &json!({"f:status": {"f:x": {}}}))
}

#[test]
fn an_older_or_known_version_is_stale() {
    let now = metadata(10, 0, 0, &[]);
    check(Watchfulness::Calm, &now, &now, EventAction::Stale);
    check(Watchfulness::Calm, &now, &metadata(9, 0, 5, &[]), EventAction::Stale);
    // A list may show an older version: the cluster was restored from a backup.
    let listed = Seen::of(&metadata(9, 0, 5, &[]), &owner(), &Takeover::default(), true);
    assert_eq!(action_for(&record(&now, Watchfulness::Calm), &listed), EventAction::Compare(Cause::OwnEntry));
}

#[test]
fn a_change_of_our_entry_triggers_even_if_only_its_time_changed() {
    check(
        Watchfulness::Calm,
        &metadata(10, 0, 0, &[]),
        &metadata(11, 0, 1, &[]),
        EventAction::Compare(Cause::OwnEntry),
    );
}

#[test]
fn with_a_generation_an_unexplained_change_triggers() {
    let before = metadata(10, 3, 0, &[]);
    check(Watchfulness::Calm, &before, &metadata(11, 4, 0, &[]), EventAction::Compare(Cause::Generation));
    check(Watchfulness::Calm, &before, &metadata(11, 4, 0, &[foreign(1)]), EventAction::Explained);
    check(Watchfulness::Calm, &before, &metadata(11, 3, 0, &[status(1)]), EventAction::Explained);
}

#[test]
fn without_a_generation_an_unexplained_version_triggers() {
    let before = metadata(10, 0, 0, &[]);
    check(Watchfulness::Calm, &before, &metadata(11, 0, 0, &[]), EventAction::Compare(Cause::Version));
    check(Watchfulness::Calm, &before, &metadata(11, 0, 0, &[foreign(1)]), EventAction::Explained);
    check(Watchfulness::Calm, &before, &metadata(11, 0, 0, &[status(1)]), EventAction::Explained);
}

#[test]
fn a_flagged_object_triggers_on_more_changes() {
    let before = metadata(10, 3, 0, &[]);
    check(
        Watchfulness::Flagged,
        &before,
        &metadata(11, 4, 0, &[foreign(1)]),
        EventAction::Compare(Cause::Flagged),
    );
    check(
        Watchfulness::Flagged,
        &before,
        &metadata(11, 3, 0, &[foreign(1)]),
        EventAction::Compare(Cause::Flagged),
    );
    check(Watchfulness::Flagged, &before, &metadata(11, 3, 0, &[status(1)]), EventAction::Explained);
    let bare = metadata(10, 0, 0, &[]);
    check(
        Watchfulness::Flagged,
        &bare,
        &metadata(11, 0, 0, &[foreign(1)]),
        EventAction::Compare(Cause::Flagged),
    );
    check(
        Watchfulness::ByVersion,
        &before,
        &metadata(11, 3, 0, &[status(1)]),
        EventAction::Compare(Cause::Version),
    );
}

#[test]
fn a_new_uid_lost_labels_and_a_deletion_are_distinguished() {
    let before = metadata(10, 0, 0, &[]);
    let mut again = metadata(11, 0, 0, &[]);
    again["uid"] = "u2".into();
    check(Watchfulness::Calm, &before, &again, EventAction::Compare(Cause::Recreated));
    let mut bare = metadata(11, 0, 0, &[]);
    bare["labels"] = json!({});
    check(Watchfulness::Calm, &before, &bare, EventAction::Compare(Cause::Unlabelled));
    let mut going = metadata(11, 0, 0, &[foreign(2)]);
    going["deletionTimestamp"] = "2026-05-01T12:00:00Z".into();
    check(Watchfulness::Calm, &before, &going, EventAction::Explained);
}

#[test]
fn what_kubectl_adds_triggers_once_and_a_restart_does_not() {
    let kubectl = |second, fields: &Value| entry("kubectl-edit", "Update", "", Some(second), fields);
    let added = kubectl(1, &json!({"f:data": {"f:b": {}}}));
    let before = metadata(10, 3, 0, &[]);
    let after = metadata(11, 4, 0, std::slice::from_ref(&added));
    check(Watchfulness::Calm, &before, &after, EventAction::Compare(Cause::Leftover));
    check(Watchfulness::Calm, &after, &metadata(12, 4, 0, &[added, status(2)]), EventAction::Explained);
    let path = json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {
        ".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}}}});
    check(Watchfulness::Calm, &before, &metadata(11, 4, 0, &[kubectl(1, &path)]), EventAction::Explained);
}
