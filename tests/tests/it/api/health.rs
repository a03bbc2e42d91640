//! Health, on a real API server with a fake node: how waiting ends, and with which message.

use std::time::Duration;

use plumb_apply::{End, Settled, Target, Wait};
use plumb_cluster::Budget;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::cluster::Fixture;

/// A pod with this annotation stays Pending on the fake node.
const HOLD: &str = plumb_plane::node::HOLD;

fn deployment(name: &str, annotations: Value, deadline: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "NS"},
        "spec": {
            "replicas": 2, "progressDeadlineSeconds": deadline, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": annotations},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    })
}

async fn settle(fixture: &Fixture, ids: &[&str], fail_fast: bool, budget: Budget) -> Settled {
    let target = |id: &&str| Target { id: fixture.id(id), version: "v1".to_owned() };
    plumb_apply::settle(
        &fixture.cluster,
        Wait {
            targets: ids.iter().map(target).collect(),
            vanishing: std::collections::BTreeSet::new(),
            fail_fast,
            budget,
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_settle_when_their_pods_are_ready() {
    let fixture = Fixture::new("settle").await;
    let names: Vec<String> = (0..6).map(|number| format!("web{number}")).collect();
    let mut manifests: Vec<_> = names.iter().map(|name| deployment(name, json!({}), 600)).collect();
    manifests
        .push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "NS"}}));
    let applied = fixture.apply(&manifests).await;
    assert!(applied.is_complete(), "{:?}", applied.error_summary());
    let current = applied.changes.iter().filter(|change| change.verdict.is_current()).count();
    assert_eq!(current, 1, "a ConfigMap is healthy as soon as it is applied");

    let ids: Vec<String> = names.iter().map(|name| format!("NS_{name}_apps_Deployment")).collect();
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    ids.push("NS_x__ConfigMap");
    let settled = settle(&fixture, &ids, true, Budget::lasting(Duration::from_mins(1))).await;
    assert_eq!(settled.end, End::Healthy, "{:?}", settled.error_summary());
    assert_eq!(settled.error_summary(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_scoped_object_settles_whatever_namespace_was_named_with_it() {
    let fixture = Fixture::new("wide").await;
    let settled =
        settle(&fixture, &["NS_NS__Namespace"], true, Budget::lasting(Duration::from_secs(20))).await;
    assert_eq!(settled.end, End::Healthy, "{:?}", settled.error_summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_with_the_time_and_names_what_is_late() {
    let fixture = Fixture::new("late").await;
    fixture.apply(&[deployment("held", json!({HOLD: "true"}), 600)]).await;
    let ids = ["NS_held_apps_Deployment", "NS_nowhere__ConfigMap", "NS_none_health.example.com_Relic"];
    let settled = settle(&fixture, &ids, true, Budget::lasting(Duration::from_secs(3))).await;
    assert_eq!(settled.end, End::TimedOut);
    let namespace = &fixture.namespace;
    let expected = format!(
        "timeout waiting for: [Deployment/{namespace}/held status: 'InProgress', \
         Relic/{namespace}/none status: 'NotFound', ConfigMap/{namespace}/nowhere status: 'NotFound']"
    );
    assert_eq!(settled.error_summary().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_deployment_ends_the_waiting_early() {
    let fixture = Fixture::new("stalled").await;
    fixture.apply(&[deployment("held", json!({HOLD: "true"}), 1)]).await;
    let settled =
        settle(&fixture, &["NS_held_apps_Deployment"], true, Budget::lasting(Duration::from_mins(1))).await;
    assert_eq!(settled.end, End::Failed);
    let expected = format!(
        "failed early due to stalled resources: [Deployment/{}/held status: 'Failed']",
        fixture.namespace
    );
    assert_eq!(settled.error_summary().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_revision_ends_the_waiting_at_once() {
    let fixture = Fixture::new("newer").await;
    let token = CancellationToken::new();
    let until = tokio::time::Instant::now() + Duration::from_mins(1);
    let waiting = settle(&fixture, &["NS_nowhere__ConfigMap"], true, Budget::new(until, token.clone()));
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel();
    };
    let (settled, ()) = tokio::join!(waiting, cancel);
    assert_eq!(settled.end, End::Cancelled);
    assert!(settled.took < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_created_later_is_observed() {
    let fixture = Fixture::new("later").await;
    let waiting = settle(&fixture, &["NS_late__ConfigMap"], true, Budget::lasting(Duration::from_secs(30)));
    let create = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let late =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": "NS"}});
        fixture.create(&late).await;
    };
    let (settled, ()) = tokio::join!(waiting, create);
    assert_eq!(settled.end, End::Healthy);
    assert!(settled.took < Duration::from_secs(5), "{:?}", settled.took);
}
