//! The download: bounded, retried, hashed while it streams, and compared with the announced digest before anything looks at its
//! content. Redirects are not followed: they would lead past the list of allowed hosts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use plumb_api::meta::Artifact;
use plumb_filetree::{MemoryTree, digest::Hasher};
use reqwest::{Response, StatusCode, redirect};
use tokio::sync::Semaphore;
use url::Url;

use crate::{
    cache::Cache,
    error::FetchError,
    host::{HostPolicy, allowed_host},
    unpack::{UnpackLimits, unpack},
};

/// Downloads and unpackings at the same time.
const DOWNLOADS_MAX: usize = 4;
/// The only algorithm that is accepted.
const DIGEST_PREFIX: &str = "sha256:";
/// Hexadecimal digits of that algorithm.
const DIGEST_HEX_LENGTH: usize = 64;
/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often and how fast a failed request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Repetitions after the first attempt (`--http-retry`).
    pub retries_max: u32,
    /// The pause before the first repetition; each next one is twice as long.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries_max: 9, pause_min: Duration::from_millis(250), pause_max: Duration::from_secs(10) }
    }
}

/// What a download may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of the archive.
    pub archive_bytes_max: u64,
    /// What it may unpack to.
    pub unpack: UnpackLimits,
    /// Bytes of unpacked trees kept.
    pub cache_bytes_max: u64,
    /// How long one fetch may take, repetitions included.
    pub timeout: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            archive_bytes_max: 256 << 20,
            unpack: UnpackLimits::DEFAULT,
            cache_bytes_max: 128 << 20,
            timeout: Duration::from_mins(2),
        }
    }
}

/// Fetches artifacts; cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

struct Inner {
    client: reqwest::Client,
    policy: HostPolicy,
    retry: RetryPolicy,
    limits: FetchLimits,
    cache: Cache,
    slots: Semaphore,
}

impl Fetcher {
    /// A fetcher with its own connection pool and cache.
    pub fn new(policy: HostPolicy, retry: RetryPolicy, limits: FetchLimits) -> Result<Self, FetchError> {
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            // Artifacts are served inside of the cluster.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|source| FetchError::Client { source })?;
        let cache = Cache::new(limits.cache_bytes_max);
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                policy,
                retry,
                limits,
                cache,
                slots: Semaphore::new(DOWNLOADS_MAX),
            }),
        })
    }

    /// The files of an artifact.
    pub async fn fetch(&self, artifact: &Artifact) -> Result<Arc<MemoryTree>, FetchError> {
        self.fetch_from(&artifact.url, &artifact.digest).await
    }

    /// The files behind a URL whose archive has this digest (`sha256:<hex>`).
    pub async fn fetch_from(&self, url: &str, digest: &str) -> Result<Arc<MemoryTree>, FetchError> {
        let inner = &self.inner;
        let hex = parse_digest(digest)?;
        let url = allowed_host(url, &inner.policy)?;
        if let Some(tree) = inner.cache.get(hex) {
            return Ok(tree);
        }
        let timeout = inner.limits.timeout;
        tokio::time::timeout(timeout, self.fetch_missing(&url, hex))
            .await
            .map_err(|_| FetchError::TimedOut { url: url.to_string(), seconds: timeout.as_secs() })?
    }

    async fn fetch_missing(&self, url: &Url, hex: &str) -> Result<Arc<MemoryTree>, FetchError> {
        let inner = &self.inner;
        let gate = inner.cache.gate(hex);
        let _turn = gate.lock().await;
        if let Some(tree) = inner.cache.get(hex) {
            return Ok(tree);
        }
        let interrupted = || FetchError::Interrupted { url: url.to_string() };
        let _slot = inner.slots.acquire().await.map_err(|_| interrupted())?;
        let started = Instant::now();
        let archive = self.download_with_retry(url, hex).await?;
        let limits = inner.limits.unpack;
        let size = archive.len();
        let tree = tokio::task::spawn_blocking(move || unpack(&archive, &limits))
            .await
            .map_err(|_| interrupted())?
            .map_err(|source| FetchError::Unpack { url: url.to_string(), source })?;
        tracing::debug!(%url, bytes = size, seconds = started.elapsed().as_secs_f64(), "artifact fetched");
        let tree = Arc::new(tree);
        inner.cache.put(hex, &tree);
        Ok(tree)
    }

    async fn download_with_retry(&self, url: &Url, hex: &str) -> Result<Vec<u8>, FetchError> {
        let RetryPolicy { retries_max, pause_min, pause_max } = self.inner.retry;
        let mut pause = pause_min;
        let mut attempt = 0;
        loop {
            match self.download(url, hex).await {
                Err(error) if error.is_transient() && attempt < retries_max => {
                    tracing::debug!(%url, attempt, error = %plumb_status::chain(&error), "download is repeated");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(pause_max);
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn download(&self, url: &Url, hex: &str) -> Result<Vec<u8>, FetchError> {
        let transfer = |source: reqwest::Error| FetchError::Transfer {
            url: url.to_string(),
            source: source.without_url(),
        };
        let response = self.inner.client.get(url.clone()).send().await.map_err(transfer)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(FetchError::NotFound { url: url.to_string() });
            }
            status => return Err(FetchError::Status { status: status.as_u16(), url: url.to_string() }),
        }
        let (archive, actual) = self.read_body(url, response).await?;
        if actual == hex {
            Ok(archive)
        } else {
            Err(FetchError::DigestMismatch {
                url: url.to_string(),
                expected: format!("{DIGEST_PREFIX}{hex}"),
                actual,
            })
        }
    }

    async fn read_body(&self, url: &Url, response: Response) -> Result<(Vec<u8>, String), FetchError> {
        let max = self.inner.limits.archive_bytes_max;
        let too_large = || FetchError::TooLarge { url: url.to_string(), max };
        let announced = response.content_length();
        if announced.is_some_and(|length| length > max) {
            return Err(too_large());
        }
        let mut archive = Vec::with_capacity(usize::try_from(announced.unwrap_or(0)).unwrap_or(0));
        let mut hasher = Hasher::default();
        let mut body = response.bytes_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|source| FetchError::Transfer {
                url: url.to_string(),
                source: source.without_url(),
            })?;
            if u64::try_from(archive.len() + piece.len()).map_or(true, |length| length > max) {
                return Err(too_large());
            }
            hasher.update(&piece);
            archive.extend_from_slice(&piece);
        }
        Ok((archive, hasher.finish_hex()))
    }
}

fn parse_digest(digest: &str) -> Result<&str, FetchError> {
    digest
        .strip_prefix(DIGEST_PREFIX)
        .filter(|hex| {
            hex.len() == DIGEST_HEX_LENGTH
                && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
        .ok_or_else(|| FetchError::BadDigest { digest: digest.to_owned() })
}

#[cfg(test)]
mod tests;
