//! Patterns of paths: with `*`, `?` and `[…]` inside of a component, and in one of two forms what Go's `fs.Glob` or the library
//! doublestar understands beyond. Pure.

use plumb_filetree::{RelPath, name_matches};

/// More alternatives of one pattern are rejected.
const ALTERNATIVES_MAX: usize = 64;
/// Bytes of a pattern: as many as `from` and `to` may have. Braces in it cannot be nested or repeated without end.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    alternatives: Vec<Vec<String>>,
    /// Whether `**` stands for any number of components.
    spans: bool,
}

/// A pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It has too many alternatives.
    #[error("pattern '{pattern}' has more than {ALTERNATIVES_MAX} alternatives in braces")]
    Alternatives {
        /// The pattern.
        pattern: String,
    },
    /// It is too long.
    #[error("a pattern has {bytes} bytes, the limit is {PATTERN_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Whether a path of a spec is a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', ']'])
}

impl Glob {
    /// A pattern as `fs.Glob` reads it: `**` means `*`, so the number of components is fixed.
    pub fn flat(text: &str) -> Self {
        Self { text: text.to_owned(), alternatives: vec![components(text)], spans: false }
    }

    /// A pattern as doublestar reads it: `**` as a component of its own stands for any number of them, `{a,b}` for either.
    pub fn spanning(text: &str) -> Result<Self, GlobError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(GlobError::TooLong { bytes: text.len() });
        }
        let mut texts = Vec::new();
        let too_many = || GlobError::Alternatives { pattern: text.to_owned() };
        expand(String::new(), text, &mut texts).ok_or_else(too_many)?;
        let alternatives = texts.iter().map(|text| components(text)).collect();
        Ok(Self { text: text.to_owned(), alternatives, spans: true })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How much a comparison with one path costs.
    pub fn cost(&self) -> u64 {
        self.alternatives.len() as u64
    }

    /// Whether a path matches as a whole.
    pub fn matches(&self, path: &RelPath) -> bool {
        let names: Vec<&str> = path.components().collect();
        self.alternatives.iter().any(|parts| self.components_match(parts, &names))
    }

    /// Whether the pattern leaves out a path: by all of it, or, without a slash, by its last component.
    pub fn excludes(&self, path: &RelPath) -> bool {
        let by_name = || {
            let name = path.file_name().filter(|_| !self.text.contains('/'));
            name.is_some_and(|name| {
                self.alternatives.iter().any(|parts| self.components_match(parts, &[name]))
            })
        };
        self.matches(path) || by_name()
    }

    /// The cost is bounded by pattern × path: only the last `**` is ever retried.
    fn components_match(&self, parts: &[String], names: &[&str]) -> bool {
        let (mut part, mut name) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while part < parts.len() || name < names.len() {
            match (parts.get(part), names.get(name)) {
                (Some(any), _) if self.spans && any == "**" => {
                    retry = Some((part, name + 1));
                    part += 1;
                }
                (Some(pattern), Some(text)) if name_matches(pattern, text) => {
                    part += 1;
                    name += 1;
                }
                _ => match retry {
                    Some((star, next)) if next <= names.len() => (part, name) = (star, next),
                    _ => return false,
                },
            }
        }
        true
    }
}

fn components(text: &str) -> Vec<String> {
    // Both signs negate a class there.
    text.split('/').map(|part| part.replace("[!", "[^")).collect()
}

/// Writes out the alternatives of the first braces, then of the rest; none if they are too many. A brace that is not closed is itself.
/// It calls itself once for each pair of braces: the length of a pattern bounds that.
fn expand(before: String, rest: &str, into: &mut Vec<String>) -> Option<()> {
    let Some((start, end)) = braces(rest) else {
        if into.len() == ALTERNATIVES_MAX {
            return None;
        }
        into.push(before + rest);
        return Some(());
    };
    for choice in choices(&rest[start + 1..end]) {
        expand(format!("{before}{}", &rest[..start]), &format!("{choice}{}", &rest[end + 1..]), into)?;
    }
    Some(())
}

/// Where the first braces open and close.
fn braces(text: &str) -> Option<(usize, usize)> {
    let (mut depth, mut start, mut escaped) = (0, 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            '}' if depth == 1 => return Some((start, at)),
            '}' if depth > 1 => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The parts between the commas that are in no further braces.
fn choices(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut escaped, mut parts) = (0_usize, 0, false, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(glob: &Glob, path: &str, expect: bool) {
        assert_eq!(glob.matches(&RelPath::parse(path).unwrap()), expect, "{} {path}", glob.text);
    }

    #[test]
    fn a_flat_pattern_has_as_many_components_as_the_path() {
        for (pattern, path, expect) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "b/a.yaml", false),
            ("deploy/*", "deploy/a", true),
            ("deploy/**", "deploy/a", true),
            ("deploy/**", "deploy/a/b", false),
            ("**/a.yaml", "x/a.yaml", true),
            ("**/a.yaml", "a.yaml", false),
            ("a{b,c}*", "ab", false),
        ] {
            check(&Glob::flat(pattern), path, expect);
        }
    }

    #[test]
    fn a_spanning_pattern_crosses_directories_and_has_alternatives() {
        for (pattern, path, expect) in [
            ("**", "a/b/c", true),
            ("**/*.md", "a.md", true),
            ("**/*.md", "a/b.md", true),
            ("a/**", "a", true),
            ("a/**", "a/b/c", true),
            ("a/**", "b", false),
            ("a/**/z/*.md", "a/b/z/c/z/x.md", true),
            ("a**", "a/b", false),
            ("{a,b/c}/x", "b/c/x", true),
            ("{a,{b,c}d}", "cd", true),
            ("\\{a,b}", "{a,b}", true),
            ("{a", "{a", true),
            ("[!a]", "b", true),
            ("[!a]", "a", false),
        ] {
            check(&Glob::spanning(pattern).unwrap(), path, expect);
        }
    }

    #[test]
    fn an_exclusion_without_slash_looks_at_the_name_alone() {
        let excludes = |pattern: &str, path: &str| {
            Glob::spanning(pattern).unwrap().excludes(&RelPath::parse(path).unwrap())
        };
        assert!(excludes("*.md", "a/b/x.md"));
        assert!(!excludes("b/*.md", "a/b/x.md"));
        assert!(excludes("**/b/*.md", "a/b/x.md"));
    }

    #[test]
    fn the_number_of_alternatives_is_bounded() {
        assert!(Glob::spanning(&"{a,b}".repeat(6)).is_ok());
        let error = Glob::spanning(&"{a,b}".repeat(200)).unwrap_err();
        assert!(error.to_string().contains("more than 64 alternatives"), "{error}");
        for one_alternative in ["{a}".repeat(341), "{".repeat(512) + &"}".repeat(512)] {
            assert!(Glob::spanning(&one_alternative).is_ok());
        }
        assert_eq!(Glob::spanning(&"{a}".repeat(342)), Err(GlobError::TooLong { bytes: 1026 }));
    }
}
