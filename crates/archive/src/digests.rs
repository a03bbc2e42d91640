//! Digests of directories: each is made of those of its files and directories, so that an unchanged directory keeps its digest
//! whatever changes elsewhere. The files of a directory are digested in runs, which are also what is written together.

use plumb_filetree::digest::Hasher;

use crate::listing::{Content, Entry, EntryContent, children};

/// One name in so many ends a run of files, on average.
const RUN_FILES: u32 = 64;

/// Where a directory is, and its digest.
pub(crate) type DirectoryDigest = (String, String);

/// Of a run of files, whose contents have these digests, in hexadecimal digits.
pub(crate) fn of_run<'a, C: 'a>(files: impl Iterator<Item = (&'a Entry<C>, &'a str)>) -> String {
    let mut hasher = Hasher::default();
    for (file, content) in files {
        let kind = match file.content {
            EntryContent::File { executable: true, .. } => "executable",
            EntryContent::File { executable: false, .. } => "file",
            EntryContent::Directory => continue,
        };
        for part in [kind, " ", content, " ", file.name(), "\0"] {
            hasher.update(part.as_bytes());
        }
    }
    hasher.finish_hex()
}

/// Of a directory, of the digests of its runs and of its directories with their names.
pub(crate) fn of_directory<'a>(
    runs: impl Iterator<Item = &'a str>,
    directories: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut hasher = Hasher::default();
    for run in runs {
        for part in ["run ", run, "\0"] {
            hasher.update(part.as_bytes());
        }
    }
    for (name, digest) in directories {
        for part in ["dir ", digest, " ", name, "\0"] {
            hasher.update(part.as_bytes());
        }
    }
    hasher.finish_hex()
}

/// Of the directory that is the first entry. `contents` has the digest of each entry's content. The digests of all directories in it
/// are added to `found`.
pub(crate) fn of_entries<C: Content>(
    entries: &[Entry<C>],
    contents: &[String],
    found: &mut Vec<DirectoryDigest>,
) -> String {
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for child in children(entries) {
        let (Some(entry), Some(content)) = (entries.get(child.start), contents.get(child.start)) else {
            continue;
        };
        if entry.is_directory() {
            let digest = of_entries(&entries[child.clone()], &contents[child], found);
            directories.push((entry.name(), digest));
        } else {
            files.push((entry, content.as_str()));
        }
    }
    let runs: Vec<String> =
        runs(&files, |(file, _)| file.name()).map(|run| of_run(run.iter().copied())).collect();
    let directories = directories.iter().map(|(name, digest)| (*name, digest.as_str()));
    let digest = of_directory(runs.iter().map(String::as_str), directories);
    if let Some(own) = entries.first() {
        found.push((own.path.to_string(), digest.clone()));
    }
    digest
}

/// The files of a directory in runs. Where one ends depends on the name of its last file alone: a file that comes, goes or changes
/// leaves the other runs as they are.
pub(crate) fn runs<'a, T>(
    files: &'a [T],
    name: impl Fn(&T) -> &str + 'a,
) -> impl Iterator<Item = &'a [T]> + 'a {
    files.split_inclusive(move |file| ends_run(name(file)))
}

/// Whether a name ends a run: FNV-1a of 32 bits.
fn ends_run(name: &str) -> bool {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let hash = name.bytes().fold(OFFSET, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME));
    // The upper bits depend on all bytes of the name.
    (hash >> 16).is_multiple_of(RUN_FILES)
}
