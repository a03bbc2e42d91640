//! The repositories and objects of the load test.

use std::{ops::ControlFlow, time::Duration};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, PostParams},
};
use plumb_testkit::{controllers, gitserver::GitServer, kinds, repository::BRANCH, wait::Wait};
use serde_json::{Value, json};

/// Where the managed objects are.
pub const NAMESPACE: &str = "load";
/// The field that is edited, and its value in Git.
pub const FIELD: &str = "greeting";
pub const DESIRED: &str = "hello";
/// What webhooks are signed with.
pub const TOKEN: &str = "load-token";

/// How long everything may take to be Ready.
const READY_MAX: Duration = Duration::from_mins(15);
const POLL: Duration = Duration::from_secs(1);
/// How many objects are created at a time.
const CREATES: usize = 8;
/// The name of the n-th managed object.
pub fn map_name(number: u32) -> String {
    format!("map-{number:06}")
}

/// Definitions and namespaces.
pub async fn prepare(client: &Client) -> Result<()> {
    plumb_testkit::install_crds(client).await?;
    for name in [controllers::NAMESPACE, NAMESPACE] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let api: Api<DynamicObject> = Api::all_with(client.clone(), kinds::resource("Namespace")?);
        api.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
    }
    Ok(())
}

/// One repository for each source, with its share of the objects; returns name and URL of each.
pub fn push(git: &GitServer, sources: u32, objects: u32) -> Result<Vec<(String, String)>> {
    let mut pushed = Vec::new();
    for source in 0..sources {
        let name = format!("app-{source:04}");
        let repository = git.repository(&name)?;
        let own = (0..objects).filter(|number| number % sources == source);
        let maps = own.map(|number| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": map_name(number)}, "data": {FIELD: DESIRED},
            })
        });
        let documents: Vec<_> = maps.map(|map| map.to_string()).collect();
        repository.write("maps.yaml", &documents.join("\n---\n"))?;
        repository.push("the objects")?;
        let url = git.url(&name);
        pushed.push((name, url));
    }
    Ok(pushed)
}

/// Creates sources, Kustomizations, Receivers and the alert, and waits until all are Ready; returns the webhooks' paths.
pub async fn create(client: &Client, repositories: &[(String, String)], sink: &str) -> Result<Vec<String>> {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": TOKEN}});
    api(client, "Secret")?.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let mut objects = vec![
        kinds::object("Provider", "sink", &json!({"type": "generic", "address": format!("{sink}/notify")}))?,
        kinds::object(
            "Alert",
            "all",
            &json!({
                "providerRef": {"name": "sink"}, "eventSeverity": "info",
                "eventSources": [{"kind": "Kustomization", "name": "*"}],
            }),
        )?,
    ];
    for (name, url) in repositories {
        objects.push(kinds::object(
            "GitRepository",
            name,
            &json!({"interval": "10m", "url": url, "ref": {"branch": BRANCH}}),
        )?);
        objects.push(kinds::object(
            "Kustomization",
            name,
            &json!({
                "interval": "10m", "prune": true, "path": "./", "targetNamespace": NAMESPACE,
                "sourceRef": {"kind": "GitRepository", "name": name}, "driftDetection": {"mode": "enabled"},
            }),
        )?);
        objects.push(kinds::object(
            "Receiver",
            name,
            &json!({
                "type": "generic-hmac", "secretRef": {"name": "token"},
                "resources": [{"kind": "GitRepository", "name": name}],
            }),
        )?);
    }
    let creates = stream::iter(objects).map(|object| async move {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let made = api(client, &kind)?.create(&PostParams::default(), &serde_json::from_value(object)?).await;
        made.map(drop).with_context(|| format!("cannot create a {kind}"))
    });
    creates.buffer_unordered(CREATES).try_collect::<()>().await?;
    for kind in ["GitRepository", "Kustomization", "Receiver"] {
        ready(client, kind, repositories.len()).await?;
    }
    let receivers = api(client, "Receiver")?.list(&ListParams::default()).await?;
    let path = |one: &DynamicObject| one.data["status"]["webhookPath"].as_str().map(str::to_owned);
    receivers.iter().map(path).collect::<Option<_>>().context("a Receiver has no path")
}

async fn ready(client: &Client, kind: &str, wanted: usize) -> Result<()> {
    let api = api(client, kind)?;
    let wait = Wait::until(format!("{wanted} {kind} are Ready"), READY_MAX).every(POLL);
    wait.poll(async || {
        let all = api.list(&ListParams::default()).await?;
        let (ready, others): (Vec<_>, Vec<_>) = all.iter().partition(|object| is_ready(&object.data));
        let status = others.first().map(|object| object.data["status"].to_string());
        let state = format!("{} are Ready; one that is not: {status:?}", ready.len());
        Ok(if ready.len() == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(state) })
    })
    .await
}

fn is_ready(object: &Value) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn api(client: &Client, kind: &str) -> Result<Api<DynamicObject>> {
    kinds::namespaced(client, kind, controllers::NAMESPACE)
}
