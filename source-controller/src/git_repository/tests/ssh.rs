//! Whole attempts over SSH, against a real `sshd` (T1).

use plumb_testkit::sshd::{Sshd, SshdOptions, is_missing, key_pair};

use super::*;

/// A key with a passphrase, and a server that accepts it and has one commit; none where `sshd` is not installed.
fn served_over_ssh() -> Option<(Sshd, Repository, String)> {
    if is_missing() {
        return None;
    }
    let (private, public) = key_pair(&["-t", "ed25519", "-a", "1", "-N", "s3cret-word"]).unwrap();
    let server = Sshd::start(&SshdOptions::default(), &public).unwrap();
    let repository = server.repository("app").unwrap();
    repository.write("app.yaml", "one\n").unwrap();
    repository.push("Begin").unwrap();
    Some((server, repository, private))
}

fn with_secret(url: &str, private: &str, known_hosts: &str) -> Fixture<GitSource> {
    let mut fixture = source_at(url);
    fixture.set("secretRef", json!({"name": "git"}));
    let data = [("identity", private), ("known_hosts", known_hosts), ("password", "s3cret-word")];
    fixture.secret("git", &data);
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_over_ssh_becomes_an_artifact() {
    let Some((server, repository, private)) = served_over_ssh() else { return };
    let (url, known_hosts) = (server.url("app").unwrap(), server.known_hosts().unwrap());
    let mut fixture = with_secret(&url, &private, &known_hosts);
    let first = fixture.attempt().await;
    let revision = repository.revision().unwrap();
    let message = format!("stored artifact for revision '{revision}'");
    assert_eq!(ready(&first), ("True".into(), "Succeeded".into(), message));
    repository.write("app.yaml", "two\n").unwrap();
    repository.push("Go on").unwrap();
    fixture.now += Duration::from_mins(2);
    fixture.attempt().await;
    assert_eq!(fixture.artifact()["revision"], repository.revision().unwrap());
    assert!(fixture.stored().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_key_that_changes_fails_closed_and_the_old_artifact_stays() {
    let Some((server, _repository, private)) = served_over_ssh() else { return };
    let (url, known_hosts) = (server.url("app").unwrap(), server.known_hosts().unwrap());
    let mut fixture = with_secret(&url, &private, &known_hosts);
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    let (old, stored) = (fixture.artifact().clone(), fixture.stored());

    let other = key_pair(&["-t", "ed25519", "-N", ""]).unwrap().1;
    let name = known_hosts.split(' ').next().unwrap().to_owned();
    for (known_hosts, expect) in [
        (format!("{name} {other}"), "knownhosts: key mismatch: known_hosts has another key for"),
        (format!("git.example {other}"), "knownhosts: key is unknown: known_hosts has no entry for"),
    ] {
        let data =
            [("identity", private.as_str()), ("known_hosts", &known_hosts), ("password", "s3cret-word")];
        fixture.secret("git", &data);
        fixture.now += Duration::from_mins(2);
        let failed = fixture.attempt().await;
        let (status, reason, message) = ready(&failed);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "GitOperationFailed"));
        let heading = "failed to checkout and determine revision: unable to list remote for";
        let expect = format!("{heading} '{url}': ssh: handshake failed: {expect} {name:?}");
        assert!(message.starts_with(&expect), "{message}");
        assert!(message.contains("in the Secret of spec.secretRef)"), "{message}");
        assert_eq!(condition(&failed, "FetchFailed").unwrap(), "True GitOperationFailed");
        assert!(*fixture.artifact() == old && stored.exists());
        assert!(!format!("{failed:?}").contains("s3cret-word"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_does_not_accept_is_named_with_a_remedy() {
    let Some((server, _repository, _)) = served_over_ssh() else { return };
    let (stranger, _) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let url = server.url("app").unwrap();
    let mut fixture = with_secret(&url, &stranger, &server.known_hosts().unwrap());
    let (_, reason, message) = ready(&fixture.attempt().await);
    assert_eq!(reason, "GitOperationFailed");
    assert!(message.contains("ssh: unable to authenticate, attempted methods [none publickey]"), "{message}");
    assert!(
        message.contains("(add the public key to the repository on the server, or correct the key identity")
    );
}
