//! The content of an artifact: one of its layers, pulled by digest, unpacked or as it is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kube::ResourceExt as _;
use plumb_api::source::{OCIRepository, SourceCondition};
use plumb_archive::{UnpackLimits, unpack};
use plumb_memory::{Limit, MemoryReservation};
use plumb_oci::Blob;
use plumb_status::{Detail, Reason};
use plumb_transport::Slot;
use serde_json::Map;

use super::{
    OciSource, Pull,
    error::{LayerError, OciSourceError},
    layer::select,
    resolve::inputs,
    validate::Valid,
};
use crate::artifact::{
    Content, Fetched, IgnoreError, Inputs, MediaType, Payload, on_thread, slot, without_ignored,
};

/// How long a pull may take, whatever the timeout: it holds a slot that others wait for.
const PULL_MAX: Duration = Duration::from_mins(10);
/// Memory of an entry of a tree beside its path.
const ENTRY_BYTES: u64 = 192;
/// Annotations that say where an artifact comes from: they are always kept.
const SOURCE: &str = "org.opencontainers.image.source";
const REVISION: &str = "org.opencontainers.image.revision";
/// Bytes of annotations that are copied into the status: the API server bounds the object.
const METADATA_BYTES_MAX: usize = 64 << 10;

/// Pulls the artifact that was resolved.
pub async fn fetch(
    source: &OciSource,
    object: &OCIRepository,
    valid: &Valid,
    pull: Pull,
) -> Result<Fetched<SourceCondition>, OciSourceError> {
    let namespace = object.namespace().unwrap_or_default();
    let slot = slot(&source.pulls, &namespace).await?;
    let Pull { access, remote, digest, revision } = pull;
    let timeout = valid.timeout.min(PULL_MAX);
    let failed = |error| OciSourceError::Pull { url: object.spec.url.clone(), source: error };
    let remote = if let Some(remote) = remote {
        remote.restarted(timeout)
    } else {
        let remote = source.registries.connect(&namespace, &valid.repository, access, timeout).await;
        remote.map_err(failed)?
    };
    let manifest = remote.manifest(&digest).await.map_err(failed)?;
    let layer = select(&manifest, &valid.layer).map_err(OciSourceError::Layer)?;
    let Blob { bytes, memory } = remote.blob(layer).await.map_err(failed)?;
    let content = if valid.layer.copies {
        Content {
            payload: Payload::Bytes { media_type: MediaType::TarGz, bytes: Bytes::from(bytes) },
            memory: Some(memory),
        }
    } else {
        let limit = Limit { name: "files of an OCI artifact", bytes_max: source.unpack.unpacked_bytes_max };
        let files = source.memory.reservation(&namespace, limit);
        extracted(slot, Blob { bytes, memory }, files, valid.ignore.clone(), (source.unpack, timeout)).await?
    };
    let metadata = bounded(manifest.annotations);
    Ok(Fetched {
        file_stem: file_stem(digest.as_str(), &inputs(object)),
        content,
        announcement: Detail::new(
            Reason::NewArtifact,
            stored_message(&revision, &object.spec.url, &metadata),
        ),
        metadata,
        status: Map::new(),
        conditions: Vec::new(),
    })
}

/// Unpacks a layer on a thread. The thread holds the slot: also when its caller is dropped, no other one begins before it ends.
async fn extracted(
    slot: Slot,
    blob: Blob,
    mut memory: MemoryReservation,
    ignore: Option<String>,
    (limits, timeout): (UnpackLimits, Duration),
) -> Result<Content, OciSourceError> {
    let work = move || {
        let _held = slot;
        let end = Instant::now() + timeout;
        let all = unpack(&blob.bytes, &limits, &mut memory).map_err(LayerError::Unpack)?;
        drop(blob);
        // For a moment there are two trees; contents are shared.
        let paths = all.iter().map(|(path, _)| ENTRY_BYTES + 2 * path.as_str().len() as u64).sum();
        memory.try_grow(paths).map_err(LayerError::OverBudget)?;
        let is_over = || Instant::now() >= end;
        let tree = match without_ignored(&all, ignore.as_deref(), limits.tree, &is_over) {
            Err(IgnoreError::Interrupted) => return Err(LayerError::TooSlow { seconds: timeout.as_secs() }),
            other => other.map_err(LayerError::Ignore)?,
        };
        drop(all);
        memory.shrink(paths);
        Ok::<_, LayerError>(Content { payload: Payload::Tree(tree), memory: Some(memory) })
    };
    on_thread(work).await?.map_err(OciSourceError::Layer)
}

/// The message of the event for an artifact.
pub fn stored_message(revision: &str, url: &str, metadata: &BTreeMap<String, String>) -> String {
    let origin = match (metadata.get(SOURCE), metadata.get(REVISION)) {
        (Some(source), Some(revision)) => {
            format!(", origin source '{source}', origin revision '{revision}'")
        }
        _ => String::new(),
    };
    format!("stored artifact with revision '{revision}' from '{url}'{origin}")
}

/// As many annotations as fit into a status: those that tell the origin first.
fn bounded(annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut left = METADATA_BYTES_MAX;
    let mut all: Vec<(String, String)> = annotations.into_iter().collect();
    all.sort_by_key(|(key, _)| ![SOURCE, REVISION].contains(&key.as_str()));
    let fits = |(key, value): &(String, String)| {
        let bytes = key.len() + value.len();
        let fits = bytes <= left;
        left -= if fits { bytes } else { 0 };
        fits
    };
    all.into_iter().filter(fits).collect()
}

/// The file of an artifact, as Flux names it. Other inputs make another file of the same artifact.
fn file_stem(digest: &str, inputs: &Inputs) -> String {
    match inputs.fingerprint() {
        None => digest.to_owned(),
        Some(fingerprint) => format!("{digest}-{fingerprint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_tells_the_origin_where_it_is_known() {
        let annotations = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(
            stored_message(
                "v1@sha256:1",
                "oci://h/a",
                &annotations(&[(SOURCE, "https://g/a"), (REVISION, "main@sha1:2")])
            ),
            "stored artifact with revision 'v1@sha256:1' from 'oci://h/a', origin source 'https://g/a', origin revision 'main@sha1:2'"
        );
        assert_eq!(
            stored_message("v1@sha256:1", "oci://h/a", &annotations(&[(SOURCE, "https://g/a")])),
            "stored artifact with revision 'v1@sha256:1' from 'oci://h/a'"
        );
    }

    #[test]
    fn annotations_that_do_not_fit_are_left_out() {
        let long = "x".repeat(METADATA_BYTES_MAX);
        let annotations = [("a", long.as_str()), (REVISION, "main@sha1:2"), ("z", "short")];
        let kept = bounded(annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect());
        assert_eq!(kept.keys().collect::<Vec<_>>(), [REVISION, "z"]);
    }
}
