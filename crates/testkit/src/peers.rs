//! Programs of others at work: a real container registry as a process, the stock `flux`, `helm`, `cosign` and `notation` commands.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{
    peers::{COSIGN, FLUX, HELM, NOTATION, Peer, REGISTRY},
    process::{Process, Start},
};

use crate::{controllers::free_port, wait::Wait};

/// How long the registry may take to listen.
const READY_MAX: Duration = Duration::from_secs(20);
/// The user of a registry with a login, and the password.
pub const LOGIN: (&str, &str) = ("bot", "pass-word");
/// `bot:pass-word`, as `htpasswd -B` writes it.
const USERS: &str = "bot:$2b$04$bXxicfNAwIp45zWojC11R.mKHX1bpHppEzxFEDxh/vSP2inLtsUsm\n";

/// A registry of the project distribution, with its content in memory. It ends when dropped.
pub struct RegistryProcess {
    address: SocketAddr,
    folder: tempfile::TempDir,
    _process: Process,
}

impl RegistryProcess {
    /// Starts on a free port of 127.0.0.1, without TLS; with `login`, [`LOGIN`] is needed for everything. Blocks a thread.
    pub fn start(login: bool) -> Result<Self> {
        let program = provided(REGISTRY)?;
        let address = free_port()?;
        let folder = tempfile::Builder::new().prefix("plumb-registry-").tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let mut config = serde_json::json!({
            "version": 0.1, "log": { "level": "error" }, "storage": { "inmemory": {} },
            "http": { "addr": address.to_string(), "secret": "of a test" },
        });
        if login {
            fs::write(path("users"), USERS)?;
            config["auth"]["htpasswd"] = serde_json::json!({ "realm": "a registry", "path": path("users") });
        }
        fs::write(path("config.yml"), config.to_string())?;
        let process = Process::start(Start {
            name: REGISTRY.name,
            argv: vec![program.into(), "serve".into(), path("config.yml").into()],
            environment: vec![("OTEL_TRACES_EXPORTER".into(), "none".into())],
            log: path("log"),
        })?;
        Wait::until("the registry listens", READY_MAX).poll_blocking(|| {
            let connected = TcpStream::connect(address);
            Ok(connected.map_or_else(|error| ControlFlow::Continue(error.kind()), |_| ControlFlow::Break(())))
        })?;
        Ok(Self { address, folder, _process: process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a repository, as a spec has it.
    pub fn url(&self, path: &str) -> String {
        format!("oci://{}/{path}", self.address)
    }

    /// Stores a blob.
    pub async fn put_blob(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let client = reqwest::Client::new();
        let uploads = format!("http://{}/v2/{path}/blobs/uploads/", self.address);
        let begun = client.post(uploads).send().await?.error_for_status()?;
        let location = begun.headers().get("location").context("an upload has no location")?.to_str()?;
        let url = format!("{location}&digest={}", crate::registry::digest(bytes));
        client.put(url).body(bytes.to_vec()).send().await?.error_for_status()?;
        Ok(())
    }

    /// Stores a manifest under a tag, or under its digest; its digest.
    pub async fn put_manifest(
        &self,
        path: &str,
        tag: Option<&str>,
        manifest: &serde_json::Value,
    ) -> Result<String> {
        let bytes = manifest.to_string();
        let digest = crate::registry::digest(bytes.as_bytes());
        let url = format!("http://{}/v2/{path}/manifests/{}", self.address, tag.unwrap_or(&digest));
        let media_type = manifest["mediaType"].as_str().context("a manifest has a media type")?.to_owned();
        let request = reqwest::Client::new().put(url).header("content-type", media_type).body(bytes);
        request.send().await?.error_for_status()?;
        Ok(digest)
    }

    /// The manifest or index that a tag or digest leads to.
    pub async fn get_manifest(&self, path: &str, reference: &str) -> Result<serde_json::Value> {
        let url = format!("http://{}/v2/{path}/manifests/{reference}", self.address);
        let accepted = format!("{}, {}", crate::registry::MANIFEST, crate::registry::INDEX);
        let response = reqwest::Client::new().get(url).header("accept", accepted).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// Runs the stock `flux` command with this kubeconfig; its output. Blocks a thread.
pub fn flux(kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(provided(FLUX)?);
    command.env("KUBECONFIG", kubeconfig).args(arguments);
    output(command)
}

/// Runs the stock `helm` command, whose files are in `home`; its output. Blocks a thread.
pub fn helm(home: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(provided(HELM)?);
    command.env("HOME", home).env_remove("XDG_CACHE_HOME").env_remove("XDG_CONFIG_HOME");
    command.env_remove("XDG_DATA_HOME").current_dir(home).args(arguments);
    output(command)
}

/// Runs the stock `cosign` command, whose files are in `home`; its output. Blocks a thread.
pub fn cosign(home: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(provided(COSIGN)?);
    command.env("HOME", home).env("COSIGN_PASSWORD", "").current_dir(home).args(arguments);
    output(command)
}

/// Runs the stock `notation` command, whose files are in `home`; its output. Blocks a thread.
pub fn notation(home: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(provided(NOTATION)?);
    command.env("HOME", home).env("XDG_CONFIG_HOME", home.join(".config")).current_dir(home).args(arguments);
    output(command)
}

/// Whether the tests with a registry, `cosign` and `notation` can run; otherwise the running test is counted as skipped, and returns after it.
pub fn can_sign() -> bool {
    let are_there = [REGISTRY, COSIGN, NOTATION].iter().all(Peer::is_obtainable);
    if !are_there {
        crate::skip(
            "there is neither a Go to build registry, cosign and notation with, nor a folder that has them",
        );
    }
    are_there
}

/// Whether the tests with programs of others can run; otherwise the running test is counted as skipped, and returns after it.
pub fn are_there() -> bool {
    let are_there = [REGISTRY, FLUX, HELM].iter().all(Peer::is_obtainable);
    if !are_there {
        crate::skip(
            "there is neither a Go to build registry, flux and helm with, nor a folder that has them",
        );
    }
    are_there
}

fn provided(peer: Peer) -> Result<PathBuf> {
    // `cargo xtask test` has built it before, and has shown what it does.
    peer.provide(&|_| ())
}

fn output(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}:\n{text}{errors}", output.status);
    }
    // `flux` reports on stderr what it does.
    Ok(text + &String::from_utf8_lossy(&output.stderr))
}
