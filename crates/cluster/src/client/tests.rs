//! Peers that accept a request and do not respond, or never end.

use std::future::Future as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use plumb_testkit::scenario::{Response, Scenario};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const MAPS: &str = "/api/v1/namespaces/apps/configmaps";

fn maps(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, "apps")
}

#[tokio::test(start_paused = true)]
async fn a_list_without_a_response_times_out() {
    let api = Scenario::new();
    api.on("GET", MAPS, Response::silence());
    let began = Instant::now();
    let listed = maps(with_deadlines(api.client(), Deadlines::USUAL)).list(&ListParams::default()).await;
    let error = plumb_status::chain(&listed.unwrap_err());
    assert!(error.contains("sent no answer within 45s"), "{error}");
    assert_eq!(began.elapsed(), Deadlines::USUAL.read);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_ends_ends() {
    let api = Scenario::new();
    let (_feed, endless) = Response::feed();
    api.on("GET", MAPS, endless);
    let began = Instant::now();
    let listed = maps(with_deadlines(api.client(), Deadlines::USUAL)).list(&ListParams::default()).await;
    let error = plumb_status::chain(&listed.unwrap_err());
    assert!(error.contains("no end of its answer within 120s"), "{error}");
    assert_eq!(began.elapsed(), Deadlines::USUAL.body);
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_write_exceeds_that_of_the_server() {
    let api = Scenario::new();
    api.on("PATCH", &format!("{MAPS}/a"), Response::silence());
    let began = Instant::now();
    let patch = Patch::Merge(json!({}));
    let maps = maps(with_deadlines(api.client(), Deadlines::USUAL));
    maps.patch("a", &PatchParams::default(), &patch).await.unwrap_err();
    assert!(began.elapsed() > Duration::from_mins(1) && began.elapsed() <= Deadlines::USUAL.write);
}

/// A real connection: the peer accepts it, reads, and does not respond.
#[tokio::test]
async fn a_peer_that_accepts_the_connection_and_sends_nothing_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = tokio::spawn(async move {
        let mut taken = Vec::new();
        loop {
            taken.push(listener.accept().await.unwrap());
        }
    });
    let short = Duration::from_millis(100);
    for deadlines in [
        Deadlines { read: short, ..Deadlines::USUAL },
        // The connection itself times out where the request has no timeout.
        Deadlines { silence: short, ..Deadlines::USUAL },
    ] {
        let config = Config::new(format!("http://{address}").parse().unwrap());
        let listed =
            maps(client(config, deadlines, Arc::new(|| true)).unwrap()).list(&ListParams::default()).await;
        assert!(listed.is_err(), "{deadlines:?}");
    }
    connections.abort();
}

/// Reads requests from one connection and responds to each; their number.
async fn respond(mut stream: TcpStream, arrived: Arc<AtomicUsize>) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
        arrived.fetch_add(1, Ordering::SeqCst);
        let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#;
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    }
}

/// A process that is stopped after it handed a write to its connection, and goes on when the lease is lost. The
/// connection's task has not run in between: there is one thread, and the test does not wait.
#[tokio::test]
async fn a_write_that_was_handed_over_is_not_sent_when_the_connection_may_not_send() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    let arrived = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&arrived);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(respond(stream, Arc::clone(&counted)));
        }
    });
    let allowed = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&allowed);
    let may_send: MaySend = Arc::new(move || asked.load(Ordering::SeqCst));
    let maps = maps(client(config, Deadlines::USUAL, may_send).unwrap());
    let (params, patch) = (PatchParams::default(), Patch::Merge(json!({ "data": {} })));
    // The connection of the first write stays in the pool, ready for the second.
    maps.patch("a", &params, &patch).await.unwrap();
    tokio::task::yield_now().await;
    let mut writing = Box::pin(maps.patch("a", &params, &patch));
    let begun =
        std::future::poll_fn(|context| Poll::Ready(writing.as_mut().poll(context).is_pending())).await;
    assert!(begun, "the write is on its way");
    allowed.store(false, Ordering::SeqCst);
    writing.await.unwrap_err();
    assert_eq!(arrived.load(Ordering::SeqCst), 1, "the second write never reaches the socket");
}
