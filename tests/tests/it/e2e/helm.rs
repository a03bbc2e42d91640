//! Charts of a Helm repository and of a Git repository, made, read and rendered by the stock commands of Helm and Flux.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use plumb_plane::ADMIN;
use plumb_testkit::{helm::HelmServer, peers};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{
    environment::Environment,
    seen::{is_ready, message, reason, text},
};

const VALUES: &str = "# of the chart\ngreeting: hello\nsettings: {mode: plain, size: 1}\n";
const PROD: &str = "settings: {mode: prod}\n";
const TEMPLATE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:\n  greeting: {{ .Values.greeting }}\n  mode: {{ .Values.settings.mode }}-{{ .Values.settings.size }}\n  version: {{ .Chart.Version | quote }}\n";

fn helm(home: &Path, arguments: &[&str]) -> Result<String> {
    block_in_place(|| peers::helm(home, arguments))
}

fn flux(environment: &Environment, arguments: &[&str]) -> Result<String> {
    let kubeconfig = plumb_testkit::plane().kubeconfig(ADMIN);
    let all = [&["--namespace", environment.namespace.as_str()], arguments].concat();
    block_in_place(|| peers::flux(&kubeconfig, &all))
}

fn chart(kind: &str, name: &str, fields: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart", "metadata": { "name": "web" },
        "spec": { "interval": "10m", "chart": "web", "sourceRef": { "kind": kind, "name": name } },
    });
    for (field, value) in fields.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

/// What a helm-controller reads of a HelmChart is there, and Helm renders what the URL of its artifact serves.
fn rendered(home: &Path, chart: &Value, revision: &str) -> Result<String> {
    let artifact = &chart["status"]["artifact"];
    ensure!(artifact["revision"] == revision, "{chart:#}");
    ensure!(text(chart, "/status/artifact/path").ends_with(&format!("/web-{revision}.tgz")), "{chart:#}");
    ensure!(text(chart, "/status/artifact/digest").starts_with("sha256:"), "{chart:#}");
    ensure!(artifact["size"].as_i64().is_some_and(|size| size > 0), "{chart:#}");
    ensure!(chart["status"]["observedChartName"] == "web", "{chart:#}");
    ensure!(chart["status"]["observedGeneration"] == chart["metadata"]["generation"], "{chart:#}");
    ensure!(chart["status"]["url"] == artifact["url"], "{chart:#}");
    helm(home, &["template", "release", text(chart, "/status/artifact/url")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_of_a_helm_repository_is_served_and_composed() -> Result<()> {
    if !peers::are_there() {
        return Ok(());
    }
    let environment = Environment::new("helm").await?;
    let (home, server) = (tempfile::tempdir()?, HelmServer::plain()?);
    let publish = |version: &str| -> Result<()> {
        let folder = home.path().join("web");
        fs::create_dir_all(folder.join("templates"))?;
        fs::write(folder.join("Chart.yaml"), format!("apiVersion: v2\nname: web\nversion: {version}\n"))?;
        for (file, content) in [("values.yaml", VALUES), ("prod.yaml", PROD), ("templates/x.yaml", TEMPLATE)]
        {
            fs::write(folder.join(file), content)?;
        }
        helm(home.path(), &["package", "web", "--destination", "served"])?;
        helm(home.path(), &["repo", "index", "served"])?;
        for entry in fs::read_dir(home.path().join("served"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            server.file(&format!("/{name}"), fs::read(entry.path())?);
        }
        Ok(())
    };
    publish("1.0.0")?;
    environment
        .create(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository", "metadata": { "name": "charts" },
            "spec": { "interval": "10m", "url": server.url() },
        }))
        .await?;
    environment.create(chart("HelmRepository", "charts", &json!({ "version": "1.x" }))).await?;
    let stored = environment.until("HelmChart", "web", "has an artifact", is_ready).await?;
    let manifest = rendered(home.path(), &stored, "1.0.0")?;
    ensure!(manifest.contains("mode: plain-1"), "{manifest}");
    let repository = environment.get("HelmRepository", "charts").await?;
    let index = &repository["status"]["artifact"]["revision"];
    ensure!(stored["status"]["observedSourceArtifactRevision"] == *index, "{stored:#}");
    let published = fs::read(home.path().join("served/web-1.0.0.tgz"))?;
    let digest = plumb_testkit::registry::digest(&published);
    ensure!(stored["status"]["artifact"]["digest"] == digest, "these are not the bytes of the chart");

    // A new index wakes the chart; the stock command waits for the echo and for Ready.
    publish("1.1.0")?;
    flux(&environment, &["reconcile", "source", "helm", "charts"])?;
    let newer = |seen: &Value| is_ready(seen) && text(seen, "/status/artifact/revision") == "1.1.0";
    environment.until("HelmChart", "web", "has the newer version", newer).await?;
    let values = json!({ "spec": { "valuesFiles": ["values.yaml", "prod.yaml"] } });
    environment.edit("HelmChart", "web", &values).await?;
    let packaged = |seen: &Value| is_ready(seen) && reason(seen, "Ready") == "ChartPackageSucceeded";
    let composed = environment.until("HelmChart", "web", "is packaged", packaged).await?;
    let revision = format!("1.1.0+{}", composed["metadata"]["generation"]);
    let manifest = rendered(home.path(), &composed, &revision)?;
    ensure!(manifest.contains("mode: prod-1") && manifest.contains("greeting: hello"), "{manifest}");
    ensure!(manifest.contains(&format!("version: \"{revision}\"")), "{manifest}");
    let said = format!(
        "packaged 'web' chart with version '{revision}' and merged values files [values.yaml prod.yaml]"
    );
    ensure!(message(&composed, "Ready") == said, "{}", message(&composed, "Ready"));
    environment.reported("ChartPackageSucceeded", &[said.as_str()]).await?;
    let shown = flux(&environment, &["reconcile", "source", "chart", "web"])?;
    ensure!(shown.contains(&format!("fetched revision {revision}")), "{shown}");
    let listed = flux(&environment, &["get", "sources", "chart"])?;
    ensure!(listed.contains(&revision) && listed.contains(&said), "{listed}");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_of_a_git_repository_follows_its_commits() -> Result<()> {
    if !peers::are_there() {
        return Ok(());
    }
    let environment = Environment::new("helm-git").await?;
    let home = tempfile::tempdir()?;
    let git = environment.git.repository("app")?;
    let needs = "dependencies:\n- {name: common, version: ~0.1, repository: 'file://../common'}\n";
    for (path, content) in [
        ("charts/web/Chart.yaml", format!("apiVersion: v2\nname: web\nversion: 1.0.0\n{needs}")),
        ("charts/web/values.yaml", VALUES.to_owned()),
        ("charts/web/.helmignore", "*.md\n".to_owned()),
        ("charts/web/README.md", "left out".to_owned()),
        ("charts/web/templates/x.yaml", TEMPLATE.to_owned()),
        ("charts/common/Chart.yaml", "apiVersion: v2\nname: common\nversion: 0.1.3\n".to_owned()),
        (
            "charts/common/templates/y.yaml",
            TEMPLATE.replace("settings}", "common}").replace(".settings", ".global.settings"),
        ),
        ("prod.yaml", "global: {settings: {mode: shared, size: 2}}\ngreeting: hola\n".to_owned()),
    ] {
        git.write(path, &content)?;
    }
    git.push("a chart")?;
    environment.create(environment.source("app")).await?;
    let fields = json!({
        "chart": "./charts/web", "reconcileStrategy": "Revision",
        "valuesFiles": ["charts/web/values.yaml", "prod.yaml", "none.yaml"], "ignoreMissingValuesFiles": true,
    });
    environment.create(chart("GitRepository", "app", &fields)).await?;
    let stored = environment.until("HelmChart", "web", "has an artifact", is_ready).await?;
    let version = |commit: &str| format!("1.0.0+{}.1", &commit[..12]);
    let commit = git.head()?;
    let manifest = rendered(home.path(), &stored, &version(&commit))
        .with_context(|| message(&stored, "Ready").to_owned())?;
    ensure!(manifest.contains("mode: plain-1") && manifest.contains("mode: shared-2"), "{manifest}");
    ensure!(stored["status"]["observedSourceArtifactRevision"] == git.revision()?, "{stored:#}");
    let merged = json!(["charts/web/values.yaml", "prod.yaml"]);
    ensure!(stored["status"]["observedValuesFiles"] == merged, "{stored:#}");

    // A commit wakes the chart by itself.
    git.replace("prod.yaml", "hola", "salut")?;
    environment.commit(&git, "another greeting").await?;
    let wanted = version(&git.head()?);
    let newer = |seen: &Value| is_ready(seen) && text(seen, "/status/artifact/revision") == wanted;
    let stored = environment.until("HelmChart", "web", "follows the commit", newer).await?;
    let manifest = rendered(home.path(), &stored, &wanted)?;
    ensure!(manifest.contains("greeting: salut"), "{manifest}");
    let shown = flux(&environment, &["reconcile", "source", "chart", "web"])?;
    ensure!(shown.contains(&format!("fetched revision {wanted}")), "{shown}");

    // A chart that breaks keeps its last artifact.
    git.write("charts/web/values.yaml", "[no, map]\n")?;
    environment.commit(&git, "broken values").await?;
    let failed = |seen: &Value| reason(seen, "Ready") == "ValuesFilesError";
    let seen = environment.until("HelmChart", "web", "fails", failed).await?;
    ensure!(seen["status"]["artifact"]["revision"] == wanted, "{seen:#}");
    ensure!(reason(&seen, "BuildFailed") == "ValuesFilesError", "{seen:#}");
    environment.close().await
}
