//! Artifacts of a bucket, as clients of the server get them.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use plumb_testkit::hostile::{HostileServer, Hostility};
use tower::ServiceExt as _;

use super::*;
use crate::serve::router;

/// More than one piece of a response.
const LARGE: usize = 3 << 20;

struct Fixture {
    server: ObjectStore,
    replicas: [Router; 2],
    written: Written,
    content: Vec<u8>,
}

async fn fixture_of(content: Vec<u8>) -> Fixture {
    let server = ObjectStore::plain().unwrap();
    let stores = [process(s3(&server)), process(s3(&server))];
    let written = put(&stores[0], &location("app"), "1.tar.gz", &content).await.unwrap();
    Fixture { server, replicas: stores.map(router), written, content }
}

async fn fixture() -> Fixture {
    fixture_of((0..LARGE).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect()).await
}

type Received = (StatusCode, HeaderMap, Result<Vec<u8>, axum::Error>);

async fn request(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Received {
    let mut request = Request::builder().method(method).uri(format!("/{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 2 * LARGE).await;
    (parts.status, parts.headers, body.map(|bytes| bytes.to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_serves_an_artifact_whole_and_in_part() {
    let Fixture { server: _server, replicas, written, content } = fixture().await;
    let mut tags = Vec::new();
    for replica in &replicas {
        let get = async |range: &str| {
            let headers: Vec<_> = Some(("range", range)).filter(|_| !range.is_empty()).into_iter().collect();
            request(replica, "GET", &written.path, &headers).await
        };
        let (status, headers, body) = get("").await;
        assert_eq!((status, body.unwrap()), (StatusCode::OK, content.clone()));
        assert_eq!(headers[header::CONTENT_TYPE], "application/gzip");
        assert_eq!(headers[header::CONTENT_LENGTH], LARGE.to_string());
        let (status, headers, body) = request(replica, "HEAD", &written.path, &[]).await;
        assert_eq!((status, body.unwrap()), (StatusCode::OK, Vec::new()));
        assert_eq!(headers[header::CONTENT_LENGTH], LARGE.to_string());
        for (range, from, to) in
            [("bytes=2-5", 2, 6), ("bytes=-3", LARGE - 3, LARGE), ("bytes=3145000-", 3_145_000, LARGE)]
        {
            let (status, headers, body) = get(range).await;
            assert_eq!((status, body.unwrap()), (StatusCode::PARTIAL_CONTENT, content[from..to].to_vec()));
            let last = to - 1;
            assert_eq!(headers[header::CONTENT_RANGE], format!("bytes {from}-{last}/{LARGE}"));
        }
        assert_eq!(get("bytes=99999999-").await.0, StatusCode::RANGE_NOT_SATISFIABLE);
        for (name, known) in [("if-none-match", header::ETAG), ("if-modified-since", header::LAST_MODIFIED)] {
            let value = headers[known].to_str().unwrap();
            let (status, _, body) = request(replica, "GET", &written.path, &[(name, value)]).await;
            assert_eq!((status, body.unwrap()), (StatusCode::NOT_MODIFIED, Vec::new()));
        }
        tags.push(headers[header::ETAG].clone());
    }
    assert_eq!(tags, [format!("\"{}\"", written.digest), format!("\"{}\"", written.digest)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_artifacts_of_plumb_is_requested_or_served() {
    let Fixture { server, replicas: [replica, _], .. } = fixture_of(b"one".to_vec()).await;
    server.put("clusters/one/gitrepository/apps/app/foreign.tar.gz", b"x");
    server.put("secret/apps/app/1.tar.gz", b"x");
    let (status, _, _) = request(&replica, "GET", "gitrepository/apps/app/foreign.tar.gz", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "it has no digest of Plumb");
    assert_eq!(
        request(&replica, "GET", "gitrepository/apps/app/2.tar.gz", &[]).await.0,
        StatusCode::NOT_FOUND
    );
    server.take_calls();
    for path in [
        "gitrepository/apps/app",
        "gitrepository/apps/app/",
        "?prefix=",
        "gitrepository/apps/app/1.tar.gz.lock",
        "../../secret/apps/app/1.tar.gz",
        "%2e%2e/%2e%2e/secret/apps/app/1.tar.gz",
        "gitrepository/apps/app/1%0a.tar.gz",
        &format!("gitrepository/apps/app/{}.tar.gz", "1".repeat(KEY_MAX)),
    ] {
        let (status, _, body) = request(&replica, "GET", path, &[]).await;
        let is_root = path.starts_with('?');
        assert_eq!(status, if is_root { StatusCode::OK } else { StatusCode::NOT_FOUND }, "{path}");
        assert_eq!(body.unwrap(), b"", "{path}");
    }
    let path = "gitrepository/apps/app/1.tar.gz";
    assert_eq!(request(&replica, "DELETE", path, &[]).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(server.take_calls(), Vec::<String>::new(), "no list, and nothing outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_makes_503_without_its_texts() {
    let Fixture { server, replicas: [replica, _], written, .. } = fixture_of(b"one".to_vec()).await;
    for (status, only) in [(403, None), (400, None), (403, Some("GET")), (404, Some("GET"))] {
        server.answer(move |call| {
            let headers = [("x-amz-request-id", "of-the-store"), ("server", "of-the-store")];
            let is_it = only.is_none_or(|method| call.method == method);
            is_it.then(|| response(status, &headers, "<Error><Code>AccessDenied</Code></Error>"))
        });
        let (found, headers, body) = request(&replica, "GET", &written.path, &[]).await;
        assert_eq!(
            (found, body.unwrap()),
            (StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
            "{status} {only:?}"
        );
        assert_eq!(headers[header::RETRY_AFTER], "5");
        assert!(!format!("{headers:?}").contains("of-the-store"), "{headers:?}");
    }
    server.answer_itself();
    let (status, headers, _) = request(&replica, "GET", &written.path, &[]).await;
    assert_eq!(status, StatusCode::OK);
    let mut names: Vec<&str> = headers.keys().map(header::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept-ranges", "content-length", "content-type", "etag", "last-modified"]);
    drop(server);
    let (status, _, _) = request(&replica, "GET", &written.path, &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_does_not_match_its_digest_is_not_sent_to_its_end() {
    let Fixture { server, replicas: [replica, _], written, mut content } = fixture().await;
    content[7] ^= 1;
    server.corrupt(&key(&written), &content);
    let (status, _, body) = request(&replica, "GET", &written.path, &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.is_err(), "the body ends with an error");
    // One piece: nothing of it is sent.
    let Fixture { server, replicas: [replica, _], written, .. } = fixture_of(b"one".to_vec()).await;
    server.corrupt(&key(&written), b"two");
    assert!(request(&replica, "GET", &written.path, &[]).await.2.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_makes_503_in_the_end() {
    let silent = HostileServer::start(Hostility::Silence).unwrap();
    let address = BucketAddress::s3(&silent.address().to_string(), BUCKET, None, true).unwrap();
    let replica = router(process((address, BucketCredential::Anonymous)));
    let begun = tokio::time::Instant::now();
    let (status, _, _) = request(&replica, "GET", "gitrepository/apps/app/1.tar.gz", &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(begun.elapsed() <= LOOK_TIMEOUT, "{:?}", begun.elapsed());
}

/// Tells when the response that holds it is dropped.
struct Dropped(Option<tokio::sync::oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_ends_the_request_to_the_store() {
    let Fixture { server, replicas: [replica, _], written, content } = fixture().await;
    let etag = format!("\"{}\"", server.etag(&key(&written)).unwrap());
    let (sender, dropped) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    server.answer(move |call| {
        let sender =
            Some(call).filter(|call| call.method == "GET").and_then(|_| sender.lock().unwrap().take())?;
        let first = bytes::Bytes::copy_from_slice(&content[..1000]);
        let (held, etag) = (Dropped(Some(sender)), etag.clone());
        // One piece, and then nothing more.
        let pieces = futures_util::stream::unfold((Some(first), held), async |(next, held)| match next {
            Some(piece) => Some((Ok::<_, std::io::Error>(piece), (None, held))),
            None => std::future::pending().await,
        });
        let (length, etag) = (LARGE.to_string(), etag.as_str());
        Some(response(200, &[("etag", etag), ("content-length", &length)], Body::from_stream(pieces)))
    });
    let request = Request::get(format!("/{}", written.path)).body(Body::empty()).unwrap();
    let mut body = replica.oneshot(request).await.unwrap().into_body().into_data_stream();
    let first = futures_util::StreamExt::next(&mut body).await.unwrap().unwrap();
    assert_eq!(first.len(), 1000);
    drop(body);
    let ended = tokio::time::timeout(Duration::from_secs(30), dropped).await;
    assert_eq!(ended, Ok(Ok(())), "the store sends to nobody");
}
