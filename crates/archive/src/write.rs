//! Files as a `tar.gz` that is the same, byte for byte, whenever the files are the same: sorted, no times, no owners. Each small directory,
//! and each run of files of a larger one, is a gzip member of its own, made of nothing but its own entries: where those are the same
//! as in an earlier archive, the member is taken over and no file in it is read.

use std::{
    error::Error,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
};

use bytes::Bytes;
use plumb_filetree::{
    DirectoryDigests, MemoryTree, RelPath, TreeError, TreeLimits,
    digest::{DigestAlgorithm, FileDigest, Hasher, sha256_hex},
};

use crate::{
    digests::{DirectoryDigest, of_directory, of_entries, of_run, runs},
    gzip::{Extent, GzipMembers},
    index::{ArchiveIndex, Member, encode},
    listing::{Content, Entry, EntryContent, Listing, children},
};

/// A directory with at most this many entries, itself included, is one member.
const MEMBER_ENTRIES_MAX: usize = 128;
/// Bytes that are written at a time.
const OUTPUT_BYTES: usize = 128 << 10;
const MODE_FILE: u32 = 0o600;
const MODE_EXECUTABLE: u32 = 0o700;
const MODE_DIRECTORY: u32 = 0o750;

/// A place that an archive is written to, perhaps once more from its start.
pub trait RestartableWrite: Write {
    /// Drops what was written.
    fn restart(&mut self) -> io::Result<()>;
}

/// How an archive is written.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveOptions {
    /// The algorithm of its digest.
    pub algorithm: DigestAlgorithm,
    /// Of the files in it.
    pub limits: TreeLimits,
}

/// An earlier archive.
pub struct Previous<R> {
    /// Its index.
    pub index: ArchiveIndex,
    /// Its bytes, which have the digest that the index is for.
    pub archive: R,
}

/// An archive that was written.
#[derive(Debug)]
pub struct WrittenArchive {
    /// The digest of its bytes.
    pub digest: FileDigest,
    /// Its bytes.
    pub size: u64,
    /// The digests of its directories.
    pub directories: DirectoryDigests,
    /// The text of its index; none where there is nothing to take over from it.
    pub index: Option<Vec<u8>>,
}

/// An archive could not be written. `E` is the error of reading a file.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E: Error + 'static> {
    /// Its files are over a limit.
    #[error(transparent)]
    Limit(TreeError),
    /// A file cannot be read.
    #[error(transparent)]
    Read(E),
    /// The archive cannot be written.
    #[error("cannot write {path:?} into the archive")]
    Write {
        /// The entry.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The earlier archive cannot be read.
    #[error("cannot read the earlier archive")]
    Previous {
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes an archive. `read` puts the content of a file into the buffer, which is empty.
pub fn write<C: Content, E: Error + 'static, P: Read + Seek>(
    listing: &Listing<C>,
    options: ArchiveOptions,
    previous: Option<&mut Previous<P>>,
    mut read: impl FnMut(&RelPath, &C, &mut Vec<u8>) -> Result<(), E>,
    out: impl Write,
) -> Result<WrittenArchive, WriteError<E>> {
    let gzip = GzipMembers::new(BufWriter::with_capacity(OUTPUT_BYTES, out), options.algorithm);
    let mut writer = Writer {
        tar: tar::Builder::new(gzip),
        read: &mut read,
        previous: previous.map(|Previous { index, archive }| (&*index, archive as &mut dyn ReadSeek)),
        limits: options.limits,
        content: Vec::new(),
        content_bytes: 0,
        members: Vec::new(),
        directories: Vec::new(),
    };
    writer.directory(listing.all())?;
    writer.finish()
}

/// Writes the files of a tree in memory.
pub fn write_tree(
    tree: &MemoryTree,
    algorithm: DigestAlgorithm,
    out: impl Write,
) -> Result<WrittenArchive, WriteError<io::Error>> {
    // The tree was built under limits.
    let limits = TreeLimits {
        entries_max: usize::MAX,
        bytes_max: u64::MAX,
        file_bytes_max: u64::MAX,
        depth_max: usize::MAX,
    };
    let read = |_: &RelPath, content: &Bytes, buffer: &mut Vec<u8>| {
        buffer.extend_from_slice(content);
        Ok(())
    };
    let none = None::<&mut Previous<io::Empty>>;
    write(&Listing::of(tree), ArchiveOptions { algorithm, limits }, none, read, out)
}

trait ReadSeek: Read + Seek {}

impl<P: Read + Seek> ReadSeek for P {}

type ReadContent<'a, C, E> = &'a mut dyn FnMut(&RelPath, &C, &mut Vec<u8>) -> Result<(), E>;

struct Writer<'a, C, E, W: Write> {
    tar: tar::Builder<GzipMembers<W>>,
    read: ReadContent<'a, C, E>,
    previous: Option<(&'a ArchiveIndex, &'a mut dyn ReadSeek)>,
    limits: TreeLimits,
    /// Of the file that is being written.
    content: Vec<u8>,
    /// Of all files so far.
    content_bytes: u64,
    members: Vec<Member>,
    directories: Vec<DirectoryDigest>,
}

/// What a member is made of.
enum Part<'a, C> {
    /// A directory with all that is below it.
    Whole(&'a [Entry<C>]),
    /// Some files of a directory, the first ones with the directory itself.
    Run { directory: Option<&'a Entry<C>>, files: &'a [&'a Entry<C>] },
}

impl<C> Clone for Part<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Part<'_, C> {}

impl<'a, C> Part<'a, C> {
    fn entries(self) -> Vec<&'a Entry<C>> {
        match self {
            Self::Whole(entries) => entries.iter().collect(),
            Self::Run { directory, files } => directory.into_iter().chain(files.iter().copied()).collect(),
        }
    }
}

impl<C: Content, E: Error + 'static, W: Write> Writer<'_, C, E, W> {
    /// Writes the directory that is the first entry, with all that is below it; its digest.
    fn directory(&mut self, entries: &[Entry<C>]) -> Result<String, WriteError<E>> {
        let Some(own) = entries.first().filter(|_| entries.len() > MEMBER_ENTRIES_MAX) else {
            return self.member(Part::Whole(entries));
        };
        let ranges = children(entries);
        let child = |range: &std::ops::Range<usize>| entries.get(range.start);
        let files: Vec<&Entry<C>> =
            ranges.iter().filter_map(child).filter(|entry| !entry.is_directory()).collect();
        let mut digests = Vec::new();
        let mut directory = Some(own);
        for files in runs(&files, |file| file.name()) {
            digests.push(self.member(Part::Run { directory: directory.take(), files })?);
        }
        if directory.is_some() {
            // Without files there is no run: what is written has a digest that is not part of that of the directory.
            self.member(Part::Run { directory, files: &[] })?;
        }
        let mut below = Vec::new();
        for range in ranges {
            let Some(entry) = child(&range).filter(|entry| entry.is_directory()) else { continue };
            below.push((entry.name(), self.directory(&entries[range])?));
        }
        let below = below.iter().map(|(name, digest)| (*name, digest.as_str()));
        let digest = of_directory(digests.iter().map(String::as_str), below);
        self.directories.push((own.path.to_string(), digest.clone()));
        Ok(digest)
    }

    /// Writes a member, or takes it over; the digest of what it is made of.
    fn member(&mut self, part: Part<'_, C>) -> Result<String, WriteError<E>> {
        let entries = part.entries();
        let version = version(part, &entries);
        let member = match version.as_ref().map(|version| self.take_over(version)).transpose()?.flatten() {
            Some(member) => member,
            None => self.make(part, &entries, version.unwrap_or_default())?,
        };
        let digest = member.digest.clone();
        self.directories.extend(member.directories.iter().cloned());
        self.members.push(member);
        Ok(digest)
    }

    /// Takes a member over from the earlier archive, if it has one that was made of the same.
    fn take_over(&mut self, version: &str) -> Result<Option<Member>, WriteError<E>> {
        let Some((index, archive)) = &mut self.previous else { return Ok(None) };
        let Some(found) = index.member(version).cloned() else { return Ok(None) };
        self.content_bytes = self.content_bytes.saturating_add(found.content_bytes);
        if self.content_bytes > self.limits.bytes_max {
            return Err(WriteError::Limit(TreeError::TooManyBytes { max: self.limits.bytes_max }));
        }
        let unreadable = |source| WriteError::Previous { source };
        archive.seek(SeekFrom::Start(found.offset)).map_err(unreadable)?;
        let copied = self.tar.get_mut().copy(archive, found.length);
        let Extent { offset, length } = copied
            .map_err(|source| WriteError::Write { path: String::new(), source })?
            .map_err(unreadable)?;
        Ok(Some(Member { offset, length, ..found }))
    }

    fn make(
        &mut self,
        part: Part<'_, C>,
        entries: &[&Entry<C>],
        version: String,
    ) -> Result<Member, WriteError<E>> {
        let before = self.content_bytes;
        let failed = |source| WriteError::Write { path: String::new(), source };
        self.tar.get_mut().begin().map_err(failed)?;
        let mut contents = Vec::with_capacity(entries.len());
        for entry in entries {
            contents.push(self.entry(entry)?);
        }
        let Extent { offset, length } = self.tar.get_mut().end().map_err(failed)?;
        let mut directories = Vec::new();
        let digest = match part {
            Part::Whole(entries) => of_entries(entries, &contents, &mut directories),
            Part::Run { .. } => of_run(entries.iter().copied().zip(contents.iter().map(String::as_str))),
        };
        directories.retain(|(path, _)| DirectoryDigests::can_have(path));
        let content_bytes = self.content_bytes - before;
        Ok(Member { version, offset, length, content_bytes, digest, directories })
    }

    /// Writes one entry; the digest of its content, which a directory has not.
    fn entry(&mut self, entry: &Entry<C>) -> Result<String, WriteError<E>> {
        self.content.clear();
        let (kind, mode) = match &entry.content {
            EntryContent::Directory if entry.path.is_root() => return Ok(String::new()),
            EntryContent::Directory => (tar::EntryType::Directory, MODE_DIRECTORY),
            EntryContent::File { executable, content } => {
                (self.read)(&entry.path, content, &mut self.content).map_err(WriteError::Read)?;
                self.admit(&entry.path)?;
                (tar::EntryType::Regular, if *executable { MODE_EXECUTABLE } else { MODE_FILE })
            }
        };
        append(&mut self.tar, &entry.path, kind, mode, &self.content)
            .map_err(|source| WriteError::Write { path: entry.path.to_string(), source })?;
        Ok(if entry.is_directory() { String::new() } else { sha256_hex(&self.content) })
    }

    /// Counts the file that was read.
    fn admit(&mut self, path: &RelPath) -> Result<(), WriteError<E>> {
        let TreeLimits { entries_max: _, bytes_max, file_bytes_max, depth_max: _ } = self.limits;
        let bytes = self.content.len() as u64;
        if bytes > file_bytes_max {
            let (path, max) = (path.clone(), file_bytes_max);
            return Err(WriteError::Limit(TreeError::FileTooLarge { path, bytes, max }));
        }
        self.content_bytes = self.content_bytes.saturating_add(bytes);
        if self.content_bytes > bytes_max {
            return Err(WriteError::Limit(TreeError::TooManyBytes { max: bytes_max }));
        }
        Ok(())
    }

    /// Ends the tar, in a member of its own.
    fn finish(mut self) -> Result<WrittenArchive, WriteError<E>> {
        let failed = |source| WriteError::Write { path: String::new(), source };
        self.tar.get_mut().begin().map_err(failed)?;
        let mut gzip = self.tar.into_inner().map_err(failed)?;
        gzip.end().map_err(failed)?;
        let (digest, size) = gzip.finish().map_err(failed)?;
        let directories = DirectoryDigests::of_directories(self.directories);
        // One member alone is never the same in another archive, unless the archive is.
        let has_versions =
            self.members.len() > 1 && self.members.iter().all(|member| !member.version.is_empty());
        let index = has_versions.then(|| encode(&self.members, digest.as_str())).flatten();
        Ok(WrittenArchive { digest, size, directories, index })
    }
}

/// What a member would be made of: the digest of paths, modes and ids of contents. None where contents have no ids.
fn version<C: Content>(part: Part<'_, C>, entries: &[&Entry<C>]) -> Option<String> {
    let mut hasher = Hasher::default();
    hasher.update(match part {
        Part::Whole(_) => b"whole\0",
        Part::Run { .. } => b"run\0\0\0",
    });
    for entry in entries {
        hasher.update(entry.path.as_str().as_bytes());
        match &entry.content {
            EntryContent::Directory => hasher.update(b"\0d"),
            EntryContent::File { executable, content } => {
                let id = content.id()?;
                hasher.update(if *executable { b"\0x" } else { b"\0f" });
                hasher.update(&(id.len() as u64).to_le_bytes());
                hasher.update(id);
            }
        }
    }
    Some(hasher.finish_hex())
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &RelPath,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(u64::try_from(content.len()).map_err(io::Error::other)?);
    let name = if kind.is_dir() { format!("{path}/") } else { path.as_str().to_owned() };
    tar.append_data(&mut header, name, content)
}

#[cfg(test)]
mod tests;
