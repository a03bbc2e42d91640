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
    let mut counts = Vec::new();
    for _ in 0..3 {
        let endpoint = with_password(&repository.url, "a", &pem);
        counts.push(connections(&server, &fixture.git, &endpoint).await);
    }
    assert_eq!(counts, [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_credential_or_bundle_has_its_own_connection() {
    let (pem, tls) = self_signed(true, "localhost");
    let server = kept_alive(tls);
    let (repository, _) = sample(&server);
    let git = Fixture::new().git;
    let two = [pem.as_slice(), self_signed(true, "other").0.as_slice()].concat();
    for (password, bundle, expect) in
        [("a", &pem, 1), ("b", &pem, 1), ("a", &two, 1), ("a", &pem, 0), ("b", &pem, 0)]
    {
        let endpoint = with_password(&repository.url, password, bundle);
        assert_eq!(connections(&server, &git, &endpoint).await, expect, "{password}");
    }
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
    assert_eq!(connections(&server, &fixture.git, &endpoint).await, 1);
}
