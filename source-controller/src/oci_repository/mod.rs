//! OCIRepository: a layer of an artifact in a container registry, unpacked or as it is, in three steps: `validate`, `resolve`,
//! `fetch`. The artifact of the content, and its status and events, are up to `artifact`.

mod access;
mod error;
mod fetch;
mod layer;
mod resolve;
mod tag;
#[cfg(test)]
mod tests;
mod validate;
mod verify;

use std::time::Duration;

use kube::Client;
use plumb_api::{
    meta::Artifact,
    source::{OCIRepository, SourceCondition},
};
use plumb_archive::UnpackLimits;
use plumb_memory::MemoryPool;
use plumb_oci::{Access, Digest, OciClient, Remote};
use plumb_status::{Detail, Reason};
use plumb_transport::Slots;

use self::{error::OciSourceError, validate::Valid};
use crate::{
    artifact::{ArtifactCondition, Fetched, Resolved, Source, SourceObject, Validated},
    cloud::Cloud,
    oci_signature::VerifiedArtifacts,
};

/// Registries that are asked at a time: it costs little memory.
const POLLS_MAX: usize = 64;
/// Layers that are pulled at a time: each is in memory.
const PULLS_MAX: usize = 4;

/// The steps of an OCIRepository, and what they work with.
#[derive(Clone)]
pub struct OciSource {
    /// The API server: Secrets and ServiceAccounts are read from it here.
    client: Client,
    cloud: Cloud,
    registries: OciClient,
    memory: MemoryPool,
    unpack: UnpackLimits,
    polls: Slots,
    pulls: Slots,
    verified: VerifiedArtifacts,
}

/// The artifact that was resolved, and its repository.
pub struct Pull {
    access: Access,
    /// Where the registry was asked already: not for a digest.
    remote: Option<Remote>,
    digest: Digest,
    revision: String,
}

impl OciSource {
    /// The steps, with limits of what a layer may unpack to. Its files are charged to `memory`.
    pub fn new(cloud: Cloud, registries: OciClient, memory: MemoryPool, unpack: UnpackLimits) -> Self {
        Self {
            client: cloud.client.clone(),
            cloud,
            registries,
            memory,
            unpack,
            polls: Slots::new(POLLS_MAX),
            pulls: Slots::new(PULLS_MAX),
            verified: VerifiedArtifacts::default(),
        }
    }

    /// Credentials of clouds, to change.
    #[cfg(test)]
    pub fn cloud_mut(&mut self) -> &mut Cloud {
        &mut self.cloud
    }
}

impl Source for OciSource {
    type Object = OCIRepository;
    type Valid = Valid;
    type Remote = Pull;
    type Error = OciSourceError;

    fn validate(object: &OCIRepository) -> Result<Validated<Valid>, OciSourceError> {
        validate::validate(&object.spec).map(Validated::Artifact)
    }

    async fn resolve(
        &self,
        object: &OCIRepository,
        valid: &Valid,
    ) -> Result<Resolved<Pull, SourceCondition>, OciSourceError> {
        resolve::resolve(self, object, valid).await
    }

    async fn fetch(
        &self,
        object: &OCIRepository,
        valid: &Valid,
        remote: Pull,
    ) -> Result<Fetched<SourceCondition>, OciSourceError> {
        fetch::fetch(self, object, valid, remote).await
    }
}

impl SourceObject for OCIRepository {
    type Condition = SourceCondition;
    const HAS_URL: bool = true;

    fn artifact(&self) -> Option<&Artifact> {
        Self::artifact(self)
    }

    fn timeout(&self) -> Duration {
        self.spec.effective_timeout().to_std()
    }

    fn stored_detail(&self, artifact: &Artifact) -> Detail {
        Detail::new(Reason::Succeeded, format!("stored artifact for digest '{}'", artifact.revision))
    }

    fn recovered(&self, artifact: &Artifact) -> Detail {
        let text = fetch::stored_message(&artifact.revision, &self.spec.url, &artifact.metadata);
        Detail::new(Reason::Succeeded, text)
    }
}

impl ArtifactCondition for SourceCondition {
    const STORAGE_OPERATION_FAILED: Self = Self::StorageOperationFailed;
    const FETCH_FAILED: Self = Self::FetchFailed;
    const ARTIFACT_OUTDATED: Self = Self::ArtifactOutdated;
    const ARTIFACT_IN_STORAGE: Self = Self::ArtifactInStorage;
}
