//! From the parser's events to a value, without recursion and within a budget.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};

use super::chunks::Chunk;
use super::resolve::{Scalar, resolve};
use super::{Dialect, Limits, YamlError};

/// What is left of the limits; one for all documents of a text.
pub(super) struct Budget {
    depth_max: usize,
    nodes_max: usize,
    alias_allowance: usize,
    written: usize,
    copied: usize,
}

/// How many values aliases may copy for each value that is written out.
const COPIES_PER_NODE: usize = 10;

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            depth_max: limits.depth_max,
            nodes_max: limits.nodes_max,
            alias_allowance: limits.alias_allowance,
            written: 0,
            copied: 0,
        }
    }

    fn write(&mut self) -> Result<(), String> {
        self.written += 1;
        if self.written + self.copied > self.nodes_max {
            return Err(format!("more than {} values", self.nodes_max));
        }
        Ok(())
    }

    fn copy(&mut self, nodes: usize) -> Result<(), String> {
        self.copied = self.copied.saturating_add(nodes);
        if self.copied > self.written * COPIES_PER_NODE + self.alias_allowance {
            return Err("document contains excessive aliasing".to_owned());
        }
        if self.written + self.copied > self.nodes_max {
            return Err(format!("more than {} values", self.nodes_max));
        }
        Ok(())
    }
}

/// Reads the first document of a chunk; what stands behind it is not looked at.
pub(super) fn first_document(
    chunk: &Chunk<'_>,
    dialect: Dialect,
    budget: &mut Budget,
) -> Result<Value, YamlError> {
    let mut options = Options::default();
    options.disallow_directives = dialect == Dialect::Objects;
    options.flow_nesting_limit = budget.depth_max;
    options.block_nesting_limit = budget.depth_max;
    let at = |marker: &Marker, message: String| YamlError {
        line: chunk.line + marker.line().saturating_sub(1),
        column: marker.col() + 1,
        message,
    };
    let refused = |error: ScanError| at(error.marker(), error.info());
    let mut parser = Parser::new_from_str_with_options(chunk.text, options);
    let mut builder = Builder { dialect, budget, frames: Vec::new(), anchors: HashMap::new(), root: None };
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(refused)?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.take(event, span).map_err(|message| at(&span.start, message))?;
    }
    Ok(builder.root.unwrap_or(Value::Null))
}

struct Builder<'b> {
    dialect: Dialect,
    budget: &'b mut Budget,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Built>,
    root: Option<Value>,
}

/// A map or list that is not closed yet.
struct Frame {
    content: Content,
    anchor: usize,
    nodes: usize,
    /// Levels inside, itself included.
    height: usize,
}

enum Content {
    Map { map: Map<String, Value>, merges: Vec<Value>, key: Option<Key> },
    List(Vec<Value>),
}

enum Key {
    Text(String),
    Merge,
}

#[derive(Clone)]
struct Built {
    value: Value,
    nodes: usize,
    height: usize,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        let _ = span;
        match event {
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref()),
            Event::SequenceStart(_, anchor, _) => self.open(Content::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => {
                self.open(Content::Map { map: Map::new(), merges: Vec::new(), key: None }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor),
            _ => Ok(()),
        }
    }

    fn open(&mut self, content: Content, anchor: usize) -> Result<(), String> {
        self.budget.write()?;
        if self.expects_key() {
            return Err("a map or list cannot be a key here".to_owned());
        }
        if self.frames.len() >= self.budget.depth_max {
            return Err(format!("nested deeper than {} levels", self.budget.depth_max));
        }
        self.frames.push(Frame { content, anchor, nodes: 1, height: 1 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let value = match frame.content {
            Content::List(items) => Value::Array(items),
            Content::Map { map, merges, .. } => Value::Object(merged(map, merges)),
        };
        let built = Built { value, nodes: frame.nodes, height: frame.height };
        self.finish(built, frame.anchor)
    }

    fn alias(&mut self, anchor: usize) -> Result<(), String> {
        let Some(built) = self.anchors.get(&anchor) else {
            return Err("alias refers to a value that contains it".to_owned());
        };
        self.budget.copy(built.nodes)?;
        let built = built.clone();
        if self.expects_key() {
            let Value::String(text) = built.value else {
                return Err("an alias that is a key must refer to a text".to_owned());
            };
            return self.set_key(Key::Text(text));
        }
        if self.frames.len() + built.height > self.budget.depth_max {
            return Err(format!("nested deeper than {} levels", self.budget.depth_max));
        }
        self.place(built)
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), String> {
        self.budget.write()?;
        let is_plain = style == ScalarStyle::Plain;
        let meaning = meaning(&text, is_plain, tag, self.dialect)?;
        if self.expects_key() {
            let key = self.key(text, meaning)?;
            if let Key::Text(text) = &key
                && anchor != 0
            {
                let value = Value::String(text.clone());
                self.anchors.insert(anchor, Built { value, nodes: 1, height: 0 });
            }
            return self.set_key(key);
        }
        let value = match meaning {
            Meaning::Text(text) => Value::String(text),
            Meaning::Value(Value::Null) => Value::Null,
            Meaning::Value(_) | Meaning::Timestamp(_) if self.is_in_annotations() => {
                Value::String(text.into_owned())
            }
            Meaning::Value(value) => value,
            Meaning::Timestamp(time) if self.dialect == Dialect::Objects => Value::String(time),
            Meaning::Timestamp(_) | Meaning::Merge => Value::String(text.into_owned()),
        };
        self.finish(Built { value, nodes: 1, height: 0 }, anchor)
    }

    /// Whether the next scalar is the value of an annotation of the object. kustomize reads those as text whatever
    /// they look like.
    fn is_in_annotations(&self) -> bool {
        let [root, metadata, annotations] = self.frames.as_slice() else {
            return false;
        };
        let at = |frame: &Frame, name: &str| matches!(&frame.content, Content::Map { key: Some(Key::Text(key)), .. } if key == name);
        self.dialect == Dialect::Objects
            && at(root, "metadata")
            && at(metadata, "annotations")
            && matches!(annotations.content, Content::Map { .. })
    }

    fn expects_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }))
    }

    fn key(&self, text: Cow<'_, str>, meaning: Meaning) -> Result<Key, String> {
        match (meaning, self.dialect) {
            (Meaning::Text(text), _) => Ok(Key::Text(text)),
            (Meaning::Merge, _) => Ok(Key::Merge),
            (Meaning::Timestamp(_), Dialect::Settings) => Ok(Key::Text(text.into_owned())),
            (Meaning::Value(Value::Bool(flag)), Dialect::Settings) => Ok(Key::Text(flag.to_string())),
            (Meaning::Value(Value::Number(number)), Dialect::Settings) => Ok(Key::Text(number.to_string())),
            (Meaning::Value(_) | Meaning::Timestamp(_), _) => {
                Err(format!("key {text:?} is not a text: it needs quotes"))
            }
        }
    }

    fn set_key(&mut self, new: Key) -> Result<(), String> {
        let Some(Frame { content: Content::Map { map, key, .. }, .. }) = self.frames.last_mut() else {
            return Err("a key outside of a map".to_owned());
        };
        if let Key::Text(text) = &new
            && self.dialect == Dialect::Objects
            && map.contains_key(text)
        {
            return Err(format!("mapping key {text:?} already defined"));
        }
        *key = Some(new);
        Ok(())
    }

    fn finish(&mut self, built: Built, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            self.budget.copy(built.nodes)?;
            self.anchors.insert(anchor, built.clone());
        }
        self.place(built)
    }

    fn place(&mut self, built: Built) -> Result<(), String> {
        let Built { value, nodes, height } = built;
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        frame.nodes += nodes;
        frame.height = frame.height.max(height + 1);
        match &mut frame.content {
            Content::List(items) => items.push(value),
            Content::Map { map, merges, key } => match key.take() {
                Some(Key::Text(text)) => {
                    map.insert(text, value);
                }
                Some(Key::Merge) => add_merge(merges, value)?,
                None => return Err("a value without a key".to_owned()),
            },
        }
        Ok(())
    }
}

fn add_merge(merges: &mut Vec<Value>, value: Value) -> Result<(), String> {
    match value {
        Value::Object(_) => merges.push(value),
        Value::Array(items) if items.iter().all(Value::is_object) => merges.extend(items),
        _ => return Err("map merge requires map or sequence of maps as the value".to_owned()),
    }
    Ok(())
}

/// Keys that are written out win over merged ones, wherever they stand; of two merges the earlier wins.
fn merged(mut map: Map<String, Value>, merges: Vec<Value>) -> Map<String, Value> {
    for merge in merges {
        let Value::Object(merge) = merge else { continue };
        for (key, value) in merge {
            map.entry(key).or_insert(value);
        }
    }
    map
}

enum Meaning {
    Text(String),
    Value(Value),
    Timestamp(String),
    Merge,
}

fn meaning(text: &str, is_plain: bool, tag: Option<&Tag>, dialect: Dialect) -> Result<Meaning, String> {
    let tag = tag.map(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:").map(Cow::into_owned));
    let own = || Meaning::Text(text.to_owned());
    match tag.as_ref().map(Option::as_deref) {
        None if !is_plain => Ok(own()),
        None => Ok(match resolve(text, dialect) {
            Scalar::Text => own(),
            Scalar::Value(value) => Meaning::Value(value),
            Scalar::Timestamp(time) => Meaning::Timestamp(time),
            Scalar::Merge => Meaning::Merge,
            Scalar::NotFinite => return Err(format!("{text} is not a number that JSON can hold")),
        }),
        Some(Some("str") | None) => Ok(own()),
        Some(Some("binary")) => binary(text).map(Meaning::Text),
        Some(Some("null")) => Ok(Meaning::Value(Value::Null)),
        Some(Some(kind)) => match (kind, resolve(text, dialect)) {
            ("int", Scalar::Value(value)) if value.is_i64() || value.is_u64() => Ok(Meaning::Value(value)),
            ("float", Scalar::Value(value)) if value.is_number() => Ok(Meaning::Value(value)),
            ("bool", Scalar::Value(value)) if value.is_boolean() => Ok(Meaning::Value(value)),
            ("timestamp", Scalar::Timestamp(time)) => Ok(Meaning::Timestamp(time)),
            ("merge", Scalar::Merge) => Ok(Meaning::Merge),
            ("int" | "float" | "bool" | "timestamp", _) => {
                Err(format!("the value cannot be read as a !!{kind}"))
            }
            _ => Ok(own()),
        },
    }
}

/// Base64 in the standard alphabet, blanks and line breaks left out of account.
fn binary(text: &str) -> Result<String, String> {
    let refuse = || "!!binary value contains invalid base64 data".to_owned();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(refuse()),
        };
        bits = (bits << 6) | u32::from(sextet);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).map_err(|_| refuse())?);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf8(bytes).map_err(|_| "!!binary value is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests;
