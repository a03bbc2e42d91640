//! Our definitions on the API server: accepted, established, defaulted, and rejecting invalid objects.

use anyhow::{Context as _, Result};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use plumb_testkit::{install_crds, namespace, plane};
use serde_json::{Value, json};

const SOURCE: &str = "source.toolkit.fluxcd.io/v1";
const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io/v1";
const NOTIFICATION: &str = "notification.toolkit.fluxcd.io/v1";
const NOTIFICATION_BETA: &str = "notification.toolkit.fluxcd.io/v1beta3";

/// A namespace on the shared plane, with the definitions installed.
struct Bench {
    client: Client,
    namespace: String,
}

impl Bench {
    async fn new() -> Result<Self> {
        let client = plane().client().await?;
        install_crds(&client).await?;
        let namespace = namespace(&client, "definitions").await?;
        Ok(Self { client, namespace })
    }

    async fn create(&self, version: &str, kind: &str, spec: Value) -> kube::Result<Value> {
        let (group, short) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, short, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let object =
            json!({"apiVersion": version, "kind": kind, "metadata": {"generateName": "row-"}, "spec": spec});
        let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        // Nothing stays behind that a controller could find.
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let created = api.create(&parameters, &object).await?;
        serde_json::to_value(created).map_err(kube::Error::SerdeError)
    }

    async fn rejects(&self, version: &str, kind: &str, spec: Value, because: &str) -> Result<()> {
        let refused = self.create(version, kind, spec.clone()).await.err();
        let message = match refused.with_context(|| format!("{kind} {spec} is accepted"))? {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        };
        anyhow::ensure!(message.contains(because), "{kind} {spec}: {message}");
        Ok(())
    }
}

fn repository(more: Value) -> Value {
    merged(json!({"url": "https://example.com/app.git", "interval": "1m"}), &more)
}

fn kustomization(more: Value) -> Value {
    merged(
        json!({"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "app"}}),
        &more,
    )
}

fn receiver(more: Value) -> Value {
    let resources = json!([{"kind": "GitRepository", "name": "app"}]);
    merged(json!({"type": "generic-hmac", "resources": resources, "secretRef": {"name": "token"}}), &more)
}

/// The members of `more` over those of `object`; null removes one.
fn merged(mut object: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        object[&key] = value;
    }
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    object
}

#[tokio::test]
async fn the_least_that_a_kind_needs_is_accepted_and_defaulted() -> Result<()> {
    let bench = Bench::new().await?;
    let made = bench.create(SOURCE, "GitRepository", repository(json!({}))).await?;
    assert_eq!(made["spec"]["timeout"], "60s");
    assert_eq!(made["status"]["observedGeneration"], -1);
    let made = bench.create(KUSTOMIZE, "Kustomization", kustomization(json!({}))).await?;
    assert_eq!((&made["spec"]["force"], &made["status"]["observedGeneration"]), (&json!(false), &json!(-1)));
    let made = bench.create(NOTIFICATION, "Receiver", receiver(json!({}))).await?;
    assert_eq!(made["spec"]["interval"], "10m");
    let alert =
        json!({"providerRef": {"name": "chat"}, "eventSources": [{"kind": "Kustomization", "name": "*"}]});
    let made = bench.create(NOTIFICATION_BETA, "Alert", alert).await?;
    assert_eq!((&made["spec"]["eventSeverity"], &made["status"]), (&json!("info"), &Value::Null));
    bench.create(NOTIFICATION_BETA, "Provider", json!({"type": "slack"})).await?;
    Ok(())
}

#[tokio::test]
async fn unsupported_values_are_rejected_by_admission() -> Result<()> {
    let bench = Bench::new().await?;
    let git = |more| repository(more);
    bench.rejects(SOURCE, "GitRepository", git(json!({"url": "git@example.com:a/b"})), "spec.url").await?;
    bench.rejects(SOURCE, "GitRepository", git(json!({"interval": "soon"})), "spec.interval").await?;
    bench.rejects(SOURCE, "GitRepository", git(json!({"timeout": "1h"})), "spec.timeout").await?;
    bench.rejects(SOURCE, "GitRepository", git(json!({"timeout": "61m"})), "at most 1h").await?;
    bench.create(SOURCE, "GitRepository", git(json!({"timeout": "60m"}))).await?;
    bench
        .rejects(KUSTOMIZE, "Kustomization", kustomization(json!({"timeout": "1441m"})), "at most 24h")
        .await?;
    bench.create(KUSTOMIZE, "Kustomization", kustomization(json!({"timeout": "24h"}))).await?;
    bench.rejects(SOURCE, "GitRepository", git(json!({"provider": "gitlab"})), "spec.provider").await?;
    bench
        .rejects(SOURCE, "GitRepository", git(json!({"serviceAccountName": "x"})), "serviceAccountName")
        .await?;
    let ks = |more| kustomization(more);
    bench.rejects(KUSTOMIZE, "Kustomization", ks(json!({"prune": null})), "spec.prune").await?;
    bench
        .rejects(KUSTOMIZE, "Kustomization", ks(json!({"deletionPolicy": "Never"})), "deletionPolicy")
        .await?;
    bench.rejects(KUSTOMIZE, "Kustomization", ks(json!({"targetNamespace": ""})), "targetNamespace").await?;
    bench.rejects(KUSTOMIZE, "Kustomization", ks(json!({"kubeConfig": {}})), "kubeConfig").await?;
    bench
        .rejects(KUSTOMIZE, "Kustomization", ks(json!({"driftDetection": {"mode": "loud"}})), "mode")
        .await?;
    bench.rejects(NOTIFICATION, "Receiver", receiver(json!({"secretRef": null})), "secretRef").await?;
    bench.rejects(NOTIFICATION, "Receiver", receiver(json!({"type": "smoke-signal"})), "spec.type").await?;
    let provider = json!({"type": "slack", "commitStatusExpr": "'x'"});
    bench.rejects(NOTIFICATION_BETA, "Provider", provider, "commitStatusExpr").await?;
    Ok(())
}

#[tokio::test]
async fn our_additions_are_stored_not_pruned() -> Result<()> {
    let bench = Bench::new().await?;
    let made =
        bench.create(KUSTOMIZE, "Kustomization", kustomization(json!({"driftDetection": {"mode": "warn"}})));
    assert_eq!(made.await?["spec"]["driftDetection"]["mode"], "warn");
    Ok(())
}

#[tokio::test]
async fn every_kind_is_served_with_its_short_names_and_categories() -> Result<()> {
    let bench = Bench::new().await?;
    for (group, short, kind) in [
        ("source.toolkit.fluxcd.io", "gitrepo", "GitRepository"),
        ("source.toolkit.fluxcd.io", "ocirepo", "OCIRepository"),
        ("source.toolkit.fluxcd.io", "helmrepo", "HelmRepository"),
        ("source.toolkit.fluxcd.io", "hc", "HelmChart"),
        ("source.toolkit.fluxcd.io", "ea", "ExternalArtifact"),
        ("kustomize.toolkit.fluxcd.io", "ks", "Kustomization"),
    ] {
        let served = bench.client.list_api_group_resources(&format!("{group}/v1")).await?;
        let found = served.resources.iter().find(|one| one.kind == kind && !one.name.contains('/'));
        let found = found.with_context(|| format!("{kind} is not served"))?;
        assert!(
            found.short_names.iter().flatten().any(|name| name == short),
            "{kind}: {:?}",
            found.short_names
        );
        assert!(
            found.categories.iter().flatten().any(|name| name == "fluxcd"),
            "{kind}: {:?}",
            found.categories
        );
    }
    Ok(())
}
