//! Digests of the directories of a tree: whoever knows those of two trees knows which directories are the same in both, without the
//! files. They are written as text that fits into a status; directories that do not fit are left out.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use crate::{
    MemoryTree, RelPath,
    digest::{Hasher, sha256_hex},
};

/// Hexadecimal digits of a digest: half of a SHA-256, too many to find two directories of one digest.
const DIGITS: usize = 32;
/// How far below the root directories have a digest.
const DEPTH_MAX: usize = 4;
/// Bytes of the text, at most.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// How the root is written.
const ROOT: &str = ".";

/// The digest of each directory that has one. The text has a line for each: the digest, a space and the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryDigests(BTreeMap<RelPath, String>);

/// A text that is not one of directories and their digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not the digest of a directory, a space and its path")]
pub struct DirectoryDigestsError {
    /// Its number, from 1.
    pub line: usize,
}

impl DirectoryDigests {
    /// Of a tree: of its root, and of as many directories as fit, those near the root first. A digest covers paths, sizes, modes and
    /// contents of all that is below its directory.
    pub fn of(tree: &MemoryTree) -> Self {
        let mut hashers = selected(tree);
        for (path, file) in tree.iter() {
            let line = match file {
                None => format!("dir {path}\0"),
                Some(file) => {
                    let mode = if file.executable { "executable" } else { "file" };
                    format!("{mode} {} {path}\0", sha256_hex(&file.content))
                }
            };
            let mut above = path.parent();
            while let Some(directory) = above {
                if let Some(hasher) = hashers.get_mut(&directory) {
                    hasher.update(line.as_bytes());
                }
                above = directory.parent();
            }
        }
        let finish = |hasher: Hasher| {
            let mut digest = hasher.finish_hex();
            digest.truncate(DIGITS);
            digest
        };
        Self(hashers.into_iter().map(|(path, hasher)| (path, finish(hasher))).collect())
    }

    /// Whether all that is at and below a path is certainly the same in the tree of the other digests: a directory at or above it
    /// has the same digest in both.
    pub fn is_same_at(&self, other: &Self, path: &RelPath) -> bool {
        let is_same = |directory: &RelPath| {
            self.0.get(directory).is_some_and(|digest| other.0.get(directory) == Some(digest))
        };
        let mut next = Some(path.clone());
        while let Some(directory) = next {
            if is_same(&directory) {
                return true;
            }
            next = directory.parent();
        }
        false
    }
}

/// The directories that get a digest.
fn selected(tree: &MemoryTree) -> BTreeMap<RelPath, Hasher> {
    let mut directories: Vec<&RelPath> = tree
        .iter()
        .filter(|(path, file)| file.is_none() && path.depth() <= DEPTH_MAX)
        .map(|(path, _)| path)
        .filter(|path| !path.as_str().contains(char::is_control))
        .collect();
    directories.sort_by_key(|path| path.depth());
    let mut chosen = BTreeMap::from([(RelPath::root(), Hasher::default())]);
    let mut bytes = line_bytes(ROOT);
    for directory in directories {
        let more = line_bytes(directory.as_str());
        if bytes + more <= TEXT_BYTES_MAX {
            bytes += more;
            chosen.insert(directory.clone(), Hasher::default());
        }
    }
    chosen
}

/// Bytes of the line of a directory: the digest, the space, the path and the end of the line.
fn line_bytes(path: &str) -> usize {
    DIGITS + 1 + path.len() + 1
}

impl Display for DirectoryDigests {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, digest) in &self.0 {
            let path = if path.is_root() { ROOT } else { path.as_str() };
            writeln!(out, "{digest} {path}")?;
        }
        Ok(())
    }
}

impl FromStr for DirectoryDigests {
    type Err = DirectoryDigestsError;

    /// Reads what [`Display`] writes. Bytes beyond what it writes at most are an error of the line that they are in.
    fn from_str(text: &str) -> Result<Self, DirectoryDigestsError> {
        let mut digests = BTreeMap::new();
        let mut bytes = 0;
        for (at, line) in text.lines().enumerate() {
            let failed = DirectoryDigestsError { line: at + 1 };
            bytes += line.len() + 1;
            let (digest, path) = line.split_once(' ').ok_or(failed)?;
            let is_digest = digest.len() == DIGITS && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            if bytes > TEXT_BYTES_MAX || !is_digest || path.is_empty() {
                return Err(failed);
            }
            let path = if path == ROOT { Ok(RelPath::root()) } else { RelPath::parse(path) };
            if digests.insert(path.map_err(|_| failed)?, digest.to_owned()).is_some() {
                return Err(failed);
            }
        }
        Ok(Self(digests))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::TreeLimits;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn tree(files: &[(&str, &str)]) -> MemoryTree {
        let mut tree = MemoryTree::builder(TreeLimits::default());
        for (at, content) in files {
            tree.file(&path(at), Bytes::copy_from_slice(content.as_bytes()), false).unwrap();
        }
        tree.build()
    }

    const BEFORE: &[(&str, &str)] = &[
        ("README.md", "one"),
        ("apps/a/k.yaml", "a"),
        ("apps/b/k.yaml", "b"),
        ("apps-of-others/k.yaml", "c"),
        ("base/deep/er/and/deeper/k.yaml", "d"),
    ];

    /// The paths that are the same after a change.
    fn same_after(change: impl Fn(&mut Vec<(&str, &str)>), asked: &[&str]) -> Vec<String> {
        let mut files = BEFORE.to_vec();
        change(&mut files);
        let (before, after) = (DirectoryDigests::of(&tree(BEFORE)), DirectoryDigests::of(&tree(&files)));
        let same = |at: &&&str| before.is_same_at(&after, &path(at));
        asked.iter().filter(same).map(|at| (*at).to_owned()).collect()
    }

    #[test]
    fn only_the_directories_above_a_change_are_different() {
        let asked =
            ["", "README.md", "apps", "apps/a", "apps/a/k.yaml", "apps/b/k.yaml", "apps/none", "base/deep"];
        let nothing = same_after(|_| (), &asked);
        assert_eq!(nothing, asked, "the same tree");
        assert_eq!(
            same_after(|files| files[1].1 = "new", &asked),
            ["apps/b/k.yaml", "base/deep"],
            "a content"
        );
        assert_eq!(
            same_after(|files| files[0].1 = "new", &asked),
            ["apps", "apps/a", "apps/a/k.yaml", "apps/b/k.yaml", "apps/none", "base/deep"],
            "a file of the root"
        );
        assert_eq!(
            same_after(|files| files.push(("apps/none", "x")), &["apps/a/k.yaml", "apps/none"]),
            ["apps/a/k.yaml"],
            "a file that comes"
        );
        assert_eq!(
            same_after(|files| files[4].1 = "new", &["base/deep/er/and/deeper/k.yaml", "base/deep", "apps"]),
            ["apps"],
            "below the last directory that has a digest"
        );
    }

    #[test]
    fn modes_moves_and_empty_directories_count() {
        let file = |executable| {
            let mut tree = MemoryTree::builder(TreeLimits::default());
            tree.file(&path("a/x"), Bytes::from_static(b"x"), executable).unwrap();
            tree.build()
        };
        let digests = |tree: &MemoryTree| DirectoryDigests::of(tree);
        assert!(!digests(&file(true)).is_same_at(&digests(&file(false)), &path("a")));
        let mut with_directory = MemoryTree::builder(TreeLimits::default());
        with_directory.file(&path("a/x"), Bytes::from_static(b"x"), false).unwrap();
        with_directory.dir(&path("a/empty")).unwrap();
        assert!(!digests(&with_directory.build()).is_same_at(&digests(&file(false)), &path("a")));
        let moved = [("a/y/x", "1"), ("a/z", "2")];
        let other = [("a/y/z", "2"), ("a/x", "1")];
        assert!(!digests(&tree(&moved)).is_same_at(&digests(&tree(&other)), &path("a")));
    }

    #[test]
    fn the_text_is_bounded_and_read_back() {
        let names: Vec<String> = (0..500).map(|at| format!("dir-{at:03}/sub/k.yaml")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let digests = DirectoryDigests::of(&tree(&files));
        let text = digests.to_string();
        assert!(text.len() <= TEXT_BYTES_MAX && text.lines().count() > 90, "{} bytes", text.len());
        assert_eq!(text.parse(), Ok(digests.clone()));
        assert!(digests.is_same_at(&digests, &path("dir-499/sub")), "the root covers what is left out");
        let digest = "0".repeat(DIGITS);
        for bad in [
            "x",
            "abc .",
            &format!("{digest} ../x"),
            &format!("{digest} "),
            &format!("{digest} a\n{digest} a"),
        ] {
            assert!(bad.parse::<DirectoryDigests>().is_err(), "{bad:?}");
        }
        let long = format!("{digest} {}", "x".repeat(TEXT_BYTES_MAX));
        assert_eq!(long.parse::<DirectoryDigests>(), Err(DirectoryDigestsError { line: 1 }));
        assert_eq!("".parse(), Ok(DirectoryDigests::default()));
        assert!(!DirectoryDigests::default().is_same_at(&DirectoryDigests::default(), &path("")));
    }
}
