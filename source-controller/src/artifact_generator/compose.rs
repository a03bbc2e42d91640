//! The files of an artifact from those of its sources: copy operations in their order, as `cp -r` would. Nothing can leave its tree:
//! each path is a `RelPath`. Pure.

use bytes::Bytes;
use plumb_archive::{UnpackError, UnpackLimits, unpack};
use plumb_filetree::{
    EntryKind, FileTree as _, Ignore, MemoryTree, PathError, RelPath, TreeBuilder, TreeError, digest::Hasher,
    ignore::TooManyPatterns,
};
use plumb_memory::{MemoryReservation, OverBudget};

use super::{
    merge::{self, MergeError},
    plan::{Copy, Selection, Strategy},
};

/// Memory of an entry of a tree in addition to its content and its path.
const ENTRY_BYTES: u64 = 192;
/// Comparisons of a path with a pattern for one artifact.
pub const COMPARISONS_MAX: u64 = 50_000_000;

/// A copy operation failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to apply copy operation from '{from}' to '{to}'")]
pub struct ComposeError {
    from: String,
    to: String,
    #[source]
    source: Box<CopyError>,
}

/// Why a copy operation failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// No source has the alias.
    #[error("source alias '{alias}' not found")]
    NoSource {
        /// The alias.
        alias: String,
    },
    /// There is no such file.
    #[error("source '{path}' does not exist")]
    Missing {
        /// Its path.
        path: RelPath,
    },
    /// No file matches.
    #[error("no files match pattern '{pattern}' in source '{alias}'")]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// The source.
        alias: String,
    },
    /// No file is left.
    #[error("all files matching pattern '{pattern}' in source '{alias}' were excluded")]
    AllExcluded {
        /// The pattern.
        pattern: String,
        /// The source.
        alias: String,
    },
    /// A directory cannot be unpacked.
    #[error("extract strategy is not supported for directories, got '{path}'")]
    ExtractDirectory {
        /// Its path.
        path: RelPath,
    },
    /// The file is no archive.
    #[error("extract strategy requires tarball file (.tar.gz or .tgz), got '{path}'")]
    NoArchive {
        /// Its path.
        path: RelPath,
    },
    /// An archive cannot be unpacked.
    #[error("failed to extract tarball '{path}'")]
    Extract {
        /// Its path.
        path: RelPath,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// Files cannot be merged.
    #[error("failed to merge '{path}' into '{into}'")]
    Merge {
        /// The file.
        path: RelPath,
        /// The file that is there.
        into: RelPath,
        /// Why.
        #[source]
        source: MergeError,
    },
    /// The result is over a limit, or a file would take the place of a directory.
    #[error("the artifact cannot hold the files")]
    Tree(#[from] TreeError),
    /// A path of the result is too long.
    #[error("the artifact cannot hold a path")]
    Path(#[from] PathError),
    /// The memory budget does not allow it.
    #[error("the artifact needs more memory than there is")]
    OverBudget(#[from] OverBudget),
    /// Patterns and files are too many.
    #[error(
        "the patterns of the artifact need more than {COMPARISONS_MAX} comparisons: use fewer patterns, or paths"
    )]
    TooManyComparisons,
    /// The built-in rules of what is left out cannot be used.
    #[error("failed to load source ignore patterns")]
    Ignore(#[from] TooManyPatterns),
}

/// Carries out copy operations. What is allocated for the result is charged to `memory`; the content of files that are copied
/// unchanged is shared with the sources.
pub fn compose<'a>(
    operations: &[Copy],
    source: impl Fn(&str) -> Option<&'a MemoryTree>,
    limits: &UnpackLimits,
    memory: &mut MemoryReservation,
) -> Result<MemoryTree, ComposeError> {
    let mut composer =
        Composer { tree: MemoryTree::builder(limits.tree), limits, memory, comparisons: COMPARISONS_MAX };
    for operation in operations {
        let failed = |source| ComposeError {
            from: operation.from.clone(),
            to: operation.to.clone(),
            source: Box::new(source),
        };
        let found = source(&operation.alias);
        let tree = found.ok_or_else(|| failed(CopyError::NoSource { alias: operation.alias.clone() }))?;
        composer.apply(operation, tree).map_err(failed)?;
    }
    let last = operations.last();
    composer.without_defaults().map_err(|source| ComposeError {
        from: last.map(|last| last.from.clone()).unwrap_or_default(),
        to: last.map(|last| last.to.clone()).unwrap_or_default(),
        source: Box::new(source),
    })
}

/// Hexadecimal digest of the paths, modes and contents of a tree.
pub fn content_digest(tree: &MemoryTree) -> String {
    let mut hasher = Hasher::default();
    for (path, file) in tree.iter() {
        let (mode, length) = match file {
            None => ("dir", 0),
            Some(file) if file.executable => ("executable", file.content.len()),
            Some(file) => ("file", file.content.len()),
        };
        hasher.update(format!("{mode} {length} {}\0", path.as_str()).as_bytes());
        hasher.update(file.map_or(&[], |file| &file.content));
    }
    hasher.finish_hex()
}

struct Composer<'a> {
    tree: TreeBuilder,
    limits: &'a UnpackLimits,
    memory: &'a mut MemoryReservation,
    /// How many are left.
    comparisons: u64,
}

impl Composer<'_> {
    fn apply(&mut self, operation: &Copy, source: &MemoryTree) -> Result<(), CopyError> {
        match &operation.selection {
            Selection::Path(path) => self.copy_path(operation, source, path),
            Selection::Pattern(_) => self.copy_matches(operation, source),
        }
    }

    fn copy_path(&mut self, operation: &Copy, source: &MemoryTree, path: &RelPath) -> Result<(), CopyError> {
        let kind = match source.kind(path) {
            Some(kind) => kind,
            None if operation.optional => return Ok(()),
            None => return Err(CopyError::Missing { path: path.clone() }),
        };
        // A directory keeps its name; the root has none.
        let below = RelPath::parse(path.file_name().unwrap_or_default())?;
        if kind == EntryKind::Dir {
            if operation.strategy == Strategy::Extract {
                return Err(CopyError::ExtractDirectory { path: path.clone() });
            }
            let into = operation.destination.join(&below)?;
            return self.copy_directory(operation, source, path, &into, path);
        }
        if self.excludes(operation, path, &RelPath::root())? {
            return Ok(());
        }
        if operation.strategy == Strategy::Extract {
            return if is_archive(path) {
                self.extract(source, path, &operation.destination)
            } else {
                Err(CopyError::NoArchive { path: path.clone() })
            };
        }
        let is_directory = operation.into_directory
            || self.tree.as_tree().kind(&operation.destination) == Some(EntryKind::Dir);
        let into =
            if is_directory { operation.destination.join(&below)? } else { operation.destination.clone() };
        self.copy_file(operation, source, path, &into)
    }

    fn copy_matches(&mut self, operation: &Copy, source: &MemoryTree) -> Result<(), CopyError> {
        let Selection::Pattern(pattern) = &operation.selection else { return Ok(()) };
        let (mut matches, mut is_any) = (Vec::new(), false);
        for (path, _) in source.iter() {
            self.spend(pattern.glob.cost())?;
            if pattern.glob.matches(path) {
                is_any = true;
                if !self.excludes(operation, path, &pattern.base)? {
                    matches.push(path);
                }
            }
        }
        if matches.is_empty() && !operation.optional {
            let (pattern, alias) = (pattern.glob.as_str().to_owned(), operation.alias.clone());
            return Err(if is_any {
                CopyError::AllExcluded { pattern, alias }
            } else {
                CopyError::NoMatch { pattern, alias }
            });
        }
        for path in matches {
            let kind = source.kind(path);
            if operation.strategy == Strategy::Extract {
                if kind == Some(EntryKind::File) && is_archive(path) {
                    self.extract(source, path, &operation.destination)?;
                }
                continue;
            }
            let into = operation.destination.join(&pattern.destination(path)?)?;
            match kind {
                Some(EntryKind::Dir) => self.copy_directory(operation, source, path, &into, &pattern.base)?,
                Some(EntryKind::File) => self.copy_file(operation, source, path, &into)?,
                None => {}
            }
        }
        Ok(())
    }

    fn copy_directory(
        &mut self,
        operation: &Copy,
        source: &MemoryTree,
        from: &RelPath,
        into: &RelPath,
        base: &RelPath,
    ) -> Result<(), CopyError> {
        let mut open = vec![(from.clone(), into.clone())];
        while let Some((from, into)) = open.pop() {
            self.charge_entry(&into)?;
            self.tree.dir(&into)?;
            for (name, kind) in source.list(&from).unwrap_or_default() {
                let (path, target) = (from.child(&name)?, into.child(&name)?);
                if self.excludes(operation, &path, base)? {
                    continue;
                }
                match kind {
                    EntryKind::Dir => open.push((path, target)),
                    EntryKind::File => self.copy_file(operation, source, &path, &target)?,
                }
            }
        }
        Ok(())
    }

    fn copy_file(
        &mut self,
        operation: &Copy,
        source: &MemoryTree,
        path: &RelPath,
        into: &RelPath,
    ) -> Result<(), CopyError> {
        let file = source.file(path).ok_or_else(|| CopyError::Missing { path: path.clone() })?;
        let there = self.tree.as_tree().file(into).filter(|_| operation.strategy == Strategy::Merge).cloned();
        let Some(there) = there else {
            self.charge_entry(into)?;
            self.tree.file(into, file.content.clone(), file.executable)?;
            return Ok(());
        };
        let bytes = file.content.len().saturating_add(there.content.len()) as u64;
        let transient = bytes.saturating_mul(merge::MEMORY_FACTOR);
        self.memory.try_grow(transient)?;
        let merged = merge::merge(&there.content, &file.content);
        self.memory.shrink(transient);
        let merged =
            merged.map_err(|source| CopyError::Merge { path: path.clone(), into: into.clone(), source })?;
        self.memory.try_grow(merged.len() as u64)?;
        self.tree.file(into, Bytes::from(merged), there.executable)?;
        Ok(())
    }

    fn extract(&mut self, source: &MemoryTree, path: &RelPath, into: &RelPath) -> Result<(), CopyError> {
        let archive = source.file(path).ok_or_else(|| CopyError::Missing { path: path.clone() })?;
        let unpacked = unpack(&archive.content, self.limits, self.memory)
            .map_err(|source| CopyError::Extract { path: path.clone(), source })?;
        for (path, file) in unpacked.iter() {
            let target = into.join(path)?;
            self.charge_entry(&target)?;
            match file {
                None => self.tree.dir(&target)?,
                Some(file) => self.tree.file(&target, file.content.clone(), file.executable)?,
            };
        }
        Ok(())
    }

    /// Without what no artifact holds by default: Flux archives the result with these rules.
    fn without_defaults(self) -> Result<MemoryTree, CopyError> {
        let rules = Ignore::builder().build(None)?;
        let composed = self.tree.build();
        let mut kept = MemoryTree::builder(self.limits.tree);
        for (path, file) in composed.iter() {
            let kind = if file.is_some() { EntryKind::File } else { EntryKind::Dir };
            if rules.excludes(path, kind) {
                continue;
            }
            match file {
                None => kept.dir(path)?,
                Some(file) => kept.file(path, file.content.clone(), file.executable)?,
            };
        }
        Ok(kept.build())
    }

    /// Whether a path is left out, as it is or as seen from the base of the pattern.
    fn excludes(&mut self, operation: &Copy, path: &RelPath, base: &RelPath) -> Result<bool, CopyError> {
        let relative = path.as_str().strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let relative = relative.map(RelPath::parse).transpose()?;
        for glob in &operation.exclude {
            self.spend(glob.cost())?;
            if glob.excludes(path) || relative.as_ref().is_some_and(|relative| glob.excludes(relative)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn spend(&mut self, comparisons: u64) -> Result<(), CopyError> {
        self.comparisons = self.comparisons.checked_sub(comparisons).ok_or(CopyError::TooManyComparisons)?;
        Ok(())
    }

    /// A path is in the tree, and in the list of its directory.
    fn charge_entry(&mut self, path: &RelPath) -> Result<(), CopyError> {
        Ok(self.memory.try_grow(ENTRY_BYTES + 2 * path.as_str().len() as u64)?)
    }
}

/// Whether the name of a file is that of an archive.
fn is_archive(path: &RelPath) -> bool {
    let name = path.file_name().unwrap_or_default().to_ascii_lowercase();
    [".tar.gz", ".tgz"].iter().any(|extension| name.ends_with(extension))
}

#[cfg(test)]
mod tests;
