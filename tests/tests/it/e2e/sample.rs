//! The repository that most tests begin with: one ConfigMap and one Deployment of three.

use anyhow::Result;
use plumb_testkit::repository::Repository;
use serde_json::json;

use super::environment::Environment;

/// The ConfigMap `settings`.
pub const SETTINGS: &str = "deploy/settings.yaml";
/// The Deployment `web`.
pub const WEB: &str = "deploy/web.yaml";

const WEB_YAML: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: example.com/web:1.0.0
";

/// A repository that is fetched and applied.
pub struct App {
    /// The repository.
    pub repository: Repository,
    /// The revision of its first commit.
    pub revision: String,
}

/// A ConfigMap with one value.
pub fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  greeting: {value}\n  mode: plain\n"
    )
}

impl Environment {
    /// A repository with the sample in it, pushed.
    pub fn sample(&self, name: &str) -> Result<Repository> {
        let repository = self.git.repository(name)?;
        repository.write(SETTINGS, &config_map("settings", "hello"))?;
        repository.write(WEB, WEB_YAML)?;
        repository.push("first")?;
        Ok(repository)
    }

    /// The sample, fetched by the GitRepository `app` and applied by the Kustomization `app` in this mode of drift detection.
    pub async fn app(&self, mode: &str) -> Result<App> {
        let repository = self.sample("app")?;
        let revision = repository.revision()?;
        self.create(self.source("app")).await?;
        self.create(self.kustomization("app", &json!({"driftDetection": {"mode": mode}}))).await?;
        self.applied("app", &revision).await?;
        Ok(App { repository, revision })
    }
}
