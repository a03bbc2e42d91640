//! The download: bounded, retried, hashed while it streams, and compared with the announced digest before anything parses its
//! content. Redirects are not followed: they would lead past the list of allowed hosts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use plumb_api::meta::Artifact;
use plumb_archive::{UnpackError, UnpackLimits, unpack};
use plumb_filetree::digest::{FileDigest, FileDigestError, Hasher};
use plumb_memory::{Limit, MemoryPool, MemoryReservation};
use plumb_status::cadence::Backoff;
use plumb_transport::{BodyError, ClientConfig, HttpClient, HttpRequest, Proxy, Redirects};
use tokio::sync::Semaphore;
use url::Url;

use crate::{
    cache::{ArtifactTree, Cache},
    error::FetchError,
    host::{HostPolicy, allowed_host},
};

/// Downloads and unpackings at the same time.
const DOWNLOADS_MAX: usize = 4;
/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a failed request is repeated, and after which pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadRetries {
    /// Repetitions after the first attempt (`--http-retry`).
    pub retries_max: u32,
    /// The pauses before them.
    pub backoff: Backoff,
}

impl Default for DownloadRetries {
    fn default() -> Self {
        let backoff = Backoff { min: Duration::from_millis(250), max: Duration::from_secs(10) };
        Self { retries_max: 9, backoff }
    }
}

/// What a download may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of the archive.
    pub archive_bytes_max: u64,
    /// What it may unpack to.
    pub unpack: UnpackLimits,
    /// Cached bytes of unpacked trees, at most.
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
    client: HttpClient,
    policy: HostPolicy,
    retries: DownloadRetries,
    limits: FetchLimits,
    cache: Cache,
    slots: Semaphore,
    memory: MemoryPool,
}

impl Fetcher {
    /// A fetcher with its own connection pool and cache. Archives and files are charged to `memory`.
    pub fn new(
        policy: HostPolicy,
        retries: DownloadRetries,
        limits: FetchLimits,
        memory: MemoryPool,
    ) -> Result<Self, FetchError> {
        // Artifacts are served inside of the cluster, by hosts that the policy lists.
        let config = ClientConfig {
            proxy: Proxy::None,
            connect_timeout: CONNECT_TIMEOUT,
            redirects: Redirects::None,
            ..ClientConfig::default()
        };
        let client = HttpClient::new(config).map_err(|source| FetchError::Client { source })?;
        let cache = Cache::new(limits.cache_bytes_max, memory.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                policy,
                retries,
                limits,
                cache,
                slots: Semaphore::new(DOWNLOADS_MAX),
                memory,
            }),
        })
    }

    /// The files of an artifact, for an object of the namespace `consumer`.
    pub async fn fetch(&self, consumer: &str, artifact: &Artifact) -> Result<Arc<ArtifactTree>, FetchError> {
        self.fetch_from(consumer, &artifact.url, &artifact.digest).await
    }

    /// The files behind a URL whose archive has this digest (`algorithm:hex`).
    pub async fn fetch_from(
        &self,
        consumer: &str,
        url: &str,
        digest: &str,
    ) -> Result<Arc<ArtifactTree>, FetchError> {
        let inner = &self.inner;
        let digest: FileDigest =
            digest.parse().map_err(|FileDigestError| FetchError::BadDigest { digest: digest.to_owned() })?;
        let digest = &digest;
        let url = allowed_host(url, &inner.policy)?;
        if let Some(tree) = inner.cache.get(digest.as_str()) {
            return Ok(tree);
        }
        let timeout = inner.limits.timeout;
        tokio::time::timeout(timeout, self.fetch_missing(consumer, &url, digest))
            .await
            .map_err(|_| FetchError::TimedOut { url: url.to_string(), seconds: timeout.as_secs() })?
    }

    async fn fetch_missing(
        &self,
        consumer: &str,
        url: &Url,
        digest: &FileDigest,
    ) -> Result<Arc<ArtifactTree>, FetchError> {
        let inner = &self.inner;
        let gate = inner.cache.gate(digest.as_str());
        let _turn = gate.lock().await;
        if let Some(tree) = inner.cache.get(digest.as_str()) {
            return Ok(tree);
        }
        let slot = inner.slots.acquire().await;
        let _slot = slot.map_err(|_| FetchError::Interrupted { url: url.to_string() })?;
        let started = Instant::now();
        let tree = match self.fetch_once(consumer, url, digest).await {
            // The cache gives way when its memory is needed.
            Err(error) if error.is_over_budget_now() => {
                inner.cache.clear();
                self.fetch_once(consumer, url, digest).await
            }
            result => result,
        }?;
        tracing::debug!(%url, bytes = tree.bytes(), seconds = started.elapsed().as_secs_f64(), "artifact fetched");
        let tree = Arc::new(tree);
        inner.cache.put(digest.as_str(), &tree);
        Ok(tree)
    }

    async fn fetch_once(
        &self,
        consumer: &str,
        url: &Url,
        digest: &FileDigest,
    ) -> Result<ArtifactTree, FetchError> {
        let limits = self.inner.limits.unpack;
        let mut packed = self.inner.memory.reservation(consumer, self.archive_limit());
        let archive = self.download_with_retry(url, digest, &mut packed).await?;
        let files_limit = Limit { name: "files of an artifact", bytes_max: limits.unpacked_bytes_max };
        let mut memory = self.inner.memory.reservation(consumer, files_limit);
        let unpacking = tokio::task::spawn_blocking(move || {
            let tree = unpack(&archive, &limits, &mut memory);
            drop((archive, packed));
            tree.map(|tree| (tree, memory))
        });
        let unpacked = unpacking.await.map_err(|_| FetchError::Interrupted { url: url.to_string() })?;
        let (tree, memory) = unpacked.map_err(|source| match source {
            UnpackError::OverBudget { source } => FetchError::OverBudget { url: url.to_string(), source },
            source => FetchError::Unpack { url: url.to_string(), source },
        })?;
        Ok(self.inner.cache.take_over(tree, memory))
    }

    fn archive_limit(&self) -> Limit {
        Limit { name: "archive of an artifact", bytes_max: self.inner.limits.archive_bytes_max }
    }

    async fn download_with_retry(
        &self,
        url: &Url,
        digest: &FileDigest,
        memory: &mut MemoryReservation,
    ) -> Result<Vec<u8>, FetchError> {
        let DownloadRetries { retries_max, backoff } = self.inner.retries;
        let mut failures = 0;
        loop {
            memory.shrink(memory.bytes());
            match self.download(url, digest, memory).await {
                Err(error) if error.is_transient() && failures < retries_max => {
                    failures += 1;
                    tracing::debug!(%url, failures, error = %plumb_status::chain(&error), "retrying download");
                    tokio::time::sleep(backoff.after(failures, seed(digest))).await;
                }
                result => return result,
            }
        }
    }

    async fn download(
        &self,
        url: &Url,
        digest: &FileDigest,
        memory: &mut MemoryReservation,
    ) -> Result<Vec<u8>, FetchError> {
        let transfer = |source| FetchError::Transfer { url: url.to_string(), source };
        let request = HttpRequest::get(url.clone()).timeout(self.inner.limits.timeout);
        let response = self.inner.client.send(request).await.map_err(transfer)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(FetchError::NotFound { url: url.to_string() });
            }
            status => return Err(FetchError::Status { status: status.as_u16(), url: url.to_string() }),
        }
        let mut hasher = Hasher::new(digest.algorithm());
        let read = response.collect(self.archive_limit(), memory, |piece| hasher.update(piece)).await;
        let archive = read.map_err(|error| match error {
            BodyError::TooLarge { name: _, max } => FetchError::TooLarge { url: url.to_string(), max },
            BodyError::OverBudget(source) => FetchError::OverBudget { url: url.to_string(), source },
            BodyError::Connection(source) => transfer(source),
            // Neither is there an interrupt here, nor a writer that is not memory.
            BodyError::Interrupted | BodyError::Write { .. } => {
                FetchError::Interrupted { url: url.to_string() }
            }
        })?;
        let actual = hasher.finish();
        if actual == *digest {
            Ok(archive)
        } else {
            let (expected, actual) = (digest.to_string(), actual.to_string());
            Err(FetchError::DigestMismatch { url: url.to_string(), expected, actual })
        }
    }
}

/// Spreads the pauses of different artifacts.
fn seed(digest: &FileDigest) -> u64 {
    digest.hex().get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
