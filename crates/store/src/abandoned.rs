//! Temporary files of a writer that was killed. A writer holds a lock on its temporary file; the lock ends with the process, so
//! a temporary file without a lock is abandoned, however young it is. Complete files are never read here.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
    time::Duration,
};

use crate::layout::TEMPORARY_SUFFIX;

/// Levels of directories below the root: kind, namespace, name.
const LEVELS: usize = 3;
/// Entries that are read, at most, when the store is opened; collection of each object finds what is left.
const ENTRIES_MAX: usize = 100_000;

/// Where the file system has no locks, a temporary file older than this was left behind by a process that ended.
const ABANDONED_AFTER: Duration = Duration::from_hours(1);

/// Marks a temporary file as one that has a writer. Files are written also on a file system without locks: there the age of the
/// file decides.
pub(crate) fn mark(file: &File) -> io::Result<()> {
    marked(file.try_lock())
}

fn marked(lock: Result<(), TryLockError>) -> io::Result<()> {
    match lock {
        Err(TryLockError::Error(error)) => {
            tracing::debug!(%error, "the file system of the storage does not support locks");
            Ok(())
        }
        lock => lock.map_err(io::Error::from),
    }
}

fn is_abandoned(lock: &Result<(), TryLockError>, age: Duration) -> bool {
    match lock {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => age > ABANDONED_AFTER,
    }
}

/// Whether a name is one of a temporary file.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY_SUFFIX)
}

/// Removes a temporary file if no writer has it; whether it was removed.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    // NFS locks only what is open for writing.
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
    if !is_abandoned(&file.try_lock(), age) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_locks_files_are_written_and_stale_ones_are_found_by_age() {
        let unsupported = || Err(TryLockError::Error(io::ErrorKind::Unsupported.into()));
        marked(unsupported()).unwrap();
        marked(Err(TryLockError::WouldBlock)).unwrap_err();
        for (lock, hours, abandoned) in [
            (Ok(()), 0, true),
            (Err(TryLockError::WouldBlock), 2, false),
            (unsupported(), 0, false),
            (unsupported(), 2, true),
        ] {
            assert_eq!(is_abandoned(&lock, Duration::from_hours(hours)), abandoned, "{lock:?} {hours}");
        }
    }
}
