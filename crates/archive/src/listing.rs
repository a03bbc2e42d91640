//! What is to be archived: files and directories in the order in which they are written. No content is read here.

use std::cmp::Ordering;

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeError, TreeLimits};

/// The content of a file, which is read when it is written.
pub trait Content {
    /// What identifies the content without reading it, such as the id of a blob; none where nothing does.
    fn id(&self) -> Option<&[u8]>;
}

impl Content for Bytes {
    fn id(&self) -> Option<&[u8]> {
        None
    }
}

/// A file or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<C> {
    /// Where it is.
    pub path: RelPath,
    /// What it is.
    pub content: EntryContent<C>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryContent<C> {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its content.
        content: C,
    },
}

impl<C> Entry<C> {
    /// A directory.
    pub fn directory(path: RelPath) -> Self {
        Self { path, content: EntryContent::Directory }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.content, EntryContent::Directory)
    }

    pub(crate) fn name(&self) -> &str {
        self.path.file_name().unwrap_or_default()
    }
}

/// Entries in order: a directory is followed by all that is below it, and its children are sorted by name. The first entry is the root,
/// and each path is there once, with all directories above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<C> {
    entries: Vec<Entry<C>>,
}

impl<C> Listing<C> {
    /// Of entries in any order; directories above them are added. Of two files with one path the later one counts.
    pub fn new(mut entries: Vec<Entry<C>>, limits: TreeLimits) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| order(&a.path, &b.path));
        let mut sorted: Vec<Entry<C>> = Vec::with_capacity(entries.len() + 1);
        sorted.push(Entry::directory(RelPath::root()));
        // The directories that the last entry is in, from the root down.
        let mut open = vec![RelPath::root()];
        for entry in entries {
            if entry.path.depth() > limits.depth_max {
                return Err(TreeError::TooDeep { path: entry.path, max: limits.depth_max });
            }
            while open.last().is_some_and(|directory| !is_below(&entry.path, directory)) {
                open.pop();
            }
            enter(&mut sorted, &mut open, entry)?;
            if sorted.len() > limits.entries_max {
                return Err(TreeError::TooManyEntries { max: limits.entries_max });
            }
        }
        Ok(Self { entries: sorted })
    }

    /// All entries below the root, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<C>> {
        self.entries.iter().skip(1)
    }

    /// The root, and all entries.
    pub(crate) fn all(&self) -> &[Entry<C>] {
        &self.entries
    }
}

impl Listing<Bytes> {
    /// The entries of a tree in memory.
    pub fn of(tree: &MemoryTree) -> Self {
        let mut entries: Vec<_> = tree
            .iter()
            .map(|(path, file)| Entry {
                path: path.clone(),
                content: match file {
                    None => EntryContent::Directory,
                    Some(file) => {
                        EntryContent::File { executable: file.executable, content: file.content.clone() }
                    }
                },
            })
            .collect();
        entries.push(Entry::directory(RelPath::root()));
        entries.sort_by(|a, b| order(&a.path, &b.path));
        Self { entries }
    }
}

/// Adds an entry and those of the directories above it that are not there yet. `open` ends with the nearest one that is.
fn enter<C>(sorted: &mut Vec<Entry<C>>, open: &mut Vec<RelPath>, entry: Entry<C>) -> Result<(), TreeError> {
    let conflict = |path: &RelPath| TreeError::Conflict { path: path.clone() };
    if let Some(last) = sorted.last_mut()
        && last.path == entry.path
    {
        if last.is_directory() != entry.is_directory() || entry.path.is_root() && !entry.is_directory() {
            return Err(conflict(&entry.path));
        }
        *last = entry;
        return Ok(());
    }
    let mut missing = Vec::new();
    let mut above = entry.path.parent();
    while let Some(directory) = above.filter(|directory| open.last() != Some(directory)) {
        above = directory.parent();
        missing.push(directory);
    }
    for directory in missing.into_iter().rev() {
        // A file is followed by what is below it, if anything is.
        if sorted.last().is_some_and(|last| last.path == directory) {
            return Err(conflict(&directory));
        }
        sorted.push(Entry::directory(directory.clone()));
        open.push(directory);
    }
    if entry.is_directory() {
        open.push(entry.path.clone());
    }
    sorted.push(entry);
    Ok(())
}

/// Component by component, so that what is below a directory follows it.
fn order(a: &RelPath, b: &RelPath) -> Ordering {
    a.components().cmp(b.components())
}

fn is_below(path: &RelPath, directory: &RelPath) -> bool {
    path != directory && path.starts_with(directory) || directory.is_root()
}

/// The children of the directory that is the first entry, each with all that is below it: the ranges of their entries.
pub(crate) fn children<C>(entries: &[Entry<C>]) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = 1;
    while let Some(child) = entries.get(at) {
        let below = entries[at + 1..]
            .iter()
            .take_while(|other| child.is_directory() && is_below(&other.path, &child.path));
        let end = at + 1 + below.count();
        ranges.push(at..end);
        at = end;
    }
    ranges
}
