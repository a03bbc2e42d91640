//! Reports must not leak values, and counters must be correct.

use super::*;

#[tokio::test(start_paused = true)]
async fn no_value_of_a_secret_is_reported_or_stored_in_a_status() {
    let fixture = Fixture::secret("hunter1").await;
    fixture.api.edit("login", "password", "aHVudGVyMg==", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let emitted = fixture.emitted();
    assert_eq!(reasons(&emitted), [Reason::DriftDetected]);
    assert!(
        emitted[0].1.contains(".data.password (sensitive) → (sensitive) by kubectl-edit"),
        "{}",
        emitted[0].1
    );
    let all = format!("{emitted:?} {:?} {:?}", fixture.report(), fixture.known());
    for value in ["hunter", "aHVudGVy"] {
        assert!(!all.contains(value), "{all}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_carry_the_keys_by_which_alerts_route_them() {
    let fixture = Fixture::enabled(&["settings"]).await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(MOMENT).await;
    let metadata: BTreeMap<String, String> = fixture.metadata().remove(0);
    let expect = [
        ("event.toolkit.fluxcd.io/drift-class", "drifted"),
        ("event.toolkit.fluxcd.io/drift-manager", "kubectl-edit"),
        ("event.toolkit.fluxcd.io/drift-paths", ".data.a"),
        ("originRevision", "v1.0@sha1:000"),
        ("revision", "main@sha1:abc"),
    ];
    for (name, value) in expect {
        assert_eq!(metadata.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_managed_corrected_and_flagged_is_counted() {
    let fixture = Fixture::with(&["settings", "extra"], DriftMode::Warn, false).await;
    fixture.api.edit("settings", "a", "2", "kubectl-edit");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let text = fixture.metrics();
    let flagged =
        r#"plumb_drift_objects{kind="Kustomization",name="apps",namespace="flux-system",class="drifted"} 1"#;
    for line in [flagged, "plumb_objects_managed 2", "plumb_objects_unverified 0"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    fixture.set_policy(Fixture::policy(DriftMode::Enabled, false));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let text = fixture.metrics();
    let corrected =
        r#"plumb_drift_corrections_total{kind="Kustomization",name="apps",namespace="flux-system"} 1"#;
    assert!(text.contains(corrected) && !text.contains("class=\"drifted\""), "{text}");
    fixture.forget();
    assert!(fixture.metrics().contains("plumb_objects_managed 0"));
}
