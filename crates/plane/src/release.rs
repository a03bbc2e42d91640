//! The official release binaries: which archives, with which digests, and which of their files are used.
//!
//! Kubernetes publishes the SHA-512 of a release's archives in the changelog, which the source of the *next* release
//! contains; that source is a Go module, and `go.sum` pins it. So the release here is the one before [`crate::VERSION`].
//! The digests of etcd are those of the SHA256SUMS file of its release.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;
use reqwest::{Client, Url};

use crate::download::{self, DownloadError, FileDigest, Limits};
use crate::programs::sibling;

/// The release of Kubernetes that is downloaded.
pub const KUBERNETES: &str = "v1.36.2";
/// The release of etcd that is downloaded.
pub const ETCD: &str = "v3.6.14";

/// The environment variable that names a mirror of `https://dl.k8s.io`.
pub const KUBERNETES_URL: &str = "PLUMB_PLANE_KUBERNETES_URL";
/// The environment variable that names a mirror of etcd's release downloads.
pub const ETCD_URL: &str = "PLUMB_PLANE_ETCD_URL";
/// The environment variable that names a file of digests, as `sha256sum` and `sha512sum` write it.
pub const DIGESTS: &str = "PLUMB_PLANE_DIGESTS";

const KUBERNETES_HOME: &str = "https://dl.k8s.io";
const ETCD_HOME: &str = "https://github.com/etcd-io/etcd/releases/download";
/// How large a file of digests may be.
const DIGESTS_BYTES_MAX: u64 = 1 << 20;
/// How large a program in an archive may be.
const PROGRAM_BYTES_MAX: u64 = 1 << 30;

/// The digests of the archives.
const PINS: [(&str, &str); 4] = [
    (
        "kubernetes-server-linux-amd64.tar.gz",
        "0c617cb74f6a8ddc142afd453b3ece4b39268d78febdbe9df91faf3a01031d36\
         4e9347bf8dfdc336e9ed0fe64ad82ce0209ef9fc0340e7d2f784d37bfa7e0d18",
    ),
    (
        "kubernetes-server-linux-arm64.tar.gz",
        "7226d91204980892f593307f06acefd5579337ec5758c8615a0e46541a990083\
         c6be9809b01fb9e06da7e9b6d7208a673fd5129b7145436c3fe6e726d1fa469d",
    ),
    ("etcd-v3.6.14-linux-amd64.tar.gz", "ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5"),
    ("etcd-v3.6.14-linux-arm64.tar.gz", "fa1b80565ee6fc2df1ae6f57a508b221f3ecc7d591c317c581cd8281b0842b3e"),
];

/// Where the archives come from.
#[derive(Clone, Debug)]
pub struct ReleaseSource {
    /// Replaces `https://dl.k8s.io`.
    pub kubernetes_url: String,
    /// Replaces etcd's release downloads.
    pub etcd_url: String,
    /// A file of digests that take precedence over those in this program.
    pub digests: Option<PathBuf>,
    /// The platform, as the archives' names write it.
    pub platform: String,
    /// How long to wait.
    pub limits: Limits,
}

/// One archive, and the programs in it.
#[derive(Debug)]
struct Archive {
    name: String,
    url: Url,
    digest: FileDigest,
    folder: String,
    programs: &'static [&'static str],
}

impl ReleaseSource {
    /// The official hosts, or the mirrors that the variables name.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            kubernetes_url: variable(KUBERNETES_URL).unwrap_or_else(|| KUBERNETES_HOME.to_owned()),
            etcd_url: variable(ETCD_URL).unwrap_or_else(|| ETCD_HOME.to_owned()),
            digests: variable(DIGESTS).map(PathBuf::from),
            platform: format!("{}-{architecture}", std::env::consts::OS),
            limits: Limits::default(),
        }
    }

    /// A name for the cache: another release never meets this one's files.
    pub fn folder_name(&self) -> String {
        format!("{KUBERNETES}-etcd-{ETCD}-{}", self.platform)
    }

    /// Downloads, verifies and unpacks the programs into `folder`, which exists with all of them or not at all.
    /// Downloaded parts of the archives stay next to it until then, so that the next call can resume.
    pub fn install(&self, folder: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<(), DownloadError> {
        let archives = self.archives()?;
        // In a thread of its own, since the caller may be async.
        let downloaded = std::thread::scope(|scope| {
            let downloading = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.context("no runtime").map_err(DownloadError::Local)?;
                let done = runtime.block_on(download_all(&archives, folder, self.limits, progress));
                // A name that is still being resolved would hold the end of the runtime.
                runtime.shutdown_background();
                done
            });
            let panicked = |_| Err(DownloadError::Local(anyhow::anyhow!("the download panicked")));
            downloading.join().unwrap_or_else(panicked)
        });
        downloaded?;
        unpack_all(&archives, folder, progress).map_err(DownloadError::Local)
    }

    fn archives(&self) -> Result<[Archive; 2], DownloadError> {
        let digests = match &self.digests {
            Some(file) => read_digests(file).map_err(DownloadError::Local)?,
            None => BTreeMap::new(),
        };
        let platform = &self.platform;
        let kubernetes = format!("kubernetes-server-{platform}.tar.gz");
        let etcd = format!("etcd-{ETCD}-{platform}.tar.gz");
        Ok([
            Archive {
                // The small one first: a fault of the way shows early.
                url: url(&self.etcd_url, ETCD_URL, ETCD, &etcd)?,
                digest: digest(&digests, &etcd)?,
                name: etcd,
                folder: format!("etcd-{ETCD}-{platform}"),
                programs: &["etcd"],
            },
            Archive {
                url: url(&self.kubernetes_url, KUBERNETES_URL, KUBERNETES, &kubernetes)?,
                digest: digest(&digests, &kubernetes)?,
                name: kubernetes,
                folder: "kubernetes/server/bin".to_owned(),
                programs: &["kube-apiserver", "kube-controller-manager", "kubectl"],
            },
        ])
    }
}

fn url(base: &str, variable: &str, version: &str, name: &str) -> Result<Url, DownloadError> {
    let url = Url::parse(&format!("{}/{version}/{name}", base.trim_end_matches('/')));
    let url = url.ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    // Without the value: it may hold credentials.
    let wrong = || anyhow::anyhow!("{variable} is not an http or https URL");
    url.with_context(wrong).map_err(DownloadError::Local)
}

fn digest(own: &BTreeMap<String, FileDigest>, name: &str) -> Result<FileDigest, DownloadError> {
    let pinned = || PINS.iter().find(|(of, _)| *of == name).and_then(|(_, text)| FileDigest::parse(text));
    own.get(name).cloned().or_else(pinned).ok_or_else(|| DownloadError::Unavailable {
        url: name.to_owned(),
        cause: format!("its digest is not known here ({DIGESTS} may name a file with it)"),
    })
}

/// Reads lines of a digest and a file name, as `sha256sum` and `sha512sum` write them.
fn read_digests(file: &Path) -> Result<BTreeMap<String, FileDigest>> {
    let mut text = String::new();
    let opened =
        File::open(file).with_context(|| format!("cannot read {}, which {DIGESTS} names", file.display()))?;
    let read = opened.take(DIGESTS_BYTES_MAX).read_to_string(&mut text);
    read.with_context(|| format!("cannot read {}, which {DIGESTS} names", file.display()))?;
    let mut digests = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once(' ').map(|(digest, name)| (FileDigest::parse(digest), name.trim()));
        let Some((Some(digest), name)) = pair else {
            bail!(
                "{}, which {DIGESTS} names: line {} is not a SHA-256 or SHA-512 in hexadecimal digits, a space and a \
                 file name",
                file.display(),
                at + 1
            );
        };
        digests.insert(name.trim_start_matches('*').to_owned(), digest);
    }
    Ok(digests)
}

async fn download_all(
    archives: &[Archive],
    folder: &Path,
    limits: Limits,
    progress: &dyn Fn(&str),
) -> Result<(), DownloadError> {
    let client = download::client(limits)?;
    let missing: Vec<&Archive> = archives.iter().filter(|archive| !archive.file(folder).exists()).collect();
    // All of them first: hundreds of megabytes are of no use without the rest.
    futures_util::future::try_join_all(
        missing.iter().map(|archive| download::probe(&client, &archive.url, limits)),
    )
    .await?;
    for archive in missing {
        archive.download(&client, folder, limits, progress).await?;
    }
    Ok(())
}

impl Archive {
    /// Its path when it is complete and verified.
    fn file(&self, folder: &Path) -> PathBuf {
        sibling(folder, &self.name)
    }

    async fn download(
        &self,
        client: &Client,
        folder: &Path,
        limits: Limits,
        progress: &dyn Fn(&str),
    ) -> Result<(), DownloadError> {
        progress(&format!("downloading {}", download::shown(&self.url)));
        let part = sibling(folder, &format!("{}.part", self.name));
        download::fetch(client, &self.url, &part, &self.digest, limits, progress).await?;
        let file = self.file(folder);
        let renamed = fs::rename(&part, &file).with_context(|| format!("cannot write {}", file.display()));
        renamed.map_err(DownloadError::Local)
    }

    /// Writes the programs, each executable, and fails if one is missing.
    fn unpack(&self, from: &Path, to: &Path, progress: &dyn Fn(&str)) -> Result<()> {
        let archive = from.display();
        let file = File::open(from).with_context(|| format!("cannot read {archive}"))?;
        let mut tar = tar::Archive::new(GzDecoder::new(io::BufReader::with_capacity(1 << 16, file)));
        let mut missing: Vec<&str> = self.programs.to_vec();
        for entry in tar.entries().with_context(|| format!("{archive} is damaged"))? {
            let entry = entry.with_context(|| format!("{archive} is damaged"))?;
            let path = entry.path().with_context(|| format!("{archive} is damaged"))?.into_owned();
            let found = missing.iter().position(|name| path == Path::new(&self.folder).join(name));
            let Some(found) = found.filter(|_| entry.header().entry_type().is_file()) else { continue };
            let name = missing.swap_remove(found);
            progress(&format!("unpacking {name}"));
            let program = to.join(name);
            if entry.size() > PROGRAM_BYTES_MAX {
                bail!(
                    "{} of {archive} is larger than {PROGRAM_BYTES_MAX} bytes (PROGRAM_BYTES_MAX)",
                    path.display()
                );
            }
            let mut output =
                File::create(&program).with_context(|| format!("cannot write {}", program.display()))?;
            let written = io::copy(&mut entry.take(PROGRAM_BYTES_MAX), &mut output);
            written.with_context(|| format!("cannot unpack {} of {archive}", path.display()))?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("cannot make {} executable", program.display()))?;
            if missing.is_empty() {
                return Ok(());
            }
        }
        bail!("{archive} holds no {}", missing.join(", "))
    }
}

fn unpack_all(archives: &[Archive], folder: &Path, progress: &dyn Fn(&str)) -> Result<()> {
    let parent = folder.parent().context("the cache has no folder")?;
    let new = tempfile::Builder::new().prefix("unpacked-").tempdir_in(parent);
    let new = new.with_context(|| format!("cannot write into {}", parent.display()))?;
    for archive in archives {
        archive.unpack(&archive.file(folder), new.path(), progress)?;
    }
    if folder.exists() {
        // Of a call that lost some of its programs.
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::rename(new.path(), folder).with_context(|| format!("cannot rename to {}", folder.display()))?;
    let _ = new.keep(); // it has moved: there is nothing to remove
    for archive in archives {
        let file = archive.file(folder);
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_of_the_pins_has_both_archives() {
        for platform in ["linux-amd64", "linux-arm64"] {
            let official = ReleaseSource { platform: platform.to_owned(), ..ReleaseSource::of(|_| None) };
            let [etcd, kubernetes] = official.archives().unwrap();
            assert_eq!(
                etcd.url.as_str(),
                format!(
                    "https://github.com/etcd-io/etcd/releases/download/{ETCD}/etcd-{ETCD}-{platform}.tar.gz"
                )
            );
            assert_eq!(
                kubernetes.url.as_str(),
                format!("https://dl.k8s.io/{KUBERNETES}/kubernetes-server-{platform}.tar.gz")
            );
        }
        let pinned = PINS.iter().filter(|(_, digest)| FileDigest::parse(digest).is_some());
        assert_eq!(pinned.count(), PINS.len());
    }
}
