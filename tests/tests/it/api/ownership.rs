//! Ownership, on a real API server: whose fields become ours, and whose stay.

use plumb_apply::Ended;
use serde_json::{Value, json};

use super::cluster::Stand;

fn settings(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "NS"}, "data": data})
}

async fn data(stand: &Stand) -> Value {
    stand.live("NS_settings__ConfigMap", "v1").await.unwrap().at(&["data"]).unwrap().clone()
}

async fn managers(stand: &Stand) -> Vec<String> {
    let live = stand.live("NS_settings__ConfigMap", "v1").await.unwrap();
    let entries = live.at(&["metadata", "managedFields"]).unwrap().as_array().unwrap().clone();
    entries
        .iter()
        .map(|entry| {
            format!("{} {}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_applied_becomes_ours_and_goes_when_git_does_not_want_it() {
    let stand = Stand::new("own").await;
    let mine = settings(json!({"kept": "kubectl", "dropped": "kubectl"}));
    stand.kubectl(&["apply", "-f", "-"], Some(&mine)).await;
    assert_eq!(managers(&stand).await, ["kubectl-client-side-apply Update"]);

    let applied = stand.apply(&[settings(json!({"kept": "git"}))]).await;
    assert_eq!(applied.ended, Ended::Complete, "{:?}", applied.error_summary());
    assert_eq!(applied.lines(), [format!("ConfigMap/{}/settings configured", stand.namespace)]);
    assert_eq!(data(&stand).await, json!({"kept": "git"}));
    assert_eq!(managers(&stand).await, ["kustomize-controller Apply"]);
    let live = stand.live("NS_settings__ConfigMap", "v1").await.unwrap();
    assert_eq!(live.annotation("kubectl.kubernetes.io/last-applied-configuration"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_applied_on_the_server_side_becomes_ours_too() {
    let stand = Stand::new("ownss").await;
    let mine = settings(json!({"kept": "kubectl", "dropped": "kubectl"}));
    stand.kubectl(&["apply", "--server-side", "-f", "-"], Some(&mine)).await;
    stand.apply(&[settings(json!({"kept": "git"}))]).await;
    assert_eq!(data(&stand).await, json!({"kept": "git"}));
    assert_eq!(managers(&stand).await, ["kustomize-controller Apply"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_another_manager_stay() {
    let stand = Stand::new("others").await;
    stand.apply(&[settings(json!({"ours": "git"}))]).await;
    let edit = r#"{"data": {"theirs": "kept"}}"#;
    let manager = "--field-manager=flux-client-side-apply";
    stand.kubectl(&["patch", "configmap", "settings", manager, "--type=merge", "-p", edit], None).await;
    stand.apply(&[settings(json!({"ours": "changed"}))]).await;
    assert_eq!(data(&stand).await, json!({"ours": "changed", "theirs": "kept"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_says_merge_keeps_what_kubectl_added() {
    let stand = Stand::new("merge").await;
    let merge = || {
        let mut object = settings(json!({"ours": "git"}));
        object["metadata"]["annotations"] = json!({"kustomize.toolkit.fluxcd.io/ssa": "Merge"});
        object
    };
    stand.apply(&[merge()]).await;
    let edit = r#"{"data": {"theirs": "kept"}}"#;
    stand.kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", edit], None).await;
    stand.apply(&[merge()]).await;
    assert_eq!(data(&stand).await, json!({"ours": "git", "theirs": "kept"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_restart_survives_the_take_over() {
    let stand = Stand::new("restart").await;
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
    stand.apply(std::slice::from_ref(&deployment)).await;
    stand.kubectl(&["rollout", "restart", "deployment/web"], None).await;
    stand.apply(&[deployment]).await;
    let live = stand.live("NS_web_apps_Deployment", "v1").await.unwrap();
    let at = ["spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"];
    assert!(live.text(&at).is_some());
}
