//! Leaves files out of the scan of a directory that has no kustomization file. What a kustomization file names is read all
//! the same, as Flux does.

use anyhow::Result;
use bytes::Bytes;
use plumb_filetree::{EntryKind, FileTree, Ignore, ReadError, RelPath};

use crate::disk::DiskTree;

/// A tree whose listings leave out what the patterns say.
pub struct Sifted<'t> {
    tree: &'t DiskTree,
    directory: RelPath,
    /// None: without a pattern nothing is left out.
    ignore: Option<Ignore>,
}

impl<'t> Sifted<'t> {
    /// Patterns start at the directory.
    pub fn new(tree: &'t DiskTree, directory: RelPath, patterns: &[String]) -> Result<Self> {
        let ignore = match patterns {
            [] => None,
            some => Some(Ignore::builder().build(Some(&some.join("\n")))?),
        };
        Ok(Self { tree, directory, ignore })
    }

    fn excludes(&self, path: &RelPath, kind: EntryKind) -> bool {
        let Some(ignore) = &self.ignore else { return false };
        let below = path.as_str().strip_prefix(self.directory.as_str()).unwrap_or_default();
        RelPath::parse(below.trim_start_matches('/')).is_ok_and(|below| ignore.excludes(&below, kind))
    }
}

impl FileTree for Sifted<'_> {
    fn kind(&self, path: &RelPath) -> Option<EntryKind> {
        self.tree.kind(path)
    }

    fn follow(&self, path: &RelPath) -> RelPath {
        self.tree.follow(path)
    }

    fn read(&self, path: &RelPath) -> Result<Bytes, ReadError> {
        self.tree.read(path)
    }

    fn list(&self, path: &RelPath) -> Result<Vec<(String, EntryKind)>, ReadError> {
        let mut entries = self.tree.list(path)?;
        if self.ignore.is_some() && path.starts_with(&self.directory) {
            entries.retain(|(name, kind)| !path.child(name).is_ok_and(|child| self.excludes(&child, *kind)));
        }
        Ok(entries)
    }
}
