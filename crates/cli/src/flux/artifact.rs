//! The directory as the kustomize-controller would see it in an artifact: without what `.sourceignore` files, `spec.ignore` or
//! the defaults leave out of it. Patterns of `--ignore-paths` leave files out of the scan of a directory without a
//! kustomization file only; what a kustomization file names is read all the same, as Flux does.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use plumb_filetree::ignore::IGNORE_FILE;
use plumb_filetree::{EntryKind, FileTree, Ignore, ReadError, RelPath};

use crate::build;
use crate::disk::DiskTree;

/// Files and directories of a source that are looked at for ignore files.
const ENTRIES_MAX: usize = 500_000;
/// Where Git keeps what it knows of a repository, a worktree or a submodule.
const GIT: &str = ".git";

/// What decides which files there are.
pub struct Rules<'r> {
    /// The root of the source, if it is known.
    pub root: Option<&'r Path>,
    /// `spec.ignore` of the source, if it is known.
    pub spec: Option<&'r str>,
    /// Patterns for the scan alone, from the directory that is built.
    pub scan: &'r [String],
}

/// A tree without what an artifact does not have.
pub struct ArtifactTree<'t> {
    tree: &'t DiskTree,
    root: RelPath,
    rules: Ignore,
    directory: RelPath,
    /// None: without a pattern the scan leaves nothing out.
    scan: Option<Ignore>,
    notes: RefCell<BTreeSet<String>>,
}

impl<'t> ArtifactTree<'t> {
    /// The tree for a build of the directory.
    pub fn new(tree: &'t DiskTree, directory: RelPath, rules: &Rules<'_>) -> Result<Self> {
        let root = match rules.root {
            Some(root) => build::locate(root).context("invalid source root")?,
            None => source_root(&directory),
        };
        if !directory.starts_with(&root) {
            bail!("'/{directory}' is not in the source root '/{root}'");
        }
        let scan = match rules.scan {
            [] => None,
            some => Some(Ignore::builder().build(Some(&some.join("\n")))?),
        };
        let rules = ignore_files(tree, &root, rules.spec)?;
        Ok(Self { tree, root, rules, directory, scan, notes: RefCell::default() })
    }

    /// What was requested and is left out: reported beside the error that followed.
    pub fn notes(&self) -> Vec<String> {
        self.notes.borrow().iter().cloned().collect()
    }

    /// Whether an artifact lacks a path. Outside of the root no rule holds.
    fn lacks(&self, path: &RelPath, kind: EntryKind) -> bool {
        below(path, &self.root).is_some_and(|inner| self.rules.excludes(&inner, kind))
    }

    fn is_left_out(&self, path: &RelPath) -> bool {
        let is_out = self.tree.kind(path).is_some_and(|kind| self.lacks(path, kind));
        if is_out {
            let note = format!(
                "'/{path}' is left out of the artifact: by {IGNORE_FILE} in '/{}' or below, by spec.ignore of the source, or \
                 by the defaults",
                self.root
            );
            self.notes.borrow_mut().insert(note);
        }
        is_out
    }

    fn skips(&self, path: &RelPath, kind: EntryKind) -> bool {
        let Some(scan) = &self.scan else { return false };
        below(path, &self.directory).is_some_and(|inner| scan.excludes(&inner, kind))
    }
}

impl FileTree for ArtifactTree<'_> {
    fn kind(&self, path: &RelPath) -> Option<EntryKind> {
        if self.is_left_out(path) { None } else { self.tree.kind(path) }
    }

    fn follow(&self, path: &RelPath) -> RelPath {
        self.tree.follow(path)
    }

    fn read(&self, path: &RelPath) -> Result<Bytes, ReadError> {
        if self.is_left_out(path) {
            return Err(ReadError::NotFound { path: path.clone() });
        }
        self.tree.read(path)
    }

    fn list(&self, path: &RelPath) -> Result<Vec<(String, EntryKind)>, ReadError> {
        let mut entries = self.tree.list(path)?;
        entries.retain(|(name, kind)| {
            !path.child(name).is_ok_and(|child| self.lacks(&child, *kind) || self.skips(&child, *kind))
        });
        Ok(entries)
    }
}

/// A path from a directory above it.
fn below(path: &RelPath, directory: &RelPath) -> Option<RelPath> {
    if !path.starts_with(directory) {
        return None;
    }
    let rest = path.as_str().strip_prefix(directory.as_str())?;
    RelPath::parse(rest.trim_start_matches('/')).ok()
}

/// The nearest directory, from this one up, that Git keeps a repository or a worktree in; else the directory itself.
fn source_root(directory: &RelPath) -> RelPath {
    let mut at = Some(directory.clone());
    while let Some(candidate) = at {
        if std::fs::symlink_metadata(Path::new("/").join(candidate.as_str()).join(GIT)).is_ok() {
            return candidate;
        }
        at = candidate.parent();
    }
    directory.clone()
}

/// The rules of all ignore files of the source, as the source-controller reads them: one with a pattern, wherever it is, takes
/// the place of the defaults.
fn ignore_files(tree: &DiskTree, root: &RelPath, spec: Option<&str>) -> Result<Ignore> {
    let mut builder = Ignore::builder();
    let mut pending = vec![root.clone()];
    let mut entries = 0_usize;
    while let Some(directory) = pending.pop() {
        // What cannot be read is no part of the build, or the build says so.
        let Ok(listing) = tree.list(&directory) else { continue };
        entries += listing.len();
        if entries > ENTRIES_MAX {
            bail!(
                "more than {ENTRIES_MAX} files and directories in '/{root}' to look for {IGNORE_FILE}: set --source-root to a \
                 smaller directory"
            );
        }
        // A repository inside is another source.
        if directory != *root && listing.iter().any(|(name, _)| name == GIT) {
            continue;
        }
        for (name, kind) in listing {
            let child = directory.child(&name)?;
            match kind {
                EntryKind::Dir if name != GIT => pending.push(child),
                EntryKind::File if name == IGNORE_FILE => {
                    let text = tree.read(&child)?;
                    let inner = below(&directory, root).unwrap_or_default();
                    builder.file(inner, String::from_utf8_lossy(&text).into_owned());
                }
                EntryKind::Dir | EntryKind::File => {}
            }
        }
    }
    Ok(builder.build(spec)?)
}
