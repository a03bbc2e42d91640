//! GitRepository: a commit of a Git repository as an artifact, in four steps: `validate`, `resolve`, `verify`, `fetch`. The artifact of the
//! content, and its status and events, are up to `artifact`.

pub mod azure;
mod error;
mod fetch;
mod github_app;
mod include;
pub mod mirrors;
mod recent;
mod resolve;
#[cfg(test)]
mod tests;
mod validate;
mod verification;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use plumb_api::{
    meta::Artifact,
    source::{GitRepository, GitRepositoryCondition},
};
use plumb_cluster::{NamespacedName, ObjectEvent};
use plumb_git::{Git, Session};
use plumb_github::GithubApps;
use plumb_runtime::{Handle, Priority};
use plumb_status::{Detail, Reason};
use plumb_transport::address::AddressPolicy;

pub use self::recent::{KEPT_MAX, RecentlyFound};
pub use self::verification::KnownVerifications;
use self::{azure::Azure, error::GitSourceError, validate::Valid};
use crate::artifact::{
    ArtifactCondition, Fetched, Resolved, Source, SourceKind, SourceObject, Storage, Validated, Verified,
};

/// The steps of a GitRepository, and what they work with.
#[derive(Clone)]
pub struct GitSource {
    /// The API server: only Secrets are read from it here.
    pub client: Client,
    /// Repositories.
    pub git: Git,
    /// Tokens of GitHub Apps.
    pub apps: GithubApps,
    /// Tokens of Azure, and the identity of this controller there.
    pub azure: Azure,
    /// Which addresses the APIs of GitHub and Azure may be at.
    pub addresses: AddressPolicy,
    /// Commits that were found a short while ago.
    pub recent: RecentlyFound,
    /// Verifications that need not be repeated.
    pub verifications: KnownVerifications,
    /// The time, by which signatures and keys expire.
    pub clock: fn() -> Timestamp,
    /// Artifacts of included GitRepositories.
    pub storage: Storage,
    /// Its own objects and their work, once they are installed: a repository that is included wakes those that include it.
    pub handle: Arc<OnceLock<Handle<SourceKind<Self>>>>,
}

/// The commit that was found, and the artifacts that are included.
pub struct Pull {
    session: Session,
    included: Vec<Artifact>,
}

impl Source for GitSource {
    type Object = GitRepository;
    type Valid = Valid;
    type Remote = Pull;
    type Error = GitSourceError;

    fn validate(object: &GitRepository) -> Result<Validated<Valid>, GitSourceError> {
        validate::validate(&object.spec).map(Validated::Artifact)
    }

    async fn resolve(
        &self,
        object: &GitRepository,
        valid: &Valid,
    ) -> Result<Resolved<Pull, GitRepositoryCondition>, GitSourceError> {
        resolve::resolve(self, object, valid).await
    }

    async fn verify(
        &self,
        object: &GitRepository,
        valid: &Valid,
        remote: Pull,
    ) -> Result<Verified<Pull, GitRepositoryCondition>, GitSourceError> {
        verification::verify_signatures(self, object, valid, remote).await
    }

    async fn fetch(
        &self,
        object: &GitRepository,
        valid: &Valid,
        remote: Pull,
    ) -> Result<Fetched<GitRepositoryCondition>, GitSourceError> {
        fetch::fetch(self, object, valid, remote).await
    }

    fn changed(&self, change: &ObjectEvent<GitRepository>) {
        let (Some(handle), ObjectEvent::Applied { old, new }) = (self.handle.get(), change) else { return };
        let identity = |object: &GitRepository| {
            object.artifact().map(|artifact| (artifact.revision.clone(), artifact.digest.clone()))
        };
        if identity(new).is_none() || old.as_deref().and_then(identity) == identity(new) {
            return;
        }
        let own = NamespacedName::of(new.as_ref());
        for other in handle.store.all() {
            let name = NamespacedName::of(other.as_ref());
            let includes = other.spec.include.iter().any(|include| include.repository.name == own.name)
                && name.namespace == own.namespace;
            if (includes || shares_news(new, &other)) && name != own {
                handle.queue.add(&name, Priority::Revision);
            }
        }
    }
}

/// Whether another repository may want the commit that was found for this one: it follows the same reference, and has another revision.
fn shares_news(new: &GitRepository, other: &GitRepository) -> bool {
    let revision = |object: &GitRepository| object.artifact().map(|artifact| artifact.revision.clone());
    new.spec.url == other.spec.url
        && new.spec.reference == other.spec.reference
        && revision(new) != revision(other)
}

impl SourceObject for GitRepository {
    type Condition = GitRepositoryCondition;

    fn artifact(&self) -> Option<&Artifact> {
        Self::artifact(self)
    }

    fn timeout(&self) -> Duration {
        self.spec.effective_timeout().to_std()
    }

    fn stored_detail(&self, artifact: &Artifact) -> Detail {
        Detail::new(Reason::Succeeded, format!("stored artifact for revision '{}'", artifact.revision))
    }

    fn recovered(&self, artifact: &Artifact) -> Detail {
        Detail::new(Reason::Succeeded, fetch::stored_message(&artifact.revision))
    }
}

impl ArtifactCondition for GitRepositoryCondition {
    const STORAGE_OPERATION_FAILED: Self = Self::StorageOperationFailed;
    const FETCH_FAILED: Self = Self::FetchFailed;
    const ARTIFACT_OUTDATED: Self = Self::ArtifactOutdated;
    const ARTIFACT_IN_STORAGE: Self = Self::ArtifactInStorage;
}
