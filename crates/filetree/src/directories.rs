//! Digests of the directories of a tree: whoever knows those of two trees knows which directories are the same in both, without the
//! files. They are written as text that fits into a status; directories that do not fit are left out.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

use crate::RelPath;

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
    /// Whether a directory can have a digest: those near the root can.
    pub fn can_have(path: &str) -> bool {
        let depth = path.split('/').filter(|part| !part.is_empty()).count();
        depth <= DEPTH_MAX && !path.contains(char::is_control)
    }

    /// Of the root and of as many directories as fit, those near the root first. The digest of each, in at least 32 hexadecimal digits,
    /// covers paths, modes and contents of all that is below it.
    pub fn of_directories(directories: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut all: Vec<(RelPath, String)> = directories
            .into_iter()
            .filter(|(path, digest)| Self::can_have(path) && digest.len() >= DIGITS)
            .filter_map(|(path, digest)| Some((RelPath::parse(&path).ok()?, digest)))
            .collect();
        all.sort_by_cached_key(|(path, _)| (path.depth(), path.clone()));
        let mut chosen = BTreeMap::new();
        let mut bytes = 0;
        for (path, mut digest) in all {
            let more = line_bytes(if path.is_root() { ROOT } else { path.as_str() });
            if bytes + more <= TEXT_BYTES_MAX {
                bytes += more;
                digest.truncate(DIGITS);
                chosen.insert(path, digest);
            }
        }
        Self(chosen)
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
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    /// Each directory with the digest of its own path.
    fn digests(directories: &[&str]) -> DirectoryDigests {
        let of = |at: &&str| ((*at).to_owned(), crate::digest::sha256_hex(at.as_bytes()));
        DirectoryDigests::of_directories(directories.iter().map(of))
    }

    #[test]
    fn a_directory_is_the_same_where_it_or_one_above_it_has_the_same_digest() {
        let both = ("x".repeat(DIGITS), "y".repeat(DIGITS));
        let with = |root: &str, apps: &str| {
            DirectoryDigests::of_directories([
                (String::new(), root.to_owned()),
                ("apps".to_owned(), apps.to_owned()),
            ])
        };
        let (one, other) = (with(&both.0, &both.1), with(&both.1, &both.1));
        assert!(one.is_same_at(&other, &path("apps/a/b")));
        assert!(!one.is_same_at(&other, &path("")));
        assert!(!other.is_same_at(&one, &path("")), "the digest of another directory does not count");
        assert!(!one.is_same_at(&other, &path("apps-of-others")));
        assert!(one.is_same_at(&one, &path("apps-of-others")), "the root has the same digest");
    }

    #[test]
    fn directories_near_the_root_are_kept_first() {
        let deep = "a/b/c/d/e";
        assert_eq!(digests(&["", "a", deep, "a\nb"]), digests(&["a", ""]));
        assert!(!DirectoryDigests::can_have(deep) && DirectoryDigests::can_have("a/b/c/d"));
        let many: Vec<String> = (0..500).map(|at| format!("dir-{at:03}/sub")).collect();
        let mut all: Vec<&str> = many.iter().map(String::as_str).collect();
        all.extend(["zzz", ""]);
        let kept = digests(&all).to_string();
        assert!(kept.contains(" .\n") && kept.contains(" zzz\n") && !kept.contains("dir-499"), "{kept}");
    }

    #[test]
    fn the_text_is_bounded_and_read_back() {
        let names: Vec<String> = (0..500).map(|at| format!("dir-{at:03}")).collect();
        let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
        all.push("");
        let digests = digests(&all);
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
