//! Keys and signatures of `gpg`, with `git` as the oracle.

use plumb_testkit::skip::skip;

use super::*;

const USER: &str = "plumb@example.com";
const NOW: &str = "2100-01-01T00:00:00Z";

/// A repository whose user has a key of `gpg`, made and used with a clock of its own; none where there is no `gpg`.
struct Author {
    repository: Repository,
    clock: Option<&'static str>,
}

impl Author {
    fn new(format: ObjectFormat, algorithm: &str, expiry: &str, clock: Option<&'static str>) -> Option<Self> {
        if Command::new("gpg").arg("--version").output().is_err() {
            skip("no gpg: install gnupg");
            return None;
        }
        let mut repository = Repository::new(format);
        let home = repository.path("gpg");
        std::fs::create_dir(&home).unwrap();
        program(repository.folder.path(), "chmod", &["700", "gpg"]);
        repository.options = vec![format!("user.signingkey={USER}"), "gpg.program=./gpg.sh".to_owned()];
        let author = Self { repository, clock };
        author.set_clock(clock);
        author.gpg(&["--quick-generate-key", USER, algorithm, "sign", expiry]);
        Some(author)
    }

    /// From now on, the `gpg` of `git` takes this for the time.
    fn set_clock(&self, clock: Option<&str>) {
        let fake = clock.map(|clock| format!("--faked-system-time {clock}!")).unwrap_or_default();
        let script = format!("#!/bin/sh\nexec gpg --batch --quiet {fake} \"$@\"\n");
        let work = self.repository.path("work");
        std::fs::write(work.join("gpg.sh"), script).unwrap();
        program(&work, "chmod", &["700", "gpg.sh"]);
    }

    fn gpg(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]);
        command.args(self.clock.map(|clock| format!("--faked-system-time={clock}!")));
        command.args(arguments).env("GNUPGHOME", self.repository.path("gpg"));
        let output = output(&mut command, b"");
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn ring(&self) -> String {
        self.gpg(&["--armor", "--export", USER])
    }

    fn id(&self) -> String {
        let listed = self.gpg(&["--with-colons", "--list-keys", USER]);
        let line = listed.lines().find(|line| line.starts_with("pub:")).unwrap();
        line.split(':').nth(4).unwrap().to_owned()
    }

    fn judge(&self, now: &str) -> Result<Signer, VerifyError> {
        let raw = self.repository.raw("commit", "HEAD");
        let object = self.repository.parse("commit", &raw).unwrap();
        verify(&object, &keys(&[("a.asc", &self.ring())]), Times::at(at(now)))
    }

    /// The revocation certificate that gpg made with the key: its file, and the armor.
    fn revocation(&self) -> (std::path::PathBuf, String) {
        let folder = self.repository.path("gpg").join("openpgp-revocs.d");
        let certificate = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        // gpg writes it with a colon before the armor, so that it is not used by mistake.
        let text = std::fs::read_to_string(&certificate).unwrap().replace(":-----BEGIN", "-----BEGIN");
        (certificate, text)
    }

    fn git_accepts(&self) -> bool {
        self.repository.run(&["verify-commit", "HEAD"], b"").status.success()
    }
}

impl Drop for Author {
    fn drop(&mut self) {
        // The agent that gpg started for this key.
        let _ = Command::new("gpgconf")
            .args(["--kill", "gpg-agent"])
            .env("GNUPGHOME", self.repository.path("gpg"))
            .output();
    }
}

#[test]
fn commits_and_tags_are_accepted_as_git_accepts_them() {
    for (format, algorithm) in [
        (ObjectFormat::Sha1, "ed25519"),
        (ObjectFormat::Sha256, "ed25519"),
        (ObjectFormat::Sha1, "rsa2048"),
        (ObjectFormat::Sha1, "nistp384"),
    ] {
        let Some(author) = Author::new(format, algorithm, "never", None) else { return };
        author.repository.sign();
        let trusted = keys(&[("a.asc", &author.ring())]);
        assert_eq!(trusted.unusable(), []);
        check_variants(&author.repository, "commit", "HEAD", &trusted, at(NOW));
        check_variants(&author.repository, "tag", "v1", &trusted, at(NOW));
        assert_eq!(author.judge(NOW), Ok(Signer(author.id())));
    }
}

#[test]
fn a_key_that_expired_after_it_signed_is_rejected_as_git_rejects_it() {
    let Some(author) = Author::new(ObjectFormat::Sha1, "ed25519", "2020-06-01", Some("20200101T000000"))
    else {
        return;
    };
    author.repository.sign();
    assert!(author.git_accepts());
    assert_eq!(author.judge("2020-01-02T00:00:00Z"), Ok(Signer(author.id())));
    author.set_clock(Some("20210101T000000"));
    assert!(!author.git_accepts());
    let judged = author.judge("2021-01-01T00:00:00Z");
    assert!(matches!(judged, Err(VerifyError::Pgp(Rejection::KeyExpired { .. }))), "{judged:?}");
}

#[test]
fn a_key_that_was_revoked_is_rejected_as_git_rejects_it() {
    let Some(author) = Author::new(ObjectFormat::Sha1, "ed25519", "never", None) else { return };
    author.repository.sign();
    assert!(author.git_accepts() && author.judge(NOW).is_ok());
    let (certificate, text) = author.revocation();
    std::fs::write(&certificate, text).unwrap();
    author.gpg(&["--import", certificate.to_str().unwrap()]);
    assert!(!author.git_accepts());
    let key = author.id();
    assert_eq!(author.judge(NOW), Err(VerifyError::Pgp(Rejection::KeyRevoked { key })));
}

#[test]
fn a_revocation_certificate_counts_beside_the_key() {
    let Some(author) = Author::new(ObjectFormat::Sha1, "ed25519", "never", None) else { return };
    author.repository.sign();
    let object = author.repository.parse("commit", &author.repository.raw("commit", "HEAD")).unwrap();
    let (ring, (certificate, own)) = (author.ring(), author.revocation());
    let judged = |files: &[(&str, &str)]| verify(&object, &keys(files), Times::at(at(NOW)));
    assert_eq!(judged(&[("a.asc", &ring)]), Ok(Signer(author.id())));
    let revoked = Err(VerifyError::Pgp(Rejection::KeyRevoked { key: author.id() }));
    for files in [[("a.asc", &*ring), ("b.asc", &own)], [("a.asc", &own), ("b.asc", &ring)]] {
        assert_eq!(judged(&files), revoked);
    }
    // A copy that was exported before the key was revoked, and one after that.
    std::fs::write(&certificate, &own).unwrap();
    author.gpg(&["--import", certificate.to_str().unwrap()]);
    let later = author.ring();
    for files in [[("a.asc", &*ring), ("b.asc", &later)], [("a.asc", &later), ("b.asc", &ring)]] {
        assert_eq!(judged(&files), revoked);
    }
    // Appended to the file of the key, below what gpg says of it.
    let text = "This is a revocation certificate for the OpenPGP key:\n\n  not a secret\n\n";
    let both = format!("{ring}{text}{own}");
    assert_eq!(judged(&[("a.asc", &both)]), revoked);
}

#[test]
fn a_revocation_certificate_of_another_key_rejects_all_keys() {
    let Some(author) = Author::new(ObjectFormat::Sha1, "ed25519", "never", None) else { return };
    let Some(other) = Author::new(ObjectFormat::Sha1, "ed25519", "never", None) else { return };
    author.repository.sign();
    let object = author.repository.parse("commit", &author.repository.raw("commit", "HEAD")).unwrap();
    let (ring, (_, foreign)) = (author.ring(), other.revocation());
    let judged = verify(&object, &keys(&[("a.asc", &ring), ("b.asc", &foreign)]), Times::at(at(NOW)));
    assert_eq!(judged, Err(VerifyError::Pgp(Rejection::StrayRevocation { key: other.id() })));
}
