//! The storage of artifacts, as attempts use it: on disk, each operation on a blocking thread; or in a bucket, where the
//! disk has a copy of what this process wrote.

use std::{
    collections::BTreeMap,
    fs::File,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use plumb_api::meta::{Artifact, DIRECTORY_DIGESTS_METADATA};
use plumb_archive::Previous;
use plumb_cluster::NamespacedName;
use plumb_memory::{MemoryReservation, OverBudget};
use plumb_runtime::Object;
use plumb_store::{
    Advertised, ArtifactStore, BucketStore, Collected, Integrity, Location, Retention, StoreError, Written,
};

use super::{
    decide::{Loss, Stored},
    source::{Content, Payload, SourceObject},
    turn::{Interrupted, on_thread},
};

/// What an attempt may use in addition to its operations on the source: Secrets, and the storage on disk.
const ALLOWANCE: Duration = Duration::from_mins(1);

/// Why an artifact could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(OverBudget),
}

/// Content that was stored.
pub struct StoredContent {
    /// The file.
    pub written: Written,
    /// The digests of its directories, of a tree.
    directories: Option<String>,
}

/// Where artifacts are stored, announced and how long they are retained.
#[derive(Clone)]
pub struct Storage {
    /// The files; copies of them where they are in a bucket.
    pub store: ArtifactStore,
    /// The bucket that they are uploaded to, and served from.
    pub bucket: Option<BucketStore>,
    /// The address of the artifact server.
    pub advertised: Advertised,
    /// Which artifacts are retained.
    pub retention: Retention,
}

impl Storage {
    /// The archive that a status announces, with its index, if it is on disk as announced. Where artifacts are in a bucket, that is a
    /// copy which nobody has compared yet. Blocking.
    pub fn previous(
        &self,
        location: &Location,
        path: &str,
        digest: &str,
    ) -> Result<Option<Previous<File>>, StoreError> {
        if self.is_remote() && self.store.verify(location, path, digest)? != Integrity::Intact {
            return Ok(None);
        }
        self.store.previous(location, path, digest)
    }

    /// Whether its operations wait for a server.
    pub fn is_remote(&self) -> bool {
        self.bucket.is_some()
    }

    /// What an attempt may use in addition to its operations on the source.
    pub(super) fn allowance(&self) -> Duration {
        if self.is_remote() { ALLOWANCE + BucketStore::ATTEMPT_MAX } else { ALLOWANCE }
    }

    /// The artifact with the URL that holds today.
    pub fn announced(&self, artifact: Artifact) -> Artifact {
        Artifact { url: self.advertised.url(&artifact.path), ..artifact }
    }

    /// Compares the artifact of the status with the storage. A stored file that does not match its digest is removed at once: it
    /// must not be served.
    pub(super) async fn check<O: SourceObject>(&self, object: &O) -> Result<Stored, StoreError> {
        let Some(artifact) = object.artifact() else { return Ok(Stored::Never) };
        let (path, digest) = (artifact.path.clone(), artifact.digest.clone());
        let integrity = self.verify_at(location(object)?, path, digest).await?;
        Ok(match Loss::of(integrity) {
            Some(loss) => Stored::Lost(loss),
            None => Stored::Intact { revision: artifact.revision.clone() },
        })
    }

    /// Reads the artifact of an object, of another kind perhaps; none where it is not stored as the status announces it. It is
    /// charged before it is read: one whose status has no size is taken for one of `bytes_max`.
    pub async fn read<O: SourceObject>(
        &self,
        object: &O,
        bytes_max: u64,
        mut memory: MemoryReservation,
    ) -> Result<Option<(Vec<u8>, MemoryReservation)>, ReadError> {
        let Some(artifact) = object.artifact() else { return Ok(None) };
        self.read_at(location(object)?, artifact, bytes_max, &mut memory)
            .await
            .map(|read| read.map(|bytes| (bytes, memory)))
    }

    /// Reads an artifact in a directory; none where it is not stored as announced.
    pub async fn read_at(
        &self,
        location: Location,
        artifact: &Artifact,
        bytes_max: u64,
        memory: &mut MemoryReservation,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let (path, digest) = (artifact.path.clone(), artifact.digest.clone());
        let size = artifact.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(bytes_max);
        memory.try_grow(size).map_err(ReadError::OverBudget)?;
        let (of_thread, path_of_thread, digest_of_thread) = (location.clone(), path.clone(), digest.clone());
        let on_disk = self
            .on_thread(move |store| store.read(&of_thread, &path_of_thread, &digest_of_thread, size))
            .await;
        match (&self.bucket, on_disk) {
            // The disk is a copy of what this process wrote.
            (Some(bucket), Ok(None) | Err(_)) => Ok(bucket.read(&location, &path, &digest, size).await?),
            (_, on_disk) => Ok(on_disk?),
        }
    }

    /// Compares a stored file with a digest. One that does not match is removed at once.
    pub async fn verify_at(
        &self,
        location: Location,
        path: String,
        digest: String,
    ) -> Result<Integrity, StoreError> {
        match &self.bucket {
            Some(bucket) => bucket.verify(&location, &path, &digest).await,
            None => self.on_thread(move |store| store.verify(&location, &path, &digest)).await,
        }
    }

    /// The artifact of content that was stored, as a status announces it.
    pub fn artifact(
        &self,
        stored: StoredContent,
        revision: String,
        mut metadata: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Artifact {
        let StoredContent { written, directories } = stored;
        // Whoever made the content must not choose them.
        metadata.remove(DIRECTORY_DIGESTS_METADATA);
        metadata.extend(directories.map(|digests| (DIRECTORY_DIGESTS_METADATA.to_owned(), digests)));
        self.announced(Artifact {
            digest: written.digest,
            last_update_time: now,
            metadata,
            path: written.path,
            revision,
            size: i64::try_from(written.size).ok(),
            url: String::new(),
        })
    }

    /// Stores content under a name.
    pub(super) async fn put<O: Object>(
        &self,
        object: &O,
        file_stem: &str,
        content: Content,
    ) -> Result<StoredContent, StoreError> {
        self.put_at(location(object)?, file_stem, content).await
    }

    /// Stores content under a name in a directory.
    pub async fn put_at(
        &self,
        location: Location,
        file_stem: &str,
        content: Content,
    ) -> Result<StoredContent, StoreError> {
        let Content { payload, memory } = content;
        let file = format!("{file_stem}{}", payload.extension());
        let directory = location.clone();
        let stored = self.on_thread(move |store| {
            let (written, directories) = match payload {
                Payload::Tree(tree) => {
                    let (written, archive) = store.put(&location, &file, &tree)?;
                    (written, Some(archive.directories.to_string()))
                }
                Payload::Archive { spool, archive } => {
                    let written = store.put_archive(&location, &file, spool, &archive)?;
                    (written, Some(archive.directories.to_string()))
                }
                Payload::Bytes { media_type: _, bytes } => (store.put_bytes(&location, &file, &bytes)?, None),
            };
            drop(memory);
            Ok(StoredContent { written, directories })
        });
        let stored = stored.await?;
        if let Some(bucket) = &self.bucket {
            bucket.upload(&directory, &stored.written, &self.store.file(&stored.written)).await?;
        }
        Ok(stored)
    }

    /// Removes expired artifacts of an object; the current one stays.
    pub(super) async fn collect<O: Object>(
        &self,
        object: &O,
        current: Option<String>,
        now: Timestamp,
    ) -> Result<Collected, StoreError> {
        self.collect_at(location(object)?, current, now).await
    }

    /// Removes expired artifacts of a directory; the current one stays.
    pub async fn collect_at(
        &self,
        location: Location,
        current: Option<String>,
        now: Timestamp,
    ) -> Result<Collected, StoreError> {
        let (retention, now) = (self.retention, SystemTime::from(now));
        let (of_thread, path) = (location.clone(), current.clone());
        let on_disk =
            self.on_thread(move |store| store.collect(&of_thread, path.as_deref(), retention, now)).await?;
        match &self.bucket {
            Some(bucket) => bucket.collect(&location, current.as_deref(), retention, now).await,
            None => Ok(on_disk),
        }
    }

    /// Removes everything that was stored for an object.
    pub(super) async fn remove<O: Object>(&self, object: &O) -> Result<Collected, StoreError> {
        self.remove_at(location(object)?).await
    }

    /// The objects of a kind that have artifacts which were not changed for a while.
    pub(super) async fn objects<O: Object>(
        &self,
        unchanged_for: Duration,
    ) -> Result<Vec<NamespacedName>, StoreError> {
        let kind = O::kind(&()).into_owned();
        let of_bucket = match &self.bucket {
            Some(bucket) => bucket.objects(&kind, unchanged_for).await?,
            None => Vec::new(),
        };
        let mut all = self.on_thread(move |store| store.objects(&kind, unchanged_for)).await?;
        all.extend(of_bucket);
        all.sort();
        all.dedup();
        Ok(all.into_iter().map(|(namespace, name)| NamespacedName::new(&namespace, &name)).collect())
    }

    /// Removes everything of an object that may be gone.
    pub(super) async fn remove_of<O: Object>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Collected, StoreError> {
        let location = Location::new(&O::kind(&()), namespace, name);
        self.remove_at(location.map_err(|source| StoreError::Location { source })?).await
    }

    /// Removes everything in a directory.
    pub async fn remove_at(&self, location: Location) -> Result<Collected, StoreError> {
        let of_thread = location.clone();
        let on_disk = self.on_thread(move |store| store.remove(&of_thread)).await?;
        match &self.bucket {
            Some(bucket) => bucket.remove(&location).await,
            None => Ok(on_disk),
        }
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ArtifactStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        on_thread(move || work(&store)).await.map_err(|Interrupted| StoreError::Interrupted)?
    }
}

/// The directory of an object's artifacts.
fn location<O: Object>(object: &O) -> Result<Location, StoreError> {
    let NamespacedName { namespace, name } = NamespacedName::of(object);
    Location::new(&O::kind(&()), &namespace, &name).map_err(|source| StoreError::Location { source })
}
