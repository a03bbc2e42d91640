//! A Git server over SSH: the stock `sshd` of OpenSSH on a free port of 127.0.0.1, as the user of this process, with host keys, one
//! accepted key and a configuration of its own. It runs what a client asks for in the user's shell: `git-upload-pack`.

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    ops::ControlFlow,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{
    Reaper,
    process::{Process, Start},
};

use crate::{repository::Repository, skip::skip, wait::Wait};

/// Where Debian's package openssh-server puts it. It only starts by its whole path.
const PROGRAM: &str = "/usr/sbin/sshd";
const KEYGEN: &str = "ssh-keygen";
/// Where it changes to when it runs as root.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the server is not installed. The test that asks is skipped then, and returns.
pub fn is_missing() -> bool {
    let is_missing = !Path::new(PROGRAM).exists();
    if is_missing {
        skip(&format!("no {PROGRAM}: install openssh-server"));
    }
    is_missing || keygen_is_missing()
}

/// Whether there is no `ssh-keygen`. The test that asks is skipped then, and returns.
pub fn keygen_is_missing() -> bool {
    let is_missing = Command::new(KEYGEN).arg("-?").output().is_err();
    if is_missing {
        skip("no ssh-keygen: install openssh-client");
    }
    is_missing
}

/// How the server is to be.
#[derive(Clone, Debug)]
pub struct SshdOptions {
    /// Types of its host keys, as `ssh-keygen -t` takes them.
    pub host_keys: Vec<&'static str>,
    /// Lines of its configuration in addition.
    pub configuration: Vec<String>,
    /// Signs the ed25519 host key: the private key of an authority, and the arguments of `ssh-keygen` for the certificate.
    pub certificate: Option<(String, Vec<String>)>,
    /// Whether it hands on the variable by which a client asks for version 2 of Git's protocol.
    pub takes_protocol: bool,
}

impl Default for SshdOptions {
    fn default() -> Self {
        Self {
            host_keys: vec!["ed25519"],
            configuration: Vec::new(),
            certificate: None,
            takes_protocol: true,
        }
    }
}

/// A running server. It stops, and its files are removed, when it is dropped or this process ends.
pub struct Sshd {
    port: u16,
    folder: PathBuf,
    _process: Process,
    _reaper: Reaper,
}

impl Sshd {
    /// Starts it. `authorized` is the public key that it accepts.
    pub fn start(options: &SshdOptions, authorized: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("plumb-sshd-").tempdir()?.keep();
        let reaper = Reaper::of(&folder)?;
        for kind in &options.host_keys {
            keygen(&["-t", kind, "-N", "", "-f", path(&folder.join(format!("host_{kind}")))?])?;
        }
        if let Some((authority, arguments)) = &options.certificate {
            certify(&folder, authority, arguments)?;
        }
        fs::write(folder.join("authorized_keys"), format!("{authorized}\n"))?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        fs::write(folder.join("sshd_config"), configuration(options, &folder, port))?;
        if is_root()? {
            fs::create_dir_all(PRIVILEGE_SEPARATION)?;
            fs::set_permissions(PRIVILEGE_SEPARATION, fs::Permissions::from_mode(0o755))?;
        }
        let config = folder.join("sshd_config");
        let mut process = Process::start(Start {
            name: "sshd",
            argv: [PROGRAM, "-D", "-e", "-f", path(&config)?].map(OsString::from).to_vec(),
            environment: Vec::new(),
            log: folder.join("log"),
        })?;
        Wait::until("sshd listens", START_TIMEOUT).poll_blocking(|| {
            if let Some(status) = process.ended() {
                bail!("sshd ended with {status}: {}", fs::read_to_string(folder.join("log"))?);
            }
            Ok(match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(_) => ControlFlow::Break(()),
                Err(error) => ControlFlow::Continue(error.to_string()),
            })
        })?;
        Ok(Self { port, folder, _process: process, _reaper: reaper })
    }

    /// The port of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a repository, with the user of this process.
    pub fn url(&self, name: &str) -> Result<String> {
        let path = self.folder.join(format!("{name}.git"));
        Ok(format!("ssh://{}@127.0.0.1:{}{}", user()?, self.port, path.display()))
    }

    /// A new, empty repository, and a working tree to commit from. It is pushed to by its path.
    pub fn repository(&self, name: &str) -> Result<Repository> {
        let bare = self.folder.join(format!("{name}.git"));
        Repository::create(&bare, &self.folder.join("work").join(name), path(&bare)?, None)
    }

    /// The public half of a host key: type and base64.
    pub fn host_key(&self, kind: &str) -> Result<String> {
        let line = fs::read_to_string(self.folder.join(format!("host_{kind}.pub")))?;
        Ok(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// known_hosts with all its host keys.
    pub fn known_hosts(&self) -> Result<String> {
        let mut lines = String::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(kind) = name.strip_prefix("host_").and_then(|name| name.strip_suffix(".pub")) {
                lines.extend(["[127.0.0.1]:", &self.port.to_string(), " ", &self.host_key(kind)?, "\n"]);
            }
        }
        Ok(lines)
    }

    /// What it has logged so far.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(self.folder.join("log")).context("no log of sshd")
    }
}

/// A new key pair: the private key's text and the public key's line. `arguments` as for `ssh-keygen`.
pub fn key_pair(arguments: &[&str]) -> Result<(String, String)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    keygen(&[arguments, &["-f", path(&file)?]].concat())?;
    let public = fs::read_to_string(file.with_extension("pub"))?;
    Ok((fs::read_to_string(&file)?, public.trim().to_owned()))
}

/// Signs the ed25519 host key with the key of an authority.
fn certify(folder: &Path, authority: &str, arguments: &[String]) -> Result<()> {
    let key = folder.join("authority");
    fs::write(&key, authority)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let public = folder.join("host_ed25519.pub");
    let mut all = vec!["-s", path(&key)?, "-I", "host", "-h"];
    all.extend(arguments.iter().map(String::as_str));
    all.push(path(&public)?);
    keygen(&all)
}

fn configuration(options: &SshdOptions, folder: &Path, port: u16) -> String {
    let folder = folder.display();
    let mut lines: Vec<String> =
        options.host_keys.iter().map(|kind| format!("HostKey {folder}/host_{kind}")).collect();
    lines.extend([
        format!("Port {port}"),
        format!("AuthorizedKeysFile {folder}/authorized_keys"),
        "ListenAddress 127.0.0.1".to_owned(),
        "PidFile none".to_owned(),
        "StrictModes no".to_owned(),
        "UsePAM no".to_owned(),
        "PasswordAuthentication no".to_owned(),
        "KbdInteractiveAuthentication no".to_owned(),
        "PermitRootLogin yes".to_owned(),
        "UseDNS no".to_owned(),
        "LogLevel VERBOSE".to_owned(),
    ]);
    if options.takes_protocol {
        lines.push("AcceptEnv GIT_PROTOCOL".to_owned());
    }
    if options.certificate.is_some() {
        lines.push(format!("HostCertificate {folder}/host_ed25519-cert.pub"));
    }
    lines.extend(options.configuration.iter().cloned());
    lines.join("\n") + "\n"
}

fn keygen(arguments: &[&str]) -> Result<()> {
    let output = Command::new(KEYGEN).arg("-q").args(arguments).output().context("no ssh-keygen")?;
    if !output.status.success() {
        bail!("ssh-keygen {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a temporary folder has a readable name")
}

fn user() -> Result<String> {
    id("-un")
}

fn is_root() -> Result<bool> {
    Ok(id("-u")? == "0")
}

fn id(argument: &str) -> Result<String> {
    let output = Command::new("id").arg(argument).output().context("no id")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
