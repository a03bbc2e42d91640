//! Which paths `spec.sparseCheckout` selects, as Flux selects them: the text of a path begins with the text of a directory. Pure.

use std::collections::BTreeSet;

use plumb_filetree::RelPath;

/// The directories of `spec.sparseCheckout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SparseCheckout {
    directories: Vec<Directory>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Directory {
    /// As the spec has it.
    given: String,
    /// What a path has to begin with.
    prefix: String,
    /// The path that has to exist; none where it cannot.
    path: Option<RelPath>,
}

impl SparseCheckout {
    /// The directories of a spec; none where it selects everything.
    pub(crate) fn new(directories: &[String]) -> Option<Self> {
        let directories: Vec<Directory> = directories.iter().map(|given| Directory::new(given)).collect();
        (!directories.is_empty()).then_some(Self { directories })
    }

    /// Whether a file is selected.
    pub(crate) fn selects(&self, path: &RelPath) -> bool {
        self.directories.iter().any(|directory| path.as_str().starts_with(&directory.prefix))
    }

    /// Whether something in a directory can be selected.
    pub(crate) fn reaches(&self, path: &RelPath) -> bool {
        let leads_to = |prefix: &str| {
            prefix.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/')) || path.is_root()
        };
        self.selects(path) || self.directories.iter().any(|directory| leads_to(&directory.prefix))
    }

    /// Whether a path is one that has to exist.
    pub(crate) fn names(&self, path: &RelPath) -> bool {
        self.directories.iter().any(|directory| directory.path.as_ref() == Some(path))
    }

    /// The first directory that is not among the paths that exist, as the spec has it.
    pub(crate) fn missing(&self, existing: &BTreeSet<RelPath>) -> Option<&str> {
        let is_there = |path: &Option<RelPath>| {
            path.as_ref().is_some_and(|path| path.is_root() || existing.contains(path))
        };
        let missing = self.directories.iter().find(|directory| !is_there(&directory.path));
        missing.map(|directory| directory.given.as_str())
    }
}

impl Directory {
    fn new(given: &str) -> Self {
        // One `./` is removed. `.` alone is the whole repository; for Flux it selects nothing but hidden files.
        let prefix = if given == "." { "" } else { given.strip_prefix("./").unwrap_or(given) };
        let path = RelPath::root().resolve(prefix).ok();
        Self { given: given.to_owned(), prefix: prefix.to_owned(), path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn sparse(directories: &[&str]) -> SparseCheckout {
        let directories: Vec<String> = directories.iter().map(|text| (*text).to_owned()).collect();
        SparseCheckout::new(&directories).unwrap()
    }

    #[test]
    fn a_path_is_selected_by_the_beginning_of_its_text() {
        let all = ["README.md", "apps/api/x.yaml", "apps/web/x.yaml", "apps2/x.yaml", ".github/x.yaml"];
        let both = &["apps/api/x.yaml", "apps/web/x.yaml"];
        for (directories, expect) in [
            (&["apps"][..], &["apps/api/x.yaml", "apps/web/x.yaml", "apps2/x.yaml"][..]),
            (&["./apps/"], both),
            (&["apps/api", "apps/web/"], both),
            (&["apps/api/x.yaml"], &["apps/api/x.yaml"]),
            (&["./"], &all),
            (&["."], &all),
            (&["/apps"], &[]),
            (&["apps//api"], &[]),
            (&["../apps"], &[]),
        ] {
            let selected = all.into_iter().filter(|text| sparse(directories).selects(&path(text)));
            assert_eq!(selected.collect::<Vec<_>>(), expect, "{directories:?}");
        }
        assert!(SparseCheckout::new(&[]).is_none());
    }

    #[test]
    fn only_directories_that_can_hold_something_are_read() {
        let one = sparse(&["apps/api", "infra/"]);
        for (directory, expect) in [
            ("apps", true),
            ("apps/api", true),
            ("apps/api2", true),
            ("apps/web", false),
            ("app", false),
            ("infra", true),
            ("infra2", false),
        ] {
            assert_eq!(one.reaches(&path(directory)), expect, "{directory}");
        }
    }

    #[test]
    fn the_first_missing_directory_is_named_as_it_is_given() {
        let existing = BTreeSet::from([path("apps"), path("apps/api")]);
        for (directories, expect) in [
            (&["apps", "./apps/api/"][..], None),
            (&["./"], None),
            (&["apps", "./nope"], Some("./nope")),
            (&["../apps"], Some("../apps")),
            (&["/apps"], Some("/apps")),
        ] {
            let sparse = sparse(directories);
            assert_eq!(sparse.missing(&existing), expect, "{directories:?}");
        }
        assert!(sparse(&["./apps/"]).names(&path("apps")));
    }
}
