//! Where the quick reader returns a value, it is that of the parser.

use super::*;
use crate::yaml::Limits;
use crate::yaml::build::parsed;
use crate::yaml::chunks::Chunk;

/// The value of both; none if the quick one returns none.
fn both(text: &str) -> Option<(Node, Node)> {
    let limits = Limits::default();
    let (mut own, mut other) = (Budget::new(&limits, text), Budget::new(&limits, text));
    let quick = read(text, Dialect::Objects, &mut own)?;
    let slow = parsed(&Chunk { text, line: 1 }, Dialect::Objects, &mut other)
        .unwrap_or_else(|error| panic!("{error}\nin\n{text}\nread as {quick:?}"));
    assert_eq!(own.written(), other.written(), "values in\n{text}");
    Some((quick, slow))
}

/// Equality ignores quotes and kinds of nulls, their debug form does not.
#[track_caller]
fn check(text: &str, is_quick: bool) {
    let both = both(text);
    assert_eq!(both.is_some(), is_quick, "{text}");
    if let Some((quick, slow)) = both {
        assert_eq!(format!("{quick:?}"), format!("{slow:?}"), "{text}");
    }
}

#[test]
fn what_most_manifests_are_made_of_is_read() {
    for text in [
        "a: 1\nb:\n  c: x y # note\n  d:\n  - 1\n  - e: 2\n    f: [a, b c, {g: 'h'}]\n  -\n    i: j\nk:\n",
        "---\n# note\na: {}\nb: []\nc: \"q\"\nd: |\n  one\n\n    two\n  three\ne: |-\n  x\nf: x\n",
        "- a\n- - b\n  - c\n-\n- d: 1\n\n  e: 2\n",
        "a:\n- b: 1\n- c: 2\nd: -1\ne: -.5\nf: 2020-01-02\ng: ~\nh: null\ni: http://x:80/y#z\nj: a:b\n",
        "kind: A\nmetadata: {name: a-b, labels: {app.kubernetes.io/x: y}}\nspec: {cpu: 10m, n: 5, t: a:1}\n",
        "a:   spaced   \nb: c#d\n'q r': s\n\"t: u\": v\n",
        "a: |\n  x\n\n\nb: |\n  y\n   \nc: d\n",
        "a:\n    b:\n        c: d\n    e: f\n",
    ] {
        check(text, true);
    }
}

#[test]
fn everything_else_is_left_to_the_parser() {
    for text in [
        "a: &x 1\nb: *x\n",
        "a: !!str 1\n",
        "a: >\n  x\n",
        "a: 'it''s'\n",
        "a: \"x\\n\"\n",
        "a: x\n  y\n",
        "a: |+\n  x\n",
        "a: |2\n   x\n",
        "a: b: c\n",
        "a: 1\na: 2\n",
        "1: a\n",
        "yes: a\ntrue: b\n",
        "? a\n: b\n",
        "a\n",
        "a: [1,\n  2]\n",
        "a: {b: }\n",
        "a: [2001-12-14t21:59:43Z]\n",
        "a: [,]\n",
        "a: {b: c,}\n",
        "a: 1\n...\nb: 2\n",
        "%YAML 1.1\n---\na: b\n",
        "a:\tb\n",
        "a: 1\r\n",
        "a: .inf\nb: <<\n<<: {}\n",
        "\u{feff}a: 1\n",
        "a: \u{85}\n",
        "a: b\n c: d\n",
        "a:\n - b\n  - c\n",
        "- a\nb: c\n",
        "a: |\n  x",
        "a: |\n \n  x\n",
        "a: @b\n",
        "a: 'x' y\n",
        "a: [x] y\n",
        "",
        "# only\n",
        "---\n",
        "--- a\n",
        "a: - b\n",
    ] {
        check(text, false);
    }
}

/// Lines put together at random: most are nonsense, and none may be read in two ways.
#[test]
fn what_is_put_together_at_random_is_never_read_in_another_way() {
    const LINES: [&str; 30] = [
        "a: 1",
        "b: x",
        "c:",
        "- d",
        "- e: f",
        "-",
        "- - g",
        "h: |",
        "i: |-",
        "text here",
        "# note",
        "",
        "j: {k: l, m: [n]}",
        "o: 'p'",
        "q: \"r\" # s",
        "t: u:v",
        "---",
        "...",
        "w: [1, 2 3]",
        "x: -y",
        "z: a #b",
        "aa: b# c",
        "bb: {}",
        "cc: []",
        "dd: >",
        "ee: &f g",
        "key with blanks: x",
        "ff: a: b",
        "-x: y",
        "gg: ~",
    ];
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut read = 0;
    for _ in 0..200_000 {
        let mut text = String::new();
        for _ in 0..=next(6) {
            text.push_str(&" ".repeat(next(4)));
            text.push_str(LINES[next(LINES.len())]);
            text.push_str(&" ".repeat(next(2)));
            text.push('\n');
        }
        if next(10) == 0 {
            text.pop();
        }
        if let Some((quick, slow)) = both(&text) {
            read += 1;
            assert_eq!(format!("{quick:?}"), format!("{slow:?}"), "{text}");
        }
    }
    assert!(read > 5_000, "only {read} texts were read");
}
