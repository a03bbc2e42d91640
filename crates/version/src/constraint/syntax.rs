//! From the text of a constraint to its groups.

use super::{Comparison, Group, Operator, Precision};
use crate::number::{parse_loose, parse_number};

/// A longer constraint is rejected, in bytes.
pub const CONSTRAINT_BYTES_MAX: usize = 512;
/// More alternatives are rejected.
const GROUPS_MAX: usize = 32;

/// The groups of a constraint, or what is wrong with it.
pub fn groups(text: &str) -> Result<Vec<Group>, String> {
    if text.len() > CONSTRAINT_BYTES_MAX {
        return Err(format!("it is longer than {CONSTRAINT_BYTES_MAX} bytes"));
    }
    // Before the alternatives are split, as Go's library does.
    let text = without_hyphens(text);
    let groups: Vec<&str> = text.split("||").collect();
    if groups.len() > GROUPS_MAX {
        return Err(format!("it has more than {GROUPS_MAX} alternatives"));
    }
    groups.into_iter().map(group).collect()
}

/// Writes `a - b` as `>= a, <= b`. The blanks around it are part of it.
fn without_hyphens(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, low, high, after)) = first_hyphen(rest) {
        result.push_str(before.trim_end_matches(is_blank));
        result.extend([">= ", low, ", <= ", high, " "]);
        rest = after.trim_start_matches(is_blank);
    }
    result.push_str(rest);
    result
}

fn first_hyphen(text: &str) -> Option<(&str, &str, &str, &str)> {
    text.char_indices().find_map(|(start, _)| {
        let (low, after) = split_version(&text[start..])?;
        let dash = after.strip_prefix(is_blank)?.trim_start_matches(is_blank).strip_prefix('-')?;
        let high = dash.strip_prefix(is_blank)?.trim_start_matches(is_blank);
        let (high, after) = split_version(high)?;
        Some((&text[..start], low, high, after))
    })
}

fn group(text: &str) -> Result<Group, String> {
    let mut rest = text.trim_start_matches(is_blank);
    if rest.is_empty() {
        return Err("a part of it is empty".to_owned());
    }
    let mut comparisons = Vec::new();
    loop {
        let (sign, after) = rest.split_at(rest.find(|c: char| !"=!<>~^".contains(c)).unwrap_or(rest.len()));
        let operator = operator(sign)?;
        let after = after.trim_start_matches(is_blank);
        let Some((version, after)) = split_version(after) else {
            return Err(format!("{:?} is not a version", after.chars().take(32).collect::<String>()));
        };
        comparisons.push(comparison(operator, version)?);
        let next = after.trim_start_matches(is_blank);
        if next.is_empty() {
            return Ok(Group { comparisons });
        }
        rest = match next.strip_prefix(',') {
            Some(next) => next.trim_start_matches(is_blank),
            None if next.len() < after.len() => next,
            None => return Err(format!("{version:?} is followed by {:?}", next.chars().next())),
        };
    }
}

fn operator(sign: &str) -> Result<Operator, String> {
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

/// One comparison. What follows a wildcard is one too: `1.x.3` means `1.x`.
fn comparison(operator: Operator, text: &str) -> Result<Comparison, String> {
    let reject = || format!("{text:?} is not a version");
    let numbers_end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, extra) = text.split_at(numbers_end);
    let written: Vec<&str> = numbers
        .strip_prefix('v')
        .unwrap_or(numbers)
        .split('.')
        .take_while(|part| !matches!(*part, "x" | "X" | "*"))
        .collect();
    let precision = match written.len() {
        0 => Precision::Nothing,
        1 => Precision::Major,
        2 => Precision::Minor,
        _ => Precision::Patch,
    };
    if precision == Precision::Patch {
        let version = parse_loose(text).ok_or_else(reject)?;
        return Ok(Comparison { operator, version, precision });
    }
    // The build metadata of a version with wildcards is not even looked at.
    let pre = extra.split('+').next().unwrap_or_default();
    let mut version = parse_loose(&format!("0.0.0{pre}")).ok_or_else(reject)?;
    for (part, number) in written.iter().zip([&mut version.major, &mut version.minor]) {
        *number = parse_number(part).ok_or_else(reject)?;
    }
    Ok(Comparison { operator, version, precision })
}

/// Splits off a version with or without wildcards; whether its parts are numbers is not asked.
fn split_version(text: &str) -> Option<(&str, &str)> {
    let mut end = usize::from(text.starts_with('v'));
    end += run(&text[end..], is_number_or_wildcard)?;
    for _ in 0..2 {
        match text[end..].strip_prefix('.').and_then(|part| run(part, is_number_or_wildcard)) {
            Some(length) => end += 1 + length,
            None => break,
        }
    }
    for sign in ['-', '+'] {
        let Some(mut length) = text[end..].strip_prefix(sign).and_then(|part| run(part, is_identifier))
        else {
            continue;
        };
        end += 1;
        loop {
            end += length;
            match text[end..].strip_prefix('.').and_then(|part| run(part, is_identifier)) {
                Some(next) => {
                    end += 1;
                    length = next;
                }
                None => break,
            }
        }
    }
    Some(text.split_at(end))
}

/// The length of the run of such characters at the start; none if there is none.
fn run(text: &str, belongs: fn(char) -> bool) -> Option<usize> {
    Some(text.find(|c| !belongs(c)).unwrap_or(text.len())).filter(|length| *length > 0)
}

/// The bar counts, as in Go's library: `1||2 - 3` has a range that begins with `1||2`.
fn is_number_or_wildcard(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, 'x' | 'X' | '*' | '|')
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}
