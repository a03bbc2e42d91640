//! Version constraints as Flux reads them (the rules of Go's Masterminds/semver): `>=1.0 <2`, `1.x`, `~1.2`, `^1`, `1.2 - 2.3`,
//! `a || b`. A version with a pre-release only meets a constraint that names one. Which tags exist is not known here.

use semver::{BuildMetadata, Prerelease, Version};

/// A longer constraint is rejected.
const CONSTRAINT_BYTES_MAX: usize = 1024;

/// Alternatives, each of which is a list of comparisons that all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    text: String,
    alternatives: Vec<Vec<Comparison>>,
}

/// A text is not a constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("semver range {text:?} is not valid: {problem}")]
pub struct ConstraintError {
    text: String,
    problem: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Tilde,
    Caret,
}

/// How much of the version was written out: the rest is a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Nothing,
    Major,
    Minor,
    Patch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    version: Version,
    precision: Precision,
}

impl Constraint {
    /// Parses a constraint.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        let reject = |problem: String| ConstraintError {
            text: text.chars().take(CONSTRAINT_BYTES_MAX).collect(),
            problem,
        };
        if text.len() > CONSTRAINT_BYTES_MAX {
            return Err(reject(format!("it is longer than {CONSTRAINT_BYTES_MAX} bytes")));
        }
        let alternatives =
            text.split("||").map(parse_all).collect::<Result<Vec<_>, String>>().map_err(reject)?;
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a version meets it.
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|all| all.iter().all(|comparison| comparison.matches(version)))
    }
}

/// A version as tags write it: complete, with or without a leading `v`.
pub fn parse_tag(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

fn parse_all(text: &str) -> Result<Vec<Comparison>, String> {
    let separator = |c: char| c.is_whitespace() || c == ',';
    let mut rest = text.trim_matches(separator);
    if rest.is_empty() {
        return Err("a part of it is empty".to_owned());
    }
    let mut all = Vec::new();
    while !rest.is_empty() {
        let operator_length = rest.find(|c: char| !"=!<>~^".contains(c)).unwrap_or(rest.len());
        let (sign, after) = rest.split_at(operator_length);
        let operator = parse_operator(sign)?;
        let after = after.trim_start();
        let (version, after) = after.split_at(after.find(separator).unwrap_or(after.len()));
        let first = parse_comparison(operator, version)?;
        let after = after.trim_start_matches(separator);
        match after.strip_prefix('-').filter(|upper| upper.starts_with(char::is_whitespace)) {
            Some(upper) if sign.is_empty() => {
                let upper = upper.trim_start();
                let (upper, after) = upper.split_at(upper.find(separator).unwrap_or(upper.len()));
                all.push(Comparison { operator: Operator::GreaterOrEqual, ..first });
                all.push(parse_comparison(Operator::LessOrEqual, upper)?);
                rest = after.trim_start_matches(separator);
            }
            _ => {
                all.push(first);
                rest = after;
            }
        }
    }
    Ok(all)
}

fn parse_operator(sign: &str) -> Result<Operator, String> {
    match sign {
        "" | "=" => Ok(Operator::Equal),
        "!=" => Ok(Operator::NotEqual),
        ">" => Ok(Operator::Greater),
        "<" => Ok(Operator::Less),
        ">=" | "=>" => Ok(Operator::GreaterOrEqual),
        "<=" | "=<" => Ok(Operator::LessOrEqual),
        "~" | "~>" => Ok(Operator::Tilde),
        "^" => Ok(Operator::Caret),
        other => Err(format!("unknown operator {other:?}")),
    }
}

fn parse_comparison(operator: Operator, text: &str) -> Result<Comparison, String> {
    let reject = || format!("{text:?} is not a version");
    let body = text.strip_prefix('v').unwrap_or(text);
    let (body, build) = body.split_once('+').map_or((body, ""), |(body, build)| (body, build));
    let (numbers, pre) = body.split_once('-').map_or((body, ""), |(numbers, pre)| (numbers, pre));
    let mut written = [0u64; 3];
    let mut precision = Precision::Nothing;
    for (index, part) in numbers.split('.').enumerate() {
        let next =
            [Precision::Major, Precision::Minor, Precision::Patch].get(index).copied().ok_or_else(reject)?;
        if matches!(part, "x" | "X" | "*") {
            continue;
        }
        let number = part.parse().map_err(|_| reject())?;
        // `1.x.3` means `1.x`: what follows a wildcard is one too.
        if usize::from(precision != Precision::Nothing) + usize::from(precision > Precision::Major) == index {
            written[index] = number;
            precision = next;
        }
    }
    let [major, minor, patch] = written;
    let pre = Prerelease::new(pre).map_err(|_| reject())?;
    let build = BuildMetadata::new(build).map_err(|_| reject())?;
    Ok(Comparison { operator, version: Version { major, minor, patch, pre, build }, precision })
}

impl Comparison {
    fn matches(&self, version: &Version) -> bool {
        if !version.pre.is_empty() && self.version.pre.is_empty() {
            return false;
        }
        let order = version.cmp_precedence(&self.version);
        match self.operator {
            Operator::Equal if self.precision == Precision::Patch => order.is_eq(),
            Operator::Equal | Operator::Tilde => self.matches_tilde(version),
            Operator::NotEqual if self.precision == Precision::Patch => order.is_ne(),
            Operator::NotEqual => !self.shares_written_numbers(version),
            Operator::Greater if self.precision == Precision::Patch => order.is_gt(),
            Operator::Greater => order.is_gt() && !self.shares_written_numbers(version),
            Operator::Less => order.is_lt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::LessOrEqual => {
                order.is_le() || (self.precision < Precision::Patch && self.shares_written_numbers(version))
            }
            Operator::Caret => order.is_ge() && self.matches_caret(version),
        }
    }

    fn matches_tilde(&self, version: &Version) -> bool {
        let wanted = &self.version;
        let is_anything = self.precision == Precision::Nothing
            || (self.precision == Precision::Patch
                && (wanted.major, wanted.minor, wanted.patch) == (0, 0, 0));
        version.cmp_precedence(wanted).is_ge()
            && (is_anything
                || (version.major == wanted.major
                    && (self.precision <= Precision::Major || version.minor == wanted.minor)))
    }

    /// The first number that is not zero may not change.
    fn matches_caret(&self, version: &Version) -> bool {
        let wanted = &self.version;
        match self.precision {
            Precision::Nothing => true,
            _ if wanted.major > 0 => version.major == wanted.major,
            Precision::Major => version.major == 0,
            _ if wanted.minor > 0 => (version.major, version.minor) == (0, wanted.minor),
            Precision::Minor => (version.major, version.minor) == (0, 0),
            Precision::Patch => (version.major, version.minor, version.patch) == (0, 0, wanted.patch),
        }
    }

    fn shares_written_numbers(&self, version: &Version) -> bool {
        let wanted = &self.version;
        (self.precision < Precision::Major || version.major == wanted.major)
            && (self.precision < Precision::Minor || version.minor == wanted.minor)
            && (self.precision < Precision::Patch || version.patch == wanted.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(constraint: &str, yes: &[&str], no: &[&str]) {
        let parsed = Constraint::parse(constraint).unwrap();
        for version in yes {
            assert!(parsed.matches(&parse_tag(version).unwrap()), "{constraint} should match {version}");
        }
        for version in no {
            assert!(!parsed.matches(&parse_tag(version).unwrap()), "{constraint} should not match {version}");
        }
    }

    #[test]
    fn comparisons_and_their_combinations() {
        check(">=1.0 <2", &["1.0.0", "1.9.9"], &["2.0.0", "0.9.0", "1.5.0-rc.1"]);
        check(">=1.0.0, <2.0.0", &["1.0.0"], &["2.0.0"]);
        check("<1.0.0 || >= 2.1.0", &["0.1.0", "2.1.0"], &["1.0.0", "2.0.9"]);
        check("= 1.2.3", &["v1.2.3"], &["1.2.4"]);
        check("!=1.2.3", &["1.2.4"], &["1.2.3"]);
        check("!=1.2", &["1.3.0"], &["1.2.9"]);
        check(">1", &["2.0.0"], &["1.5.0", "1.0.0"]);
        check("<=1.2", &["1.2.9", "1.0.0"], &["1.3.0"]);
        check("=>1 =<2", &["1.0.0", "2.9.0"], &["3.0.0"]);
    }

    #[test]
    fn wildcards_tildes_and_carets() {
        check("*", &["0.0.1", "9.9.9"], &["1.0.0-rc.1"]);
        check("1.x", &["1.0.0", "1.9.0"], &["2.0.0", "0.9.0"]);
        check("1.2.*", &["1.2.9"], &["1.3.0"]);
        check("1.x.3", &["1.9.0"], &["2.0.3"]);
        check("~1.2", &["1.2.0", "1.2.9"], &["1.3.0"]);
        check("~1.2.3", &["1.2.3", "1.2.9"], &["1.2.2", "1.3.0"]);
        check("~1", &["1.9.0"], &["2.0.0"]);
        check("^1", &["1.0.0", "1.9.9"], &["2.0.0"]);
        check("^1.2.3", &["1.9.9"], &["1.2.2", "2.0.0"]);
        check("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "0.2.2"]);
        check("^0.0.3", &["0.0.3"], &["0.0.4"]);
        check("^0", &["0.9.0"], &["1.0.0"]);
        check("^0.0", &["0.0.9"], &["0.1.0"]);
        check("v1.2.3", &["1.2.3", "v1.2.3+build"], &["1.2.4"]);
    }

    #[test]
    fn hyphen_ranges() {
        check("1.2 - 2.3.4", &["1.2.0", "2.3.4"], &["1.1.9", "2.3.5"]);
        check("1 - 2", &["1.0.0", "2.9.9"], &["3.0.0"]);
    }

    #[test]
    fn pre_releases_only_where_requested() {
        check(">=1.0.0-0", &["1.0.0-rc.1", "1.0.0", "2.0.0-alpha"], &["0.9.0"]);
        check("^1.0.0-rc.1", &["1.0.0-rc.2", "1.1.0"], &["1.0.0-alpha"]);
    }

    #[test]
    fn invalid_texts_are_rejected() {
        for bad in ["", "||", "1 ||", "a.b.c", ">>1", "1.2.3.4", "1..2", "-1", ">=", &"1 ".repeat(1000)] {
            assert!(Constraint::parse(bad).is_err(), "{bad:?}");
        }
    }
}
