//! What a template says with given variables.

use std::collections::BTreeMap;

use super::glob;
use super::template::{Act, Case, End, Expression, Part, Reach, Where};
use crate::spec::Unset;

/// Bytes that the YAML of one object may grow to.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// Bytes of a value whose ends are trimmed by a pattern.
const TRIMMED_BYTES_MAX: usize = 4096;

/// The values at hand.
#[derive(Debug, Clone)]
pub(super) struct Variables {
    pub values: BTreeMap<String, String>,
    pub unset: Unset,
}

/// The finished text.
pub(super) fn evaluate(parts: &[Part], variables: &Variables) -> Result<String, String> {
    let mut output = String::new();
    for part in parts {
        match part {
            Part::Text(text) => output.push_str(text),
            Part::Expression(expression) => output.push_str(&value(expression, variables)?),
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
        (None, Unset::Empty) => "",
        (None, Unset::Refused) => return Err(format!("variable not set (strict mode): {name:?}")),
    };
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
    let mut ends: Vec<usize> = value.char_indices().map(|(index, c)| index + c.len_utf8()).collect();
    if reach == Reach::Longest {
        ends.reverse();
    }
    let cut = ends.into_iter().find(|&end| glob::matches(pattern, &value[..end]));
    value[cut.unwrap_or_default()..].to_owned()
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
        evaluate(&parse(text)?, &Variables { values, unset })
    }

    #[track_caller]
    fn check(rows: &[(&str, &str)]) {
        for (text, expect) in rows {
            assert_eq!(expand(text, Unset::Refused).as_deref(), Ok(*expect), "{text}");
        }
    }

    #[track_caller]
    fn refuse(rows: &[(&str, &str)]) {
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
            ("${v:0:-3}", "abcABC"),
            ("${v:${n}:1}", "A"),
            ("${v:20}", ""),
            ("${v:x}", "abcABC123"),
        ]);
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
    fn what_is_not_set_is_refused_unless_told_otherwise() {
        refuse(&[
            ("${x}", "variable not set (strict mode): \"x\""),
            ("${x^^}", "variable not set (strict mode): \"x\""),
            ("${n:-${x}}", "variable not set (strict mode): \"x\""),
        ]);
        assert_eq!(expand("a${x}b${x^^}", Unset::Empty).as_deref(), Ok("ab"));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        refuse(&[
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
    fn a_result_that_grows_without_bounds_is_refused() {
        let mut values = BTreeMap::from([("big".to_owned(), "x".repeat(1 << 20))]);
        let parts = parse(&"${big}".repeat(20)).unwrap();
        let big = Variables { values: values.clone(), unset: Unset::Refused };
        assert!(evaluate(&parts, &big).is_err());
        values.insert("y".to_owned(), String::new());
        assert!(
            evaluate(&parse("${big%x*}").unwrap(), &Variables { values, unset: Unset::Refused }).is_err()
        );
    }
}
