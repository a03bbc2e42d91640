//! Files in a bare repository that only a process in the middle of a write has: locks, temporary files, halves of a pack. The
//! caller holds the repository alone, so there is no such process. Whether what remains is sound is seen when it is read.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

/// Suffixes of locks of Git and of files that are renamed when they are complete.
const TRANSIENT_SUFFIXES: [&str; 2] = ["lock", "new"];
/// What a pack directory holds when nothing is being written. Without this, an entry is a temporary file.
const PACK_SUFFIXES: [&str; 2] = ["pack", "idx"];
/// Entries of a directory that are read, at most; a mirror has no more by its own limits.
const ENTRIES_MAX: usize = 100_000;

/// Removes leftovers; how many.
pub(crate) fn clear(repository: &Path) -> io::Result<usize> {
    let mut cleared = 0;
    for directory in [PathBuf::new(), "refs".into(), "refs/heads".into(), "refs/tags".into(), "info".into()] {
        cleared += remove_where(&repository.join(directory), is_transient)?;
    }
    cleared += remove_where(&repository.join("objects/pack"), |path| !is_whole_pack(path))?;
    Ok(cleared)
}

fn is_transient(path: &Path) -> bool {
    has_suffix(path, &TRANSIENT_SUFFIXES)
}

/// Whether a file is one half of a pack whose other half is there too.
fn is_whole_pack(path: &Path) -> bool {
    let is_named = path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("pack-"));
    is_named
        && has_suffix(path, &PACK_SUFFIXES)
        && PACK_SUFFIXES.iter().all(|suffix| path.with_extension(suffix).is_file())
}

fn has_suffix(path: &Path, suffixes: &[&str]) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|suffix| suffixes.contains(&suffix))
}

fn remove_where(directory: &Path, is_leftover: impl Fn(&Path) -> bool) -> io::Result<usize> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries.take(ENTRIES_MAX) {
        let entry = entry?;
        if entry.file_type()?.is_file() && is_leftover(&entry.path()) {
            found.push(entry.path());
        }
    }
    for path in &found {
        fs::remove_file(path)?;
    }
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_temporary_files_and_half_packs_are_deleted_and_the_rest_stays() {
        let root = tempfile::tempdir().unwrap();
        let write = |names: &[&str]| {
            for name in names {
                let path = root.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "x").unwrap();
            }
        };
        let kept = [
            "HEAD",
            "config",
            "shallow",
            "plumb-tips",
            "objects/pack/pack-1.pack",
            "objects/pack/pack-1.idx",
        ];
        let cleared = [
            "shallow.lock",
            "packed-refs.lock",
            "HEAD.lock",
            "config.lock",
            "plumb-tips.new",
            "refs/heads/main.lock",
            "objects/pack/.tmpAbC",
            "objects/pack/pack-1.keep",
            "objects/pack/pack-2.pack",
            "objects/pack/pack-3.idx",
        ];
        write(&kept);
        write(&cleared);
        assert_eq!(clear(root.path()).unwrap(), cleared.len());
        assert!(kept.iter().all(|name| root.path().join(name).exists()));
        assert!(cleared.iter().all(|name| !root.path().join(name).exists()));
        assert_eq!(clear(root.path()).unwrap(), 0);
    }
}
