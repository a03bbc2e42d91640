//! What leaves the source leaves the cluster, unless somebody says otherwise.

use anyhow::Result;
use serde_json::json;

use super::{
    cluster::Stand,
    sample::config_map,
    seen::{inventory, uid},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_removed_takes_its_object_along() -> Result<()> {
    let stand = Stand::new("prune").await?;
    let app = stand.app("enabled").await?;
    app.repository.write("deploy/other.yaml", &config_map("other", "new"))?;
    let second = stand.commit(&app.repository, "one more").await?;
    assert_eq!(inventory(&stand.applied("app", &second).await?).len(), 3);
    let kept = stand.get("ConfigMap", "settings").await?;
    app.repository.remove("deploy/other.yaml")?;
    let third = stand.commit(&app.repository, "one less").await?;
    assert_eq!(inventory(&stand.applied("app", &third).await?).len(), 2);
    stand.gone("ConfigMap", "other").await?;
    let still = stand.get("ConfigMap", "settings").await?;
    assert_eq!(still["metadata"]["resourceVersion"], kept["metadata"]["resourceVersion"]);
    // A deletion that Git asks for is not drift.
    assert_eq!(stand.events("DriftCorrected").await?, Vec::<String>::new());
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_owner_or_is_protected_is_not_pruned() -> Result<()> {
    let stand = Stand::new("others").await?;
    let app = stand.app("warn").await?;
    let files = ["deploy/taken.yaml", "deploy/protected.yaml"];
    app.repository.write(files[0], &config_map("taken", "a"))?;
    let protection = "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}\n";
    app.repository.write(files[1], &config_map("protected", "a").replace("metadata:\n", protection))?;
    let second = stand.commit(&app.repository, "two more").await?;
    stand.applied("app", &second).await?;
    let owner = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "another"}}});
    let taken = stand.edit("ConfigMap", "taken", &owner).await?;
    for file in files {
        app.repository.remove(file)?;
    }
    let third = stand.commit(&app.repository, "two less").await?;
    assert_eq!(inventory(&stand.applied("app", &third).await?).len(), 2);
    let still = stand.stays("ConfigMap", "taken", "stays", |seen| uid(seen) == uid(&taken)).await?;
    assert_eq!(still["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"], "another");
    stand.get("ConfigMap", "protected").await?;
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_moves_to_another_kustomization_survives() -> Result<()> {
    let stand = Stand::new("moved").await?;
    let app = stand.app("enabled").await?;
    let before = stand.get("ConfigMap", "settings").await?;
    let text = app.repository.read("deploy/settings.yaml")?;
    app.repository.write("second/settings.yaml", &text)?;
    app.repository.remove("deploy/settings.yaml")?;
    stand.edit("Kustomization", "app", &json!({"spec": {"suspend": true}})).await?;
    let moved = stand.commit(&app.repository, "moved").await?;
    stand.create(stand.kustomization("second", &json!({"path": "./second"}))).await?;
    stand.applied("second", &moved).await?;
    stand.edit("Kustomization", "app", &json!({"spec": {"suspend": false}})).await?;
    stand.applied("app", &moved).await?;
    let after = stand.stays("ConfigMap", "settings", "stays", |seen| uid(seen) == uid(&before)).await?;
    assert_eq!(after["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"], "second");
    stand.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_prune_everything_stays() -> Result<()> {
    let stand = Stand::new("no-prune").await?;
    let app = stand.app("enabled").await?;
    stand.edit("Kustomization", "app", &json!({"spec": {"prune": false}})).await?;
    app.repository.remove("deploy/settings.yaml")?;
    let second = stand.commit(&app.repository, "one less").await?;
    stand.applied("app", &second).await?;
    stand.stays("ConfigMap", "settings", "stays", |_| true).await?;
    stand.close().await
}
