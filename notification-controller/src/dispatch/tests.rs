//! Deliveries against sinks that fail, hang and refuse.

use plumb_alerting::rule::Delivery;
use plumb_api::meta::NamespacedName;
use plumb_testkit::scenario::Scenario;
use serde_json::{Value, json};

use super::queues::{
    FAILURES_MAX, RUNNING_PER_NAMESPACE_MAX, RUNNING_PER_PROVIDER_MAX, WAITING_PER_PROVIDER_MAX,
};
use super::*;
use crate::harness::{Sink, alert_reporter, dispatcher, event, provider, secret, until};

fn delivery(provider: &str) -> Delivery {
    about("prod", provider, "apps", "Applied")
}

/// A message about an object, for a Provider of this namespace.
fn about(namespace: &str, provider: &str, object: &str, message: &str) -> Delivery {
    let mut event = event(message);
    event.involved_object.name = object.into();
    Delivery {
        alert: NamespacedName::new(namespace, "a"),
        provider: provider.into(),
        event,
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
    let (report, reported) = alert_reporter();
    let (dispatcher, _) = dispatcher(&api, report);
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
    assert_eq!(*reported.lock().unwrap(), []);
}

#[tokio::test]
async fn a_sink_that_recovers_is_tried_again() {
    let (api, sink) = (Scenario::new(), Sink::start(&[500, 429, 503, 200]).await);
    let (report, reported) = alert_reporter();
    let (dispatcher, _) = dispatcher(&api, report);
    dispatcher.offer(delivery("p"), spec(json!({ "type": "generic", "address": sink.url })));
    until(|| sink.count() == 4).await;
    dispatcher.drain(Duration::from_secs(5)).await;
    assert_eq!(*reported.lock().unwrap(), []);
}

/// What is reported after a delivery to a sink with these responses, and how often the sink was called.
async fn reported(statuses: &'static [u16], body: &'static str, type_: &str) -> (String, usize) {
    let (api, sink) = (Scenario::new(), Sink::with_body(statuses, body).await);
    secret(&api, "s", &[("address", &sink.url), ("token", "t0ken")]);
    let (report, reported) = alert_reporter();
    let (dispatcher, _) = dispatcher(&api, report);
    dispatcher.offer(delivery("p"), spec(json!({ "type": type_, "secretRef": { "name": "s" } })));
    until(|| !reported.lock().unwrap().is_empty()).await;
    let reported = reported.lock().unwrap();
    assert_eq!(reported.len(), 1);
    let (alert, reason, text) = &reported[0];
    assert_eq!((alert.as_str(), *reason), ("prod/a", Reason::NotificationDispatchFailed));
    (text.clone(), sink.count())
}

#[tokio::test]
async fn a_sink_that_keeps_failing_is_given_up_and_reported() {
    let (text, asked) = reported(&[503], "", "generic").await;
    let expect = "failed to send notification for Kustomization/prod/apps to Provider/prod/p: 127.0.0.1 rejected the request: the server answered 503";
    assert_eq!((text.as_str(), asked), (expect, 5));
}

#[tokio::test]
async fn an_address_that_is_no_url_is_named_by_provider_and_key() {
    let api = Scenario::new();
    secret(&api, "s", &[("address", "hooks.example.com/s3cret")]);
    let of_spec = json!({ "type": "generic", "address": "hooks.example.com/s3cret" });
    let of_secret = json!({ "type": "generic", "address": "http://h", "secretRef": { "name": "s" } });
    for (provider, origin) in [(of_spec, "spec.address"), (of_secret, "key 'address' of secret 'prod/s'")] {
        let (report, reported) = alert_reporter();
        let (dispatcher, _) = dispatcher(&api, report);
        dispatcher.offer(delivery("p"), spec(provider));
        until(|| !reported.lock().unwrap().is_empty()).await;
        let expect = format!(
            "failed to send notification for Kustomization/prod/apps to Provider/prod/p: {origin} is not a valid URL that \
             begins with http:// or https://"
        );
        assert_eq!(reported.lock().unwrap()[0].2, expect);
    }
}

#[tokio::test]
async fn a_refusal_is_not_tried_again_and_its_secrets_are_masked() {
    let (text, asked) = reported(&[403], "t0ken may not post to /sink/s3cret-path", "slack").await;
    assert_eq!(asked, 1);
    assert!(text.ends_with("127.0.0.1 rejected the request: the server answered 403"), "{text}");
}

#[tokio::test]
async fn slack_refuses_with_a_status_of_200() {
    let (text, asked) = reported(&[200], r#"{"ok":false,"error":"invalid_auth"}"#, "slack").await;
    assert_eq!(asked, 1);
    assert!(text.ends_with(r#"the server answered with the error "invalid_auth""#), "{text}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (text, asked) = reported(&[307], "", "generic").await;
    assert_eq!(asked, 1);
    assert!(text.ends_with("the server answered 307"), "{text}");
}

#[tokio::test]
async fn a_missing_secret_and_a_missing_server_are_reported() {
    let api = Scenario::new();
    api.on("GET", "/api/v1/namespaces/prod/secrets/*", plumb_testkit::scenario::Response::not_found());
    let (report, reported) = alert_reporter();
    let (dispatcher, _) = dispatcher(&api, report);
    dispatcher.offer(delivery("p"), spec(json!({ "type": "generic", "secretRef": { "name": "ghost" } })));
    until(|| reported.lock().unwrap().len() == 1).await;
    assert!(reported.lock().unwrap()[0].2.contains("secrets \"ghost\" not found"));
    // Port 1 is reserved: nobody listens there.
    dispatcher
        .offer(delivery("p"), spec(json!({ "type": "generic", "address": "http://127.0.0.1:1/s3cret" })));
    until(|| reported.lock().unwrap().len() == 2).await;
    let text = reported.lock().unwrap()[1].2.clone();
    assert!(text.contains("cannot reach 127.0.0.1") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_sink_that_hangs_is_bounded_and_holds_nobody_up() {
    let api = Scenario::new();
    let (hangs, fine) = (Sink::that_hangs().await, Sink::start(&[200]).await);
    let (report, reported) = alert_reporter();
    let (dispatcher, dropped) = dispatcher(&api, report);
    let hanging = spec(json!({ "type": "generic", "address": hangs.url, "timeout": "1s" }));
    for at in 0..WAITING_PER_PROVIDER_MAX + RUNNING_PER_PROVIDER_MAX + 10 {
        dispatcher.offer(about("prod", "hangs", &at.to_string(), "m"), Arc::clone(&hanging));
    }
    assert_eq!(*dropped.lock().unwrap(), 10);
    until(|| hangs.count() == RUNNING_PER_PROVIDER_MAX).await;
    let good = spec(json!({ "type": "generic", "address": fine.url }));
    for at in 0..20 {
        dispatcher.offer(about("prod", "fine", &at.to_string(), "m"), Arc::clone(&good));
    }
    until(|| fine.count() == 20).await;
    // After a few that did not arrive it is left alone, and the rest waits.
    until(|| reported.lock().unwrap().len() >= RUNNING_PER_PROVIDER_MAX).await;
    let text = reported.lock().unwrap()[0].2.clone();
    assert!(text.ends_with("127.0.0.1 did not respond within 1 s"), "{text}");
    // The first failures may each have let one more start before it was known that there are so many.
    let started_max = RUNNING_PER_PROVIDER_MAX + usize::try_from(FAILURES_MAX).unwrap();
    assert!(hangs.count() < started_max, "{}", hangs.count());
    assert!(dispatcher.left() > WAITING_PER_PROVIDER_MAX - started_max);
}

#[tokio::test]
async fn sixteen_providers_that_hang_hold_up_no_other_namespace() {
    let api = Scenario::new();
    let (hangs, fine) = (Sink::that_hangs().await, Sink::start(&[200]).await);
    let (dispatcher, _) = dispatcher(&api, alert_reporter().0);
    let hanging = spec(json!({ "type": "generic", "address": hangs.url }));
    for provider in 0..16 {
        for object in 0..8 {
            let delivery = about("hostile", &provider.to_string(), &object.to_string(), "m");
            dispatcher.offer(delivery, Arc::clone(&hanging));
        }
    }
    until(|| hangs.count() == RUNNING_PER_NAMESPACE_MAX).await;
    let good = spec(json!({ "type": "generic", "address": fine.url }));
    for at in 0..20 {
        dispatcher.offer(about("honest", "fine", &at.to_string(), "m"), Arc::clone(&good));
    }
    until(|| fine.count() == 20).await;
    assert_eq!(hangs.count(), RUNNING_PER_NAMESPACE_MAX);
}

#[tokio::test]
async fn notifications_of_one_object_arrive_in_order_although_some_are_tried_again() {
    let (api, sink) = (Scenario::new(), Sink::start(&[503, 429, 200, 500, 200]).await);
    let (dispatcher, _) = dispatcher(&api, alert_reporter().0);
    let spec = spec(json!({ "type": "generic", "address": sink.url }));
    for message in ["1", "2", "3", "4", "5", "6"] {
        dispatcher.offer(about("prod", "p", "apps", message), Arc::clone(&spec));
    }
    until(|| dispatcher.left() == 0).await;
    let messages: Vec<_> = sink
        .got
        .lock()
        .unwrap()
        .iter()
        .map(|(_, _, body)| body["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(messages, ["1", "1", "1", "2", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn waiting_notifications_are_weighed_whole_and_give_their_bytes_back() {
    let (api, sink) = (Scenario::new(), Sink::start(&[200]).await);
    let (report, _) = alert_reporter();
    let memory = crate::budget::Budget::of(&plumb_memory::MemoryPool::new(10 << 20)).notifications;
    let dropped = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&dropped);
    let dispatcher = Dispatcher::new(DispatcherConfig {
        cluster: api.client(),
        http: http_client(crate::harness::ADDRESSES).unwrap(),
        retries: SendRetries::DEFAULT,
        memory: memory.clone(),
        report,
        count_dropped: Arc::new(move || *counted.lock().unwrap() += 1),
    });
    let spec = spec(json!({ "type": "generic", "address": sink.url }));
    // Neither in the message nor in the metadata.
    let mut large = about("prod", "p", "apps", "m");
    large.event.reporting_instance = "x".repeat(1 << 20);
    for _ in 0..3 {
        dispatcher.offer(large.clone(), Arc::clone(&spec));
    }
    assert_eq!(*dropped.lock().unwrap(), 2, "half of the share is 2 MiB, and two do not fit");
    dispatcher.offer(Delivery { alert: NamespacedName::new("other", "a"), ..large }, spec);
    assert_eq!(*dropped.lock().unwrap(), 2);
    until(|| dispatcher.left() == 0).await;
    assert_eq!((sink.count(), memory.held()), (2, 0));
}

#[tokio::test]
async fn what_is_left_at_the_end_is_counted() {
    let (api, hangs) = (Scenario::new(), Sink::that_hangs().await);
    let (dispatcher, dropped) = dispatcher(&api, alert_reporter().0);
    let hanging = spec(json!({ "type": "generic", "address": hangs.url }));
    for at in 0..7 {
        dispatcher.offer(about("prod", "hangs", &at.to_string(), "m"), Arc::clone(&hanging));
    }
    dispatcher.drain(Duration::from_millis(10)).await;
    assert_eq!(*dropped.lock().unwrap(), 7);
}

#[tokio::test]
async fn a_service_at_a_rejected_address_is_never_connected_to() {
    let (api, sink) = (Scenario::new(), Sink::start(&[200]).await);
    let (report, reported) = alert_reporter();
    let addresses = plumb_transport::address::AddressPolicy::reject_link_local("--allow-addresses")
        .reject(plumb_transport::address::AddressClass::Loopback);
    let dispatcher = Dispatcher::new(DispatcherConfig {
        cluster: api.client(),
        http: http_client(addresses).unwrap(),
        retries: SendRetries::DEFAULT,
        memory: crate::budget::Budget::of(&plumb_memory::MemoryPool::new(256 << 20)).notifications,
        report,
        count_dropped: Arc::new(|| ()),
    });
    let literal = sink.url.clone();
    let name = literal.replace("127.0.0.1", "localhost");
    for (at, address) in [literal, name].into_iter().enumerate() {
        dispatcher.offer(delivery(&at.to_string()), spec(json!({ "type": "generic", "address": address })));
        until(|| reported.lock().unwrap().len() == at + 1).await;
        let text = reported.lock().unwrap()[at].2.clone();
        assert!(text.contains("which is rejected; --allow-addresses allows it"), "{text}");
        assert!(!text.contains("cannot reach"), "{text}");
    }
    assert_eq!(sink.count(), 0);
}

#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let api = Scenario::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let sink = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 1073741824\r\n\r\n").await.unwrap();
        let mut sent = 0_usize;
        let chunk = vec![b'x'; 64 << 10];
        while stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    });
    let (report, reported) = alert_reporter();
    let (dispatcher, _) = dispatcher(&api, report);
    dispatcher.offer(delivery("p"), spec(json!({ "type": "generic", "address": url })));
    until(|| reported.lock().unwrap().len() == 1).await;
    assert!(reported.lock().unwrap()[0].2.ends_with("the server answered 404"));
    let sent = sink.await.unwrap();
    assert!(sent < 64 << 20, "what is in flight of the gigabyte when the connection is closed: {sent}");
}

#[tokio::test]
async fn ten_thousand_events_for_a_service_that_hangs_hold_a_bounded_part_and_every_drop_is_counted() {
    let (api, hangs) = (Scenario::new(), Sink::that_hangs().await);
    let (dispatcher, dropped) = dispatcher(&api, alert_reporter().0);
    let hanging = spec(json!({ "type": "generic", "address": hangs.url }));
    for at in 0..10_000 {
        dispatcher.offer(about("prod", "hangs", &at.to_string(), "m"), Arc::clone(&hanging));
    }
    assert_eq!(dispatcher.left(), WAITING_PER_PROVIDER_MAX + RUNNING_PER_PROVIDER_MAX);
    assert_eq!(*dropped.lock().unwrap() + dispatcher.left(), 10_000);
}

#[tokio::test]
async fn a_notification_whose_time_ran_out_between_tries_reports_why_the_last_one_failed() {
    let (api, sink) = (Scenario::new(), Sink::start(&[200]).await);
    secret(&api, "s", &[("address", &sink.url)]);
    let (report, reported) = alert_reporter();
    let (dispatcher, _) = dispatcher(&api, report);
    let id = NamespacedName::new("prod", "p");
    let job = super::Job {
        delivery: delivery("p"),
        provider: spec(json!({ "type": "generic", "secretRef": { "name": "s" } })),
        offered: tokio::time::Instant::now(),
        deadline: Some(tokio::time::Instant::now()),
        retries: 1,
        last_error: Some("the server answered 503".into()),
        _held: dispatcher.0.config.memory.hold("prod", plumb_memory::Limit { name: "test", bytes_max: 1 }),
    };
    dispatcher.run(id, "Kustomization/prod/apps".into(), job).await;
    let text = reported.lock().unwrap()[0].2.clone();
    assert!(text.ends_with(": the server answered 503"), "{text}");
    assert_eq!(sink.count(), 0);
}
