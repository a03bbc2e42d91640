//! How a text may be written: plain, in single quotes, as a literal block, or only in double quotes.

use super::Dialect;
use super::resolve::{Scalar, resolve};

/// The ways of writing a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// What rules out each style.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is found on its own while the text is read once")]
struct Traits {
    has_breaks: bool,
    has_special: bool,
    has_indicators: bool,
    edge_blank: bool,
    ends_with_space: bool,
    space_after_break: bool,
    break_after_space: bool,
}

/// Whether a text is printed without quotes and on one line.
pub fn is_plain(text: &str) -> bool {
    style(text, false) == Style::Plain
}

/// The style of a value, or of a key, which must stay on one line.
pub(super) fn style(text: &str, is_key: bool) -> Style {
    if is_simple(text) {
        return Style::Plain;
    }
    let wanted = if text.contains('\n') {
        Style::Literal
    } else if reads_back_as_text(text) {
        Style::Plain
    } else {
        Style::Double
    };
    let traits = traits(text);
    let only_double = traits.has_special || traits.break_after_space;
    let single_works = !(only_double || traits.space_after_break || is_key && traits.has_breaks);
    match wanted {
        Style::Literal if is_key || only_double || traits.ends_with_space => Style::Double,
        Style::Plain if may_be_plain(&traits) => Style::Plain,
        Style::Plain if single_works => Style::Single,
        Style::Plain => Style::Double,
        other @ (Style::Literal | Style::Double | Style::Single) => other,
    }
}

/// Whether a text is plain without further checks, as most are: a letter, then what is never special, and no word or number of
/// YAML.
fn is_simple(text: &str) -> bool {
    /// The longest word that means something else: `false`.
    const WORD_BYTES_MAX: usize = 5;
    let bytes = text.as_bytes();
    let is_harmless = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_');
    bytes.len() > WORD_BYTES_MAX && bytes[0].is_ascii_alphabetic() && bytes.iter().all(is_harmless)
}

fn may_be_plain(traits: &Traits) -> bool {
    !(traits.has_breaks
        || traits.has_special
        || traits.has_indicators
        || traits.edge_blank
        || traits.space_after_break
        || traits.break_after_space)
}

fn reads_back_as_text(text: &str) -> bool {
    let meaning = resolve(text, Dialect::Settings);
    matches!(meaning, Scalar::Text | Scalar::Merge) && !is_base_60(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`: what YAML 1.1 took for a number to the base 60.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let Some((first, rest)) = unsigned.split_once(':') else {
        return false;
    };
    let (rest, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let digits_or_underscores = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    first.bytes().next().is_some_and(|b| b.is_ascii_digit())
        && digits_or_underscores(first)
        && digits_or_underscores(fraction)
        && rest.split(':').all(|part| match part.as_bytes() {
            [one] => one.is_ascii_digit(),
            [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
            _ => false,
        })
}

fn traits(text: &str) -> Traits {
    let mut traits = Traits {
        has_indicators: text.starts_with("---") || text.starts_with("..."),
        ends_with_space: text.ends_with(' '),
        ..Traits::default()
    };
    traits.edge_blank =
        text.starts_with(|c| c == ' ' || is_break(c)) || text.ends_with(|c| c == ' ' || is_break(c));
    let mut previous = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let follows_blank = previous.is_none_or(is_blank);
        let precedes_blank = characters.peek().is_none_or(|&next| is_blank(next));
        traits.has_indicators |= is_indicator(c, previous.is_none(), follows_blank, precedes_blank);
        traits.has_special |= !is_printable(c);
        traits.has_breaks |= is_break(c);
        traits.space_after_break |= c == ' ' && previous.is_some_and(is_break);
        traits.break_after_space |= is_break(c) && previous == Some(' ');
        previous = Some(c);
    }
    traits
}

fn is_indicator(c: char, is_first: bool, follows_blank: bool, precedes_blank: bool) -> bool {
    match c {
        '#' if is_first || follows_blank => true,
        ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => is_first,
        '?' | '-' => is_first && precedes_blank,
        ':' => precedes_blank,
        _ => false,
    }
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t' || c == '\0' || is_break(c)
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Printable in go-yaml v2: nothing beyond the basic plane.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expect: Style, texts: &[&str]) {
        for text in texts {
            assert_eq!(style(text, false), expect, "{text:?}");
        }
    }

    #[test]
    fn words_that_read_back_as_themselves_are_plain() {
        check(Style::Plain, &["a", "<<", "=", ".", "1e400", "a b", "a:b", "a#b", "-a", "v1.2", "\u{a0}"]);
    }

    #[test]
    fn what_yaml_1_1_takes_for_something_else_is_in_double_quotes() {
        check(
            Style::Double,
            &["yes", "N", "~", "", "1e3", "0x1F", "0o17", "1_000", "2020-01-02", "12:30:45"],
        );
        check(Style::Double, &["\t", "a\tb", "\u{1f600}", "\u{1b}", "a \n", " \n a"]);
    }

    #[test]
    fn marks_and_blanks_at_the_edges_are_in_single_quotes() {
        check(
            Style::Single,
            &["a: b", "- a", "*a", " lead", "trail ", "a #b", "a:", "#", "---", "\u{2028}a"],
        );
    }

    #[test]
    fn texts_of_several_lines_are_blocks_unless_a_line_ends_with_a_space() {
        check(Style::Literal, &["a\nb", "a\n", "\na", " a\nb"]);
        check(Style::Double, &["a \nb", "a\tb\n"]);
        assert_eq!(style("a\nb", true), Style::Double);
    }
}
