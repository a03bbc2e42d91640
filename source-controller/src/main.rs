//! source-controller: sources in, artifacts out. Flags are read once, the kinds are installed, the runtime runs them. What a kind
//! does never enters.

mod artifact;
mod artifact_generator;
mod bucket;
mod cloud;
#[cfg(test)]
mod fixture;
mod git_repository;
mod helm_chart;
mod helm_repository;
mod object_storage;
mod oci_repository;
mod oci_signature;
mod options;
mod settings;

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use plumb_archive::UnpackLimits;
use plumb_azure::AzureTokens;
use plumb_bucket::BucketClient;
use plumb_fetch::{DownloadRetries, FetchLimits, Fetcher, HostPolicy, cluster_domains};
use plumb_git::{Git, Resources};
use plumb_github::GithubApps;
use plumb_oci::OciClient;
use plumb_runtime::{BoxError, Handle, Runtime};
use plumb_store::{Advertised, ArtifactStore};
use plumb_transport::{TokenCache, server::Limits};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    artifact::{OnChange, SourceKind, SourceObject, Storage},
    artifact_generator::SERVED_POLL,
    bucket::BucketSource,
    cloud::Cloud,
    git_repository::{GitSource, KnownVerifications, RecentlyFound, azure::Azure, mirrors},
    helm_chart::{HelmChartSource, wake_charts},
    helm_repository::{HelmClients, HelmRepositorySource},
    oci_repository::OciSource,
    options::Options,
};

/// Below the directory for temporary files: repositories as they were fetched last.
const MIRRORS: &str = "plumb-git";

/// Where the resolver says which domains are the cluster's.
const RESOLVER: &str = "/etc/resolv.conf";

/// What the clients of the artifact server may hold: a replica of the consumers holds a few connections.
const SERVER_LIMITS: Limits =
    Limits { connections_per_peer_max: 256, header_bytes_max: 16 << 10, ..Limits::of_connections(1024) };

fn main() -> ExitCode {
    plumb_runtime::start(install)
}

async fn install(runtime: &mut Runtime, options: Options) -> Result<(), BoxError> {
    let listener = options.storage_addr.bind().await?;
    let hostname = options.common.hostname();
    let advertised = Advertised::new(&options.storage_adv_addr, listener.local_addr()?, hostname);
    let bucket = object_storage::open(&options, runtime.memory())?;
    if bucket.is_some() && options.storage_adv_addr.is_empty() {
        tracing::warn!(
            "--storage-adv-addr is empty: artifacts are announced at this replica only, not at the Service"
        );
    }
    let store = ArtifactStore::open(&options.storage_path)?.with_algorithm(options.artifact_digest_algo);
    let resources =
        Resources { memory: runtime.memory(), addresses: options.addresses(), ssh: options.ssh_algorithms() };
    let git = Git::open(&std::env::temp_dir().join(MIRRORS), options.limits(), resources)?;
    let threads = git.clone();
    runtime.metrics().register_read_gauge(
        "plumb_git_abandoned_threads",
        "Number of threads of abandoned Git operations",
        move || i64::try_from(threads.abandoned_threads()).unwrap_or(i64::MAX),
    );
    let storage = Storage { store, bucket, advertised, retention: options.retention() };
    let git_handle = Arc::new(OnceLock::new());
    let tokens = token_cache(runtime, &options);
    let azure =
        Azure { tokens: AzureTokens::new(runtime.memory(), tokens.clone()), environment: options.azure() };
    let source = GitSource {
        client: runtime.client(),
        git: git.clone(),
        apps: GithubApps::new(runtime.memory(), tokens.clone()),
        verifications: KnownVerifications::default(),
        clock: Timestamp::now,
        azure: azure.clone(),
        addresses: options.addresses(),
        recent: RecentlyFound::new(git_repository::KEPT_MAX),
        storage: storage.clone(),
        handle: Arc::clone(&git_handle),
    };
    let charts = Arc::new(OnceLock::new());
    let git_repositories = artifact::install_watched(runtime, source, &storage, waking(&charts));
    // Filled once, here: nothing runs before this function has returned.
    let _ = git_handle.set(git_repositories.clone());
    let cloud = options.cloud(runtime.client(), azure, runtime.memory(), tokens)?;
    let registries = OciClient::new(options.addresses(), runtime.memory(), options.oci_limits());
    let source = OciSource::new(cloud.clone(), registries.clone(), runtime.memory(), UnpackLimits::DEFAULT);
    let oci_repositories = artifact::install(runtime, source, &storage);
    let clients = BucketClient::new(options.addresses(), runtime.memory(), options.bucket_limits());
    let source = BucketSource::new(cloud.clone(), clients);
    let buckets = artifact::install_watched(runtime, source, &storage, waking(&charts));
    let (helm_repositories, helm_charts) =
        install_helm(runtime, &options, cloud, &storage, registries, &charts);
    install_generators(runtime, &options, storage.clone())?;
    let urls = async move {
        artifact::renew_urls(&git_repositories).await;
        artifact::renew_urls(&oci_repositories).await;
        artifact::renew_urls(&buckets).await;
        artifact::renew_urls(&helm_repositories).await;
        artifact::renew_urls(&helm_charts).await;
    };
    serve(runtime, listener, storage, urls);
    runtime.spawn_leading("mirrors", mirrors::sweep(git));
    Ok(())
}

/// Serves artifacts. `urls` renews those of all statuses. Those on disk are served by the leader only, and after the URLs: a process
/// that is not ready serves nothing, as with Flux. Those in a bucket are served by every replica.
fn serve(
    runtime: &mut Runtime,
    listener: TcpListener,
    storage: Storage,
    urls: impl Future<Output = ()> + Send + 'static,
) {
    let server = runtime.server("artifacts", listener, SERVER_LIMITS);
    let gate = runtime.readiness_gate("storage");
    match storage.bucket {
        None => runtime.spawn_leading("artifact server", async move {
            urls.await;
            gate.open();
            server.serve_router(plumb_store::router(storage.store)).await;
        }),
        Some(bucket) => {
            runtime.spawn_leading("artifact URLs", urls);
            runtime.spawn_leading("unfinished uploads", artifact::sweep_uploads(bucket.clone()));
            runtime.spawn("artifact server", async move {
                gate.open();
                server.serve_router(plumb_store::router(bucket)).await;
            });
        }
    }
}

/// The tokens of GitHub Apps and of identities of clouds, and how many there are.
fn token_cache(runtime: &Runtime, options: &Options) -> TokenCache {
    let tokens = TokenCache::new(options.token_limits());
    let (kept, gone) = (tokens.clone(), tokens.clone());
    let metrics = runtime.metrics();
    metrics.register_read_gauge("gotk_token_cached_items", "Number of cached tokens", move || {
        i64::try_from(kept.len()).unwrap_or(i64::MAX)
    });
    let help = "Total number of tokens that left the cache before their end";
    metrics.register_read_counter("gotk_token_cache_evictions", help, move || gone.evictions());
    tokens
}

type Charts = Handle<SourceKind<HelmChartSource>>;

/// What wakes the charts of a source that changes, once they are installed.
fn waking<O: SourceObject>(charts: &Arc<OnceLock<Charts>>) -> OnChange<O> {
    let charts = Arc::clone(charts);
    Box::new(move |change| {
        if let Some(charts) = charts.get() {
            wake_charts(change, &charts.store, &charts.queue);
        }
    })
}

/// Helm repositories and charts: a change of a repository wakes its charts.
fn install_helm(
    runtime: &mut Runtime,
    options: &Options,
    cloud: Cloud,
    storage: &Storage,
    registries: OciClient,
    charts: &Arc<OnceLock<Charts>>,
) -> (Handle<SourceKind<HelmRepositorySource>>, Charts) {
    let clients = HelmClients::new(cloud, options.addresses(), runtime.memory());
    let source = HelmRepositorySource::new(clients.clone(), options.helm_limits());
    let repositories = artifact::install_watched(runtime, source, storage, waking(charts));
    let known = repositories.store.clone();
    let source = HelmChartSource::new(clients, registries, known, storage.clone(), options.helm_limits());
    let installed = artifact::install(runtime, source, storage);
    // Filled once, here: nothing runs before this function has returned.
    let _ = charts.set(installed.clone());
    (repositories, installed)
}

/// ArtifactGenerator: its watches, and those of its sources, begin when the API server serves it.
fn install_generators(runtime: &mut Runtime, options: &Options, storage: Storage) -> Result<(), BoxError> {
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
    let fetcher = Fetcher::new(policy, retries, FetchLimits::default(), runtime.memory())?;
    let cross_namespace = !options.no_cross_namespace_refs;
    let settings = artifact_generator::Settings { storage, fetcher, cross_namespace };
    let served = CancellationToken::new();
    runtime.install_later(served.clone(), |runtime| artifact_generator::install(runtime, settings));
    runtime.spawn("served kinds", artifact_generator::until_served(runtime.client(), SERVED_POLL, served));
    Ok(())
}
