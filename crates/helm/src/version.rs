//! Which version of a chart is meant: the one that is written out, or the highest one in a range.

use jiff::Timestamp;
use plumb_version::{BuildMetadata, Constraint, ConstraintError, Version, compare, parse_loose, parse_tag};

/// The range of every release.
const ANY: &str = "*";

/// The requested version or range: empty and `*` mean the highest release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    text: String,
    /// What is wrong with a text that is no range: it may still be the text of a version.
    range: Result<Constraint, ConstraintError>,
}

impl Wanted {
    /// What a text asks for.
    pub fn new(text: &str) -> Self {
        let range = Constraint::parse(if text.is_empty() { ANY } else { text });
        Self { text: text.to_owned(), range }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is one version, written out in full.
    pub fn is_exact(&self) -> bool {
        parse_tag(&self.text).is_some()
    }

    /// The best of some candidates: the one of this very text, or the highest one in the range; of equal ones the newest, and of
    /// those the first.
    pub fn choose<'a, T>(
        &self,
        candidates: &'a [T],
        version: impl Fn(&T) -> &str,
        created: impl Fn(&T) -> Option<Timestamp>,
    ) -> Result<Option<&'a T>, ConstraintError> {
        if let Some(same) = candidates.iter().find(|one| !self.text.is_empty() && version(one) == self.text) {
            return Ok(Some(same));
        }
        let range = self.range.as_ref().map_err(Clone::clone)?;
        let mut best: Option<(&T, Version)> = None;
        for one in candidates {
            let Some(parsed) = parse_tag(version(one)).filter(|parsed| range.matches(parsed)) else {
                continue;
            };
            let is_better = best.as_ref().is_none_or(|(known, highest)| {
                compare(&parsed, highest).then_with(|| created(one).cmp(&created(known))).is_gt()
            });
            if is_better {
                best = Some((one, parsed));
            }
        }
        Ok(best.map(|(one, _)| one))
    }
}

/// A version with other build metadata, written out in full; none where either is no version.
pub fn with_build_metadata(version: &str, metadata: &str) -> Option<String> {
    let build = BuildMetadata::new(metadata).ok()?;
    Some(Version { build, ..parse_loose(version)? }.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_metadata_is_replaced() {
        for (version, metadata, expect) in [
            ("1.2.3", "4", Some("1.2.3+4")),
            ("v1.2", "abc.4", Some("1.2.0+abc.4")),
            ("1.2.3-rc.1+old", "4", Some("1.2.3-rc.1+4")),
            ("x", "4", None),
            ("1.2.3", "a_b", None),
        ] {
            assert_eq!(with_build_metadata(version, metadata).as_deref(), expect, "{version}");
        }
    }

    #[track_caller]
    fn check(wanted: &str, candidates: &[(&str, &str)], expect: Option<usize>) {
        let chosen = Wanted::new(wanted).choose(candidates, |one| one.0, |one| one.1.parse().ok()).unwrap();
        let place = chosen.map(|chosen| candidates.iter().position(|one| std::ptr::eq(one, chosen)).unwrap());
        assert_eq!(place, expect, "{wanted}");
    }

    #[test]
    fn the_text_itself_comes_before_the_range() {
        let candidates =
            [("2.0.0", ""), ("1.2.0", ""), ("v1.10.0", ""), ("1.11.0-rc.1", ""), ("nonsense", "")];
        for (wanted, expect) in [
            ("", Some(0)),
            ("*", Some(0)),
            ("1.x", Some(2)),
            (">=1.11.0-0 <2", Some(3)),
            ("1.11.0-rc.1", Some(3)),
            ("v1.10.0", Some(2)),
            ("1.10.0", Some(2)),
            ("nonsense", Some(4)),
            (">3", None),
        ] {
            check(wanted, &candidates, expect);
        }
        let none: [(&str, &str); 0] = [];
        assert!(Wanted::new("not a range").choose(&none, |one| one.0, |_| None).is_err());
        assert!(
            Wanted::new("1.2.3").is_exact() && !Wanted::new("1.2").is_exact() && !Wanted::new("*").is_exact()
        );
    }

    #[test]
    fn of_equal_versions_the_newest_is_taken() {
        let candidates = [
            ("1.0.0+a", "2024-01-01T00:00:00Z"),
            ("1.0.0+b", "2025-01-01T00:00:00Z"),
            ("1.0.0+c", ""),
            ("1.0.0+d", "2025-01-01T00:00:00Z"),
        ];
        check("1.x", &candidates, Some(1));
        check("1.0.0+c", &candidates, Some(2));
        check("*", &[("1.0.0", ""), ("1.0.0", "")], Some(0));
    }
}
