//! The only place that asks a cluster: for the Kustomization, and for the ConfigMaps and Secrets whose data are variables.
//! Nothing is ever written, and no message repeats a value.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use plumb_api::kustomize::{Kustomization, SubstituteKind, SubstituteReference};

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Which Kustomization is wanted.
pub struct Wanted<'w> {
    /// Its name.
    pub name: &'w str,
    /// Its namespace.
    pub namespace: &'w str,
    /// It stands in a file: the one in the cluster must be there, but counts for nothing.
    pub from_file: Option<Kustomization>,
}

/// Asks the cluster for all that the build needs.
pub fn gather(
    wanted: Wanted<'_>,
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<(Kustomization, BTreeMap<String, String>)> {
    // Another provider can only have been installed by ourselves, and it would be the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime for calls to the cluster")?.block_on(async {
        let client = connect(kubeconfig, context).await?;
        let Wanted { name, namespace, from_file } = wanted;
        let api: Api<Kustomization> = Api::namespaced(client.clone(), namespace);
        let live = call(api.get(name)).await;
        let live = live.with_context(|| format!("cannot get Kustomization '{namespace}/{name}'"))?;
        let kustomization = from_file.unwrap_or(live);
        let variables = variables(&client, &kustomization, namespace).await?;
        Ok((kustomization, variables))
    })
}

async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(file), _) => {
            let shown = file.display();
            let read =
                Kubeconfig::read_from(file).with_context(|| format!("cannot read kubeconfig '{shown}'"))?;
            Config::from_custom_kubeconfig(read, &options).await?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await?,
        (None, None) => {
            Config::infer().await.context("cannot find a cluster: set --kubeconfig, or use --dry-run")?
        }
    };
    // Who waits at a desk is told at once.
    config.default_retry = false;
    Client::try_from(config).context("cannot prepare the connection to the cluster")
}

/// A later reference wins over an earlier one.
async fn variables(
    client: &Client,
    kustomization: &Kustomization,
    namespace: &str,
) -> Result<BTreeMap<String, String>> {
    let post_build = kustomization.spec.post_build.as_ref();
    let references = post_build.map_or(&[][..], |post_build| &post_build.substitute_from);
    let mut all = BTreeMap::new();
    for SubstituteReference { kind, name, optional } in references {
        let read = match kind {
            SubstituteKind::ConfigMap => of_config_map(client, namespace, name).await,
            SubstituteKind::Secret => of_secret(client, namespace, name).await,
        };
        let reference = format!("{}/{name}", kind.as_str());
        match read.with_context(|| format!("substitute from '{reference}'"))? {
            Some(read) => all.extend(read),
            None if *optional => {}
            None => {
                return Err(anyhow!("substitute from '{reference}': not found in namespace '{namespace}'"));
            }
        }
    }
    Ok(all)
}

async fn of_config_map(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = call(api.get_opt(name)).await?;
    Ok(found.map(|found| found.data.unwrap_or_default()))
}

async fn of_secret(client: &Client, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, String>>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let Some(found) = call(api.get_opt(name)).await? else { return Ok(None) };
    let texts = found.data.unwrap_or_default().into_iter().map(|(key, value)| {
        let text =
            String::from_utf8(value.0).map_err(|_| anyhow!("the value of key '{key}' is not UTF-8"))?;
        Ok((key, text))
    });
    texts.collect::<Result<_>>().map(Some)
}

async fn call<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(anyhow!("the cluster did not answer within {CALL_TIMEOUT:?}")),
    }
}
