//! `spec.verify`: whole attempts with signed commits and tags on a real Git server, and their keys in a Secret (T1).

use plumb_testkit::sshd::{key_pair, keygen_is_missing};

use super::*;

const KEYS_PATH: &str = "/api/v1/namespaces/apps/secrets/keys";

/// Someone who signs with an SSH key.
struct Author {
    _folder: tempfile::TempDir,
    key: String,
    public: String,
}

impl Author {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let (private, public) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
        std::fs::write(&key, private).unwrap();
        std::fs::write(key.with_extension("pub"), &public).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, mode).unwrap();
        Self { key: key.to_str().unwrap().to_owned(), public, _folder: folder }
    }

    /// From now on, this one signs in the repository.
    fn works_in(&self, repository: &Repository) {
        for (key, value) in
            [("gpg.format", "ssh"), ("user.signingkey", &self.key), ("commit.gpgsign", "true")]
        {
            repository.git(&["config", key, value]).unwrap();
        }
    }

    fn fingerprint(&self) -> String {
        let listed = std::process::Command::new("ssh-keygen").args(["-l", "-f", &self.key]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    }
}

/// A repository with a signed commit and a signed tag `v1.0.0` of it; none where there is no `ssh-keygen`.
fn signed() -> Option<(GitServer, Repository, Author)> {
    if keygen_is_missing() {
        return None;
    }
    let server = GitServer::start(&GitServerOptions::default()).unwrap();
    let repository = server.repository("app").unwrap();
    let author = Author::new();
    author.works_in(&repository);
    repository.write("app.yaml", "one\n").unwrap();
    repository.push("Begin").unwrap();
    tag(&repository, "v1.0.0", &["--sign"]);
    Some((server, repository, author))
}

fn tag(repository: &Repository, name: &str, options: &[&str]) {
    repository.git(&[&["tag", "--force", "--message", name, name], options].concat()).unwrap();
    repository.git(&["push", "--quiet", "--force", "origin", &format!("refs/tags/{name}")]).unwrap();
}

fn verifying(url: &str, reference: Value, mode: &str) -> Fixture<GitSource> {
    let mut fixture = source_at(url);
    fixture.set("ref", reference);
    fixture.set("verify", json!({"mode": mode, "secretRef": {"name": "keys"}}));
    fixture
}

fn trust(fixture: &Fixture<GitSource>, author: &Author) {
    fixture.secret("keys", &[("author.sshpub", &author.public)]);
}

fn mode(fixture: &Fixture<GitSource>) -> &Value {
    &fixture.object["status"]["sourceVerificationMode"]
}

fn verified_message(summary: &plumb_status::Summary) -> String {
    summary.status.as_ref().unwrap().condition("SourceVerified").unwrap().message.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_and_tags_are_verified_in_each_mode() {
    let Some((server, repository, author)) = signed() else { return };
    let (commit, tag) = (repository.head().unwrap(), repository.git(&["rev-parse", "v1.0.0"]).unwrap());
    let (tag, key) = (tag.trim(), author.fingerprint());
    let of_tag = format!("\n\t- tag 'v1.0.0@{tag}' with key '{key}'");
    let of_commit = format!("\n\t- commit '{commit}' with key '{key}'");
    for (reference, asked, noted, expect) in [
        (json!({"branch": "main"}), "HEAD", "HEAD", of_commit.clone()),
        (json!({"commit": commit}), "head", "HEAD", of_commit.clone()),
        (json!({"tag": "v1.0.0"}), "HEAD", "HEAD", of_commit.clone()),
        (json!({"tag": "v1.0.0"}), "Tag", "Tag", of_tag.clone()),
        (json!({"semver": ">=1"}), "TagAndHEAD", "TagAndHEAD", format!("{of_tag}{of_commit}")),
        (json!({"name": "refs/tags/v1.0.0"}), "TagAndHEAD", "TagAndHEAD", format!("{of_tag}{of_commit}")),
    ] {
        let mut fixture = verifying(&server.url("app"), reference, asked);
        trust(&fixture, &author);
        let summary = fixture.attempt().await;
        assert_eq!(ready(&summary).0, "True", "{summary:?}");
        let message = format!("verified signature of{expect}");
        assert_eq!(condition(&summary, "SourceVerified").unwrap(), "True Succeeded");
        assert_eq!(verified_message(&summary), message);
        assert_eq!(mode(&fixture), noted);
        let events =
            [format!("Succeeded {message}"), "NewArtifact stored artifact for commit 'Begin'".to_owned()];
        assert_eq!(emitted(&summary), events);
        let again = fixture.attempt().await;
        assert_eq!(emitted(&again), Vec::<String>::new());
        assert_eq!(verified_message(&again), message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_by_a_trusted_key_is_not_published() {
    let Some((server, repository, author)) = signed() else { return };
    let url = server.url("app");
    let commit = repository.head().unwrap();
    let stranger = Author::new();
    let signed_tag = repository.git(&["rev-parse", "v1.0.0"]).unwrap().trim().to_owned();
    tag(&repository, "annotated", &["--no-sign"]);
    let annotated = repository.git(&["rev-parse", "annotated"]).unwrap().trim().to_owned();
    repository.git(&["push", "--quiet", "origin", "HEAD:refs/tags/light"]).unwrap();
    let verify =
        "unable to verify payload with any of the given authorized keys: no matching key: it was made by key";
    let made_by = format!("{verify} {}", author.fingerprint());
    let correct = "sign it with a key that is trusted and valid, or correct the keys in secret 'apps/keys'";
    for (reference, mode, keys, reason, expect) in [
        (
            json!({"branch": "main"}),
            "HEAD",
            vec![("a.sshpub", stranger.public.as_str())],
            "InvalidCommitSignature",
            format!("signature verification of commit '{commit}' failed: unable to verify Git commit SSH signature: {made_by} ({correct})"),
        ),
        (
            json!({"tag": "v1.0.0"}),
            "TagAndHEAD",
            vec![("a.sshpub", stranger.public.as_str())],
            "InvalidTagSignature",
            format!("signature verification of tag 'v1.0.0@{signed_tag}' failed: unable to verify Git tag SSH signature: {made_by} ({correct})"),
        ),
        (
            json!({"branch": "main"}),
            "HEAD",
            vec![("a.asc", "s3cret-word")],
            "InvalidCommitSignature",
            format!(
                "signature verification of commit '{commit}' failed: SSH signature detected but no SSH public keys found in secret \
                 (keys with .sshpub suffix) ({correct}; key 'a.asc' of secret 'apps/keys' cannot be used: it holds no armored PGP \
                 public key)"
            ),
        ),
        (
            json!({"tag": "annotated"}),
            "Tag",
            vec![("a.sshpub", author.public.as_str())],
            "InvalidGitObject",
            format!(
                "cannot verify signature of tag 'annotated@{annotated}' since it is not signed (create the tag with git tag --sign, \
                 or set spec.verify.mode to HEAD)"
            ),
        ),
        (
            json!({"tag": "light"}),
            "Tag",
            vec![("a.sshpub", author.public.as_str())],
            "InvalidGitObject",
            "cannot verify signature of tag 'light' since it is not signed (create the tag with git tag --sign, or set \
             spec.verify.mode to HEAD)"
                .to_owned(),
        ),
    ] {
        let mut fixture = verifying(&url, reference, mode);
        fixture.secret("keys", &keys);
        let summary = fixture.attempt().await;
        assert_eq!(ready(&summary), ("False".into(), reason.into(), expect));
        assert_eq!(condition(&summary, "SourceVerified").unwrap(), format!("False {reason}"));
        assert_eq!(condition(&summary, "FetchFailed"), None);
        assert_eq!((fixture.artifact(), super::verification::mode(&fixture)), (&Value::Null, &Value::Null));
        assert!(!fixture.root.path().join("data/gitrepository").exists(), "nothing was stored");
        assert!(!format!("{summary:?}").contains("s3cret-word"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_tag_counts_under_its_own_name_only() {
    let Some((server, repository, author)) = signed() else { return };
    let signed_tag = repository.git(&["rev-parse", "v1.0.0"]).unwrap().trim().to_owned();
    repository.git(&["push", "--quiet", "origin", &format!("{signed_tag}:refs/tags/v2.0.0")]).unwrap();
    for (reference, mode) in [
        (json!({"tag": "v2.0.0"}), "Tag"),
        (json!({"semver": ">=1"}), "TagAndHEAD"),
        (json!({"name": "refs/tags/v2.0.0"}), "Tag"),
    ] {
        let mut fixture = verifying(&server.url("app"), reference, mode);
        trust(&fixture, &author);
        let summary = fixture.attempt().await;
        let (_, reason, message) = ready(&summary);
        assert_eq!(reason, "InvalidTagSignature", "{message}");
        let expect = format!(
            "signature verification of tag 'v2.0.0@{signed_tag}' failed: it was signed as tag 'v1.0.0' (sign a tag of this name with \
             git tag --sign)"
        );
        assert_eq!(message, expect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_commit_is_rejected_and_the_last_artifact_stays() {
    let Some((server, repository, author)) = signed() else { return };
    let mut fixture = verifying(&server.url("app"), json!({"branch": "main"}), "HEAD");
    trust(&fixture, &author);
    fixture.attempt().await;
    let artifact = fixture.artifact().clone();
    repository.git(&["config", "commit.gpgsign", "false"]).unwrap();
    repository.write("app.yaml", "two\n").unwrap();
    let commit = repository.push("Not signed").unwrap();
    fixture.now += Duration::from_mins(2);
    let summary = fixture.attempt().await;
    let (_, reason, message) = ready(&summary);
    assert_eq!(reason, "InvalidCommitSignature");
    let expect = format!(
        "signature verification of commit '{commit}' failed: unsupported signature type: empty (sign it with a PGP or SSH key, for \
         example with git commit --gpg-sign or git tag --sign)"
    );
    assert_eq!(message, expect);
    assert_eq!(summary.next, plumb_status::summary::Next::Backoff);
    assert!(*fixture.artifact() == artifact && fixture.stored().exists());
    assert_eq!(condition(&summary, "ArtifactOutdated"), None, "the commit that is not accepted is no news");
    repository.git(&["config", "commit.gpgsign", "true"]).unwrap();
    repository.push("Signed").unwrap();
    let summary = fixture.attempt().await;
    assert_eq!(ready(&summary).0, "True");
    assert_eq!(fixture.artifact()["revision"], repository.revision().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_or_another_mode_count_without_a_new_commit() {
    let Some((server, _repository, author)) = signed() else { return };
    let mut fixture = verifying(&server.url("app"), json!({"tag": "v1.0.0"}), "HEAD");
    trust(&fixture, &author);
    fixture.attempt().await;
    let artifact = fixture.artifact().clone();
    // The key is taken out of the Secret.
    fixture.secret("keys", &[("other.sshpub", &Author::new().public)]);
    let summary = fixture.attempt().await;
    assert_eq!(condition(&summary, "SourceVerified").unwrap(), "False InvalidCommitSignature");
    assert_eq!(ready(&summary).1, "InvalidCommitSignature");
    fixture.api.on("GET", KEYS_PATH, Response::not_found());
    let summary = fixture.attempt().await;
    let message = "public keys secret error: failed to get secret 'apps/keys': secrets \"keys\" not found (create the Secret or \
                   correct spec.verify.secretRef)";
    assert_eq!(ready(&summary), ("False".into(), "VerificationError".into(), message.into()));
    // It comes back, and the artifact is the one that was there.
    trust(&fixture, &author);
    let summary = fixture.attempt().await;
    assert_eq!((ready(&summary).0.as_str(), fixture.artifact()), ("True", &artifact));
    // More is asked for: the tag is verified, and nothing is built.
    fixture.set("verify", json!({"mode": "TagAndHEAD", "secretRef": {"name": "keys"}}));
    let summary = fixture.attempt().await;
    assert!(verified_message(&summary).contains("- tag 'v1.0.0@"), "{summary:?}");
    assert_eq!((mode(&fixture), fixture.artifact()), (&json!("TagAndHEAD"), &artifact));
    // Nothing is asked for any more.
    fixture.object["spec"].as_object_mut().unwrap().remove("verify");
    let summary = fixture.set("timeout", json!("30s")).attempt().await;
    assert_eq!(condition(&summary, "SourceVerified"), None);
    assert_eq!((mode(&fixture), fixture.artifact()), (&Value::Null, &artifact));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_for_tags_without_a_tag_stalls_before_anything_is_fetched() {
    let Some((server, _repository, author)) = signed() else { return };
    let requested = server.requests();
    let mut fixture = verifying(&server.url("app"), json!({"branch": "main"}), "Tag");
    trust(&fixture, &author);
    let summary = fixture.attempt().await;
    let message = "cannot verify tag object's signature if a tag reference is not specified (set spec.ref.tag, spec.ref.semver or a \
                   spec.ref.name under refs/tags, or set spec.verify.mode to HEAD)";
    assert_eq!(ready(&summary), ("False".into(), "InvalidVerificationMode".into(), message.into()));
    assert_eq!(condition(&summary, "Stalled").unwrap(), "True InvalidVerificationMode");
    assert_eq!(condition(&summary, "SourceVerified").unwrap(), "False InvalidVerificationMode");
    assert_eq!(server.requests(), requested);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_expires_rejects_the_next_commit_and_not_the_published_one() {
    let Some((server, repository, author)) = signed() else { return };
    let mut fixture = verifying(&server.url("app"), json!({"branch": "main"}), "HEAD");
    let limited = format!("expiry-time=\"20300101Z\" {}", author.public);
    fixture.secret("keys", &[("a.sshpub", &limited)]);
    fixture.source.clock = || "2029-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    fixture.source.clock = || "2031-01-01T00:00:00Z".parse().unwrap();
    // A controller that starts anew knows of no verification.
    fixture.source.verifications = KnownVerifications::default();
    let summary = fixture.attempt().await;
    assert_eq!((ready(&summary).0.as_str(), emitted(&summary)), ("True", Vec::new()));
    repository.push("Too late").unwrap();
    let summary = fixture.attempt().await;
    assert!(ready(&summary).2.contains("expired at 2030-01-01T00:00:00Z"), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_tag_of_another_commit_than_the_server_lists_is_rejected() {
    let Some((server, repository, author)) = signed() else { return };
    let signed_tag = repository.git(&["rev-parse", "v1.0.0"]).unwrap().trim().to_owned();
    let signed = repository.head().unwrap();
    repository.git(&["config", "commit.gpgsign", "false"]).unwrap();
    repository.write("app.yaml", "evil\n").unwrap();
    let other = repository.push("Evil").unwrap();
    // The server claims that the tag, whose signature is valid, leads to another commit.
    let bare = server.folder("app");
    let packed = format!(
        "# pack-refs with: peeled fully-peeled sorted \n{other} refs/heads/main\n{signed_tag} refs/tags/v1.0.0\n^{other}\n"
    );
    std::fs::remove_dir_all(bare.join("refs/tags")).unwrap();
    std::fs::create_dir(bare.join("refs/tags")).unwrap();
    std::fs::write(bare.join("packed-refs"), packed).unwrap();
    let url = server.url("app");
    // That other commit is known from a branch: no fetch shows that the tag leads elsewhere.
    let mut fixture = source_at(&url);
    fixture.attempt().await;
    let artifact = fixture.artifact().clone();
    fixture.set("ref", json!({"tag": "v1.0.0"}));
    fixture.set("verify", json!({"mode": "Tag", "secretRef": {"name": "keys"}}));
    trust(&fixture, &author);
    let summary = fixture.attempt().await;
    let message = format!(
        "failed to checkout and determine revision: the server of '{url}' lists commit {other} for \"v1.0.0\", but the tag leads to \
         commit {signed}"
    );
    assert_eq!(ready(&summary), ("False".into(), "GitOperationFailed".into(), message));
    assert_eq!(*fixture.artifact(), artifact);
}

#[tokio::test(flavor = "multi_thread")]
async fn verified_objects_are_read_again_only_when_something_is_different() {
    let Some((server, _repository, author)) = signed() else { return };
    let mut fixture = verifying(&server.url("app"), json!({"branch": "main"}), "HEAD");
    trust(&fixture, &author);
    fixture.object["metadata"]["uid"] = json!("1");
    fixture.attempt().await;
    let before = server.requests();
    std::fs::remove_dir_all(fixture.root.path().join("plumb-git")).unwrap();
    std::fs::create_dir(fixture.root.path().join("plumb-git")).unwrap();
    fixture.attempt().await;
    let unchanged = server.requests() - before;
    fixture.secret("keys", &[("a.sshpub", &author.public), ("b.sshpub", &author.public)]);
    let before = server.requests();
    fixture.attempt().await;
    let changed = server.requests() - before;
    assert!(changed > unchanged, "{changed} {unchanged}");
    assert_eq!(fixture.api.lines(), vec![format!("GET {KEYS_PATH}"); 3], "the Secret is read each time");
}
