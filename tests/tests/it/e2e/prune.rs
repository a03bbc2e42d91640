//! Objects that are removed from the source are deleted from the cluster, with the exceptions of the spec and annotations.

use anyhow::Result;
use serde_json::json;

use super::{
    environment::Environment,
    sample::config_map,
    seen::{inventory, uid},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_file_removes_its_object() -> Result<()> {
    let environment = Environment::new("prune").await?;
    let app = environment.app("enabled").await?;
    app.repository.write("deploy/other.yaml", &config_map("other", "new"))?;
    let second = environment.commit(&app.repository, "one more").await?;
    assert_eq!(inventory(&environment.applied("app", &second).await?).len(), 3);
    let kept = environment.get("ConfigMap", "settings").await?;
    app.repository.remove("deploy/other.yaml")?;
    let third = environment.commit(&app.repository, "one less").await?;
    assert_eq!(inventory(&environment.applied("app", &third).await?).len(), 2);
    environment.gone("ConfigMap", "other").await?;
    let still = environment.get("ConfigMap", "settings").await?;
    assert_eq!(still["metadata"]["resourceVersion"], kept["metadata"]["resourceVersion"]);
    // A deletion because of Git is not drift.
    assert_eq!(environment.events("DriftCorrected").await?, Vec::<String>::new());
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_owner_or_is_protected_is_not_pruned() -> Result<()> {
    let environment = Environment::new("others").await?;
    let app = environment.app("warn").await?;
    let files = ["deploy/taken.yaml", "deploy/protected.yaml"];
    app.repository.write(files[0], &config_map("taken", "a"))?;
    let protection = "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}\n";
    app.repository.write(files[1], &config_map("protected", "a").replace("metadata:\n", protection))?;
    let second = environment.commit(&app.repository, "two more").await?;
    environment.applied("app", &second).await?;
    let owner = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "another"}}});
    let taken = environment.edit("ConfigMap", "taken", &owner).await?;
    for file in files {
        app.repository.remove(file)?;
    }
    let third = environment.commit(&app.repository, "two less").await?;
    assert_eq!(inventory(&environment.applied("app", &third).await?).len(), 2);
    let still = environment.stays("ConfigMap", "taken", "stays", |seen| uid(seen) == uid(&taken)).await?;
    assert_eq!(still["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"], "another");
    environment.get("ConfigMap", "protected").await?;
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_moves_to_another_kustomization_survives() -> Result<()> {
    let environment = Environment::new("moved").await?;
    let app = environment.app("enabled").await?;
    let before = environment.get("ConfigMap", "settings").await?;
    let text = app.repository.read("deploy/settings.yaml")?;
    app.repository.write("second/settings.yaml", &text)?;
    app.repository.remove("deploy/settings.yaml")?;
    environment.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    let moved = environment.commit(&app.repository, "moved").await?;
    environment.create(environment.kustomization("second", &json!({"path": "./second"}))).await?;
    environment.applied("second", &moved).await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"suspend": false}})).await?;
    environment.applied("app", &moved).await?;
    let after = environment.stays("ConfigMap", "settings", "stays", |seen| uid(seen) == uid(&before)).await?;
    assert_eq!(after["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"], "second");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_prune_everything_stays() -> Result<()> {
    let environment = Environment::new("no-prune").await?;
    let app = environment.app("enabled").await?;
    environment.edit("Kustomization", "app", &json!({"spec": {"prune": false}})).await?;
    app.repository.remove("deploy/settings.yaml")?;
    let second = environment.commit(&app.repository, "one less").await?;
    environment.applied("app", &second).await?;
    environment.stays("ConfigMap", "settings", "stays", |_| true).await?;
    environment.close().await
}
