//! Peers that accept a request and do not respond, or never end.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use plumb_testkit::scenario::{Response, Scenario};
use serde_json::json;
use tokio::net::TcpListener;

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
        let listed = maps(client(config, deadlines).unwrap()).list(&ListParams::default()).await;
        assert!(listed.is_err(), "{deadlines:?}");
    }
    connections.abort();
}
