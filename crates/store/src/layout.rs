//! The path of an artifact: `<kind>/<namespace>/<name>/<file>`. Every part is checked once, here; no disk is accessed.

use std::fmt;

use plumb_filetree::{PathError, RelPath};

/// What temporary files end with; they are never served.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
/// What lock files end with; they are never served.
pub(crate) const LOCK_SUFFIX: &str = ".lock";

/// What the index of an archive ends with; its name begins with a dot, so that it is never served.
const INDEX_SUFFIX: &str = ".index";

/// The name of the index of an archive.
pub(crate) fn index_name(file: &str) -> String {
    format!(".{file}{INDEX_SUFFIX}")
}

/// Whether a name is one of an index.
pub(crate) fn is_index(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(INDEX_SUFFIX)
}

/// The directory of one object's artifacts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    path: RelPath,
}

/// A part is not a single safe path component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} cannot be part of the path of an artifact")]
pub struct LocationError {
    part: String,
    #[source]
    source: PathError,
}

impl Location {
    /// The directory of an object: its kind is written in lower case.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Result<Self, LocationError> {
        let kind = kind.to_ascii_lowercase();
        [kind.as_str(), namespace, name]
            .into_iter()
            .try_fold(RelPath::root(), |path, part| child(&path, part))
            .map(|path| Self { path })
    }

    /// The path of a file in it.
    pub fn file(&self, file: &str) -> Result<RelPath, LocationError> {
        child(&self.path, file)
    }

    /// The namespace of the object.
    pub(crate) fn namespace(&self) -> &str {
        self.path.components().nth(1).unwrap_or_default()
    }

    /// The path of the directory.
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// Whether a path, as a status has it, is that of a file in this directory. A status can be forged.
    pub fn holds(&self, path: &str) -> bool {
        RelPath::parse(path)
            .is_ok_and(|path| path.parent().as_ref() == Some(&self.path) && is_artifact(&path))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

/// Whether a path has the depth and the name of an artifact, and not of something that is only passing through.
pub(crate) fn is_artifact(path: &RelPath) -> bool {
    const DEPTH: usize = 4;
    path.depth() == DEPTH
        && path.components().all(|part| !part.starts_with('.'))
        && path
            .file_name()
            .is_some_and(|name| !name.ends_with(TEMPORARY_SUFFIX) && !name.ends_with(LOCK_SUFFIX))
}

/// The media type of an artifact, by its extension.
pub(crate) fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("gz" | "tgz") => "application/gzip",
        Some("yaml") => "application/yaml",
        _ => "application/octet-stream",
    }
}

fn child(path: &RelPath, part: &str) -> Result<RelPath, LocationError> {
    path.child(part).map_err(|source| LocationError { part: part.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_single_components() {
        let location = Location::new("GitRepository", "default", "podinfo").unwrap();
        assert_eq!(location.to_string(), "gitrepository/default/podinfo");
        assert_eq!(location.file("abc.tar.gz").unwrap().as_str(), "gitrepository/default/podinfo/abc.tar.gz");
        assert!(location.file("../x").is_err());
        assert!(Location::new("GitRepository", "..", "x").is_err());
        assert!(Location::new("GitRepository", "a/b", "x").is_err());
        assert!(Location::new("GitRepository", "", "x").is_err());
    }

    #[test]
    fn a_location_holds_its_own_artifacts_only() {
        let location = Location::new("GitRepository", "default", "podinfo").unwrap();
        assert!(location.holds("gitrepository/default/podinfo/abc.tar.gz"));
        for path in [
            "gitrepository/default/other/abc.tar.gz",
            "gitrepository/default/podinfo/../other/abc.tar.gz",
            "gitrepository/default/podinfo/.abc.tar.gz.1.tmp",
            "gitrepository/default/podinfo/abc.tar.gz.lock",
            "gitrepository/default/podinfo",
            "/etc/passwd",
        ] {
            assert!(!location.holds(path), "{path}");
        }
    }
}
