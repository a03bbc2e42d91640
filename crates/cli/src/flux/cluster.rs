//! The only place that asks a cluster: for the Kustomization, and for the ConfigMaps and Secrets whose data are variables.
//! Nothing is ever written, and no message repeats a value.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::DynamicObject;
use kube::{Api, Client, Config};
use plumb_api::kustomize::{Kustomization, SourceKind, SubstituteReference};
use plumb_cluster::call;
use plumb_secrets::{Variables, read_variables};
use serde_json::Value;

/// Which Kustomization is wanted.
pub struct Wanted<'w> {
    /// Its name.
    pub name: &'w str,
    /// Its namespace.
    pub namespace: &'w str,
    /// It stands in a file: the one in the cluster must be there, but counts for nothing.
    pub from_file: Option<Kustomization>,
}

/// What a build needs beside the manifests.
#[derive(Debug)]
pub struct Gathered {
    /// The Kustomization.
    pub kustomization: Kustomization,
    /// The variables of `spec.postBuild.substituteFrom`.
    pub variables: BTreeMap<String, String>,
    /// Which reference each of them is from.
    pub origins: BTreeMap<String, String>,
    /// References that were not read, each with the reason.
    pub unread: Vec<String>,
    /// `spec.ignore` of the source.
    pub ignore: Option<String>,
    /// What else should be known.
    pub notes: Vec<String>,
}

impl Gathered {
    /// A Kustomization about which no cluster is asked.
    pub fn offline(kustomization: Kustomization) -> Self {
        Self {
            kustomization,
            variables: BTreeMap::new(),
            origins: BTreeMap::new(),
            unread: Vec::new(),
            ignore: None,
            notes: Vec::new(),
        }
    }
}

/// The references of a Kustomization to variables.
pub fn references(kustomization: &Kustomization) -> &[SubstituteReference] {
    kustomization.spec.post_build.as_ref().map_or(&[], |post_build| &post_build.substitute_from)
}

/// Asks the cluster for all that the build needs.
pub fn gather(wanted: Wanted<'_>, kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Gathered> {
    // Another provider can only have been installed by ourselves, and it would be the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime for calls to the cluster")?.block_on(async {
        let (client, server) = connect(kubeconfig, context).await?;
        let Wanted { name, namespace, from_file } = wanted;
        let api: Api<Kustomization> = Api::namespaced(client.clone(), namespace);
        let live = call(api.get(name)).await;
        let live =
            live.with_context(|| format!("cannot get Kustomization '{namespace}/{name}' from {server}"))?;
        let kustomization = from_file.unwrap_or(live);
        let mut gathered = Gathered::offline(kustomization);
        variables(&client, &mut gathered, namespace).await?;
        ignore(&client, &mut gathered, namespace).await;
        Ok(gathered)
    })
}

/// A client, and the address of its server.
async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<(Client, String)> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(file), _) => {
            let shown = file.display();
            if !file.exists() {
                bail!("kubeconfig '{shown}' does not exist: correct --kubeconfig");
            }
            let read =
                Kubeconfig::read_from(file).with_context(|| format!("cannot read kubeconfig '{shown}'"))?;
            Config::from_custom_kubeconfig(read, &options).await?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await?,
        (None, None) => {
            // Whoever works at a terminal is not in a pod: why that failed is not said.
            let no_cluster = |error: kube::config::InferConfigError| {
                let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                anyhow!(
                    "cannot find a cluster: {cause} (set --kubeconfig, or use --kustomization-file with --dry-run)"
                )
            };
            Config::infer().await.map_err(no_cluster)?
        }
    };
    // Whoever waits at a terminal hears of a failure at once.
    config.default_retry = false;
    let server = config.cluster_url.to_string();
    let client = Client::try_from(config).context("cannot prepare the connection to the cluster")?;
    Ok((client, server))
}

async fn variables(client: &Client, gathered: &mut Gathered, namespace: &str) -> Result<()> {
    let Variables { values, origins, missing } =
        read_variables(client, namespace, references(&gathered.kustomization)).await?;
    (gathered.variables, gathered.origins) = (values, origins);
    let missing = missing.into_iter();
    gathered.unread = missing
        .map(|reference| format!("{reference} is optional and not found in namespace '{namespace}'"))
        .collect();
    Ok(())
}

/// `spec.ignore` of the source. A source that cannot be read does not stop the build; it is a warning.
async fn ignore(client: &Client, gathered: &mut Gathered, namespace: &str) {
    let source = &gathered.kustomization.spec.source_ref;
    let kind = source.kind.as_str();
    if source.kind == SourceKind::ExternalArtifact {
        return;
    }
    let Some(resource) = plumb_api::resource(kind) else { return };
    let namespace = source.namespace_in(namespace);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let id = format!("{kind} '{namespace}/{}'", source.name);
    match call(api.get_opt(&source.name)).await {
        Ok(Some(object)) => {
            let ignore = object.data.pointer("/spec/ignore").and_then(Value::as_str);
            gathered.ignore = ignore.map(str::to_owned);
        }
        Ok(None) => gathered.notes.push(format!("{id} is not found: its spec.ignore is not known")),
        Err(error) => {
            gathered.notes.push(format!("{id} cannot be read, so its spec.ignore is not known: {error:#}"));
        }
    }
}
