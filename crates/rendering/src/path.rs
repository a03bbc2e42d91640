//! The directory that `spec.path` means, and what may have been meant where there is none.

use plumb_filetree::{EntryKind, FileTree, RelPath};

use crate::error::RenderError;

/// Entries of one directory that are compared with a name that is not there.
const ENTRIES_MAX: usize = 10_000;
/// Directories that an error names.
const NAMED_MAX: usize = 5;

/// The directory of a path: slashes at its ends and `./` make no difference, and `..` at the root stays there, as in Flux.
pub(crate) fn directory(tree: &dyn FileTree, path: &str) -> Result<RelPath, RenderError> {
    let reject = |message: String| RenderError::Path { path: path.to_owned(), message };
    let directory = RelPath::parse(&clamped(path)).map_err(|error| reject(error.to_string()))?;
    match tree.kind(&directory) {
        Some(EntryKind::Dir) => Ok(directory),
        Some(EntryKind::File) => Err(reject("it is a file".to_owned())),
        None => Err(reject(format!("no such directory in the source{}", meant(tree, path)))),
    }
}

fn clamped(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// An existing directory with nearly this name: with slashes for backslashes, without white space at its ends, in
/// another case; else the entries where the path stops to exist.
fn meant(tree: &dyn FileTree, path: &str) -> String {
    let path = clamped(&path.trim().replace('\\', "/"));
    let mut at = RelPath::root();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let names = directories(tree, &at);
        let found = names.iter().find(|name| *name == part);
        let found = found.or_else(|| names.iter().find(|name| name.to_lowercase() == part.to_lowercase()));
        match found.map(|name| at.child(name)) {
            Some(Ok(child)) => at = child,
            _ => return siblings(&at, &names),
        }
    }
    format!("; did you mean \"./{at}\"?")
}

fn siblings(at: &RelPath, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    let names: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    format!("; \"./{at}\" has the directories {}{more}", names.join(", "))
}

fn directories(tree: &dyn FileTree, at: &RelPath) -> Vec<String> {
    let entries = tree.list(at).unwrap_or_default();
    let dirs = entries.into_iter().take(ENTRIES_MAX).filter(|(_, kind)| *kind == EntryKind::Dir);
    dirs.map(|(name, _)| name).collect()
}
