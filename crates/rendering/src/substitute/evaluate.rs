//! The result of a template with given variables.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use super::glob;
use super::template::{Act, Case, End, Expression, Part, Reach, Where};
use crate::spec::Unset;

/// Bytes that the YAML of one object may grow to.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// Bytes that the YAML of all objects may grow to.
const OUTPUT_BYTES_ALL_MAX: usize = 128 << 20;
/// Bytes of a value whose ends are trimmed by a pattern.
const TRIMMED_BYTES_MAX: usize = 4096;
/// What all expressions of all objects may cost: bytes read and written, and steps of patterns.
const WORK_MAX: usize = 1 << 30;

/// The given values.
#[derive(Debug, Clone)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    unset: Unset,
    work: Cell<usize>,
    output: Cell<usize>,
    /// Names without a value and without a default since they were taken last, where those are allowed.
    missed: RefCell<BTreeSet<String>>,
}

impl Variables {
    pub(super) fn new(values: BTreeMap<String, String>, unset: Unset) -> Self {
        Self { values, unset, work: Cell::new(0), output: Cell::new(0), missed: RefCell::default() }
    }

    /// The names without a value and without a default that were passed over since the last call.
    pub(super) fn take_missed(&self) -> BTreeSet<String> {
        self.missed.take()
    }

    /// Whether a name has a value.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn spend(&self, work: usize) -> Result<(), String> {
        self.work.set(self.work.get().saturating_add(work));
        if self.work.get() > WORK_MAX {
            return Err(format!("the expressions of all objects take more than {WORK_MAX} steps"));
        }
        Ok(())
    }

    /// Counts the finished text of an object.
    pub(super) fn admit(&self, text: &str) -> Result<(), String> {
        self.output.set(self.output.get().saturating_add(text.len()));
        if self.output.get() > OUTPUT_BYTES_ALL_MAX {
            return Err(format!("the results have more than {OUTPUT_BYTES_ALL_MAX} bytes together"));
        }
        Ok(())
    }
}

/// The finished text.
pub(super) fn evaluate(parts: &[Part], variables: &Variables) -> Result<String, String> {
    let mut output = String::new();
    for part in parts {
        match part {
            Part::Text(text) => output.push_str(text),
            Part::Expression(expression) => {
                let value = value(expression, variables)?;
                variables.spend(1 + value.len())?;
                output.push_str(&value);
            }
        }
        if output.len() > OUTPUT_BYTES_MAX {
            return Err(format!("the result has more than {OUTPUT_BYTES_MAX} bytes"));
        }
    }
    Ok(output)
}

fn single(part: &Part, variables: &Variables) -> Result<String, String> {
    evaluate(std::slice::from_ref(part), variables)
}

/// The nesting is limited by the parser, and so is this recursion.
fn value(expression: &Expression, variables: &Variables) -> Result<String, String> {
    let Expression { name, act } = expression;
    let known = variables.values.get(name);
    if let Act::Default(default) = act {
        let default = evaluate(default, variables)?;
        return Ok(known.filter(|value| !value.is_empty()).cloned().unwrap_or(default));
    }
    let value = match (known, variables.unset) {
        (Some(value), _) => value.as_str(),
        (None, Unset::Empty) => {
            variables.missed.borrow_mut().insert(name.clone());
            ""
        }
        (None, Unset::Refused) => return Err(format!("variable not set (strict mode): {name:?}")),
    };
    variables.spend(value.len())?;
    match act {
        Act::Plain | Act::Default(_) => Ok(value.to_owned()),
        Act::Length => Ok(value.len().to_string()),
        Act::Case(case) => Ok(in_case(value, *case)),
        Act::Slice(from, length) => {
            let from = single(from, variables)?;
            let length = length.as_ref().map(|length| single(length, variables)).transpose()?;
            Ok(slice(value, &from, length.as_deref()))
        }
        Act::Trim(end, reach, pattern) => {
            let pattern = single(pattern, variables)?;
            if value.len() > TRIMMED_BYTES_MAX || pattern.len() > TRIMMED_BYTES_MAX {
                return Err(format!("a value or pattern to trim has more than {TRIMMED_BYTES_MAX} bytes"));
            }
            variables.spend(value.len() * pattern.len())?;
            Ok(trimmed(value, *end, *reach, &pattern))
        }
        Act::Replace(place, pattern, new) => {
            let pattern = single(pattern, variables)?;
            let new = new.as_ref().map(|new| single(new, variables)).transpose()?;
            replaced(value, *place, &pattern, new.as_deref())
        }
    }
}

fn in_case(value: &str, case: Case) -> String {
    let mut characters = value.chars();
    let first = characters.next();
    let rest = characters.as_str();
    match (case, first) {
        (Case::Upper, _) => value.to_uppercase(),
        (Case::Lower, _) => value.to_lowercase(),
        (Case::UpperFirst, Some(c)) => format!("{}{rest}", c.to_uppercase()),
        (Case::LowerFirst, Some(c)) => format!("{}{rest}", c.to_lowercase()),
        (Case::Same, _) | (_, None) => value.to_owned(),
    }
}

/// Bytes from a place on; what is not a number leaves the value as it is.
fn slice(value: &str, from: &str, length: Option<&str>) -> String {
    let size = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let Ok(from) = from.parse::<i64>() else {
        return value.to_owned();
    };
    let start = if from < 0 { size.saturating_add(from).max(0) } else { from };
    let end = match length.map(str::parse::<i64>) {
        None => size,
        Some(Err(_)) => return value.to_owned(),
        Some(Ok(length)) if length < 0 => size.saturating_add(length),
        Some(Ok(length)) => start.saturating_add(length).min(size),
    };
    let bounds = (usize::try_from(start), usize::try_from(end));
    let (Ok(start), Ok(end)) = bounds else {
        return String::new();
    };
    // A cut through a character leaves its halves out.
    value
        .as_bytes()
        .get(start..end)
        .map(|bytes| String::from_utf8_lossy(bytes))
        .map_or_else(String::new, |text| text.replace(char::REPLACEMENT_CHARACTER, ""))
}

fn trimmed(value: &str, end: End, reach: Reach, pattern: &str) -> String {
    let backwards = |text: &str| text.chars().rev().collect::<String>();
    if end == End::Back {
        return backwards(&trimmed(&backwards(value), End::Start, reach, &backwards(pattern)));
    }
    let characters: Vec<char> = value.chars().collect();
    let fits = glob::fitting_beginnings(&pattern.chars().collect::<Vec<_>>(), &characters);
    // The empty beginning is none.
    let mut counts = (1..fits.len()).filter(|&count| fits[count]);
    let cut = match reach {
        Reach::Shortest => counts.next(),
        Reach::Longest => counts.next_back(),
    };
    characters[cut.unwrap_or_default()..].iter().collect()
}

fn replaced(value: &str, place: Where, pattern: &str, new: Option<&str>) -> Result<String, String> {
    let text = new.unwrap_or_default();
    match (place, new) {
        (Where::First, _) => Ok(value.replacen(pattern, text, 1)),
        (Where::All, _) => {
            let bytes = value.matches(pattern).count().saturating_mul(text.len());
            if bytes > OUTPUT_BYTES_MAX {
                return Err(format!("the result has more than {OUTPUT_BYTES_MAX} bytes"));
            }
            Ok(value.replace(pattern, text))
        }
        // Without a replacement these two do nothing in Flux.
        (Where::Start | Where::Back, None) => Ok(value.to_owned()),
        (Where::Start, Some(new)) => {
            Ok(value.strip_prefix(pattern).map_or_else(|| value.to_owned(), |rest| format!("{new}{rest}")))
        }
        (Where::Back, Some(new)) => {
            Ok(value.strip_suffix(pattern).map_or_else(|| value.to_owned(), |rest| format!("{rest}{new}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::substitute::template::parse;

    fn expand(text: &str, unset: Unset) -> Result<String, String> {
        let values = [("v", "abcABC123"), ("path", "/a/b/c.txt"), ("empty", ""), ("n", "3")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        evaluate(&parse(text)?, &Variables::new(values, unset))
    }

    #[track_caller]
    fn check(rows: &[(&str, &str)]) {
        for (text, expect) in rows {
            assert_eq!(expand(text, Unset::Refused).as_deref(), Ok(*expect), "{text}");
        }
    }

    #[track_caller]
    fn reject(rows: &[(&str, &str)]) {
        for (text, expect) in rows {
            assert_eq!(expand(text, Unset::Refused).unwrap_err(), *expect, "{text}");
        }
    }

    #[test]
    fn plain_forms_and_escapes() {
        check(&[
            ("a ${v} b", "a abcABC123 b"),
            ("$v ${n}$", "$v 3$"),
            ("$${v}", "${v}"),
            ("$$${n}", "$3"),
            ("$${a${n}}", "${a3}"),
            ("a$$b", "a$b"),
            ("${#v}", "9"),
            ("${empty}", ""),
        ]);
    }

    #[test]
    fn defaults() {
        check(&[
            ("${x=d}", "d"),
            ("${x:=d}", "d"),
            ("${x:-d}", "d"),
            ("${empty:-d}", "d"),
            ("${n:-d}", "3"),
            ("${x:-}", ""),
            ("${x:-a${n}b${y:=c}}", "a3bc"),
            ("${x:=a: b/c#d}", "a: b/c#d"),
        ]);
    }

    #[test]
    fn case_and_slices() {
        check(&[
            ("${v^}", "AbcABC123"),
            ("${v^^}", "ABCABC123"),
            ("${v,}", "abcABC123"),
            ("${v,,}", "abcabc123"),
            ("${v:3}", "ABC123"),
            ("${v:3:2}", "AB"),
            ("${v:-3}", "abcABC123"),
            ("${v:${n}:1}", "A"),
            ("${v:20}", ""),
            ("${v:x}", "abcABC123"),
        ]);
    }

    /// Called as it is: other programs fall over an expression with a negative length.
    #[test]
    fn a_negative_length_counts_from_the_end() {
        assert_eq!(slice("abcABC123", "0", Some("-3")), "abcABC");
        assert_eq!(slice("abc", "2", Some("-3")), "");
    }

    #[test]
    fn trims_and_replacements() {
        check(&[
            ("${path##*/}", "c.txt"),
            ("${path#*/}", "a/b/c.txt"),
            ("${path%/*}", "/a/b"),
            ("${path%%.*}", "/a/b/c"),
            ("${path%.t?t}", "/a/b/c"),
            ("${v/abc/x}", "xABC123"),
            ("${path//\\//-}", "-a-b-c.txt"),
            ("${v/#abc/x}", "xABC123"),
            ("${v/%123/x}", "abcABCx"),
            ("${v/abc/}", "ABC123"),
        ]);
    }

    #[test]
    fn an_unset_variable_is_rejected_unless_configured_otherwise() {
        reject(&[
            ("${x}", "variable not set (strict mode): \"x\""),
            ("${x^^}", "variable not set (strict mode): \"x\""),
            ("${n:-${x}}", "variable not set (strict mode): \"x\""),
        ]);
        assert_eq!(expand("a${x}b${x^^}", Unset::Empty).as_deref(), Ok("ab"));
    }

    #[test]
    fn an_invalid_expression_is_rejected() {
        reject(&[
            ("${", "unable to parse variable name"),
            ("${}", "unable to parse variable name"),
            ("${v", "missing closing brace"),
            ("${v-d}", "missing closing brace"),
            ("${v:=d", "unable to parse substitution within function"),
            ("${v#}", "unable to parse substitution within function"),
            ("${#}", "bad substitution"),
            ("${v/a}", "bad substitution"),
        ]);
        assert!(expand(&"${v:=".repeat(100), Unset::Refused).unwrap_err().contains("inside each other"));
    }

    #[test]
    fn a_result_over_the_limit_is_rejected() {
        let mut values = BTreeMap::from([("big".to_owned(), "x".repeat(1 << 20))]);
        let parts = parse(&"${big}".repeat(20)).unwrap();
        let big = Variables::new(values.clone(), Unset::Refused);
        assert!(evaluate(&parts, &big).is_err());
        values.insert("y".to_owned(), String::new());
        assert!(evaluate(&parse("${big%x*}").unwrap(), &Variables::new(values, Unset::Refused)).is_err());
    }

    #[test]
    fn work_that_leaves_nothing_behind_is_counted_too() {
        let values =
            BTreeMap::from([("big".to_owned(), "x".repeat(1 << 20)), ("e".to_owned(), String::new())]);
        for text in ["${e/${big//y/z}/}", "${e:-${big:2000000}}", "${e#${big//x/}}", "${big/y/${big}}${e}"] {
            let variables = Variables::new(values.clone(), Unset::Refused);
            variables.spend(WORK_MAX - (16 << 20)).unwrap();
            let parts = parse(text).unwrap();
            let rejected = (0..20).find_map(|_| evaluate(&parts, &variables).err());
            assert!(rejected.is_some_and(|message| message.contains("steps")), "{text}");
        }
    }

    #[test]
    fn patterns_of_many_stars_take_no_longer_than_both_lengths() {
        let values = BTreeMap::from([("v".to_owned(), "a".repeat(1_000))]);
        let variables = Variables::new(values, Unset::Refused);
        for pattern in
            ["*a".repeat(300) + "b", "a".repeat(500) + "b", "[a-z]".repeat(100) + "b", "*".repeat(1_000)]
        {
            for mark in ["#", "##", "%", "%%"] {
                let parts = parse(&format!("${{v{mark}{pattern}}}")).unwrap();
                assert!(evaluate(&parts, &variables).is_ok());
            }
        }
    }

    #[test]
    fn all_objects_together_are_limited() {
        let variables = Variables::new(BTreeMap::new(), Unset::Refused);
        let text = "x".repeat(16 << 20);
        assert!((0..8).all(|_| variables.admit(&text).is_ok()));
        assert!(variables.admit(&text).unwrap_err().contains("134217728 bytes together"));
    }
}
