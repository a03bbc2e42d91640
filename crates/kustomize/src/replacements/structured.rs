//! Values inside texts: JSON or YAML that stands in a string of an object.

use std::collections::HashSet;

use plumb_manifests::yaml::{self, Node};
use serde_json::Value;

use super::change::{Key, is_odd};
use crate::error::BuildError;

/// A value that a text holds.
pub(super) struct Inner {
    node: Node,
    form: Form,
}

enum Form {
    Compact,
    Indented,
    Yaml(String),
}

impl Inner {
    /// Reads the value; none if the text is only a text.
    pub(super) fn parse(text: &str, limits: &yaml::Limits) -> Result<Option<Self>, BuildError> {
        let documents = yaml::parse(text, limits).map_err(|error| BuildError::invalid(error.to_string()))?;
        let node = documents.into_iter().map(|document| document.node).find(|node| !node.is_null());
        let Some(node) = node.filter(|node| !node.is_scalar()) else {
            return Ok(None);
        };
        let form = if !text.trim_start().starts_with(['{', '[']) {
            Form::Yaml(text.to_owned())
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
    pub(super) fn write(&self, _made: &HashSet<Vec<Key>>) -> Option<String> {
        match &self.form {
            Form::Compact | Form::Indented if has_odd(&self.node) => None,
            Form::Compact => Some(json(&self.node.to_json(), None)),
            Form::Indented => Some(json(&self.node.to_json(), Some(0))),
            Form::Yaml(_) => Some(yaml::to_string(&self.node).trim_end().to_owned()),
        }
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
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
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
