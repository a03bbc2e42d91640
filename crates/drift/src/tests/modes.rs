//! Modes, suspension, restore and the interval.

use super::*;

#[tokio::test(start_paused = true)]
async fn in_warn_drift_is_flagged_and_not_corrected() {
    let fixture = Fixture::with(&["settings"], DriftMode::Warn, false).await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()));
    assert_eq!(fixture.writes(), ["GET settings", "PATCH settings dry"]);
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftDetected]);
    assert!(emitted[0].1.ends_with("; not corrected: the mode is warn"), "{}", emitted[0].1);
    let drift_report = fixture.report().unwrap();
    assert_eq!(drift_report.condition.unwrap().message, "1 object drifted: ConfigMap/prod/settings");
    let field = &drift_report.drift.unwrap().entries[0].fields[0];
    assert_eq!((field.path.as_str(), field.live.as_deref()), (".data.a", Some("2")));
    assert_eq!(fixture.reports(), 1);
    // Another edit of the field, which our entry does not hold any more.
    fixture.api.edit("settings", "a", "3", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let drift = fixture.report().unwrap().drift.unwrap();
    assert_eq!(drift.entries[0].fields[0].live.as_deref(), Some("3"));
    assert_eq!(fixture.emitted().len(), 1, "the same path is not reported again");
    // Reverted by a user.
    fixture.api.edit("settings", "a", "1", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftDetected, Reason::DriftResolved]);
    assert_eq!(fixture.report().unwrap().condition, None);
}

#[tokio::test(start_paused = true)]
async fn in_warn_the_first_edit_of_each_of_a_few_objects_is_reported_at_once() {
    let fixture = Fixture::with(&["one", "two", "three", "four"], DriftMode::Warn, false).await;
    for (edited, name) in (1..).zip(["one", "two", "three", "four"]) {
        fixture.api.edit(name, "a", "2", "kubectl-edit");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(fixture.reports(), edited, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_warn_a_deleted_object_is_flagged_and_its_return_is_reported() {
    let fixture = Fixture::with(&["settings"], DriftMode::Warn, false).await;
    fixture.api.delete("settings");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "a"), None);
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftDetected]);
    fixture.api.create("settings", "1");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftDetected, Reason::DriftResolved]);
}

#[tokio::test(start_paused = true)]
async fn what_is_suspended_is_flagged_and_corrected_when_it_resumes() {
    let fixture = Fixture::with(&["settings"], DriftMode::Enabled, true).await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()));
    assert!(fixture.emitted()[0].1.ends_with("; not corrected: the Kustomization is suspended"));
    fixture.set_policy(Fixture::policy(DriftMode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftDetected, Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn a_kustomization_that_cannot_be_read_is_suspended_until_it_can() {
    let fixture = Fixture::with(&["settings"], DriftMode::Enabled, false).await;
    fixture.unreadable();
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()));
    // An attempt that began earlier has the spec of its version.
    fixture.set_policy(Fixture::policy(DriftMode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()));
    fixture.set_mode(DriftMode::Enabled, false, Duration::from_mins(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn disabled_compares_nothing_until_it_is_enabled_again() {
    let fixture = Fixture::with(&["settings"], DriftMode::Disabled, false).await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.writes(), Vec::<String>::new());
    fixture.set_policy(Fixture::policy(DriftMode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_disabled_by_itself_is_applied_at_the_interval() {
    let fixture = Fixture::enabled(&["settings"]).await;
    let mut object = settings("settings", &json!({ "a": "1" }));
    object.set_annotation(plumb_api::meta::DRIFT_DETECTION, "disabled");
    fixture.apply(&[object], "main@sha1:2").await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()), "it is not watched");
    let due: Vec<String> = fixture.at_interval().iter().map(ToString::to_string).collect();
    assert_eq!(due, ["ConfigMap/prod/settings"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_the_user_excludes_is_excluded_at_once() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.set_mode(DriftMode::Enabled, true, Duration::from_mins(1));
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()));
    assert_eq!(fixture.open(), 1);
    fixture.set_mode(DriftMode::Enabled, false, Duration::from_mins(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_restore_corrects_once_and_is_acknowledged() {
    let fixture = Fixture::with(&["settings", "extra"], DriftMode::Warn, false).await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let inventory: Inventory = fixture.inventory();
    let raw = "2026-05-01T12:00:09Z prod_settings__ConfigMap prod_ghost__ConfigMap";
    let request = RestoreRequest { raw: raw.to_owned(), echoed: None, crd_echoes: true, inventory };
    fixture.restore(request.clone());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftDetected, Reason::RestoreFailed, Reason::DriftCorrected]);
    assert!(emitted[1].1.contains("prod_ghost__ConfigMap"));
    let drift = fixture.report().unwrap().drift.unwrap();
    assert_eq!((drift.last_handled_restore.as_deref(), drift.objects), (Some(raw), Some(0)));
    // The same request again does nothing.
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    fixture.restore(request.clone());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_controllers_write_waits_for_the_interval() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.edit("settings", "a", "2", "big-operator");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("2".to_owned()));
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftDetected]);
    assert!(
        emitted[0].1.contains("big-operator is a controller: corrected at the interval"),
        "{}",
        emitted[0].1
    );
    let due = fixture.at_interval();
    assert_eq!(due.iter().map(|id| id.name.as_str()).collect::<Vec<_>>(), ["settings"]);
    fixture.apply(&[settings("settings", &json!({"a": "1"}))], "main@sha1:abc").await;
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftDetected, Reason::DriftCorrected]);
    assert!(fixture.at_interval().is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_each_object_is_compared_once_and_only_drift_is_written() {
    let fixture = Fixture::enabled(&["settings", "extra"]).await;
    fixture.forget();
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    let objects =
        Fixture::planned(&[settings("settings", &json!({"a": "1"})), settings("extra", &json!({"a": "1"}))]);
    let policy = Fixture::policy(DriftMode::Enabled, false);
    fixture.adopt_unverified(Managed { policy, objects, applied: Vec::new() });
    assert_eq!(fixture.applied().len(), 2);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut writes = fixture.writes();
    writes.sort();
    assert_eq!(
        writes,
        ["GET extra", "GET settings", "PATCH extra dry", "PATCH settings", "PATCH settings dry"]
    );
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftCorrected]);
    assert_eq!(fixture.known().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_status_stays_until_its_objects_were_compared() {
    let fixture = Fixture::with(&["settings"], DriftMode::Warn, false).await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let drift = fixture.report().unwrap().drift.unwrap();
    fixture.forget();
    fixture.restore_status(&drift);
    assert_eq!(fixture.report(), None);
    let objects = Fixture::planned(&[settings("settings", &json!({"a": "1"}))]);
    let policy = Fixture::policy(DriftMode::Warn, false);
    fixture.adopt_unverified(Managed { policy, objects, applied: Vec::new() });
    assert_eq!(fixture.report(), None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let again = fixture.report().unwrap().drift.unwrap();
    assert_eq!((again.objects, again.entries[0].since), (Some(1), drift.entries[0].since));
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftDetected], "not reported again as new");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_new_revision_reports_the_foreign_values_that_it_overwrites() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.forget();
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    let wanted = [settings("settings", &json!({"a": "3", "b": "new"}))];
    let attempt = fixture.begin().await;
    let budget = plumb_cluster::Budget::lasting(Duration::from_secs(30));
    attempt.read_before_apply(&Fixture::planned(&wanted), &budget).await;
    drop(attempt);
    fixture.apply(&wanted, "main@sha1:def").await;
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftCorrected]);
    assert!(emitted[0].1.contains(".data.a 3 → 2") && !emitted[0].1.contains(".data.b"), "{}", emitted[0].1);
    assert!(emitted[0].1.ends_with("; overwritten by revision main@sha1:def"));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_an_attempt_overwrites_under_its_lock_is_reported() {
    let fixture = Fixture::enabled(&["settings"]).await;
    let attempt = fixture.begin().await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    fixture.apply(&[settings("settings", &json!({"a": "3"}))], "main@sha1:def").await;
    drop(attempt);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftCorrected]);
    assert!(emitted[0].1.contains(".data.a 1 → 2 by kubectl-edit"), "{}", emitted[0].1);
    assert!(emitted[0].1.ends_with("; overwritten by revision main@sha1:def"), "{}", emitted[0].1);
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_writes_itself_is_no_drift_although_the_watch_shows_it_before_the_attempt_ends() {
    let fixture = Fixture::enabled(&["settings"]).await;
    let rest = || tokio::time::sleep(MOMENT);
    // The field `a` changes, and another one comes.
    let wanted = [settings("settings", &json!({"a": "3", "b": "new"}))];
    fixture.apply_and(&wanted, "main@sha1:def", rest()).await;
    assert_eq!(fixture.emitted(), []);
    // And goes again.
    fixture.apply_and(&[settings("settings", &json!({"a": "3"}))], "main@sha1:fed", rest()).await;
    assert_eq!(fixture.emitted(), []);
}

#[tokio::test(start_paused = true)]
async fn an_edit_after_the_write_of_an_attempt_is_not_overwritten_by_it() {
    let fixture = Fixture::enabled(&["settings"]).await;
    let edit = async {
        fixture.api.edit("settings", "a", "9", "kubectl-edit");
        tokio::time::sleep(MOMENT).await;
    };
    fixture.apply_and(&[settings("settings", &json!({"a": "3"}))], "main@sha1:def", edit).await;
    let emitted = fixture.emitted();
    assert!(emitted.iter().all(|(_, text)| !text.contains("overwritten by revision")), "{emitted:?}");
    assert!(emitted.iter().any(|(_, text)| text.contains(".data.a 3 → 9 by kubectl-edit")), "{emitted:?}");
}

#[tokio::test(start_paused = true)]
async fn terms_that_change_during_a_look_count_for_it() {
    let fixture = Fixture::with(&["settings"], DriftMode::Warn, false).await;
    fixture.api.slow_down_reads(Duration::from_secs(1));
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    fixture.set_policy(Fixture::policy(DriftMode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(fixture.api.value("settings", "a"), Some("1".to_owned()));
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn fields_that_kubectl_adds_are_removed_and_reported_or_flagged_in_warn() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.edit("settings", "added", "x", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "added"), None);
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftCorrected]);
    let text = "ConfigMap/prod/settings extra: .data.added (absent) → x by kubectl-edit (Update)";
    assert!(emitted[0].1.starts_with(text), "{}", emitted[0].1);

    let fixture = Fixture::with(&["settings"], DriftMode::Warn, false).await;
    fixture.api.edit("settings", "added", "x", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.api.value("settings", "added"), Some("x".to_owned()));
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftDetected]);
    let drift = fixture.report().unwrap().drift.unwrap();
    assert_eq!(drift.entries[0].class.as_str(), "extra");
    fixture.set_policy(Fixture::policy(DriftMode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(fixture.api.value("settings", "added"), None);
    assert_eq!(reasons(&fixture.emitted()), [Reason::DriftDetected, Reason::DriftCorrected]);
}
