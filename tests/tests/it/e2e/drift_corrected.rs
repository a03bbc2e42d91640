//! Drift in the mode `enabled`: put back at once, and told with what, who and when.

use anyhow::Result;
use serde_json::json;

use super::{
    cluster::Stand,
    seen::{self, uid},
};

const OWNER: &str = "kustomize.toolkit.fluxcd.io/name";

#[tokio::test(flavor = "multi_thread")]
async fn a_scaled_deployment_is_scaled_back_and_the_event_says_by_whom() -> Result<()> {
    let stand = Stand::new("scale").await?;
    let app = stand.app("enabled").await?;
    stand.kubectl(&["scale", "deployment/web", "--replicas=8"])?;
    let told =
        stand.told("DriftCorrected", &["Deployment/", "/web drifted: ", ".spec.replicas 3 → 8"]).await?;
    assert!(told.contains("by kubectl (Update, /scale)") && told.contains("; corrected in "), "{told}");
    stand.stays("Deployment", "web", "has 3 replicas", |seen| seen["spec"]["replicas"] == 3).await?;
    let event = stand
        .sink
        .wait_for(std::time::Duration::from_secs(10), |event| event.text("/reason") == "DriftCorrected");
    let event = event.expect("the event goes out too").body;
    assert_eq!(event["involvedObject"]["kind"], "Kustomization");
    let metadata = &event["metadata"];
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-class"], "drifted", "{event:#}");
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-manager"], "kubectl", "{event:#}");
    assert_eq!(metadata["event.toolkit.fluxcd.io/drift-paths"], ".spec.replicas", "{event:#}");
    assert_eq!(metadata["kustomize.toolkit.fluxcd.io/revision"], app.revision.as_str(), "{event:#}");
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_config_map_comes_back_and_nobody_is_blamed() -> Result<()> {
    let stand = Stand::new("deleted").await?;
    stand.app("enabled").await?;
    let before = stand.get("ConfigMap", "settings").await?;
    stand.kubectl(&["delete", "configmap/settings"])?;
    let after = stand.until("ConfigMap", "settings", "is back", |seen| uid(seen) != uid(&before)).await?;
    assert_eq!(after["data"], before["data"]);
    let told = stand.told("DriftCorrected", &["ConfigMap/", "/settings missing"]).await?;
    assert!(told.contains("deleted by an unknown client (see the audit log)"), "{told}");
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_edited_twice_within_a_second_is_put_back() -> Result<()> {
    let stand = Stand::new("twice").await?;
    stand.app("enabled").await?;
    for value in ["one", "two"] {
        stand.edit("ConfigMap", "settings", &json!({"data": {"greeting": value}})).await?;
    }
    let is_back = |seen: &serde_json::Value| seen["data"]["greeting"] == "hello";
    stand.until("ConfigMap", "settings", "says hello", is_back).await?;
    stand.stays("ConfigMap", "settings", "says hello", is_back).await?;
    let told = stand.told("DriftCorrected", &[".data.greeting hello → "]).await?;
    assert!(told.contains("by kubectl-edit (Update) at "), "{told}");
    // And at once after a correction, in the same second.
    stand.edit("ConfigMap", "settings", &json!({"data": {"greeting": "three"}})).await?;
    stand.until("ConfigMap", "settings", "says hello", is_back).await?;
    stand.edit("ConfigMap", "settings", &json!({"data": {"greeting": "four"}})).await?;
    stand.until("ConfigMap", "settings", "says hello", is_back).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stripped_owner_labels_are_restored() -> Result<()> {
    let stand = Stand::new("labels").await?;
    stand.app("enabled").await?;
    let before = stand.get("ConfigMap", "settings").await?;
    let none = json!({"metadata": {"labels": {OWNER: null, "kustomize.toolkit.fluxcd.io/namespace": null}}});
    stand.edit("ConfigMap", "settings", &none).await?;
    let after = stand
        .until("ConfigMap", "settings", "has its labels", |seen| seen["metadata"]["labels"][OWNER] == "app")
        .await?;
    assert_eq!((uid(&after), &after["metadata"]["labels"]), (uid(&before), &before["metadata"]["labels"]));
    stand.told("DriftCorrected", &["ConfigMap/", "/settings disowned: "]).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_tool_adds_is_left_alone() -> Result<()> {
    let stand = Stand::new("extra").await?;
    stand.app("enabled").await?;
    let more = json!({"metadata": {"annotations": {"team": "blue"}}, "data": {"added": "by a tool"}});
    stand.edit_as("tool", "ConfigMap", "settings", &more).await?;
    stand
        .stays("ConfigMap", "settings", "keeps the key", |seen| seen["data"]["added"] == "by a tool")
        .await?;
    stand.kubectl(&["rollout", "restart", "deployment/web"])?;
    stand
        .stays("Deployment", "web", "keeps the restart", |seen| {
            seen["spec"]["template"]["metadata"]["annotations"]
                .get("kubectl.kubernetes.io/restartedAt")
                .is_some()
        })
        .await?;
    assert_eq!(stand.events("DriftCorrected").await?, Vec::<String>::new());
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_adds_is_removed_as_flux_does() -> Result<()> {
    let stand = Stand::new("takeover").await?;
    stand.app("enabled").await?;
    stand.edit("ConfigMap", "settings", &json!({"data": {"added": "by hand"}})).await?;
    stand
        .until("ConfigMap", "settings", "has lost the key", |seen| seen["data"].get("added").is_none())
        .await?;
    stand.told("DriftCorrected", &["/settings extra: .data.added (absent) → ", "by kubectl-edit"]).await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_recreated_by_hand_is_ours_again() -> Result<()> {
    let stand = Stand::new("recreated").await?;
    stand.app("enabled").await?;
    let before = stand.get("ConfigMap", "settings").await?;
    stand.delete("ConfigMap", "settings").await?;
    // Whoever is first, the result is the same.
    let by_hand = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"greeting": "mine"}});
    let made = stand.create(by_hand).await;
    let after = stand
        .until("ConfigMap", "settings", "is as Git says", |seen| {
            uid(seen) != uid(&before)
                && seen["data"] == before["data"]
                && seen["metadata"]["labels"][OWNER] == "app"
        })
        .await?;
    assert!(made.is_err() || made.is_ok_and(|made| uid(&made) == uid(&after)));
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_mode_disabled_drift_waits_for_the_next_reconciliation() -> Result<()> {
    let stand = Stand::new("disabled").await?;
    stand.app("disabled").await?;
    stand.edit("ConfigMap", "settings", &json!({"data": {"greeting": "mine"}})).await?;
    stand.stays("ConfigMap", "settings", "says mine", |seen| seen["data"]["greeting"] == "mine").await?;
    stand.request("Kustomization", "app").await?;
    stand.until("ConfigMap", "settings", "says hello", |seen| seen["data"]["greeting"] == "hello").await?;
    let kustomization = stand.get("Kustomization", "app").await?;
    assert!(seen::condition(&kustomization, "Drifted").is_none());
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_all_shapes_are_put_back() -> Result<()> {
    let stand = Stand::new("shapes").await?;
    let app = stand.app("enabled").await?;
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  ports: [{name: http, port: 80, targetPort: 8080}]\n";
    app.repository.write("deploy/service.yaml", service)?;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {key: from-git}\n";
    app.repository.write("deploy/keys.yaml", secret)?;
    let revision = stand.commit(&app.repository, "a service and a secret").await?;
    stand.applied("app", &revision).await?;
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
        let before = stand.get(kind, name).await?;
        stand.edit(kind, name, &edit).await?;
        let what = format!("has its {pointer} again");
        stand.until(kind, name, &what, |seen| seen.pointer(pointer) == before.pointer(pointer)).await?;
        stand.stays(kind, name, &what, |seen| seen.pointer(pointer) == before.pointer(pointer)).await?;
    }
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_does_not_give_in_is_named_and_slowed_down() -> Result<()> {
    let stand = Stand::new("contention").await?;
    stand.app("enabled").await?;
    for round in 0..5 {
        let value = format!("round-{round}");
        stand.edit("ConfigMap", "settings", &json!({"data": {"greeting": value}})).await?;
        stand
            .until("ConfigMap", "settings", "says hello", |seen| seen["data"]["greeting"] == "hello")
            .await?;
    }
    stand.told("DriftContention", &["/settings: kubectl-edit changed .data.greeting again"]).await?;
    // Another field is corrected at once meanwhile.
    stand.edit("ConfigMap", "settings", &json!({"data": {"other": "added"}})).await?;
    stand.until("ConfigMap", "settings", "has no other", |seen| seen["data"].get("other").is_none()).await?;
    stand.told("DriftContention", &["/settings: kubectl-edit has not changed .data.greeting"]).await?;
    assert_eq!(stand.events("DriftContention").await?.len(), 2);
    stand.close().await
}
