//! The store in a bucket of an object store: the operations of the store on disk, and the content for the server. A file is written on
//! disk first, and uploaded then. Every replica may read; one at a time writes.

mod failure;
mod known;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use plumb_bucket::{
    Access, BucketAddress, BucketClient, BucketError, NewObject, Object, ObjectBody, ObjectHead, Remote,
};
use plumb_filetree::{
    RelPath,
    digest::{FileDigest, Hasher},
};
use plumb_transport::{Slot, Slots};

pub use self::failure::{BucketProblem, Operation};
use self::known::{File, Known};
use crate::{
    layout::{Location, is_artifact, media_type},
    retention::{Retention, Stored, expired},
    store::{Collected, Integrity, StoreError, Written},
};

/// How long a question about one object, or a listing, may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an artifact may take to be read.
const READ_TIMEOUT: Duration = Duration::from_mins(2);
/// How long an artifact may take to be uploaded.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);
/// How long an artifact may take to be sent to a client; a client that takes nothing is closed sooner.
const SERVE_TIMEOUT: Duration = Duration::from_mins(30);
/// Operations of attempts at a time.
const OPERATIONS_MAX: usize = 16;
/// How long one waits for the others: a new leader reads every artifact once.
const SLOT_WAIT_MAX: Duration = Duration::from_mins(5);
/// Requests of clients at a time: half of them for one address.
const SERVED_MAX: usize = 128;
/// How long one waits for the others.
const SERVED_WAIT_MAX: Duration = Duration::from_secs(5);
/// After this time an object's files are listed again: somebody else may have written or deleted some.
const LISTED_FOR: Duration = Duration::from_hours(1);
/// An upload that began so long ago has no process any more.
const UNFINISHED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// What downloads are charged to.
const DOWNLOADS: &str = "artifact server";
/// Bytes of a key, with all providers. What is longer is no artifact.
const KEY_MAX: usize = 1024;
/// Characters of a prefix.
const PREFIX_MAX: usize = 256;

/// Gives access for an operation. It is called for each, so that a credential may be replaced.
pub type AccessSource = Arc<dyn Fn() -> Result<Access, String> + Send + Sync>;

/// Where artifacts are kept.
#[derive(Clone)]
pub struct BucketSettings {
    /// The bucket.
    pub address: BucketAddress,
    /// What keys begin with: empty, or with a slash at its end.
    pub prefix: KeyPrefix,
    /// Trust, proxy and credential.
    pub access: AccessSource,
}

/// What the keys of all artifacts begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPrefix(String);

/// A text cannot be the prefix of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{prefix:?} cannot be a prefix of keys: it may have 256 letters, digits and '-_./', and no part '.', '..' or ''"
)]
pub struct PrefixError {
    prefix: String,
}

impl std::str::FromStr for KeyPrefix {
    type Err = PrefixError;

    /// Slashes at both ends do not count.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let parts = text.trim_matches('/');
        if parts.is_empty() {
            return Ok(Self::default());
        }
        let is_part = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if parts.len() > PREFIX_MAX || !parts.split('/').all(is_part) {
            return Err(PrefixError { prefix: text.to_owned() });
        }
        Ok(Self(format!("{parts}/")))
    }
}

impl std::fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The artifacts below one prefix of a bucket. Clones share it.
#[derive(Clone)]
pub struct BucketStore(Arc<Inner>);

struct Inner {
    client: BucketClient,
    settings: BucketSettings,
    known: Mutex<Known>,
    operations: Slots,
    served: Slots,
}

/// A content that is sent to a client.
pub(crate) struct Served {
    pub body: ObjectBody,
    /// Held as long as it is sent.
    pub _slot: Slot,
}

impl BucketStore {
    /// The longest that the operations of one attempt take together: a check, a collection and an upload, with their waits.
    pub const ATTEMPT_MAX: Duration = Duration::from_mins(30);

    /// A store in a bucket. Nothing is requested yet.
    pub fn new(client: BucketClient, settings: BucketSettings) -> Self {
        Self(Arc::new(Inner {
            client,
            settings,
            known: Mutex::default(),
            operations: Slots::new(OPERATIONS_MAX),
            served: Slots::new(SERVED_MAX),
        }))
    }

    /// Uploads a file that was written on disk.
    pub async fn upload(
        &self,
        location: &Location,
        written: &Written,
        file: &Path,
    ) -> Result<(), StoreError> {
        let Written { path, digest, size } = written;
        let failed = self.failure(Operation::Store, path);
        let (remote, _slot) = self.operation(location, UPLOAD_TIMEOUT).await.map_err(&failed)?;
        let opened = tokio::fs::File::open(file).await;
        let mut content = opened.map_err(|error| failed(BucketProblem::File(error)))?;
        let key = self.key(path);
        let new = NewObject { key: &key, digest, size: *size, media_type: media_type(path) };
        // Until they are known again: an upload that fails may have made or replaced the object.
        self.known().forget(path);
        self.known().forget_files(location);
        remote.put(&new, &mut content).await.map_err(|error| failed(error.into()))?;
        let head = remote.head(&key).await.map_err(|error| failed(error.into()))?;
        let is_it = head.as_ref().is_some_and(|head| is_of(head, digest) && head.size == *size);
        let Some(head) = head.filter(|_| is_it) else { return Err(failed(BucketProblem::Lost)) };
        self.known().note_verified(path, &head.etag);
        Ok(())
    }

    /// Compares a stored object with the digest of a status. One that differs is deleted: it must not be served.
    pub async fn verify(
        &self,
        location: &Location,
        path: &str,
        digest: &str,
    ) -> Result<Integrity, StoreError> {
        if !location.holds(path) {
            return Ok(Integrity::Missing);
        }
        let failed = self.failure(Operation::Read, path);
        let (remote, _slot) = self.operation(location, READ_TIMEOUT).await.map_err(&failed)?;
        let key = self.key(path);
        let Some(head) = remote.head(&key).await.map_err(|error| failed(error.into()))? else {
            self.known().forget(path);
            return Ok(Integrity::Missing);
        };
        if !is_of(&head, digest) {
            self.discard(&remote, path).await?;
            return Ok(Integrity::Mismatch);
        }
        if self.known().is_verified(path, &head.etag) {
            return Ok(Integrity::Intact);
        }
        // Not written by this process, or written over since.
        let same = content_has(&remote, &key, &head, digest).await.map_err(|error| failed(error.into()))?;
        match same {
            None => Ok(Integrity::Missing),
            Some(false) => {
                self.discard(&remote, path).await?;
                Ok(Integrity::Mismatch)
            }
            Some(true) => {
                self.known().note_verified(path, &head.etag);
                Ok(Integrity::Intact)
            }
        }
    }

    async fn discard(&self, remote: &Remote, path: &str) -> Result<(), StoreError> {
        self.known().forget(path);
        let failed = self.failure(Operation::Remove, path);
        remote.delete(&self.key(path)).await.map_err(|error| failed(error.into()))
    }

    /// The bytes of an artifact that a status announces, of at most `bytes_max`, which the caller has charged; none where it is
    /// missing or does not match its digest.
    pub async fn read(
        &self,
        location: &Location,
        path: &str,
        digest: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if !location.holds(path) {
            return Ok(None);
        }
        let failed = self.failure(Operation::Read, path);
        let (remote, _slot) = self.operation(location, READ_TIMEOUT).await.map_err(&failed)?;
        let key = self.key(path);
        let head = remote.head(&key).await.map_err(|error| failed(error.into()))?;
        let Some(head) = head.filter(|head| is_of(head, digest)) else { return Ok(None) };
        if head.size > bytes_max {
            return Err(failed(BucketProblem::TooLarge { size: head.size, max: bytes_max }));
        }
        let Ok(expected) = digest.parse::<FileDigest>() else { return Ok(None) };
        let opened = remote.open(&key, &head, None).await.map_err(|error| failed(error.into()))?;
        let Some(mut body) = opened else { return Ok(None) };
        let (mut bytes, mut hasher) = (Vec::new(), Hasher::new(expected.algorithm()));
        while let Some(piece) = body.next().await.map_err(|error| failed(error.into()))? {
            hasher.update(&piece);
            bytes.extend_from_slice(&piece);
        }
        Ok((hasher.finish() == expected).then_some(bytes))
    }

    /// Deletes files of an object other than its current one.
    pub async fn collect(
        &self,
        location: &Location,
        current: Option<&str>,
        retention: Retention,
        now: SystemTime,
    ) -> Result<Collected, StoreError> {
        let failed = self.failure(Operation::Remove, &location.to_string());
        let listed = self.known().files(location, LISTED_FOR);
        let files = if let Some(files) = listed {
            files
        } else {
            let (remote, _slot) = self.operation(location, LOOK_TIMEOUT).await.map_err(&failed)?;
            let files = self.list(&remote, location).await.map_err(|error| failed(error.into()))?;
            self.known().note_listed(location, files.clone());
            files
        };
        let age = |written| now.duration_since(written).unwrap_or_default();
        let stored: Vec<Stored> =
            files.iter().map(|file| Stored { name: file.name.clone(), age: age(file.written) }).collect();
        let current = current.and_then(|path| path.rsplit('/').next());
        let expired = expired(&stored, current, retention);
        if expired.is_empty() {
            return Ok(Collected::default());
        }
        let (remote, _slot) = self.operation(location, LOOK_TIMEOUT).await.map_err(&failed)?;
        for name in &expired {
            let path = format!("{location}/{name}");
            remote.delete(&self.key(&path)).await.map_err(|error| failed(error.into()))?;
            self.known().note_deleted(location, &path);
        }
        Ok(Collected { artifacts: expired.len() })
    }

    /// Namespaces and names of the objects of a kind that have artifacts here which were not changed for a while, sorted.
    pub async fn objects(
        &self,
        kind: &str,
        unchanged_for: Duration,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let kind = kind.to_ascii_lowercase();
        let failed = self.failure(Operation::List, &kind);
        let remote = self.connect(&kind, READ_TIMEOUT).await.map_err(&failed)?;
        let prefix = self.key(&format!("{kind}/"));
        let listing = remote.list(&prefix, &mut |_| true).await.map_err(|error| failed(error.into()))?;
        let now = SystemTime::now();
        let mut found: Vec<((String, String), bool)> = Vec::new();
        for object in &listing.objects {
            let Some(path) = self.artifact_path(object) else { continue };
            let mut parts = path.components().skip(1).map(str::to_owned);
            let (Some(namespace), Some(name)) = (parts.next(), parts.next()) else { continue };
            if let Ok(location) = Location::new(&kind, &namespace, &name) {
                self.known().note_found(&location);
            }
            let is_old = now.duration_since(written(object)).unwrap_or_default() >= unchanged_for;
            match found.last_mut() {
                Some((last, all_old)) if *last == (namespace.clone(), name.clone()) => *all_old &= is_old,
                _ => found.push(((namespace, name), is_old)),
            }
        }
        let mut found: Vec<_> =
            found.into_iter().filter(|(_, is_old)| *is_old).map(|(object, _)| object).collect();
        found.sort();
        Ok(found)
    }

    /// Deletes everything of an object; how many artifacts there were.
    pub async fn remove(&self, location: &Location) -> Result<Collected, StoreError> {
        let failed = self.failure(Operation::Remove, &location.to_string());
        // An object without artifacts may be reconciled often, as a HelmRepository of the type oci.
        if self.known().files(location, LISTED_FOR).is_some_and(|files| files.is_empty()) {
            return Ok(Collected::default());
        }
        let (remote, _slot) = self.operation(location, READ_TIMEOUT).await.map_err(&failed)?;
        self.known().forget_files(location);
        let files = self.list(&remote, location).await.map_err(|error| failed(error.into()))?;
        for File { name, .. } in &files {
            let key = self.key(&format!("{location}/{name}"));
            remote.delete(&key).await.map_err(|error| failed(error.into()))?;
        }
        self.known().note_listed(location, Vec::new());
        Ok(Collected { artifacts: files.len() })
    }

    /// Aborts uploads that a process began a day ago and did not end; how many.
    pub async fn abort_unfinished(&self) -> Result<usize, StoreError> {
        let failed = self.failure(Operation::Remove, self.0.settings.prefix.0.as_str());
        let remote = self.connect(DOWNLOADS, READ_TIMEOUT).await.map_err(&failed)?;
        let before = Timestamp::now() - UNFINISHED_FOR;
        let aborted = remote.abort_unfinished(&self.0.settings.prefix.0, before).await;
        aborted.map_err(|error| failed(error.into()))
    }

    /// The head of an artifact that a client requests, and the place of its request. What Plumb did not write is not there.
    /// `client` is its address: each has its share of these requests.
    pub(crate) async fn look(
        &self,
        path: &RelPath,
        client: &str,
    ) -> Result<Option<(ObjectHead, Slot)>, StoreError> {
        let key = self.key(path.as_str());
        if key.len() > KEY_MAX || key.contains(char::is_control) {
            return Ok(None);
        }
        let failed = self.failure(Operation::Read, path.as_str());
        let slot = self.0.served.acquire_within(client, SERVED_WAIT_MAX).await;
        let busy =
            |_| failed(BucketProblem::Busy { max: SERVED_MAX, client_max: self.0.served.consumer_max() });
        let slot = slot.map_err(busy)?;
        let remote = self.connect(DOWNLOADS, LOOK_TIMEOUT).await.map_err(&failed)?;
        let head = remote.head(&key).await.map_err(|error| failed(error.into()))?;
        Ok(head.filter(|head| head.digest.is_some()).map(|head| (head, slot)))
    }

    /// The content of an artifact that a client requests.
    pub(crate) async fn open(
        &self,
        path: &RelPath,
        (head, slot): (&ObjectHead, Slot),
        range: Option<(u64, u64)>,
    ) -> Result<Option<Served>, StoreError> {
        let failed = self.failure(Operation::Read, path.as_str());
        let remote = self.connect(DOWNLOADS, SERVE_TIMEOUT).await.map_err(&failed)?;
        let key = self.key(path.as_str());
        let opening = remote.open(&key, head, range);
        // The body has more time than its beginning.
        let opened = tokio::time::timeout(LOOK_TIMEOUT, opening).await.unwrap_or(Err(BucketError::TimedOut));
        let body = opened.map_err(|error| failed(error.into()))?;
        Ok(body.map(|body| Served { body, _slot: slot }))
    }

    async fn list(&self, remote: &Remote, location: &Location) -> Result<Vec<File>, BucketError> {
        let listing = remote.list(&self.key(&format!("{location}/")), &mut |_| true).await?;
        let file = |object: &Object| {
            let path = self.artifact_path(object)?;
            let name = path.file_name().filter(|_| location.holds(path.as_str()))?.to_owned();
            Some(File { name, written: written(object) })
        };
        Ok(listing.objects.iter().filter_map(file).collect())
    }

    /// The path of an object that has the form of an artifact.
    fn artifact_path(&self, object: &Object) -> Option<RelPath> {
        let path = object.key.strip_prefix(&self.0.settings.prefix.0)?;
        RelPath::parse(path).ok().filter(is_artifact)
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.0.settings.prefix)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is whole before anything can panic.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection for an operation of an attempt, and its slot.
    async fn operation(
        &self,
        location: &Location,
        timeout: Duration,
    ) -> Result<(Remote, Slot), BucketProblem> {
        let namespace = location.namespace();
        let slot = self.0.operations.acquire_within(namespace, SLOT_WAIT_MAX).await;
        let slot = slot.map_err(BucketProblem::NoSlot)?;
        Ok((self.connect(namespace, timeout).await?, slot))
    }

    async fn connect(&self, consumer: &str, timeout: Duration) -> Result<Remote, BucketProblem> {
        let Inner { client, settings, .. } = &*self.0;
        let access = (settings.access)().map_err(BucketProblem::Credential)?;
        Ok(client.connect(consumer, &settings.address, access, timeout).await?)
    }

    fn failure(&self, operation: Operation, path: &str) -> impl Fn(BucketProblem) -> StoreError + use<> {
        let (bucket, path) = (self.0.settings.address.bucket().to_owned(), path.to_owned());
        move |source| StoreError::Bucket {
            operation,
            path: path.clone(),
            bucket: bucket.clone(),
            source: Box::new(source),
        }
    }
}

/// Whether an object was written with this digest.
fn is_of(head: &ObjectHead, digest: &str) -> bool {
    head.digest.as_deref() == Some(digest)
}

/// Whether the content has a digest; none where it has gone meanwhile.
async fn content_has(
    remote: &Remote,
    key: &str,
    head: &ObjectHead,
    digest: &str,
) -> Result<Option<bool>, BucketError> {
    let Ok(expected) = digest.parse::<FileDigest>() else { return Ok(Some(false)) };
    let Some(mut body) = remote.open(key, head, None).await? else { return Ok(None) };
    let mut hasher = Hasher::new(expected.algorithm());
    while let Some(piece) = body.next().await? {
        hasher.update(&piece);
    }
    Ok(Some(hasher.finish() == expected))
}

/// When an object was written. One without a time is taken for a new one.
fn written(object: &Object) -> SystemTime {
    object.modified.map_or_else(SystemTime::now, SystemTime::from)
}
