//! Real signers against the verifier: `ssh-keygen` and `gpg`, driven by `git`; and rPGP for what they do not make. `git verify-commit`
//! and `git verify-tag` are the oracle.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use jiff::Timestamp;

use crate::{ObjectFormat, Rejection, SignedObject, Signer, Times, TrustedKeys, VerifyError, verify};

mod gpg;
mod malformed;
mod pgp;
mod ssh;

/// A repository without a server, and the configuration of its user.
struct Repository {
    folder: tempfile::TempDir,
    format: ObjectFormat,
    /// `-c` options of every command.
    options: Vec<String>,
}

impl Repository {
    fn new(format: ObjectFormat) -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap(), format, options: Vec::new() };
        let name = match format {
            ObjectFormat::Sha1 => "sha1",
            ObjectFormat::Sha256 => "sha256",
        };
        repository.git(&["init", "-q", "-b", "main", &format!("--object-format={name}"), "work"]);
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let work = self.path("work");
        let mut command = Command::new("git");
        command.current_dir(if work.exists() { work.as_path() } else { self.folder.path() });
        for option in &self.options {
            command.args(["-c", option]);
        }
        command.args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GNUPGHOME", self.path("gpg")).env("HOME", self.folder.path());
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Plumb")
                .env(format!("GIT_{role}_EMAIL"), "plumb@example.com");
        }
        output(&mut command, input)
    }

    fn git(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments, b"");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The content of an object.
    fn raw(&self, kind: &str, name: &str) -> Vec<u8> {
        self.git(&["cat-file", kind, name])
    }

    /// Signs a commit, and a tag `v1` of it.
    fn sign(&self) {
        self.git(&["commit", "-q", "--allow-empty", "-S", "-m", "Subject\n\nText."]);
        self.git(&["tag", "-s", "v1", "-m", "Version 1"]);
    }

    /// Whether `git` accepts the signature of an object with this content.
    fn accepts(&self, kind: &str, raw: &[u8]) -> bool {
        let stored = self.run(&["hash-object", "-w", "--literally", "-t", kind, "--stdin"], raw);
        let id = String::from_utf8(stored.stdout).unwrap();
        self.run(&[&format!("verify-{kind}"), id.trim()], b"").status.success()
    }

    fn parse(&self, kind: &str, raw: &[u8]) -> Result<SignedObject, crate::ObjectError> {
        match kind {
            "commit" => SignedObject::commit(raw, self.format),
            _ => SignedObject::tag(raw),
        }
    }
}

fn output(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that does not read it ends first.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input);
    child.wait_with_output().unwrap()
}

fn program(folder: &Path, name: &str, arguments: &[&str]) -> Vec<u8> {
    let output = output(Command::new(name).current_dir(folder).args(arguments), b"");
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn keys(files: &[(&str, &str)]) -> TrustedKeys {
    TrustedKeys::parse(files.iter().map(|(name, content)| (*name, content.as_bytes())))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Changes of a signed object. What they make of it is up to `git`.
fn variants(raw: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8(raw.to_vec()).unwrap();
    let twice = |header: &str| {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let Some(start) = lines.iter().position(|line| line.starts_with(header)) else { return text.clone() };
        let length = lines[start + 1..].iter().take_while(|line| line.starts_with(' ')).count() + 1;
        let block = lines[start..start + length].concat();
        text.replacen(&block, &format!("{block}{block}"), 1)
    };
    [
        text.replacen("Plumb", "Plumc", 1),
        text.replacen("Subject", "subject", 1),
        text.replacen("Version 1", "Version 2", 1),
        text.replace('\n', "\r\n"),
        format!("{text}\n"),
        format!("{text}trailing"),
        text.trim_end().to_owned(),
        text.replacen("\n\n", "\nextra header\n\n", 1),
        text.replacen("committer", "author a <b> 1 +0000\ncommitter", 1),
        text.replacen("gpgsig", "gpgsig-sha512", 1),
        text.replacen("gpgsig ", "gpgsig-sha256 ", 1),
        text.replacen("gpgsig-sha256 ", "gpgsig ", 1),
        text.replacen("\n\n", "\ngpgsig-sha256 -----BEGIN PGP SIGNATURE-----\n x\n\n", 1),
        text.replacen("SIGNATURE-----", "MESSAGE-----", 1),
        text.replacen("-----END", "----END", 1),
        twice("gpgsig"),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect()
}

/// An object is accepted as `git` accepts it, changed ones only if `git` accepts them, too.
#[track_caller]
fn check_variants(repository: &Repository, kind: &str, name: &str, keys: &TrustedKeys, now: Timestamp) {
    let raw = repository.raw(kind, name);
    let is_accepted = |raw: &[u8]| match repository.parse(kind, raw) {
        Ok(object) => verify(&object, keys, Times::at(now)).is_ok(),
        Err(_) => false,
    };
    assert!(is_accepted(&raw) && repository.accepts(kind, &raw), "{kind} {name}");
    let changed: Vec<_> = variants(&raw).into_iter().filter(|variant| *variant != raw).collect();
    assert!(changed.len() > 8);
    for variant in changed {
        if is_accepted(&variant) {
            assert!(repository.accepts(kind, &variant), "{}", String::from_utf8_lossy(&variant));
        }
    }
}
