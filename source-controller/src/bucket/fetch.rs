//! The content of an artifact: the objects of the listing, each exactly as it was listed.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt as _;
use plumb_api::source::{Bucket, SourceCondition};
use plumb_bucket::{BucketError, Remote};
use plumb_filetree::{MemoryTree, RelPath, TreeBuilder, TreeError, digest::sha256_hex, ignore::IGNORE_FILE};
use plumb_memory::{Limit, MemoryReservation};
use plumb_status::{Detail, Reason};
use serde_json::Map;

use super::{
    BucketSource,
    error::BucketSourceError,
    resolve::{Found, inputs},
    rules::File,
    validate::Valid,
};
use crate::artifact::{Content, Fetched, Inputs, Payload, slot};

/// How long a fetch may take, whatever the timeout: it holds a slot that others wait for.
const PULL_MAX: Duration = Duration::from_mins(10);
/// Objects of one bucket that are fetched at a time.
const GETS_MAX: usize = 16;
/// Memory of an entry of a tree beside its path.
const ENTRY_BYTES: u64 = 192;
/// Hexadecimal digits that tell rules apart.
const RULES_DIGITS: usize = 8;

/// Fetches the objects that were listed.
pub async fn fetch(
    source: &BucketSource,
    object: &Bucket,
    valid: &Valid,
    found: Found,
) -> Result<Fetched<SourceCondition>, BucketSourceError> {
    let namespace = object.namespace().unwrap_or_default();
    let _slot = slot(&source.pulls, &namespace).await?;
    let Found { remote, files, ignore, listing: _charged, revision } = found;
    let bucket = valid.address.bucket();
    let (count, stem) =
        (files.len(), file_stem(&revision, &inputs(object), ignore.as_ref().map(|file| &file.bytes)));
    let limit = Limit { name: "files of a bucket (--bucket-max-size)", bytes_max: memory_max(source) };
    let mut gathered = Gathered {
        tree: MemoryTree::builder(source.tree),
        memory: source.buckets.memory().reservation(&namespace, limit),
        bucket: bucket.to_owned(),
    };
    admit(&gathered.tree, &files, source.tree.bytes_max).map_err(|error| gathered.failed(error))?;
    if let Some(plumb_bucket::Content { bytes, memory }) = ignore {
        drop(memory);
        // It is a valid path.
        if let Ok(path) = RelPath::parse(IGNORE_FILE) {
            gathered.add(&path, bytes)?;
        }
    }
    let remote = remote.restarted(valid.timeout.min(PULL_MAX));
    gather(&remote, files, &mut gathered, source.tree.file_bytes_max).await?;
    let Gathered { tree, memory, .. } = gathered;
    let text = format!("stored artifact with {count} fetched files from '{bucket}' bucket");
    Ok(Fetched {
        file_stem: stem,
        content: Content { payload: Payload::Tree(tree.build()), memory: Some(memory) },
        metadata: BTreeMap::new(),
        announcement: Detail::new(Reason::NewArtifact, text),
        status: Map::new(),
        conditions: Vec::new(),
    })
}

/// Files and what they take beside their content.
fn memory_max(source: &BucketSource) -> u64 {
    let entries = u64::try_from(source.tree.entries_max).unwrap_or(u64::MAX);
    source.tree.bytes_max.saturating_add(entries.saturating_mul(2 * ENTRY_BYTES))
}

/// Whether the files are within the limits, as the listing has them: before the first is fetched.
fn admit(tree: &TreeBuilder, files: &[File], bytes_max: u64) -> Result<(), TreeError> {
    let mut bytes = 0_u64;
    for File { path, object } in files {
        let size = object.size.unwrap_or_default();
        tree.admit(path, size)?;
        bytes = bytes.saturating_add(size);
    }
    if bytes > bytes_max { Err(TreeError::TooManyBytes { max: bytes_max }) } else { Ok(()) }
}

/// The files so far, and what they are charged to.
struct Gathered {
    tree: TreeBuilder,
    memory: MemoryReservation,
    bucket: String,
}

impl Gathered {
    fn add(&mut self, path: &RelPath, bytes: Vec<u8>) -> Result<(), BucketSourceError> {
        let charge = bytes.len() as u64 + ENTRY_BYTES + 2 * path.as_str().len() as u64;
        self.memory.try_grow(charge).map_err(BucketSourceError::OverBudget)?;
        match self.tree.file(path, Bytes::from(bytes), false) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, source: TreeError) -> BucketSourceError {
        BucketSourceError::Tree { bucket: self.bucket.clone(), source }
    }
}

/// Fetches several objects at a time. Dropping the future ends all of them.
async fn gather(
    remote: &Remote,
    files: Vec<File>,
    gathered: &mut Gathered,
    file_bytes_max: u64,
) -> Result<(), BucketSourceError> {
    let limit = Limit { name: "an object of a bucket", bytes_max: file_bytes_max };
    let bucket = gathered.bucket.clone();
    let failed = |key: String, source: BucketError| BucketSourceError::Fetch {
        bucket: bucket.clone(),
        key,
        source: Box::new(source),
    };
    let mut got = futures_util::stream::iter(files)
        .map(async |File { path, object }| match remote.get(&object, limit).await {
            Ok(content) => Ok((path, content)),
            Err(source) => Err(failed(object.key, source)),
        })
        .buffer_unordered(GETS_MAX);
    while let Some((path, content)) = got.try_next().await? {
        let plumb_bucket::Content { bytes, memory } = content;
        // Charged once: here, together with all others.
        drop(memory);
        gathered.add(&path, bytes)?;
    }
    Ok(())
}

/// The file of an artifact, as Flux names it. Rules are no part of the revision, so they are one of the name.
fn file_stem(revision: &str, inputs: &Inputs, ignore: Option<&Vec<u8>>) -> String {
    let digest = revision.strip_prefix("sha256:").unwrap_or(revision);
    if ignore.is_none() && inputs.fingerprint().is_none() {
        return digest.to_owned();
    }
    let of_file = ignore.map(|bytes| sha256_hex(bytes)).unwrap_or_default();
    let rules = sha256_hex(format!("{of_file} {}", inputs.fingerprint().unwrap_or_default()).as_bytes());
    format!("{digest}-{}", rules.get(..RULES_DIGITS).unwrap_or(&rules))
}
