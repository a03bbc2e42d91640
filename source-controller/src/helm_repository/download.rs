//! One file of a Helm repository over HTTP, within a limit.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use plumb_filetree::digest::Hasher;
use plumb_memory::{Limit, MemoryPool, MemoryReservation, OverBudget};
use plumb_transport::{BodyError, ConnectionError, HttpClient, HttpRequest, OriginCredential, shown_url};
use url::Url;

/// What is downloaded, and how.
pub struct FileRequest<'a> {
    /// The file.
    pub url: &'a Url,
    /// The credential for its host.
    pub credential: Option<&'a OriginCredential>,
    /// Headers by which the server may say that the file has not changed.
    pub conditions: &'a [(HeaderName, HeaderValue)],
    /// How large it may be.
    pub limit: Limit,
    /// How long it may take.
    pub timeout: Duration,
    /// To whom it is charged.
    pub namespace: &'a str,
}

/// A file, or that it has not changed.
#[derive(Debug)]
pub enum Downloaded {
    /// As the conditions have it.
    Unchanged,
    /// The file.
    File(Box<File>),
}

/// A file in memory.
#[derive(Debug)]
pub struct File {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Held as long as the bytes are.
    pub memory: MemoryReservation,
    /// The SHA-256 digest of its bytes, in hexadecimal.
    pub sha256: String,
    /// What the server said of it.
    pub headers: HeaderMap,
}

/// Why a file could not be downloaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// The server has none, or does not give it out.
    #[error("failed to fetch {url}: {status}{}", phrase(*.status))]
    Status {
        /// The URL.
        url: String,
        /// The status code.
        status: u16,
    },
    /// The server cannot be reached.
    #[error("failed to fetch {url}")]
    Connection {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: ConnectionError,
    },
    /// The response breaks off, or is too large.
    #[error("failed to fetch {url}")]
    Body {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: BodyError,
    },
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(OverBudget),
}

fn phrase(status: u16) -> String {
    let status = StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).map(|text| format!(" {text}")).unwrap_or_default()
}

/// Downloads a file. Redirects are followed; a credential goes to no other host.
pub async fn download(
    http: &HttpClient,
    memory: &MemoryPool,
    file: FileRequest<'_>,
) -> Result<Downloaded, DownloadError> {
    let FileRequest { url, credential, conditions, limit, timeout, namespace } = file;
    let mut request = HttpRequest::get(url.clone()).timeout(timeout);
    if let Some(credential) = credential {
        request = request.credential(credential.clone());
    }
    for (name, value) in conditions {
        request = request.header(name.clone(), value.clone());
    }
    let url = shown_url(url);
    let response = http.send(request).await;
    let response = response.map_err(|source| DownloadError::Connection { url: url.clone(), source })?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if !conditions.is_empty() => return Ok(Downloaded::Unchanged),
        status => return Err(DownloadError::Status { url, status: status.as_u16() }),
    }
    let headers = response.headers().clone();
    let mut memory = memory.reservation(namespace, limit);
    let mut hasher = Hasher::default();
    match response.collect(limit, &mut memory, |piece| hasher.update(piece)).await {
        Ok(bytes) => {
            let file = File { bytes, memory, sha256: hasher.finish_hex(), headers };
            Ok(Downloaded::File(Box::new(file)))
        }
        Err(BodyError::OverBudget(over)) => Err(DownloadError::OverBudget(over)),
        Err(source) => Err(DownloadError::Body { url, source }),
    }
}
