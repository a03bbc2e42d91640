//! What a user reads when something is wrong: the field, the cause and the remedy, once each (T1). Rows hold whole messages.

use plumb_testkit::sshd::{key_pair, keygen_is_missing};

use super::*;

/// The message of Ready after one attempt, with the URL of the repository as `URL`.
async fn message(fixture: &mut Fixture<GitSource>, url: &str) -> String {
    let summary = fixture.attempt().await;
    let (status, _, message) = ready(&summary);
    assert_eq!(status, "False");
    if url.is_empty() { message } else { message.replace(url, "URL") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_is_missing_is_explained_by_its_field_and_what_there_is_instead() {
    let (server, repository) = served(&GitServerOptions::default());
    let url = server.url("app");
    let git = "failed to checkout and determine revision:";
    let missing = |name: &str| format!("{git} couldn't find remote ref \"{name}\" in 'URL'");
    let default = "the default branch of the repository is main";
    for (reference, expect) in [
        (
            json!(null),
            format!(
                "{} (spec.ref is not set, which means the branch master: set spec.ref.branch; {default})",
                missing("refs/heads/master")
            ),
        ),
        (
            json!({"branch": "nope"}),
            format!("{} (correct spec.ref.branch; {default})", missing("refs/heads/nope")),
        ),
        // The server lists `main` for it, which only begins like that.
        (
            json!({"branch": "mai"}),
            format!("{} (correct spec.ref.branch; {default})", missing("refs/heads/mai")),
        ),
        (json!({"tag": "v9"}), format!("{} (correct spec.ref.tag; {default})", missing("refs/tags/v9"))),
        (
            json!({"name": "refs/pull/1/head"}),
            format!("{} (correct spec.ref.name; {default})", missing("refs/pull/1/head")),
        ),
        (
            json!({"semver": "^9"}),
            format!(
                "{git} no match found for semver: ^9 (no tag of the repository is a version: set another field of spec.ref, or \
                 push a tag)"
            ),
        ),
        (
            json!({"commit": "abc"}),
            format!(
                "{git} commit \"abc\" is not a full hexadecimal id (set spec.ref.commit to the full id of a commit)"
            ),
        ),
        (
            json!({"commit": "1".repeat(40)}),
            format!("{git} object not found: commit {} in 'URL' (correct spec.ref.commit)", "1".repeat(40)),
        ),
    ] {
        let mut fixture = source_at(&url);
        fixture.set("ref", reference);
        assert_eq!(message(&mut fixture, &url).await, expect);
    }
    repository.git(&["tag", "v1.2.0"]).unwrap();
    repository.git(&["push", "--quiet", "origin", "v1.2.0"]).unwrap();
    let mut fixture = source_at(&url);
    fixture.set("ref", json!({"semver": "^9"}));
    let highest = "correct spec.ref.semver: the highest version among the tags is v1.2.0";
    assert_eq!(message(&mut fixture, &url).await, format!("{git} no match found for semver: ^9 ({highest})"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_request_reports_whether_credentials_were_sent() {
    let (server, _repository) = served(&closed(false));
    let (open, _open_repository) = served(&GitServerOptions::default());
    let rejected = "failed to checkout and determine revision: unable to list remote for 'URL':";
    let url = server.url("app");
    let mut fixture = source_at(&url);
    assert_eq!(
        message(&mut fixture, &url).await,
        format!(
            "{rejected} authentication required: no credentials were sent (set spec.secretRef to a Secret with the keys username \
             and password, or bearerToken)"
        )
    );
    fixture.set("secretRef", json!({"name": "git"}));
    fixture.secret("git", &[("username", "bot"), ("password", "wrong-word")]);
    assert_eq!(
        message(&mut fixture, &url).await,
        format!(
            "{rejected} authentication required: the server rejected the credentials (correct the Secret of spec.secretRef)"
        )
    );
    let in_url = url.replace("://", "://bot:wrong-word@");
    assert_eq!(
        message(&mut source_at(&in_url), &url).await,
        format!(
            "{rejected} authentication required: the server rejected the credentials (set spec.secretRef in place of the \
             credentials in spec.url)"
        )
    );
    let gone = open.url("gone");
    assert_eq!(
        message(&mut source_at(&gone), &gone).await,
        format!(
            "{rejected} repository not found (correct spec.url, or set spec.secretRef if the repository is private)"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_a_secret_that_cannot_be_used_is_named_by_secret_and_key() {
    let mut fixture = source_at("https://127.0.0.1:1/app");
    fixture.set("secretRef", json!({"name": "git"}));
    fixture.api.on("GET", SECRET_PATH, Response::not_found());
    assert_eq!(
        message(&mut fixture, "").await,
        "failed to get secret 'apps/git': secrets \"git\" not found (create the Secret or correct spec.secretRef)"
    );
    let client_key = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
    for (data, expect) in [
        (
            &[("username", "bot"), ("password", "s3cret-word\n")][..],
            "'password' {}: it ends with a line break",
        ),
        (&[("username", "b:ot"), ("password", "s3cret-word")], "'username' {}: it contains a colon"),
        (&[("bearerToken", "s3cret-word\r\n")], "'bearerToken' {}: it ends with a line break"),
        (&[("caFile", "s3cret-word")], "'caFile' {}: it holds no certificate"),
        (&[("tls.crt", "s3cret-word"), ("tls.key", client_key)], "'tls.crt' {}: it holds no certificate"),
    ] {
        let mut fixture = source_at("https://127.0.0.1:1/app");
        fixture.set("secretRef", json!({"name": "git"}));
        fixture.secret("git", data);
        let summary = fixture.attempt().await;
        let expect = expect.replace("{}", "of secret 'apps/git' cannot be used");
        let text = format!("key {expect} (correct the Secret of spec.secretRef)");
        assert_eq!(ready(&summary), ("False".into(), "AuthenticationFailed".into(), text));
        assert!(!format!("{summary:?}").contains("s3cret-word"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fails_has_one_cause_and_the_same_text_each_time() {
    let tls = served(&closed(true)).0;
    let (url, plain) = (tls.url("app"), served(&GitServerOptions::default()).0);
    let as_tls = plain.url("app").replace("http://", "https://");
    let failed = "failed to checkout and determine revision: unable to list remote for 'URL':";
    for (url, expect) in [
        (
            "http://127.0.0.1:1/app".to_owned(),
            "connection refused (check spec.url, the server and the network policies between)",
        ),
        (
            url,
            "certificate signed by unknown authority (set the key ca.crt in the Secret of spec.secretRef to the CA certificate \
             of the server)",
        ),
        (
            as_tls,
            "TLS handshake failed: the server does not speak TLS (use the http:// URL if the server has no TLS)",
        ),
    ] {
        let mut fixture = source_at(&url);
        for attempt in 1..=2 {
            assert_eq!(message(&mut fixture, &url).await, format!("{failed} {expect}"), "{attempt}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_not_valid_is_shown_without_credentials() {
    for (url, expect) in [
        (
            "http://bot:s3cret-word@host:99999/app",
            "repository URL 'http://…@host:99999/app' is not valid: invalid port number (correct spec.url)",
        ),
        ("http:///", "repository URL 'http:///' is not valid: empty host (correct spec.url)"),
    ] {
        assert_eq!(message(&mut source_at(url), "").await, expect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_secret_lacks_for_ssh_is_named_as_flux_does() {
    if keygen_is_missing() {
        return;
    }
    let (key, public) = key_pair(&["-t", "ed25519", "-N", ""]).unwrap();
    let encrypted = key_pair(&["-t", "ed25519", "-a", "1", "-N", "s3cret-word"]).unwrap().0;
    let known = format!("host {}", public.split(' ').take(2).collect::<Vec<_>>().join(" "));
    let required = "failed to configure authentication options: invalid 'ssh' auth option:";
    assert_eq!(
        message(&mut source_at("ssh://git@host/app"), "").await,
        format!(
            "{required} 'identity' is required (set spec.secretRef to a Secret with the keys identity and known_hosts)"
        )
    );
    let remedy = "(correct the Secret of spec.secretRef)";
    for (data, expect) in [
        (
            &[("known_hosts", known.as_str())][..],
            format!("{required} 'identity' is required (add the key identity to the Secret of spec.secretRef)"),
        ),
        (
            &[("identity", &key)],
            format!("{required} 'known_hosts' is required (add the key known_hosts to the Secret of spec.secretRef)"),
        ),
        (
            &[("identity", &encrypted), ("known_hosts", &known)],
            "SSH identity key is encrypted but no 'password' field was provided in the secret 'apps/git' (add the passphrase as \
             the key password to the Secret of spec.secretRef)"
                .to_owned(),
        ),
        (
            &[("identity", &encrypted), ("known_hosts", &known), ("password", "wrong-word")],
            format!(
                "key 'password' of secret 'apps/git' cannot be used: the passphrase does not decrypt the private key {remedy}"
            ),
        ),
        (
            &[("identity", "s3cret-word"), ("known_hosts", &known)],
            format!(
                "key 'identity' of secret 'apps/git' cannot be used: it holds no private key in the format of OpenSSH or PEM \
                 {remedy}"
            ),
        ),
        (
            &[("identity", &key), ("known_hosts", "host s3cret-word")],
            format!(
                "key 'known_hosts' of secret 'apps/git' cannot be used: line 1 is not 'hosts type key' {remedy}"
            ),
        ),
    ] {
        let mut fixture = source_at("ssh://git@host/app");
        fixture.set("secretRef", json!({"name": "git"}));
        fixture.secret("git", data);
        let summary = fixture.attempt().await;
        assert_eq!(ready(&summary), ("False".into(), "AuthenticationFailed".into(), expect));
        assert_eq!(condition(&summary, "FetchFailed").unwrap(), "True AuthenticationFailed");
        assert!(!format!("{summary:?}").contains("s3cret-word"));
    }
}
