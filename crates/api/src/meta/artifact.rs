//! What a source produced, as its status tells it. Storing and fetching it never enter.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Digest, DigestError, Revision, RevisionError, time};

/// Artifact of one revision of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Artifact {
    /// Digest of the file, `algorithm:hex`.
    #[schemars(extend("pattern" = "^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"))]
    pub digest: String,
    /// Time at which the artifact was stored.
    #[serde(with = "time")]
    #[schemars(schema_with = "time::schema")]
    pub last_update_time: Timestamp,
    /// Metadata of upstream, such as OCI annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Path of the file, relative to the root of the storage.
    pub path: String,
    /// Revision of the source that the artifact was built from.
    pub revision: String,
    /// Size of the file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// URL of the file inside the cluster.
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
