//! Artifacts that are composed from a Git repository and a registry, one for each directory, and applied.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use plumb_testkit::{
    controllers::{ControllersOptions, KUSTOMIZE},
    peers,
    sink::Sink,
};
use serde_json::{Value, json};

use super::{
    environment::Environment,
    oci,
    seen::{is_ready, text},
};

fn config(name: &str, greeting: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{greeting: {greeting}}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_become_artifacts_that_are_applied_and_followed() -> Result<()> {
    if !peers::are_there() {
        return Ok(());
    }
    let gate = vec!["--feature-gates=ExternalArtifact=true".to_owned()];
    let options = |events| ControllersOptions {
        flags: BTreeMap::from([(KUSTOMIZE, gate)]),
        ..ControllersOptions::with_sink(events)
    };
    let environment = Environment::started("generator", Sink::start()?, options).await?;
    let repository = environment.git.repository("app")?;
    repository.write("apps/web/settings.yaml", &config("web", "hello"))?;
    repository.write("apps/api/settings.yaml", &config("api", "hello"))?;
    repository.push("Begin")?;
    environment.create(environment.source("app")).await?;
    let registry = oci::registry(false)?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("shared.yaml"), config("shared", "all"))?;
    oci::push(&environment, &registry, "1.0.0", folder.path(), &"1".repeat(40))?;
    environment.create(oci::repository(&registry, "apps", &json!({ "ref": { "tag": "1.0.0" } }))).await?;
    environment
        .create(json!({
            "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
            "metadata": { "name": "apps" },
            "spec": {
                "sources": [
                    { "alias": "repo", "kind": "GitRepository", "name": "app" },
                    { "alias": "shared", "kind": "OCIRepository", "name": "app" },
                ],
                "pathPattern": "@repo/apps/{app}",
                "artifacts": [{ "name": "app-{app}", "revision": "@repo", "copy": [
                    { "from": "@repo/apps/{app}/**", "to": "@artifact/" },
                    { "from": "@shared/*.yaml", "to": "@artifact/shared/" },
                ] }],
            },
        }))
        .await?;
    let first = repository.revision()?;
    let is_of = |seen: &Value, revision: &str| text(seen, "/status/artifact/revision") == revision;
    let web = environment
        .until("ExternalArtifact", "app-web", "has an artifact", |seen| is_of(seen, &first))
        .await
        .with_context(|| registry.log())?;
    ensure!(web["metadata"]["labels"]["app"] == "web", "{web:#}");
    environment.until("ExternalArtifact", "app-api", "has an artifact", |seen| is_of(seen, &first)).await?;
    environment.until("ArtifactGenerator", "apps", "is ready", is_ready).await?;
    let fields = json!({ "sourceRef": { "kind": "ExternalArtifact", "name": "app-web" }, "path": "./" });
    environment.create(environment.kustomization("web", &fields)).await?;
    environment.applied("web", &first).await?;
    ensure!(environment.get("ConfigMap", "shared").await?["data"]["greeting"] == "all", "not composed");
    ensure!(environment.find("ConfigMap", "api").await?.is_none(), "it is of the other directory");

    repository.write("apps/web/settings.yaml", &config("web", "hola"))?;
    repository.remove("apps/api/settings.yaml")?;
    let second = environment.commit(&repository, "Greet otherwise, without an API").await?;
    environment.applied("web", &second).await?;
    ensure!(environment.get("ConfigMap", "web").await?["data"]["greeting"] == "hola", "not followed");
    environment.gone("ExternalArtifact", "app-api").await?;
    environment.close().await
}
