//! Connections over TLS are used again by whoever has the same certificates, proxy and credential, and by nobody else.

use std::sync::atomic::Ordering;

use plumb_transport::CLIENT_IDLE_MAX;

use super::*;

fn kept_alive(tls: std::sync::Arc<rustls::ServerConfig>) -> GitServer {
    GitServer::start(Rules { tls: Some(tls), is_kept_alive: true, ..Rules::default() })
}

fn with_password(url: &str, password: &str, pem: &[u8]) -> Endpoint {
    let credential = Credential::Basic { username: "me".to_owned(), password: password.into() };
    Endpoint::new(url, credential, Trust::parse(Some(pem), None).unwrap()).unwrap()
}

/// Connections of one client at most, however many polls it makes: the connection of a poll's first request may not be given back yet
/// when its second one begins.
const CONNECTIONS_MAX: usize = 2;

/// How many connections the server accepted for one poll.
async fn connections(server: &GitServer, git: &Git, endpoint: &Endpoint) -> usize {
    let before = server.connections.load(Ordering::Relaxed);
    git.find("team-a", endpoint, &main(), TIMEOUT).await.map(|_| ()).unwrap();
    server.connections.load(Ordering::Relaxed) - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_poll_uses_the_connection_of_the_first() {
    let (pem, tls) = self_signed(true, "localhost");
    let server = kept_alive(tls);
    let (repository, _) = sample(&server);
    let fixture = Fixture::new();
    // The certificates are parsed anew, as each poll reads its Secret anew.
    let mut opened = 0;
    for _ in 0..6 {
        let endpoint = with_password(&repository.url, "a", &pem);
        opened += connections(&server, &fixture.git, &endpoint).await;
    }
    assert!((1..=CONNECTIONS_MAX).contains(&opened), "{opened}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_credential_or_bundle_has_its_own_connection() {
    let (pem, tls) = self_signed(true, "localhost");
    let server = kept_alive(tls);
    let (repository, _) = sample(&server);
    let git = Fixture::new().git;
    let two = [pem.as_slice(), self_signed(true, "other").0.as_slice()].concat();
    let all = [("a", &pem), ("b", &pem), ("a", &two)];
    let mut opened = [0; 3];
    for round in 0..4 {
        for (at, (password, bundle)) in all.into_iter().enumerate() {
            let endpoint = with_password(&repository.url, password, bundle);
            let count = connections(&server, &git, &endpoint).await;
            assert!(round > 0 || count > 0, "the first poll of {password} uses no connection of another");
            opened[at] += count;
        }
    }
    assert!(opened.iter().all(|count| *count <= CONNECTIONS_MAX), "{opened:?}");
    let (foreign, _) = self_signed(true, "localhost");
    let endpoint = with_password(&repository.url, "a", &foreign);
    assert!(git.find("team-a", &endpoint, &main(), TIMEOUT).await.is_err(), "no connection of another trust");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_was_idle_for_too_long_is_closed() {
    let (pem, tls) = self_signed(true, "localhost");
    let server = kept_alive(tls);
    let (repository, _) = sample(&server);
    let fixture = Fixture::new();
    let endpoint = with_password(&repository.url, "a", &pem);
    connections(&server, &fixture.git, &endpoint).await;
    fixture.git.sweep(TIMEOUT).unwrap();
    assert_eq!(fixture.git.inner.clients.len(), 1);
    fixture.git.inner.clients.sweep(Instant::now() + CLIENT_IDLE_MAX);
    assert!(fixture.git.inner.clients.is_empty());
    assert!(connections(&server, &fixture.git, &endpoint).await > 0);
}
