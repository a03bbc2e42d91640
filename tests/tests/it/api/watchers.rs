//! Watchers, on a real API server: their events, and how they follow a kind that is removed and added again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use plumb_cluster::{WatchChange, WatchEvent, Watchers};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use super::cluster::Fixture;

struct Ear {
    watchers: Arc<Watchers>,
    sights: Receiver<WatchEvent>,
    namespace: String,
}

impl Ear {
    fn of(fixture: &Fixture, kinds: &[(&str, &str, &str)]) -> Self {
        let (watchers, sights) =
            Watchers::new(fixture.cluster.clone(), &plumb_planning::ownership::Owner::selector());
        let own = |(group, version, kind): &(&str, &str, &str)| {
            ((*group).to_owned(), (*version).to_owned(), (*kind).to_owned())
        };
        let kinds: BTreeSet<_> = kinds.iter().map(own).collect();
        assert_eq!(watchers.watch(&kinds), []);
        Self { watchers, sights, namespace: fixture.namespace.clone() }
    }

    /// The next events that match, of this test's namespace where they are about an object.
    async fn next_event<T>(&mut self, what: &str, fits: impl Fn(&WatchChange) -> Option<T>) -> T {
        let wait = async {
            loop {
                let observed = self.sights.recv().await.expect("the watchers live");
                let metadata = match &observed.change {
                    WatchChange::Seen { metadata, .. } | WatchChange::Deleted { metadata } => Some(metadata),
                    WatchChange::Relisted { .. } | WatchChange::Denied { .. } | WatchChange::Gone => None,
                };
                if metadata.is_some_and(|metadata| metadata["namespace"] != self.namespace.as_str()) {
                    continue;
                }
                if let Some(found) = fits(&observed.change) {
                    return found;
                }
            }
        };
        let received = tokio::time::timeout(Duration::from_secs(30), wait).await;
        assert!(received.is_ok(), "{what} was not reported in time");
        received.unwrap()
    }
}

fn seen(event: &WatchChange, listed_only: Option<bool>) -> Option<Value> {
    match event {
        WatchChange::Seen { metadata, listed } if listed_only.is_none_or(|only| only == *listed) => {
            Some(metadata.clone())
        }
        _ => None,
    }
}

fn settings() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "NS"},
        "data": {"a": "1"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_a_stripped_label_and_a_deletion_are_reported() {
    let fixture = Fixture::new("watch").await;
    fixture.apply(&[settings()]).await;
    let mut ear = Ear::of(&fixture, &[("", "v1", "ConfigMap")]);
    let listed = ear.next_event("the listed object", |event| seen(event, Some(true))).await;
    assert_eq!(listed["name"], "settings");
    let key = (fixture.namespace.clone(), "settings".to_owned());
    let present = ear.next_event("the end of the list", |event| match event {
        WatchChange::Relisted { present } => Some(present.clone()),
        _ => None,
    });
    assert!(present.await.contains(&key));

    fixture
        .kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data": {"a": "2"}}"#], None)
        .await;
    let edited = ear.next_event("the edit", |event| seen(event, Some(false))).await;
    let managers = edited["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|entry| entry["manager"] == "kubectl-patch"), "{managers:?}");
    assert_eq!(edited.get("annotations"), None);

    fixture.kubectl(&["label", "configmap", "settings", "kustomize.toolkit.fluxcd.io/name-"], None).await;
    let deleted = |event: &WatchChange| matches!(event, WatchChange::Deleted { .. }).then_some(());
    ear.next_event("the stripped label", deleted).await;
    fixture.apply(&[settings()]).await;
    ear.next_event("the restored label", |event| seen(event, Some(false))).await;
    fixture.kubectl(&["delete", "configmap", "settings"], None).await;
    ear.next_event("the deletion", deleted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_without_owners_is_not_watched() {
    let fixture = Fixture::new("unwatch").await;
    let ear = Ear::of(&fixture, &[("", "v1", "ConfigMap"), ("apps", "v1", "Deployment")]);
    assert_eq!(ear.watchers.watched().len(), 2);
    ear.watchers.watch(&BTreeSet::new());
    assert_eq!(ear.watchers.watched().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_removed_is_reported_once_and_watched_again_when_it_is_back() {
    let fixture = Fixture::new("kindgone").await;
    // A group of this run's own: on a long-running plane, an earlier run has left nothing behind.
    let group = format!("{}.example.com", fixture.namespace);
    let name = format!("relics.{group}");
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "relics", "singular": "relic", "kind": "Relic", "listKind": "RelicList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let metadata = json!({"name": "one", "namespace": "NS"});
    let relic = json!({"apiVersion": format!("{group}/v1"), "kind": "Relic", "metadata": metadata});
    let mut ear = Ear::of(&fixture, &[(group.as_str(), "v1", "Relic")]);
    let gone = |event: &WatchChange| (*event == WatchChange::Gone).then_some(());
    ear.next_event("the absence of the kind", gone).await;

    let applied = fixture.apply(&[definition.clone(), relic.clone()]).await;
    assert!(applied.is_complete(), "{:?}", applied.error_summary());
    ear.watchers.kinds_changed();
    ear.next_event("the object of the new kind", |event| seen(event, None)).await;

    fixture.kubectl(&["delete", "crd", &name], None).await;
    ear.next_event("the end of the kind", gone).await;
    fixture.apply(&[definition, relic]).await;
    ear.watchers.kinds_changed();
    ear.next_event("the object of the kind that came back", |event| seen(event, None)).await;
    fixture.kubectl(&["delete", "crd", &name, "--wait=false"], None).await;
}
