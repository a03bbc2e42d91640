//! Drift in the mode `enabled`: corrected at once, and reported with object, fields, manager and time.

use anyhow::Result;
use serde_json::json;

use super::{
    environment::Environment,
    seen::{self, uid},
};

const OWNER: &str = "kustomize.toolkit.fluxcd.io/name";

#[tokio::test(flavor = "multi_thread")]
async fn a_scaled_deployment_is_scaled_back_and_the_event_names_the_manager() -> Result<()> {
    let environment = Environment::new("scale").await?;
    let app = environment.app("enabled").await?;
    environment.kubectl(&["scale", "deployment/web", "--replicas=8"])?;
    let reported = environment
        .reported("DriftCorrected", &["Deployment/", "/web drifted: ", ".spec.replicas 3 → 8"])
        .await?;
    assert!(
        reported.contains("by kubectl (Update, /scale)") && reported.contains("; corrected in "),
        "{reported}"
    );
    environment.stays("Deployment", "web", "has 3 replicas", |seen| seen["spec"]["replicas"] == 3).await?;
    let event = environment
        .sink
        .wait_for(std::time::Duration::from_secs(10), |event| event.text("/reason") == "DriftCorrected");
    let event = event.expect("the event goes out too").body;
    assert_eq!(event["involvedObject"]["kind"], "Kustomization");
    let metadata = &event["metadata"];
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-class"], "drifted", "{event:#}");
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-manager"], "kubectl", "{event:#}");
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-paths"], ".spec.replicas", "{event:#}");
    assert_eq!(metadata["kustomize.toolkit.fluxcd.io/revision"], app.revision.as_str(), "{event:#}");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_config_map_is_recreated_and_no_manager_is_named() -> Result<()> {
    let environment = Environment::new("deleted").await?;
    environment.app("enabled").await?;
    let before = environment.get("ConfigMap", "settings").await?;
    environment.kubectl(&["delete", "configmap/settings"])?;
    let after =
        environment.until("ConfigMap", "settings", "is back", |seen| uid(seen) != uid(&before)).await?;
    assert_eq!(after["data"], before["data"]);
    let reported = environment.reported("DriftCorrected", &["ConfigMap/", "/settings missing"]).await?;
    assert!(reported.contains("deleted by an unknown client (see the audit log)"), "{reported}");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_edited_twice_within_a_second_is_corrected() -> Result<()> {
    let environment = Environment::new("twice").await?;
    environment.app("enabled").await?;
    for value in ["one", "two"] {
        environment.edit("ConfigMap", "settings", &json!({"data": {"greeting": value}})).await?;
    }
    let is_back = |seen: &serde_json::Value| seen["data"]["greeting"] == "hello";
    environment.until("ConfigMap", "settings", "says hello", is_back).await?;
    environment.stays("ConfigMap", "settings", "says hello", is_back).await?;
    let reported = environment.reported("DriftCorrected", &[".data.greeting hello → "]).await?;
    assert!(reported.contains("by kubectl-edit (Update) at "), "{reported}");
    // And at once after a correction, in the same second.
    environment.edit("ConfigMap", "settings", &json!({"data": {"greeting": "three"}})).await?;
    environment.until("ConfigMap", "settings", "says hello", is_back).await?;
    environment.edit("ConfigMap", "settings", &json!({"data": {"greeting": "four"}})).await?;
    environment.until("ConfigMap", "settings", "says hello", is_back).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stripped_owner_labels_are_restored() -> Result<()> {
    let environment = Environment::new("labels").await?;
    environment.app("enabled").await?;
    let before = environment.get("ConfigMap", "settings").await?;
    let none = json!({"metadata": {"labels": {OWNER: null, "kustomize.toolkit.fluxcd.io/namespace": null}}});
    environment.edit("ConfigMap", "settings", &none).await?;
    let after = environment
        .until("ConfigMap", "settings", "has its labels", |seen| seen["metadata"]["labels"][OWNER] == "app")
        .await?;
    assert_eq!((uid(&after), &after["metadata"]["labels"]), (uid(&before), &before["metadata"]["labels"]));
    environment.reported("DriftCorrected", &["ConfigMap/", "/settings disowned: "]).await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_tool_adds_is_not_changed() -> Result<()> {
    let environment = Environment::new("extra").await?;
    environment.app("enabled").await?;
    let more = json!({"metadata": {"annotations": {"team": "blue"}}, "data": {"added": "by a tool"}});
    environment.edit_as("tool", "ConfigMap", "settings", &more).await?;
    environment
        .stays("ConfigMap", "settings", "keeps the key", |seen| seen["data"]["added"] == "by a tool")
        .await?;
    environment.kubectl(&["rollout", "restart", "deployment/web"])?;
    environment
        .stays("Deployment", "web", "keeps the restart", |seen| {
            seen["spec"]["template"]["metadata"]["annotations"]
                .get("kubectl.kubernetes.io/restartedAt")
                .is_some()
        })
        .await?;
    assert_eq!(environment.events("DriftCorrected").await?, Vec::<String>::new());
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_adds_is_removed_as_flux_does() -> Result<()> {
    let environment = Environment::new("takeover").await?;
    environment.app("enabled").await?;
    environment.edit("ConfigMap", "settings", &json!({"data": {"added": "by hand"}})).await?;
    environment
        .until("ConfigMap", "settings", "has lost the key", |seen| seen["data"].get("added").is_none())
        .await?;
    environment
        .reported("DriftCorrected", &["/settings extra: .data.added (absent) → ", "by kubectl-edit"])
        .await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_a_user_recreated_is_ours_again() -> Result<()> {
    let environment = Environment::new("recreated").await?;
    environment.app("enabled").await?;
    let before = environment.get("ConfigMap", "settings").await?;
    environment.delete("ConfigMap", "settings").await?;
    // The result is the same in either order.
    let by_user = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"greeting": "mine"}});
    let made = environment.create(by_user).await;
    let after = environment
        .until("ConfigMap", "settings", "is as in Git", |seen| {
            uid(seen) != uid(&before)
                && seen["data"] == before["data"]
                && seen["metadata"]["labels"][OWNER] == "app"
        })
        .await?;
    assert!(made.is_err() || made.is_ok_and(|made| uid(&made) == uid(&after)));
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_mode_disabled_drift_waits_for_the_next_reconciliation() -> Result<()> {
    let environment = Environment::new("disabled").await?;
    environment.app("disabled").await?;
    environment.edit("ConfigMap", "settings", &json!({"data": {"greeting": "mine"}})).await?;
    environment
        .stays("ConfigMap", "settings", "says mine", |seen| seen["data"]["greeting"] == "mine")
        .await?;
    environment.request("Kustomization", "app").await?;
    environment
        .until("ConfigMap", "settings", "says hello", |seen| seen["data"]["greeting"] == "hello")
        .await?;
    let kustomization = environment.get("Kustomization", "app").await?;
    assert!(seen::condition(&kustomization, "Drifted").is_none());
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_all_shapes_are_corrected() -> Result<()> {
    let environment = Environment::new("shapes").await?;
    let app = environment.app("enabled").await?;
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  ports: [{name: http, port: 80, targetPort: 8080}]\n";
    app.repository.write("deploy/service.yaml", service)?;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {key: from-git}\n";
    app.repository.write("deploy/keys.yaml", secret)?;
    let revision = environment.commit(&app.repository, "a service and a secret").await?;
    environment.applied("app", &revision).await?;
    let edits = [
        (
            "Service",
            "web",
            "/spec/ports/0/port",
            json!({"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 8080}]}}),
        ),
        ("Service", "web", "/spec/selector", json!({"spec": {"selector": {"app": "other"}}})),
        ("Secret", "keys", "/data/key", json!({"stringData": {"key": "by-hand"}})),
        ("Secret", "keys", "/data", json!({"data": {"key": null}})),
        ("ConfigMap", "settings", "/data", json!({"data": {"mode": null}})),
        (
            "Deployment",
            "web",
            "/spec/template/spec/containers/0/image",
            json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "example.com/web:evil"}]}}}}),
        ),
    ];
    for (kind, name, pointer, edit) in edits {
        let before = environment.get(kind, name).await?;
        environment.edit(kind, name, &edit).await?;
        let what = format!("has its {pointer} again");
        environment.until(kind, name, &what, |seen| seen.pointer(pointer) == before.pointer(pointer)).await?;
        environment.stays(kind, name, &what, |seen| seen.pointer(pointer) == before.pointer(pointer)).await?;
    }
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persistent_writer_is_named_and_its_corrections_back_off() -> Result<()> {
    let environment = Environment::new("contention").await?;
    environment.app("enabled").await?;
    for round in 0..5 {
        let value = format!("round-{round}");
        environment.edit("ConfigMap", "settings", &json!({"data": {"greeting": value}})).await?;
        environment
            .until("ConfigMap", "settings", "says hello", |seen| seen["data"]["greeting"] == "hello")
            .await?;
    }
    environment
        .reported("DriftContention", &["/settings: kubectl-edit changed .data.greeting again"])
        .await?;
    // Another field is corrected at once meanwhile.
    environment.edit("ConfigMap", "settings", &json!({"data": {"other": "added"}})).await?;
    environment
        .until("ConfigMap", "settings", "has no other", |seen| seen["data"].get("other").is_none())
        .await?;
    environment
        .reported("DriftContention", &["/settings: kubectl-edit has not changed .data.greeting"])
        .await?;
    assert_eq!(environment.events("DriftContention").await?.len(), 2);
    environment.close().await
}
