//! What leaves, and what happens when nobody takes it.

use plumb_api::source::GitRepository;
use plumb_status::Reason;
use plumb_testkit::scenario::{Response, Scenario};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const EVENTS: &str = "/api/v1/namespaces/apps/events";

fn repository() -> GitRepository {
    serde_json::from_value(json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {
            "name": "web", "namespace": "apps", "uid": "u",
            "annotations": { "event.toolkit.fluxcd.io/cluster": "prod", "other": "x" }
        },
        "spec": { "url": "https://git.example/web", "interval": "1m" }
    }))
    .unwrap()
}

fn recorder(address: Option<String>, metrics: &Metrics) -> (Recorder, Senders) {
    let address = address.map(|url| EventAddress { url, token_file: None });
    recorder_to(address, metrics)
}

fn recorder_to(address: Option<EventAddress>, metrics: &Metrics) -> (Recorder, Senders) {
    let clock = Clock::standing("2026-11-25T06:30:00.5Z".parse().unwrap());
    Recorder::new("source-controller", "pod-1".into(), address, clock, metrics.clone())
}

#[tokio::test]
async fn an_event_in_the_cluster_is_written_once_and_then_counted() {
    let api = Scenario::new();
    api.on("POST", EVENTS, Response::echo());
    api.on("PATCH", "/api/v1/namespaces/apps/events/*", Response::echo());
    let (recorder, senders) = recorder(None, &Metrics::default());
    for _ in 0..3 {
        recorder.emit(
            &repository(),
            EventDraft::error(Reason::GitOperationFailed, "no route").with("revision", "main@sha1:1"),
        );
    }
    drop(recorder);
    senders.run(api.client(), CancellationToken::new()).await;
    let created = &api.matching("POST", EVENTS)[0].body;
    assert_eq!(created["type"], "Warning");
    assert_eq!(created["involvedObject"]["apiVersion"], "source.toolkit.fluxcd.io/v1");
    assert_eq!(
        created["metadata"]["annotations"],
        json!({ "event.toolkit.fluxcd.io/cluster": "prod", "source.toolkit.fluxcd.io/revision": "main@sha1:1" })
    );
    let counts: Vec<Value> = api
        .matching("PATCH", "/api/v1/namespaces/apps/events/*")
        .iter()
        .map(|call| call.body["count"].clone())
        .collect();
    assert_eq!(counts, [2, 3]);
}

/// A sink for one request, and its body.
async fn sink(answer: &'static str) -> (String, tokio::task::JoinHandle<Value>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        let mut bytes = [0; 4096];
        loop {
            let read = stream.read(&mut bytes).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
            if let Some((_, body)) = text.split_once("\r\n\r\n")
                && let Ok(value) = serde_json::from_str(body)
            {
                stream.write_all(answer.as_bytes()).await.unwrap();
                return value;
            }
        }
    });
    (address, heard)
}

#[tokio::test]
async fn an_event_on_the_wire_has_the_form_that_notification_controller_reads() {
    let (address, heard) = sink("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
    let api = Scenario::new();
    let (recorder, senders) = recorder(Some(address), &Metrics::default());
    recorder.emit(&repository(), EventDraft::info(Reason::NewArtifact, "stored").only_for(Audience::Wire));
    recorder
        .emit(&repository(), EventDraft::trace(Reason::ArtifactUpToDate, "same").only_for(Audience::Wire));
    drop(recorder);
    senders.run(api.client(), CancellationToken::new()).await;
    let event = heard.await.unwrap();
    assert_eq!((&event["severity"], &event["reason"]), (&json!("info"), &json!("NewArtifact")));
    assert_eq!(event["timestamp"], "2026-11-25T06:30:00Z");
    assert_eq!(event["metadata"], json!({ "event.toolkit.fluxcd.io/cluster": "prod" }));
    assert_eq!(api.lines(), [""; 0], "nothing of it is for the cluster");
}

#[tokio::test]
async fn a_sink_that_rejects_is_counted_and_not_called_again() {
    let (address, heard) = sink("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let metrics = Metrics::default();
    let (recorder, senders) = recorder(Some(address), &metrics);
    recorder.emit(&repository(), EventDraft::info(Reason::NewArtifact, "stored").only_for(Audience::Wire));
    drop(recorder);
    senders.run(Scenario::new().client(), CancellationToken::new()).await;
    heard.await.unwrap();
    assert!(metrics.render().contains(r#"plumb_events_dropped_total{queue="wire"} 1"#));
}

#[tokio::test]
async fn what_finds_no_room_is_counted_and_nobody_waits() {
    let metrics = Metrics::default();
    let (recorder, _senders) = recorder(Some("http://127.0.0.1:9/".into()), &metrics);
    for _ in 0..=QUEUED_MAX {
        recorder.emit(&repository(), EventDraft::info(Reason::NewArtifact, "stored"));
    }
    let text = metrics.render();
    assert!(text.contains(r#"plumb_events_dropped_total{queue="wire"} 1"#), "{text}");
    assert!(text.contains(r#"plumb_events_dropped_total{queue="cluster"} 1"#), "{text}");
}

#[tokio::test]
async fn large_events_take_room_by_their_bytes_and_give_it_back() {
    let api = Scenario::new();
    api.on("POST", EVENTS, Response::echo());
    let mut large = repository();
    let annotation = ("event.toolkit.fluxcd.io/notes".to_owned(), "x".repeat(200 << 10));
    large.metadata.annotations.get_or_insert_default().extend([annotation]);
    let metrics = Metrics::default();
    let (recorder, senders) = recorder(None, &metrics);
    for at in 0..40 {
        recorder.emit(&large, EventDraft::info(Reason::NewArtifact, format!("stored {at}")));
    }
    let text = metrics.render();
    assert!(text.contains(r#"plumb_events_dropped_total{queue="cluster"} 20"#), "{text}");
    let bytes = Arc::clone(&recorder.0.cluster.bytes);
    assert!(bytes.load(Ordering::Relaxed) <= QUEUED_BYTES_MAX);
    drop(recorder);
    senders.run(api.client(), CancellationToken::new()).await;
    assert_eq!((api.matching("POST", EVENTS).len(), bytes.load(Ordering::Relaxed)), (20, 0));
}

#[tokio::test]
async fn at_the_end_what_is_queued_still_leaves() {
    let api = Scenario::new();
    api.on("POST", EVENTS, Response::echo());
    let (recorder, senders) = recorder(None, &Metrics::default());
    recorder.emit(&repository(), EventDraft::error(Reason::GitOperationFailed, "one"));
    recorder.emit(&repository(), EventDraft::error(Reason::GitOperationFailed, "two"));
    let closing = CancellationToken::new();
    closing.cancel();
    senders.run(api.client(), closing).await;
    assert_eq!(api.matching("POST", EVENTS).len(), 2);
    drop(recorder);
}

#[tokio::test]
async fn an_event_on_the_wire_carries_the_token_of_the_file_as_it_is_now() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let metrics = Metrics::default();
    let (recorder, senders) =
        recorder_to(Some(EventAddress { url, token_file: Some(file.clone()) }), &metrics);
    let sending = tokio::spawn(senders.run(Scenario::new().client(), CancellationToken::new()));
    for token in ["old", "new"] {
        std::fs::write(&file, token).unwrap();
        recorder.emit(&repository(), EventDraft::info(Reason::NewArtifact, token).only_for(Audience::Wire));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        let head = String::from_utf8_lossy(&bytes[..read]).to_lowercase();
        assert!(head.contains(&format!("authorization: bearer {token}\r\n")), "{head}");
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    }
    // Without a token nothing is sent, and it is counted.
    std::fs::remove_file(&file).unwrap();
    recorder.emit(&repository(), EventDraft::info(Reason::NewArtifact, "none").only_for(Audience::Wire));
    drop(recorder);
    sending.await.unwrap();
    assert!(metrics.render().contains(r#"plumb_events_dropped_total{queue="wire"} 1"#));
}
