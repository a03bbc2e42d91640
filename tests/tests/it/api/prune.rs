//! Prune, on a real API server: what is deleted, what is not pruned, and what counts as deleted.

use std::{ops::ControlFlow, time::Duration};

use plumb_apply::{PruneOutcome, Pruned};
use plumb_cluster::{Budget, GroupVersionKind, RequestError};
use plumb_planning::claims::Claims;
use plumb_planning::prune::{Candidate, SkipReason};
use plumb_testkit::wait::Wait;
use serde_json::{Value, json};

use super::cluster::Fixture;

fn map(name: &str, metadata: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}});
    object["metadata"]["name"] = name.into();
    object["metadata"]["namespace"] = "NS".into();
    object
}

async fn prune(fixture: &Fixture, ids: &[(&str, &str)]) -> Pruned {
    let candidate =
        |(id, version): &(&str, &str)| Candidate { id: fixture.id(id), version: (*version).to_owned() };
    let candidates: Vec<_> = ids.iter().map(candidate).collect();
    let budget = Budget::lasting(Duration::from_mins(1));
    plumb_apply::prune(&fixture.cluster, &candidates, &fixture.owner, Claims::default(), 4, &budget).await
}

#[track_caller]
fn outcome(pruned: &Pruned, name: &str) -> PruneOutcome {
    pruned.outcomes.iter().find(|(id, _)| id.name == name).expect("the candidate was decided").1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_objects_are_deleted_and_missing_ones_count_as_deleted() {
    let fixture = Fixture::new("prune").await;
    fixture.apply(&[map("ours", json!({}))]).await;
    let pruned = prune(&fixture, &[("NS_ours__ConfigMap", "v1"), ("NS_gone__ConfigMap", "v1")]).await;
    assert_eq!(pruned.error_summary(), None);
    assert_eq!(outcome(&pruned, "ours"), PruneOutcome::Deleted);
    assert_eq!(outcome(&pruned, "gone"), PruneOutcome::Absent);
    assert_eq!(pruned.lines(), [format!("ConfigMap/{}/ours deleted", fixture.namespace)]);
    assert_eq!(pruned.released().count(), 2);
    assert!(fixture.live("NS_ours__ConfigMap", "v1").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_another_owner_or_without_one_are_not_pruned() {
    let fixture = Fixture::new("foreign").await;
    let labels = json!({
        "kustomize.toolkit.fluxcd.io/name": "other", "kustomize.toolkit.fluxcd.io/namespace": "elsewhere",
    });
    fixture.create(&map("theirs", json!({"labels": labels}))).await;
    fixture.create(&map("nobodys", json!({}))).await;
    let pruned = prune(&fixture, &[("NS_theirs__ConfigMap", "v1"), ("NS_nobodys__ConfigMap", "v1")]).await;
    assert!(matches!(outcome(&pruned, "theirs"), PruneOutcome::Skipped(SkipReason::OwnedBy(_))));
    assert_eq!(outcome(&pruned, "nobodys"), PruneOutcome::Skipped(SkipReason::NotOwned));
    assert!(fixture.live("NS_theirs__ConfigMap", "v1").await.is_some());
    assert!(fixture.live("NS_nobodys__ConfigMap", "v1").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_with_prune_disabled_are_not_pruned() {
    let fixture = Fixture::new("kept").await;
    let annotations = json!({"kustomize.toolkit.fluxcd.io/prune": "disabled"});
    fixture.apply(&[map("kept", json!({"annotations": annotations}))]).await;
    let pruned = prune(&fixture, &[("NS_kept__ConfigMap", "v1")]).await;
    assert_eq!(outcome(&pruned, "kept"), PruneOutcome::Skipped(SkipReason::PruneDisabled));
    assert!(fixture.live("NS_kept__ConfigMap", "v1").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_a_finalizer_holds_stays_in_the_inventory() {
    let fixture = Fixture::new("held").await;
    fixture.apply(&[map("held", json!({"finalizers": ["example.com/hold"]}))]).await;
    let pruned = prune(&fixture, &[("NS_held__ConfigMap", "v1")]).await;
    assert_eq!(outcome(&pruned, "held"), PruneOutcome::Terminating);
    assert_eq!(pruned.released().count(), 0);
    let again = prune(&fixture, &[("NS_held__ConfigMap", "v1")]).await;
    assert_eq!(outcome(&again, "held"), PruneOutcome::Skipped(SkipReason::BeingDeleted));
    assert_eq!(again.released().count(), 0);
    let release = r#"{"metadata": {"finalizers": null}}"#;
    fixture.kubectl(&["patch", "configmap", "held", "--type=merge", "-p", release], None).await;
    assert_eq!(
        outcome(&prune(&fixture, &[("NS_held__ConfigMap", "v1")]).await, "held"),
        PruneOutcome::Absent
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_whose_kind_is_not_served_any_more_count_as_deleted() {
    let fixture = Fixture::new("kindless").await;
    let pruned = prune(&fixture, &[("NS_x_prune.example.com_Relic", "v1"), ("NS_y__ConfigMap", "v9")]).await;
    assert_eq!(pruned.error_summary(), None);
    assert_eq!(outcome(&pruned, "x"), PruneOutcome::Absent);
    assert_eq!(outcome(&pruned, "y"), PruneOutcome::Absent, "the kind is served in another version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_another_manager_does_not_stop_the_deletion() {
    let fixture = Fixture::new("moving").await;
    fixture.apply(&[map("moving", json!({}))]).await;
    let busy = async {
        for round in 0..5 {
            let edit = format!(r#"{{"data": {{"round": "{round}"}}}}"#);
            let gone = fixture.live("NS_moving__ConfigMap", "v1").await.is_none();
            if gone {
                break;
            }
            let api: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
                kube::Api::namespaced(fixture.client.clone(), &fixture.namespace);
            let patch: Value = serde_json::from_str(&edit).unwrap();
            // An error means that it is deleted by now.
            let _ = api
                .patch("moving", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch))
                .await;
        }
    };
    let (pruned, ()) = tokio::join!(prune(&fixture, &[("NS_moving__ConfigMap", "v1")]), busy);
    assert_eq!(pruned.error_summary(), None);
    assert!(fixture.live("NS_moving__ConfigMap", "v1").await.is_none());
}

/// How long the server may take to report that the API of a group cannot be reached, or does not exist.
const KNOWN_MAX: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_group_whose_server_is_down_counts_as_deleted() {
    let fixture = Fixture::new("partial").await;
    let group = format!("{}.example.com", fixture.namespace);
    let (kind, name) = (GroupVersionKind::gvk(&group, "v1", "Relic"), format!("v1.{group}"));
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name},
        "spec": {
            "group": group, "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"name": "nowhere", "namespace": fixture.namespace},
        },
    });
    fixture.kubectl(&["create", "-f", "-"], Some(&service)).await;
    let budget = Budget::lasting(KNOWN_MAX);
    let down = Wait::until("the group counts as unreachable", KNOWN_MAX).every(POLL).poll(async || {
        fixture.cluster.mapper().doubt();
        let resolved = fixture.cluster.mapper().resolve_any(&kind, &budget).await;
        let down = matches!(resolved, Err(RequestError::StaleDiscovery { .. }));
        Ok(if down { ControlFlow::Break(()) } else { ControlFlow::Continue(resolved) })
    });
    down.await.unwrap();
    fixture.apply(&[map("ours", json!({}))]).await;
    let relic = format!("NS_x_{group}_Relic");
    let ids = [(relic.as_str(), "v1"), ("NS_ours__ConfigMap", "v1")];
    let pruned = prune(&fixture, &ids).await;
    fixture.kubectl(&["delete", "apiservice", &name], None).await;
    assert_eq!(outcome(&pruned, "ours"), PruneOutcome::Deleted, "the others are pruned");
    assert_eq!((pruned.failures.len(), pruned.released().count()), (1, 1), "{:?}", pruned.error_summary());
    assert!(pruned.error_summary().unwrap().contains(&group), "{:?}", pruned.error_summary());
    // Without the service the kind is known not to be served.
    let deleted = Wait::until("it counts as deleted", KNOWN_MAX).every(POLL).poll(async || {
        let pruned = prune(&fixture, &ids[..1]).await;
        let waits = pruned.outcomes.is_empty();
        Ok(if waits { ControlFlow::Continue(pruned.error_summary()) } else { ControlFlow::Break(()) })
    });
    deleted.await.unwrap();
    assert_eq!(outcome(&prune(&fixture, &ids[..1]).await, "x"), PruneOutcome::Absent);
}
