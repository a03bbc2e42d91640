//! source-controller: repositories in, artifacts out. Flags are read once, the kinds are installed, the runtime runs them. What a
//! kind does never enters.

mod artifacts;
mod git_repository;
mod kind;
mod options;

use std::{error::Error, process::ExitCode};

use plumb_git::{Git, Resources};
use plumb_runtime::{Flags, Identity, Runtime};
use plumb_store::{Advertised, ArtifactStore};

use crate::{
    artifacts::Announcement,
    git_repository::Context,
    kind::GitRepositories,
    options::{GATES, Options},
};

/// Below the directory for temporary files: repositories as they were fetched last.
const MIRRORS: &str = "plumb-git";

const IDENTITY: Identity = Identity {
    controller: "source-controller",
    status_manager: plumb_api::meta::SOURCE_MANAGER,
    concurrent: 2,
};

fn main() -> ExitCode {
    plumb_runtime::start(
        &IDENTITY,
        GATES,
        |options: &Options| Flags { common: &options.common, work: Some(&options.work) },
        Options::validate,
        async |runtime: &mut Runtime, options: Options| install(runtime, options).await,
    )
}

async fn install(runtime: &mut Runtime, options: Options) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = options.storage_addr.bind().await?;
    let hostname = std::env::var("HOSTNAME").ok();
    let advertised = Advertised::new(&options.storage_adv_addr, listener.local_addr()?, hostname.as_deref());
    let store = ArtifactStore::open(&options.storage_path)?;
    let resources = Resources { memory: runtime.memory(), addresses: options.addresses() };
    let git = Git::open(&std::env::temp_dir().join(MIRRORS), options.limits(), resources)?;
    let threads = git.clone();
    runtime.metrics().register_read_gauge(
        "plumb_git_abandoned_threads",
        "Number of threads of abandoned Git operations",
        move || i64::try_from(threads.abandoned_threads()).unwrap_or(i64::MAX),
    );
    let context = Context {
        client: runtime.client(),
        git: git.clone(),
        store: store.clone(),
        advertised,
        retention: options.retention(),
    };
    let gate = runtime.readiness_gate("storage");
    let handle = runtime.install(GitRepositories::new(context));
    // On the leader only, and after the URLs: whoever is not ready serves nothing, as with Flux.
    let server = runtime.server("artifacts", listener, artifacts::LIMITS);
    runtime.spawn_leading("artifact server", async move {
        Announcement { handle, gate }.renew().await;
        server.serve_router(plumb_store::router(store)).await;
    });
    runtime.spawn_leading("mirrors", artifacts::sweep_mirrors(git));
    Ok(())
}
