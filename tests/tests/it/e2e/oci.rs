//! Artifacts of a real container registry, pushed by the stock commands of Flux and Helm.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use plumb_plane::ADMIN;
use plumb_testkit::peers::{self, LOGIN, RegistryProcess};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{
    environment::Environment,
    seen::{is_ready, message, reason, text},
};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {greeting: hello}\n";
const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

pub(super) fn registry(login: bool) -> Result<RegistryProcess> {
    block_in_place(|| RegistryProcess::start(login))
}

/// Runs `flux` in the namespace of a test.
fn flux(environment: &Environment, arguments: &[&str]) -> Result<String> {
    let kubeconfig = plumb_testkit::plane().kubeconfig(ADMIN);
    let all = [&["--namespace", environment.namespace.as_str()], arguments].concat();
    block_in_place(|| peers::flux(&kubeconfig, &all))
}

/// `flux push artifact` of a folder, as a pipeline does it.
pub(super) fn push(
    environment: &Environment,
    registry: &RegistryProcess,
    tag: &str,
    folder: &Path,
    commit: &str,
) -> Result<String> {
    let (url, folder) = (format!("{}:{tag}", registry.url("apps")), folder.display().to_string());
    let revision = format!("--revision=main@sha1:{commit}");
    let creds = format!("--creds={}:{}", LOGIN.0, LOGIN.1);
    let arguments =
        ["push", "artifact", &url, "--path", &folder, "--source=https://git.example/apps", &revision, &creds];
    flux(environment, &arguments)
}

pub(super) fn repository(registry: &RegistryProcess, path: &str, fields: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": { "name": "app" },
        "spec": { "interval": "10m", "url": registry.url(path) },
    });
    for (field, value) in fields.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn what_flux_pushes_is_applied_and_followed() -> Result<()> {
    if !peers::are_there() {
        return Ok(());
    }
    let environment = Environment::new("oci").await?;
    let registry = registry(true)?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("settings.yaml"), CONFIG)?;
    let commit = |digit: &str| digit.repeat(40);
    push(&environment, &registry, "1.0.0", folder.path(), &commit("1"))?;
    let config =
        json!({ "auths": { registry.address().to_string(): { "username": LOGIN.0, "password": LOGIN.1 } } });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pull" }, "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": config.to_string() },
    });
    environment.create(repository(&registry, "apps", &json!({ "ref": { "semver": ">=1.0.0" } }))).await?;
    let refused = |seen: &Value| reason(seen, "Ready") == "ReadOperationFailed";
    let failed = environment.until("OCIRepository", "app", "is refused", refused).await;
    let failed = failed.with_context(|| registry.log())?;
    ensure!(message(&failed, "Ready").contains("spec.secretRef"), "{}", message(&failed, "Ready"));
    environment.create(secret).await?;
    environment.edit("OCIRepository", "app", &json!({ "spec": { "secretRef": { "name": "pull" } } })).await?;
    let stored = environment.until("OCIRepository", "app", "has an artifact", is_ready).await?;
    let revision = text(&stored, "/status/artifact/revision").to_owned();
    ensure!(revision.starts_with("1.0.0@sha256:"), "{revision}");
    let fields = json!({ "sourceRef": { "kind": "OCIRepository", "name": "app" }, "path": "./" });
    environment.create(environment.kustomization("app", &fields)).await?;
    let applied = environment.applied("app", &revision).await?;
    let origin = |digit: &str| format!("main@sha1:{}", commit(digit));
    ensure!(applied["status"]["lastAppliedOriginRevision"] == origin("1"), "{applied:#}");

    fs::write(folder.path().join("settings.yaml"), CONFIG.replace("hello", "hola"))?;
    push(&environment, &registry, "1.1.0", folder.path(), &commit("2"))?;
    // The stock command annotates, waits for the echo and for Ready, and shows the revision.
    let shown = flux(&environment, &["reconcile", "source", "oci", "app"])?;
    ensure!(shown.contains("fetched revision 1.1.0@sha256:"), "{shown}");
    let says = |seen: &Value| seen["data"]["greeting"] == "hola";
    environment.until("ConfigMap", "settings", "says hola", says).await?;
    environment
        .reported("NewArtifact", &["1.1.0@sha256:", "origin source 'https://git.example/apps'", &origin("2")])
        .await?;
    let listed = flux(&environment, &["get", "sources", "oci"])?;
    ensure!(listed.contains("stored artifact for digest '1.1.0@sha256:"), "{listed}");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_that_helm_pushes_is_copied_byte_by_byte() -> Result<()> {
    if !peers::are_there() {
        return Ok(());
    }
    let environment = Environment::new("oci-chart").await?;
    let registry = registry(false)?;
    let home = tempfile::tempdir()?;
    let chart = home.path().join("web");
    fs::create_dir_all(chart.join("templates"))?;
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: web\nversion: 6.5.4+build.1\n")?;
    fs::write(chart.join("templates/settings.yaml"), CONFIG)?;
    let helm = |arguments: &[&str]| block_in_place(|| peers::helm(home.path(), arguments));
    helm(&["package", "web"])?;
    let packaged = fs::read(home.path().join("web-6.5.4+build.1.tgz"))?;
    helm(&["push", "web-6.5.4+build.1.tgz", &registry.url("charts"), "--plain-http"])?;
    let fields = json!({
        "ref": { "semver": "6.x" }, "layerSelector": { "mediaType": CHART_LAYER, "operation": "copy" },
    });
    environment.create(repository(&registry, "charts/web", &fields)).await?;
    let stored = environment.until("OCIRepository", "app", "has an artifact", is_ready).await;
    let stored = stored.with_context(|| registry.log())?;
    ensure!(text(&stored, "/status/artifact/revision").starts_with("6.5.4_build.1@sha256:"), "{stored:#}");
    let digest = plumb_testkit::registry::digest(&packaged);
    ensure!(
        stored["status"]["artifact"]["digest"] == digest,
        "these are not the bytes of the chart: {stored:#}"
    );
    let rendered = helm(&["template", text(&stored, "/status/artifact/url")])?;
    ensure!(rendered.contains("greeting: hello"), "{rendered}");
    environment.close().await
}
