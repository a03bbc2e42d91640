//! What text is a version, and which of two comes first: as Flux's libraries read tags, which is looser than the standard.

use std::cmp::Ordering;

use semver::{BuildMetadata, Prerelease, Version};

/// A longer text is no version.
const VERSION_BYTES_MAX: usize = 256;

/// A version as tags write it: three numbers, with or without a leading `v`, each with or without leading zeros
/// (`v2025.02.03`).
pub fn parse_tag(tag: &str) -> Option<Version> {
    // Two dots anywhere, a pre-release included: `v1-a.b.c` is 1.0.0-a.b.c.
    if tag.matches('.').count() < 2 { None } else { parse_loose(tag) }
}

/// A version that may leave out its last numbers, which are then zero: `1.2`.
pub fn parse_loose(text: &str) -> Option<Version> {
    if text.len() > VERSION_BYTES_MAX {
        return None;
    }
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (text, BuildMetadata::new(build).ok().filter(|build| !build.is_empty())?),
        None => (text, BuildMetadata::EMPTY),
    };
    let (text, pre) = match text.split_once('-') {
        Some((text, pre)) => (text, Prerelease::new(pre).ok().filter(|pre| !pre.is_empty())?),
        None => (text, Prerelease::EMPTY),
    };
    let mut numbers = [0; 3];
    for (index, part) in text.split('.').enumerate() {
        *numbers.get_mut(index)? = parse_number(part)?;
    }
    let [major, minor, patch] = numbers;
    Some(Version { major, minor, patch, pre, build })
}

/// A number of a version; leading zeros are allowed, a sign is not.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Which of two versions is the higher one. Build metadata does not count.
///
/// Differs from the standard where a number of a pre-release has more than 64 bits: it is compared as text.
pub fn compare(a: &Version, b: &Version) -> Ordering {
    (a.major, a.minor, a.patch)
        .cmp(&(b.major, b.minor, b.patch))
        .then_with(|| compare_pre_releases(a.pre.as_str(), b.pre.as_str()))
}

fn compare_pre_releases(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => compare_parts(a, b),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// A number comes before a text.
fn compare_parts(a: &str, b: &str) -> Ordering {
    match (parse_number(a), parse_number(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_tags_and_the_versions_that_they_are() {
        for (tag, expect) in [
            ("1.2.3", Some("1.2.3")),
            ("v1.2.3", Some("1.2.3")),
            ("v2025.02.03", Some("2025.2.3")),
            ("v2025.02.03-rc.1+b.01", Some("2025.2.3-rc.1+b.01")),
            ("v1.2-a.b", Some("1.2.0-a.b")),
            ("v1.2", None),
            ("1", None),
            ("vv1.2.3", None),
            ("V1.2.3", None),
            ("1.2.3.4", None),
            ("1.2.3-01", None),
            ("1.2.3-", None),
            ("1.2.3+", None),
            ("1.2.3-a..b", None),
            ("1.2.+3", None),
            ("1.2.3 ", None),
            ("1.2.18446744073709551616", None),
        ] {
            assert_eq!(parse_tag(tag).map(|version| version.to_string()).as_deref(), expect, "{tag}");
        }
        assert_eq!(parse_tag(&format!("1.2.{}3", "0".repeat(252))), None);
        assert_eq!(parse_loose("v1.02").unwrap().to_string(), "1.2.0");
    }

    #[test]
    fn versions_are_ordered_without_their_build_metadata() {
        let ascending = [
            "1.0.0-1",
            "1.0.0-2",
            "1.0.0-10",
            "1.0.0-99999999999999999999",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.10.0",
            "2.0.0",
        ];
        for (index, low) in ascending.iter().enumerate() {
            for high in &ascending[index + 1..] {
                assert_eq!(
                    compare(&parse_tag(low).unwrap(), &parse_tag(high).unwrap()),
                    Ordering::Less,
                    "{low} {high}"
                );
            }
        }
        for (a, b) in [("1.0.0+1", "1.0.0+2"), ("v1.0.0", "1.0.0"), ("2025.02.03", "2025.2.3")] {
            assert_eq!(compare(&parse_tag(a).unwrap(), &parse_tag(b).unwrap()), Ordering::Equal, "{a} {b}");
        }
    }
}
