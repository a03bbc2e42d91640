//! GitRepository: a commit of a Git repository as an artifact, in three steps: `validate`, `resolve`, `fetch`. The artifact of the
//! content, and its status and events, are up to `artifact`.

mod error;
mod fetch;
mod github_app;
pub mod mirrors;
mod resolve;
#[cfg(test)]
mod tests;
mod validate;

use std::time::Duration;

use kube::Client;
use plumb_api::{
    meta::Artifact,
    source::{GitRepository, GitRepositoryCondition},
};
use plumb_git::{Git, Session};
use plumb_github::GithubApps;
use plumb_status::{Detail, Reason};
use plumb_transport::address::AddressPolicy;

use self::{error::GitSourceError, validate::Valid};
use crate::artifact::{ArtifactCondition, Fetched, Resolved, Source, SourceObject, Validated};

/// The steps of a GitRepository, and what they work with.
#[derive(Clone)]
pub struct GitSource {
    /// The API server: only Secrets are read from it here.
    pub client: Client,
    /// Repositories.
    pub git: Git,
    /// Tokens of GitHub Apps.
    pub apps: GithubApps,
    /// Which addresses the API of GitHub may be at.
    pub addresses: AddressPolicy,
}

impl Source for GitSource {
    type Object = GitRepository;
    type Valid = Valid;
    type Remote = Session;
    type Error = GitSourceError;

    fn validate(object: &GitRepository) -> Result<Validated<Valid>, GitSourceError> {
        validate::validate(&object.spec).map(Validated::Artifact)
    }

    async fn resolve(
        &self,
        object: &GitRepository,
        valid: &Valid,
    ) -> Result<Resolved<Session, GitRepositoryCondition>, GitSourceError> {
        resolve::resolve(self, object, valid).await
    }

    async fn fetch(
        &self,
        _object: &GitRepository,
        valid: &Valid,
        remote: Session,
    ) -> Result<Fetched<GitRepositoryCondition>, GitSourceError> {
        fetch::fetch(self, valid, remote).await
    }
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
