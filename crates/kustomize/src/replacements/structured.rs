//! Values inside texts: JSON or YAML in a string of an object.

use std::fmt::Write;

use plumb_manifests::yaml::{self, Dialect, Map, Node, Plain, PlainKind};
use serde_json::Value;

use super::change::is_odd;
use super::styled::{Content, Item, Style, Styled, StyledText};
use super::styled_print;
use crate::error::BuildError;

/// So many maps and lists may be inside each other in a text that is written again.
pub(super) const TEXT_DEPTH_MAX: usize = 100;

/// A value that a text holds.
pub(super) struct Inner {
    node: Node,
    form: Form,
}

enum Form {
    Compact,
    Indented,
    /// The value as it was, and the text in its own style.
    Yaml(Node, Box<StyledText>),
    /// JSON with a repeated key, which is not written again.
    Unwritable,
}

impl Inner {
    /// Reads the value; none if the text is only a text.
    pub(super) fn parse(text: &str, limits: &yaml::Limits) -> Result<Option<Self>, BuildError> {
        let (documents, is_strict) = match yaml::parse(text, limits) {
            Ok(documents) => (documents, true),
            // Keys that are numbers, or are there twice, do not matter inside a text.
            Err(error) => match yaml::parse_as(text, Dialect::Settings, limits) {
                Ok(documents) => (documents, false),
                Err(_) => return Err(BuildError::invalid(error.message)),
            },
        };
        let node = documents.into_iter().map(|document| document.node).find(|node| !node.is_null());
        let Some(node) = node.filter(|node| !node.is_scalar()) else {
            return Ok(None);
        };
        let is_json = text.trim_start().starts_with(['{', '[']);
        let form = if !is_json {
            let styled = StyledText::parse(text, TEXT_DEPTH_MAX).ok_or_else(|| {
                let message =
                    format!("a text holds more than {TEXT_DEPTH_MAX} maps and lists inside each other");
                BuildError::over_limit(message)
            })?;
            Form::Yaml(node.clone(), Box::new(styled))
        } else if !is_strict {
            Form::Unwritable
        } else if text.contains('\n') && text.contains("  ") {
            Form::Indented
        } else {
            Form::Compact
        };
        Ok(Some(Self { node, form }))
    }

    pub(super) fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// The changed text; none if it cannot be written.
    pub(super) fn write(self) -> Result<Option<String>, BuildError> {
        Ok(match self.form {
            Form::Unwritable => None,
            Form::Compact | Form::Indented if has_odd(&self.node) => None,
            Form::Compact => Some(json(&self.node.to_json(), None)),
            Form::Indented => Some(json(&self.node.to_json(), Some(0))),
            Form::Yaml(old, mut text) => {
                update(&mut text.root, &old, &self.node).ok_or_else(|| {
                    let message =
                        "the value comes from an alias or a merge key: change it where it is defined";
                    BuildError::invalid(message)
                })?;
                Some(styled_print::print(&text))
            }
        })
    }
}

/// Puts what has changed between two values into the styled one; none if that has no place there. The depth of values
/// is limited, and so is this recursion.
fn update(styled: &mut Styled, old: &Node, new: &Node) -> Option<()> {
    if old == new {
        return Some(());
    }
    match (&mut styled.content, old, new) {
        (Content::Map(items, _), Node::Object(old), Node::Object(new)) => update_map(items, old, new),
        (Content::List(items, _), Node::Array(old), Node::Array(new)) => {
            for (index, node) in new.iter().enumerate() {
                match (items.get_mut(index), old.get(index)) {
                    (Some(item), Some(old)) => update(&mut item.value, old, node)?,
                    _ => items.push(item(None, node)),
                }
            }
            Some(())
        }
        (Content::Scalar(text, style), old, new) if new.is_scalar() => {
            let written = written(new, *style);
            styled.tag =
                written.tag.or(if old.is_string() == new.is_string() { styled.tag.take() } else { None });
            if let Content::Scalar(new, style_of_new) = written.content {
                (*text, *style) = (new, style_of_new);
            }
            Some(())
        }
        // The value of an alias is changed where it is defined.
        (Content::Alias(_), _, new) if !new.is_scalar() => None,
        (_, _, new) => {
            *styled = if new.is_scalar() { written(new, Style::Plain) } else { Styled::from_node(new) };
            Some(())
        }
    }
}

fn update_map(items: &mut Vec<Item>, old: &Map, new: &Map) -> Option<()> {
    for (key, node) in new.iter().filter(|(key, node)| old.get(key) != Some(*node)) {
        let is_own = |item: &&mut Item| {
            item.key
                .as_ref()
                .is_some_and(|own| matches!(&own.content, Content::Scalar(text, _) if text == key))
        };
        match (items.iter_mut().find(is_own), old.get(key)) {
            (Some(item), Some(old)) => update(&mut item.value, old, node)?,
            // It is from a merge key.
            (None, Some(_)) => return None,
            (_, None) => items.push(item(Some(key), node)),
        }
    }
    Some(())
}

fn item(key: Option<&str>, node: &Node) -> Item {
    let value = if node.is_scalar() { written(node, Style::Plain) } else { Styled::from_node(node) };
    let key = key.map(|key| Styled::scalar(key, Style::Plain));
    Item { head: Vec::new(), key, value, foot: Vec::new() }
}

/// A scalar in the style of the one that it replaces, if it can be written in it.
fn written(node: &Node, style: Style) -> Styled {
    let text = node.scalar().unwrap_or_default();
    match node {
        Node::String(_) if style == Style::Plain && styled_print::means_something(text) => {
            Styled::scalar(text, Style::Double)
        }
        Node::Plain(Plain { kind, .. }) if is_odd(node) => {
            let tag = match kind {
                PlainKind::Bool => "!!bool",
                PlainKind::Integer => "!!int",
                PlainKind::Float => "!!float",
                PlainKind::Time => "!!timestamp",
            };
            Styled { tag: Some(tag.to_owned()), ..Styled::scalar(text, Style::Plain) }
        }
        _ => Styled::scalar(text, style),
    }
}

fn has_odd(node: &Node) -> bool {
    match node {
        Node::Array(items) => items.iter().any(has_odd),
        Node::Object(map) => map.values().any(has_odd),
        scalar => is_odd(scalar),
    }
}

/// JSON as Go writes it: keys in the order of their bytes, `<`, `>` and `&` escaped; indented by two if a depth is
/// given. The depth of values is limited, and so is this recursion.
fn json(value: &Value, depth: Option<usize>) -> String {
    let mut out = String::new();
    write_json(value, depth, &mut out);
    out
}

fn write_json(value: &Value, depth: Option<usize>, out: &mut String) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                begin_item(index, depth, out);
                write_json(item, depth.map(|depth| depth + 1), out);
            }
            line(depth, out);
            out.push(']');
        }
        Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                begin_item(index, depth, out);
                quote(key, out);
                out.push_str(if depth.is_some() { ": " } else { ":" });
                write_json(&map[key], depth.map(|depth| depth + 1), out);
            }
            line(depth, out);
            out.push('}');
        }
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(text) => quote(text, out),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::Bool(_) | Value::Null => out.push_str(&value.to_string()),
    }
}

fn begin_item(index: usize, depth: Option<usize>, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
    line(depth.map(|depth| depth + 1), out);
}

fn line(depth: Option<usize>, out: &mut String) {
    if let Some(depth) = depth {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn quote(text: &str, out: &mut String) {
    for c in Value::from(text).to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let written = write!(out, "\\u{:04x}", u32::from(c));
                debug_assert!(written.is_ok(), "writing to a String does not fail");
            }
            c => out.push(c),
        }
    }
}

/// A number as Go's JSON has it: an exponent below 1e-6 and from 1e21 on.
fn number_text(number: &serde_json::Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let size = float.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{float:e}");
        return match text.split_once('e') {
            Some((mantissa, exponent)) if !exponent.starts_with('-') => format!("{mantissa}e+{exponent}"),
            _ => text,
        };
    }
    format!("{float}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts a text into the field `x`, at any position.
    fn put(node: &mut Node) {
        match node {
            Node::Object(map) => {
                for (key, value) in map.iter_mut() {
                    match (key, &mut *value) {
                        ("x", Node::Plain(plain)) => plain.text = "new".into(),
                        ("x", field) if field.is_scalar() => *field = "new".into(),
                        (_, inner) => put(inner),
                    }
                }
            }
            Node::Array(items) => items.iter_mut().for_each(put),
            Node::Null(_) | Node::Plain(_) | Node::String(_) => {}
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let mut inner = Inner::parse(text, &yaml::Limits::default()).unwrap().unwrap();
        put(inner.node_mut());
        assert_eq!(inner.write().unwrap().as_deref(), Some(expect), "{text}");
    }

    #[test]
    fn json_is_written_in_gos_way_compact_or_indented() {
        check(r#"{"x": "old", "a": "<&>"}"#, r#"{"a":"\u003c\u0026\u003e","x":"new"}"#);
        check(
            r#"{"x": "old", "a": [1.0, 1e3, 1e30, 12345678901234567890]}"#,
            r#"{"a":[1,1000,1e+30,12345678901234567890],"x":"new"}"#,
        );
        check(
            "{\n    \"x\": \"old\",\n    \"a\": [], \"b\": {\"c\": [1]}\n}\n",
            "{\n  \"a\": [],\n  \"b\": {\n    \"c\": [\n      1\n    ]\n  },\n  \"x\": \"new\"\n}",
        );
        check("{\n\"x\": \"old\"\n}", r#"{"x":"new"}"#);
        check("{x: old, a: [y]}", r#"{"a":["y"],"x":"new"}"#);
    }

    #[test]
    fn json_that_would_lose_something_is_not_written() {
        for text in [r#"{"x": 1}"#, r#"{"x": "a", "x": "b"}"#] {
            let mut inner = Inner::parse(text, &yaml::Limits::default()).unwrap().unwrap();
            put(inner.node_mut());
            assert_eq!(inner.write(), Ok(None), "{text}");
        }
    }

    #[test]
    fn yaml_keeps_order_styles_and_tags() {
        check("b: 'q'\nx: old\na: \"1\"\n", "b: 'q'\nx: new\na: \"1\"");
        check("x: 'old'", "x: 'new'");
        check("x: 1", "x: !!int new");
        check("a: {x: old, l: [y, 'z']}\nb: [{x: old}]", "a: {x: new, l: [y, 'z']}\nb: [{x: new}]");
        check(
            "a:\n    b: ~\n    c:\n    x: |\n      old\nl:\n  - x: old\n    y: |\n        t\n",
            "a:\n  b: ~\n  c:\n  x: |-\n    new\nl:\n- x: new\n  y: |\n    t",
        );
        check(
            "a: &n {k: v}\nb: *n\nc:\n  <<: *n\nx: old",
            "a: &n {k: v}\nb: *n\nc:\n  !!merge <<: *n\nx: new",
        );
    }

    #[test]
    fn yaml_keeps_comments() {
        check(
            "# head\n\n# a head\na: 1 # line a\n# x head\nx: old # line x\n# foot x\n\n# last\n",
            "# head\n\n# a head\na: 1 # line a\n# x head\nx: new # line x\n# foot x\n\n# last",
        );
        check(
            "a: # on key\n  # c1\n  x: old\n\n  # foot\nc: '# none'\n",
            "a: # on key\n  # c1\n  x: new\n  # foot\nc: '# none'",
        );
        check(
            "x: old\n# foot\n\nb: 1\n\n# c foot\n\n# c head\nc: 1",
            "x: new\n# foot\n\nb: 1\n# c foot\n\n# c head\nc: 1",
        );
    }

    #[test]
    fn yaml_keeps_comments_in_odd_places() {
        check("a:\n- # c\n  x: old\n-\n  # c2\n  x: old\n", "a:\n- # c\n  x: new\n- # c2\n  x: new");
        check("a: | # cmt\n  t # none\nx: old\n", "a: | # cmt\n  t # none\nx: new");
        check("a:\n  # none\n\nx: old\n\n  # deep\n\ny: 1", "a:\n# none\nx: new\n# deep\ny: 1");
        check("- x: old\n  # end\n# last\n", "- x: new\n  # end\n\n# last");
    }

    #[test]
    fn deep_and_long_texts_are_preserved_too() {
        let deep = (0..90).fold(String::new(), |text, level| text + &" ".repeat(2 * level) + "a:\n");
        let deep = format!("{deep}{}x: old", " ".repeat(180));
        check(&deep, &deep.replace("old", "new"));
        let flow = format!("a: {}{}\nx: old", "[".repeat(90), "]".repeat(90));
        check(&flow, &flow.replace("old", "new"));
        let long = "# c\n\n- 1 # d\n".repeat(20_000) + "- x: old";
        let mut inner = Inner::parse(&long, &yaml::Limits::default()).unwrap().unwrap();
        put(inner.node_mut());
        assert!(inner.write().unwrap().unwrap().ends_with("- x: new"));
    }

    #[test]
    fn texts_that_are_too_deep_are_rejected() {
        for text in [format!("a: {}{}", "[".repeat(400), "]".repeat(400)), "- ".repeat(400) + "x: old"] {
            let error = Inner::parse(&text, &yaml::Limits::default()).err().unwrap().to_string();
            assert_eq!(error, "a text holds more than 100 maps and lists inside each other");
        }
    }

    #[test]
    fn what_is_only_a_text_is_none() {
        for text in ["plain", "5", "~", "", "# c"] {
            assert!(Inner::parse(text, &yaml::Limits::default()).unwrap().is_none(), "{text}");
        }
        assert!(Inner::parse("a: [", &yaml::Limits::default()).is_err());
        assert!(Inner::parse(&"[".repeat(100_000), &yaml::Limits::default()).is_err());
    }

    #[test]
    fn what_comes_from_an_alias_is_changed_where_it_is_defined() {
        let mut inner =
            Inner::parse("a: &n {x: old}\nb:\n  <<: *n\n", &yaml::Limits::default()).unwrap().unwrap();
        put(inner.node_mut());
        assert!(inner.write().unwrap_err().to_string().contains("alias"));
    }
}
