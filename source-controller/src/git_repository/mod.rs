//! GitRepository: a commit of a Git repository kept as an artifact. The phases of an attempt, one file each: `validate`, `facts`,
//! `decide`, `act`, joined by `reconcile`; the `ledger` is what an attempt has made true so far. Watches, queues and the writing of
//! status belong to the runtime.

pub mod act;
pub mod decide;
pub mod error;
pub mod facts;
pub mod ledger;
pub mod reconcile;
#[cfg(test)]
mod tests;
pub mod validate;

use kube::Client;
use plumb_api::source::GitRepository;
use plumb_git::Git;
use plumb_store::{Advertised, ArtifactStore, Location, LocationError, Retention, StoreError};

/// The kind, as events, paths and messages name it.
const KIND: &str = "GitRepository";

/// What every attempt works with.
#[derive(Clone)]
pub struct Context {
    /// The API server: only Secrets are read from it here.
    pub client: Client,
    /// Repositories.
    pub git: Git,
    /// Artifacts.
    pub store: ArtifactStore,
    /// Where artifacts are announced.
    pub advertised: Advertised,
    /// Which artifacts are kept.
    pub retention: Retention,
}

impl Context {
    /// Runs work on the store on a blocking thread.
    async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ArtifactStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(|_| StoreError::Interrupted)?
    }
}

/// The directory of a GitRepository's artifacts.
fn location(repository: &GitRepository) -> Result<Location, LocationError> {
    let metadata = &repository.metadata;
    Location::new(
        KIND,
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}
