//! The real control plane that the tests of a process share, and what they put into it.

use std::{sync::OnceLock, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::wait::{await_condition, conditions},
};
use plumb_plane::{Plane, PlaneOptions};
use serde_json::json;

/// The field manager of everything that tests write.
pub const MANAGER: &str = "plumb-testkit";
/// How long a definition may take to be served.
const ESTABLISHED_MAX: Duration = Duration::from_secs(30);

/// The plane of this test process: the one that `cargo xtask test` passes on, else one of its own.
/// It ends with the process.
///
/// # Panics
/// If there is no plane: no test can continue without it.
pub fn plane() -> &'static Plane {
    static PLANE: OnceLock<Plane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let borrowed = Plane::from_env().expect("the plane that the environment names can be used");
        let progress = |line: &str| eprintln!("plane: {line}");
        let options = PlaneOptions { audit: true, progress, ..PlaneOptions::default() };
        borrowed.unwrap_or_else(|| Plane::start(&options).expect("a control plane starts"))
    })
}

/// A new namespace with a name of its own. It ends with the plane.
pub async fn namespace(client: &Client, prefix: &str) -> Result<String> {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{prefix}-{}", &unique[..8]);
    let made = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &made).await?;
    Ok(name)
}

/// Installs our definitions and waits until they are served. Calling it twice is harmless.
pub async fn install_crds(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut names = Vec::new();
    for (file, definition) in plumb_api::crd::all() {
        let name = definition["metadata"]["name"].as_str().context("a definition has a name")?.to_owned();
        let parameters = PatchParams::apply(MANAGER).force();
        let applied = definitions.patch(&name, &parameters, &Patch::Apply(&definition)).await;
        applied.with_context(|| format!("the API server rejected {file}"))?;
        names.push(name);
    }
    for name in names {
        let established = await_condition(definitions.clone(), &name, conditions::is_crd_established());
        let waited = tokio::time::timeout(ESTABLISHED_MAX, established).await;
        waited.with_context(|| format!("{name} is not established"))??;
    }
    Ok(())
}
