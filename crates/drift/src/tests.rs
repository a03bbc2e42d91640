//! The loop before a mock API server: what it requests, writes and reports. What the server makes of it is tested on a real
//! one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumb_api::kustomize::DriftMode;
use plumb_planning::inventory::Inventory;
use plumb_status::Reason;
use serde_json::json;

use super::*;
use crate::rules::*;
use crate::state::*;
use fixture::{Fixture, settings};

mod api;
mod failures;
mod fixture;
mod modes;
mod seeing;
mod stories;
mod vanishing;

/// Long enough for everything that is due at once.
const MOMENT: Duration = Duration::from_millis(300);

fn reasons(emitted: &[(Reason, String)]) -> Vec<Reason> {
    emitted.iter().map(|(reason, _)| *reason).collect()
}

#[tokio::test(start_paused = true)]
async fn an_edit_is_corrected_at_once_and_reported_with_its_author() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
    assert_eq!(fixture.writes(), ["GET settings", "PATCH settings"]);
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftCorrected]);
    assert!(
        emitted[0]
            .1
            .starts_with("ConfigMap/prod/settings drifted: .data.a 1 → 2 by kubectl-edit (Update) at"),
        "{}",
        emitted[0].1
    );
    assert!(emitted[0].1.contains("; corrected in "), "{}", emitted[0].1);
    // Corrected at once: no status.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(fixture.reports(), 0);
    assert_eq!(fixture.report().unwrap().condition, None);
    // Our own write arrived as an event and triggered nothing.
    assert_eq!(fixture.writes(), ["GET settings", "PATCH settings"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_is_recreated() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.delete("settings");
    tokio::time::sleep(MOMENT).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftCorrected]);
    assert!(
        emitted[0].1.starts_with("ConfigMap/prod/settings missing: deleted by an unknown client"),
        "{}",
        emitted[0].1
    );
}

#[tokio::test(start_paused = true)]
async fn stripped_owner_labels_are_restored() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.strip("settings");
    tokio::time::sleep(MOMENT).await;
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftCorrected]);
    assert!(
        emitted[0].1.starts_with("ConfigMap/prod/settings disowned: .metadata.labels"),
        "{}",
        emitted[0].1
    );
    assert!(fixture.api.is_labelled("settings"));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_another_kustomization_has_taken_over_is_left_to_it() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.change_owner("settings", fixture::NEIGHBOUR);
    tokio::time::sleep(MOMENT).await;
    assert_eq!(fixture.writes(), ["GET settings", "PATCH settings dry"], "looked at, not written");
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftDetected]);
    assert!(emitted[0].1.contains("it belongs to Kustomization/flux-system/neighbour"), "{}", emitted[0].1);
    // A name that no Kustomization has is only a label that a user changed.
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.change_owner("settings", "nobody");
    tokio::time::sleep(MOMENT).await;
    assert!(fixture.api.is_labelled("settings"));
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn writes_that_touch_nothing_of_ours_cost_no_request() {
    let fixture = Fixture::enabled(&["settings"]).await;
    for number in 0..200 {
        fixture.api.edit("settings", "other", &number.to_string(), "some-tool");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.writes(), Vec::<String>::new());
    assert_eq!(fixture.emitted(), []);
}

#[tokio::test(start_paused = true)]
async fn what_a_relist_does_not_show_is_recreated() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.vanish("settings");
    fixture.api.end_watches();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn many_objects_within_a_second_are_reported_in_one_event() {
    let names: Vec<String> = (0..40).map(|number| format!("settings{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fixture = Fixture::enabled(&names).await;
    for name in &names {
        fixture.api.edit(name, "a", "2", "kubectl-edit");
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let emitted = fixture.emitted();
    let summaries =
        emitted.iter().filter(|(_, text)| text.starts_with("40 objects drifted within a second")).count();
    assert_eq!((summaries, emitted.len()), (1, 6), "{emitted:?}");
    assert!(names.iter().all(|name| fixture.api.value(name, "a") == Some("1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn comparisons_of_one_object_are_joined_to_one_a_second() {
    let fixture = Fixture::with(&["settings"], DriftMode::Warn, false).await;
    for number in 0..50 {
        fixture.api.edit("settings", "a", &format!("x{number}"), "kubectl-edit");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let looks = fixture.writes().iter().filter(|line| line.starts_with("GET")).count();
    assert!((2..=3).contains(&looks), "{looks}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_an_attempt_holds_the_lock() {
    let fixture = Fixture::enabled(&["settings"]).await;
    let attempt = fixture.begin().await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The attempt may overwrite it: the values that would be lost are read.
    assert_eq!(fixture.writes(), ["GET settings", "PATCH settings dry"]);
    fixture.api.scenario.forget_calls();
    drop(attempt);
    tokio::time::sleep(MOMENT).await;
    assert_eq!(fixture.writes(), ["GET settings", "PATCH settings"]);
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_waits_for_the_correction_in_flight() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.slow_down(Duration::from_secs(2));
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()), "the write is under way");
    let attempt = fixture.begin().await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()), "the write has ended");
    drop(attempt);
}

#[tokio::test(start_paused = true)]
async fn contention_over_a_field_backs_off_and_is_reported_when_it_begins_and_ends() {
    let fixture = Fixture::enabled(&["settings"]).await;
    for number in 0..60 {
        fixture.api.edit("settings", "a", &format!("x{number}"), "stubborn");
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    let corrections = fixture.writes().iter().filter(|line| *line == "PATCH settings").count();
    assert!((6..=10).contains(&corrections), "{corrections}");
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
    let emitted = fixture.emitted();
    let reported: Vec<_> = emitted.iter().filter(|(reason, _)| *reason == Reason::DriftContention).collect();
    let [(_, begins), (_, ends)] = reported[..] else { panic!("{reported:?}") };
    assert!(begins.contains("stubborn changed .data.a again after each of 4 corrections"), "{begins}");
    assert!(ends.contains("stubborn has not changed .data.a for 10 s"), "{ends}");
}

#[tokio::test(start_paused = true)]
async fn a_busy_day_is_no_contention() {
    let fixture = Fixture::enabled(&["settings"]).await;
    for number in 0..8 {
        fixture.api.edit("settings", &format!("key-{number}"), "x", "kubectl-edit");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(fixture.writes().ends_with(&["PATCH settings".to_owned()]), "edit {number}");
        fixture.api.scenario.forget_calls();
    }
    assert!(fixture.emitted().iter().all(|(reason, _)| *reason == Reason::DriftCorrected));
}

#[tokio::test(start_paused = true)]
async fn contention_over_one_field_is_no_cover_for_another() {
    let fixture = Fixture::enabled(&["settings"]).await;
    for number in 0..12 {
        fixture.api.edit("settings", "a", &format!("x{number}"), "stubborn");
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    fixture.api.edit("settings", "a", "stands", "stubborn");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("stands".to_owned()), "its correction waits");
    fixture.api.scenario.forget_calls();
    fixture.api.edit("settings", "other", "x", "kubectl-edit");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(fixture.writes().contains(&"PATCH settings".to_owned()), "{:?}", fixture.writes());
    fixture.api.edit("settings", "a", "stands", "stubborn");
    fixture.api.delete("settings");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()), "a deleted object is recreated");
}

#[tokio::test(start_paused = true)]
async fn a_new_revision_reports_what_it_overwrote() {
    let fixture = Fixture::with(&["settings"], DriftMode::Warn, false).await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    fixture.apply(&[settings("settings", &json!({"a": "3"}))], "main@sha1:def").await;
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftDetected, Reason::DriftCorrected]);
    assert!(emitted[1].1.ends_with("; overwritten by revision main@sha1:def"), "{}", emitted[1].1);
    assert_eq!(fixture.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_drift_loop_ends_with_the_process_and_releases_deleted_owners() {
    let fixture = Fixture::enabled(&["settings"]).await;
    let held = fixture.drift.snapshot(&fixture::owner());
    fixture.forget();
    assert_eq!((held.get(), fixture.drift.0.snapshots_kept()), (None, 0));
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.writes(), Vec::<String>::new());
    assert!(!fixture.is_known() && fixture.applied().is_empty());
    fixture.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), fixture.drift.closed()).await.unwrap();
}
