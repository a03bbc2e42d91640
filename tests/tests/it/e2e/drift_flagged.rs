//! Drift that is not corrected: in the mode `warn` and while suspended. Flagged, reported, left, and corrected on request.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    environment::Environment,
    sample::{SETTINGS, config_map},
    seen::{condition, drift, is_ready, is_true, text, uid},
};

const RESTORE: &str = "kustomize.toolkit.fluxcd.io/restore";

fn is_flagged(seen: &Value) -> bool {
    is_true(seen, "Drifted") && !drift(seen).is_empty()
}

fn is_clean(seen: &Value) -> bool {
    condition(seen, "Drifted").is_none() && drift(seen).is_empty()
}

/// The live value in the first field of the first entry.
fn reported_live(seen: &Value) -> &str {
    drift(seen).first().map(|entry| text(entry, "/fields/0/live")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scaled_deployment_is_flagged_and_not_reverted() -> Result<()> {
    let environment = Environment::new("warn").await?;
    environment.app("warn").await?;
    environment.kubectl(&["scale", "deployment/web", "--replicas=8"])?;
    let flagged = environment.until("Kustomization", "app", "is flagged", is_flagged).await?;
    assert!(is_ready(&flagged), "drift is no failure: {flagged:#}");
    let ready = condition(&flagged, "Drifted").expect("it is flagged");
    assert_eq!(ready["reason"], "DriftDetected");
    let entry = &drift(&flagged)[0];
    assert_eq!(entry["id"], format!("{}_web_apps_Deployment", environment.namespace));
    assert_eq!((&entry["class"], &flagged["status"]["drift"]["objects"]), (&json!("drifted"), &json!(1)));
    let field = &entry["fields"][0];
    assert_eq!(
        (text(field, "/path"), text(field, "/desired"), text(field, "/live")),
        (".spec.replicas", "3", "8")
    );
    assert_eq!((text(field, "/manager"), text(field, "/subresource")), ("kubectl", "scale"));
    environment.reported("DriftDetected", &["/web drifted: .spec.replicas 3 → 8 by kubectl"]).await?;
    environment.stays("Deployment", "web", "has 8 replicas", |seen| seen["spec"]["replicas"] == 8).await?;
    assert_eq!(environment.events("DriftCorrected").await?, Vec::<String>::new());
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn further_edits_update_the_flag_and_a_manual_revert_resolves_it() -> Result<()> {
    let environment = Environment::new("further").await?;
    environment.app("warn").await?;
    for replicas in ["8", "9"] {
        environment.kubectl(&["scale", "deployment/web", &format!("--replicas={replicas}")])?;
        let what = format!("reports {replicas}");
        environment
            .until("Kustomization", "app", &what, |seen| is_flagged(seen) && reported_live(seen) == replicas)
            .await?;
    }
    environment.kubectl(&["scale", "deployment/web", "--replicas=3"])?;
    environment.until("Kustomization", "app", "is clean", is_clean).await?;
    environment.reported("DriftResolved", &["/web resolved: "]).await?;
    // The field is ours again: the next edit is seen as the first was.
    environment.kubectl(&["scale", "deployment/web", "--replicas=5"])?;
    environment.until("Kustomization", "app", "reports 5", |seen| reported_live(seen) == "5").await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_corrects_everything_once_and_is_acknowledged() -> Result<()> {
    let environment = Environment::new("restore").await?;
    environment.app("warn").await?;
    let before = environment.get("ConfigMap", "settings").await?;
    environment.kubectl(&["scale", "deployment/web", "--replicas=8"])?;
    environment.delete("ConfigMap", "settings").await?;
    let both = |seen: &Value| is_flagged(seen) && seen["status"]["drift"]["objects"] == 2;
    environment.until("Kustomization", "app", "reports two objects", both).await?;
    let request = jiff::Timestamp::now().to_string();
    environment.annotate("Kustomization", "app", RESTORE, &request).await?;
    environment
        .until("Kustomization", "app", "is clean, and echoes", |seen| {
            is_ready(seen)
                && is_clean(seen)
                && seen["status"]["drift"]["lastHandledRestore"] == request.as_str()
        })
        .await?;
    assert_eq!(environment.get("Deployment", "web").await?["spec"]["replicas"], 3);
    let back = environment.get("ConfigMap", "settings").await?;
    assert!(back["data"] == before["data"] && uid(&back) != uid(&before));
    // Once: what drifts after it is flagged again.
    environment.edit("ConfigMap", "settings", &json!({"data": {"greeting": "mine"}})).await?;
    environment.until("Kustomization", "app", "is flagged again", is_flagged).await?;
    environment
        .stays("ConfigMap", "settings", "says mine", |seen| seen["data"]["greeting"] == "mine")
        .await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_leaves_flagged_objects_that_it_does_not_change() -> Result<()> {
    let environment = Environment::new("revision").await?;
    let app = environment.app("warn").await?;
    environment.kubectl(&["scale", "deployment/web", "--replicas=8"])?;
    environment.until("Kustomization", "app", "is flagged", is_flagged).await?;
    app.repository.replace(SETTINGS, "hello", "hola")?;
    let revision = environment.commit(&app.repository, "another object").await?;
    let applied = environment.applied("app", &revision).await?;
    assert!(is_flagged(&applied));
    assert_eq!(environment.get("ConfigMap", "settings").await?["data"]["greeting"], "hola");
    environment.stays("Deployment", "web", "has 8 replicas", |seen| seen["spec"]["replicas"] == 8).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_while_suspended_is_seen_and_corrected_only_after_the_resumption() -> Result<()> {
    let environment = Environment::new("suspended").await?;
    environment.app("enabled").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    environment.stays("Kustomization", "app", "is ready", |seen| is_true(seen, "Ready")).await?;
    environment.edit("ConfigMap", "settings", &json!({"data": {"greeting": "mine"}})).await?;
    environment.until("Kustomization", "app", "is flagged", is_flagged).await?;
    environment
        .stays("ConfigMap", "settings", "says mine", |seen| seen["data"]["greeting"] == "mine")
        .await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"suspend": false}})).await?;
    environment
        .until("ConfigMap", "settings", "says hello", |seen| seen["data"]["greeting"] == "hello")
        .await?;
    environment.until("Kustomization", "app", "is clean", |seen| is_clean(seen) && is_ready(seen)).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_secrets_are_never_reported() -> Result<()> {
    let environment = Environment::new("secrets").await?;
    let app = environment.app("warn").await?;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {key: from-git-7f3a}\n";
    app.repository.write("deploy/keys.yaml", secret)?;
    let revision = environment.commit(&app.repository, "a secret").await?;
    environment.applied("app", &revision).await?;
    environment.edit("Secret", "keys", &json!({"stringData": {"key": "by-hand-91c2"}})).await?;
    let flagged = environment.until("Kustomization", "app", "is flagged", is_flagged).await?;
    assert_eq!(reported_live(&flagged), "(sensitive)");
    let reported = environment.reported("DriftDetected", &["/keys drifted: .data.key"]).await?;
    let events =
        environment.sink.received().into_iter().map(|one| String::from_utf8_lossy(&one.raw).into_owned());
    let all: String =
        events.chain([reported, flagged.to_string(), environment.controllers.last_lines()]).collect();
    // In plain, and as the API server keeps it.
    for value in ["from-git-7f3a", "by-hand-91c2", "ZnJvbS1naXQtN2YzYQ", "YnktaGFuZC05MWMy"] {
        assert!(!all.contains(value), "{value} was reported: {all}");
    }
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_mode_is_rejected_and_never_read_as_enabled() -> Result<()> {
    let environment = Environment::new("mode").await?;
    let app = environment.app("warn").await?;
    environment
        .annotate("Kustomization", "app", "kustomize.toolkit.fluxcd.io/drift-detection", "Enabled!")
        .await?;
    environment.request("Kustomization", "app").await?;
    environment.failed("app", "InvalidDriftDetection").await?;
    let stalled = environment.get("Kustomization", "app").await?;
    assert!(is_true(&stalled, "Stalled"));
    app.repository.write("deploy/other.yaml", &config_map("other", "new"))?;
    environment.commit(&app.repository, "not applied").await?;
    environment.stays("Kustomization", "app", "stays stalled", |seen| is_true(seen, "Stalled")).await?;
    assert!(environment.find("ConfigMap", "other").await?.is_none());
    environment.close().await
}
