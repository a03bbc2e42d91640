//! What a backslash means: a set of characters or one character.

use super::{PatternError, Text};

/// The set that an escape at this place stands for, written so that it can stand inside a class; none where the text
/// holds no such escape. `\d`, `\s` and `\w` are ASCII in Go.
pub fn set(text: &mut Text<'_>) -> Result<Option<String>, PatternError> {
    let ascii = [
        ("\\d", "0-9"),
        ("\\D", "[^0-9]"),
        ("\\s", "\\t\\n\\f\\r\\x20"),
        ("\\S", "[^\\t\\n\\f\\r\\x20]"),
        ("\\w", "0-9A-Za-z_"),
        ("\\W", "[^0-9A-Za-z_]"),
    ];
    if let Some((_, ours)) = ascii.iter().find(|(go, _)| text.rest().starts_with(go)) {
        text.take(2);
        return Ok(Some((*ours).to_owned()));
    }
    let negated = match text.rest() {
        rest if rest.starts_with("\\p") => false,
        rest if rest.starts_with("\\P") => true,
        _ => return Ok(None),
    };
    let (name, len) =
        unicode_name(&text.rest()[2..]).ok_or_else(|| text.fail("Unicode class without a name"))?;
    let inverse = name.starts_with('^');
    let letter = if negated == inverse { 'p' } else { 'P' };
    text.take(2 + len);
    Ok(Some(format!("\\{letter}{{{}}}", name.trim_start_matches('^'))))
}

/// The name after `\p`: one letter, or a name in braces.
fn unicode_name(text: &str) -> Option<(&str, usize)> {
    let (name, len) = if let Some(inside) = text.strip_prefix('{') {
        inside.split_once('}').map(|(name, _)| (name, name.len() + 2))?
    } else {
        let first = text.chars().next()?.len_utf8();
        (&text[..first], first)
    };
    let bare = name.strip_prefix('^').unwrap_or(name);
    let is_name = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, len))
}

/// The character that the escape at this place stands for.
pub fn character(text: &mut Text<'_>) -> Result<char, PatternError> {
    let start = text.at;
    let unknown = || PatternError::Syntax { at: start, what: "escape that is not known".to_owned() };
    text.take(1);
    let escaped = text.next().ok_or_else(unknown)?;
    match escaped {
        'a' => Ok('\u{7}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        'x' => hexadecimal(text).ok_or_else(unknown),
        '0'..='7' => octal(text, escaped).ok_or_else(unknown),
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => Ok(other),
        _ => Err(unknown()),
    }
}

/// `\x41` or `\x{1F600}`.
fn hexadecimal(text: &mut Text<'_>) -> Option<char> {
    let (digits, len) = match text.rest().strip_prefix('{') {
        Some(inside) => inside.split_once('}').map(|(digits, _)| (digits, digits.len() + 2))?,
        None => (text.rest().get(..2)?, 2),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let code = u32::from_str_radix(digits, 16).ok()?;
    text.take(len);
    char::from_u32(code)
}

/// `\0`, or up to three octal digits. One digit from 1 to 7 alone would be a reference back, which does not exist.
fn octal(text: &mut Text<'_>, first: char) -> Option<char> {
    let is_octal = |c: char| c.is_digit(8);
    if first != '0' && !text.peek().is_some_and(is_octal) {
        return None;
    }
    let mut code = first.to_digit(8)?;
    for _ in 0..2 {
        let Some(digit) = text.peek().and_then(|c| c.to_digit(8)) else { break };
        code = code * 8 + digit;
        text.take(1);
    }
    char::from_u32(code)
}
