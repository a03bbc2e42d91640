//! Bucket: the objects of an object store, in three steps: `validate`, `resolve`, `fetch`. The artifact of the content, and its status
//! and events, are up to `artifact`.

mod access;
mod error;
mod fetch;
mod resolve;
mod rules;
#[cfg(test)]
mod tests;
mod validate;

pub use self::access::secret_credential;

use std::time::Duration;

use kube::Client;
use plumb_api::{
    meta::Artifact,
    source::{Bucket, SourceCondition},
};
use plumb_bucket::BucketClient;
use plumb_filetree::TreeLimits;
use plumb_status::{Detail, Reason};
use plumb_transport::Slots;

use self::{error::BucketSourceError, resolve::Found, validate::Valid};
use crate::artifact::{Fetched, Resolved, Source, SourceObject, Validated};
use crate::cloud::Cloud;

/// Buckets that are listed at a time: a listing is in memory.
const POLLS_MAX: usize = 32;
/// Buckets whose objects are fetched at a time: they are in memory.
const PULLS_MAX: usize = 4;

/// The steps of a Bucket, and what they work with.
#[derive(Clone)]
pub struct BucketSource {
    /// The API server: Secrets are read from it here.
    client: Client,
    cloud: Cloud,
    buckets: BucketClient,
    tree: TreeLimits,
    polls: Slots,
    pulls: Slots,
}

impl BucketSource {
    /// The steps.
    pub fn new(cloud: Cloud, buckets: BucketClient) -> Self {
        let limits = buckets.limits();
        // Directories count, too.
        let tree = TreeLimits {
            entries_max: limits.objects_max.saturating_mul(2),
            bytes_max: limits.bytes_max,
            ..TreeLimits::DEFAULT
        };
        Self {
            client: cloud.client.clone(),
            cloud,
            buckets,
            tree,
            polls: Slots::new(POLLS_MAX),
            pulls: Slots::new(PULLS_MAX),
        }
    }
}

impl Source for BucketSource {
    type Object = Bucket;
    type Valid = Valid;
    type Remote = Found;
    type Error = BucketSourceError;

    fn validate(object: &Bucket) -> Result<Validated<Valid>, BucketSourceError> {
        validate::validate(&object.spec).map(Validated::Artifact)
    }

    async fn resolve(
        &self,
        object: &Bucket,
        valid: &Valid,
    ) -> Result<Resolved<Found, SourceCondition>, BucketSourceError> {
        resolve::resolve(self, object, valid).await
    }

    async fn fetch(
        &self,
        object: &Bucket,
        valid: &Valid,
        found: Found,
    ) -> Result<Fetched<SourceCondition>, BucketSourceError> {
        fetch::fetch(self, object, valid, found).await
    }
}

impl SourceObject for Bucket {
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
        self.stored_detail(artifact)
    }
}
