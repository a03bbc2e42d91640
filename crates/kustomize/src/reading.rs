//! The only access of the engine to the tree: everything read is recorded, so that a caller can check later
//! whether the result is still valid.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use plumb_filetree::{EntryKind, FileTree, ReadError, RelPath, digest::sha256_hex};
use plumb_manifests::yaml::Node;

use crate::error::BuildError;
use crate::limits::Limits;

/// The paths that a build read, and what it found there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadSet {
    seen: BTreeMap<RelPath, Seen>,
}

/// What was found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// A directory; its content was not listed.
    Directory,
    /// A directory whose entries are these names; those of directories end in a slash.
    Listing(Vec<String>),
    /// A file; its content did not matter.
    File,
    /// A file with this SHA-256, in hexadecimal digits.
    Content(String),
}

impl Seen {
    fn of(kind: Option<EntryKind>) -> Self {
        match kind {
            None => Self::Absent,
            Some(EntryKind::Dir) => Self::Directory,
            Some(EntryKind::File) => Self::File,
        }
    }
}

impl ReadSet {
    /// All paths that were read, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&RelPath, &Seen)> {
        self.seen.iter()
    }

    /// Adds the paths that another build read.
    pub fn extend(&mut self, other: Self) {
        for (path, seen) in other.seen {
            self.add(&path, seen);
        }
    }

    /// Records what is at a path, and returns it.
    pub fn kind(&mut self, tree: &dyn FileTree, path: &RelPath) -> Option<EntryKind> {
        let kind = tree.kind(path);
        self.add(path, Seen::of(kind));
        kind
    }

    /// Notes that a directory was listed, and lists it.
    pub fn list(
        &mut self,
        tree: &dyn FileTree,
        directory: &RelPath,
    ) -> Result<Vec<(String, EntryKind)>, ReadError> {
        let entries = tree.list(directory)?;
        self.seen.insert(directory.clone(), Seen::Listing(names(&entries)));
        Ok(entries)
    }

    /// Whether a build of this tree would read the same.
    pub fn holds_in(&self, tree: &dyn FileTree) -> bool {
        self.seen.iter().all(|(path, seen)| match (seen, tree.kind(path)) {
            (Seen::Absent, None)
            | (Seen::Directory, Some(EntryKind::Dir))
            | (Seen::File, Some(EntryKind::File)) => true,
            (Seen::Listing(known), Some(EntryKind::Dir)) => {
                tree.list(path).is_ok_and(|entries| &names(&entries) == known)
            }
            (Seen::Content(digest), Some(EntryKind::File)) => {
                tree.read(path).is_ok_and(|content| &sha256_hex(&content) == digest)
            }
            _ => false,
        })
    }

    fn add(&mut self, path: &RelPath, seen: Seen) {
        let known = self.seen.get(path);
        if !matches!(known, Some(Seen::Content(_) | Seen::Listing(_))) {
            self.seen.insert(path.clone(), seen);
        }
    }
}

/// A tree with a budget and a memory.
pub(crate) struct Reader<'t> {
    tree: &'t dyn FileTree,
    limits: &'t Limits,
    reads: RefCell<ReadSet>,
    files: Cell<usize>,
    bytes: Cell<usize>,
    steps: Cell<usize>,
    values: Cell<usize>,
    text_bytes: Cell<usize>,
}

/// Memory of a value in addition to its text, in bytes.
const BYTES_PER_VALUE: usize = 32;

/// This many bytes written to an object count as much as looking at one.
const BYTES_PER_STEP: usize = 8;

impl<'t> Reader<'t> {
    pub(crate) fn new(tree: &'t dyn FileTree, limits: &'t Limits) -> Self {
        Self {
            tree,
            limits,
            reads: RefCell::default(),
            files: Cell::new(0),
            bytes: Cell::new(0),
            steps: Cell::new(0),
            values: Cell::new(0),
            text_bytes: Cell::new(0),
        }
    }

    pub(crate) fn limits(&self) -> &'t Limits {
        self.limits
    }

    /// Counts the values of an object that is taken into the build, and their bytes: aliases can make much of little.
    pub(crate) fn admit(&self, value: &Node) -> Result<(), BuildError> {
        self.values.set(self.values.get().saturating_add(value.count()));
        self.text_bytes.set(self.text_bytes.get().saturating_add(value.bytes()));
        self.limits.interrupt.check()?;
        let bytes = value.count().saturating_mul(BYTES_PER_VALUE).saturating_add(value.bytes());
        self.limits.charge.take(bytes)?;
        let Limits { values_max, output_bytes_max, .. } = self.limits;
        if self.values.get() > *values_max {
            return Err(BuildError::over_limit(format!("the objects have more than {values_max} values")));
        }
        if self.text_bytes.get() > *output_bytes_max {
            let message = format!("the objects read have more than {output_bytes_max} bytes");
            return Err(BuildError::over_limit(message));
        }
        Ok(())
    }

    /// Takes from the budget what it costs to copy a value into so many objects.
    pub(crate) fn spend_copies(&self, objects: usize, value: &Node) -> Result<(), BuildError> {
        let bytes = value.count().saturating_mul(BYTES_PER_VALUE).saturating_add(value.bytes());
        self.spend(objects, bytes)
    }

    /// Takes from the budget what it costs to walk through a value.
    pub(crate) fn spend_walk(&self, value: &Node) -> Result<(), BuildError> {
        self.spend_walks(value, 0)
    }

    /// Takes from the budget what it costs to look for so many fields in a value.
    pub(crate) fn spend_walks(&self, value: &Node, fields: usize) -> Result<(), BuildError> {
        const VALUES_PER_STEP: usize = 16;
        self.spend(value.count() / VALUES_PER_STEP, fields)
    }

    /// Takes from the budget what it costs to look at objects and to write so many bytes into each of them.
    pub(crate) fn spend(&self, objects: usize, bytes_each: usize) -> Result<(), BuildError> {
        self.limits.interrupt.check()?;
        let steps = objects.saturating_mul(1 + bytes_each / BYTES_PER_STEP);
        self.steps.set(self.steps.get().saturating_add(steps));
        if self.steps.get() > self.limits.steps_max {
            let message = format!("the build takes more than {} steps", self.limits.steps_max);
            return Err(BuildError::over_limit(message));
        }
        Ok(())
    }

    pub(crate) fn kind(&self, path: &RelPath) -> Option<EntryKind> {
        let kind = self.tree.kind(path);
        self.reads.borrow_mut().add(path, Seen::of(kind));
        kind
    }

    /// The same path with links resolved, where the tree has links.
    pub(crate) fn follow(&self, path: &RelPath) -> RelPath {
        self.tree.follow(path)
    }

    pub(crate) fn bytes(&self, path: &RelPath) -> Result<Vec<u8>, BuildError> {
        self.limits.interrupt.check()?;
        if self.files.get() >= self.limits.files_max {
            let message = format!("more than {} files are read", self.limits.files_max);
            return Err(BuildError::over_limit(message).in_file(path));
        }
        self.files.set(self.files.get() + 1);
        let content = self.tree.read(path);
        let content = content.map_err(|error| BuildError::invalid(error.to_string()).in_file(path))?;
        self.bytes.set(self.bytes.get().saturating_add(content.len()));
        if content.len() > self.limits.file_bytes_max || self.bytes.get() > self.limits.read_bytes_max {
            let Limits { file_bytes_max, read_bytes_max, .. } = self.limits;
            let message = format!("over the limit of {file_bytes_max} bytes a file, {read_bytes_max} in all");
            return Err(BuildError::over_limit(message).in_file(path));
        }
        self.reads.borrow_mut().add(path, Seen::Content(sha256_hex(&content)));
        Ok(content.to_vec())
    }

    pub(crate) fn text(&self, path: &RelPath) -> Result<String, BuildError> {
        let bytes = self.bytes(path)?;
        if let Some(of_pair) = utf_16(&bytes) {
            let reject = || {
                BuildError::invalid("the content has the mark of UTF-16, and is something else").in_file(path)
            };
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().skip(1).map(|pair| of_pair(*pair)).collect();
            return String::from_utf16(&units).ok().filter(|_| rest.is_empty()).ok_or_else(reject);
        }
        String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.split(|byte| *byte == b'\n').count();
            BuildError::invalid("the content is not UTF-8").at_line(path, line)
        })
    }

    pub(crate) fn into_reads(self) -> ReadSet {
        self.reads.into_inner()
    }
}

/// How the pairs of bytes are read of a file that begins with a mark of UTF-16, as some editors write and kustomize reads
/// it.
fn utf_16(bytes: &[u8]) -> Option<fn([u8; 2]) -> u16> {
    match bytes {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    }
}

fn names(entries: &[(String, EntryKind)]) -> Vec<String> {
    let name = |(name, kind): &(String, EntryKind)| match kind {
        EntryKind::File => name.clone(),
        EntryKind::Dir => format!("{name}/"),
    };
    entries.iter().map(name).collect()
}
