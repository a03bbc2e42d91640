//! kustomize-controller: artifacts in, a cluster that is as they say. Flags are read once, the kind is installed, the
//! runtime runs it. What the kind does never enters.

mod event_sink;
mod kind;
mod kustomization;
#[cfg(test)]
mod moves;
mod options;
mod references;
#[cfg(test)]
mod scenarios;
mod schema;
mod source_ref;
mod sources;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use plumb_cluster::Cluster;
use plumb_drift::rules::Tools;
use plumb_drift::{DriftDeps, DriftLoop, DriftMetrics};
use plumb_fetch::{DownloadRetries, FetchLimits, Fetcher, HostPolicy, cluster_domains};
use plumb_planning::fingerprint::HashKey;
use plumb_runtime::{BoxError, ControllerOptions as _, Runtime};

use crate::event_sink::KustomizationEvents;
use crate::kind::{Kustomizations, wake_by_source};
use crate::kustomization::{
    Context,
    build::Builds,
    claims::{Holds, Scope},
    health::Healthy,
    threads::BuildThreads,
    validate::Rules,
    warnings::ReportedWarnings,
};
use crate::options::{EXTERNAL_ARTIFACT, Options};
use crate::references::References;
use crate::sources::Sources;

/// Where the resolver says which domains are the cluster's.
const RESOLVER: &str = "/etc/resolv.conf";
/// How many objects are compared or corrected at a time, over all Kustomizations.
const DRIFT_CONCURRENCY: usize = 8;

fn main() -> ExitCode {
    plumb_runtime::start(install)
}

async fn install(runtime: &mut Runtime, options: Options) -> Result<(), BoxError> {
    let handle = Arc::new(OnceLock::new());
    let clock = runtime.clock();
    let cluster = {
        let clock = clock.clone();
        Cluster::new(runtime.client(), Arc::new(move || clock.now())).with_outages(runtime.outages())
    };
    let metrics = DriftMetrics::default();
    metrics.register(runtime.metrics());
    let drift = DriftLoop::start(DriftDeps {
        cluster: cluster.clone(),
        events: Arc::new(KustomizationEvents { recorder: runtime.recorder(), handle: Arc::clone(&handle) }),
        takeover: options.takeover(),
        tools: Tools::default(),
        concurrency: DRIFT_CONCURRENCY,
        started: clock.now(),
        shutdown: runtime.shutdown(),
        metrics,
    });
    let (closing, shutdown) = (drift.clone(), runtime.shutdown());
    runtime.spawn_draining("drift", async move {
        shutdown.cancelled().await;
        closing.closed().await;
    });
    let references = Arc::new(References::default());
    let external_artifacts = options.common.is_enabled(&EXTERNAL_ARTIFACT);
    let sources = {
        let (handle, references) = (Arc::clone(&handle), Arc::clone(&references));
        Sources::watch(runtime, external_artifacts, move |source, artifact| {
            if let Some(handle) = handle.get() {
                wake_by_source(source, artifact, handle, &references);
            }
        })
    };
    let threads = BuildThreads::new(options.common.concurrent.unwrap_or(Options::IDENTITY.concurrent));
    threads.register(runtime.metrics());
    let context = Context {
        cluster,
        fetcher: fetcher(runtime, &options)?,
        threads,
        memory: runtime.memory(),
        builds: Builds::default(),
        build_warnings: ReportedWarnings::default(),
        healthy: Healthy::default(),
        holds: Holds::default(),
        drift,
        sources,
        hash_key: random_key(),
        takeover: options.takeover(),
        concurrency: options.concurrent_ssa,
        requeue: options.work.requeue_dependency(),
        allow_empty: options.allow_empty,
        scope: Scope {
            namespace: (!options.common.watch_all_namespaces).then(|| runtime.runtime_namespace()),
            sharded: !options.work.watch_label_selector.is_empty(),
        },
        rules: Rules { no_cross_namespace_refs: options.no_cross_namespace_refs, external_artifacts },
        shutdown: runtime.shutdown(),
    };
    let crd_echoes = schema::keeps_drift(runtime).await;
    let kind =
        Kustomizations { context: Arc::new(context), crd_echoes, handle: Arc::clone(&handle), references };
    let installed = runtime.install(kind);
    // Filled once, here: nothing runs before this function has returned.
    let _ = handle.set(installed);
    Ok(())
}

fn fetcher(runtime: &Runtime, options: &Options) -> Result<Fetcher, BoxError> {
    let policy = HostPolicy {
        runtime_namespace: Some(runtime.runtime_namespace()),
        // A machine without the file has no domains of a cluster.
        cluster_domains: cluster_domains(&std::fs::read_to_string(RESOLVER).unwrap_or_default()),
        source_controller_localhost: options.source_controller_localhost.clone(),
        source_watcher_localhost: options.source_watcher_localhost.clone(),
        artifact_hosts: options.artifact_host.clone(),
        in_pod: options.kubernetes_service_host.is_some(),
    };
    let retries = DownloadRetries { retries_max: options.http_retry, ..DownloadRetries::default() };
    Ok(Fetcher::new(policy, retries, FetchLimits::default(), runtime.memory())?)
}

/// A key that no other process has: digests of Secrets cannot be looked up in tables.
fn random_key() -> HashKey {
    let mut key = [0; 32];
    key[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    key[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    HashKey::new(key)
}
