//! Which objects a bucket has now, and the revision that they make: a listing, and the file with ignore rules where there is one.

use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use plumb_api::source::{Bucket, SourceCondition};
use plumb_bucket::{BucketError, Content, Listing, Object, Remote, revision};
use plumb_filetree::ignore::IGNORE_FILE;
use plumb_memory::Limit;

use super::{
    BucketSource,
    access::access,
    error::BucketSourceError,
    rules::{File, Over, files, included, rules},
    validate::Valid,
};
use crate::artifact::{Input, Inputs, Resolved, on_thread, slot};

/// How long a poll may take, whatever the timeout: it holds a slot that others wait for.
const POLL_MAX: Duration = Duration::from_mins(5);
/// The file with ignore rules.
const IGNORE_FILE_LIMIT: Limit = Limit { name: "the .sourceignore of a bucket", bytes_max: 1 << 20 };

/// What a bucket has.
pub struct Found {
    /// The bucket.
    pub remote: Remote,
    /// The files of the artifact, in the order of their paths.
    pub files: Vec<File>,
    /// The file with ignore rules.
    pub ignore: Option<Content>,
    /// What the listing is charged to.
    pub listing: Listing,
    /// What they make.
    pub revision: String,
}

/// Lists the bucket. What it leaves can fetch the objects.
pub async fn resolve(
    source: &BucketSource,
    object: &Bucket,
    valid: &Valid,
) -> Result<Resolved<Found, SourceCondition>, BucketSourceError> {
    let namespace = object.namespace().unwrap_or_default();
    let access = access(source, &namespace, valid).await?;
    let _slot = slot(&source.polls, &namespace).await?;
    let timeout = valid.timeout.min(POLL_MAX);
    let remote = source.buckets.connect(&namespace, &valid.address, access, timeout).await;
    let remote = remote.map_err(|error| BucketSourceError::Connect(Box::new(error)))?;
    let found = find(remote, valid, timeout).await?;
    Ok(Resolved {
        revision: found.revision.clone(),
        inputs: inputs(object),
        conditions: Vec::new(),
        remote: found,
    })
}

async fn find(remote: Remote, valid: &Valid, timeout: Duration) -> Result<Found, BucketSourceError> {
    let bucket = valid.address.bucket().to_owned();
    let failed = |source| match source {
        BucketError::NoBucket { bucket } => BucketSourceError::NoBucket { bucket },
        source => BucketSourceError::List { bucket: bucket.clone(), source: Box::new(source) },
    };
    let mut listing = remote.list(&valid.prefix, &mut |_| true).await.map_err(failed)?;
    let objects = std::mem::take(&mut listing.objects);
    let ignore = ignore_file(&remote, &valid.prefix, &objects).await;
    let ignore = ignore.map_err(|error| BucketSourceError::IgnoreFile(Box::new(error)))?;
    let compiled = rules(ignore.as_ref().map(|content| content.bytes.as_slice()), valid.ignore.as_deref());
    let compiled = compiled.map_err(|source| BucketSourceError::Rules { bucket: bucket.clone(), source })?;
    let end = Instant::now() + timeout;
    // Comparing many keys takes a while.
    let work = move || {
        let objects = included(objects, &compiled, &|| Instant::now() >= end)?;
        let revision = revision(&objects);
        Ok((files(objects), revision))
    };
    let (files, revision) = on_thread(work)
        .await?
        .map_err(|Over| BucketSourceError::TooSlow { bucket: bucket.clone(), seconds: timeout.as_secs() })?;
    let files = files.map_err(|error| BucketSourceError::Key { bucket, source: Box::new(error) })?;
    Ok(Found { remote, files, ignore, listing, revision })
}

/// The file with ignore rules: of the root of the bucket, also where a prefix leaves it out of the listing.
async fn ignore_file(
    remote: &Remote,
    prefix: &str,
    objects: &[Object],
) -> Result<Option<Content>, BucketError> {
    if !IGNORE_FILE.starts_with(prefix) {
        return remote.find(IGNORE_FILE, IGNORE_FILE_LIMIT).await;
    }
    match objects.iter().find(|object| object.key == IGNORE_FILE) {
        Some(object) => remote.get(object, IGNORE_FILE_LIMIT).await.map(Some),
        None => Ok(None),
    }
}

/// What an artifact is made with.
pub fn inputs(object: &Bucket) -> Inputs {
    Inputs(vec![Input::new("observedIgnore", "spec.ignore", &object.spec.ignore)])
}
