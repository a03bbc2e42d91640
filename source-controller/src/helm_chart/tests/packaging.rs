//! Charts that are packaged: with values files, from the artifacts of other sources, with dependencies.

use std::{collections::BTreeMap, io::Read as _};

use plumb_testkit::scenario::Response;

use super::*;

const FIRST: &str = "main@sha1:0123456789abcdef0123456789abcdef01234567";
const SECOND: &str = "main@sha1:fedcba9876543210fedcba9876543210fedcba98";
const CHART: &str = "apiVersion: v2\nname: app\nversion: 1.0.0\n";

/// Paths and contents of the stored archive.
fn listed(charts: &Charts) -> BTreeMap<String, String> {
    let bytes = std::fs::read(charts.fixture.stored()).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let entries = archive.entries().unwrap().map(|entry| {
        let (mut entry, mut text) = (entry.unwrap(), String::new());
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), text)
    });
    entries.collect()
}

fn paths(charts: &Charts) -> Vec<String> {
    listed(charts).into_keys().collect()
}

impl Charts {
    /// A chart at this path of the GitRepository `repo`.
    fn of_files(chart: &str) -> Self {
        let mut charts = Self::new(HelmLimits::DEFAULT);
        charts.fixture.set("sourceRef", json!({ "kind": "GitRepository", "name": "repo" }));
        charts.fixture.set("chart", json!(chart));
        charts.fixture.object["metadata"]["generation"] = json!(1);
        charts
    }

    /// The artifact of the source `repo` has these files.
    fn files(&mut self, kind: &str, revision: &str, files: &[(&str, &[u8])]) {
        let files: Vec<_> = files.iter().map(|(path, content)| (*path, *content, 0o600)).collect();
        let location = Location::new(kind, "apps", "repo").unwrap();
        let name = format!("{}.tar.gz", revision.rsplit(':').next().unwrap());
        let written = self.fixture.storage.store.put_bytes(&location, &name, &tar_gz(&files)).unwrap();
        self.fixture.now += Duration::from_mins(1);
        let artifact = json!({
            "path": written.path, "digest": written.digest, "revision": revision, "url": "http://h/x",
            "size": written.size, "lastUpdateTime": self.fixture.now,
        });
        self.source(kind, &json!({ "artifact": artifact }));
        self.fixture.now += Duration::from_mins(1);
    }

    fn source(&self, kind: &str, status: &Value) {
        let spec = match kind {
            "Bucket" => json!({ "bucketName": "b", "endpoint": "h", "interval": "1m" }),
            _ => json!({ "url": "https://h/repo", "interval": "1m" }),
        };
        let object = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": kind,
            "metadata": { "name": "repo", "namespace": "apps" }, "spec": spec, "status": status,
        });
        let plural = if kind == "Bucket" { "buckets" } else { "gitrepositories" };
        let path = format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/{plural}/repo");
        self.fixture.api.on("GET", &path, Response::ok(object));
    }

    /// One attempt, which succeeds with this text.
    async fn succeeds(&mut self, expect: &str) {
        let (status, reason, message) = ready(&self.fixture.attempt().await);
        let expected =
            if expect.starts_with("packaged") { "ChartPackageSucceeded" } else { "ChartPullSucceeded" };
        assert_eq!((status.as_str(), reason.as_str(), message.as_str()), ("True", expected, expect));
    }

    /// One attempt, which fails: reason, broken condition, a part of the message, and what follows.
    async fn fails(&mut self, reason: &str, broken: &str, text: &str, next: Next) {
        let summary = self.fixture.attempt().await;
        let (status, found, message) = ready(&summary);
        assert_eq!((status.as_str(), found.as_str()), ("False", reason), "{message}");
        assert!(message.contains(text), "{message}");
        assert_eq!(condition(&summary, broken), Some(format!("True {reason}")));
        let other = if broken == "BuildFailed" { "FetchFailed" } else { "BuildFailed" };
        assert_eq!((condition(&summary, other), summary.next), (None, next), "{message}");
    }
}

fn published() -> HelmServer {
    let server = HelmServer::plain().unwrap();
    let chart = tar_gz(&[
        ("app/Chart.yaml", CHART.as_bytes(), 0o644),
        ("app/values.yaml", b"# a comment\na: {b: 1}\n", 0o644),
        ("app/prod.yaml", b"a: {c: yes}\n", 0o644),
        ("app/templates/x.yaml", b"x", 0o644),
    ]);
    server.file("/charts/app-1.0.0.tgz", chart);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn values_files_are_merged_into_a_chart_of_a_repository() {
    let server = published();
    let mut charts = Charts::new(HelmLimits::DEFAULT);
    charts.repository(
        &json!({ "url": format!("{}/charts", server.url()) }),
        &index(&[("1.0.0", "app-1.0.0.tgz")]),
    );
    charts.fixture.set("valuesFiles", json!(["values.yaml", "./prod.yaml"]));
    let text =
        "packaged 'app' chart with version '1.0.0+2' and merged values files [values.yaml ./prod.yaml]";
    let summary = charts.fixture.attempt().await;
    assert_eq!(ready(&summary), ("True".into(), "ChartPackageSucceeded".into(), text.into()));
    assert_eq!(condition(&summary, "ArtifactInStorage").unwrap(), "True ChartPackageSucceeded");
    assert_eq!(emitted(&summary), [format!("ChartPackageSucceeded {text}")]);
    let artifact = charts.fixture.artifact().clone();
    assert_eq!(
        (&artifact["path"], &artifact["revision"]),
        (&json!("helmchart/apps/app/app-1.0.0+2.tgz"), &json!("1.0.0+2"))
    );
    let files = listed(&charts);
    assert_eq!(files["app/values.yaml"], "a:\n  b: 1\n  c: true\n");
    assert_eq!(files["app/Chart.yaml"], "apiVersion: v2\nname: app\nversion: 1.0.0+2\n");
    assert_eq!(charts.fixture.object["status"]["observedValuesFiles"], Value::Null);
    // Nothing new: not even a request, and the same text.
    server.take_calls();
    charts.succeeds(text).await;
    assert_eq!((charts.fixture.artifact(), targets(&server)), (&artifact, Vec::new()));

    // Missing ones are skipped where the spec says so; the status has those that were there.
    charts.fixture.set("valuesFiles", json!(["missing.yaml", "prod.yaml"]));
    charts.fails("ValuesFilesError", "BuildFailed", "values files merge error: failed to merge chart values: no values file found at path 'missing.yaml'", Next::Never).await;
    charts.fixture.set("ignoreMissingValuesFiles", json!(true));
    let text = "packaged 'app' chart with version '1.0.0+4' and merged values files [prod.yaml]";
    charts.succeeds(text).await;
    assert_eq!(charts.fixture.object["status"]["observedValuesFiles"], json!(["prod.yaml"]));
    charts.succeeds(text).await;
    assert_eq!(listed(&charts)["app/values.yaml"], "a:\n  c: true\n");
    // Its own values file alone changes nothing.
    charts.fixture.set("valuesFiles", json!(["values.yaml"]));
    charts.succeeds("pulled 'app' chart with version '1.0.0'").await;
    assert_eq!(charts.fixture.object["status"]["observedValuesFiles"], json!([]));
    assert_eq!(charts.pool.usage().reserved, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_a_git_repository_is_packaged() {
    let mut charts = Charts::of_files("./charts/app/");
    let files: Vec<(&str, &[u8])> = vec![
        ("charts/app/Chart.yaml", CHART.as_bytes()),
        ("charts/app/values.yaml", b"a: 1\n"),
        ("charts/app/templates/x.yaml", b"x"),
        ("charts/app/notes.txt", b"left out"),
        ("charts/app/.helmignore", b"*.txt\n"),
        ("charts/other/Chart.yaml", b"another one"),
        ("prod.yaml", b"b: 2\n"),
    ];
    charts.files("GitRepository", FIRST, &files);
    charts.succeeds("packaged 'app' chart with version '1.0.0'").await;
    assert_eq!(
        paths(&charts),
        ["app/.helmignore", "app/Chart.yaml", "app/templates/x.yaml", "app/values.yaml"]
    );
    let status = charts.fixture.object["status"].clone();
    assert_eq!(status["artifact"]["path"], json!("helmchart/apps/app/app-1.0.0.tgz"));
    assert_eq!((&status["observedChartName"], &status["url"]), (&json!("app"), &status["artifact"]["url"]));
    assert_eq!(status["observedSourceArtifactRevision"], FIRST);
    charts.succeeds("packaged 'app' chart with version '1.0.0'").await;
    assert_eq!(charts.fixture.object["status"], status);

    // Another commit with the same version is only noted, unless the spec wants every revision.
    charts.files("GitRepository", SECOND, &files[..5]);
    charts.succeeds("packaged 'app' chart with version '1.0.0'").await;
    assert_eq!(charts.fixture.object["status"]["artifact"], status["artifact"]);
    assert_eq!(charts.fixture.object["status"]["observedSourceArtifactRevision"], SECOND);
    charts.fixture.set("reconcileStrategy", json!("Revision"));
    charts.succeeds("packaged 'app' chart with version '1.0.0+fedcba987654'").await;
    charts.files("GitRepository", FIRST, &files);
    charts.succeeds("packaged 'app' chart with version '1.0.0+0123456789ab'").await;
    // Values files are those of the repository, not of the chart.
    charts.fixture.set("valuesFiles", json!(["charts/app/values.yaml", "../prod.yaml"]));
    charts.succeeds("packaged 'app' chart with version '1.0.0+0123456789ab.3' and merged values files [charts/app/values.yaml ../prod.yaml]").await;
    assert_eq!(listed(&charts)["app/values.yaml"], "a: 1\nb: 2\n");
    charts.fixture.set("valuesFiles", json!(["values.yaml", "prod.yaml"]));
    charts
        .fails(
            "ValuesFilesError",
            "BuildFailed",
            "values files merge error: no values file found at path 'values.yaml'",
            Next::Never,
        )
        .await;
    // What is wrong with the default values themselves is told as that of a values file.
    charts.fixture.set("valuesFiles", json!(["charts/app/values.yaml", "prod.yaml"]));
    let broken: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(path, text)| (*path, if path.ends_with("values.yaml") { &b"[1]"[..] } else { *text }))
        .collect();
    charts.files("GitRepository", SECOND, &broken);
    charts
        .fails(
            "ValuesFilesError",
            "BuildFailed",
            "unmarshaling values from 'charts/app/values.yaml' failed",
            Next::Never,
        )
        .await;
    assert!(charts.fixture.stored().exists(), "the last artifact stays");
    assert_eq!(charts.pool.usage().reserved, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_artifact_of_the_same_revision_is_read() {
    let mut charts = Charts::of_files("app");
    charts.files("GitRepository", FIRST, &[("app/Chart.yaml", CHART.as_bytes())]);
    charts.succeeds("packaged 'app' chart with version '1.0.0'").await;
    // As after a change of the ignore rules.
    charts.files("GitRepository", FIRST, &[("app/Chart.yaml", b"name: app\nversion: 2.0.0\n")]);
    charts.succeeds("packaged 'app' chart with version '2.0.0'").await;
    std::fs::remove_file(charts.fixture.stored()).unwrap();
    charts.succeeds("packaged 'app' chart with version '2.0.0'").await;
    assert!(charts.fixture.stored().exists(), "what is lost is built again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_a_bucket_keeps_its_bytes() {
    let mut charts = Charts::of_files("app-1.0.0.tgz");
    charts.fixture.set("sourceRef", json!({ "kind": "Bucket", "name": "repo" }));
    let archive = chart("app", "1.0.0");
    let revision = format!("sha256:{}", "ab".repeat(32));
    charts.files("Bucket", &revision, &[("app-1.0.0.tgz", &archive), ("prod.yaml", b"b: 2\n")]);
    charts.succeeds("pulled 'app' chart with version '1.0.0'").await;
    assert_eq!(std::fs::read(charts.fixture.stored()).unwrap(), archive);
    charts.succeeds("pulled 'app' chart with version '1.0.0'").await;
    charts.fixture.set("reconcileStrategy", json!("Revision"));
    charts.succeeds("packaged 'app' chart with version '1.0.0+abababababab'").await;
    let file = &listed(&charts)["app/Chart.yaml"];
    assert!(file.ends_with("version: 1.0.0+abababababab\n"), "{file}");
    assert_eq!(listed(&charts)["app/values.yaml"], "a: 1\n");
    charts.fixture.set("valuesFiles", json!(["prod.yaml"]));
    charts
        .succeeds(
            "packaged 'app' chart with version '1.0.0+abababababab.4' and merged values files [prod.yaml]",
        )
        .await;
    assert_eq!(listed(&charts)["app/values.yaml"], "b: 2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_an_artifact_and_a_path_that_is_none_are_named() {
    let mut charts = Charts::of_files("app");
    let path = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/repo";
    charts.fixture.api.on("GET", path, Response::not_found());
    charts
        .fails(
            "SourceUnavailable",
            "FetchFailed",
            "failed to get source: gitrepositories.source.toolkit.fluxcd.io \"repo\" not found",
            Next::Backoff,
        )
        .await;
    charts.source("GitRepository", &json!({}));
    let waiting = charts.fixture.attempt().await;
    assert_eq!(ready(&waiting).1, "NoSourceArtifact");
    assert!(ready(&waiting).2.starts_with("no artifact available for GitRepository source 'repo'"));
    charts.fixture.set("chart", json!("/app"));
    charts
        .fails(
            "InvalidChartReference",
            "FetchFailed",
            "local chart reference path is expected to be relative",
            Next::Never,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_chart_in_an_artifact_is_named() {
    let mut charts = Charts::of_files("app");
    let bomb =
        tar_gz(&[("app/Chart.yaml", CHART.as_bytes(), 0o644), ("app/zeros", &vec![0; 6 << 20], 0o644)]);
    for (files, reason, broken, text, next) in [
        (
            &[("other/Chart.yaml", CHART.as_bytes())][..],
            "InvalidChartReference",
            "FetchFailed",
            "invalid chart reference: no chart found at path 'app' in the artifact of the GitRepository 'repo'",
            Next::Never,
        ),
        (
            &[("app/Chart.yaml", &b"name: app"[..])][..],
            "InvalidChartReference",
            "FetchFailed",
            "invalid chart reference: validation: chart.metadata.version is required",
            Next::Never,
        ),
        (
            &[("app", &b"no archive"[..])][..],
            "InvalidChartReference",
            "FetchFailed",
            "invalid chart reference: the archive is damaged",
            Next::Never,
        ),
        (
            &[("app/Chart.yaml", CHART.as_bytes()), ("app/.helmignore", b"**")][..],
            "ChartPackageError",
            "BuildFailed",
            "chart package error: failed to load chart: cannot load ignore rules for chart: double-star",
            Next::Backoff,
        ),
        (
            &[("app/Chart.yaml", CHART.as_bytes()), ("app/values.schema.json", b"{")][..],
            "ChartPackageError",
            "BuildFailed",
            "chart package error: failed to package chart: invalid JSON in values.schema.json",
            Next::Backoff,
        ),
        (
            &[("app", &bomb[..])][..],
            "ChartPackageError",
            "BuildFailed",
            "cannot load file zeros as file size (6291456) exceeds limit (5242880) (--helm-chart-file-max-size)",
            Next::Backoff,
        ),
    ] {
        charts.files("GitRepository", FIRST, files);
        charts.fails(reason, broken, text, next).await;
    }
    let large: Vec<u8> =
        (0..12_u32 << 20).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    charts.files("GitRepository", FIRST, &[("app", &large)]);
    charts
        .fails(
            "InvalidChartReference",
            "FetchFailed",
            "size of chart 'app' exceeds '10485760' bytes limit (--helm-chart-max-size)",
            Next::Never,
        )
        .await;
    assert_eq!(charts.pool.usage().reserved, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_come_from_the_artifact_and_from_repositories() {
    let (known, unknown) = (HelmServer::plain().unwrap(), HelmServer::plain().unwrap());
    known.login("me", "s3cret");
    for (server, name, version) in [(&known, "db", "1.2.0"), (&unknown, "web", "2.0.0")] {
        let index = format!(
            "apiVersion: v1\nentries:\n  {name}:\n  - {{name: {name}, version: {version}, urls: [x.tgz]}}\n"
        );
        server.file("/charts/index.yaml", index);
        server.file("/charts/x.tgz", chart(name, version));
    }
    let registry = Registry::plain().unwrap();
    registry.push("3.1.0_b.1", &[(CHART_LAYER, &chart("cache", "3.1.0+b.1"))], &json!({}));
    let mut charts = Charts::of_files("charts/app");
    charts.fixture.secret("login", &[("username", "me"), ("password", "s3cret")]);
    // Stored by another object: the index is not downloaded. The URL is the same, whatever it ends with.
    let url = format!("{}/charts/", known.url());
    charts.repository(
        &json!({ "url": url, "secretRef": { "name": "login" } }),
        "apiVersion: v1\nentries:\n  db:\n  - {name: db, version: 1.2.0, urls: [x.tgz]}\n",
    );
    let text = format!(
        "{CHART}dependencies:\n- {{name: db, version: ^1, repository: '{}/charts'}}\n- {{name: web, version: '>=1', repository: '{}/charts'}}\n- {{name: cache, alias: fast, version: 3.x, repository: '{}'}}\n- {{name: common, version: ~1.0, repository: 'file://../common'}}\n- {{name: own, version: '*', repository: ''}}\n",
        known.url(),
        unknown.url(),
        registry.url("org")
    );
    let files: Vec<(&str, &[u8])> = vec![
        ("charts/app/Chart.yaml", text.as_bytes()),
        ("charts/app/charts/own/Chart.yaml", b"name: own\nversion: 0.1.0\n"),
        ("charts/common/Chart.yaml", b"name: common\nversion: 1.0.5\ntype: library\n"),
        ("charts/common/templates/_x.tpl", b"x"),
    ];
    charts.files("GitRepository", FIRST, &files);
    charts.succeeds("packaged 'app' chart with version '1.0.0'").await;
    let below: Vec<String> = paths(&charts).into_iter().filter(|path| path.ends_with("Chart.yaml")).collect();
    assert_eq!(
        below,
        [
            "app/Chart.yaml",
            "app/charts/cache/Chart.yaml",
            "app/charts/common/Chart.yaml",
            "app/charts/db/Chart.yaml",
            "app/charts/own/Chart.yaml",
            "app/charts/web/Chart.yaml",
        ]
    );
    let calls = known.take_calls();
    assert_eq!(calls.iter().map(|call| call.target.as_str()).collect::<Vec<_>>(), ["/charts/x.tgz"]);
    assert!(calls[0].authorization.is_some(), "with the credentials of the repository");
    let calls = unknown.take_calls();
    let asked: Vec<_> =
        calls.iter().map(|call| (call.target.as_str(), call.authorization.is_none())).collect();
    assert_eq!(asked, [("/charts/index.yaml", true), ("/charts/x.tgz", true)]);
    assert_eq!(charts.pool.usage().reserved, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_that_cannot_be_added_are_named() {
    let server = HelmServer::plain().unwrap();
    let mut charts = Charts::of_files("charts/app");
    let missing = format!("{}/charts", server.url());
    let many: Vec<String> = (0..65).map(|number| format!("{{name: a{number}}}")).collect();
    for (dependencies, text) in [
        (
            "[{name: db, version: '1', repository: 'file://../../../etc'}]".to_owned(),
            "failed to add local dependency 'db': no chart found at '/etc' (reference 'file://../../../etc')",
        ),
        (
            "[{name: db, version: '1'}]".to_owned(),
            "failed to add local dependency 'db': no chart found at '/charts/app/charts/db' (reference '')",
        ),
        (
            "[{name: db, version: '>=2', repository: 'file://../db'}]".to_owned(),
            "can't get a valid version for constraint '>=2'",
        ),
        (
            "[{name: db, version: 'x y', repository: 'file://../db'}]".to_owned(),
            "invalid version/constraint format 'x y'",
        ),
        (
            "[{name: db, alias: d, version: '1', repository: '@stable'}]".to_owned(),
            "failed to add remote dependency 'd': failed to get chart repository for URL '…@stable': it has no scheme",
        ),
        (
            format!("[{{name: db, version: '1', repository: '{missing}'}}]"),
            "failed to get chart 'db' version '1' from",
        ),
        (
            "[{name: db, version: '1', repository: 'http://169.254.169.254/latest'}]".to_owned(),
            "--allow-link-local-addresses",
        ),
        (format!("[{}]", many.join(", ")), "the chart needs 65 further charts, the limit is 64"),
    ] {
        let chart = format!("{CHART}dependencies: {dependencies}\n");
        charts.files(
            "GitRepository",
            FIRST,
            &[
                ("charts/app/Chart.yaml", chart.as_bytes()),
                ("charts/db/Chart.yaml", b"name: db\nversion: 1.0.0\n"),
            ],
        );
        charts.fails("DependencyBuildError", "BuildFailed", text, Next::Backoff).await;
    }
    assert_eq!(charts.pool.usage().reserved, 0);
}
