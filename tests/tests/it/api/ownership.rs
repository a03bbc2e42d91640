//! Ownership, on a real API server: whose fields become ours, and whose stay.

use plumb_apply::Ended;
use serde_json::{Value, json};

use super::cluster::Fixture;

fn settings(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "NS"}, "data": data})
}

async fn data(fixture: &Fixture) -> Value {
    fixture.live("NS_settings__ConfigMap", "v1").await.unwrap().at(&["data"]).unwrap().clone()
}

async fn managers(fixture: &Fixture) -> Vec<String> {
    let live = fixture.live("NS_settings__ConfigMap", "v1").await.unwrap();
    let entries = live.at(&["metadata", "managedFields"]).unwrap().as_array().unwrap().clone();
    entries
        .iter()
        .map(|entry| {
            format!("{} {}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_applied_becomes_ours_and_is_removed_when_git_removes_it() {
    let fixture = Fixture::new("own").await;
    let mine = settings(json!({"kept": "kubectl", "dropped": "kubectl"}));
    fixture.kubectl(&["apply", "-f", "-"], Some(&mine)).await;
    assert_eq!(managers(&fixture).await, ["kubectl-client-side-apply Update"]);

    let applied = fixture.apply(&[settings(json!({"kept": "git"}))]).await;
    assert_eq!(applied.ended, Ended::Complete, "{:?}", applied.error_summary());
    assert_eq!(applied.lines(), [format!("ConfigMap/{}/settings configured", fixture.namespace)]);
    assert_eq!(data(&fixture).await, json!({"kept": "git"}));
    assert_eq!(managers(&fixture).await, ["kustomize-controller Apply"]);
    let live = fixture.live("NS_settings__ConfigMap", "v1").await.unwrap();
    assert_eq!(live.annotation("kubectl.kubernetes.io/last-applied-configuration"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_applied_on_the_server_side_becomes_ours_too() {
    let fixture = Fixture::new("ownss").await;
    let mine = settings(json!({"kept": "kubectl", "dropped": "kubectl"}));
    fixture.kubectl(&["apply", "--server-side", "-f", "-"], Some(&mine)).await;
    fixture.apply(&[settings(json!({"kept": "git"}))]).await;
    assert_eq!(data(&fixture).await, json!({"kept": "git"}));
    assert_eq!(managers(&fixture).await, ["kustomize-controller Apply"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_another_manager_stay() {
    let fixture = Fixture::new("others").await;
    fixture.apply(&[settings(json!({"ours": "git"}))]).await;
    let edit = r#"{"data": {"theirs": "kept"}}"#;
    let manager = "--field-manager=flux-client-side-apply";
    fixture.kubectl(&["patch", "configmap", "settings", manager, "--type=merge", "-p", edit], None).await;
    fixture.apply(&[settings(json!({"ours": "changed"}))]).await;
    assert_eq!(data(&fixture).await, json!({"ours": "changed", "theirs": "kept"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_merge_keeps_what_kubectl_added() {
    let fixture = Fixture::new("merge").await;
    let merge = || {
        let mut object = settings(json!({"ours": "git"}));
        object["metadata"]["annotations"] = json!({"kustomize.toolkit.fluxcd.io/ssa": "Merge"});
        object
    };
    fixture.apply(&[merge()]).await;
    let edit = r#"{"data": {"theirs": "kept"}}"#;
    fixture.kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", edit], None).await;
    fixture.apply(&[merge()]).await;
    assert_eq!(data(&fixture).await, json!({"ours": "git", "theirs": "kept"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_restart_is_preserved_by_the_takeover() {
    let fixture = Fixture::new("restart").await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "NS"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    });
    fixture.apply(std::slice::from_ref(&deployment)).await;
    fixture.kubectl(&["rollout", "restart", "deployment/web"], None).await;
    fixture.apply(&[deployment]).await;
    let live = fixture.live("NS_web_apps_Deployment", "v1").await.unwrap();
    let at = ["spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"];
    assert!(live.text(&at).is_some());
}
