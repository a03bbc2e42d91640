//! Scenario tests (T1) of whole attempts: repositories and a registry of our own, a real store, a mock API server for Secrets.

mod packaging;
mod verification;

use std::time::Duration;

use plumb_api::{meta::Artifact, source::HelmRepository};
use plumb_cluster::ObjectCache;
use plumb_helm::{Download, convert};
use plumb_memory::{Limit, MemoryPool};
use plumb_oci::{OciClient, OciLimits};
use plumb_status::{AttemptOutcome, Next};
use plumb_store::Location;
use plumb_testkit::{
    archive::tar_gz,
    helm::HelmServer,
    hostile::{HostileServer, Hostility},
    registry::{CHART_LAYER, Login, Registry, digest, response},
};
use plumb_transport::address::AddressPolicy;
use serde_json::{Value, json};

use super::HelmChartSource;
use crate::{
    fixture::{Fixture, base64, condition, emitted, ready},
    helm_repository::{HelmClients, HelmLimits},
};

/// A chart, and the HelmRepository that it is found by.
struct Charts {
    fixture: Fixture<HelmChartSource>,
    repositories: ObjectCache<HelmRepository>,
    pool: MemoryPool,
}

impl Charts {
    fn new(limits: HelmLimits) -> Self {
        let (repositories, pool) = (ObjectCache::default(), MemoryPool::new(600 << 20));
        repositories.note_synced();
        let spec = json!({ "chart": "app", "interval": "1m", "version": "*", "sourceRef": { "kind": "HelmRepository", "name": "charts" } });
        let (known, memory) = (repositories.clone(), pool.clone());
        let mut fixture = Fixture::new(&spec, |api, root| {
            let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
            let registries = OciClient::new(addresses, memory.clone(), OciLimits::DEFAULT);
            let clients = HelmClients::new(crate::cloud::none(api.client()), addresses, memory);
            HelmChartSource::new(clients, registries, known, crate::fixture::storage(root), limits)
        });
        fixture.storage = fixture.source.storage.clone();
        Self { fixture, repositories, pool }
    }

    /// A HelmRepository over HTTP whose stored index is `index`.
    fn repository(&self, spec: &Value, index: &str) {
        self.repository_named("charts", spec, index);
    }

    fn repository_named(&self, name: &str, spec: &Value, index: &str) {
        let memory = |name| self.pool.reservation("apps", Limit { name, bytes_max: 1 << 30 });
        let download = Download { bytes: index.as_bytes().to_vec(), memory: memory("index") };
        let stored = convert(download, memory("stored")).unwrap().json;
        let location = Location::new("HelmRepository", "apps", name).unwrap();
        let written = self.fixture.storage.store.put_bytes(&location, "index-1.yaml", &stored).unwrap();
        let artifact = Artifact {
            path: written.path,
            digest: written.digest,
            revision: digest(index.as_bytes()),
            url: String::new(),
            size: i64::try_from(written.size).ok(),
            metadata: std::collections::BTreeMap::new(),
            last_update_time: self.fixture.now,
        };
        self.put_named(name, spec, &json!({ "artifact": artifact }));
    }

    fn put(&self, spec: &Value, status: &Value) {
        self.put_named("charts", spec, status);
    }

    fn put_named(&self, name: &str, spec: &Value, status: &Value) {
        let version =
            1 + self.repositories.all().iter().filter_map(|old| old.metadata.generation).max().unwrap_or(0);
        let object = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
            "metadata": { "name": name, "namespace": "apps", "generation": version, "resourceVersion": version.to_string() },
            "spec": spec, "status": status,
        });
        self.repositories.put(serde_json::from_value(object).unwrap());
    }
}

fn chart(name: &str, version: &str) -> Vec<u8> {
    let file = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    tar_gz(&[
        (&format!("{name}/Chart.yaml"), file.as_bytes(), 0o644),
        (&format!("{name}/values.yaml"), b"a: 1\n", 0o644),
    ])
}

fn index(releases: &[(&str, &str)]) -> String {
    let lines: Vec<String> = releases
        .iter()
        .map(|(version, url)| format!("  - {{name: app, version: {version:?}, urls: [{url:?}]}}\n"))
        .collect();
    format!("apiVersion: v1\nentries:\n  app:\n{}", lines.concat())
}

/// A server with charts of these versions.
fn served(versions: &[&str]) -> HelmServer {
    let server = HelmServer::plain().unwrap();
    for version in versions {
        server.file(&format!("/charts/app-{version}.tgz"), chart("app", version));
    }
    server
}

fn targets(server: &HelmServer) -> Vec<String> {
    server.take_calls().into_iter().map(|call| call.target).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_pulled_as_it_was_published() {
    let server = served(&["1.0.0", "1.1.0"]);
    let mut charts = Charts::new(HelmLimits::DEFAULT);
    let first = index(&[("1.0.0", "app-1.0.0.tgz"), ("0.9.0", "app-0.9.0.tgz")]);
    charts.repository(&json!({ "url": format!("{}/charts", server.url()) }), &first);
    let fixture = &mut charts.fixture;
    let summary = fixture.attempt().await;
    let text = "pulled 'app' chart with version '1.0.0'";
    assert_eq!(ready(&summary), ("True".into(), "ChartPullSucceeded".into(), text.into()));
    assert_eq!(condition(&summary, "ArtifactInStorage").unwrap(), "True ChartPullSucceeded");
    assert_eq!(emitted(&summary), [format!("ChartPullSucceeded {text}")]);
    let bytes = std::fs::read(fixture.stored()).unwrap();
    assert_eq!(bytes, chart("app", "1.0.0"), "the bytes that were published");
    let artifact = fixture.artifact();
    assert_eq!(
        (&artifact["path"], &artifact["revision"]),
        (&json!("helmchart/apps/app/app-1.0.0.tgz"), &json!("1.0.0"))
    );
    assert_eq!(artifact["digest"], digest(&bytes));
    let status = &fixture.object["status"];
    assert_eq!((&status["observedChartName"], &status["url"]), (&json!("app"), &artifact["url"]));
    assert_eq!(status["observedSourceArtifactRevision"], digest(first.as_bytes()));

    // Nothing new: not even a request.
    server.take_calls();
    let before = fixture.object.clone();
    assert_eq!(emitted(&fixture.attempt().await), Vec::<String>::new());
    assert_eq!((&fixture.object, targets(&server)), (&before, Vec::new()));

    // Another index with the same version: only noted. With a higher one: pulled.
    let same = index(&[("1.0.0", "app-1.0.0.tgz")]);
    charts.repository(&json!({ "url": format!("{}/charts", server.url()) }), &same);
    assert_eq!(emitted(&charts.fixture.attempt().await), Vec::<String>::new());
    assert_eq!(charts.fixture.object["status"]["observedSourceArtifactRevision"], digest(same.as_bytes()));
    assert_eq!(targets(&server), Vec::<String>::new());
    charts.repository(
        &json!({ "url": format!("{}/charts", server.url()) }),
        &index(&[("1.1.0", "app-1.1.0.tgz")]),
    );
    charts.fixture.now += Duration::from_mins(2);
    charts.fixture.attempt().await;
    assert_eq!(
        (&charts.fixture.artifact()["revision"], targets(&server)),
        (&json!("1.1.0"), vec!["/charts/app-1.1.0.tgz".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spec_pulls_the_chart_again() {
    let server = served(&["1.0.0"]);
    let mut charts = Charts::new(HelmLimits::DEFAULT);
    charts.repository(
        &json!({ "url": format!("{}/charts", server.url()) }),
        &index(&[("1.0.0", "app-1.0.0.tgz")]),
    );
    charts.fixture.attempt().await;
    server.take_calls();
    // The same version, as another repository might have it with other bytes.
    charts.fixture.set("version", json!("1.0.0"));
    charts.fixture.attempt().await;
    assert_eq!(targets(&server), ["/charts/app-1.0.0.tgz"]);
    charts.fixture.attempt().await;
    assert_eq!(targets(&server), Vec::<String>::new());
    std::fs::remove_file(charts.fixture.stored()).unwrap();
    assert_eq!(ready(&charts.fixture.attempt().await).0, "True");
    assert!(charts.fixture.stored().exists());
    assert!(matches!(charts.fixture.teardown().await, AttemptOutcome::Gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_that_came_later_is_pulled_from_the_source_of_the_spec() {
    let (one, other) = (served(&["1.0.0"]), served(&["2.0.0"]));
    let mut charts = Charts::new(HelmLimits::DEFAULT);
    charts.fixture.set("version", json!("1.0.0"));
    let spec = |server: &HelmServer| json!({ "url": format!("{}/charts", server.url()) });
    charts.repository(&spec(&one), &index(&[("1.0.0", "app-1.0.0.tgz")]));
    assert_eq!(ready(&charts.fixture.attempt().await).0, "True");
    charts.repository_named("others", &spec(&other), &index(&[("2.0.0", "app-2.0.0.tgz")]));
    charts.fixture.set("sourceRef", json!({ "kind": "HelmRepository", "name": "others" }));
    let summary = charts.fixture.attempt().await;
    assert_eq!(summary.next, Next::Never, "{summary:?}");
    // The other repository publishes a chart of the same name and version.
    other.file("/charts/app-1.0.0.tgz", chart("app", "1.0.0"));
    charts.repository_named("others", &spec(&other), &index(&[("1.0.0", "app-1.0.0.tgz")]));
    other.take_calls();
    let summary = charts.fixture.attempt().await;
    assert_eq!(ready(&summary).0, "True", "{}", ready(&summary).2);
    assert_eq!(targets(&other), ["/charts/app-1.0.0.tgz"]);
    charts.fixture.attempt().await;
    assert_eq!(targets(&other), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named() {
    let server = served(&[]);
    let mut charts = Charts::new(HelmLimits::DEFAULT);
    let missing = charts.fixture.attempt().await;
    let (status, reason, message) = ready(&missing);
    assert_eq!(
        (status.as_str(), reason.as_str(), missing.next),
        ("False", "SourceUnavailable", Next::Backoff)
    );
    assert!(
        message.starts_with(
            "failed to get source: helmrepositories.source.toolkit.fluxcd.io \"charts\" not found"
        ),
        "{message}"
    );
    assert_eq!(condition(&missing, "FetchFailed").unwrap(), "True SourceUnavailable");

    let url = json!({ "url": format!("{}/charts", server.url()) });
    charts.put(&url, &json!({}));
    let waiting = charts.fixture.attempt().await;
    assert_eq!(ready(&waiting).1, "NoSourceArtifact");
    assert!(ready(&waiting).2.starts_with("no artifact available for HelmRepository source 'charts'"));
    assert_eq!(condition(&waiting, "FetchFailed").unwrap(), "True NoSourceArtifact");
    assert!(matches!(waiting.next, Next::After(_)));

    charts.repository(&url, &index(&[("1.0.0", "app-1.0.0.tgz")]));
    for (field, value, expect) in [
        (
            "version",
            json!(">2"),
            "invalid chart reference: failed to get chart version for remote reference: no 'app' chart with version matching '>2' found",
        ),
        ("version", json!("nonsense"), "semver range \"nonsense\""),
        ("chart", json!("other"), "no chart name found"),
    ] {
        let before = charts.fixture.object.clone();
        charts.fixture.set(field, value);
        let summary = charts.fixture.attempt().await;
        let (_, reason, message) = ready(&summary);
        assert_eq!((reason.as_str(), summary.next), ("InvalidChartReference", Next::Never));
        assert!(message.contains(expect), "{message}");
        assert_eq!(condition(&summary, "Stalled").unwrap(), "True InvalidChartReference");
        charts.fixture.object["spec"] = before["spec"].clone();
    }
    charts.fixture.set("interval", json!("2m"));
    let summary = charts.fixture.attempt().await;
    let text = format!(
        "chart pull error: failed to download chart for remote reference: failed to fetch {}/charts/app-1.0.0.tgz: 404 Not Found",
        server.url()
    );
    let (_, reason, message) = ready(&summary);
    assert!(reason == "ChartPullError" && message.starts_with(&text), "{message}");
    assert_eq!(summary.next, Next::Backoff);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_to_other_hosts_only_where_the_repository_says_so() {
    let (own, cdn) = (served(&["1.0.0"]), served(&["1.0.0"]));
    own.login("me", "s3cret");
    let elsewhere = format!("{}/charts/app-1.0.0.tgz", cdn.url());
    for (url, pass, server, sent) in [
        ("app-1.0.0.tgz", false, &own, true),
        (elsewhere.as_str(), false, &cdn, false),
        (elsewhere.as_str(), true, &cdn, true),
    ] {
        let mut charts = Charts::new(HelmLimits::DEFAULT);
        charts.fixture.secret("login", &[("username", "me"), ("password", "s3cret")]);
        let spec = json!({ "url": format!("{}/charts", own.url()), "secretRef": { "name": "login" }, "passCredentials": pass });
        charts.repository(&spec, &index(&[("1.0.0", url)]));
        assert_eq!(ready(&charts.fixture.attempt().await).0, "True", "{url} {pass}");
        let calls = server.take_calls();
        let expected = format!("Basic {}", base64("me:s3cret"));
        assert_eq!(calls.last().unwrap().authorization, sent.then_some(expected), "{url} {pass}");
    }
    // Without them, and with a certificate that nobody knows: in the words of Flux.
    let tls = HelmServer::tls().unwrap();
    for (server, expect) in [(&own, "401 Unauthorized"), (&tls, "unknown authority")] {
        let mut charts = Charts::new(HelmLimits::DEFAULT);
        charts.repository(
            &json!({ "url": format!("{}/charts", server.url()) }),
            &index(&[("1.0.0", "app-1.0.0.tgz")]),
        );
        let summary = charts.fixture.attempt().await;
        let (_, reason, message) = ready(&summary);
        let text =
            "failed to authenticate with the Helm repository: chart pull error: failed to download chart";
        assert!(message.starts_with(text) && message.contains(expect), "{message}");
        assert_eq!((reason.as_str(), summary.next), ("AuthenticationFailed", Next::Backoff));
    }
    // A redirect carries them to no other host, whatever the repository says.
    let target = elsewhere.clone();
    own.answer(move |_| Some(response(302, &[("location", &target)], "")));
    let mut charts = Charts::new(HelmLimits::DEFAULT);
    charts.fixture.secret("login", &[("username", "me"), ("password", "s3cret")]);
    let spec = json!({ "url": format!("{}/charts", own.url()), "secretRef": { "name": "login" }, "passCredentials": true });
    charts.repository(&spec, &index(&[("1.0.0", "app-1.0.0.tgz")]));
    assert_eq!(ready(&charts.fixture.attempt().await).0, "True");
    assert_eq!(cdn.take_calls().last().unwrap().authorization, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_servers_and_archives_are_rejected_and_the_last_artifact_stays() {
    let server = served(&["1.0.0"]);
    let mut charts = Charts::new(HelmLimits { chart: 1 << 20, ..HelmLimits::DEFAULT });
    charts.repository(
        &json!({ "url": format!("{}/charts", server.url()) }),
        &index(&[("1.0.0", "app-1.0.0.tgz")]),
    );
    charts.fixture.attempt().await;
    let good = charts.fixture.artifact().clone();
    let gzip = "application/gzip";
    let whole =
        |body: Vec<u8>| Hostility::Whole { status: 200, headers: Vec::new(), content_type: gzip, body };
    let too_large =
        "larger than 1048576 bytes, which is the limit for the Helm chart (--helm-chart-max-size)";
    let escape =
        tar_gz(&[("app/Chart.yaml", b"name: app\nversion: 1.1.0", 0o644), ("app/../../x", b"x", 0o644)]);
    for (hostility, expect) in [
        (Hostility::Endless { content_type: gzip, first: Vec::new(), again: vec![0; 64 << 10] }, too_large),
        (Hostility::LyingLength { content_type: gzip, claimed: 1 << 40, body: Vec::new() }, too_large),
        (
            Hostility::Truncation { content_type: gzip, body: chart("app", "1.1.0") },
            "failed to download chart for remote reference",
        ),
        (
            whole(chart("app", "1.0.0")),
            "the archive has chart 'app' with version '1.0.0', not 'app' with version '1.1.0'",
        ),
        (whole(chart("evil", "1.1.0")), "the archive has chart 'evil'"),
        (
            whole(b"<html>".to_vec()),
            "failed to load chart metadata from downloaded chart: the archive is damaged",
        ),
        (whole(escape), "chart illegally contains references to a parent directory"),
    ] {
        let hostile = HostileServer::start(hostility).unwrap();
        charts.repository(&json!({ "url": hostile.url() }), &index(&[("1.1.0", "app-1.1.0.tgz")]));
        let summary = charts.fixture.attempt().await;
        let (status, reason, message) = ready(&summary);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "ChartPullError"), "{message}");
        assert!(message.contains(expect), "{message}");
        assert_eq!(condition(&summary, "FetchFailed").unwrap(), "True ChartPullError");
        assert_eq!(condition(&summary, "ArtifactOutdated").unwrap(), "True NewRevision");
        assert_eq!(*charts.fixture.artifact(), good);
        assert!(charts.fixture.stored().exists());
    }
    for url in ["file:///etc/passwd", "oci://h/app"] {
        charts.repository(&json!({ "url": server.url() }), &index(&[("1.1.0", url)]));
        let (_, reason, message) = ready(&charts.fixture.attempt().await);
        assert!(reason == "ChartPullError" && message.contains("not an http or https URL"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_in_a_registry_is_pulled_by_tag_and_range() {
    let registry = Registry::plain().unwrap();
    let bytes = chart("app", "1.2.0+b.1");
    registry.push("1.2.0_b.1", &[(CHART_LAYER, &bytes)], &json!({}));
    registry.push("1.1.0", &[(CHART_LAYER, &chart("app", "1.1.0"))], &json!({}));
    registry.push("latest", &[(CHART_LAYER, b"no chart")], &json!({}));
    let spec = json!({ "type": "oci", "url": registry.url("org/charts") });
    for (version, expect) in [("*", "1.2.0+b.1"), ("1.1.x", "1.1.0"), ("1.2.0+b.1", "1.2.0+b.1")] {
        let mut charts = Charts::new(HelmLimits::DEFAULT);
        charts.put(&spec, &json!({}));
        charts.fixture.set("version", json!(version));
        let summary = charts.fixture.attempt().await;
        let text = format!("pulled 'app' chart with version '{expect}'");
        assert_eq!(ready(&summary), ("True".into(), "ChartPullSucceeded".into(), text));
        assert_eq!(charts.fixture.artifact()["path"], format!("helmchart/apps/app/app-{expect}.tgz"));
        assert_eq!(charts.fixture.object["status"].get("observedSourceArtifactRevision"), None);
        registry.take_calls();
        charts.fixture.attempt().await;
        let polls = registry.take_calls().len();
        assert_eq!(polls, usize::from(version != "1.2.0+b.1"), "a version costs no request, a range one");
    }
    let mut charts = Charts::new(HelmLimits::DEFAULT);
    charts.put(&json!({ "type": "oci", "url": registry.url("org") }), &json!({}));
    charts.fixture.set("chart", json!("charts/app")).set("version", json!("1.2.0+b.1"));
    let summary = charts.fixture.attempt().await;
    assert_eq!(ready(&summary).2, "pulled 'charts/app' chart with version '1.2.0+b.1'");
    assert_eq!(std::fs::read(charts.fixture.stored()).unwrap(), bytes);
    assert_eq!(charts.fixture.object["status"]["observedChartName"], "charts/app");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_gets_the_credentials_of_the_repository() {
    let registry = Registry::plain().unwrap();
    registry.push("1.0.0", &[(CHART_LAYER, &chart("app", "1.0.0"))], &json!({}));
    registry.login(Login::Basic("me".into(), "s3cret".into()));
    let config =
        json!({ "auths": { registry.address().to_string(): { "auth": base64("me:s3cret") } } }).to_string();
    for keys in [&[("username", "me"), ("password", "s3cret")][..], &[(".dockerconfigjson", config.as_str())]]
    {
        let mut charts = Charts::new(HelmLimits::DEFAULT);
        charts.fixture.secret("login", keys);
        let spec = json!({ "type": "oci", "url": registry.url("org"), "secretRef": { "name": "login" } });
        charts.put(&spec, &json!({}));
        assert_eq!(ready(&charts.fixture.attempt().await).0, "True");
    }
    for (spec, keys, reason, expect) in [
        (
            json!({}),
            &[][..],
            "AuthenticationFailed",
            "failed to authenticate with the Helm repository: chart pull error: failed to get chart version for remote reference: could not get tags for \"app\"",
        ),
        (
            json!({ "secretRef": { "name": "login" } }),
            &[("x", "y")][..],
            "AuthenticationFailed",
            "secret 'apps/login' has no key 'username'",
        ),
        (
            json!({ "provider": "aws" }),
            &[],
            "InvalidProviderConfiguration",
            "failed to get credential from 'aws': invalid AWS registry: '127.0.0.1:",
        ),
        (json!({ "url": "oci://" }), &[], "URLInvalid", "invalid Helm repository URL"),
    ] {
        let mut charts = Charts::new(HelmLimits::DEFAULT);
        charts.fixture.secret("login", keys);
        let mut whole = json!({ "type": "oci", "url": registry.url("org") });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        charts.put(&whole, &json!({}));
        let (_, actual, message) = ready(&charts.fixture.attempt().await);
        assert_eq!(actual, reason, "{message}");
        assert!(message.contains(expect), "{message}");
    }
    registry.login(Login::Open);
    registry.push("2.0.0", &[("application/x", b"no chart")], &json!({}));
    let mut charts = Charts::new(HelmLimits { chart: 10, ..HelmLimits::DEFAULT });
    charts.put(&json!({ "type": "oci", "url": registry.url("org") }), &json!({}));
    for (version, expect) in
        [("2.0.0", "it is not a Helm chart"), ("1.0.0", "the limit is 10 (--helm-chart-max-size)")]
    {
        charts.fixture.set("version", json!(version));
        let (_, reason, message) = ready(&charts.fixture.attempt().await);
        assert!(reason == "ChartPullError" && message.contains(expect), "{message}");
    }
}
