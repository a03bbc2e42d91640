//! Events against the server, over HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use plumb_memory::MemoryPool;
use plumb_testkit::scenario::Scenario;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::budget::Budget;
use crate::harness::{Reported, Sink, alert, alert_reporter, dispatcher, event_json, provider, until};
use crate::server::{BodyLimits, local};

struct Stage {
    url: String,
    directory: Arc<Directory>,
    reported: Reported,
    sink: Sink,
    matching: Matching,
    dropped: Arc<AtomicUsize>,
    memory: Share,
    _stop: CancellationToken,
}

impl Stage {
    /// An Alert `a` of all Kustomizations to a generic sink.
    async fn start(cross_namespace: CrossNamespace, filled: bool) -> Self {
        Self::with_token(cross_namespace, filled, None).await
    }

    async fn with_token(cross_namespace: CrossNamespace, filled: bool, token_file: Option<PathBuf>) -> Self {
        let sink = Sink::start(&[200]).await;
        let directory = Arc::new(Directory::default());
        let sources = json!([
            { "kind": "Kustomization", "name": "*" }, { "kind": "Kustomization", "name": "*", "namespace": "dev" }
        ]);
        directory
            .put_alert(&alert("a", json!({ "providerRef": { "name": "p" }, "eventSources": sources })))
            .unwrap();
        directory.put_provider(&provider("p", json!({ "type": "generic", "address": sink.url }))).unwrap();
        let (report, reported) = alert_reporter();
        let (dispatcher, _) = dispatcher(&Scenario::new(), Arc::clone(&report));
        let matching = Matching::new();
        let dropped = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&dropped);
        let memory = Budget::of(&MemoryPool::new(256 << 20)).bodies;
        let intake = Arc::new(Intake::new(IntakeConfig {
            directory: Arc::clone(&directory),
            dispatcher,
            matching: matching.clone(),
            memory: memory.clone(),
            report,
            count_dropped: Arc::new(move || {
                counted.fetch_add(1, Ordering::SeqCst);
            }),
            cross_namespace,
            is_filled: Arc::new(move || filled),
            interval: Duration::from_mins(5),
            token_file,
            webhooks_at: ":9292".to_owned(),
        }));
        let (address, stop) = local::start(BodyLimits::of_body(EVENT_BYTES_MAX), intake).await;
        let url = format!("http://{address}/any/path");
        Self { url, directory, reported, sink, matching, dropped, memory, _stop: stop }
    }

    async fn usual() -> Self {
        Self::start(CrossNamespace::Allowed, true).await
    }

    async fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::Response {
        crate::harness::http().post(&self.url).body(body).send().await.unwrap()
    }

    async fn event(&self, event: &Value) -> u16 {
        self.post(event.to_string()).await.status().as_u16()
    }

    fn reported(&self) -> Vec<(Reason, String)> {
        self.reported.lock().unwrap().iter().map(|(_, reason, text)| (*reason, text.clone())).collect()
    }
}

#[tokio::test]
async fn an_event_is_accepted_and_delivered() {
    let stage = Stage::usual().await;
    assert_eq!(stage.event(&event_json("Applied")).await, 202);
    until(|| stage.sink.count() == 1).await;
    let body = stage.sink.got.lock().unwrap()[0].2.clone();
    assert_eq!(body["metadata"], json!({ "revision": "main@sha1:1" }));
}

#[tokio::test]
async fn a_repeated_event_is_refused_and_not_delivered() {
    let stage = Stage::usual().await;
    assert_eq!(stage.event(&event_json("one")).await, 202);
    let again = stage.post(event_json("one").to_string()).await;
    assert_eq!(again.status().as_u16(), 429);
    assert_eq!(again.headers()["x-ratelimit-limit"], "1");
    assert!(again.headers()["retry-after"].to_str().unwrap().ends_with(" GMT"));
    assert_eq!(stage.event(&event_json("two")).await, 202);
    until(|| stage.sink.count() == 2).await;
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let stage = Stage::usual().await;
    for body in ["", "no JSON", "[]", "{}", r#"{"severity":"info"}"#, &"[".repeat(100_000)] {
        assert_eq!(stage.post(body.to_owned()).await.status().as_u16(), 400, "{body:.20}");
    }
    let get = crate::harness::http().get(&stage.url).send().await.unwrap();
    assert_eq!(get.status().as_u16(), 405);
}

#[tokio::test]
async fn a_webhook_that_is_posted_here_is_sent_to_the_receiver_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    for token_file in [None, Some(file)] {
        let mut stage = Stage::with_token(CrossNamespace::Allowed, true, token_file).await;
        stage.url = stage.url.replace("/any/path", "/hook/0123");
        let answer = stage.post("{}").await;
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert!(matches!(status, 400 | 401), "{status}");
        assert!(text.contains("webhooks are posted to the receiver server (--receiverAddr=:9292)"), "{text}");
    }
}

#[tokio::test]
async fn a_giant_event_is_refused() {
    let stage = Stage::usual().await;
    assert_eq!(stage.event(&event_json(&"x".repeat(3 << 20))).await, 413);
    assert_eq!(stage.event(&event_json(&"x".repeat(1 << 20))).await, 202);
    until(|| stage.sink.count() == 1).await;
}

#[tokio::test]
async fn before_the_watches_have_synced_the_sender_is_asked_to_retry() {
    let stage = Stage::start(CrossNamespace::Allowed, false).await;
    assert_eq!(stage.event(&event_json("Applied")).await, 503);
}

#[tokio::test]
async fn another_namespace_is_reported_where_it_is_blocked() {
    let stage = Stage::start(CrossNamespace::Blocked, true).await;
    let mut event = event_json("Applied");
    event["involvedObject"]["namespace"] = "dev".into();
    assert_eq!(stage.event(&event).await, 202);
    let reported = stage.reported();
    assert_eq!(reported.len(), 1);
    assert_eq!(reported[0].0, Reason::NotificationDispatchFailed);
    assert!(reported[0].1.ends_with("cross-namespace references have been blocked"), "{reported:?}");
    assert_eq!(stage.sink.count(), 0);
}

#[tokio::test]
async fn a_missing_provider_is_reported_and_a_silent_one_is_not() {
    let stage = Stage::usual().await;
    stage.directory.put_provider(&provider("p", json!({ "type": "generic", "suspend": true }))).unwrap();
    assert_eq!(stage.event(&event_json("one")).await, 202);
    assert!(stage.directory.put_provider(&provider("p", json!({ "type": "discord" }))).is_err());
    assert_eq!(stage.event(&event_json("two")).await, 202);
    assert_eq!(stage.reported(), []);
    stage.directory.drop_provider("prod", "p");
    assert_eq!(stage.event(&event_json("three")).await, 202);
    let reported = stage.reported();
    assert!(reported[0].1.ends_with("failed to read provider: Provider \"p\" not found"), "{reported:?}");
    assert_eq!(stage.sink.count(), 0);
}

#[tokio::test]
async fn an_alert_that_is_not_honoured_or_gone_sends_nothing() {
    let stage = Stage::usual().await;
    let labelled = json!([{ "kind": "Kustomization", "name": "*", "matchLabels": { "a": "b" } }]);
    let unsupported = alert("a", json!({ "providerRef": { "name": "p" }, "eventSources": labelled }));
    assert!(stage.directory.put_alert(&unsupported).is_err());
    assert_eq!(stage.event(&event_json("one")).await, 202);
    stage.directory.drop_alert("prod", "a");
    assert_eq!(stage.event(&event_json("two")).await, 202);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.sink.count(), 0);
}

#[tokio::test]
async fn conflicting_metadata_is_reported_and_the_event_is_sent() {
    let stage = Stage::usual().await;
    let sources = json!([{ "kind": "Kustomization", "name": "*" }]);
    let spec = json!({ "providerRef": { "name": "p" }, "eventSources": sources, "eventMetadata": { "revision": "x" } });
    stage.directory.put_alert(&alert("a", spec)).unwrap();
    assert_eq!(stage.event(&event_json("one")).await, 202);
    until(|| stage.sink.count() == 1).await;
    let text = "metadata key conflicts detected: revision: spec.eventMetadata of the Alert < the controller";
    assert_eq!(stage.reported(), [(Reason::MetadataAppendFailed, text.to_owned())]);
    assert_eq!(stage.sink.got.lock().unwrap()[0].2["metadata"]["revision"], "main@sha1:1");
}

#[tokio::test]
async fn a_commit_status_update_reaches_programs_and_not_people() {
    let stage = Stage::usual().await;
    let mut event = event_json("one");
    event["metadata"]["kustomize.toolkit.fluxcd.io/commit_status"] = "update".into();
    assert_eq!(stage.event(&event).await, 202);
    until(|| stage.sink.count() == 1).await;
    stage
        .directory
        .put_provider(&provider("p", json!({ "type": "slack", "address": stage.sink.url })))
        .unwrap();
    event["message"] = "two".into();
    assert_eq!(stage.event(&event).await, 202);
    assert_eq!(stage.event(&event_json("three")).await, 202);
    until(|| stage.sink.count() == 2).await;
    assert_eq!(stage.sink.got.lock().unwrap()[1].2["attachments"][0]["text"], "three");
}

/// An Alert of this namespace about Kustomizations of `prod`, whose messages are held against a pattern.
fn filtered(namespace: &str) -> plumb_api::notification::Alert {
    let sources = json!([{ "kind": "Kustomization", "name": "*", "namespace": "prod" }]);
    let spec = json!({ "providerRef": { "name": "p" }, "eventSources": sources, "inclusionList": ["^App"] });
    let mut alert = alert("filtered", spec);
    alert.metadata.namespace = Some(namespace.into());
    alert
}

#[tokio::test]
async fn patterns_that_take_long_hold_up_neither_the_server_nor_other_namespaces() {
    let stage = Stage::usual().await;
    for namespace in ["hostile", "honest"] {
        stage.directory.put_alert(&filtered(namespace)).unwrap();
        let mut provider = provider("p", json!({ "type": "generic", "address": stage.sink.url }));
        provider.metadata.namespace = Some(namespace.into());
        stage.directory.put_provider(&provider).unwrap();
    }
    // Matching in this namespace takes as long as the test wants. The runtime has one worker.
    let (release, held) = mpsc::channel::<()>();
    stage.matching.push("hostile", move || held.recv().unwrap());
    for at in 0..3 {
        assert_eq!(stage.event(&event_json(&format!("Applied {at}"))).await, 202);
    }
    // Three to the Alert without patterns, three to the honest one with patterns.
    until(|| stage.sink.count() == 6).await;
    release.send(()).unwrap();
    until(|| stage.sink.count() == 9).await;
}

#[tokio::test]
async fn events_that_find_no_room_to_be_matched_are_counted_and_their_bytes_given_back() {
    let stage = Stage::usual().await;
    stage.directory.drop_alert("prod", "a");
    stage.directory.put_alert(&filtered("hostile")).unwrap();
    let (release, held) = mpsc::channel::<()>();
    stage.matching.push("hostile", move || held.recv().unwrap());
    until(|| !stage.matching.has_waiting()).await;
    for _ in 0..crate::matching::WAITING_PER_NAMESPACE_MAX {
        stage.matching.offer("hostile", || ()).unwrap();
    }
    for message in ["one", "two"] {
        assert_eq!(stage.event(&event_json(message)).await, 202);
    }
    assert_eq!(stage.dropped.load(Ordering::SeqCst), 2);
    release.send(()).unwrap();
    stage.matching.wait();
    until(|| stage.memory.held() == 0).await;
}

#[tokio::test]
async fn with_a_token_file_only_those_who_know_the_token_post_events() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "t0ken\n").unwrap();
    let stage = Stage::with_token(CrossNamespace::Allowed, true, Some(file.clone())).await;
    let post = async |authorization: Option<&str>, message: &str| {
        let mut request = crate::harness::http().post(&stage.url).body(event_json(message).to_string());
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        request.send().await.unwrap().status().as_u16()
    };
    for given in [
        None,
        Some(""),
        Some("Bearer "),
        Some("Bearer t0ke"),
        Some("Bearer t0ken2"),
        Some("Basic t0ken"),
        Some("t0ken"),
    ] {
        assert_eq!(post(given, "forged").await, 401, "{given:?}");
    }
    assert_eq!(post(Some("Bearer t0ken"), "one").await, 202);
    // A new token counts at once, and without one nobody is let in.
    std::fs::write(&file, "new").unwrap();
    assert_eq!(post(Some("Bearer t0ken"), "two").await, 401);
    assert_eq!(post(Some("bearer new"), "two").await, 202);
    std::fs::write(&file, "").unwrap();
    assert_eq!(post(Some("Bearer "), "three").await, 503);
    until(|| stage.sink.count() == 2).await;
}
