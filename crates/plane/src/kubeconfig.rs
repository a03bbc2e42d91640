//! Kubeconfig files, one per user, and clients made from them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

/// Writes the kubeconfig of one user. JSON is YAML, so every reader of kubeconfigs takes it.
pub fn write(file: &Path, server: &str, ca: &Path, user: &str, token: &str) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "plumb", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "plumb", "context": {"cluster": "plumb", "user": user}}],
        "current-context": "plumb",
    });
    fs::write(file, format!("{config:#}\n")).with_context(|| format!("cannot write {}", file.display()))
}

/// A client for a kubeconfig file. It belongs to the tokio runtime that it is made in.
pub async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let read = Kubeconfig::read_from(kubeconfig);
    let read = read.with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}
