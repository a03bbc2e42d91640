//! The store itself: atomic put, integrity check, collection, removal. Blocking; callers run it on a blocking thread. An advertised
//! file is complete and on the disk, also after a crash of the machine.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use plumb_archive::{Previous, WriteError, WrittenArchive, write_tree};
use plumb_filetree::{
    MemoryTree, RelPath,
    digest::{DigestAlgorithm, FileDigest, FileDigestError, Hasher},
};
use plumb_status::{Classify, Consequence, Reason};

use crate::{
    abandoned,
    bucket::{BucketProblem, Operation},
    layout::{LOCK_SUFFIX, Location, LocationError, index_name, is_index},
    retention::{Retention, Stored, expired},
    spool::{Spool, previous},
};

/// Files of one object that are read in one collection, at most.
const COLLECTED_FILES_MAX: usize = 1000;
/// Objects of a kind that are listed, at most.
const OBJECTS_MAX: usize = 100_000;
/// How much is read at a time to check a digest.
const READ_BUFFER_BYTES: usize = 128 << 10;

/// EIO, EUCLEAN and EBADMSG of Linux: the disk cannot give the file's bytes.
const DAMAGED: [i32; 3] = [5, 117, 74];

/// The artifacts below one directory.
#[derive(Clone, Debug)]
pub struct ArtifactStore {
    root: PathBuf,
    algorithm: DigestAlgorithm,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The path below the root.
    pub path: String,
    /// `algorithm:hex` of the file.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
}

/// Whether a stored file matches its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrity {
    /// It is.
    Intact,
    /// It is not there.
    Missing,
    /// It is something else; it was removed.
    Mismatch,
    /// It is there, but the disk or its mode does not let it be read. Another file in its place may be.
    Unreadable,
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Artifacts, not counting locks and leftovers.
    pub artifacts: usize,
}

/// The address that artifacts are announced at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    base: String,
}

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A directory cannot be made.
    #[error("failed to create directory {path:?}")]
    Directory {
        /// Below the root.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("failed to archive artifact to storage")]
    Archive {
        /// Why.
        #[source]
        source: WriteError<io::Error>,
    },
    /// The file cannot be put in its place.
    #[error("failed to store artifact {path:?}")]
    Write {
        /// Below the root.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("failed to read artifact {path:?}")]
    Read {
        /// Below the root.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Files cannot be removed.
    #[error("failed to remove {path:?} from storage")]
    Remove {
        /// Below the root.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The name is not one of an artifact.
    #[error("invalid artifact path")]
    Location {
        /// Why.
        #[source]
        source: LocationError,
    },
    /// The object store failed.
    #[error("failed to {operation} {path:?} in bucket '{bucket}'")]
    Bucket {
        /// What was to be done.
        operation: Operation,
        /// Below the prefix.
        path: String,
        /// The bucket.
        bucket: String,
        /// Why.
        #[source]
        source: Box<BucketProblem>,
    },
    /// The blocking task ended early.
    #[error("the task that worked on the storage was interrupted")]
    Interrupted,
}

impl Classify for StoreError {
    fn reason(&self) -> Reason {
        match self {
            Self::Directory { .. } => Reason::DirectoryCreationFailed,
            Self::Archive { .. }
            | Self::Write { .. }
            | Self::Bucket { operation: Operation::Store, .. }
            | Self::Interrupted => Reason::ArchiveOperationFailed,
            Self::Read { .. } | Self::Bucket { operation: Operation::Read | Operation::List, .. } => {
                Reason::ReadOperationFailed
            }
            Self::Remove { .. } | Self::Bucket { operation: Operation::Remove, .. } => {
                Reason::GarbageCollectionFailed
            }
            Self::Location { .. } => Reason::InvalidPath,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Directory { .. }
            | Self::Archive { .. }
            | Self::Write { .. }
            | Self::Read { .. }
            | Self::Remove { .. }
            | Self::Bucket { .. }
            | Self::Interrupted => Consequence::Retry,
            Self::Location { .. } => Consequence::Stall,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Bucket { bucket, source, .. } => source.hint(bucket),
            _ => None,
        }
    }
}

impl Advertised {
    /// From the flag `--storage-adv-addr`, or from the address that the server is bound to where the flag is empty.
    pub fn new(flag: &str, bound: std::net::SocketAddr, hostname: Option<&str>) -> Self {
        let address = match flag.trim() {
            "" if bound.ip().is_unspecified() => {
                format!(
                    "{}:{}",
                    hostname.filter(|name| !name.is_empty()).unwrap_or("localhost"),
                    bound.port()
                )
            }
            "" => bound.to_string(),
            given => given.trim_end_matches('/').to_owned(),
        };
        let base = if address.contains("://") { address } else { format!("http://{address}") };
        Self { base }
    }

    /// The URL of a stored path.
    pub fn url(&self, path: &str) -> String {
        format!("{}/{}", self.base, path.trim_start_matches('/'))
    }
}

impl ArtifactStore {
    /// A store below a directory, which is made if it is not there. Temporary files of a process that was killed are
    /// removed; files of one that runs stay.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        if let Err(error) = abandoned::sweep(&root) {
            // The collection of each object tries again. A folder that cannot be read must not end the start.
            tracing::warn!(%error, "failed to remove abandoned temporary files");
        }
        Ok(Self { root, algorithm: DigestAlgorithm::default() })
    }

    /// The same, by an algorithm for the digests of what is written from now on. What is read is compared by the algorithm of its
    /// own digest.
    #[must_use]
    pub fn with_algorithm(self, algorithm: DigestAlgorithm) -> Self {
        Self { algorithm, ..self }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file of an artifact is that was written, for an upload.
    pub fn file(&self, written: &Written) -> PathBuf {
        self.root.join(&written.path)
    }

    /// The algorithm of the digests of what is written from now on.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// Writes a tree as a `tar.gz`, the file of an object; the digests of its directories as well.
    pub fn put(
        &self,
        location: &Location,
        file: &str,
        tree: &MemoryTree,
    ) -> Result<(Written, WrittenArchive), StoreError> {
        let mut spool = self.spool(location)?;
        let archive = write_tree(tree, self.algorithm, &mut spool);
        let archive = archive.map_err(|source| StoreError::Archive { source })?;
        Ok((self.put_archive(location, file, spool, &archive)?, archive))
    }

    /// Writes bytes as they are, as the file of an object.
    pub fn put_bytes(&self, location: &Location, file: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        let mut spool = self.spool(location)?;
        let path = location.file(file).map_err(|source| StoreError::Location { source })?;
        spool.write_all(bytes).map_err(|source| StoreError::Write { path: path.to_string(), source })?;
        let digest = FileDigest::of(self.algorithm, bytes);
        self.place(location, file, spool, &digest, bytes.len() as u64)
    }

    /// A temporary file for an archive of an object.
    pub fn spool(&self, location: &Location) -> Result<Spool, StoreError> {
        self.make_directory(location.path())?;
        Spool::new(&self.full(location.path()))
            .map_err(|source| StoreError::Write { path: location.to_string(), source })
    }

    /// Makes an archive that was written the file of an object, with its index.
    pub fn put_archive(
        &self,
        location: &Location,
        file: &str,
        spool: Spool,
        archive: &WrittenArchive,
    ) -> Result<Written, StoreError> {
        let written = self.place(location, file, spool, &archive.digest, archive.size)?;
        let index = self.full(location.path()).join(index_name(file));
        let stored = match &archive.index {
            Some(bytes) => fs::write(&index, bytes),
            None => remove_file(&index),
        };
        if let Err(error) = stored {
            // It only saves work, and one that is of another archive is ignored.
            tracing::warn!(artifact = written.path, %error, "failed to store the index of the artifact");
        }
        Ok(written)
    }

    /// An archive that a status announces, with its index; none where there is no index of it. The caller has compared the archive
    /// with its digest.
    pub fn previous(
        &self,
        location: &Location,
        path: &str,
        digest: &str,
    ) -> Result<Option<Previous<File>>, StoreError> {
        let Some(path) = RelPath::parse(path).ok().filter(|path| location.holds(path.as_str())) else {
            return Ok(None);
        };
        let index = self.full(location.path()).join(index_name(path.file_name().unwrap_or_default()));
        previous(&self.full(&path), &index, digest)
            .map_err(|source| StoreError::Read { path: path.to_string(), source })
    }

    /// Gives what was written to a temporary name its own one, once it is on the disk.
    fn place(
        &self,
        location: &Location,
        file: &str,
        spool: Spool,
        digest: &FileDigest,
        size: u64,
    ) -> Result<Written, StoreError> {
        let path = location.file(file).map_err(|source| StoreError::Location { source })?;
        let failed = |source| StoreError::Write { path: path.to_string(), source };
        let temporary = spool.into_file();
        lasting::sync_file(temporary.as_file()).map_err(failed)?;
        lasting::rename(temporary, &self.full(&path)).map_err(failed)?;
        lasting::sync_directory(&self.full(location.path())).map_err(failed)?;
        Ok(Written { path: path.to_string(), digest: digest.to_string(), size })
    }

    /// Compares a stored file with the digest of its status. One that differs is removed: it must not be served.
    pub fn verify(&self, location: &Location, path: &str, digest: &str) -> Result<Integrity, StoreError> {
        let Some(path) = RelPath::parse(path).ok().filter(|path| location.holds(path.as_str())) else {
            return Ok(Integrity::Missing);
        };
        let failed = |source| StoreError::Read { path: path.to_string(), source };
        let full = self.full(&path);
        match fs::symlink_metadata(&full) {
            Ok(found) if found.is_file() => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(_) | Err(_) => return Ok(Integrity::Missing),
        }
        let actual = match digest.parse() {
            Ok(expected) => same_digest(&full, &expected),
            // By an algorithm that is not supported, or no digest at all: the file cannot be the one.
            Err(FileDigestError) => Ok(false),
        };
        let integrity = compare(actual).map_err(failed)?;
        if integrity == Integrity::Mismatch {
            fs::remove_file(&full).map_err(|source| StoreError::Remove { path: path.to_string(), source })?;
        }
        Ok(integrity)
    }

    /// The bytes of an artifact that a status announces, of at most `bytes_max`; none where it is missing or does not match its
    /// digest.
    pub fn read(
        &self,
        location: &Location,
        path: &str,
        digest: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(path) = RelPath::parse(path).ok().filter(|path| location.holds(path.as_str())) else {
            return Ok(None);
        };
        let failed = |source| StoreError::Read { path: path.to_string(), source };
        let file = match File::open(self.full(&path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > bytes_max {
            let text = format!("it has more than {bytes_max} bytes");
            return Err(failed(io::Error::other(text)));
        }
        let is_same = digest
            .parse()
            .is_ok_and(|digest: FileDigest| FileDigest::of(digest.algorithm(), &bytes) == digest);
        Ok(is_same.then_some(bytes))
    }

    /// Removes files of an object other than its current one.
    pub fn collect(
        &self,
        location: &Location,
        current: Option<&str>,
        retention: Retention,
        now: SystemTime,
    ) -> Result<Collected, StoreError> {
        let failed = |source| StoreError::Remove { path: location.to_string(), source };
        let directory = self.full(location.path());
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Collected::default()),
            Err(error) => return Err(failed(error)),
        };
        let (mut stored, mut indexes) = (Vec::new(), Vec::new());
        for entry in entries.take(COLLECTED_FILES_MAX) {
            let entry = entry.map_err(failed)?;
            let metadata = entry.metadata().map_err(failed)?;
            if !metadata.is_file() {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let written = metadata.modified().map_err(failed)?;
            let age = now.duration_since(written).unwrap_or_default();
            if abandoned::is_temporary(&name) {
                abandoned::remove(&entry.path()).map_err(failed)?;
            } else if is_index(&name) {
                indexes.push(name);
            } else if !name.ends_with(LOCK_SUFFIX) {
                stored.push(Stored { name, age });
            }
        }
        let current = current.and_then(|path| path.rsplit('/').next());
        let expired = expired(&stored, current, retention);
        for name in &expired {
            remove_file(&directory.join(name)).map_err(failed)?;
            remove_file(&directory.join(format!("{name}{LOCK_SUFFIX}"))).map_err(failed)?;
        }
        // Only the current archive is taken over from.
        let kept = current.filter(|name| stored.iter().any(|file| file.name == **name)).map(index_name);
        for index in indexes.iter().filter(|name| Some(*name) != kept.as_ref()) {
            remove_file(&directory.join(index)).map_err(failed)?;
        }
        Ok(Collected { artifacts: expired.len() })
    }

    /// Namespaces and names of the objects of a kind that have a directory here which was not changed for a while, sorted; at most
    /// 100 000 of them.
    pub fn objects(&self, kind: &str, unchanged_for: Duration) -> Result<Vec<(String, String)>, StoreError> {
        let kind = kind.to_ascii_lowercase();
        let failed = |source| StoreError::Read { path: kind.clone(), source };
        let mut found = Vec::new();
        for (namespace, of_namespace, _) in directories(&self.root.join(&kind)).map_err(failed)? {
            for (name, _, modified) in directories(&of_namespace).map_err(failed)? {
                let age = SystemTime::now().duration_since(modified).unwrap_or_default();
                if age >= unchanged_for && found.len() < OBJECTS_MAX {
                    found.push((namespace.clone(), name));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Removes everything of an object; how many artifacts there were.
    pub fn remove(&self, location: &Location) -> Result<Collected, StoreError> {
        let directory = self.full(location.path());
        let failed = |source| StoreError::Remove { path: location.to_string(), source };
        let artifacts = match fs::read_dir(&directory) {
            Ok(entries) => entries
                .filter(|entry| {
                    entry.as_ref().is_ok_and(|entry| !is_index(&entry.file_name().to_string_lossy()))
                })
                .count(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Collected::default()),
            Err(error) => return Err(failed(error)),
        };
        fs::remove_dir_all(&directory).map_err(failed)?;
        Ok(Collected { artifacts })
    }

    fn make_directory(&self, path: &RelPath) -> Result<(), StoreError> {
        let failed = |source| StoreError::Directory { path: path.to_string(), source };
        let mut above = self.root.clone();
        for part in path.components() {
            let directory = above.join(part);
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => lasting::sync_directory(&above).map_err(failed)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
            above = directory;
        }
        Ok(())
    }

    fn full(&self, path: &RelPath) -> PathBuf {
        path.components().fold(self.root.clone(), |full, part| full.join(part))
    }
}

/// A file that cannot be read is as good as lost: it is rewritten, rather than retried until an operator helps. Any other
/// error is one of this process, such as too many open files, and passes.
fn compare(is_same: io::Result<bool>) -> io::Result<Integrity> {
    match is_same {
        Ok(true) => Ok(Integrity::Intact),
        Ok(false) => Ok(Integrity::Mismatch),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Integrity::Missing),
        Err(error) if is_of_the_file(&error) => Ok(Integrity::Unreadable),
        Err(error) => Err(error),
    }
}

fn is_of_the_file(error: &io::Error) -> bool {
    let is_damaged = error.raw_os_error().is_some_and(|code| DAMAGED.contains(&code));
    is_damaged || error.kind() == io::ErrorKind::PermissionDenied
}

/// Whether a file has this digest.
fn same_digest(path: &Path, digest: &FileDigest) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish() == *digest),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// The directories in a directory: name, path and when an entry was made or removed in it last. None where there is no directory.
fn directories(path: &Path) -> io::Result<Vec<(String, PathBuf, SystemTime)>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries.take(OBJECTS_MAX) {
        let entry = entry?;
        if let (true, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
            found.push((name, entry.path(), entry.metadata()?.modified()?));
        }
    }
    Ok(found)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A rename is only on the disk once its directory is.
/// The calls that make a file outlast a loss of power. Tests look at their order.
mod lasting {
    use std::{fs::File, io, path::Path};

    use tempfile::NamedTempFile;

    #[cfg(test)]
    thread_local! {
        pub(super) static STEPS: std::cell::RefCell<Vec<&'static str>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    fn note(step: &'static str) {
        #[cfg(test)]
        STEPS.with_borrow_mut(|steps| steps.push(step));
        let _ = step;
    }

    pub(super) fn sync_file(file: &File) -> io::Result<()> {
        file.sync_all()?;
        note("sync file");
        Ok(())
    }

    pub(super) fn rename(temporary: NamedTempFile, to: &Path) -> io::Result<()> {
        temporary.persist(to).map_err(|error| error.error)?;
        note("rename");
        Ok(())
    }

    pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()?;
        note("sync directory");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
