//! ArtifactGenerator: ExternalArtifacts composed from the files of other sources. An object has many artifacts, each of them an object
//! of its own, so the life of one artifact (`artifact`) is not this kind's; storage and rules of retention are the same.

mod compose;
mod drift;
mod error;
mod glob;
mod ledger;
mod merge;
mod outputs;
mod path_pattern;
mod plan;
mod reconcile;
mod sources;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, MutexGuard, OnceLock},
    time::Duration,
};

use kube::Client;
use plumb_api::source::{
    ArtifactGenerator, ArtifactGeneratorCondition, EXTENSIONS_API_VERSION, ExternalArtifact,
};
use plumb_archive::UnpackLimits;
use plumb_cluster::{CallError, NamespacedName, call};
use plumb_fetch::Fetcher;
use plumb_runtime::{Handle, Priority, ReconciledKind, ReportError, Runtime, Visit};
use plumb_status::AttemptOutcome;
use plumb_transport::Slots;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use self::{
    ledger::GeneratorLedger,
    plan::SourceName,
    reconcile::{BUILDS_MAX, GeneratorVisit, Generators},
    sources::Sources,
};
use crate::artifact::Storage;

/// How long an attempt may take: Flux's `--reconciliation-timeout`, and the wait for a turn.
const DEADLINE: Duration = Duration::from_mins(20);

/// The interval of discovery requests for the kind, while the API server does not serve it.
pub const SERVED_POLL: Duration = Duration::from_mins(1);

/// What the kind needs.
pub struct Settings {
    /// The storage of the artifacts.
    pub storage: Storage,
    /// Downloads of the sources' artifacts.
    pub fetcher: Fetcher,
    /// Whether sources may be in other namespaces.
    pub cross_namespace: bool,
}

/// Whether the API server serves the kind. Flux installs its definition only with source-watcher.
pub async fn is_served(client: &Client) -> Result<bool, CallError> {
    match call(client.list_api_group_resources(EXTENSIONS_API_VERSION)).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.kind == "ArtifactGenerator")),
        Err(error) if error.code() == Some(404) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until the API server serves the kind, then lets its watches begin.
pub async fn until_served(client: Client, pause: Duration, begin: CancellationToken) {
    loop {
        match is_served(&client).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => {
                let error = plumb_status::chain(&error);
                tracing::warn!(error, "failed to find out whether ArtifactGenerator is served");
            }
        }
        tokio::time::sleep(pause).await;
    }
    tracing::info!("ArtifactGenerator is served, reconciling it");
    begin.cancel();
}

/// Watches the sources and installs the kind.
pub fn install(runtime: &mut Runtime, settings: Settings) {
    let Settings { storage, fetcher, cross_namespace } = settings;
    let handle: Arc<OnceLock<Handle<Generators>>> = Arc::default();
    let (of_sources, of_lost) = (Arc::clone(&handle), Arc::clone(&handle));
    let sources = Sources::watch(
        runtime,
        move |source| {
            if let Some(handle) = of_sources.get() {
                wake_users(handle, source);
            }
        },
        move |lost| {
            if let Some(handle) = of_lost.get() {
                wake_owner(handle, lost);
            }
        },
    );
    let installed = runtime.install(Generators {
        client: runtime.client(),
        sources,
        storage,
        fetcher,
        memory: runtime.memory(),
        limits: UnpackLimits::DEFAULT,
        cross_namespace,
        slots: Slots::new(BUILDS_MAX),
    });
    // Filled once, here: nothing runs before the process has installed all kinds.
    let _ = handle.set(installed);
}

/// Wakes the objects that use a source that has something new.
fn wake_users(handle: &Handle<Generators>, source: &SourceName) {
    for object in handle.store.all() {
        if uses(&object, source) {
            let by = source.to_string();
            handle.queue.supersede(&NamespacedName::of(object.as_ref()), Priority::Revision, by);
        }
    }
}

fn uses(object: &ArtifactGenerator, source: &SourceName) -> bool {
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    object.spec.sources.iter().any(|used| {
        used.kind == source.kind
            && used.name == source.name.name
            && used.namespace.as_deref().unwrap_or(own) == source.name.namespace
    })
}

/// Wakes the object whose ExternalArtifact was deleted.
fn wake_owner(handle: &Handle<Generators>, lost: &ExternalArtifact) {
    let owner = handle.store.all().into_iter().find(|object| outputs::is_owned(lost, object));
    if let Some(owner) = owner {
        handle.queue.add(&NamespacedName::of(owner.as_ref()), Priority::Revision);
    }
}

impl ReconciledKind for Generators {
    type Object = ArtifactGenerator;
    type Ledger = GeneratorLedger;

    fn ledger(&self, object: &ArtifactGenerator) -> GeneratorLedger {
        GeneratorLedger::of(object)
    }

    async fn reconcile(&self, visit: &Visit<Self>) -> AttemptOutcome<ArtifactGeneratorCondition> {
        self.sources.synced().await;
        Generators::reconcile(self, visit.object(), visit, visit.now()).await
    }

    async fn teardown(&self, visit: &Visit<Self>) -> AttemptOutcome<ArtifactGeneratorCondition> {
        Generators::teardown(self, visit.object(), visit).await
    }

    fn status(&self, _object: &ArtifactGenerator, ledger: &GeneratorLedger) -> Map<String, Value> {
        ledger.status()
    }

    fn deadline(&self, _object: &ArtifactGenerator) -> Duration {
        DEADLINE
    }

    fn triggers(&self, old: &ArtifactGenerator, new: &ArtifactGenerator) -> Option<Priority> {
        // The annotation that suspends changes no generation.
        let suspended = plumb_api::meta::Reconciled::suspended;
        (suspended(old) != suspended(new)).then_some(Priority::Revision)
    }
}

impl GeneratorVisit for Visit<Generators> {
    fn lock_ledger(&self) -> MutexGuard<'_, GeneratorLedger> {
        self.ledger()
    }

    fn park(&self) {
        Visit::park(self);
    }

    async fn write_ahead(&self) -> Result<(), ReportError> {
        Visit::write_ahead(self).await
    }
}
