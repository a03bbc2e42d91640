//! One file over HTTP: resumed where an earlier transfer ended, and held against a digest that is known beforehand.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use plumb_status::cadence::Backoff;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use sha2::{Sha256, Sha512};
use tokio::time::timeout;

use crate::PROGRESS_EVERY;

/// How large a downloaded file may be.
pub const ARCHIVE_BYTES_MAX: u64 = 1 << 30;
/// The longest pause before a try.
const PAUSE_MAX: Duration = Duration::from_secs(16);
const READ_BYTES: usize = 1 << 16;
const MEGABYTE: u64 = 1_000_000;

/// How long a download waits, and how often it tries.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Timeout of the first response of a host.
    pub probe: Duration,
    /// How long a transfer may carry no byte.
    pub silence: Duration,
    /// How many transfers are tried, resumed ones included.
    pub tries: u32,
    /// The pause before the second try; it doubles.
    pub pause: Duration,
    /// How long one file may take, all tries together.
    pub total: Duration,
    /// Time between two lines of progress.
    pub progress_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            probe: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            tries: 8,
            pause: Duration::from_secs(1),
            total: Duration::from_mins(20),
            progress_every: PROGRESS_EVERY,
        }
    }
}

/// A SHA-256 or SHA-512, in lower-case hexadecimal digits. The length decides which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest(String);

impl FileDigest {
    const SHA256_DIGITS: usize = 64;
    const SHA512_DIGITS: usize = 128;

    /// Reads 64 or 128 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = [Self::SHA256_DIGITS, Self::SHA512_DIGITS].contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| Self(text.to_ascii_lowercase()))
    }

    /// Writes the bytes of a digest as digits.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(HEXLOWER.encode(bytes))
    }

    /// The digest of a file, by the same algorithm.
    fn of_file(&self, file: &Path) -> io::Result<Self> {
        if self.0.len() == Self::SHA512_DIGITS { hashed::<Sha512>(file) } else { hashed::<Sha256>(file) }
    }
}

impl std::fmt::Display for FileDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let algorithm = if self.0.len() == Self::SHA512_DIGITS { "sha512" } else { "sha256" };
        write!(formatter, "{algorithm}:{}", self.0)
    }
}

fn hashed<Hash: sha2::Digest>(file: &Path) -> io::Result<FileDigest> {
    let (mut file, mut hash) = (File::open(file)?, Hash::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(FileDigest::of_bytes(&hash.finalize()))
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The host does not respond, or has no such file. Another source may be used.
    #[error("cannot download {url}: {cause}")]
    Unavailable {
        /// The requested URL, without credentials.
        url: String,
        /// What went wrong.
        cause: String,
    },
    /// The content does not match the pinned digest. No other source is used: an operator has to check it.
    #[error(
        "{url} is not the file that is pinned: expected {expected}, got {found}. Nothing of it was kept. Check the \
         mirror or proxy in between"
    )]
    Mismatch {
        /// The URL, without credentials.
        url: String,
        /// The pinned digest.
        expected: FileDigest,
        /// The digest of the received content.
        found: FileDigest,
    },
    /// A fault on this machine.
    #[error("{0:#}")]
    Local(anyhow::Error),
}

/// A client for downloads. It supports `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
pub fn client(limits: Limits) -> Result<Client, DownloadError> {
    // Decoded content would not have the digest of the file.
    let builder = Client::builder().no_gzip().no_brotli().no_deflate().no_zstd();
    let builder =
        builder.connect_timeout(limits.probe).user_agent(concat!("plumb/", env!("CARGO_PKG_VERSION")));
    builder.build().map_err(|error| DownloadError::Local(anyhow::Error::new(error).context("no HTTP client")))
}

/// Requests the first byte of a file: whether the host responds in time and has it.
pub async fn probe(client: &Client, url: &Url, limits: Limits) -> Result<(), DownloadError> {
    let request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity").header(RANGE, "bytes=0-0");
    let answer = match timeout(limits.probe, request.send()).await {
        Ok(Ok(answer)) if answer.status().is_success() => return Ok(()),
        Ok(Ok(answer)) => format!("the server answers {}", answer.status()),
        Ok(Err(error)) => cause(error),
        Err(_) => format!("no answer within {:.1} s", limits.probe.as_secs_f32()),
    };
    Err(unavailable(url, answer))
}

/// Downloads to `part`, resumes where that file ends, and returns when it has the digest. On a mismatch it is removed.
pub async fn fetch(
    client: &Client,
    url: &Url,
    part: &Path,
    expected: &FileDigest,
    limits: Limits,
    report_progress: &dyn Fn(&str),
) -> Result<(), DownloadError> {
    let (started, reported) = (Instant::now(), Cell::new(Instant::now()));
    let report_progress = |line: &str| {
        reported.set(Instant::now());
        report_progress(line);
    };
    let trying = async {
        let resumed = length(part) > 0;
        transfer_with_retries(client, url, part, limits, &report_progress).await?;
        match held_against(url, part, expected) {
            // The existing bytes may be of another file.
            Err(DownloadError::Mismatch { .. }) if resumed => {
                transfer_with_retries(client, url, part, limits, &report_progress).await?;
                held_against(url, part, expected)
            }
            done => done,
        }
    };
    // While a server does not respond, and in the pauses, no other progress is reported.
    let waiting = async {
        loop {
            tokio::time::sleep(limits.progress_every.saturating_sub(reported.get().elapsed())).await;
            if reported.get().elapsed() >= limits.progress_every {
                let host = url.host_str().unwrap_or_default();
                report_progress(&format!("waiting for {host}, {} s", started.elapsed().as_secs()));
            }
        }
    };
    tokio::select! {
        done = trying => done,
        never = waiting => never,
        () = tokio::time::sleep(limits.total) => {
            Err(unavailable(url, format!("not complete after {} s", limits.total.as_secs())))
        }
    }
}

async fn transfer_with_retries(
    client: &Client,
    url: &Url,
    part: &Path,
    limits: Limits,
    report_progress: &dyn Fn(&str),
) -> Result<(), DownloadError> {
    let backoff = Backoff { min: limits.pause, max: PAUSE_MAX };
    for tried in 1.. {
        let cause = match transfer(client, url, part, limits, report_progress).await {
            Ok(()) => break,
            Err(Broken::Fault(cause)) => cause,
            Err(Broken::Final(error)) => return Err(error),
        };
        if tried >= limits.tries {
            return Err(unavailable(url, format!("{cause}; gave up after {tried} tries")));
        }
        let pause = backoff.without_jitter(tried);
        report_progress(&format!(
            "{cause}; going on at {} MB in {:.0} s",
            length(part) / MEGABYTE,
            pause.as_secs_f32()
        ));
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// How a transfer ended before its end.
enum Broken {
    /// It may be resumed.
    Fault(String),
    /// It will not get better.
    Final(DownloadError),
}

async fn transfer(
    client: &Client,
    url: &Url,
    part: &Path,
    limits: Limits,
    report_progress: &dyn Fn(&str),
) -> Result<(), Broken> {
    let local = |error: io::Error| Broken::Final(DownloadError::Local(no_write(error, part)));
    let have = length(part);
    let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let response = match timeout(limits.silence, request.send()).await {
        Ok(response) => response.map_err(|error| Broken::Fault(cause(error)))?,
        Err(_) => return Err(Broken::Fault(silent(limits))),
    };
    let from = match response.status() {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if starts_at(&response) == Some(have) => have,
        // Nothing is left to send: the digest shows whether it is the file.
        StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(()),
        StatusCode::PARTIAL_CONTENT => {
            fs::remove_file(part).map_err(local)?;
            return Err(Broken::Fault("the server sends another range than asked for".to_owned()));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(Broken::Fault(format!("the server answers {status}")));
        }
        status => return Err(Broken::Final(unavailable(url, format!("the server answers {status}")))),
    };
    let mut file = File::options().create(true).append(true).open(part).map_err(local)?;
    file.set_len(from).map_err(local)?;
    let mut progress = Progress::new(url, from, response.content_length(), limits.progress_every);
    receive(response, limits, |bytes| {
        progress.have += bytes.len() as u64;
        if progress.have > ARCHIVE_BYTES_MAX {
            let _ = fs::remove_file(part); // its content is of no use
            let limit = format!("larger than {} MB (ARCHIVE_BYTES_MAX)", ARCHIVE_BYTES_MAX / MEGABYTE);
            return Err(Broken::Final(unavailable(url, limit)));
        }
        file.write_all(bytes).map_err(local)?;
        progress.report(report_progress);
        Ok(())
    })
    .await
}

/// Passes on each piece of a body.
async fn receive(
    mut response: Response,
    limits: Limits,
    mut take: impl FnMut(&[u8]) -> Result<(), Broken>,
) -> Result<(), Broken> {
    loop {
        match timeout(limits.silence, response.chunk()).await {
            Ok(Ok(Some(bytes))) => take(&bytes)?,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(Broken::Fault(cause(error))),
            Err(_) => return Err(Broken::Fault(silent(limits))),
        }
    }
}

/// How far a transfer is.
struct Progress {
    name: String,
    have: u64,
    total: Option<u64>,
    every: Duration,
    reported: Instant,
}

impl Progress {
    fn new(url: &Url, from: u64, rest: Option<u64>, every: Duration) -> Self {
        let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned();
        Self { name, have: from, total: rest.map(|rest| from + rest), every, reported: Instant::now() }
    }

    /// Reports the progress, if it was not reported recently.
    fn report(&mut self, report_progress: &dyn Fn(&str)) {
        if self.reported.elapsed() < self.every {
            return;
        }
        self.reported = Instant::now();
        let of = self.total.map(|total| format!(" of {}", total / MEGABYTE)).unwrap_or_default();
        report_progress(&format!("downloading {}: {}{of} MB", self.name, self.have / MEGABYTE));
    }
}

fn held_against(url: &Url, part: &Path, expected: &FileDigest) -> Result<(), DownloadError> {
    let found = expected.of_file(part).with_context(|| format!("cannot read {}", part.display()));
    let found = found.map_err(DownloadError::Local)?;
    if found == *expected {
        return Ok(());
    }
    fs::remove_file(part).map_err(|error| DownloadError::Local(no_write(error, part)))?;
    Err(DownloadError::Mismatch { url: shown(url), expected: expected.clone(), found })
}

/// Where the range of a response starts: `bytes 100-199/200`.
fn starts_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// How long a file is; 0 if there is none.
fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |meta| meta.len())
}

fn unavailable(url: &Url, cause: String) -> DownloadError {
    DownloadError::Unavailable { url: shown(url), cause }
}

fn silent(limits: Limits) -> String {
    format!("no byte for {:.1} s", limits.silence.as_secs_f32())
}

fn no_write(error: io::Error, file: &Path) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("cannot write {}", file.display()))
}

/// The innermost cause: the layers above it only add that a request failed.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut inner: &dyn std::error::Error = &error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// A URL as it may be printed: a mirror's may hold credentials.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot hold credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha256_or_sha512_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let of = |text: &str| FileDigest::parse(text).unwrap().of_file(file.path()).unwrap().to_string();
        assert_eq!(
            of(&"0".repeat(64)),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(of(&"A".repeat(128)).starts_with("sha512:ddaf35a193617abacc417349ae204131"));
        for text in ["", "ab", &"0".repeat(63), &"g".repeat(64), &"0".repeat(129)] {
            assert_eq!(FileDigest::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_printed_url_holds_no_credentials() {
        let url = Url::parse("https://user:secret@mirror.example/a.tar.gz?token=secret").unwrap();
        assert_eq!(shown(&url), "https://mirror.example/a.tar.gz");
    }
}
