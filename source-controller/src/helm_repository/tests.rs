//! Scenario tests (T1) of whole attempts: a repository of our own, a real store, a mock API server for Secrets.

use std::time::Duration;

use plumb_memory::MemoryPool;
use plumb_status::{AttemptOutcome, Next};
use plumb_testkit::{
    helm::{FileCall, HelmServer},
    hostile::{HostileServer, Hostility},
    registry::{digest, response},
    scenario::Response,
};
use plumb_transport::address::AddressPolicy;
use serde_json::{Value, json};

use super::{HelmClients, HelmLimits, HelmRepositorySource};
use crate::fixture::{Fixture, condition, emitted, ready};

const INDEX: &str = "apiVersion: v1\nentries:\n  app:\n  - {name: app, version: 1.0.0, urls: [app-1.0.0.tgz]}\n  - {name: app, version: 1.10.0}\n";

fn source_at(url: &str) -> Fixture<HelmRepositorySource> {
    source_within(url, HelmLimits::DEFAULT)
}

fn source_within(url: &str, limits: HelmLimits) -> Fixture<HelmRepositorySource> {
    Fixture::new(&json!({ "url": url, "interval": "1m" }), |api, _| {
        let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
        let clients =
            HelmClients::new(crate::cloud::none(api.client()), addresses, MemoryPool::new(600 << 20));
        HelmRepositorySource::new(clients, limits)
    })
}

fn served(index: &str) -> HelmServer {
    let server = HelmServer::plain().unwrap();
    server.file("/index.yaml", index.to_owned());
    server
}

fn statuses(server: &HelmServer) -> Vec<(String, u16)> {
    server.take_calls().into_iter().map(|FileCall { target, status, .. }| (target, status)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_becomes_an_artifact_as_flux_stores_it() {
    let server = served(INDEX);
    let mut fixture = source_at(&server.url());
    let first = fixture.attempt().await;
    let revision = digest(INDEX.as_bytes());
    let text = format!("stored artifact: revision '{revision}'");
    assert_eq!(ready(&first), ("True".into(), "Succeeded".into(), text));
    assert_eq!(condition(&first, "ArtifactInStorage").unwrap(), "True Succeeded");
    let stored: Value = serde_json::from_slice(&std::fs::read(fixture.stored()).unwrap()).unwrap();
    assert_eq!(stored["entries"]["app"][0]["version"], "1.10.0", "the highest version is the first");
    let size = std::fs::metadata(fixture.stored()).unwrap().len();
    let path = format!("helmrepository/apps/app/index-{}.yaml", revision.strip_prefix("sha256:").unwrap());
    let artifact = fixture.artifact();
    assert_eq!(
        (&artifact["path"], &artifact["revision"], &artifact["size"]),
        (&json!(path), &json!(revision), &json!(size))
    );
    assert_eq!(artifact["digest"], digest(&std::fs::read(fixture.stored()).unwrap()));
    assert_eq!(fixture.object["status"]["url"], artifact["url"]);
    assert_eq!(
        emitted(&first),
        [format!("NewArtifact stored fetched index of size {size}B from '{}'", server.url())]
    );
    assert_eq!(fixture.api.unscripted(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_index_costs_one_request_and_is_not_read() {
    let server = served(INDEX);
    server.tags();
    let mut fixture = source_at(&server.url());
    fixture.attempt().await;
    server.take_calls();
    let before = fixture.object.clone();
    assert_eq!(emitted(&fixture.attempt().await), Vec::<String>::new());
    assert_eq!(statuses(&server), [("/index.yaml".to_owned(), 304)]);
    assert_eq!(fixture.object, before, "nothing changed, so nothing is written");

    let other = INDEX.replace("1.10.0", "1.11.0");
    server.file("/index.yaml", other.clone());
    fixture.now += Duration::from_mins(2);
    fixture.attempt().await;
    assert_eq!(fixture.artifact()["revision"], digest(other.as_bytes()));

    // What is lost is downloaded again, although the server says that it has not changed.
    std::fs::remove_file(fixture.stored()).unwrap();
    server.take_calls();
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    assert!(fixture.stored().exists());
    assert_eq!(statuses(&server).last(), Some(&("/index.yaml".to_owned(), 200)));

    // Without ETags it is downloaded, and found to be the same.
    let plain = served(INDEX);
    let mut fixture = source_at(&plain.url());
    fixture.attempt().await;
    let before = fixture.object.clone();
    fixture.attempt().await;
    assert_eq!((fixture.object == before, statuses(&plain).len()), (true, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_to_the_repository_and_to_no_other_host() {
    let server = served(INDEX);
    server.login("me", "s3cret");
    let mut fixture = source_at(&server.url());
    let summary = fixture.attempt().await;
    let (_, reason, message) = ready(&summary);
    assert_eq!(reason, "Failed");
    let text = format!(
        "failed to fetch Helm repository index: failed to fetch {}/index.yaml: 401 Unauthorized",
        server.url()
    );
    assert!(message.starts_with(&text) && message.contains("spec.secretRef"), "{message}");
    assert_eq!(condition(&summary, "FetchFailed").unwrap(), "True Failed");
    fixture.secret("login", &[("username", "me"), ("password", "s3cret")]);
    fixture.set("secretRef", json!({ "name": "login" }));
    assert_eq!(ready(&fixture.attempt().await).0, "True");

    let mut by_url = source_at(&server.url().replace("http://", "http://me:s3cret@"));
    let summary = by_url.attempt().await;
    assert!(ready(&summary).0 == "True" && !emitted(&summary)[0].contains("s3cret"));

    let other = served(INDEX);
    let target = format!("{}/index.yaml", other.url());
    server.answer(move |_| Some(response(302, &[("location", &target)], "")));
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    let [call] = &other.take_calls()[..] else { panic!("one request") };
    assert_eq!((call.authorization.as_deref(), call.status), (None, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etag_of_one_identity_says_nothing_to_another() {
    let server = served(INDEX);
    server.tags();
    let mut fixture = source_at(&server.url());
    fixture.attempt().await;
    fixture.secret("login", &[("username", "me"), ("password", "pw")]);
    fixture.set("secretRef", json!({ "name": "login" }));
    fixture.attempt().await;
    fixture.attempt().await;
    assert_eq!(statuses(&server).iter().map(|(_, status)| *status).collect::<Vec<_>>(), [200, 200, 304]);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_come_from_their_secret_or_from_the_one_of_old() {
    let server = HelmServer::tls().unwrap();
    server.file("/charts/index.yaml", INDEX);
    let url = format!("{}/charts/", server.url());
    let (_, reason, message) = ready(&source_at(&url).attempt().await);
    assert_eq!(reason, "Failed");
    assert!(message.contains("certificate signed by unknown authority"), "{message}");
    for (field, key) in [
        ("certSecretRef", "ca.crt"),
        ("certSecretRef", "caFile"),
        ("secretRef", "ca.crt"),
        ("secretRef", "caFile"),
    ] {
        let mut fixture = source_at(&url);
        fixture.secret("tls", &[(key, server.ca().unwrap())]);
        fixture.set(field, json!({ "name": "tls" }));
        assert_eq!(ready(&fixture.attempt().await).0, "True", "{field} {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_does_not_help_is_named() {
    let server = served(INDEX);
    for (field, name, keys, expect) in [
        ("secretRef", "gone", &[][..], "failed to get secret 'apps/gone': secrets \"gone\" not found"),
        ("certSecretRef", "gone", &[], "failed to get secret 'apps/gone': secrets \"gone\" not found"),
        (
            "secretRef",
            "bad",
            &[("username", "me")],
            "key 'username' of secret 'apps/bad' cannot be used: it requires 'password'",
        ),
        (
            "secretRef",
            "bad",
            &[("username", "me"), ("password", "s3cret\n")],
            "key 'password' of secret 'apps/bad' cannot be used: it ends with a line break",
        ),
        ("certSecretRef", "bad", &[("x", "s3cret")], "secret 'apps/bad' has no key 'ca.crt'"),
        ("secretRef", "bad", &[("caFile", "s3cret")], "key 'caFile' of secret 'apps/bad' cannot be used"),
    ] {
        let mut fixture = source_at(&server.url());
        fixture.api.on("GET", "/api/v1/namespaces/apps/secrets/gone", Response::not_found());
        fixture.secret("bad", keys);
        fixture.set(field, json!({ "name": name }));
        let summary = fixture.attempt().await;
        let (_, reason, message) = ready(&summary);
        assert_eq!((reason.as_str(), summary.next), ("AuthenticationFailed", Next::Backoff));
        assert!(message.contains(expect) && !message.contains("s3cret"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_servers_are_rejected_and_the_last_artifact_stays() {
    let server = served(INDEX);
    let limits = HelmLimits { index: 1 << 20, ..HelmLimits::DEFAULT };
    let mut fixture = source_within(&server.url(), limits);
    fixture.attempt().await;
    let good = fixture.artifact().clone();
    let yaml = "application/yaml";
    let whole = |body: &str| Hostility::Whole {
        status: 200,
        headers: Vec::new(),
        content_type: yaml,
        body: body.into(),
    };
    let too_large = "larger than 1048576 bytes, which is the limit for the index of a Helm repository (--helm-index-max-size)";
    for (hostility, reason, expect) in [
        (
            Hostility::Endless { content_type: yaml, first: INDEX.into(), again: b"# more\n".repeat(10_000) },
            "Failed",
            too_large,
        ),
        (
            Hostility::LyingLength { content_type: yaml, claimed: 1 << 40, body: INDEX.into() },
            "Failed",
            too_large,
        ),
        (Hostility::Truncation { content_type: yaml, body: INDEX.into() }, "Failed", "failed to fetch http"),
        (Hostility::Silence, "Failed", "failed to fetch http"),
        (whole(""), "IndexationFailed", "empty index.yaml file"),
        (
            whole("entries: {}"),
            "IndexationFailed",
            "failed to load Helm repository from index YAML: no API version specified",
        ),
        (whole("<html>Sign in</html>"), "IndexationFailed", "the index cannot be read"),
    ] {
        let is_silent = matches!(hostility, Hostility::Silence);
        let hostile = HostileServer::start(hostility).unwrap();
        fixture.set("url", json!(hostile.url()));
        fixture.set("timeout", json!(if is_silent { "1s" } else { "60s" }));
        let summary = fixture.attempt().await;
        let (status, actual, message) = ready(&summary);
        assert_eq!((status.as_str(), actual.as_str()), ("False", reason), "{message}");
        assert!(message.contains(expect), "{message}");
        assert_eq!(condition(&summary, "FetchFailed").unwrap(), format!("True {reason}"));
        assert_eq!(*fixture.artifact(), good);
        assert!(fixture.stored().exists());
    }
    fixture.set("url", json!(server.url()));
    let recovered = fixture.attempt().await;
    assert_eq!(ready(&recovered).0, "True");
    assert!(
        emitted(&recovered)[0].starts_with("Succeeded stored fetched index of size "),
        "{:?}",
        emitted(&recovered)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_in_a_registry_is_static() {
    let server = served(INDEX);
    let mut fixture = source_at(&server.url());
    fixture.attempt().await;
    let stored = fixture.stored();
    fixture.set("type", json!("oci"));
    fixture.set("url", json!("oci://registry.example/charts"));
    fixture.set("interval", Value::Null);
    let summary = fixture.attempt().await;
    assert_eq!((summary.status, summary.next), (None, Next::Never));
    assert_eq!(fixture.object["status"], json!({}));
    assert!(!stored.exists());
    // Back again: a repository as any other.
    fixture.set("type", json!("default"));
    let summary = fixture.attempt().await;
    assert_eq!(condition(&summary, "Stalled").unwrap(), "True URLInvalid");
    fixture.set("url", json!(server.url()));
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    assert!(matches!(fixture.teardown().await, AttemptOutcome::Gone));
    assert!(!fixture.stored().exists());
}
