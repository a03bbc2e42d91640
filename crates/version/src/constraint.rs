//! Version constraints as Flux reads them (the rules of Go's Masterminds/semver 3.5): `>=1.0 <2`, `1.x`, `~1.2`, `^1`, `1.2 - 2.3`,
//! `a || b`. A version with a pre-release meets a group of comparisons only if one of the group names a pre-release. Which tags
//! exist is not known here.

mod syntax;

use semver::Version;

use crate::number::compare;

/// Alternatives, each of which is a group of comparisons that all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    text: String,
    groups: Vec<Group>,
}

/// A text is not a constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("semver range {text:?} is not valid: {problem}")]
pub struct ConstraintError {
    text: String,
    problem: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    comparisons: Vec<Comparison>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let groups = syntax::groups(text).map_err(|problem| ConstraintError {
            text: text.chars().take(syntax::CONSTRAINT_BYTES_MAX).collect(),
            problem,
        })?;
        Ok(Self { text: text.to_owned(), groups })
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a version meets it.
    pub fn matches(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| group.matches(version))
    }
}

impl Group {
    fn matches(&self, version: &Version) -> bool {
        let admits = version.pre.is_empty() || self.comparisons.iter().any(|one| !one.version.pre.is_empty());
        admits && self.comparisons.iter().all(|comparison| comparison.matches(version))
    }
}

impl Comparison {
    fn matches(&self, version: &Version) -> bool {
        let order = compare(version, &self.version);
        match self.operator {
            Operator::Equal if self.precision == Precision::Patch => order.is_eq(),
            Operator::Equal | Operator::Tilde => order.is_ge() && self.matches_tilde(version),
            Operator::NotEqual => self.differs(version),
            Operator::Greater => match self.precision {
                Precision::Nothing | Precision::Patch => order.is_gt(),
                Precision::Major => version.major > self.version.major,
                Precision::Minor => (version.major, version.minor) > (self.version.major, self.version.minor),
            },
            Operator::Less => order.is_lt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::LessOrEqual => match self.precision {
                Precision::Patch => order.is_le(),
                Precision::Major => version.major <= self.version.major,
                // A wildcard alone stands for 0.0: a limit that hardly any version meets.
                Precision::Minor | Precision::Nothing => {
                    (version.major, version.minor) <= (self.version.major, self.version.minor)
                }
            },
            Operator::Caret => order.is_ge() && self.matches_caret(version),
        }
    }

    fn matches_tilde(&self, version: &Version) -> bool {
        let wanted = &self.version;
        let is_zero = (wanted.major, wanted.minor, wanted.patch) == (0, 0, 0);
        match self.precision {
            Precision::Nothing => true,
            Precision::Patch if is_zero => true,
            Precision::Major => version.major == wanted.major,
            Precision::Minor | Precision::Patch => {
                (version.major, version.minor) == (wanted.major, wanted.minor)
            }
        }
    }

    /// The first number that is not zero may not change.
    fn matches_caret(&self, version: &Version) -> bool {
        let wanted = &self.version;
        match self.precision {
            _ if wanted.major > 0 => version.major == wanted.major,
            Precision::Major => version.major == 0,
            _ if wanted.minor > 0 => (version.major, version.minor) == (0, wanted.minor),
            Precision::Minor => (version.major, version.minor) == (0, 0),
            // A wildcard alone stands for 0.0.0.
            Precision::Patch | Precision::Nothing => {
                (version.major, version.minor, version.patch) == (0, 0, wanted.patch)
            }
        }
    }

    fn differs(&self, version: &Version) -> bool {
        let wanted = &self.version;
        match self.precision {
            // A wildcard alone stands for 0.0.0.
            Precision::Patch | Precision::Nothing => compare(version, wanted).is_ne(),
            Precision::Major => version.major != wanted.major,
            // The pre-release counts though no patch is written.
            Precision::Minor => {
                (version.major, version.minor) != (wanted.major, wanted.minor) || version.pre != wanted.pre
            }
        }
    }
}

#[cfg(test)]
mod tests;
