//! Classes in brackets. In Go a bracket, `&&`, `--` or `~~` inside a class means itself.

use super::{PatternError, Text, escape, push_literal};

/// The POSIX names that both dialects know.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Translates the class that the text stands at.
pub fn class(text: &mut Text<'_>) -> Result<(), PatternError> {
    text.take(1);
    text.out.push('[');
    if text.peek() == Some('^') {
        text.copy();
    }
    let mut first = true;
    loop {
        match text.peek() {
            None => return Err(text.fail("class without an end")),
            Some(']') if !first => {
                text.copy();
                return Ok(());
            }
            Some(_) => item(text)?,
        }
        first = false;
    }
}

fn item(text: &mut Text<'_>) -> Result<(), PatternError> {
    if posix(text)? {
        return Ok(());
    }
    match escape::set(text)? {
        Some(set) => text.out.push_str(&set),
        None => range(text)?,
    }
    Ok(())
}

/// A named class such as `[:alpha:]`, if there is one here.
fn posix(text: &mut Text<'_>) -> Result<bool, PatternError> {
    let Some((name, _)) = text.rest().strip_prefix("[:").and_then(|inside| inside.split_once(":]")) else {
        return Ok(false);
    };
    if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Err(text.fail("named class that is not known"));
    }
    let len = name.len() + 4;
    text.out.push_str(&text.rest()[..len]);
    text.take(len);
    Ok(true)
}

/// A character, or a range of them.
fn range(text: &mut Text<'_>) -> Result<(), PatternError> {
    let low = character(text)?;
    push_literal(&mut text.out, low);
    let mut ahead = text.rest().chars();
    if ahead.next() == Some('-') && ahead.next().is_some_and(|next| next != ']') {
        text.take(1);
        let high = character(text)?;
        if high < low {
            return Err(text.fail("range that runs backwards"));
        }
        text.out.push('-');
        push_literal(&mut text.out, high);
    }
    Ok(())
}

fn character(text: &mut Text<'_>) -> Result<char, PatternError> {
    match text.peek() {
        Some('\\') => escape::character(text),
        _ => text.next().ok_or_else(|| text.fail("class without an end")),
    }
}
