//! Modes, suspension, restore and the interval.

use super::*;

#[tokio::test(start_paused = true)]
async fn in_warn_drift_is_flagged_and_left() {
    let stand = Stand::with(&["settings"], Mode::Warn, false).await;
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("2".to_owned()));
    assert_eq!(stand.writes(), ["GET settings", "PATCH settings dry"]);
    let said = stand.said();
    assert_eq!(reasons(&said), [Reason::DriftDetected]);
    assert!(said[0].1.ends_with("; not corrected: the mode is warn"), "{}", said[0].1);
    let standing = stand.desk.report(&key()).unwrap();
    assert_eq!(standing.condition.unwrap().message, "1 object drifted: ConfigMap/prod/settings");
    let field = &standing.drift.unwrap().entries[0].fields[0];
    assert_eq!((field.path.as_str(), field.live.as_deref()), (".data.a", Some("2")));
    assert_eq!(stand.reports(), 1);
    // Another edit of the field, which our entry does not hold any more.
    stand.api.edit("settings", "a", "3", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let drift = stand.desk.report(&key()).unwrap().drift.unwrap();
    assert_eq!(drift.entries[0].fields[0].live.as_deref(), Some("3"));
    assert_eq!(stand.said().len(), 1, "the same path is no news");
    // Put back by hand.
    stand.api.edit("settings", "a", "1", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(reasons(&stand.said()), [Reason::DriftDetected, Reason::DriftResolved]);
    assert_eq!(stand.desk.report(&key()).unwrap().condition, None);
}

#[tokio::test(start_paused = true)]
async fn in_warn_the_first_edit_of_each_of_a_few_objects_is_reported_at_once() {
    let stand = Stand::with(&["one", "two", "three", "four"], Mode::Warn, false).await;
    for (edited, name) in (1..).zip(["one", "two", "three", "four"]) {
        stand.api.edit(name, "a", "2", "kubectl-edit");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(stand.reports(), edited, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_warn_a_deleted_object_is_flagged_and_its_return_is_told() {
    let stand = Stand::with(&["settings"], Mode::Warn, false).await;
    stand.api.delete("settings");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "a"), None);
    assert_eq!(reasons(&stand.said()), [Reason::DriftDetected]);
    stand.api.create("settings", "1");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(reasons(&stand.said()), [Reason::DriftDetected, Reason::DriftResolved]);
}

#[tokio::test(start_paused = true)]
async fn what_is_suspended_is_flagged_and_corrected_when_it_resumes() {
    let stand = Stand::with(&["settings"], Mode::Enabled, true).await;
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("2".to_owned()));
    assert!(stand.said()[0].1.ends_with("; not corrected: the Kustomization is suspended"));
    stand.desk.set_policy(&key(), Stand::terms(Mode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("1".to_owned()));
    assert_eq!(reasons(&stand.said()), [Reason::DriftDetected, Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn a_kustomization_that_cannot_be_read_is_suspended_until_it_can() {
    let stand = Stand::with(&["settings"], Mode::Enabled, false).await;
    stand.desk.suspend_unreadable(&key());
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("2".to_owned()));
    // An attempt that began before says what its version said.
    stand.desk.set_policy(&key(), Stand::terms(Mode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("2".to_owned()));
    stand.desk.set_mode(&key(), Mode::Enabled, false, Duration::from_mins(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn disabled_looks_at_nothing_until_it_is_enabled_again() {
    let stand = Stand::with(&["settings"], Mode::Disabled, false).await;
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stand.writes(), Vec::<String>::new());
    stand.desk.set_policy(&key(), Stand::terms(Mode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_disabled_by_itself_is_applied_at_the_interval() {
    let stand = Stand::enabled(&["settings"]).await;
    let mut object = settings("settings", &json!({ "a": "1" }));
    object.set_annotation(plumb_api::meta::DRIFT_DETECTION, "disabled");
    stand.apply(&[object], "main@sha1:2").await;
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("2".to_owned()), "it is not watched");
    let due: Vec<String> = stand.desk.at_interval(&key()).iter().map(ToString::to_string).collect();
    assert_eq!(due, ["ConfigMap/prod/settings"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_user_asks_to_be_left_alone_is_left_alone_at_once() {
    let stand = Stand::enabled(&["settings"]).await;
    stand.desk.set_mode(&key(), Mode::Enabled, true, Duration::from_mins(1));
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("2".to_owned()));
    assert_eq!(stand.desk.report(&key()).unwrap().flagged.len(), 1);
    stand.desk.set_mode(&key(), Mode::Enabled, false, Duration::from_mins(1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_restore_puts_back_once_and_is_echoed() {
    let stand = Stand::with(&["settings", "extra"], Mode::Warn, false).await;
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let inventory: Inventory = stand.inventory();
    let raw = "2026-05-01T12:00:09Z prod_settings__ConfigMap prod_ghost__ConfigMap";
    let request = RestoreRequest { raw, echoed: None, crd_echoes: true, inventory: &inventory };
    stand.desk.restore(&key(), request);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("1".to_owned()));
    let said = stand.said();
    assert_eq!(reasons(&said), [Reason::DriftDetected, Reason::RestoreFailed, Reason::DriftCorrected]);
    assert!(said[1].1.contains("prod_ghost__ConfigMap"));
    let drift = stand.desk.report(&key()).unwrap().drift.unwrap();
    assert_eq!((drift.last_handled_restore.as_deref(), drift.objects), (Some(raw), Some(0)));
    // The same request again does nothing.
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    stand.desk.restore(&key(), request);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_controllers_write_waits_for_the_interval() {
    let stand = Stand::enabled(&["settings"]).await;
    stand.api.edit("settings", "a", "2", "big-operator");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("2".to_owned()));
    let said = stand.said();
    assert_eq!(reasons(&said), [Reason::DriftDetected]);
    assert!(said[0].1.contains("big-operator is a controller: corrected at the interval"), "{}", said[0].1);
    let due = stand.desk.at_interval(&key());
    assert_eq!(due.iter().map(|id| id.name.as_str()).collect::<Vec<_>>(), ["settings"]);
    stand.apply(&[settings("settings", &json!({"a": "1"}))], "main@sha1:abc").await;
    assert_eq!(reasons(&stand.said()), [Reason::DriftDetected, Reason::DriftCorrected]);
    assert!(stand.desk.at_interval(&key()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_each_object_is_compared_once_and_only_drift_is_written() {
    let stand = Stand::enabled(&["settings", "extra"]).await;
    stand.desk.forget(&key());
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    let objects =
        Stand::planned(&[settings("settings", &json!({"a": "1"})), settings("extra", &json!({"a": "1"}))]);
    let terms = Stand::terms(Mode::Enabled, false);
    stand.desk.adopt_unverified(&key(), Managed { terms, objects, changes: Vec::new() });
    assert_eq!(stand.desk.applied(&key()).len(), 2);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut writes = stand.writes();
    writes.sort();
    assert_eq!(
        writes,
        ["GET extra", "GET settings", "PATCH extra dry", "PATCH settings", "PATCH settings dry"]
    );
    assert_eq!(reasons(&stand.said()), [Reason::DriftCorrected]);
    assert_eq!(stand.desk.known(&key()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_status_stays_until_what_it_names_was_compared() {
    let stand = Stand::with(&["settings"], Mode::Warn, false).await;
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let drift = stand.desk.report(&key()).unwrap().drift.unwrap();
    stand.desk.forget(&key());
    stand.desk.restore_status(&key(), &drift);
    assert_eq!(stand.desk.report(&key()), None);
    let objects = Stand::planned(&[settings("settings", &json!({"a": "1"}))]);
    let terms = Stand::terms(Mode::Warn, false);
    stand.desk.adopt_unverified(&key(), Managed { terms, objects, changes: Vec::new() });
    assert_eq!(stand.desk.report(&key()), None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let again = stand.desk.report(&key()).unwrap().drift.unwrap();
    assert_eq!((again.objects, again.entries[0].since), (Some(1), drift.entries[0].since));
    assert_eq!(reasons(&stand.said()), [Reason::DriftDetected], "not told again as news");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_new_revision_tells_the_foreign_values_that_it_overwrites() {
    let stand = Stand::enabled(&["settings"]).await;
    stand.desk.forget(&key());
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    let wanted = [settings("settings", &json!({"a": "3", "b": "new"}))];
    let hold = stand.desk.lock_for_attempt(&key()).await;
    let budget = plumb_cluster::Budget::lasting(Duration::from_secs(30));
    stand.desk.read_before_apply(&key(), &Stand::planned(&wanted), &budget).await;
    drop(hold);
    stand.apply(&wanted, "main@sha1:def").await;
    let said = stand.said();
    assert_eq!(reasons(&said), [Reason::DriftCorrected]);
    assert!(said[0].1.contains(".data.a 3 → 2") && !said[0].1.contains(".data.b"), "{}", said[0].1);
    assert!(said[0].1.ends_with("; overwritten by revision main@sha1:def"));
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_an_attempt_overwrites_while_it_holds_the_pen_is_told() {
    let stand = Stand::enabled(&["settings"]).await;
    let hold = stand.desk.lock_for_attempt(&key()).await;
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    stand.apply(&[settings("settings", &json!({"a": "3"}))], "main@sha1:def").await;
    drop(hold);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let said = stand.said();
    assert_eq!(reasons(&said), [Reason::DriftCorrected]);
    assert!(said[0].1.contains(".data.a 1 → 2 by kubectl-edit"), "{}", said[0].1);
    assert!(said[0].1.ends_with("; overwritten by revision main@sha1:def"), "{}", said[0].1);
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_writes_itself_is_no_drift_although_the_watch_shows_it_before_the_attempt_ends() {
    let stand = Stand::enabled(&["settings"]).await;
    let rest = || tokio::time::sleep(MOMENT);
    // The field `a` changes, and another one comes.
    let wanted = [settings("settings", &json!({"a": "3", "b": "new"}))];
    stand.apply_and(&wanted, "main@sha1:def", rest()).await;
    assert_eq!(stand.said(), []);
    // And goes again.
    stand.apply_and(&[settings("settings", &json!({"a": "3"}))], "main@sha1:fed", rest()).await;
    assert_eq!(stand.said(), []);
}

#[tokio::test(start_paused = true)]
async fn an_edit_after_the_write_of_an_attempt_is_not_overwritten_by_it() {
    let stand = Stand::enabled(&["settings"]).await;
    let edit = async {
        stand.api.edit("settings", "a", "9", "kubectl-edit");
        tokio::time::sleep(MOMENT).await;
    };
    stand.apply_and(&[settings("settings", &json!({"a": "3"}))], "main@sha1:def", edit).await;
    let said = stand.said();
    assert!(said.iter().all(|(_, text)| !text.contains("overwritten by revision")), "{said:?}");
    assert!(said.iter().any(|(_, text)| text.contains(".data.a 3 → 9 by kubectl-edit")), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn terms_that_change_during_a_look_count_for_it() {
    let stand = Stand::with(&["settings"], Mode::Warn, false).await;
    stand.api.slow_down_reads(Duration::from_secs(1));
    stand.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    stand.desk.set_policy(&key(), Stand::terms(Mode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(stand.api.value("settings", "a"), Some("1".to_owned()));
    assert_eq!(reasons(&stand.said()), [Reason::DriftCorrected]);
}

#[tokio::test(start_paused = true)]
async fn what_kubectl_adds_is_removed_and_told_or_flagged_in_warn() {
    let stand = Stand::enabled(&["settings"]).await;
    stand.api.edit("settings", "added", "x", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "added"), None);
    let said = stand.said();
    assert_eq!(reasons(&said), [Reason::DriftCorrected]);
    let text = "ConfigMap/prod/settings extra: .data.added (absent) → x by kubectl-edit (Update)";
    assert!(said[0].1.starts_with(text), "{}", said[0].1);

    let stand = Stand::with(&["settings"], Mode::Warn, false).await;
    stand.api.edit("settings", "added", "x", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stand.api.value("settings", "added"), Some("x".to_owned()));
    assert_eq!(reasons(&stand.said()), [Reason::DriftDetected]);
    let drift = stand.desk.report(&key()).unwrap().drift.unwrap();
    assert_eq!(drift.entries[0].class.as_str(), "extra");
    stand.desk.set_policy(&key(), Stand::terms(Mode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stand.api.value("settings", "added"), None);
    assert_eq!(reasons(&stand.said()), [Reason::DriftDetected, Reason::DriftCorrected]);
}
