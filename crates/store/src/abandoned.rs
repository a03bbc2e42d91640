//! Temporary files of a writer that was killed. A writer holds a lock on its temporary file; the lock ends with the process, so
//! a temporary file without a lock belongs to nobody, however young it is. What is complete is never looked at here.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::layout::TEMPORARY_SUFFIX;

/// Levels of directories below the root: kind, namespace, name.
const LEVELS: usize = 3;
/// Entries that are looked at when the store is opened; collection of each object finds what is left.
const ENTRIES_MAX: usize = 100_000;

/// Whether a name is one of a temporary file.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY_SUFFIX)
}

/// Removes a temporary file if no writer has it; whether it was removed.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    if file.try_lock().is_err() {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

/// Removes the abandoned temporary files of all objects; how many.
pub(crate) fn sweep(root: &Path) -> io::Result<usize> {
    let mut open = vec![(root.to_owned(), 0)];
    let (mut removed, mut seen) = (0, 0);
    while let Some((directory, level)) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            seen += 1;
            if seen > ENTRIES_MAX {
                return Ok(removed);
            }
            let kind = entry.file_type()?;
            if kind.is_dir() && level < LEVELS {
                open.push((entry.path(), level + 1));
            } else if kind.is_file() && is_temporary(&entry.file_name().to_string_lossy()) {
                removed += usize::from(remove(&entry.path())?);
            }
        }
    }
    Ok(removed)
}
