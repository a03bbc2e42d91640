//! Downloads from a server of our own on loopback that plays a list of responses.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use plumb_filetree::{
    FileTree, RelPath,
    digest::{FileDigest, sha256_hex},
};
use plumb_testkit::archive::tar_gz as archive;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// Serves the responses in order, the last one for ever; each on its own connection.
async fn serve(responses: Vec<Vec<u8>>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let at = counted.fetch_add(1, Ordering::SeqCst);
            let response = responses[at.min(responses.len() - 1)].clone();
            tokio::spawn(async move {
                let mut request = [0; 2048];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(&response).await;
            });
        }
    });
    (format!("http://{address}/a.tar.gz"), count)
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut response =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())
            .into_bytes();
    response.extend_from_slice(body);
    response
}

fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
}

fn fetcher(limits: FetchLimits) -> Fetcher {
    let backoff = Backoff { min: Duration::from_millis(1), max: Duration::from_millis(2) };
    let retries = DownloadRetries { retries_max: 2, backoff };
    Fetcher::new(HostPolicy::default(), retries, limits, MemoryPool::new(1 << 30)).unwrap()
}

fn digest_of(body: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(body))
}

#[tokio::test]
async fn a_fetched_tree_is_cached_by_digest() {
    let body = archive(&[("a.yaml", b"x", 0o600)]);
    let (url, count) = serve(vec![ok(&body)]).await;
    let fetcher = fetcher(FetchLimits::default());
    let digest = digest_of(&body);
    let (first, second) =
        tokio::join!(fetcher.fetch_from("apps", &url, &digest), fetcher.fetch_from("apps", &url, &digest));
    assert_eq!(first.unwrap().read(&RelPath::parse("a.yaml").unwrap()).unwrap().as_ref(), b"x");
    second.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_digest_of_each_algorithm_is_checked() {
    let body = archive(&[("a.yaml", b"x", 0o600)]);
    for algorithm in ["sha256", "sha384", "sha512", "blake3"].map(|name| name.parse().unwrap()) {
        let (url, _) = serve(vec![ok(&body)]).await;
        let digest = FileDigest::of(algorithm, &body).to_string();
        assert!(fetcher(FetchLimits::default()).fetch_from("apps", &url, &digest).await.is_ok(), "{digest}");
        let (url, _) = serve(vec![ok(&body)]).await;
        let other = FileDigest::of(algorithm, b"other").to_string();
        let error = fetcher(FetchLimits::default()).fetch_from("apps", &url, &other).await.unwrap_err();
        assert!(matches!(error, FetchError::DigestMismatch { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_wrong_digest_is_found_before_anything_is_parsed() {
    let (url, count) = serve(vec![ok(b"not even an archive")]).await;
    let error =
        fetcher(FetchLimits::default()).fetch_from("apps", &url, &digest_of(b"other")).await.unwrap_err();
    assert!(matches!(error, FetchError::DigestMismatch { .. }), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_archive_that_was_altered_in_any_way_is_rejected() {
    let body = archive(&[("a.yaml", b"x", 0o600)]);
    let other = archive(&[("a.yaml", b"y", 0o600)]);
    let mut flipped = body.clone();
    flipped[body.len() / 2] ^= 1;
    let longer = [&body[..], &[0]].concat();
    for altered in [flipped, body[..body.len() - 1].to_vec(), longer, other.clone(), Vec::new()] {
        let (url, _) = serve(vec![ok(&altered)]).await;
        let error =
            fetcher(FetchLimits::default()).fetch_from("apps", &url, &digest_of(&body)).await.unwrap_err();
        assert!(matches!(error, FetchError::DigestMismatch { .. }), "{error:?}");
    }
    // Another file in its place by the second request.
    let (url, _) = serve(vec![status("503 Service Unavailable"), ok(&other)]).await;
    let error =
        fetcher(FetchLimits::default()).fetch_from("apps", &url, &digest_of(&body)).await.unwrap_err();
    assert!(matches!(error, FetchError::DigestMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_file_has_its_own_error_and_is_not_requested_again() {
    let (url, count) = serve(vec![status("404 Not Found")]).await;
    let error = fetcher(FetchLimits::default()).fetch_from("apps", &url, &digest_of(b"x")).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_error_is_repeated_until_it_passes_or_the_tries_are_used_up() {
    let body = archive(&[("a", b"x", 0o600)]);
    let busy = || status("503 Service Unavailable");
    let (url, count) = serve(vec![busy(), busy(), ok(&body)]).await;
    fetcher(FetchLimits::default()).fetch_from("apps", &url, &digest_of(&body)).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let (url, count) = serve(vec![busy()]).await;
    let error =
        fetcher(FetchLimits::default()).fetch_from("apps", &url, &digest_of(&body)).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 503, .. }));
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let response =
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".to_vec();
    let (url, _) = serve(vec![response]).await;
    let error = fetcher(FetchLimits::default()).fetch_from("apps", &url, &digest_of(b"x")).await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 302, .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_rejected_announced_or_not() {
    let limits = FetchLimits { archive_bytes_max: 8, ..FetchLimits::default() };
    let mut unannounced = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    unannounced.extend_from_slice(&[0; 100]);
    for response in [ok(&[0; 100]), unannounced] {
        let (url, _) = serve(vec![response]).await;
        let error = fetcher(limits).fetch_from("apps", &url, &digest_of(b"x")).await.unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { max: 8, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_empty_or_weak_digest_is_rejected() {
    for digest in
        ["", "sha1:abc", "sha256:", "sha256:zz", "sha256:ab", "md5:d41d8cd98f00b204e9800998ecf8427e"]
    {
        let error = fetcher(FetchLimits::default())
            .fetch_from("apps", "http://127.0.0.1:1/", digest)
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::BadDigest { .. }), "{digest}");
    }
}

#[tokio::test]
async fn a_hanging_server_costs_no_more_than_the_timeout() {
    let (url, _) = serve(vec![Vec::new()]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}/x", listener.local_addr().unwrap());
    let limits = FetchLimits { timeout: Duration::from_millis(100), ..FetchLimits::default() };
    let error = fetcher(limits).fetch_from("apps", &hanging, &digest_of(b"x")).await.unwrap_err();
    assert!(matches!(error, FetchError::TimedOut { .. }), "{error:?}");
    assert!(fetcher(limits).fetch_from("apps", &url, &digest_of(b"x")).await.is_err());
}

#[tokio::test]
async fn an_unreachable_server_is_reported_by_one_cause_in_the_same_text_each_time() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/a.tar.gz");
    let fetcher = fetcher(FetchLimits::default());
    for _ in 0..2 {
        let error = fetcher.fetch_from("apps", &url, &digest_of(b"x")).await.unwrap_err();
        assert_eq!(plumb_status::chain(&error), format!("cannot download {url}: connection refused"));
    }
}
