//! HelmChart: one version of a chart as an artifact, in three steps: `validate`, `resolve`, `fetch`. From a Helm repository the bytes are
//! those that are there; with values files, or from the directory of another source, it is packaged. The artifact of the content, and
//! its status and events, are up to `artifact`.

mod build;
mod dependencies;
mod error;
mod fetch;
mod files;
mod registry;
mod resolve;
#[cfg(test)]
mod tests;
mod validate;
mod verify;
mod wake;

use std::time::Duration;

use plumb_api::{
    meta::Artifact,
    source::{HelmChart, HelmChartCondition, HelmRepository},
};
use plumb_cluster::ObjectCache;
use plumb_oci::OciClient;
use plumb_status::Detail;
use plumb_transport::Slots;
use serde_json::{Map, Value, json};

pub use self::wake::wake_charts;
use self::{error::HelmChartError, resolve::Remote, validate::Valid};
use crate::{
    artifact::{ArtifactCondition, Fetched, Resolved, Source, SourceObject, Storage, Validated},
    helm_repository::{HelmClients, HelmLimits},
    oci_signature::VerifiedArtifacts,
};

/// Charts that are looked for at a time: each takes the index of its repository, which is charged to the memory budget.
const POLLS_MAX: usize = 16;
/// Charts that are pulled at a time: each is in memory.
const PULLS_MAX: usize = 8;
/// What two operations on a repository may take at most: its own timeout counts.
const TIMEOUT_MAX: Duration = Duration::from_hours(1);

/// The steps of a HelmChart, and what they work with.
#[derive(Clone)]
pub struct HelmChartSource {
    clients: HelmClients,
    registries: OciClient,
    repositories: ObjectCache<HelmRepository>,
    storage: Storage,
    limits: HelmLimits,
    polls: Slots,
    pulls: Slots,
    verified: VerifiedArtifacts,
}

impl HelmChartSource {
    /// The steps, with the repositories and the storage that has their indexes.
    pub fn new(
        clients: HelmClients,
        registries: OciClient,
        repositories: ObjectCache<HelmRepository>,
        storage: Storage,
        limits: HelmLimits,
    ) -> Self {
        Self {
            clients,
            registries,
            repositories,
            storage,
            limits,
            polls: Slots::new(POLLS_MAX),
            pulls: Slots::new(PULLS_MAX),
            verified: VerifiedArtifacts::default(),
        }
    }
}

impl Source for HelmChartSource {
    type Object = HelmChart;
    type Valid = Valid;
    type Remote = Remote;
    type Error = HelmChartError;

    fn validate(object: &HelmChart) -> Result<Validated<Valid>, HelmChartError> {
        validate::validate(&object.spec).map(Validated::Artifact)
    }

    async fn resolve(
        &self,
        object: &HelmChart,
        valid: &Valid,
    ) -> Result<Resolved<Remote, HelmChartCondition>, HelmChartError> {
        resolve::resolve(self, object, valid).await
    }

    /// Also where the version is the same: it tells from which index.
    fn observed(&self, remote: &Remote) -> Map<String, Value> {
        let revision = json!(remote.source_revision);
        Map::from_iter([("observedSourceArtifactRevision".to_owned(), revision)])
    }

    async fn fetch(
        &self,
        object: &HelmChart,
        valid: &Valid,
        remote: Remote,
    ) -> Result<Fetched<HelmChartCondition>, HelmChartError> {
        fetch::fetch(self, object, valid, remote).await
    }
}

impl SourceObject for HelmChart {
    type Condition = HelmChartCondition;
    const HAS_URL: bool = true;
    const STORED_IS_ANNOUNCED: bool = true;

    fn artifact(&self) -> Option<&Artifact> {
        Self::artifact(self)
    }

    fn timeout(&self) -> Duration {
        TIMEOUT_MAX
    }

    fn stored_detail(&self, artifact: &Artifact) -> Detail {
        fetch::stored_before(self, artifact)
    }

    fn recovered(&self, artifact: &Artifact) -> Detail {
        self.stored_detail(artifact)
    }
}

impl ArtifactCondition for HelmChartCondition {
    const STORAGE_OPERATION_FAILED: Self = Self::StorageOperationFailed;
    const FETCH_FAILED: Self = Self::FetchFailed;
    const ARTIFACT_OUTDATED: Self = Self::ArtifactOutdated;
    const ARTIFACT_IN_STORAGE: Self = Self::ArtifactInStorage;
}
