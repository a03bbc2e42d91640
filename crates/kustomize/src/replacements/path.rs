//! The paths of replacements: `spec.containers.[name=web].image`, `a\.b.0.*`.

use plumb_manifests::yaml::{DEPTH_MAX, Node, Text};

use crate::error::BuildError;
use crate::reordered;
use crate::resource::Resource;
use crate::selector::Pattern;

/// One part of the path of a target.
#[derive(Debug)]
pub(super) enum Step {
    Field(Text),
    Index(usize),
    /// `*`: every item of a list.
    All,
    /// `[key=pattern]`: the items whose field fits; the items themselves if the key is empty.
    Matching {
        key: Text,
        text: Text,
        pattern: Pattern,
    },
    /// Square brackets without an equals sign.
    NoPair,
}

/// A path of a target.
#[derive(Debug)]
pub(super) struct TargetPath {
    pub written: String,
    pub steps: Vec<Step>,
}

impl TargetPath {
    pub(super) fn new(path: &str) -> Result<Self, BuildError> {
        let parts = parts(path)?;
        let steps = parts.into_iter().map(step).collect::<Result<_, _>>()?;
        Ok(Self { written: path.to_owned(), steps })
    }
}

/// What an index of a path leads to, if a patch in front has put another item there.
pub(super) fn surprise(resource: &Resource, path: &str) -> Option<String> {
    if resource.reordered.is_empty() {
        return None;
    }
    let steps: Vec<String> =
        parts(path).ok()?.into_iter().take_while(|part| in_brackets(part).is_none()).collect();
    reordered::surprise(&resource.reordered, &resource.value, &steps)
}

fn step(part: String) -> Result<Step, BuildError> {
    if part == "*" {
        return Ok(Step::All);
    }
    if let Some(inner) = in_brackets(&part) {
        return match inner.split_once('=') {
            Some((key, text)) => {
                let (key, text) = (Text::from(key), Text::from(text));
                Ok(Step::Matching { key, pattern: compile(&text)?, text })
            }
            None => Ok(Step::NoPair),
        };
    }
    match part.parse::<i64>().ok().and_then(|number| usize::try_from(number).ok()) {
        Some(index) if !part.starts_with('-') => Ok(Step::Index(index)),
        _ => Ok(Step::Field(part.into())),
    }
}

fn compile(pattern: &str) -> Result<Pattern, BuildError> {
    Pattern::compile(pattern).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            BuildError::over_limit(format!("pattern {pattern:?} takes more than {limit} bytes"))
        }
        _ => BuildError::invalid(format!("error parsing regexp: {pattern:?}")),
    })
}

fn in_brackets(part: &str) -> Option<&str> {
    part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
}

/// Cuts a path at its dots. `\.` is a dot in a name, and text in square brackets is one part.
fn parts(path: &str) -> Result<Vec<String>, BuildError> {
    let mut parts: Vec<String> = Vec::new();
    let mut is_open = false;
    for piece in pieces(path) {
        match parts.last_mut() {
            Some(last) if is_open => {
                last.push('.');
                last.push_str(&piece);
                is_open = !last.ends_with(']');
                if !is_open {
                    strip_key(last);
                }
            }
            _ => {
                is_open = piece.starts_with('[') && !piece.ends_with(']');
                parts.push(piece);
            }
        }
        if parts.len() > DEPTH_MAX {
            return Err(BuildError::over_limit(format!("a field path has more than {DEPTH_MAX} parts")));
        }
    }
    if is_open && let Some(last) = parts.last_mut() {
        strip_key(last);
    }
    if parts.len() > 1 && parts.first().is_some_and(String::is_empty) {
        parts.remove(0);
    }
    Ok(parts)
}

/// Removes the brackets of a key with dots: `annotations.[example.com/a]`. Without a dot they stay, and are rejected.
fn strip_key(part: &mut String) {
    if !part.contains('=') {
        *part = part.trim_start_matches('[').trim_end_matches(']').to_owned();
    }
}

fn pieces(path: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut characters = path.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, pieces.last_mut()) {
            ('\\', Some(last)) if characters.peek() == Some(&'.') => {
                last.push('.');
                characters.next();
            }
            ('.', _) => pieces.push(String::new()),
            (_, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    pieces
}

/// The value that the path of a source leads to. Nothing, an empty list and an empty map count as missing.
pub(super) fn find<'n>(node: &'n Node, path: &str) -> Result<Option<&'n Node>, BuildError> {
    let mut at = node;
    for part in parts(path)?.iter().filter(|part| !part.is_empty()) {
        match child(at, part)? {
            Some(node) if !node.is_null() => at = node,
            _ => return Ok(None),
        }
    }
    let is_empty = match at {
        Node::Null(_) => true,
        Node::Array(items) => items.is_empty(),
        Node::Object(map) => map.is_empty(),
        Node::Plain(_) | Node::String(_) => false,
    };
    Ok((!is_empty).then_some(at))
}

fn child<'n>(node: &'n Node, part: &str) -> Result<Option<&'n Node>, BuildError> {
    if part == "*" {
        return Err(BuildError::invalid("wildcard is not supported in PathGetter"));
    }
    if let Some(inner) = in_brackets(part) {
        let Some((key, text)) = inner.split_once('=') else {
            return Err(no_pair());
        };
        let items = items(node)?;
        return Ok(items.iter().find(|item| {
            let field = if key.is_empty() { Some(*item) } else { item.get(key) };
            field.and_then(Node::scalar) == Some(text)
        }));
    }
    if part == "-" {
        return Ok(items(node)?.last());
    }
    match part.parse::<i64>() {
        Ok(index) => {
            let items = items(node)?;
            let index = usize::try_from(index)
                .map_err(|_| BuildError::invalid(format!("array index {index} cannot be negative")))?;
            Ok(items.get(index))
        }
        Err(_) => match node {
            Node::Object(map) => Ok(map.get(part)),
            other => Err(wrong_kind("MappingNode", other)),
        },
    }
}

fn items(node: &Node) -> Result<&[Node], BuildError> {
    match node {
        Node::Array(items) => Ok(items),
        other => Err(wrong_kind("SequenceNode", other)),
    }
}

pub(super) fn no_pair() -> BuildError {
    BuildError::invalid("list path element must contain fieldName=fieldValue for element to match")
}

/// A path cannot continue at this value. It may be a secret, and is not quoted.
pub(super) fn wrong_kind(expected: &str, node: &Node) -> BuildError {
    let got = match node {
        Node::Object(_) => "MappingNode",
        Node::Array(_) => "SequenceNode",
        Node::Null(_) | Node::Plain(_) | Node::String(_) => "ScalarNode",
    };
    BuildError::invalid(format!("wrong node kind: expected {expected} but got {got}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(path: &str, expect: &[&str]) {
        assert_eq!(parts(path).unwrap(), expect, "{path}");
    }

    #[test]
    fn paths_are_cut_at_dots_outside_of_brackets() {
        check("a.b", &["a", "b"]);
        check(".a.b", &["a", "b"]);
        check("..a", &["", "a"]);
        check("a.", &["a", ""]);
        check("", &[""]);
        check("a\\.b.c\\x", &["a.b", "c\\x"]);
        check("a.[b=c.d].e", &["a", "[b=c.d]", "e"]);
        check("a.[b=c\\.d].e", &["a", "[b=c.d]", "e"]);
        check("a.[b=[c]1].e", &["a", "[b=[c]1]", "e"]);
        check("a.[b=c.d", &["a", "[b=c.d"]);
        check("a.[b.io/c].d", &["a", "b.io/c", "d"]);
        check("a.[b]", &["a", "[b]"]);
    }

    #[track_caller]
    fn found(path: &str, expect: &Value) {
        let value = json!({"v": {"s": "x", "n": 5, "l": ["one", "two"], "e": [], "z": null,
            "m": [{"name": 5, "v": "q"}, {"name": "c10", "v": "w"}, {"name": "c1", "v": "k"}]}});
        let node = Node::from(value);
        let found = find(&node, path).map(|found| found.map_or(Value::Null, Node::to_json));
        let found = found.unwrap_or_else(|error| Value::String(format!("error: {error}")));
        assert_eq!(found, *expect, "{path}");
    }

    #[test]
    fn a_source_is_found_by_names_indexes_and_exact_texts() {
        found("v.s", &json!("x"));
        found("v..s.", &json!("x"));
        found("v.l.+1", &json!("two"));
        found("v.l.-", &json!("two"));
        found("v.l.5", &Value::Null);
        found("v.l.[=one]", &json!("one"));
        found("v.m.[name=c1].v", &json!("k"));
        found("v.m.[name=5].v", &json!("q"));
        found("v.m.[name=c.*].v", &Value::Null);
        found("v.e", &Value::Null);
        found("v.z.a", &Value::Null);
    }

    #[test]
    fn a_source_path_that_cannot_be_followed_is_rejected() {
        found("v.l.*", &json!("error: wildcard is not supported in PathGetter"));
        found("v.l.-1", &json!("error: array index -1 cannot be negative"));
        found("v.s.x", &json!("error: wrong node kind: expected MappingNode but got ScalarNode"));
        found("v.l.x", &json!("error: wrong node kind: expected MappingNode but got SequenceNode"));
        found("v.0", &json!("error: wrong node kind: expected SequenceNode but got MappingNode"));
        let long = "a.".repeat(100_000);
        assert_eq!(
            TargetPath::new(&long).unwrap_err().to_string(),
            format!("a field path has more than {DEPTH_MAX} parts")
        );
    }
}
