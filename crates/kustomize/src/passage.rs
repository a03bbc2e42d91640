//! The round trips at the end of kustomize: it writes each object and reads it again, twice, with two
//! libraries, and values that they treat differently change or are rejected.

use plumb_manifests::yaml::{Map, Node, Null, Str};

use crate::error::BuildError;

/// What happened to an object that is hardly meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refolded {
    /// The key of the text, or of the list that contains it.
    pub key: String,
}

/// The first time: base64 is decoded, folded texts change their line breaks, and nothing between brackets becomes an empty text. The
/// nesting is limited by the reader, and so is this recursion.
pub(crate) fn rewrite(node: &mut Node) -> Option<Refolded> {
    rewrite_below(node, "")
}

fn rewrite_below(node: &mut Node, key: &str) -> Option<Refolded> {
    match node {
        Node::String(text) if text.is_binary => {
            *text = Str::new(text.meaning(), text.is_quoted);
            None
        }
        Node::String(text) if text.is_folded => {
            text.is_folded = false;
            let new = refolded(text);
            let is_changed = new != text.text;
            text.text = new.into();
            is_changed.then(|| Refolded { key: key.to_owned() })
        }
        Node::Null(Null::FlowEmpty) => {
            *node = Node::quoted("");
            None
        }
        Node::Array(items) => items.iter_mut().fold(None, |found, item| rewrite_below(item, key).or(found)),
        Node::Object(map) => {
            map.iter_mut().fold(None, |found, (key, value)| rewrite_below(value, key).or(found))
        }
        Node::Null(_) | Node::Plain(_) | Node::String(_) => None,
    }
}

/// A folded text as go-yaml writes it and reads it again. After a line that does not begin with a blank it writes an
/// empty line, which is lost in front of another such line and stays everywhere else.
fn refolded(text: &str) -> String {
    let content = text.trim_end_matches('\n');
    let has_trailing_space = text.ends_with(' ') || text.contains(" \n");
    if content.is_empty() || has_trailing_space || !text.contains('\n') {
        return text.to_owned();
    }
    // The library looks at the first character of the whole text where it means the next line's.
    let adds = !content.trim_start_matches('\n').starts_with([' ', '\t']);
    let mut out = String::with_capacity(text.len() + 1);
    // Text before the first line counts as indented.
    let mut is_last_indented = true;
    let mut breaks = 0_usize;
    for (index, line) in content.split('\n').enumerate() {
        breaks += usize::from(index > 0);
        if line.is_empty() {
            continue;
        }
        let is_indented = line.starts_with([' ', '\t']);
        let is_first = out.is_empty() && breaks == index && is_last_indented;
        let written = breaks + usize::from(adds && !is_last_indented);
        match written {
            _ if is_first || is_last_indented || is_indented => push_breaks(&mut out, written),
            0 => {}
            1 => out.push(' '),
            _ => push_breaks(&mut out, written - 1),
        }
        out.push_str(line);
        (is_last_indented, breaks) = (is_indented, 0);
    }
    match text.len() - content.len() {
        0 | 1 => out.push_str(&text[content.len()..]),
        kept => push_breaks(&mut out, kept + usize::from(adds && !is_last_indented)),
    }
    out
}

fn push_breaks(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n('\n', count));
}

/// What is left of a value that is JSON in between: numbers and times are formatted again, and all texts are quoted.
pub(crate) fn through_json(node: &Node) -> Result<Node, BuildError> {
    check_finite(node)?;
    let mut read = Node::from(node.to_json());
    quote(&mut read);
    Ok(read)
}

/// Rejects numbers that JSON does not have.
pub(crate) fn check_finite(node: &Node) -> Result<(), BuildError> {
    match node {
        Node::Plain(plain) if !plain.is_finite() => {
            Err(BuildError::invalid(format!("json: unsupported value: {}", plain.text)))
        }
        Node::Array(items) => items.iter().try_for_each(check_finite),
        Node::Object(map) => map.values().try_for_each(check_finite),
        Node::Null(_) | Node::Plain(_) | Node::String(_) => Ok(()),
    }
}

fn quote(node: &mut Node) {
    match node {
        Node::Array(items) => items.iter_mut().for_each(quote),
        Node::Object(map) => map.values_mut().for_each(quote),
        Node::String(text) => text.is_quoted = true,
        Node::Null(_) | Node::Plain(_) => {}
    }
}

/// The second time: line breaks of old fold as others do in quotes, and what JSON or YAML cannot represent is rejected.
pub(crate) fn print(node: &mut Node) -> Result<(), BuildError> {
    match node {
        Node::String(text) if is_odd(text) => {
            check_characters(text)?;
            text.text = folded(text).into();
            Ok(())
        }
        Node::Plain(_) => check_finite(node),
        Node::Array(items) => items.iter_mut().try_for_each(print),
        Node::Object(map) => print_map(map),
        Node::Null(_) | Node::String(_) => Ok(()),
    }
}

fn print_map(map: &mut Map) -> Result<(), BuildError> {
    for (key, value) in map.iter_mut() {
        if is_odd(key) {
            check_characters(key)?;
            if key.contains(NEXT_LINE) {
                return Err(BuildError::invalid(format!("key {key:?} has a line break in it")));
            }
        }
        print(value).map_err(|error| error.while_doing(format!("field {key:?}")))?;
    }
    Ok(())
}

/// A line break for YAML that JSON does not escape.
const NEXT_LINE: char = '\u{85}';

/// Whether a text may hold one of the characters that are looked for: most have none of their first bytes.
fn is_odd(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | matches!(byte, 0x7f | 0xc2 | 0xef))
}

fn check_characters(text: &str) -> Result<(), BuildError> {
    let is_rejected =
        |c: char| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}');
    match text.chars().find(|&c| is_rejected(c)) {
        Some(c) => {
            Err(BuildError::invalid(format!("control characters are not allowed: U+{:04X}", u32::from(c))))
        }
        None => Ok(()),
    }
}

/// A text in double quotes in which a NEL is a line break: blanks around it are lost, a single one is a blank, and of
/// several the first is lost.
fn folded(text: &str) -> String {
    if !text.contains(NEXT_LINE) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find([' ', NEXT_LINE]) {
        let (before, from) = rest.split_at(start);
        let after = from.trim_start_matches([' ', NEXT_LINE]);
        let run = &from[..from.len() - after.len()];
        out.push_str(before);
        match run.matches(NEXT_LINE).count() {
            0 => out.push_str(run),
            1 => out.push(' '),
            breaks => push_breaks(&mut out, breaks - 1),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use plumb_manifests::yaml::{Plain, PlainKind, Text};

    use super::*;

    #[track_caller]
    fn check_refolded(text: &str, expect: &str) {
        assert_eq!(refolded(text), expect, "{text:?}");
    }

    #[test]
    fn a_folded_text_gains_a_line_break_in_front_of_an_indented_line() {
        check_refolded("a\nb\n", "a\nb\n");
        check_refolded("a\n  b", "a\n\n  b");
        check_refolded("a\n\n  b\n", "a\n\n\n  b\n");
        check_refolded("a\n  b\nc\n  d\n", "a\n\n  b\nc\n\n  d\n");
        check_refolded("a b\n", "a b\n");
        check_refolded("a\n\n", "a\n\n\n");
        check_refolded("a\n  b\n\n", "a\n\n  b\n\n");
    }

    #[test]
    fn a_folded_text_that_begins_with_a_blank_loses_line_breaks() {
        check_refolded(" a\nb\nc\n\nd\n", " a\nb c\nd\n");
    }

    #[test]
    fn a_folded_text_with_a_blank_before_a_line_break_is_written_in_quotes() {
        check_refolded("a \n  b\n", "a \n  b\n");
    }

    #[test]
    fn line_breaks_of_old_fold() {
        for (text, expect) in [
            ("x\u{85}y", "x y"),
            ("x \u{85} y", "x y"),
            ("x\u{85}\u{85}y", "x\ny"),
            ("x \u{2028} y", "x \u{2028} y"),
            ("x\u{85}", "x "),
            ("a  b", "a  b"),
        ] {
            assert_eq!(folded(text), expect, "{text:?}");
        }
    }

    #[test]
    fn a_field_that_cannot_be_written_is_rejected_by_name() {
        let reject = |value: Node| {
            let mut node = Node::Object(Map::from_iter([(Text::from("a"), value)]));
            print(&mut node).unwrap_err().to_string()
        };
        assert_eq!(reject(Node::text("x\u{7f}")), "field \"a\": control characters are not allowed: U+007F");
        let infinite = Plain::new(PlainKind::Float, ".inf");
        assert_eq!(reject(Node::Plain(infinite)), "field \"a\": json: unsupported value: .inf");
    }
}
