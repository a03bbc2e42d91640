//! Watches of an API server that is silent, quiet, or back again.

use k8s_openapi::api::core::v1::ConfigMap;
use plumb_testkit::scenario::{Call, Response, Scenario};
use serde_json::json;

use super::*;
use crate::admin::Readiness;
use plumb_cluster::client::{Deadlines, with_deadlines};

const MAPS: &str = "/api/v1/configmaps";
/// What a dead connection may stay unnoticed.
const NOTICED: Duration = Duration::from_mins(1);

struct Fixture {
    api: Scenario,
    readiness: Readiness,
    store: ObjectCache<ConfigMap>,
}

impl Fixture {
    /// A watch of an API server that answers reads so.
    fn new(answer: impl Fn(&Call) -> Response + Send + Sync + 'static) -> Self {
        let api = Scenario::new();
        api.on("GET", MAPS, Response::with(answer));
        let (readiness, store) = (Readiness::default(), ObjectCache::default());
        let watch = Watch {
            client: with_deadlines(api.client(), Deadlines::USUAL),
            outages: plumb_cluster::Outages::default(),
            watching: Watching::default(),
            store: store.clone(),
            on_change: Arc::new(|_| {}),
            health: WatchHealth::new(readiness.gate("ConfigMap")),
        };
        tokio::spawn(watch.run());
        Self { api, readiness, store }
    }

    fn count(&self, watches: bool) -> usize {
        let calls = self.api.calls();
        calls.iter().filter(|call| call.parameter("watch").is_some() == watches).count()
    }
}

fn is_watch(call: &Call) -> bool {
    call.parameter("watch").is_some()
}

fn list() -> Response {
    let mut list = json!({ "apiVersion": "v1", "kind": "ConfigMapList", "items": [] });
    list["metadata"] = json!({ "resourceVersion": "7" });
    Response::ok(list)
}

#[tokio::test(start_paused = true)]
async fn a_list_without_response_makes_the_process_unready_and_is_retried() {
    let fixture = Fixture::new(|_| Response::silence());
    tokio::time::sleep(NOTICED).await;
    assert_eq!(fixture.readiness.closed(), ["ConfigMap"]);
    assert_eq!(fixture.count(false), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_connection_dies_is_noticed_and_goes_on_where_it_was() {
    let (feed, alive) = Response::feed();
    let begun = std::sync::atomic::AtomicUsize::new(0);
    let fixture = Fixture::new(move |call| {
        if !is_watch(call) {
            return list();
        }
        match begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            // It starts, and then nothing comes any more: its sender is kept and never used.
            0 => {
                let (dead, silent) = Response::feed();
                std::mem::forget(dead);
                silent
            }
            _ => alive.clone(),
        }
    });
    fixture.store.synced().await;
    tokio::time::sleep(NOTICED).await;
    assert_eq!((fixture.count(false), fixture.count(true)), (1, 2), "watched again, not listed again");
    let calls = fixture.api.calls();
    assert_eq!(calls.last().unwrap().parameter("resourceVersion"), Some("7"));
    feed.send(
        "ADDED",
        &json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "a", "namespace": "apps", "resourceVersion": "8", "uid": "a" }
        }),
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(fixture.store.get(&NamespacedName::new("apps", "a")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_cannot_start_again_makes_the_process_unready_until_it_can() {
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let flag = Arc::clone(&broken);
    let fixture =
        Fixture::new(move |call| match (is_watch(call), flag.load(std::sync::atomic::Ordering::SeqCst)) {
            (false, _) => list(),
            (true, true) => Response::status(503, "ServiceUnavailable", "no backend"),
            (true, false) => {
                let (quiet, silent) = Response::feed();
                std::mem::forget(quiet);
                silent
            }
        });
    fixture.store.synced().await;
    assert_eq!(fixture.readiness.closed(), [""; 0], "one failure is nothing");
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(fixture.readiness.closed(), ["ConfigMap"]);
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert_eq!(fixture.readiness.closed(), [""; 0], "a quiet watch is healthy");
}

/// The server ends a quiet watch after `timeoutSeconds`.
#[tokio::test(start_paused = true)]
async fn a_quiet_watch_is_never_listed_again() {
    let fixture = Fixture::new(|call| {
        if !is_watch(call) {
            return list();
        }
        let seconds: u64 = call.parameter("timeoutSeconds").and_then(|text| text.parse().ok()).unwrap_or(0);
        let (feed, answer) = Response::feed();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            drop(feed);
        });
        answer
    });
    fixture.store.synced().await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((fixture.count(false), fixture.readiness.closed().len()), (1, 0));
    assert!((88..=91).contains(&fixture.count(true)), "{}", fixture.count(true));
}
