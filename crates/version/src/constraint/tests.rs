//! Rows of ranges and versions, each with what Flux decides.

use super::*;
use crate::number::parse_tag;

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
    for bad in ["", "||", "1 ||", "a.b.c", ">>1", "1.2.3.4", "1..2", "-1", ">=", &"1 ".repeat(257)] {
        assert!(Constraint::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn one_comparison_that_names_a_pre_release_admits_them_to_its_group() {
    check(">=4.0.0-0 <5", &["5.0.0-rc.1", "4.0.0-rc.1", "4.1.0"], &["5.0.0", "3.9.0"]);
    check(">=1.0.0-0 <2", &["1.1.0-rc.1"], &["2.0.0"]);
    check(">=1 <2 || 3.0.0-rc.1", &["1.5.0", "3.0.0-rc.1"], &["1.5.0-rc.1"]);
}

#[test]
fn a_wildcard_alone_stands_for_zero_beside_some_operators() {
    check("^*", &["0.0.0"], &["0.0.1", "1.0.0"]);
    check("<=*", &["0.0.1"], &["0.1.0", "1.0.0"]);
    check(">*", &["0.0.1", "1.0.0"], &["0.0.0"]);
    check("!=*", &["0.0.1", "1.0.0"], &["0.0.0"]);
    check("~*", &["0.0.1", "1.0.0"], &[]);
    check(">=*", &["0.0.0", "1.0.0"], &[]);
}

#[test]
fn an_exclusion_without_patch_looks_at_the_pre_release() {
    check("!=1.0-0", &["1.0.0", "1.0.0-1", "1.1.0"], &["1.0.0-0", "1.0.5-0"]);
}

#[test]
fn leading_zeros_are_numbers() {
    check(">=2025.01.01", &["v2025.02.03", "2025.1.9"], &["v2024.12.31"]);
    check("2025.02.x", &["v2025.2.03"], &["v2025.03.01"]);
}

#[test]
fn hyphens_are_replaced_before_alternatives_are_split() {
    check("1 - 2 || 4", &["1.0.0", "2.5.0", "4.1.0"], &["3.0.0"]);
    check("1||2 - 3", &["1.0.0", "2.0.0", "3.9.0"], &["0.9.0"]);
    check("1, 1 - 2", &["1.5.0"], &["2.0.0"]);
    for bad in
        ["1- 2", "1 -2", ">=1 1 - 2", ">=1 - 2", ">=1,<2,", ",>=1", ">=1,,<2", "1 ||2 - 3", "> =1", "1.x2"]
    {
        assert!(Constraint::parse(bad).is_err(), "{bad:?}");
    }
    assert!(Constraint::parse(&["1"; 32].join("||")).is_ok());
    assert!(Constraint::parse(&["1"; 33].join("||")).is_err());
}
