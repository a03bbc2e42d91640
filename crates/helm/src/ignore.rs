//! `.helmignore`: which files of a directory are no part of the chart. Rules are tried in order and the first that decides wins;
//! a negated one leaves out what it does not match.

use plumb_filetree::name_matches;

/// The file with the rules.
pub const IGNORE_FILE: &str = ".helmignore";
/// Files of an editor among the templates are never part of a chart.
const DEFAULT_RULE: &str = "templates/.?*";
/// Rules of one file: each is tried on each path.
const RULES_MAX: usize = 1_000;

/// The rules of a chart.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    pattern: Vec<String>,
    negated: bool,
    directory_only: bool,
    /// Matches the name alone, at any depth.
    by_name: bool,
}

impl Rules {
    /// Reads the rules of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for line in text.lines().chain([DEFAULT_RULE]) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if rules.len() > RULES_MAX {
                return Err(format!("more than {RULES_MAX} rules"));
            }
            rules.push(Rule::parse(line)?);
        }
        Ok(Self(rules))
    }

    /// Whether a path below the directory of the chart is left out; of a directory with all that is in it.
    pub fn excludes(&self, path: &str, is_dir: bool) -> bool {
        for rule in &self.0 {
            let of_kind = !rule.directory_only || is_dir;
            match (rule.negated, of_kind && rule.matches(path)) {
                (true, false) | (false, true) => return true,
                (true, true) | (false, false) => {}
            }
        }
        false
    }
}

impl Rule {
    fn parse(line: &str) -> Result<Self, String> {
        if line.contains("**") {
            return Err("double-star (**) syntax is not supported".to_owned());
        }
        if !is_well_formed(line) {
            return Err(format!("syntax error in pattern {line:?}"));
        }
        let (line, negated) = line.strip_prefix('!').map_or((line, false), |rest| (rest, true));
        let (line, directory_only) = line.strip_suffix('/').map_or((line, false), |rest| (rest, true));
        let by_name = !line.contains('/');
        let line = line.strip_prefix('/').unwrap_or(line);
        let pattern = line.split('/').map(str::to_owned).collect();
        Ok(Self { pattern, negated, directory_only, by_name })
    }

    fn matches(&self, path: &str) -> bool {
        if self.by_name {
            let name = path.rsplit('/').next().unwrap_or(path);
            return self.pattern.first().is_some_and(|pattern| name_matches(pattern, name));
        }
        // No wildcard matches a slash.
        let mut parts = path.split('/');
        self.pattern.iter().all(|pattern| parts.next().is_some_and(|part| name_matches(pattern, part)))
            && parts.next().is_none()
    }
}

/// Whether brackets and backslashes are closed: Helm rejects a file with a pattern that is not.
fn is_well_formed(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return false,
            '[' => {
                let mut is_first = true;
                loop {
                    match chars.next() {
                        None => return false,
                        Some(']') if !is_first => break,
                        Some('^') if is_first => {}
                        Some('\\') => {
                            if chars.next().is_none() {
                                return false;
                            }
                            is_first = false;
                        }
                        Some(_) => is_first = false,
                    }
                }
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rules: &str, excluded: &[&str], kept: &[&str]) {
        let rules = Rules::parse(rules).unwrap();
        let is_out = |path: &str| {
            let (path, is_dir) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
            rules.excludes(path, is_dir)
        };
        for path in excluded {
            assert!(is_out(path), "{path} is kept");
        }
        for path in kept {
            assert!(!is_out(path), "{path} is left out");
        }
    }

    #[test]
    fn rules_are_those_of_helm() {
        check(
            "",
            &["templates/.x.swp", "templates/.d/"],
            &["templates/x", "templates/.", ".x", "a/templates/.x"],
        );
        check("*.txt\n# c\n\n", &["a.txt", "d/a.txt", "x.txt/"], &["a.txt2", "# c"]);
        check("/*.txt", &["a.txt"], &["d/a.txt"]);
        check("d/*.txt", &["d/a.txt"], &["a.txt", "x/d/a.txt", "d/e/a.txt"]);
        check("d/", &["d/", "x/d/"], &["d", "d2/"]);
        check("/d/", &["d/"], &["x/d/", "d"]);
        check("a[0-9]?", &["a1x", "d/a1x"], &["ab1", "a1"]);
        // The first rule that decides wins, and a negated one leaves out all else.
        check("!*.yaml", &["a.txt", "d/"], &["a.yaml", "d/a.yaml"]);
        check("!d/", &["a", "d", "e/"], &["d/"]);
        check("x\n!x", &["x", "y"], &[]);
        check("\u{feff}a", &["a"], &["b"]);
        check("  a  ", &["a"], &[]);
    }

    #[test]
    fn bad_rules_are_named() {
        for (rules, expect) in [
            ("a\n**/x", "double-star (**) syntax is not supported"),
            ("[a", "syntax error in pattern"),
            ("a\\", "syntax error in pattern"),
        ] {
            assert!(Rules::parse(rules).unwrap_err().starts_with(expect), "{rules}");
        }
        let many = "a\n".repeat(RULES_MAX + 1);
        assert_eq!(Rules::parse(&many).unwrap_err(), "more than 1000 rules");
    }
}
