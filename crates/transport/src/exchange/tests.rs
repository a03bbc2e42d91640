//! The client of async callers against servers that misbehave, redirect, and demand certificates.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
};

use http::header::{CONTENT_TYPE, LOCATION};
use plumb_api::sealed::Sealed;
use plumb_memory::{Limit, MemoryPool, OverBudget};
use plumb_testkit::hostile::{HostileServer, Hostility};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    BodyError, Credential, Trust,
    tests::{Server, config, ok, read_head, redirect, tls_server},
};

const TYPE: &str = "application/octet-stream";
/// How long what ends by itself may take, and how long an exchange that has to time out takes.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

fn index(bytes_max: u64) -> Limit {
    Limit { name: "index of charts", bytes_max }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn client() -> HttpClient {
    HttpClient::new(ClientConfig { redirects: Redirects::Follow, ..config() }).unwrap()
}

fn hostile(hostility: Hostility) -> HostileServer {
    HostileServer::start(hostility).unwrap()
}

fn endless() -> HostileServer {
    hostile(Hostility::Endless { content_type: TYPE, first: Vec::new(), again: vec![b'x'; 1 << 10] })
}

fn trickle() -> HostileServer {
    let pause = Duration::from_millis(1);
    hostile(Hostility::Trickle { content_type: TYPE, body: Vec::new(), pause })
}

async fn response(server: &HostileServer) -> BoundedResponse {
    client().send(HttpRequest::get(url(&server.url()))).await.unwrap()
}

fn timed_out() -> BodyError {
    BodyError::Connection(ConnectionError::TimedOut)
}

#[tokio::test]
async fn a_request_says_what_its_caller_set_and_the_response_what_the_server_sent() {
    let server = Server::start(|_| ok("body"));
    let agent = HeaderValue::from_static("plumb/1");
    let client = HttpClient::new(ClientConfig { user_agent: Some(agent), ..config() }).unwrap();
    let credential = Credential::Basic { username: "me".into(), password: "pw".into() };
    let target = url(&server.url("/v2/?n=1"));
    let request = HttpRequest::post(target.clone(), "{}")
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .credential(OriginCredential::new(&target, &credential).unwrap());
    let response = client.send(request).await.unwrap();
    assert_eq!(
        (response.status(), response.url(), response.announced_bytes()),
        (StatusCode::OK, &target, Some(4))
    );
    assert_eq!(response.headers()["content-length"], "4");
    assert_eq!(response.excerpt(3).await.unwrap(), b"bod");
    let head = server.seen().remove(0);
    for line in [
        "POST /v2/?n=1 HTTP/1.1",
        "user-agent: plumb/1",
        "content-type: application/json",
        "authorization: Basic bWU6cHc=",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
    }
    let elsewhere = OriginCredential::new(&url("https://other.example"), &credential).unwrap();
    client.send(HttpRequest::get(target).credential(elsewhere)).await.unwrap();
    assert!(!server.seen()[1].contains("authorization"), "{:?}", server.seen());
}

#[tokio::test]
async fn secrets_stay_with_the_origin_even_when_a_redirect_leads_back_to_it() {
    let home = Server::start(|head| match head.split(' ').nth(1) {
        Some("/here") => redirect("/there"),
        Some("/there" | "/back") => ok("home"),
        away => redirect(away.unwrap().strip_prefix("/to/").unwrap()),
    });
    let back = home.url("/back");
    let away =
        Server::start(move |head| if head.contains("/lead-back") { redirect(&back) } else { ok("away") });
    let bound =
        OriginCredential::new(&url(&home.url("/")), &Credential::Bearer { token: "s3cret".into() }).unwrap();
    let mut key = HeaderValue::from_static("s3cret-key");
    key.set_sensitive(true);
    let get = async |path: &str| {
        let request = HttpRequest::get(url(&home.url(path)))
            .header(HeaderName::from_static("x-key"), key.clone())
            .header(COOKIE, HeaderValue::from_static("s3cret-cookie"))
            .header(HeaderName::from_static("x-plain"), HeaderValue::from_static("plain"))
            .credential(bound.clone());
        let response = client().send(request).await.unwrap();
        (response.url().path().to_owned(), response.excerpt(9).await.unwrap())
    };
    assert_eq!(get("/here").await, ("/there".to_owned(), b"home".to_vec()));
    assert!(home.seen().iter().all(|head| head.matches("s3cret").count() == 3), "{:?}", home.seen());
    assert_eq!(get(&format!("/to/{}", away.url("/x"))).await, ("/x".to_owned(), b"away".to_vec()));
    assert_eq!(get(&format!("/to/{}", away.url("/lead-back"))).await, ("/back".to_owned(), b"home".to_vec()));
    for head in away.seen().iter().chain(home.seen().last()) {
        assert!(!head.contains("s3cret") && head.contains("x-plain: plain"), "{head}");
    }
}

#[tokio::test]
async fn redirects_have_an_end_stay_encrypted_and_lead_to_no_rejected_address() {
    let circle = Server::start(|_| redirect("/again"));
    let error = client().send(HttpRequest::get(url(&circle.url("/")))).await.unwrap_err();
    assert_eq!(
        (error, circle.seen().len()),
        (ConnectionError::Redirect(RedirectError::TooMany), REDIRECTS_MAX + 1)
    );
    let post = client().send(HttpRequest::post(url(&circle.url("/")), "body")).await.unwrap();
    assert_eq!(
        (post.status().as_u16(), &post.headers()[LOCATION], circle.seen().len()),
        (302, &HeaderValue::from_static("/again"), REDIRECTS_MAX + 2)
    );
    let none = HttpClient::new(config()).unwrap();
    assert_eq!(none.send(HttpRequest::get(url(&circle.url("/")))).await.unwrap().status().as_u16(), 302);
    let metadata = Server::start(|_| redirect("http://169.254.169.254/latest"));
    let addresses = Some(AddressPolicy::reject_link_local("--allow-x"));
    let bounded =
        HttpClient::new(ClientConfig { addresses, redirects: Redirects::Follow, ..config() }).unwrap();
    for target in [metadata.url("/"), "http://169.254.169.254/".to_owned()] {
        let error = bounded.send(HttpRequest::get(url(&target))).await.unwrap_err();
        assert!(matches!(&error, ConnectionError::Address(_)), "{error:?}");
    }
    let file = client().send(HttpRequest::get(url("file:///etc/passwd"))).await.unwrap_err();
    assert_eq!(file.to_string(), "URL scheme \"file\" is not supported: use http or https");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_covers_silence_redirects_and_a_body_that_trickles() {
    let silent = hostile(Hostility::Silence);
    let request = HttpRequest::get(url(&silent.url())).timeout(SHORT);
    assert_eq!(client().send(request).await.unwrap_err(), ConnectionError::TimedOut);
    assert!(silent.wait_until_closed(LONG));
    let (trickles, pool) = (trickle(), MemoryPool::new(1 << 20));
    let mut memory = pool.reservation("apps", index(2000));
    let read = async {
        let response = client().send(HttpRequest::get(url(&trickles.url())).timeout(SHORT)).await;
        response.map_err(BodyError::Connection)?.collect(index(2000), &mut memory, |_| ()).await
    };
    assert_eq!(read.await, Err(timed_out()));
    assert!(trickles.wait_until_closed(LONG));
    // Each redirect is quick; all of them take longer than the timeout.
    let slow = Server::start(|_| {
        std::thread::sleep(SHORT / 4);
        redirect("/again")
    });
    let error = client().send(HttpRequest::get(url(&slow.url("/"))).timeout(SHORT)).await.unwrap_err();
    assert_eq!(error, ConnectionError::TimedOut);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_ends_at_its_limit_and_gives_back_what_it_was_charged() {
    let pool = MemoryPool::new(8 << 20);
    let mut memory = pool.reservation("apps", index(u64::MAX));
    memory.try_grow(7).unwrap();
    let max = 100 << 10;
    let too_large = || BodyError::TooLarge { name: "index of charts", max };
    let lying = || hostile(Hostility::LyingLength { content_type: TYPE, claimed: 1 << 40, body: vec![b'x'] });
    for server in [endless(), lying()] {
        assert_eq!(response(&server).await.collect(index(max), &mut memory, |_| ()).await, Err(too_large()));
        let (mut copied, interrupt) = (Vec::new(), CancellationToken::new());
        let copying = response(&server).await.copy_to(&mut copied, index(max), &interrupt);
        assert_eq!(copying.await, Err(too_large()));
        assert!(server.wait_until_closed(LONG));
    }
    let over = response(&endless()).await.collect(index(u64::MAX), &mut memory, |_| ()).await;
    assert!(matches!(over, Err(BodyError::OverBudget(OverBudget::Consumer { .. }))), "{over:?}");
    assert_eq!(memory.bytes(), 7, "a body that failed is not charged");
    let cut = hostile(Hostility::Truncation { content_type: TYPE, body: b"half".to_vec() });
    let read = response(&cut).await.collect(index(max), &mut memory, |_| ()).await;
    assert_eq!(read, Err(BodyError::Connection(ConnectionError::Truncated)));
    assert_eq!(response(&endless()).await.excerpt(usize::MAX).await.unwrap().len(), 64 << 10);
}

#[tokio::test]
async fn a_body_is_collected_copied_or_read_as_it_was_sent() {
    let content: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    let server = hostile(Hostility::Whole {
        status: 200,
        headers: Vec::new(),
        content_type: TYPE,
        body: content.clone(),
    });
    let (pool, limit) = (MemoryPool::new(8 << 20), index(1 << 20));
    let mut memory = pool.reservation("apps", limit);
    let mut observed = Vec::new();
    let collected =
        response(&server).await.collect(limit, &mut memory, |piece| observed.extend_from_slice(piece)).await;
    assert_eq!((collected.as_ref(), observed.as_slice()), (Ok(&content), content.as_slice()));
    assert_eq!(memory.bytes(), 1 << 20);
    let mut copied = Vec::new();
    let read = response(&server).await.copy_to(&mut copied, limit, &CancellationToken::new()).await;
    assert_eq!((read, &copied), (Ok(1 << 20), &content));
    let mut reader = response(&server).await.into_reader(limit, CancellationToken::new()).unwrap();
    let mut bytes = Vec::new();
    let read =
        tokio::task::spawn_blocking(move || reader.read_to_end(&mut bytes).map(|_| bytes)).await.unwrap();
    assert_eq!(read.unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_fails_ends_the_transfer() {
    let (mut writer, reader) = tokio::io::duplex(1 << 10);
    drop(reader);
    let (server, interrupt) = (endless(), CancellationToken::new());
    let error = response(&server).await.copy_to(&mut writer, index(1 << 30), &interrupt).await.unwrap_err();
    assert_eq!(error, BodyError::Write { problem: "broken pipe".to_owned() });
    assert!(server.wait_until_closed(LONG));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_wait_for_the_server_and_for_the_writer() {
    let limit = index(1 << 40);
    for server in [trickle(), endless()] {
        // This pipe holds one byte, and one is read of it: then the writer waits.
        let (mut writer, mut pipe) = tokio::io::duplex(1);
        let interrupt = CancellationToken::new();
        let copy = response(&server).await.copy_to(&mut writer, limit, &interrupt);
        let raise = async {
            pipe.read_u8().await.unwrap();
            interrupt.cancel();
        };
        let both = async { tokio::join!(copy, raise).0 };
        assert_eq!(tokio::time::timeout(LONG, both).await.unwrap(), Err(BodyError::Interrupted));
        let interrupt = CancellationToken::new();
        let mut reader = response(&server).await.into_reader(limit, interrupt.clone()).unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err()
        });
        interrupt.cancel();
        assert_eq!(BodyError::of(&reading.await.unwrap()), Some(BodyError::Interrupted));
        assert!(server.wait_until_closed(LONG));
    }
}

#[tokio::test]
async fn the_error_of_a_reader_is_found_under_that_of_a_decoder() {
    let server = endless();
    let mut reader = response(&server).await.into_reader(index(5000), CancellationToken::new()).unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        std::io::Error::other(std::io::Error::other(error))
    });
    let error = read.await.unwrap();
    assert_eq!(BodyError::of(&error), Some(BodyError::TooLarge { name: "index of charts", max: 5000 }));
    assert_eq!(BodyError::of(&std::io::Error::other("another")), None);
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_gets_that_of_the_client() {
    let (ca, client, port) = mutual_tls_server();
    let target = url(&format!("https://localhost:{port}/"));
    let get = async |trust: Trust| {
        let client = HttpClient::new(ClientConfig { trust, ..config() }).unwrap();
        client.send(HttpRequest::get(target.clone())).await?.excerpt(99).await
    };
    let (chain, key) = (client.0.as_slice(), &client.1);
    assert_eq!(get(Trust::parse(Some(&ca), Some((chain, key))).unwrap()).await.unwrap(), b"mutual");
    let without = get(Trust::parse(Some(&ca), None).unwrap()).await.unwrap_err();
    assert!(matches!(without, ConnectionError::Tls { .. } | ConnectionError::Reset), "{without:?}");
    let (other, _) = tls_server("localhost");
    let stranger = get(Trust::parse(Some(&other), Some((chain, key))).unwrap()).await;
    assert_eq!(stranger, Err(ConnectionError::UnknownAuthority));
}

/// A server for `localhost` that accepts clients with one certificate only: its own CA bundle, that certificate with its key, its
/// port.
fn mutual_tls_server() -> (Vec<u8>, (Vec<u8>, Sealed), u16) {
    let server = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let client = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut clients = rustls::RootCertStore::empty();
    clients.add(client.cert.der().clone()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(&provider));
    let key = rustls::pki_types::PrivateKeyDer::try_from(server.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server.cert.der().clone()], key)
        .unwrap();
    let (tls, listener) = (Arc::new(tls), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let connection = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            if !read_head(&mut stream).is_empty() {
                let _ = stream.write_all(&ok("mutual"));
            }
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    let pem = (client.cert.pem().into_bytes(), Sealed::from(client.signing_key.serialize_pem().as_str()));
    (server.cert.pem().into_bytes(), pem, port)
}
