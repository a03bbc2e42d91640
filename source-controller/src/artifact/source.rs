//! What a kind of source supplies, and the values that pass between its steps.

use std::{collections::BTreeMap, error::Error, future::Future, time::Duration};

use bytes::Bytes;
use plumb_api::meta::Artifact;
use plumb_archive::WrittenArchive;
use plumb_cluster::ObjectEvent;
use plumb_filetree::MemoryTree;
use plumb_memory::MemoryReservation;
use plumb_runtime::Object;
use plumb_status::{Classify, ConditionUpdate, Detail, EventDraft};
use plumb_store::Spool;
use serde_json::{Map, Value};

use super::{inputs::Inputs, ledger::ArtifactCondition};

/// An object that has an artifact in its status.
pub trait SourceObject: Object {
    /// The conditions of the kind.
    type Condition: ArtifactCondition;
    /// Whether the status has the field `url`, the URL of the artifact that is served now.
    const HAS_URL: bool = false;
    /// Whether Ready and ArtifactInStorage have the text of the event for a new artifact.
    const STORED_IS_ANNOUNCED: bool = false;

    /// The artifact of the status.
    fn artifact(&self) -> Option<&Artifact>;
    /// Timeout of one operation on the source: `resolve`, `verify` and `fetch` are one each.
    fn timeout(&self) -> Duration;
    /// The text of Ready and ArtifactInStorage for this artifact.
    fn stored_detail(&self, artifact: &Artifact) -> Detail;
    /// The event of a recovery that needed no new artifact.
    fn recovered(&self, artifact: &Artifact) -> Detail;
}

/// A kind of source: three steps. `resolve` and `fetch` hold no worker of the queue and are dropped when their attempt ends early; how
/// many of them run at a time the kind bounds, fairly by namespace: [`plumb_transport::Slots`].
pub trait Source: Send + Sync + 'static {
    /// Its objects.
    type Object: SourceObject;
    /// A spec that is supported in full.
    type Valid: Send + Sync;
    /// What `resolve` leaves for `fetch`: an open session, a parsed index.
    type Remote: Send;
    /// Why a step failed. `Consequence::Wait` where another object has to be ready first.
    type Error: Error + Classify + BreaksCondition<Condition = ConditionOf<Self>> + Send + Sync + 'static;

    /// Checks the spec: what is not supported is rejected, all fields at once. Pure.
    fn validate(object: &Self::Object) -> Result<Validated<Self::Valid>, Self::Error>;

    /// Finds the revision that is there now.
    fn resolve(
        &self,
        object: &Self::Object,
        valid: &Self::Valid,
    ) -> impl Future<Output = Result<Resolved<Self::Remote, ConditionOf<Self>>, Self::Error>> + Send;

    /// Verifies what was resolved, before an artifact of it is kept or made. In every attempt: keys may be other ones than when the
    /// artifact was made. An error says that the source was reached, but not accepted.
    fn verify(
        &self,
        object: &Self::Object,
        valid: &Self::Valid,
        remote: Self::Remote,
    ) -> impl Future<Output = Result<Verified<Self::Remote, ConditionOf<Self>>, Self::Error>> + Send {
        let _ = (object, valid);
        std::future::ready(Ok(Verified::unchanged(remote)))
    }

    /// Fields of the status that hold as soon as the revision is resolved, whether an artifact is built or not; null removes one.
    fn observed(&self, remote: &Self::Remote) -> Map<String, Value> {
        let _ = remote;
        Map::new()
    }

    /// Sees every change of its objects, before it leads to an attempt: other kinds may wait for one.
    fn changed(&self, change: &ObjectEvent<Self::Object>) {
        let _ = change;
    }

    /// Fetches the content of the revision that was resolved. Called only when a new artifact is needed.
    fn fetch(
        &self,
        object: &Self::Object,
        valid: &Self::Valid,
        remote: Self::Remote,
    ) -> impl Future<Output = Result<Fetched<ConditionOf<Self>>, Self::Error>> + Send;
}

/// The conditions of a kind of source.
pub type ConditionOf<S> = <<S as Source>::Object as SourceObject>::Condition;

/// An error that belongs to a condition.
pub trait BreaksCondition {
    /// The conditions of the kind.
    type Condition;
    /// The condition that it sets to False; none where only Ready and Stalled report it.
    fn condition(&self) -> Option<Self::Condition>;

    /// A condition that ends with it, though nothing was resolved.
    fn settles(&self) -> Option<Self::Condition> {
        None
    }
}

/// What a valid spec leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validated<V> {
    /// An artifact.
    Artifact(V),
    /// Neither artifact nor status: the object only holds settings for others, such as a HelmRepository of type `oci`. An
    /// artifact that an earlier spec had is removed.
    Static,
}

/// The revision that is there now.
#[derive(Debug)]
pub struct Resolved<R, C> {
    /// As the status has it: `main@sha1:…`, `latest@sha256:…`, `sha256:…`, `6.5.4`.
    pub revision: String,
    /// The inputs of an artifact other than the revision.
    pub inputs: Inputs,
    /// The current text of the kind's own conditions.
    pub conditions: Vec<(C, ConditionUpdate)>,
    /// The input of `fetch`.
    pub remote: R,
}

/// A revision that was accepted.
#[derive(Debug)]
pub struct Verified<R, C> {
    /// The input of `fetch`.
    pub remote: R,
    /// The current text of the kind's own conditions.
    pub conditions: Vec<(C, ConditionUpdate)>,
    /// Fields of the status that hold from now on; null removes one.
    pub status: Map<String, Value>,
    /// Events of a verification that was done.
    pub events: Vec<EventDraft>,
}

impl<R, C> Verified<R, C> {
    /// Nothing was verified, and nothing is reported.
    pub fn unchanged(remote: R) -> Self {
        Self { remote, conditions: Vec::new(), status: Map::new(), events: Vec::new() }
    }
}

/// What a new artifact is made of.
#[derive(Debug)]
pub struct Fetched<C> {
    /// The file name without its extension, which the content has. Names differ wherever contents do: an artifact that the
    /// status announces is never written over.
    pub file_stem: String,
    /// The content.
    pub content: Content,
    /// Metadata of upstream for the artifact, such as OCI annotations.
    pub metadata: BTreeMap<String, String>,
    /// The event for a new artifact. Where its bytes are those of the one before, a recovery has its message, too.
    pub announcement: Detail,
    /// Further fields of the kind's status; null removes one.
    pub status: Map<String, Value>,
    /// The current text of the kind's own conditions.
    pub conditions: Vec<(C, ConditionUpdate)>,
}

/// Content, and what it is charged to.
#[derive(Debug)]
pub struct Content {
    /// What is stored.
    pub payload: Payload,
    /// Held as long as the payload is; none where that is not in memory.
    pub memory: Option<MemoryReservation>,
}

/// What is stored.
#[derive(Debug)]
pub enum Payload {
    /// Files: stored as `tar.gz`, the same bytes for the same files.
    Tree(MemoryTree),
    /// The same, written to a temporary file of the storage already.
    Archive {
        /// The file.
        spool: Spool,
        /// What was written.
        archive: WrittenArchive,
    },
    /// Bytes, stored as they are.
    Bytes {
        /// What they are.
        media_type: MediaType,
        /// The bytes.
        bytes: Bytes,
    },
}

/// What stored bytes are. The artifact server derives it from the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `application/gzip`: a chart.
    Gzip,
    /// `application/gzip`: a layer that is copied.
    TarGz,
    /// `application/yaml`: an index of charts.
    Yaml,
}

impl Payload {
    /// The extension of its file, from the dot on.
    pub fn extension(&self) -> &'static str {
        match self {
            Self::Tree(_) | Self::Archive { .. } | Self::Bytes { media_type: MediaType::TarGz, .. } => {
                ".tar.gz"
            }
            Self::Bytes { media_type: MediaType::Gzip, .. } => ".tgz",
            Self::Bytes { media_type: MediaType::Yaml, .. } => ".yaml",
        }
    }
}

#[cfg(test)]
mod tests {
    use plumb_filetree::TreeLimits;

    use super::*;

    #[test]
    fn the_extension_gives_the_type_of_a_file() {
        let bytes = |media_type| Payload::Bytes { media_type, bytes: Bytes::new() };
        let tree = Payload::Tree(MemoryTree::builder(TreeLimits::DEFAULT).build());
        let all = [tree, bytes(MediaType::Gzip), bytes(MediaType::TarGz), bytes(MediaType::Yaml)];
        assert_eq!(all.map(|one| one.extension()), [".tar.gz", ".tgz", ".tar.gz", ".yaml"]);
    }
}
