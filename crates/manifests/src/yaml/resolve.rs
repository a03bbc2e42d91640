//! What a plain scalar means: the resolvers of go-yaml v3 (objects) and v2 (settings, and what is printed).

use super::Dialect;
use super::node::PlainKind;
use super::number::{parse_float, parse_integer};

/// The meaning of a plain scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Literal text.
    Text,
    /// `null`, `~` or nothing.
    Null,
    /// A boolean, a number, or a date or time.
    Plain(PlainKind),
    /// An infinity or not-a-number, which no JSON holds.
    NotFinite,
    /// The merge key `<<`.
    Merge,
}

/// What a plain scalar means in a dialect.
pub fn resolve(text: &str, dialect: Dialect) -> Scalar {
    let Some(&first) = text.as_bytes().first() else {
        return Scalar::Null;
    };
    match first {
        b'<' if text == "<<" => Scalar::Merge,
        b'0'..=b'9' | b'+' | b'-' | b'.' => number_or_time(text, first),
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(text, dialect),
        _ => Scalar::Text,
    }
}

fn word(text: &str, dialect: Dialect) -> Scalar {
    const LONGEST: usize = "false".len();
    if text.len() > LONGEST {
        return Scalar::Text;
    }
    match (dialect, text) {
        (_, "~" | "null" | "Null" | "NULL") => Scalar::Null,
        (_, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
        | (
            Dialect::Settings,
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off"
            | "Off" | "OFF",
        ) => Scalar::Plain(PlainKind::Bool),
        (Dialect::Settings | Dialect::Objects, _) => Scalar::Text,
    }
}

fn number_or_time(text: &str, first: u8) -> Scalar {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Scalar::NotFinite;
    }
    if first != b'.' {
        if time_text(text).is_some() {
            return Scalar::Plain(PlainKind::Time);
        }
        if parse_integer(text).is_some() {
            return Scalar::Plain(PlainKind::Integer);
        }
    }
    if parse_float(text).is_some() { Scalar::Plain(PlainKind::Float) } else { Scalar::Text }
}

/// A date, or a date with a time, in RFC 3339. The four layouts of go-yaml: `2006-1-2`, the same with
/// `T15:4:5.999Z07:00`, with `t` instead of `T`, and with a space and without a zone.
pub(super) fn time_text(text: &str) -> Option<String> {
    let mut rest = text;
    let year = digits(&mut rest, 4, 4)?;
    let month = after(&mut rest, "-").and_then(|()| digits(&mut rest, 1, 2))?;
    let day = after(&mut rest, "-").and_then(|()| digits(&mut rest, 1, 2))?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let has_zone = !rest.starts_with(' ');
    if has_zone && !rest.starts_with(['T', 't']) {
        return None;
    }
    rest = &rest[1..];
    let hour = digits(&mut rest, 1, 2)?;
    let minute = after(&mut rest, ":").and_then(|()| digits(&mut rest, 1, 2))?;
    let second = after(&mut rest, ":").and_then(|()| digits(&mut rest, 1, 2))?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = fraction(&mut rest);
    let zone = if has_zone { zone(rest)? } else { rest.is_empty().then_some("Z")? };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"))
}

fn digits(rest: &mut &str, least: usize, most: usize) -> Option<u32> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    let number = rest[..count].parse().ok()?;
    *rest = &rest[count..];
    Some(number)
}

fn after(rest: &mut &str, mark: &str) -> Option<()> {
    *rest = rest.strip_prefix(mark)?;
    Some(())
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// A fraction of a second without its trailing zeros, to nanoseconds.
fn fraction(rest: &mut &str) -> String {
    const NANOSECOND_DIGITS: usize = 9;
    let Some(tail) = rest.strip_prefix(['.', ',']) else {
        return String::new();
    };
    let count = tail.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 {
        return String::new();
    }
    let kept = tail[..count.min(NANOSECOND_DIGITS)].trim_end_matches('0');
    *rest = &tail[count..];
    if kept.is_empty() { String::new() } else { format!(".{kept}") }
}

fn zone(text: &str) -> Option<&str> {
    if text == "Z" || text == "+00:00" || text == "-00:00" {
        return Some("Z");
    }
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 6
        && matches!(bytes[0], b'+' | b'-')
        && bytes[3] == b':'
        && [1, 2, 4, 5].iter().all(|&index| bytes[index].is_ascii_digit());
    shaped.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, objects: Scalar, settings: Scalar) {
        assert_eq!(resolve(text, Dialect::Objects), objects, "{text} in objects");
        assert_eq!(resolve(text, Dialect::Settings), settings, "{text} in settings");
    }

    const BOOL: Scalar = Scalar::Plain(PlainKind::Bool);
    const INTEGER: Scalar = Scalar::Plain(PlainKind::Integer);
    const FLOAT: Scalar = Scalar::Plain(PlainKind::Float);

    #[test]
    fn old_booleans_are_text_in_objects_and_true_in_settings() {
        check("yes", Scalar::Text, BOOL);
        check("Off", Scalar::Text, BOOL);
        check("true", BOOL, BOOL);
        check("yEs", Scalar::Text, Scalar::Text);
    }

    #[test]
    fn dates_become_times() {
        for (text, expect) in [
            ("2020-01-02", "2020-01-02T00:00:00Z"),
            ("2020-1-2", "2020-01-02T00:00:00Z"),
            ("2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43.1-05:00"),
            ("2001-12-14 21:59:43.10", "2001-12-14T21:59:43.1Z"),
            ("2001-12-14T21:59:43Z", "2001-12-14T21:59:43Z"),
        ] {
            assert_eq!(time_text(text).as_deref(), Some(expect));
            assert_eq!(resolve(text, Dialect::Objects), Scalar::Plain(PlainKind::Time));
        }
        for text in ["2020-13-01", "2021-02-29", "2020-01-02T", "20-01-02", "2001-12-14T21:59:43"] {
            assert_eq!(resolve(text, Dialect::Objects), Scalar::Text, "{text}");
        }
    }

    #[test]
    fn words_numbers_and_marks_are_distinguished() {
        check("", Scalar::Null, Scalar::Null);
        check("~", Scalar::Null, Scalar::Null);
        check("1e3", FLOAT, FLOAT);
        check(".5", FLOAT, FLOAT);
        check("089", FLOAT, FLOAT);
        check("0x1F", INTEGER, INTEGER);
        check("18446744073709551616", FLOAT, FLOAT);
        check("-.inf", Scalar::NotFinite, Scalar::NotFinite);
        check("<<", Scalar::Merge, Scalar::Merge);
        check("1e400", Scalar::Text, Scalar::Text);
        check("v1", Scalar::Text, Scalar::Text);
        check("12:30:45", Scalar::Text, Scalar::Text);
    }
}
