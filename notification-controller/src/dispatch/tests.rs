//! Deliveries against sinks that fail, hang and refuse.

use plumb_alerting::rule::{AlertId, Delivery};
use plumb_testkit::scenario::Scenario;
use serde_json::{Value, json};

use super::lanes::{RUNNING_PER_LANE_MAX, WAITING_PER_LANE_MAX};
use super::*;
use crate::stage::{Sink, dispatcher, event, provider, secret, teller, until};

fn delivery(provider: &str) -> Delivery {
    Delivery {
        alert: AlertId { namespace: "prod".into(), name: "a".into() },
        provider: provider.into(),
        event: event("Applied"),
        conflicts: Vec::new(),
    }
}

fn spec(spec: Value) -> Arc<ProviderSpec> {
    Arc::new(provider("p", spec).spec)
}

#[tokio::test]
async fn an_event_arrives_with_what_the_secret_says() {
    let (api, sink) = (Scenario::new(), Sink::start(&[200]).await);
    secret(&api, "s", &[("address", &sink.url), ("token", "t0ken"), ("headers", "X-Env: prod")]);
    let (tell, told) = teller();
    let (dispatcher, _) = dispatcher(&api, tell);
    dispatcher.offer(delivery("p"), spec(json!({ "type": "generic-hmac", "secretRef": { "name": "s" } })));
    until(|| sink.count() == 1).await;
    dispatcher.drain(Duration::from_secs(5)).await;
    let (path, headers, body) = sink.got.lock().unwrap()[0].clone();
    assert_eq!((path.as_str(), &body["message"]), ("/sink/s3cret-path", &json!("Applied")));
    assert_eq!(
        (headers["gotk-component"].as_str(), headers["x-env"].as_str()),
        ("kustomize-controller", "prod")
    );
    assert!(headers["x-signature"].starts_with("sha256="));
    assert_eq!(*told.lock().unwrap(), []);
}

#[tokio::test]
async fn a_sink_that_recovers_is_tried_again() {
    let (api, sink) = (Scenario::new(), Sink::start(&[500, 429, 503, 200]).await);
    let (tell, told) = teller();
    let (dispatcher, _) = dispatcher(&api, tell);
    dispatcher.offer(delivery("p"), spec(json!({ "type": "generic", "address": sink.url })));
    until(|| sink.count() == 4).await;
    dispatcher.drain(Duration::from_secs(5)).await;
    assert_eq!(*told.lock().unwrap(), []);
}

/// What is told after a delivery to a sink with these answers, and how often the sink was asked.
async fn told(statuses: &'static [u16], body: &'static str, type_: &str) -> (String, usize) {
    let (api, sink) = (Scenario::new(), Sink::with_body(statuses, body).await);
    secret(&api, "s", &[("address", &sink.url), ("token", "t0ken")]);
    let (tell, told) = teller();
    let (dispatcher, _) = dispatcher(&api, tell);
    dispatcher.offer(delivery("p"), spec(json!({ "type": type_, "secretRef": { "name": "s" } })));
    until(|| !told.lock().unwrap().is_empty()).await;
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1);
    let (alert, reason, text) = &told[0];
    assert_eq!((alert.as_str(), *reason), ("prod/a", Reason::NotificationDispatchFailed));
    (text.clone(), sink.count())
}

#[tokio::test]
async fn a_sink_that_keeps_failing_is_given_up_and_told() {
    let (text, asked) = told(&[503], "", "generic").await;
    let expect = "failed to send notification for Kustomization/prod/apps: 127.0.0.1 did not take it: the server answered 503";
    assert_eq!((text.as_str(), asked), (expect, 5));
}

#[tokio::test]
async fn a_refusal_is_not_tried_again_and_its_secrets_are_masked() {
    let (text, asked) = told(&[403], "t0ken may not post to /sink/s3cret-path", "slack").await;
    assert_eq!(asked, 1);
    assert!(text.ends_with("127.0.0.1 did not take it: the server answered 403"), "{text}");
}

#[tokio::test]
async fn slack_refuses_with_a_status_of_200() {
    let (text, asked) = told(&[200], r#"{"ok":false,"error":"invalid_auth"}"#, "slack").await;
    assert_eq!(asked, 1);
    assert!(text.ends_with(r#"the server answered with the error "invalid_auth""#), "{text}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (text, asked) = told(&[307], "", "generic").await;
    assert_eq!(asked, 1);
    assert!(text.ends_with("the server answered 307"), "{text}");
}

#[tokio::test]
async fn a_missing_secret_and_a_missing_server_are_told() {
    let api = Scenario::new();
    api.on("GET", "/api/v1/namespaces/prod/secrets/*", plumb_testkit::scenario::Answer::not_found());
    let (tell, told) = teller();
    let (dispatcher, _) = dispatcher(&api, tell);
    dispatcher.offer(delivery("p"), spec(json!({ "type": "generic", "secretRef": { "name": "ghost" } })));
    until(|| told.lock().unwrap().len() == 1).await;
    assert!(told.lock().unwrap()[0].2.contains("secrets \"ghost\" not found"));
    // Port 1 is reserved: nobody listens there.
    dispatcher
        .offer(delivery("p"), spec(json!({ "type": "generic", "address": "http://127.0.0.1:1/s3cret" })));
    until(|| told.lock().unwrap().len() == 2).await;
    let text = told.lock().unwrap()[1].2.clone();
    assert!(text.contains("cannot reach 127.0.0.1") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_sink_that_hangs_is_bounded_and_holds_nobody_up() {
    let api = Scenario::new();
    let (hangs, fine) = (Sink::that_hangs().await, Sink::start(&[200]).await);
    let (tell, told) = teller();
    let (dispatcher, dropped) = dispatcher(&api, tell);
    let hanging = spec(json!({ "type": "generic", "address": hangs.url, "timeout": "1s" }));
    for _ in 0..WAITING_PER_LANE_MAX + RUNNING_PER_LANE_MAX + 10 {
        dispatcher.offer(delivery("hangs"), Arc::clone(&hanging));
    }
    assert_eq!(*dropped.lock().unwrap(), 10);
    until(|| hangs.count() == RUNNING_PER_LANE_MAX).await;
    let good = spec(json!({ "type": "generic", "address": fine.url }));
    for _ in 0..20 {
        dispatcher.offer(delivery("fine"), Arc::clone(&good));
    }
    until(|| fine.count() == 20).await;
    assert_eq!(hangs.count(), RUNNING_PER_LANE_MAX);
    until(|| told.lock().unwrap().len() >= RUNNING_PER_LANE_MAX).await;
    let text = told.lock().unwrap()[0].2.clone();
    assert!(text.ends_with("127.0.0.1 did not take it within 1 s"), "{text}");
}
