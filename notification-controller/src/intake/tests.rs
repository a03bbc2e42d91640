//! Events against the server, over HTTP.

use plumb_testkit::scenario::Scenario;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::server::{Limits, local};
use crate::stage::{Sink, Told, alert, dispatcher, event_json, provider, teller, until};

struct Stage {
    url: String,
    directory: Arc<Directory>,
    told: Told,
    sink: Sink,
    _stop: CancellationToken,
}

impl Stage {
    /// An Alert `a` of all Kustomizations to a generic sink.
    async fn start(cross_namespace: CrossNamespace, filled: bool) -> Self {
        let sink = Sink::start(&[200]).await;
        let directory = Arc::new(Directory::default());
        let sources = json!([
            { "kind": "Kustomization", "name": "*" }, { "kind": "Kustomization", "name": "*", "namespace": "dev" }
        ]);
        directory
            .put_alert(&alert("a", json!({ "providerRef": { "name": "p" }, "eventSources": sources })))
            .unwrap();
        directory.put_provider(&provider("p", json!({ "type": "generic", "address": sink.url }))).unwrap();
        let (tell, told) = teller();
        let (dispatcher, _) = dispatcher(&Scenario::new(), Arc::clone(&tell));
        let intake = Arc::new(Intake::new(
            Arc::clone(&directory),
            dispatcher,
            tell,
            cross_namespace,
            Arc::new(move || filled),
            Duration::from_mins(5),
        ));
        let handle = move |arrived| {
            let intake = Arc::clone(&intake);
            async move { intake.take(&arrived) }
        };
        let (address, stop) = local::start(Limits::of_body(3 << 20), handle).await;
        Self { url: format!("http://{address}/any/path"), directory, told, sink, _stop: stop }
    }

    async fn usual() -> Self {
        Self::start(CrossNamespace::Allowed, true).await
    }

    async fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::Response {
        crate::stage::http().post(&self.url).body(body).send().await.unwrap()
    }

    async fn event(&self, event: &Value) -> u16 {
        self.post(event.to_string()).await.status().as_u16()
    }

    fn told(&self) -> Vec<(Reason, String)> {
        self.told.lock().unwrap().iter().map(|(_, reason, text)| (*reason, text.clone())).collect()
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
    let get = crate::stage::http().get(&stage.url).send().await.unwrap();
    assert_eq!(get.status().as_u16(), 405);
}

#[tokio::test]
async fn a_giant_event_is_refused() {
    let stage = Stage::usual().await;
    assert_eq!(stage.event(&event_json(&"x".repeat(3 << 20))).await, 413);
    assert_eq!(stage.event(&event_json(&"x".repeat(1 << 20))).await, 202);
    until(|| stage.sink.count() == 1).await;
}

#[tokio::test]
async fn before_the_watches_have_spoken_the_sender_is_asked_to_come_back() {
    let stage = Stage::start(CrossNamespace::Allowed, false).await;
    assert_eq!(stage.event(&event_json("Applied")).await, 503);
}

#[tokio::test]
async fn another_namespace_is_told_where_it_is_blocked() {
    let stage = Stage::start(CrossNamespace::Blocked, true).await;
    let mut event = event_json("Applied");
    event["involvedObject"]["namespace"] = "dev".into();
    assert_eq!(stage.event(&event).await, 202);
    let told = stage.told();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, Reason::NotificationDispatchFailed);
    assert!(told[0].1.ends_with("cross-namespace references have been blocked"), "{told:?}");
    assert_eq!(stage.sink.count(), 0);
}

#[tokio::test]
async fn a_missing_provider_is_told_and_a_silent_one_is_not() {
    let stage = Stage::usual().await;
    stage.directory.put_provider(&provider("p", json!({ "type": "generic", "suspend": true }))).unwrap();
    assert_eq!(stage.event(&event_json("one")).await, 202);
    assert!(stage.directory.put_provider(&provider("p", json!({ "type": "discord" }))).is_err());
    assert_eq!(stage.event(&event_json("two")).await, 202);
    assert_eq!(stage.told(), []);
    stage.directory.drop_provider("prod", "p");
    assert_eq!(stage.event(&event_json("three")).await, 202);
    let told = stage.told();
    assert!(told[0].1.ends_with("failed to read provider: Provider \"p\" not found"), "{told:?}");
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
async fn conflicting_metadata_is_told_and_the_event_goes_out() {
    let stage = Stage::usual().await;
    let sources = json!([{ "kind": "Kustomization", "name": "*" }]);
    let spec = json!({ "providerRef": { "name": "p" }, "eventSources": sources, "eventMetadata": { "revision": "x" } });
    stage.directory.put_alert(&alert("a", spec)).unwrap();
    assert_eq!(stage.event(&event_json("one")).await, 202);
    until(|| stage.sink.count() == 1).await;
    let text = "metadata key conflicts detected: revision: spec.eventMetadata of the Alert < the controller";
    assert_eq!(stage.told(), [(Reason::MetadataAppendFailed, text.to_owned())]);
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
