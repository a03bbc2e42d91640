//! A commit's tree into memory or into an archive, from the object database: no checkout. Ignore rules are applied to names first, so that what is
//! left out is never read. Links are skipped, and submodules are left to the caller; a name that is not a safe path rejects the
//! commit.

use std::{collections::BTreeSet, fs::File};

use bytes::Bytes;
use gix::{
    ObjectId,
    bstr::{BStr, ByteSlice},
    objs::tree::EntryKind as Mode,
};
use plumb_archive::{
    ArchiveOptions, Content, EntryContent, Listing, Previous, RestartableWrite, WriteError, WrittenArchive,
};
use plumb_filetree::{
    EntryKind, Ignore, MemoryTree, RelPath, TreeError, TreeLimits, digest::DigestAlgorithm,
    ignore::IGNORE_FILE,
};
use plumb_memory::MemoryReservation;

use crate::{
    bounds::Bounds,
    error::GitError,
    reference::Found,
    sparse::SparseCheckout,
    submodule::{MODULES_BYTES_MAX, MODULES_FILE},
    task::OBJECT_COPIES,
};

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

/// Reads the trees and files of one checkout: of a repository and its submodules.
pub(crate) struct Reader<'a> {
    bounds: &'a Bounds,
    /// The commit of the repository, as errors name it.
    commit: ObjectId,
    limits: TreeLimits,
    memory: MemoryReservation,
    /// The limit of one object that the repositories were opened with.
    object_bytes_max: u64,
    sparse: Option<&'a SparseCheckout>,
    visited: usize,
    entries: Vec<Entry>,
    /// Those of the paths that `spec.sparseCheckout` names that exist.
    existing: BTreeSet<RelPath>,
}

/// A file or directory that is selected.
pub(crate) struct Entry {
    pub(crate) path: RelPath,
    pub(crate) id: ObjectId,
    kind: Kind,
    /// Which of the repositories of the checkout has it.
    pub(crate) repository: usize,
}

/// A submodule: where, and at which commit.
pub(crate) struct Gitlink {
    pub(crate) path: RelPath,
    pub(crate) commit: ObjectId,
}

/// What a tree contains beside files and directories.
#[derive(Default)]
pub(crate) struct Walked {
    pub(crate) links: Vec<Gitlink>,
    /// The file that declares the submodules.
    pub(crate) modules: Option<ObjectId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    Executable,
}

impl<'a> Reader<'a> {
    /// Nothing is read yet. What is read is charged to `memory` before it is allocated.
    pub(crate) fn new(
        bounds: &'a Bounds,
        commit: ObjectId,
        limits: TreeLimits,
        memory: MemoryReservation,
        object_bytes_max: u64,
        sparse: Option<&'a SparseCheckout>,
    ) -> Self {
        let (visited, entries, existing) = (0, Vec::new(), BTreeSet::new());
        Self { bounds, commit, limits, memory, object_bytes_max, sparse, visited, entries, existing }
    }

    /// The tree of a commit, and its metadata. A tag may point to a file or a directory: the error names that, rather than a broken
    /// commit.
    pub(crate) fn commit(
        &self,
        repository: &gix::Repository,
        found: &Found,
    ) -> Result<(Subject, ObjectId), GitError> {
        let header = repository.find_header(found.commit).map_err(|error| self.broken(&error))?;
        if header.kind() != gix::objs::Kind::Commit {
            return Err(GitError::NotACommit {
                url: self.bounds.url.clone(),
                reference: found.name.clone().unwrap_or_else(|| found.commit_hex()),
                kind: header.kind().to_string(),
            });
        }
        let object = repository.find_commit(found.commit).map_err(|error| self.broken(&error))?;
        let first = object.message_raw_sloppy().lines().next().map(BStr::new).unwrap_or_default();
        let summary = first.to_str_lossy().into_owned();
        let tree = object.tree_id().map_err(|error| self.broken(&error))?.detach();
        Ok((Subject { summary }, tree))
    }

    /// Notes the selected entries of a tree, which is that of a submodule where `root` is not the root.
    pub(crate) fn walk(
        &mut self,
        repository: &gix::Repository,
        number: usize,
        tree: ObjectId,
        root: &RelPath,
    ) -> Result<Walked, GitError> {
        let mut walked = Walked::default();
        let mut open = vec![(root.clone(), tree)];
        while let Some((directory, id)) = open.pop() {
            self.bounds.check()?;
            let bytes = self.size(repository, id)?;
            self.charge(bytes)?;
            let tree = repository.find_tree(id).map_err(|error| self.broken(&error))?;
            for entry in tree.iter() {
                let entry = entry.map_err(|error| self.broken(&error))?;
                self.visited += 1;
                if self.visited > ENTRIES_VISITED_MAX {
                    return Err(self.too_large(TreeError::TooManyEntries { max: ENTRIES_VISITED_MAX }));
                }
                let (mode, id) = (entry.mode().kind(), entry.object_id());
                if mode == Mode::Link && self.sparse.is_none() {
                    continue;
                }
                let path = self.child(&directory, entry.filename())?;
                if directory == *root && entry.filename() == MODULES_FILE {
                    walked.modules = matches!(mode, Mode::Blob | Mode::BlobExecutable).then_some(id);
                }
                if !self.is_selected(&path, matches!(mode, Mode::Tree | Mode::Commit)) {
                    continue;
                }
                let kind = match mode {
                    Mode::Tree => Kind::Dir,
                    Mode::Blob => Kind::File,
                    Mode::BlobExecutable => Kind::Executable,
                    Mode::Link => continue,
                    Mode::Commit => {
                        self.charge_entry(&path)?;
                        walked.links.push(Gitlink { path, commit: id });
                        continue;
                    }
                };
                self.charge_entry(&path)?;
                if kind == Kind::Dir {
                    if path.depth() > self.limits.depth_max {
                        return Err(self.too_large(TreeError::TooDeep { path, max: self.limits.depth_max }));
                    }
                    open.push((path.clone(), id));
                }
                self.entries.push(Entry { path, id, kind, repository: number });
            }
            self.memory.shrink(bytes);
        }
        Ok(walked)
    }

    /// Whether an entry is selected. Those that `spec.sparseCheckout` names are noted.
    fn is_selected(&mut self, path: &RelPath, is_directory: bool) -> bool {
        let Some(sparse) = self.sparse else { return true };
        let is_selected = if is_directory { sparse.reaches(path) } else { sparse.selects(path) };
        if is_selected && sparse.names(path) {
            self.existing.insert(path.clone());
        }
        is_selected
    }

    /// An error if a directory of `spec.sparseCheckout` does not exist.
    pub(crate) fn must_exist(&self) -> Result<(), GitError> {
        match self.sparse.and_then(|sparse| sparse.missing(&self.existing)) {
            None => Ok(()),
            Some(directory) => Err(GitError::SparseCheckout { directory: directory.to_owned() }),
        }
    }

    /// A directory that holds a submodule.
    pub(crate) fn directory(&mut self, link: &Gitlink, number: usize) {
        let (path, id) = (link.path.clone(), link.commit);
        self.entries.push(Entry { path, id, kind: Kind::Dir, repository: number });
    }

    /// The ignore files among the entries.
    pub(crate) fn ignore_files(&self) -> Vec<(usize, ObjectId)> {
        let files = self.entries.iter().filter(|entry| entry.is_ignore_file());
        files.map(|entry| (entry.repository, entry.id)).collect()
    }

    fn charge_entry(&mut self, path: &RelPath) -> Result<(), GitError> {
        self.charge(ENTRY_BYTES + PATH_COPIES * path.as_str().len() as u64)
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

    /// Leaves out what is ignored. The ignore files are in the repositories.
    pub(crate) fn leave_out_ignored(
        &mut self,
        repositories: &[&gix::Repository],
        spec: Option<&str>,
    ) -> Result<(), GitError> {
        let mut builder = Ignore::builder();
        let mut entries = std::mem::take(&mut self.entries);
        for entry in entries.iter().filter(|entry| entry.is_ignore_file()) {
            let Some(repository) = repositories.get(entry.repository) else { continue };
            let size = self.size(repository, entry.id)?;
            if size > IGNORE_FILE_BYTES_MAX {
                let (path, max) = (entry.path.clone(), IGNORE_FILE_BYTES_MAX);
                return Err(self.too_large(TreeError::FileTooLarge { path, bytes: size, max }));
            }
            self.charge(size.saturating_mul(RULE_COPIES))?;
            let text = String::from_utf8_lossy(&self.blob(repository, entry.id)?).into_owned();
            builder.file(entry.path.parent().unwrap_or_default(), text);
        }
        let ignore = builder.build(spec);
        let ignore = ignore.map_err(|source| GitError::Ignore { commit: self.commit.to_string(), source })?;
        let mut ended = Ok(());
        entries.retain(|entry| {
            // Matching an entry costs as much as there are rules.
            if ended.is_ok() {
                ended = self.bounds.check();
            }
            let kind = if entry.kind == Kind::Dir { EntryKind::Dir } else { EntryKind::File };
            ended.is_ok() && !ignore.excludes(&entry.path, kind)
        });
        self.entries = entries;
        ended
    }

    /// The files among the entries: the repository and the object of each.
    pub(crate) fn files(&self) -> impl Iterator<Item = (usize, ObjectId)> {
        let files = self.entries.iter().filter(|entry| entry.kind != Kind::Dir);
        files.map(|entry| (entry.repository, entry.id))
    }

    /// Reads the files.
    pub(crate) fn finish(
        mut self,
        repositories: &[&gix::Repository],
    ) -> Result<(MemoryTree, MemoryReservation), GitError> {
        let commit = self.commit.to_string();
        let too_large = |source| GitError::TooLarge { commit: commit.clone(), source };
        let mut builder = MemoryTree::builder(self.limits);
        for entry in std::mem::take(&mut self.entries) {
            self.bounds.check()?;
            if entry.kind == Kind::Dir {
                builder.dir(&entry.path).map_err(too_large)?;
                continue;
            }
            let Some(repository) = repositories.get(entry.repository) else { continue };
            let size = self.size(repository, entry.id)?;
            builder.admit(&entry.path, size).map_err(too_large)?;
            self.charge(size)?;
            let content = Bytes::from(self.blob(repository, entry.id)?);
            builder.file(&entry.path, content, entry.kind == Kind::Executable).map_err(too_large)?;
        }
        Ok((builder.build(), self.memory))
    }

    /// Writes the files into an archive. Those whose members are in an earlier archive are not read.
    pub(crate) fn archive(
        mut self,
        repositories: &[&gix::Repository],
        algorithm: DigestAlgorithm,
        previous: Option<&mut Previous<File>>,
        out: &mut dyn RestartableWrite,
    ) -> Result<WrittenArchive, GitError> {
        self.charge(self.object_bytes_max.saturating_mul(OBJECT_COPIES))?;
        let entries = std::mem::take(&mut self.entries).into_iter().map(Entry::into_archived).collect();
        let listing = Listing::new(entries, self.limits).map_err(|source| self.too_large(source))?;
        let read = |path: &RelPath, blob: &BlobContent, content: &mut Vec<u8>| {
            self.bounds.check()?;
            let Some(repository) = repositories.get(blob.repository) else {
                return Err(self.bounds.interrupted());
            };
            let found = repository.find_blob(blob.id).map_err(|error| self.broken(&error))?;
            let max = self.limits.file_bytes_max;
            if found.data.len() as u64 > max {
                let (path, bytes) = (path.clone(), found.data.len() as u64);
                return Err(self.too_large(TreeError::FileTooLarge { path, bytes, max }));
            }
            content.extend_from_slice(&found.data);
            Ok(())
        };
        let output = |source| GitError::Output { commit: self.commit.to_string(), source };
        out.restart().map_err(output)?;
        let options = ArchiveOptions { algorithm, limits: self.limits };
        plumb_archive::write(&listing, options, previous, read, out).map_err(|error| match error {
            WriteError::Limit(source) => self.too_large(source),
            WriteError::Read(error) => error,
            WriteError::Write { path: _, source } => output(source),
            WriteError::Previous { source } => GitError::Previous { commit: self.commit.to_string(), source },
        })
    }

    /// The file that declares submodules.
    pub(crate) fn modules(&self, repository: &gix::Repository, id: ObjectId) -> Result<Vec<u8>, GitError> {
        let size = self.size(repository, id)?;
        if size > MODULES_BYTES_MAX {
            let path = RelPath::root().child(MODULES_FILE).unwrap_or_default();
            return Err(self.too_large(TreeError::FileTooLarge {
                path,
                bytes: size,
                max: MODULES_BYTES_MAX,
            }));
        }
        self.blob(repository, id)
    }

    fn size(&self, repository: &gix::Repository, id: ObjectId) -> Result<u64, GitError> {
        repository.find_header(id).map(|header| header.size()).map_err(|error| self.broken(&error))
    }

    fn blob(&self, repository: &gix::Repository, id: ObjectId) -> Result<Vec<u8>, GitError> {
        let blob = repository.find_blob(id).map_err(|error| self.broken(&error))?;
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

/// A file in one of the repositories.
struct BlobContent {
    repository: usize,
    id: ObjectId,
}

impl Content for BlobContent {
    fn id(&self) -> Option<&[u8]> {
        Some(self.id.as_bytes())
    }
}

impl Entry {
    fn into_archived(self) -> plumb_archive::Entry<BlobContent> {
        let Self { path, id, kind, repository } = self;
        let content = match kind {
            Kind::Dir => EntryContent::Directory,
            Kind::File | Kind::Executable => EntryContent::File {
                executable: kind == Kind::Executable,
                content: BlobContent { repository, id },
            },
        };
        plumb_archive::Entry { path, content }
    }

    fn is_ignore_file(&self) -> bool {
        self.kind != Kind::Dir && self.path.file_name() == Some(IGNORE_FILE)
    }
}
