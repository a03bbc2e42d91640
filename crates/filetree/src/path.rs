//! `RelPath`: a path below some root that cannot leave it. Parsed once at the boundary and not checked again. Nothing here
//! touches a filesystem, so links play no part.

use std::fmt;

/// A longer path is rejected.
pub const PATH_BYTES_MAX: usize = 4096;
/// A path with more components is rejected.
pub const COMPONENTS_MAX: usize = 256;

/// A relative path of plain components joined by `/`; empty for the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(String);

/// Why a text is not a path inside the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path starts with a slash.
    #[error("path {path:?} is absolute")]
    Absolute {
        /// The text as given.
        path: String,
    },
    /// The path climbs above the root.
    #[error("path {path:?} leaves the tree")]
    Escapes {
        /// The text as given.
        path: String,
    },
    /// A component is empty, `.` or `..`.
    #[error("path {path:?} has the component {component:?}")]
    Component {
        /// The text as given.
        path: String,
        /// The rejected component.
        component: String,
    },
    /// The path contains a NUL byte.
    #[error("path {path:?} contains a NUL byte")]
    Nul {
        /// The text as given.
        path: String,
    },
    /// The path is over a limit.
    #[error(
        "a path of {bytes} bytes and {components} components is over the limit of {PATH_BYTES_MAX} and {COMPONENTS_MAX}"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
        /// Its component count.
        components: usize,
    },
}

impl RelPath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses a clean relative path: no leading slash, no empty, `.` or `..` component. The empty text is the root.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check_text(text)?;
        if text.is_empty() {
            return Ok(Self::root());
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute { path: text.to_owned() });
        }
        match text.split('/').find(|part| matches!(*part, "" | "." | "..")) {
            Some(part) => Err(PathError::Component { path: text.to_owned(), component: part.to_owned() }),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Where a reference written in this directory leads: `.`, `..`, doubled and trailing slashes are worked out, and the result
    /// stays inside the tree.
    pub fn resolve(&self, reference: &str) -> Result<Self, PathError> {
        check_text(reference)?;
        if reference.starts_with('/') {
            return Err(PathError::Absolute { path: reference.to_owned() });
        }
        let mut parts: Vec<&str> = self.components().collect();
        for part in reference.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or_else(|| PathError::Escapes { path: reference.to_owned() })?;
                }
                name => parts.push(name),
            }
        }
        let text = parts.join("/");
        check_text(&text)?;
        Ok(Self(text))
    }

    /// The path of a direct child. The name is a single component.
    pub fn child(&self, name: &str) -> Result<Self, PathError> {
        if matches!(name, "" | "." | "..") || name.contains('/') {
            return Err(PathError::Component { path: self.0.clone(), component: name.to_owned() });
        }
        let text = if self.is_root() { name.to_owned() } else { format!("{}/{name}", self.0) };
        check_text(&text)?;
        Ok(Self(text))
    }

    /// This path followed by another.
    pub fn join(&self, below: &Self) -> Result<Self, PathError> {
        let text = match (self.0.as_str(), below.0.as_str()) {
            ("", rest) => rest.to_owned(),
            (start, "") => start.to_owned(),
            (start, rest) => format!("{start}/{rest}"),
        };
        check_text(&text)?;
        Ok(Self(text))
    }

    /// The directory that holds this path; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or(String::new(), |(start, _)| start.to_owned())))
    }

    /// The last component; none for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.components().next_back()
    }

    /// The components, from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// How many components there are: 0 for the root.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this path is `ancestor` or below it.
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || self
                .0
                .strip_prefix(ancestor.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The text, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for RelPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

fn check_text(text: &str) -> Result<(), PathError> {
    if text.contains('\0') {
        return Err(PathError::Nul { path: text.to_owned() });
    }
    let components = text.split('/').count();
    if text.len() > PATH_BYTES_MAX || components > COMPONENTS_MAX {
        return Err(PathError::TooLong { bytes: text.len(), components });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn parse_rejects_every_path_that_leaves_the_root() {
        for bad in ["/", "/a", "..", "a/../b", "./a", "a//b", "a/", "a/..", "a\0b"] {
            assert!(RelPath::parse(bad).is_err(), "{bad:?}");
        }
        assert!(RelPath::parse(&"a/".repeat(300)).is_err());
        assert!(RelPath::parse(&"a".repeat(5000)).is_err());
        assert!(path("").is_root());
        assert_eq!(path("a/b..c").as_str(), "a/b..c");
    }

    #[test]
    fn resolve_follows_dots_but_stays_inside() {
        for (base, reference, expect) in [
            ("a/b", "../c", "a/c"),
            ("a/b", "./c/", "a/b/c"),
            ("a/b", "../..", ""),
            ("", "./apps//x", "apps/x"),
            ("a", ".", "a"),
        ] {
            assert_eq!(path(base).resolve(reference).unwrap().as_str(), expect, "{base} {reference}");
        }
        assert!(matches!(path("a/b").resolve("../../../x"), Err(PathError::Escapes { .. })));
        assert!(matches!(path("a").resolve("/etc/passwd"), Err(PathError::Absolute { .. })));
    }

    #[test]
    fn relations_between_paths() {
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(RelPath::root()));
        assert_eq!(RelPath::root().parent(), None);
        assert_eq!(path("a/b").file_name(), Some("b"));
        assert!(path("a/b").starts_with(&path("a")));
        assert!(!path("ab").starts_with(&path("a")));
        assert_eq!(path("a").child("b").unwrap(), path("a/b"));
        assert!(path("a").child("b/c").is_err());
        assert!(path("a").child("..").is_err());
        assert_eq!(path("a/b").depth(), 2);
    }
}
