//! Objects of a bucket, followed by the stock command of Flux.

use anyhow::{Result, ensure};
use plumb_plane::ADMIN;
use plumb_testkit::{
    bucket::{BUCKET, ObjectStore},
    peers,
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{
    environment::Environment,
    seen::{is_ready, message, reason, text},
};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {greeting: hello}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_applied_and_followed() -> Result<()> {
    if !peers::are_there() {
        return Ok(());
    }
    let environment = Environment::new("bucket").await?;
    let store = ObjectStore::plain()?;
    store.login("Credential=key-id/");
    store.put("production/settings.yaml", CONFIG.as_bytes());
    store.put("production/README.md", b"no manifest");
    store.put("staging/broken.yaml", b"{");
    store.put(".sourceignore", b"*.md\n");
    let bucket = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "Bucket", "metadata": { "name": "app" },
        "spec": {
            "interval": "10m", "endpoint": store.address().to_string(), "bucketName": BUCKET, "insecure": true,
            "prefix": "production/",
        },
    });
    environment.create(bucket).await?;
    let rejected = |seen: &Value| reason(seen, "Ready") == "BucketOperationFailed";
    let failed = environment.until("Bucket", "app", "is rejected", rejected).await?;
    ensure!(message(&failed, "Ready").contains("status 403 AccessDenied"), "{}", message(&failed, "Ready"));
    let keys = json!({ "accesskey": "key-id", "secretkey": "secret" });
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "keys" }, "stringData": keys });
    environment.create(secret).await?;
    environment.edit("Bucket", "app", &json!({ "spec": { "secretRef": { "name": "keys" } } })).await?;
    let stored = environment.until("Bucket", "app", "has an artifact", is_ready).await?;
    let revision = text(&stored, "/status/artifact/revision").to_owned();
    let fields = json!({ "sourceRef": { "kind": "Bucket", "name": "app" }, "path": "./production" });
    environment.create(environment.kustomization("app", &fields)).await?;
    environment.applied("app", &revision).await?;

    store.put("production/settings.yaml", CONFIG.replace("hello", "hola").as_bytes());
    let flux = |arguments: &[&str]| {
        let kubeconfig = plumb_testkit::plane().kubeconfig(ADMIN);
        let all = [&["--namespace", environment.namespace.as_str()], arguments].concat();
        block_in_place(|| peers::flux(&kubeconfig, &all))
    };
    // The stock command annotates, waits for the echo and for Ready, and shows the revision.
    let shown = flux(&["reconcile", "source", "bucket", "app"])?;
    ensure!(shown.contains("fetched revision sha256:") && !shown.contains(&revision), "{shown}");
    let says = |seen: &Value| seen["data"]["greeting"] == "hola";
    environment.until("ConfigMap", "settings", "says hola", says).await?;
    environment.reported("NewArtifact", &["stored artifact with 1 fetched files from 'apps' bucket"]).await?;
    let listed = flux(&["get", "sources", "bucket"])?;
    ensure!(listed.contains("stored artifact: revision 'sha256:"), "{listed}");
    environment.close().await
}
