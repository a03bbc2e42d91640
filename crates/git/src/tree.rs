//! A commit's tree into memory, from the object database: no checkout. Ignore rules are applied to names first, so that what is
//! left out is never read. Links and submodules are skipped; a name that is not a safe path rejects the commit.

use bytes::Bytes;
use gix::{
    ObjectId,
    bstr::{BStr, ByteSlice},
    objs::tree::EntryKind as Mode,
};
use plumb_filetree::{EntryKind, Ignore, MemoryTree, RelPath, TreeError, TreeLimits, ignore::IGNORE_FILE};
use plumb_memory::MemoryReservation;

use crate::{bounds::Bounds, error::GitError, reference::Found};

/// Entries of trees that are read, at most, left out or not. A tree that contains itself many times over ends here.
const ENTRIES_VISITED_MAX: usize = 500_000;
/// An ignore file larger than this is rejected.
const IGNORE_FILE_BYTES_MAX: u64 = 1 << 20;
/// Memory of an entry in addition to its path: in the list of entries and in the tree.
const ENTRY_BYTES: u64 = 192;
/// The path of an entry is in memory as often as this: in the list, in the tree, in its directory.
const PATH_COPIES: u64 = 3;

/// The text of an ignore file is in memory as often as this: as bytes, as text, as rules.
const RULE_COPIES: u64 = 3;

/// The metadata of a commit.
pub(crate) struct Subject {
    /// The first line of its message.
    pub(crate) summary: String,
}

/// Reads the tree of a commit, without what is ignored. Its memory is charged to `memory` before it is allocated.
/// `object_bytes_max` is the limit of one object that the repository was opened with.
pub(crate) fn read(
    repository: &gix::Repository,
    found: &Found,
    spec_ignore: Option<&str>,
    limits: TreeLimits,
    memory: MemoryReservation,
    object_bytes_max: u64,
    bounds: &Bounds,
) -> Result<(Subject, MemoryTree, MemoryReservation), GitError> {
    let commit = found.commit;
    let mut reader = Reader { repository, bounds, commit, limits, memory, object_bytes_max };
    reader.must_be_commit(found)?;
    let object = repository.find_commit(commit).map_err(|error| reader.broken(&error))?;
    let summary = object
        .message_raw_sloppy()
        .lines()
        .next()
        .map(BStr::new)
        .unwrap_or_default()
        .to_str_lossy()
        .into_owned();
    let tree = object.tree_id().map_err(|error| reader.broken(&error))?.detach();
    let entries = reader.walk(tree)?;
    let ignore = reader.ignore(&entries, spec_ignore)?;
    let tree = reader.read_included(&entries, &ignore)?;
    Ok((Subject { summary }, tree, reader.memory))
}

/// When a commit was committed, in seconds since 1970. What is not a commit, as a tag may lead to it, is older than any.
pub(crate) fn committed_at(
    repository: &gix::Repository,
    commit: ObjectId,
    bounds: &Bounds,
) -> Result<i64, GitError> {
    let broken =
        |detail: String| GitError::Object { url: bounds.url.clone(), commit: commit.to_string(), detail };
    let header = repository.find_header(commit).map_err(|error| broken(error.to_string()))?;
    if header.kind() != gix::objs::Kind::Commit {
        return Ok(i64::MIN);
    }
    let commit = repository.find_commit(commit).map_err(|error| broken(error.to_string()))?;
    Ok(commit.time().map_err(|error| broken(error.to_string()))?.seconds)
}

struct Reader<'a> {
    repository: &'a gix::Repository,
    bounds: &'a Bounds,
    commit: ObjectId,
    limits: TreeLimits,
    memory: MemoryReservation,
    object_bytes_max: u64,
}

struct Entry {
    path: RelPath,
    id: ObjectId,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    Executable,
}

impl Reader<'_> {
    /// A tag may point to a file or a directory: the error names that, rather than a broken commit.
    fn must_be_commit(&self, found: &Found) -> Result<(), GitError> {
        let header = self.repository.find_header(self.commit).map_err(|error| self.broken(&error))?;
        if header.kind() == gix::objs::Kind::Commit {
            return Ok(());
        }
        Err(GitError::NotACommit {
            url: self.bounds.url.clone(),
            reference: found.name.clone().unwrap_or_else(|| found.commit_hex()),
            kind: header.kind().to_string(),
        })
    }

    fn walk(&mut self, root: ObjectId) -> Result<Vec<Entry>, GitError> {
        let mut entries = Vec::new();
        let mut open = vec![(RelPath::root(), root)];
        let mut visited = 0;
        while let Some((directory, id)) = open.pop() {
            self.bounds.check()?;
            let bytes = self.size(id)?;
            self.charge(bytes)?;
            let tree = self.repository.find_tree(id).map_err(|error| self.broken(&error))?;
            for entry in tree.iter() {
                let entry = entry.map_err(|error| self.broken(&error))?;
                visited += 1;
                if visited > ENTRIES_VISITED_MAX {
                    return Err(self.too_large(TreeError::TooManyEntries { max: ENTRIES_VISITED_MAX }));
                }
                let kind = match entry.mode().kind() {
                    Mode::Tree => Kind::Dir,
                    Mode::Blob => Kind::File,
                    Mode::BlobExecutable => Kind::Executable,
                    Mode::Link | Mode::Commit => continue,
                };
                let length = directory.as_str().len() + entry.filename().len();
                self.charge(ENTRY_BYTES + PATH_COPIES * length as u64)?;
                let path = self.child(&directory, entry.filename())?;
                let id = entry.object_id();
                if kind == Kind::Dir {
                    if path.depth() > self.limits.depth_max {
                        return Err(self.too_large(TreeError::TooDeep { path, max: self.limits.depth_max }));
                    }
                    open.push((path.clone(), id));
                }
                entries.push(Entry { path, id, kind });
            }
            self.memory.shrink(bytes);
        }
        Ok(entries)
    }

    fn charge(&mut self, bytes: u64) -> Result<(), GitError> {
        self.memory.try_grow(bytes).map_err(|source| GitError::OverBudget {
            action: self.bounds.action,
            url: self.bounds.url.clone(),
            source,
        })
    }

    fn child(&self, directory: &RelPath, name: &BStr) -> Result<RelPath, GitError> {
        let rejected = |why: String| {
            let detail = format!("{:?} in {:?}: {why}", name.to_str_lossy(), directory.as_str());
            GitError::FileName { commit: self.commit.to_string(), detail }
        };
        let options = gix::validate::path::component::Options {
            protect_windows: false,
            protect_hfs: true,
            protect_ntfs: false,
        };
        gix::validate::path::component(name, None, options).map_err(|error| rejected(error.to_string()))?;
        let name = name.to_str().map_err(|_| rejected("it is not UTF-8".to_owned()))?;
        directory.child(name).map_err(|source| GitError::Path { commit: self.commit.to_string(), source })
    }

    fn ignore(&mut self, entries: &[Entry], spec: Option<&str>) -> Result<Ignore, GitError> {
        let mut builder = Ignore::builder();
        for entry in entries {
            if entry.kind == Kind::Dir || entry.path.file_name() != Some(IGNORE_FILE) {
                continue;
            }
            let size = self.size(entry.id)?;
            if size > IGNORE_FILE_BYTES_MAX {
                let (path, max) = (entry.path.clone(), IGNORE_FILE_BYTES_MAX);
                return Err(self.too_large(TreeError::FileTooLarge { path, bytes: size, max }));
            }
            self.charge(size.saturating_mul(RULE_COPIES))?;
            let text = String::from_utf8_lossy(&self.blob(entry.id)?).into_owned();
            builder.file(entry.path.parent().unwrap_or_default(), text);
        }
        builder.build(spec).map_err(|source| GitError::Ignore { commit: self.commit.to_string(), source })
    }

    fn read_included(&mut self, entries: &[Entry], ignore: &Ignore) -> Result<MemoryTree, GitError> {
        let commit = self.commit.to_string();
        let too_large = |source| GitError::TooLarge { commit: commit.clone(), source };
        let mut builder = MemoryTree::builder(self.limits);
        for entry in entries {
            // Matching an entry costs as much as there are rules.
            self.bounds.check()?;
            let kind = if entry.kind == Kind::Dir { EntryKind::Dir } else { EntryKind::File };
            if ignore.excludes(&entry.path, kind) {
                continue;
            }
            if kind == EntryKind::Dir {
                builder.dir(&entry.path).map_err(too_large)?;
                continue;
            }
            let size = self.size(entry.id)?;
            builder.admit(&entry.path, size).map_err(too_large)?;
            self.charge(size)?;
            let content = Bytes::from(self.blob(entry.id)?);
            builder.file(&entry.path, content, entry.kind == Kind::Executable).map_err(too_large)?;
        }
        Ok(builder.build())
    }

    fn size(&self, id: ObjectId) -> Result<u64, GitError> {
        self.repository.find_header(id).map(|header| header.size()).map_err(|error| self.broken(&error))
    }

    fn blob(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        let blob = self.repository.find_blob(id).map_err(|error| self.broken(&error))?;
        Ok(blob.detach().data)
    }

    fn too_large(&self, source: TreeError) -> GitError {
        GitError::TooLarge { commit: self.commit.to_string(), source }
    }

    fn broken(&self, error: &gix::Error) -> GitError {
        if error.is_resource_exhausted() {
            return GitError::ObjectTooLarge { url: self.bounds.url.clone(), max: self.object_bytes_max };
        }
        GitError::Object {
            url: self.bounds.url.clone(),
            commit: self.commit.to_string(),
            detail: error.to_string(),
        }
    }
}
