//! Which of a runtime's clients may write.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use plumb_api::source::{GitRepository, GitRepositoryCondition};
use plumb_status::AttemptOutcome;
use plumb_testkit::scenario::{Response, Scenario};
use serde_json::json;

use super::*;
use crate::options::tests::parse;

async fn writes(client: Client) -> bool {
    let maps: Api<ConfigMap> = Api::namespaced(client, "apps");
    maps.patch("settings", &PatchParams::default(), &Patch::Merge(json!({}))).await.is_ok()
}

#[tokio::test]
async fn a_replica_that_does_not_lead_writes_nothing_but_for_webhooks() {
    for (args, may_write) in [(&["--enable-leader-election"][..], false), (&[], true)] {
        let api = Scenario::new();
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" } });
        api.on("PATCH", "/api/v1/namespaces/apps/configmaps/settings", Response::ok(map));
        let runtime = Runtime::new(&parse(args).unwrap(), api.client(), Clock::system());
        assert_eq!(writes(runtime.client()).await, may_write, "{args:?}");
        assert!(writes(runtime.unfenced_client()).await);
    }
}

/// Does nothing.
struct Idle;

struct Nothing;

impl plumb_status::Ledger for Nothing {
    type Condition = GitRepositoryCondition;
}

impl ReconciledKind for Idle {
    type Object = GitRepository;
    type Ledger = Nothing;

    fn ledger(&self, _: &GitRepository) -> Nothing {
        Nothing
    }

    async fn reconcile(&self, _: &crate::Visit<Self>) -> AttemptOutcome<GitRepositoryCondition> {
        AttemptOutcome::Suspended
    }

    fn status(&self, _: &GitRepository, _: &Nothing) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }
}

fn repository(reason: &str) -> Arc<GitRepository> {
    let object = serde_json::from_value(json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": { "name": "web", "namespace": "apps", "uid": "u", "generation": 1, "resourceVersion": "8" },
        "spec": { "url": "https://git.example/web", "interval": "1m" },
        "status": { "observedGeneration": 1, "conditions": [{
            "type": "Ready", "status": "Unknown", "reason": reason, "message": "m",
            "lastTransitionTime": "2026-11-25T06:30:00Z"
        }] }
    }));
    Arc::new(object.unwrap())
}

#[tokio::test]
async fn a_status_that_claims_progress_where_none_is_made_is_reconciled() {
    for (reason, queued) in [("Progressing", 1), ("Succeeded", 0)] {
        let runtime = Runtime::new(&parse(&[]).unwrap(), Scenario::new().client(), Clock::system());
        let queue = runtime.queue();
        let unreadable = UnreadableReporter {
            client: runtime.client(),
            recorder: runtime.recorder(),
            clock: runtime.clock(),
            manager: "c",
            waiting: Arc::default(),
        };
        let on_change = on_change(&Arc::new(Idle), &queue, unreadable);
        let (old, new) = (Some(repository("Succeeded")), repository(reason));
        on_change(&ObjectEvent::Applied { old, new: Arc::clone(&new) });
        assert_eq!(queue.depth(), queued, "{reason}");
        if queued > 0 {
            // An attempt of this process says so itself.
            let _taken = queue.next().await;
            on_change(&ObjectEvent::Applied { old: Some(Arc::clone(&new)), new });
            assert_eq!(queue.depth(), 0);
        }
    }
}

#[test]
fn times_that_would_let_two_replicas_write_are_rejected() {
    let check =
        |args: &[&str]| parse(&[&["--enable-leader-election"], args].concat()).unwrap().validate().is_ok();
    assert!(check(&[]));
    assert!(!check(&["--leader-election-lease-duration=30s"]));
    assert!(!check(&["--leader-election-renew-deadline=5s"]));
    assert!(!check(&["--leader-election-retry-period=0s"]));
    assert!(!check(&["--leader-election-retry-period=1ns"]));
}

#[tokio::test(start_paused = true)]
async fn what_failed_in_an_outage_is_retried_when_it_has_ended() {
    let api = Scenario::new();
    let path = "/api/v1/namespaces/apps/configmaps/settings";
    api.on("PATCH", path, Response::status(503, "ServiceUnavailable", "away"));
    let outages = Outages::default();
    let client = outages.observe(api.client());
    let queue = Queue::new(plumb_status::cadence::Backoff::default());
    let retries = tokio::spawn(retry_after_outages(outages.ends(), queue.clone()));
    let key = NamespacedName::new("apps", "a");
    queue.add(&key, Priority::Revision);
    let taken = queue.next().await;
    assert!(!writes(client.clone()).await);
    queue.done(&taken, crate::Again::FailedAfter(Duration::from_hours(1)));
    tokio::time::sleep(plumb_cluster::outage::OUTAGE_MIN).await;
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" } });
    api.on("PATCH", path, Response::ok(map));
    assert!(writes(client).await);
    let visited = tokio::time::timeout(Duration::from_secs(1), queue.next()).await;
    assert_eq!(visited.map(|taken| taken.key).ok(), Some(key));
    retries.abort();
}

#[tokio::test(start_paused = true)]
async fn kinds_that_are_served_later_are_watched_then_and_hold_up_nothing() {
    let api = Scenario::new();
    let mut runtime = Runtime::new(&parse(&[]).unwrap(), api.client(), Clock::system());
    let begin = CancellationToken::new();
    runtime.install_later(begin.clone(), |runtime| drop(runtime.install(Idle)));
    assert!(runtime.synced.is_empty(), "nothing waits for its first list");
    let watch = tokio::spawn(runtime.watches.pop().unwrap());
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(api.calls().is_empty());
    begin.cancel();
    while api.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    watch.abort();
    runtime.install(Idle);
    assert_eq!(runtime.synced.len(), 1, "other kinds are waited for");
}
