//! Random ranges and tags, read here and by Flux's libraries: the same versions, the same order, the same choice. The oracle is
//! `tests/oracle/flux-choices`.

use std::cmp::Ordering;

use plumb_testkit::{
    oracle::{Choices, Oracle, cases},
    skip,
};
use plumb_version::{Constraint, compare, parse_loose, parse_tag};
use serde::{Deserialize, Serialize};

const TAGS: usize = 12;

#[derive(Serialize)]
struct Question {
    range: String,
    tags: Vec<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Answer {
    valid: bool,
    versions: Vec<String>,
    loose: Vec<String>,
    matches: Vec<bool>,
    orders: Vec<i8>,
}

#[test]
fn ranges_and_versions_are_read_as_flux_reads_them() {
    let oracle = match Oracle::build("flux-choices") {
        Ok(oracle) => oracle,
        Err(error) => return skip(&format!("the oracle cannot be built: {error:#}")),
    };
    let mut choices = Choices::from_environment();
    let questions: Vec<Question> = (0..cases())
        .map(|_| Question {
            range: range(&mut choices),
            tags: (0..TAGS)
                .map(|_| {
                    let odd = choices.below(3) == 0;
                    version(&mut choices, Form::Tag, odd)
                })
                .collect(),
        })
        .collect();
    let answers: Vec<Answer> = oracle.ask(&questions).unwrap();
    let differences: Vec<String> = questions
        .iter()
        .zip(&answers)
        .filter_map(|(question, flux)| {
            let ours = answer(question);
            (ours != *flux).then(|| {
                format!("{:?} {:?}\n  ours {ours:?}\n  flux {flux:?}", question.range, question.tags)
            })
        })
        .collect();
    let valid = answers.iter().filter(|answer| answer.valid).count();
    let matched = answers.iter().filter(|answer| answer.matches.contains(&true)).count();
    assert!(
        valid > questions.len() / 4 && matched > questions.len() / 20,
        "{valid} valid, {matched} matched"
    );
    let shown: Vec<&String> = differences.iter().take(5).collect();
    assert!(shown.is_empty(), "{} of {} differ: {shown:#?}", differences.len(), questions.len());
}

fn answer(question: &Question) -> Answer {
    let constraint = Constraint::parse(&question.range).ok();
    let parsed: Vec<_> = question.tags.iter().map(|tag| parse_tag(tag)).collect();
    let text = |version: Option<plumb_version::Version>| {
        version.map_or(String::new(), |version| version.to_string())
    };
    let order = |pair: &[Option<plumb_version::Version>]| match pair {
        [Some(a), Some(b)] => match compare(a, b) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        },
        _ => 0,
    };
    Answer {
        valid: constraint.is_some(),
        versions: parsed.iter().cloned().map(text).collect(),
        loose: question.tags.iter().map(|tag| text(parse_loose(tag))).collect(),
        matches: parsed
            .iter()
            .map(|version| {
                constraint
                    .as_ref()
                    .zip(version.as_ref())
                    .is_some_and(|(range, version)| range.matches(version))
            })
            .collect(),
        orders: parsed.windows(2).map(order).collect(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Tag,
    Range,
}

/// One of several texts; an unusual one now and then where the question may have such.
fn pick(choices: &mut Choices, odd: bool, usual: &[&str], unusual: &[&str]) -> String {
    let is_odd = odd && choices.below(4) == 0;
    choices.one(if is_odd { unusual } else { usual }).to_owned()
}

const OPERATORS: [&str; 15] =
    ["", "", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^", ">=", "<"];

fn range(choices: &mut Choices) -> String {
    // Half of the ranges have nothing odd in them: a range of several comparisons would hardly ever be valid otherwise.
    let odd = choices.below(2) == 0;
    let mut text = pick(choices, odd, &["", " "], &[",", "||"]);
    for group in 0..=choices.below(3) {
        if group > 0 {
            text += &pick(choices, odd, &["||", " || ", " ||", "|| "], &["|", "||||"]);
        }
        let mut is_open = true;
        for comparison in 0..=choices.below(3) {
            let separator = pick(choices, odd, &[" ", ",", ", ", " , ", "  ", " - "], &["- ", " -", ""]);
            // A hyphen joins two versions without operators.
            let is_hyphen = comparison > 0 && separator == " - ";
            if is_hyphen && !odd {
                text += if is_open { " - " } else { " " };
                text += &version(choices, Form::Range, odd);
                is_open = false;
                continue;
            }
            text += if comparison > 0 { &separator } else { "" };
            let operator = pick(choices, odd, &OPERATORS, &["!", "> =", "=="]);
            is_open = operator.is_empty();
            text += &operator;
            text += &pick(choices, odd, &["", "", "", " ", "\t"], &["v"]);
            text += &version(choices, Form::Range, odd);
        }
    }
    text + &pick(choices, odd, &["", " "], &[",", "||", "-"])
}

fn version(choices: &mut Choices, form: Form, odd: bool) -> String {
    let mut text = pick(choices, odd, &["", "", "v"], &["vv", "V"]);
    let count = match form {
        Form::Tag if odd && choices.below(4) == 0 => 1 + choices.below(4),
        Form::Tag => 3,
        Form::Range => 1 + choices.below(3),
    };
    for index in 0..count {
        text += if index > 0 { "." } else { "" };
        let numbers = ["0", "1", "1", "2", "3", "10", "0", "02", "2025"];
        let wildcards = ["x", "*", "X"];
        let is_wildcard = form == Form::Range && choices.below(6) == 0;
        let usual: &[&str] = if is_wildcard { &wildcards } else { &numbers };
        let is_odd = odd && choices.below(4) == 0;
        text += &pick(choices, is_odd, usual, &["18446744073709551616", "", "1x", "xx", "|1"]);
    }
    if choices.below(3) == 0 {
        let usual = ["-0", "-rc.1", "-rc.10", "-alpha", "-1", "--", "-99999999999999999999.1"];
        text += &pick(choices, odd, &usual, &["-01", "-a..b", "-"]);
    }
    if choices.below(5) == 0 {
        text += &pick(choices, odd, &["+1", "+9", "+10", "+-.01"], &["+", "+a_b"]);
    }
    text
}
