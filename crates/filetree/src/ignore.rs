//! What of a source is left out of its artifact: `.sourceignore` files, `spec.ignore`, and defaults where neither matches.
//! Later lines win over earlier ones; the field is last. The caller reads the files.

use crate::{path::RelPath, pattern::Pattern, tree::EntryKind};

/// The name of the file that holds ignore patterns for its directory.
pub const IGNORE_FILE: &str = ".sourceignore";

/// Left out always, unless a pattern brings it back.
const VERSION_CONTROL: [&str; 4] = [".git/", ".gitignore", ".gitmodules", ".gitattributes"];

/// Left out too while the source has no pattern of its own.
const DEFAULTS: [&str; 20] = [
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
];

/// More patterns than this in one source are rejected.
pub const PATTERNS_MAX: usize = 10_000;

/// The source has too many patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source has more than {PATTERNS_MAX} ignore patterns")]
pub struct TooManyPatterns;

/// The finished rules of a source.
#[derive(Clone, Debug)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

/// Collects the patterns of a source.
#[derive(Clone, Debug, Default)]
pub struct IgnoreBuilder {
    files: Vec<(RelPath, String)>,
}

impl Ignore {
    /// Starts collecting.
    pub fn builder() -> IgnoreBuilder {
        IgnoreBuilder::default()
    }

    /// Whether an entry is left out.
    pub fn excludes(&self, path: &RelPath, kind: EntryKind) -> bool {
        let parts: Vec<&str> = path.components().collect();
        self.excludes_components(&parts, kind)
    }

    /// The same for components that need not make a path: those of the key of an object store.
    pub fn excludes_components(&self, parts: &[&str], kind: EntryKind) -> bool {
        let is_dir = kind == EntryKind::Dir;
        self.patterns
            .iter()
            .rev()
            .find(|pattern| pattern.matches(parts, is_dir))
            .is_some_and(|pattern| !pattern.includes)
    }
}

impl IgnoreBuilder {
    /// Adds the ignore file of a directory.
    pub fn file(&mut self, directory: RelPath, text: impl Into<String>) -> &mut Self {
        self.files.push((directory, text.into()));
        self
    }

    /// Finishes with `spec.ignore`, which wins over the files.
    pub fn build(self, spec: Option<&str>) -> Result<Ignore, TooManyPatterns> {
        let mut own = self.build_without_defaults(spec)?.patterns;
        let mut patterns: Vec<Pattern> =
            VERSION_CONTROL.iter().filter_map(|line| Pattern::parse(line, &[])).collect();
        if own.is_empty() {
            patterns.extend(DEFAULTS.iter().filter_map(|line| Pattern::parse(line, &[])));
        }
        patterns.append(&mut own);
        Ok(Ignore { patterns })
    }

    /// The same without what is left out by default, version control included: the rules of a bucket.
    pub fn build_without_defaults(mut self, spec: Option<&str>) -> Result<Ignore, TooManyPatterns> {
        // A directory's file comes after its parent's, so that the nearer one wins.
        self.files.sort_by(|(a, _), (b, _)| a.components().cmp(b.components()));
        let mut own = Vec::new();
        for (directory, text) in &self.files {
            let domain: Vec<&str> = directory.components().collect();
            own.extend(text.lines().filter_map(|line| Pattern::parse(line, &domain)).take(PATTERNS_MAX + 1));
            if own.len() > PATTERNS_MAX {
                return Err(TooManyPatterns);
            }
        }
        own.extend(
            spec.unwrap_or_default()
                .lines()
                .filter_map(|line| Pattern::parse(line, &[]))
                .take(PATTERNS_MAX + 1),
        );
        if own.len() > PATTERNS_MAX {
            return Err(TooManyPatterns);
        }
        Ok(Ignore { patterns: own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(files: &[(&str, &str)], spec: Option<&str>) -> Ignore {
        let mut builder = Ignore::builder();
        for (directory, text) in files {
            builder.file(RelPath::parse(directory).unwrap(), *text);
        }
        builder.build(spec).unwrap()
    }

    #[track_caller]
    fn check(ignore: &Ignore, path: &str, excluded: bool) {
        assert_eq!(ignore.excludes(&RelPath::parse(path).unwrap(), EntryKind::File), excluded, "{path}");
    }

    #[test]
    fn defaults_apply_where_nothing_is_set() {
        for ignore in [rules(&[], None), rules(&[("", "# only a comment\n\n")], Some("\n"))] {
            check(&ignore, "a.png", true);
            check(&ignore, "deep/.sops.yaml", true);
            check(&ignore, ".github/workflows/x.yaml", true);
            check(&ignore, ".gitignore", true);
            check(&ignore, "app.yaml", false);
            check(&ignore, ".sourceignore", false);
        }
    }

    #[test]
    fn any_pattern_switches_the_defaults_off_but_not_version_control() {
        let ignore = rules(&[("", "*.md")], None);
        check(&ignore, "a.png", false);
        check(&ignore, "a.md", true);
        check(&ignore, ".gitmodules", true);
    }

    #[test]
    fn exclude_all_then_include_one_directory() {
        let ignore = rules(&[], Some("# all\n/*\n!/deploy\n/deploy/**/*.md\n"));
        check(&ignore, "src/main.go", true);
        check(&ignore, "deploy/app.yaml", false);
        check(&ignore, "deploy/docs/x.md", true);
    }

    #[test]
    fn an_ignore_file_applies_to_its_own_directory_and_the_field_wins() {
        let ignore = rules(&[("apps", "/x.yaml"), ("", "keep.yaml")], Some("!/keep.yaml"));
        check(&ignore, "apps/x.yaml", true);
        check(&ignore, "x.yaml", false);
        check(&ignore, "keep.yaml", false);
        check(&ignore, "other/keep.yaml", true);
    }

    #[test]
    fn a_bucket_has_its_own_rules_alone() {
        let none = Ignore::builder().build_without_defaults(None).unwrap();
        for path in ["a.png", ".git/config", ".gitignore"] {
            check(&none, path, false);
        }
        let own = Ignore::builder().build_without_defaults(Some("*.md")).unwrap();
        check(&own, "deep/a.md", true);
        assert!(own.excludes_components(&["..", "", "a.md"], EntryKind::File));
        assert!(!own.excludes_components(&["..", "", "a.yaml"], EntryKind::File));
    }

    #[test]
    fn the_count_of_patterns_is_bounded() {
        assert!(Ignore::builder().build(Some(&"a\n".repeat(PATTERNS_MAX + 1))).is_err());
    }
}
