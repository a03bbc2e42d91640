//! Which tag of a list is meant by a range of versions. Pure.

use plumb_version::{Constraint, Version, compare, parse_tag};
use regex::Regex;

/// There is no time to look at all tags.
#[derive(Debug)]
pub struct TooSlow;

/// The media type of a chart: in its tags `_` stands for the `+` of a version.
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The tag of the highest version in a range, among the tags that match the filter. Of equal versions, the last in the order of
/// texts. `is_over` ends it early.
pub fn highest<'a>(
    tags: &'a [String],
    constraint: &Constraint,
    filter: Option<&Regex>,
    media_type: Option<&str>,
    is_over: &dyn Fn() -> bool,
) -> Result<Option<&'a str>, TooSlow> {
    let is_chart = media_type == Some(CHART);
    let mut too_slow = false;
    let found = tags
        .iter()
        .take_while(|_| {
            too_slow = too_slow || is_over();
            !too_slow
        })
        .filter(|tag| filter.is_none_or(|filter| filter.is_match(tag)))
        .filter_map(|tag| version(tag, is_chart).map(|version| (version, tag.as_str())))
        .filter(|(version, _)| constraint.matches(version))
        .max_by(|(a, a_tag), (b, b_tag)| compare(a, b).then_with(|| a_tag.cmp(b_tag)))
        .map(|(_, tag)| tag);
    if too_slow { Err(TooSlow) } else { Ok(found) }
}

fn version(tag: &str, is_chart: bool) -> Option<Version> {
    if is_chart { parse_tag(&tag.replacen('_', "+", 1)) } else { parse_tag(tag) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(tags: &[&str], range: &str, filter: Option<&str>, media_type: Option<&str>) -> Option<String> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let filter = filter.map(|filter| Regex::new(filter).unwrap());
        let constraint = Constraint::parse(range).unwrap();
        highest(&tags, &constraint, filter.as_ref(), media_type, &|| false).unwrap().map(str::to_owned)
    }

    #[test]
    fn the_highest_version_is_taken_whatever_the_order_of_the_tags() {
        let tags = ["v1.2.0", "latest", "1.10.0", "v1.9.9", "2.0.0-rc.1", "sha256-ab.sig", "1.10"];
        for (range, filter, expect) in [
            (">=1.0.0", None, Some("1.10.0")),
            ("1.2.x", None, Some("v1.2.0")),
            (">=1.0.0", Some("^v"), Some("v1.9.9")),
            (">=2.0.0-0", None, Some("2.0.0-rc.1")),
            (">=1.0.0-0 <2", None, Some("2.0.0-rc.1")),
            (">=3", None, None),
            (">=1", Some("^x"), None),
        ] {
            assert_eq!(chosen(&tags, range, filter, None).as_deref(), expect, "{range} {filter:?}");
        }
    }

    #[test]
    fn dates_with_leading_zeros_are_versions() {
        let tags = ["2025.1.9", "v2025.02.03", "2024.12.31"];
        assert_eq!(chosen(&tags, ">=2025", None, None).as_deref(), Some("v2025.02.03"));
    }

    #[test]
    fn tags_of_charts_have_another_sign_for_build_metadata() {
        let tags = ["6.5.3", "6.5.4_build.1"];
        assert_eq!(chosen(&tags, "6.x", None, Some(CHART)).as_deref(), Some("6.5.4_build.1"));
        assert_eq!(chosen(&tags, "6.x", None, None).as_deref(), Some("6.5.3"));
    }

    #[test]
    fn of_equal_versions_one_is_always_taken() {
        for tags in [["v1.2.0", "1.2.0"], ["1.2.0", "v1.2.0"]] {
            assert_eq!(chosen(&tags, "1.x", None, None).as_deref(), Some("v1.2.0"));
        }
    }
}
