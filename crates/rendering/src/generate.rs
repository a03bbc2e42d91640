//! The kustomization of a directory that has none: every manifest below it, as Flux finds them.

use plumb_filetree::{EntryKind, FileTree, RelPath};
use plumb_kustomize::{FILE_NAMES, Interrupt, ReadSet};

use crate::error::RenderError;

/// Files and directories that one scan may look at.
const ENTRIES_MAX: usize = 100_000;

/// The resources of the directory, or `None` if it has a kustomization file.
pub(crate) fn resources(
    tree: &dyn FileTree,
    directory: &RelPath,
    reads: &mut ReadSet,
    interrupt: &Interrupt,
) -> Result<Option<Vec<String>>, RenderError> {
    if has_kustomization(tree, directory) {
        return Ok(None);
    }
    let limited = |message: String| RenderError::ScanLimit { directory: format!("/{directory}"), message };
    let mut found = Vec::new();
    let mut pending = vec![RelPath::root()];
    let mut entries = 0_usize;
    while let Some(below) = pending.pop() {
        interrupt.check().map_err(RenderError::Build)?;
        let path = directory.join(&below).map_err(|error| limited(error.to_string()))?;
        let listing = reads.list(tree, &path).map_err(|error| limited(error.to_string()))?;
        entries += listing.len();
        if entries > ENTRIES_MAX {
            return Err(limited(format!("more than {ENTRIES_MAX} files and directories")));
        }
        for (name, kind) in listing {
            let child = below.child(&name).map_err(|error| limited(error.to_string()))?;
            let full = directory.join(&child).map_err(|error| limited(error.to_string()))?;
            match kind {
                // A directory with a kustomization file of its own is one resource.
                EntryKind::Dir if has_kustomization(tree, &full) => found.push(child),
                EntryKind::Dir => pending.push(child),
                EntryKind::File if is_manifest(&name) => found.push(child),
                EntryKind::File => {}
            }
        }
    }
    found.sort();
    Ok(Some(found.into_iter().map(|path| path.as_str().to_owned()).collect()))
}

fn has_kustomization(tree: &dyn FileTree, directory: &RelPath) -> bool {
    FILE_NAMES
        .iter()
        .any(|name| directory.child(name).is_ok_and(|file| tree.kind(&file) == Some(EntryKind::File)))
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml"].iter().any(|extension| name.ends_with(extension))
}
