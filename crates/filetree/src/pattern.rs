//! One line of an ignore file, matched as Flux's library matches it: a pattern without a slash may match any component of a path,
//! one with a slash is anchored to its directory, `**` spans directories. Precedence between lines lives in `ignore`.

/// A parsed line together with the directory it was written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    domain: Vec<String>,
    segments: Vec<Segment>,
    pub(crate) includes: bool,
    directory_only: bool,
    anchored: bool,
}

impl Pattern {
    /// Parses one line; blank lines and comments are no patterns.
    pub(crate) fn parse(line: &str, domain: &[&str]) -> Option<Self> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.starts_with('#') || line.trim().is_empty() {
            return None;
        }
        let (includes, rest) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let rest = if rest.ends_with("\\ ") { rest } else { rest.trim_end_matches(' ') };
        let (directory_only, rest) = rest.strip_suffix('/').map_or((false, rest), |rest| (true, rest));
        Some(Self {
            domain: domain.iter().map(|&part| part.to_owned()).collect(),
            segments: rest.split('/').map(Segment::new).collect(),
            includes,
            directory_only,
            anchored: rest.contains('/'),
        })
    }

    pub(crate) fn matches(&self, path: &[&str], is_dir: bool) -> bool {
        let below = path.len() > self.domain.len()
            && self.domain.iter().zip(path).all(|(domain, part)| domain == part);
        if !below {
            return false;
        }
        let path = &path[self.domain.len()..];
        if self.anchored {
            self.matches_anchored(path, is_dir)
        } else {
            self.matches_any_component(path, is_dir)
        }
    }

    fn matches_any_component(&self, path: &[&str], is_dir: bool) -> bool {
        let matches = |name: &&str| self.segments.first().is_some_and(|segment| segment.matches(name));
        match path.iter().position(matches) {
            Some(at) => !self.directory_only || is_dir || at + 1 < path.len(),
            None => false,
        }
    }

    fn matches_anchored(&self, path: &[&str], is_dir: bool) -> bool {
        let mut rest = path;
        let mut matched = false;
        let mut spanning = false;
        for (index, segment) in self.segments.iter().enumerate() {
            let is_last = index + 1 == self.segments.len();
            match segment {
                Segment::Empty => spanning = false,
                Segment::Spanning if is_last => break,
                Segment::Spanning => spanning = true,
                Segment::Doubled(_) => return false,
                name if spanning => {
                    spanning = false;
                    let found = rest.iter().position(|part| name.matches(part));
                    matched = found.is_some();
                    if rest.is_empty() {
                        return false;
                    }
                    rest = found.map_or(&[], |at| &rest[at + 1..]);
                }
                name => {
                    let Some((first, below)) = rest.split_first() else { return false };
                    if !name.matches(first) {
                        return false;
                    }
                    rest = below;
                    // Also where only `**` follows: `a/**` is about `a` itself, not just what is below it.
                    matched = true;
                }
            }
        }
        matched && !(self.directory_only && !is_dir && rest.is_empty())
    }
}

/// What is between two slashes of a pattern. Nearly all are names, or a star with the end of one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// Nothing.
    Empty,
    /// `**`
    Spanning,
    /// A name with `**` in it: matches nothing where the pattern has a slash.
    Doubled(String),
    /// A name as it is.
    Name(String),
    /// What follows a star.
    Ending(String),
    /// Anything else.
    Wildcards(String),
}

/// Characters with a meaning in patterns.
const SPECIAL: [char; 4] = ['*', '?', '[', '\\'];

impl Segment {
    fn new(text: &str) -> Self {
        match text {
            "" => Self::Empty,
            "**" => Self::Spanning,
            text if !text.contains(SPECIAL) => Self::Name(text.to_owned()),
            text => match text.strip_prefix('*') {
                Some(ending) if !ending.contains(SPECIAL) => Self::Ending(ending.to_owned()),
                _ if text.contains("**") => Self::Doubled(text.to_owned()),
                _ => Self::Wildcards(text.to_owned()),
            },
        }
    }

    /// Whether one component matches, where the pattern has no slash.
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Empty => name.is_empty(),
            Self::Spanning => true,
            Self::Name(text) => text == name,
            Self::Ending(text) => name.ends_with(text),
            Self::Doubled(text) | Self::Wildcards(text) => name_matches(text, name),
        }
    }
}

/// Shell wildcards within one component: `*`, `?`, `[…]`, and `\` before a literal. A malformed pattern matches nothing.
/// The cost is bounded by pattern × name: only the last star is ever retried.
pub fn name_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() || p < pattern.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                retry = Some((p, n + 1));
                Some((p + 1, n))
            }
            Some(_) if n < name.len() => one(&pattern[p..], name[n]).map(|used| (p + used, n + 1)),
            _ => None,
        };
        match (step, retry) {
            (Some(next), _) => (p, n) = next,
            (None, Some((star, next))) if next <= name.len() => {
                (p, n) = (star, next);
            }
            (None, _) => return false,
        }
    }
    true
}

/// Matches one character; the count of pattern characters used, or none.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', literal, ..] => (*literal == character).then_some(2),
        ['[', ..] => class(pattern, character),
        // After a backslash nothing is left to be taken literally: the pattern is malformed.
        ['\\'] | [] => None,
        [literal, ..] => (*literal == character).then_some(1),
    }
}

fn class(pattern: &[char], character: char) -> Option<usize> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some('^'));
    if negated {
        at += 1;
    }
    let mut found = false;
    let mut ranges = 0;
    loop {
        if pattern.get(at) == Some(&']') && ranges > 0 {
            return (found != negated).then_some(at + 1);
        }
        let (low, next) = class_member(pattern, at)?;
        let (high, next) =
            if pattern.get(next) == Some(&'-') { class_member(pattern, next + 1)? } else { (low, next) };
        found |= (low..=high).contains(&character);
        ranges += 1;
        at = next;
    }
}

fn class_member(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match pattern.get(at)? {
        '-' | ']' => None,
        '\\' => pattern.get(at + 1).map(|&literal| (literal, at + 2)),
        &plain => Some((plain, at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, expect: bool) {
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let parsed = Pattern::parse(pattern, &[]).unwrap();
        assert_eq!(parsed.matches(&parts, path.ends_with('/')), expect, "{pattern} {path}");
    }

    #[test]
    fn a_pattern_without_slash_matches_any_component() {
        check("foo", "foo", true);
        check("foo", "a/foo/b", true);
        check("*.md", "docs/a.md", true);
        check("*.md", "docs/a.mdx", false);
        check("build/", "build", false);
        check("build/", "build/", true);
        check("build/", "build/x", true);
        check("*.tar.gz", "a/b.tar.gz", true);
    }

    #[test]
    fn a_pattern_with_slash_is_anchored() {
        check("/foo", "foo", true);
        check("/foo", "a/foo", false);
        check("/foo", "foo/bar", true);
        check("a/b", "a/b", true);
        check("a/b", "c/a/b", false);
        check("/*", "anything", true);
        check("/*", "anything/below", true);
    }

    #[test]
    fn double_stars_span_directories() {
        check("**/x.yml", "x.yml", true);
        check("**/x.yml", "a/b/x.yml", true);
        check("/deploy/**/*.md", "deploy/a/b.md", true);
        check("/deploy/**/*.md", "deploy/b.md", true);
        check("/deploy/**/*.md", "other/b.md", false);
        check("a/**", "a/b/c", true);
        check("a/b/c", "a/b", false);
        check("a**/b", "ax/b", false);
        check("a**b", "axb", true);
    }

    #[test]
    fn a_directory_is_part_of_what_is_below_it() {
        for pattern in ["a/**", "!a/**", "/a/**", "a//"] {
            check(pattern, "a/", true);
            check(pattern, "a/b", true);
            check(pattern, "b/", false);
        }
        check("a/**", "a", true);
        check("a/**/", "a", false);
        check("a//", "a", false);
        check("*//", "a/", true);
        check("**/", "a/", true);
        check("**/", "a", false);
    }

    #[test]
    fn a_name_or_the_end_of_one_matches_as_wildcards_do() {
        let letters = ['*', '?', '[', ']', '\\', 'a', '.', 'é'];
        let texts: Vec<String> = (0..8_usize.pow(4))
            .map(|number| (0..4).map(|at| letters[number / 8_usize.pow(at) % 8]).collect::<String>())
            .flat_map(|text: String| {
                let short: String = text.chars().take(text.len() % 4).collect();
                [text, short]
            })
            .collect();
        let names = ["", "a", "a.a", ".a", "é", "aa", "*", "a*", "é.a", "**", "]", "a.aa"];
        for pattern in &texts {
            for name in names {
                let segment = Segment::new(pattern);
                assert_eq!(
                    segment.matches(name),
                    name_matches(pattern, name),
                    "{pattern} {name} {segment:?}"
                );
            }
        }
    }

    #[test]
    fn wildcards_follow_the_shell() {
        for (pattern, name, expect) in [
            ("a?c", "abc", true),
            ("a*c", "abbbc", true),
            ("a*b*c", "aXbYbZc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", false),
            ("[", "[", false),
            ("[]a]", "a", false),
            ("*", "", true),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(name_matches(pattern, name), expect, "{pattern} {name}");
        }
        assert!(!name_matches(&"*a".repeat(60), &"a".repeat(59)));
    }
}
