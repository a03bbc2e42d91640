//! The tree itself: immutable once built, capped while it is built. A file is bytes and an executable bit; links and special
//! files do not exist here.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::path::RelPath;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
}

/// Why a read failed. A tree in memory returns the first three; the others belong to trees that read from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing is there.
    #[error("no such file or directory: '/{path}'")]
    NotFound {
        /// The requested path.
        path: RelPath,
    },
    /// A directory is there.
    #[error("'/{path}' is a directory")]
    IsDirectory {
        /// The requested path.
        path: RelPath,
    },
    /// A file is there.
    #[error("'/{path}' is not a directory")]
    NotADirectory {
        /// The requested path.
        path: RelPath,
    },
    /// Something is there that is never opened.
    #[error("'/{path}' is {what}; only regular files are read")]
    NotRegular {
        /// The requested path.
        path: RelPath,
        /// With its article: `a FIFO`.
        what: &'static str,
    },
    /// The file is over a limit; nothing of it was read.
    #[error("'/{path}' has {bytes} bytes, the limit is {max}")]
    TooLarge {
        /// The requested path.
        path: RelPath,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A link leads out of the directory that the reader may read in.
    #[error("security; file '/{path}' is not in or below '/{root}': a link leads out of it")]
    Outside {
        /// The requested path.
        path: RelPath,
        /// Where it should have stayed.
        root: RelPath,
    },
    /// The storage of the files returned an error.
    #[error("cannot read '/{path}': {kind}")]
    Failed {
        /// The requested path.
        path: RelPath,
        /// The error text.
        kind: std::io::ErrorKind,
    },
}

/// Something that files are read from.
pub trait FileTree {
    /// What is at a path, if anything.
    fn kind(&self, path: &RelPath) -> Option<EntryKind>;
    /// The same place without links on the way: what `..` of a directory is, and whether a file lies below another, is
    /// resolved from this path. A tree without links returns the path unchanged.
    fn follow(&self, path: &RelPath) -> RelPath {
        path.clone()
    }
    /// The content of a file.
    fn read(&self, path: &RelPath) -> Result<Bytes, ReadError>;
    /// The names in a directory, sorted.
    fn list(&self, path: &RelPath) -> Result<Vec<(String, EntryKind)>, ReadError>;
}

/// What a tree may grow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// Files and directories together.
    pub entries_max: usize,
    /// Bytes of all files.
    pub bytes_max: u64,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Components of a path.
    pub depth_max: usize,
}

impl TreeLimits {
    /// The limits for a source: 100 000 entries, 512 MiB in all, 100 MiB a file, 64 levels.
    pub const DEFAULT: Self =
        Self { entries_max: 100_000, bytes_max: 512 << 20, file_bytes_max: 100 << 20, depth_max: 64 };
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why an entry was not taken into a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Too many entries.
    #[error("the tree has more than {max} files and directories")]
    TooManyEntries {
        /// The limit.
        max: usize,
    },
    /// Too many bytes in all.
    #[error("the files of the tree are larger than {max} bytes together")]
    TooManyBytes {
        /// The limit.
        max: u64,
    },
    /// One file is too large.
    #[error("file {path} has {bytes} bytes, the limit is {max}")]
    FileTooLarge {
        /// The file.
        path: RelPath,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A path is too deep.
    #[error("path {path} is more than {max} levels deep")]
    TooDeep {
        /// The path.
        path: RelPath,
        /// The limit.
        max: usize,
    },
    /// A path is both a file and a directory, or the root was given as a file.
    #[error("path {path:?} is both a file and a directory")]
    Conflict {
        /// The path.
        path: RelPath,
    },
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub content: Bytes,
    /// Whether its owner may execute it.
    pub executable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    File(File),
    Dir(BTreeMap<String, EntryKind>),
}

/// An immutable tree of files in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryTree {
    entries: BTreeMap<RelPath, Entry>,
    bytes: u64,
}

/// Collects a [`MemoryTree`] and rejects input over its limits.
#[derive(Clone, Debug)]
pub struct TreeBuilder {
    tree: MemoryTree,
    limits: TreeLimits,
}

impl MemoryTree {
    /// Starts a tree.
    pub fn builder(limits: TreeLimits) -> TreeBuilder {
        let entries = BTreeMap::from([(RelPath::root(), Entry::Dir(BTreeMap::new()))]);
        TreeBuilder { tree: Self { entries, bytes: 0 }, limits }
    }

    /// All files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&RelPath, &File)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File(file) => Some((path, file)),
            Entry::Dir(_) => None,
        })
    }

    /// Every entry below the root, sorted by path, a directory before its content; a directory has no file.
    pub fn iter(&self) -> impl Iterator<Item = (&RelPath, Option<&File>)> {
        self.entries.iter().filter(|(path, _)| !path.is_root()).map(|(path, entry)| match entry {
            Entry::File(file) => (path, Some(file)),
            Entry::Dir(_) => (path, None),
        })
    }

    /// The file at a path.
    pub fn file(&self, path: &RelPath) -> Option<&File> {
        match self.entries.get(path)? {
            Entry::File(file) => Some(file),
            Entry::Dir(_) => None,
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files and directories below the root.
    pub fn len(&self) -> usize {
        self.entries.len() - 1
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl TreeBuilder {
    /// Adds a file and the directories above it. A path given twice keeps the later content.
    pub fn file(&mut self, path: &RelPath, content: Bytes, executable: bool) -> Result<&mut Self, TreeError> {
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.admit(path, size)?;
        self.link(path, EntryKind::File)?;
        let previous = self.tree.entries.insert(path.clone(), Entry::File(File { content, executable }));
        if let Some(Entry::File(old)) = previous {
            self.tree.bytes -= u64::try_from(old.content.len()).unwrap_or(0);
        }
        self.tree.bytes += size;
        Ok(self)
    }

    /// Adds a directory and those above it.
    pub fn dir(&mut self, path: &RelPath) -> Result<&mut Self, TreeError> {
        if path.is_root() {
            return Ok(self);
        }
        if path.depth() > self.limits.depth_max {
            return Err(TreeError::TooDeep { path: path.clone(), max: self.limits.depth_max });
        }
        self.link(path, EntryKind::Dir)?;
        self.tree.entries.entry(path.clone()).or_insert_with(|| Entry::Dir(BTreeMap::new()));
        Ok(self)
    }

    /// What is at a path so far, if anything.
    pub fn kind(&self, path: &RelPath) -> Option<EntryKind> {
        self.tree.kind(path)
    }

    /// Whether a file of this size would be accepted: checked before its bytes are allocated.
    pub fn admit(&self, path: &RelPath, size: u64) -> Result<(), TreeError> {
        let TreeLimits { entries_max: _, bytes_max, file_bytes_max, depth_max } = self.limits;
        if path.depth() > depth_max {
            return Err(TreeError::TooDeep { path: path.clone(), max: depth_max });
        }
        if size > file_bytes_max {
            return Err(TreeError::FileTooLarge { path: path.clone(), bytes: size, max: file_bytes_max });
        }
        if self.tree.bytes.saturating_add(size) > bytes_max {
            return Err(TreeError::TooManyBytes { max: bytes_max });
        }
        Ok(())
    }

    /// The tree as it is so far.
    pub fn as_tree(&self) -> &MemoryTree {
        &self.tree
    }

    /// The finished tree.
    pub fn build(self) -> MemoryTree {
        self.tree
    }

    /// Enters a path into the listings of the directories above it, creating those that are missing.
    fn link(&mut self, path: &RelPath, kind: EntryKind) -> Result<(), TreeError> {
        let conflict = || TreeError::Conflict { path: path.clone() };
        match (self.tree.kind(path), kind) {
            (Some(there), wanted) if there != wanted => return Err(conflict()),
            (Some(_), _) => return Ok(()),
            (None, _) => {}
        }
        let (mut below, mut below_kind) = (path.clone(), kind);
        while let (Some(parent), Some(name)) = (below.parent(), below.file_name()) {
            let is_new = !self.tree.entries.contains_key(&parent);
            match self.tree.entries.entry(parent.clone()).or_insert_with(|| Entry::Dir(BTreeMap::new())) {
                Entry::File(_) => return Err(conflict()),
                Entry::Dir(names) => names.insert(name.to_owned(), below_kind),
            };
            if !is_new {
                break;
            }
            (below, below_kind) = (parent, EntryKind::Dir);
        }
        if self.tree.entries.len() > self.limits.entries_max {
            return Err(TreeError::TooManyEntries { max: self.limits.entries_max });
        }
        Ok(())
    }
}

impl FileTree for MemoryTree {
    fn kind(&self, path: &RelPath) -> Option<EntryKind> {
        self.entries.get(path).map(|entry| match entry {
            Entry::File(_) => EntryKind::File,
            Entry::Dir(_) => EntryKind::Dir,
        })
    }

    fn read(&self, path: &RelPath) -> Result<Bytes, ReadError> {
        match self.entries.get(path) {
            Some(Entry::File(file)) => Ok(file.content.clone()),
            Some(Entry::Dir(_)) => Err(ReadError::IsDirectory { path: path.clone() }),
            None => Err(ReadError::NotFound { path: path.clone() }),
        }
    }

    fn list(&self, path: &RelPath) -> Result<Vec<(String, EntryKind)>, ReadError> {
        match self.entries.get(path) {
            Some(Entry::Dir(names)) => Ok(names.iter().map(|(name, kind)| (name.clone(), *kind)).collect()),
            Some(Entry::File(_)) => Err(ReadError::NotADirectory { path: path.clone() }),
            None => Err(ReadError::NotFound { path: path.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn add(builder: &mut TreeBuilder, name: &str, content: &'static str) -> Result<(), TreeError> {
        builder.file(&path(name), Bytes::from_static(content.as_bytes()), false).map(|_| ())
    }

    #[test]
    fn directories_appear_with_their_files_and_lists_are_sorted() {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        add(&mut builder, "a/z", "1").unwrap();
        add(&mut builder, "a/b/c", "2").unwrap();
        add(&mut builder, "a-b", "3").unwrap();
        builder.dir(&path("empty/dir")).unwrap();
        let tree = builder.build();
        assert_eq!(
            tree.list(&path("a")).unwrap(),
            [("b".to_owned(), EntryKind::Dir), ("z".to_owned(), EntryKind::File)]
        );
        let names: Vec<String> =
            tree.list(&RelPath::root()).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "a-b", "empty"]);
        assert_eq!(tree.read(&path("a/b/c")).unwrap(), Bytes::from_static(b"2"));
        assert_eq!(tree.kind(&path("a/b")), Some(EntryKind::Dir));
        assert_eq!(tree.kind(&path("empty/dir")), Some(EntryKind::Dir));
        assert_eq!(tree.bytes(), 3);
        assert!(matches!(tree.read(&path("nope")), Err(ReadError::NotFound { .. })));
        assert!(matches!(tree.read(&path("a")), Err(ReadError::IsDirectory { .. })));
        assert!(matches!(tree.list(&path("a-b")), Err(ReadError::NotADirectory { .. })));
    }

    #[test]
    fn a_file_is_never_a_directory() {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        add(&mut builder, "a", "1").unwrap();
        assert!(matches!(add(&mut builder, "a/b", "2"), Err(TreeError::Conflict { .. })));
        assert!(matches!(builder.dir(&path("a")), Err(TreeError::Conflict { .. })));
        assert!(matches!(add(&mut builder, "", "2"), Err(TreeError::Conflict { .. })));
    }

    #[test]
    fn a_path_given_twice_counts_once() {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        add(&mut builder, "a", "one").unwrap();
        add(&mut builder, "a", "two2").unwrap();
        let tree = builder.build();
        assert_eq!((tree.len(), tree.bytes()), (1, 4));
    }

    #[test]
    fn limits_are_enforced() {
        let limits = TreeLimits { entries_max: 4, bytes_max: 10, file_bytes_max: 6, depth_max: 2 };
        let mut builder = MemoryTree::builder(limits);
        assert!(matches!(add(&mut builder, "a", "1234567"), Err(TreeError::FileTooLarge { .. })));
        assert!(matches!(add(&mut builder, "a/b/c", "1"), Err(TreeError::TooDeep { .. })));
        add(&mut builder, "a", "123456").unwrap();
        assert!(matches!(add(&mut builder, "b", "123456"), Err(TreeError::TooManyBytes { .. })));
        add(&mut builder, "b", "1").unwrap();
        add(&mut builder, "c", "1").unwrap();
        assert!(matches!(add(&mut builder, "d/e", "1"), Err(TreeError::TooManyEntries { .. })));
    }
}
