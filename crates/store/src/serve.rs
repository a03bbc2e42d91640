//! Artifacts over HTTP, from the disk or from a bucket: files by their path, whole or in part. There is no listing; `GET /` responds 200 with nothing, which is what
//! probes request. Only what has the place and name of an artifact is ever opened.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use httpdate::{fmt_http_date, parse_http_date};
use percent_encoding::percent_decode_str;
use plumb_bucket::ObjectHead;
use plumb_filetree::{
    RelPath,
    digest::{FileDigest, Hasher},
};
use plumb_status::chain;
use plumb_transport::{Slot, server::PeerAddress};

use crate::{
    bucket::{BucketStore, Served},
    file_body::{file_body, read_cached},
    layout::{is_artifact, media_type},
    store::{ArtifactStore, StoreError},
};

/// The last second of the year 9999, in seconds of Unix time: HTTP cannot write a later one.
const HTTP_SECONDS_MAX: u64 = 253_402_300_799;
/// A file that is no larger is read whole, with its metadata.
const CHUNK_BYTES: usize = 64 << 10;

/// When a client should ask again where the object store did not answer, in seconds.
const RETRY_AFTER_SECONDS: &str = "5";

/// Where the artifacts are that are served.
#[derive(Clone)]
pub enum Artifacts {
    /// On disk.
    Disk(ArtifactStore),
    /// In a bucket.
    Bucket(BucketStore),
}

impl From<ArtifactStore> for Artifacts {
    fn from(store: ArtifactStore) -> Self {
        Self::Disk(store)
    }
}

impl From<BucketStore> for Artifacts {
    fn from(store: BucketStore) -> Self {
        Self::Bucket(store)
    }
}

/// The server's routes.
pub fn router(artifacts: impl Into<Artifacts>) -> Router {
    Router::new().fallback(respond).with_state(artifacts.into())
}

async fn respond(State(artifacts): State<Artifacts>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    if request.uri().path() == "/" {
        return StatusCode::OK.into_response();
    }
    let Some(path) = artifact_path(request.uri().path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let found = match &artifacts {
        Artifacts::Disk(store) => Ok(open(store, &path).await),
        Artifacts::Bucket(store) => {
            let client = request.extensions().get::<PeerAddress>();
            let client = client.map(|PeerAddress(address)| address.to_string()).unwrap_or_default();
            look(store, path, &client).await
        }
    };
    match found {
        Ok(Some(found)) => send(found, request.headers(), request.method() == Method::HEAD).await,
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => unavailable(&error),
    }
}

/// Names of artifacts need no percent-encoding, but a client may use it.
fn artifact_path(path: &str) -> Option<RelPath> {
    let decoded = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    RelPath::parse(&decoded).ok().filter(is_artifact)
}

struct Found {
    content: FileContent,
    size: u64,
    modified: u64,
    media_type: &'static str,
    tag: String,
}

/// What a file has: read at once where it fits into a chunk, else read as it is sent; or an object of a bucket, not opened yet.
enum FileContent {
    Whole(Bytes),
    Open(fs::File),
    Stored { store: BucketStore, path: RelPath, head: ObjectHead, slot: Slot },
}

async fn open(store: &ArtifactStore, path: &RelPath) -> Option<Found> {
    let full = path.components().fold(store.root().to_owned(), |full, part| full.join(part));
    // One hand-over to a blocking thread for all of it, and none where nothing has to wait for the disk: each costs more than to
    // read a small file.
    let (content, size, modified) = match open_cached(&full) {
        Some(opened) => opened,
        None => tokio::task::spawn_blocking(move || open_file(&full)).await.ok()??,
    };
    let tag = format!("\"{modified:x}-{size:x}\"");
    Some(Found { content, size, modified, media_type: media_type(path.as_str()), tag })
}

/// An object of a bucket. Every replica has the same tag for it: its digest.
async fn look(store: &BucketStore, path: RelPath, client: &str) -> Result<Option<Found>, StoreError> {
    let Some((head, slot)) = store.look(&path, client).await? else { return Ok(None) };
    let Some(digest) = &head.digest else { return Ok(None) };
    let modified = head.modified.map_or(0, |modified| u64::try_from(modified.as_second()).unwrap_or(0));
    let (tag, media_type, size) = (format!("\"{digest}\""), media_type(path.as_str()), head.size);
    let content = FileContent::Stored { store: store.clone(), path, head, slot };
    Ok(Some(Found { content, size, modified, media_type, tag }))
}

/// The object store did not answer as it should. Its texts are for the log.
fn unavailable(error: &StoreError) -> Response {
    tracing::warn!(error = chain(error), "failed to serve an artifact");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)]).into_response()
}

/// The content of a regular file, its size, and when it was written, in seconds since 1970.
fn open_file(full: &Path) -> Option<(FileContent, u64, u64)> {
    // A link is not followed: it could lead out of the store.
    if !fs::symlink_metadata(full).ok()?.is_file() {
        return None;
    }
    described(fs::File::open(full).ok()?, |file, bytes| file.read_exact_at(bytes, 0).ok())
}

fn described(
    file: fs::File,
    read: impl FnOnce(&fs::File, &mut [u8]) -> Option<()>,
) -> Option<(FileContent, u64, u64)> {
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let modified = metadata.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let size = metadata.len();
    let content = match usize::try_from(size) {
        Ok(length) if length <= CHUNK_BYTES => {
            let mut bytes = vec![0; length];
            read(&file, &mut bytes)?;
            FileContent::Whole(Bytes::from(bytes))
        }
        Ok(_) | Err(_) => FileContent::Open(file),
    };
    Some((content, size, modified))
}

/// The same, where the system has the place of the file in memory, and of a small file its content; none elsewhere, or where it cannot
/// tell.
#[cfg(target_os = "linux")]
fn open_cached(full: &Path) -> Option<(FileContent, u64, u64)> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    // Not to wait for the other end of a pipe, either: it is no artifact.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat2(CWD, full, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
    described(file.into(), |file, bytes| (read_cached(file, bytes, 0)? == bytes.len()).then_some(()))
}

#[cfg(not(target_os = "linux"))]
fn open_cached(_full: &Path) -> Option<(FileContent, u64, u64)> {
    None
}

async fn send(found: Found, request: &HeaderMap, is_head: bool) -> Response {
    let Found { content, size, modified, media_type, tag } = found;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(&mut headers, header::ETAG, &tag);
    insert(&mut headers, header::LAST_MODIFIED, &fmt_http_date(time(modified)));
    if is_unchanged(request, &tag, modified) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let (status, start, length) = match range(request, size) {
        Range::Whole => (StatusCode::OK, 0, size),
        Range::Part { start, length } => {
            insert(
                &mut headers,
                header::CONTENT_RANGE,
                &format!("bytes {start}-{}/{size}", start + length - 1),
            );
            (StatusCode::PARTIAL_CONTENT, start, length)
        }
        Range::Beyond => {
            insert(&mut headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response();
        }
    };
    insert(&mut headers, header::CONTENT_LENGTH, &length.to_string());
    if is_head {
        return (status, headers, Body::empty()).into_response();
    }
    let body = match content {
        FileContent::Whole(bytes) => {
            // Both are at most the size of a chunk here.
            let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(length)) else {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            };
            Body::from(bytes.slice(start..start + length))
        }
        FileContent::Open(file) => file_body(file, start, length),
        FileContent::Stored { store, path, head, slot } => {
            let is_whole = status == StatusCode::OK;
            let range = (!is_whole).then_some((start, length));
            match store.open(&path, (&head, slot), range).await {
                Ok(Some(served)) => {
                    let digest = head.digest.as_deref().filter(|_| is_whole);
                    stored_body(served, length, digest.and_then(|digest| digest.parse().ok()))
                }
                // Replaced in between: the next request finds what is there.
                Ok(None) => {
                    let retry = [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)];
                    return (StatusCode::SERVICE_UNAVAILABLE, retry).into_response();
                }
                Err(error) => return unavailable(&error),
            }
        }
    };
    (status, headers, body).into_response()
}

/// A content of the object store. Where it is sent whole, its last piece is held back until the digest of all is known: a client does
/// not take a content that is not complete.
fn stored_body(served: Served, length: u64, digest: Option<FileDigest>) -> Body {
    let hasher = digest.as_ref().map(|digest| Hasher::new(digest.algorithm()));
    let first = Some((served, hasher, length));
    Body::from_stream(stream::unfold(first, move |state| {
        let digest = digest.clone();
        async move {
            let (mut served, mut hasher, left) = state?;
            let piece = match served.body.next().await {
                Ok(piece) => piece?,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "failed to send an artifact");
                    return Some((Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)), None));
                }
            };
            let left = left.saturating_sub(piece.len() as u64);
            if let Some(hasher) = &mut hasher {
                hasher.update(&piece);
            }
            if left == 0 && hasher.take().is_some_and(|hasher| Some(hasher.finish()) != digest) {
                tracing::warn!(
                    "an artifact in the object store does not match its digest: it was not sent to its end"
                );
                return Some((Err(std::io::Error::from(std::io::ErrorKind::InvalidData)), None));
            }
            Some((Ok(piece), Some((served, hasher, left))))
        }
    }))
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_unchanged(request: &HeaderMap, tag: &str, modified: u64) -> bool {
    match text(request, header::IF_NONE_MATCH) {
        Some(tags) => {
            tags.split(',').any(|known| matches!(known.trim(), known if known == tag || known == "*"))
        }
        None => text(request, header::IF_MODIFIED_SINCE)
            .and_then(|since| parse_http_date(since).ok())
            .is_some_and(|since| since >= time(modified)),
    }
}

/// A time that HTTP can write: no later than its last year.
fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(HTTP_SECONDS_MAX))
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    Part { start: u64, length: u64 },
    Beyond,
}

/// A single range; several at once, or something that is none, get the whole file.
fn range(request: &HeaderMap, size: u64) -> Range {
    let Some(wanted) = text(request, header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Range::Whole;
    };
    let Some((first, last)) = wanted.split_once('-') else { return Range::Whole };
    match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), _) if first >= size => Range::Beyond,
        (Ok(first), Ok(last)) if last >= first => {
            Range::Part { start: first, length: last.min(size - 1) - first + 1 }
        }
        (Ok(first), Err(_)) if last.trim().is_empty() => Range::Part { start: first, length: size - first },
        (Err(_), Ok(0)) if first.trim().is_empty() => Range::Beyond,
        (Err(_), Ok(suffix)) if first.trim().is_empty() && size > 0 => {
            let length = suffix.min(size);
            Range::Part { start: size - length, length }
        }
        _ => Range::Whole,
    }
}

#[cfg(test)]
mod tests {
    use plumb_filetree::{MemoryTree, TreeLimits};
    use tower::ServiceExt;

    use super::*;
    use crate::{file_body::PIECE_BYTES, layout::Location};

    struct Fixture {
        router: Router,
        path: String,
        content: Vec<u8>,
        _root: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(root.path()).unwrap();
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        builder.file(&RelPath::parse("a").unwrap(), Bytes::from_static(b"content"), false).unwrap();
        let location = Location::new("GitRepository", "ns", "n").unwrap();
        let (written, _) = store.put(&location, "abc.tar.gz", &builder.build()).unwrap();
        let content = std::fs::read(root.path().join(&written.path)).unwrap();
        std::fs::write(root.path().join("gitrepository/ns/n/abc.tar.gz.lock"), "x").unwrap();
        std::fs::write(root.path().join("gitrepository/ns/n/.abc.tar.gz.1.tmp"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("gitrepository/ns/n/link.tar.gz"))
            .unwrap();
        Fixture { router: router(store), path: format!("/{}", written.path), content, _root: root }
    }

    async fn request(
        fixture: &Fixture,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = fixture.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec())
    }

    /// Of a file with other bytes.
    fn fixture_of(content: Vec<u8>) -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(root.path()).unwrap();
        let location = Location::new("HelmChart", "ns", "n").unwrap();
        let written = store.put_bytes(&location, "a.tgz", &content).unwrap();
        Fixture { router: router(store), path: format!("/{}", written.path), content, _root: root }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_no_regular_file_is_never_opened() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("file"), "content").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        for open in [open_file, open_cached] {
            for name in ["link", "pipe", "none", "."] {
                assert!(open(&path(name)).is_none(), "{name}");
            }
        }
        let (content, size, _) = open_file(&path("file")).unwrap();
        assert!(matches!(content, FileContent::Whole(bytes) if bytes.as_ref() == b"content" && size == 7));
    }

    #[tokio::test]
    async fn an_artifact_is_served_whole_or_in_part() {
        served_whole_or_in_part(fixture()).await;
        for bytes in [CHUNK_BYTES, CHUNK_BYTES + 1, 2 * PIECE_BYTES + 7] {
            let content = (0..bytes).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
            served_whole_or_in_part(fixture_of(content)).await;
        }
        let empty = fixture_of(Vec::new());
        let (status, _, body) = request(&empty, "GET", &empty.path, &[]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
    }

    async fn served_whole_or_in_part(fixture: Fixture) {
        let (status, headers, body) = request(&fixture, "GET", &fixture.path, &[]).await;
        assert_eq!((status, &body), (StatusCode::OK, &fixture.content));
        assert_eq!(headers[header::CONTENT_LENGTH], fixture.content.len().to_string());
        let (status, headers, body) = request(&fixture, "HEAD", &fixture.path, &[]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        assert_eq!(headers[header::CONTENT_LENGTH], fixture.content.len().to_string());
        let (status, _, body) = request(&fixture, "GET", &fixture.path, &[("range", "bytes=2-5")]).await;
        assert_eq!((status, body.as_slice()), (StatusCode::PARTIAL_CONTENT, &fixture.content[2..6]));
        let (_, _, body) = request(&fixture, "GET", &fixture.path, &[("range", "bytes=-3")]).await;
        assert_eq!(body, fixture.content[fixture.content.len() - 3..]);
        let (status, _, _) = request(&fixture, "GET", &fixture.path, &[("range", "bytes=999999-")]).await;
        assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    }

    #[tokio::test]
    async fn an_unchanged_artifact_is_not_sent_again() {
        let fixture = fixture();
        let (_, headers, _) = request(&fixture, "GET", &fixture.path, &[]).await;
        for (name, known) in [("if-none-match", header::ETAG), ("if-modified-since", header::LAST_MODIFIED)] {
            let value = headers[known].to_str().unwrap();
            assert_eq!(
                request(&fixture, "GET", &fixture.path, &[(name, value)]).await.0,
                StatusCode::NOT_MODIFIED
            );
        }
    }

    #[tokio::test]
    async fn nothing_but_artifacts_is_served() {
        let fixture = fixture();
        let (status, _, body) = request(&fixture, "GET", "/", &[]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        for path in [
            "/gitrepository/",
            "/gitrepository/ns/n",
            "/gitrepository/ns/n/abc.tar.gz.lock",
            "/gitrepository/ns/n/.abc.tar.gz.1.tmp",
            "/gitrepository/ns/n/link.tar.gz",
            "/gitrepository/ns/../ns/n/abc.tar.gz",
            "/gitrepository/ns/n/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "/../../etc/passwd",
        ] {
            assert_eq!(request(&fixture, "GET", path, &[]).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(request(&fixture, "POST", &fixture.path, &[]).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_file_is_unchanged_since_its_own_time_and_any_later_one() {
        let unchanged = |since: &str| {
            let request = HeaderMap::from_iter([(header::IF_MODIFIED_SINCE, since.parse().unwrap())]);
            is_unchanged(&request, "\"x\"", 784_111_777)
        };
        assert!(unchanged("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(unchanged("Thu, 29 Feb 2024 00:00:00 GMT"));
        assert!(!unchanged("Sun, 06 Nov 1994 08:49:36 GMT"));
        assert!(!unchanged("yesterday"));
        // The time of a file can be anything.
        assert_eq!(fmt_http_date(time(u64::MAX)), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
