//! HelmRepository: the index of a repository over HTTP as an artifact, or the settings for a registry with charts, in three steps:
//! `validate`, `resolve`, `fetch`. The artifact of the content, and its status and events, are up to `artifact`.

mod client;
mod download;
mod error;
mod fetch;
mod resolve;
mod seen;
mod size;
#[cfg(test)]
mod tests;
mod validate;

use std::time::Duration;

use plumb_api::{
    meta::Artifact,
    source::{HelmRepository, SourceCondition},
};
use plumb_status::{Detail, Reason};
use plumb_transport::Slots;

pub use self::{
    client::{ArchiveRequest, HelmClients},
    download::{DownloadError, File},
    error::HelmRepositoryError,
};
use self::{resolve::Remote, seen::SeenIndexes, validate::Valid};
use crate::artifact::{Fetched, Resolved, Source, SourceObject, Validated};

/// Repositories that are asked at a time.
const POLLS_MAX: usize = 64;
/// Indexes that are read at a time: each takes a thread, and memory beside its download.
const READS_MAX: usize = 2;

/// What one repository may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelmLimits {
    /// Bytes of an index, at most.
    pub index: u64,
    /// Bytes of a chart as it is downloaded, at most.
    pub chart: u64,
    /// Bytes of the `Chart.yaml` of a chart, at most.
    pub chart_file: u64,
}

impl HelmLimits {
    /// 50 MiB, 10 MiB and 5 MiB, as with Flux.
    pub const DEFAULT: Self = Self { index: 50 << 20, chart: 10 << 20, chart_file: 5 << 20 };
}

/// The steps of a HelmRepository, and what they work with.
#[derive(Clone)]
pub struct HelmRepositorySource {
    clients: HelmClients,
    limits: HelmLimits,
    seen: SeenIndexes,
    polls: Slots,
    reads: Slots,
}

impl HelmRepositorySource {
    /// The steps, with limits of what an index may be.
    pub fn new(clients: HelmClients, limits: HelmLimits) -> Self {
        Self {
            clients,
            limits,
            seen: SeenIndexes::default(),
            polls: Slots::new(POLLS_MAX),
            reads: Slots::new(READS_MAX),
        }
    }
}

impl Source for HelmRepositorySource {
    type Object = HelmRepository;
    type Valid = Valid;
    type Remote = Remote;
    type Error = HelmRepositoryError;

    fn validate(object: &HelmRepository) -> Result<Validated<Valid>, HelmRepositoryError> {
        validate::validate(&object.spec)
    }

    async fn resolve(
        &self,
        object: &HelmRepository,
        valid: &Valid,
    ) -> Result<Resolved<Remote, SourceCondition>, HelmRepositoryError> {
        resolve::resolve(self, object, valid).await
    }

    async fn fetch(
        &self,
        object: &HelmRepository,
        valid: &Valid,
        remote: Remote,
    ) -> Result<Fetched<SourceCondition>, HelmRepositoryError> {
        fetch::fetch(self, object, valid, remote).await
    }
}

impl SourceObject for HelmRepository {
    type Condition = SourceCondition;
    const HAS_URL: bool = true;

    fn artifact(&self) -> Option<&Artifact> {
        Self::artifact(self)
    }

    fn timeout(&self) -> Duration {
        self.spec.effective_timeout().to_std()
    }

    fn stored_detail(&self, artifact: &Artifact) -> Detail {
        Detail::new(Reason::Succeeded, format!("stored artifact: revision '{}'", artifact.revision))
    }

    fn recovered(&self, artifact: &Artifact) -> Detail {
        let bytes = artifact.size.and_then(|bytes| u64::try_from(bytes).ok());
        Detail::new(Reason::Succeeded, fetch::stored_message(bytes, &self.spec.url))
    }
}
