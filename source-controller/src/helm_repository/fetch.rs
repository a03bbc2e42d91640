//! The content of an artifact: the index, checked and in Helm's order.

use std::collections::BTreeMap;

use bytes::Bytes;
use kube::ResourceExt as _;
use plumb_api::source::{HelmRepository, SourceCondition};
use plumb_helm::{Download, INDEX_MEMORY, Index, convert};
use plumb_status::{Detail, Reason};
use serde_json::Map;

use super::{
    HelmRepositorySource,
    download::{Downloaded, File},
    error::HelmRepositoryError,
    resolve::{Remote, index},
    size::human_size,
    validate::Valid,
};
use crate::artifact::{Content, Fetched, MediaType, Payload, on_thread, slot};

/// Reads the index that was resolved.
pub async fn fetch(
    source: &HelmRepositorySource,
    object: &HelmRepository,
    valid: &Valid,
    remote: Remote,
) -> Result<Fetched<SourceCondition>, HelmRepositoryError> {
    let namespace = object.namespace().unwrap_or_default();
    let file = match remote {
        Remote::Fetched(file) => file,
        Remote::Unchanged { sha256 } => again(source, &namespace, valid, &sha256).await?,
    };
    let slot = slot(&source.reads, &namespace).await?;
    let File { bytes, memory, sha256, headers: _ } = *file;
    let written = source.clients.memory().reservation(&namespace, INDEX_MEMORY);
    // The thread holds the slot: also when its caller is dropped, no other one begins before it ends.
    let read = on_thread(move || {
        let _held = slot;
        convert(Download { bytes, memory }, written)
    });
    let read = read.await?;
    let Index { json, memory, skipped } = read.map_err(HelmRepositoryError::Index)?;
    if skipped > 0 {
        tracing::warn!(
            namespace,
            name = object.name_any(),
            skipped,
            "the index has versions that Helm does not read"
        );
    }
    let message = stored_message(Some(json.len() as u64), &object.spec.url);
    Ok(Fetched {
        file_stem: format!("index-{sha256}"),
        content: Content {
            payload: Payload::Bytes { media_type: MediaType::Yaml, bytes: Bytes::from(json) },
            memory: Some(memory),
        },
        metadata: BTreeMap::new(),
        announcement: Detail::new(Reason::NewArtifact, message),
        status: Map::new(),
        conditions: Vec::new(),
    })
}

/// The index of this digest, which is not stored any more.
async fn again(
    source: &HelmRepositorySource,
    namespace: &str,
    valid: &Valid,
    sha256: &str,
) -> Result<Box<File>, HelmRepositoryError> {
    let access = source.clients.access(namespace, valid).await?;
    let _slot = slot(&source.polls, namespace).await?;
    match index(source, namespace, valid, &access, &[]).await? {
        Downloaded::File(file) if file.sha256 == sha256 => Ok(file),
        Downloaded::File(_) | Downloaded::Unchanged => Err(HelmRepositoryError::Changed),
    }
}

/// The message of the event for an artifact.
pub fn stored_message(bytes: Option<u64>, url: &str) -> String {
    let size = bytes.map_or_else(|| "unknown size".to_owned(), |bytes| format!("size {}", human_size(bytes)));
    format!("stored fetched index of {size} from '{}'", shown(url))
}

/// The URL without what may be a secret: name, password and query.
fn shown(url: &str) -> String {
    if url.contains(['@', '?']) { plumb_transport::shown_text(url) } else { url.to_owned() }
}
