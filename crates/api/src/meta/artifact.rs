//! What a source produced, as its status tells it. Storing and fetching it never enter.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Digest, DigestError, Revision, RevisionError, time};

/// The tarball (or single file) that a source keeps for one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Artifact {
    /// The digest of the file, as `algorithm:hex`.
    #[schemars(extend("pattern" = "^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"))]
    pub digest: String,
    /// When the file was stored.
    #[serde(with = "time")]
    #[schemars(schema_with = "time::schema")]
    pub last_update_time: Timestamp,
    /// Words about where the content came from, under keys of the OCI image specification.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The path of the file below the root of the storage.
    pub path: String,
    /// The revision that the content was taken from.
    pub revision: String,
    /// The size of the file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Where the file can be fetched inside the cluster.
    pub url: String,
}

impl Artifact {
    /// The revision, taken apart.
    pub fn parsed_revision(&self) -> Result<Revision, RevisionError> {
        self.revision.parse()
    }

    /// The digest, taken apart.
    pub fn parsed_digest(&self) -> Result<Digest, DigestError> {
        self.digest.parse()
    }

    /// The revision of what the artifact was made from, where its producer said so.
    pub fn origin_revision(&self) -> Option<&str> {
        self.metadata.get(super::ORIGIN_REVISION_METADATA).map(String::as_str)
    }
}
