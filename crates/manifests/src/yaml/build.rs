//! From the parser's events to a value, without recursion and within a budget.

use std::borrow::Cow;
use std::collections::HashMap;

use super::base64::decoded;
use super::chunks::Chunk;
use super::node::{Map, Node, Null, Plain, PlainKind, Str, Text};
use super::resolve::{Scalar, resolve};
use super::{Dialect, Limits, YamlError, quick};
use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag};

/// What is left of the limits; one for all documents of a text.
pub(super) struct Budget {
    depth_max: usize,
    nodes_max: usize,
    alias_allowance: usize,
    bytes_allowance: usize,
    written: usize,
    copied: usize,
    copied_bytes: usize,
}

/// How many values aliases may copy for each value that is written out, and how many bytes for each byte.
const COPIES_PER_NODE: usize = 10;
/// Bytes of texts that aliases may copy beyond that.
const COPIED_BYTES: usize = 1 << 20;

impl Budget {
    pub(super) fn new(limits: &Limits, text: &str) -> Self {
        Self {
            depth_max: limits.depth_max,
            nodes_max: limits.nodes_max,
            alias_allowance: limits.alias_allowance,
            bytes_allowance: text.len().saturating_mul(COPIES_PER_NODE).saturating_add(COPIED_BYTES),
            written: 0,
            copied: 0,
            copied_bytes: 0,
        }
    }

    pub(super) fn depth_max(&self) -> usize {
        self.depth_max
    }

    /// Counts values at once; false, and nothing counted, if they are too many.
    pub(super) fn write_all(&mut self, values: usize) -> bool {
        let is_room = self.written + values + self.copied <= self.nodes_max;
        self.written += if is_room { values } else { 0 };
        is_room
    }

    #[cfg(test)]
    pub(super) fn written(&self) -> usize {
        self.written
    }

    fn write(&mut self) -> Result<(), String> {
        self.written += 1;
        if self.written + self.copied > self.nodes_max {
            return Err(format!("more than {} values", self.nodes_max));
        }
        Ok(())
    }

    fn copy(&mut self, built: &Built) -> Result<(), String> {
        self.copied = self.copied.saturating_add(built.nodes);
        self.copied_bytes = self.copied_bytes.saturating_add(built.bytes);
        if self.copied > self.written * COPIES_PER_NODE + self.alias_allowance
            || self.copied_bytes > self.bytes_allowance
        {
            return Err("document contains excessive aliasing".to_owned());
        }
        if self.written + self.copied > self.nodes_max {
            return Err(format!("more than {} values", self.nodes_max));
        }
        Ok(())
    }
}

/// Reads the first document of a chunk; later ones are ignored.
pub(super) fn first_document(
    chunk: &Chunk<'_>,
    dialect: Dialect,
    budget: &mut Budget,
) -> Result<Node, YamlError> {
    match quick::read(chunk.text, dialect, budget) {
        Some(node) => Ok(node),
        None => parsed(chunk, dialect, budget),
    }
}

/// The same, always by the parser.
pub(super) fn parsed(chunk: &Chunk<'_>, dialect: Dialect, budget: &mut Budget) -> Result<Node, YamlError> {
    let mut options = Options::default();
    options.disallow_directives = dialect == Dialect::Objects;
    options.flow_nesting_limit = budget.depth_max;
    options.block_nesting_limit = budget.depth_max;
    let at = |marker: &Marker, message: String| YamlError {
        line: chunk.line + marker.line().saturating_sub(1),
        column: marker.col() + 1,
        message,
    };
    let rejected = |error: ScanError| {
        let message = error.info();
        match tab_behind(chunk.text, error.marker(), &message) {
            Some((line, column)) => YamlError { line: chunk.line + line - 1, column, message },
            None => at(error.marker(), message),
        }
    };
    let mut parser = Parser::new_from_str_with_options(chunk.text, options);
    let mut builder = Builder {
        dialect,
        budget,
        frames: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        open_end: open_end(chunk.text),
    };
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(rejected)?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        builder.take(event, span).map_err(|message| at(&span.start, message))?;
    }
    Ok(builder.root.unwrap_or_default())
}

/// Line and column, from 1, of the tab that an error is about, where the parser names the scalar in front of it:
/// the tab is at the beginning of one of the lines that follow.
fn tab_behind(text: &str, marker: &Marker, message: &str) -> Option<(usize, usize)> {
    if !message.contains("tab") {
        return None;
    }
    let mut lines = text.lines().enumerate().skip(marker.line().saturating_sub(1));
    let (_, first) = lines.next()?;
    if first.chars().skip(marker.col()).any(|c| c == '\t') {
        return None;
    }
    let (index, line) = lines.find(|(_, line)| !line.trim_matches([' ', '\t']).is_empty())?;
    let column = line.chars().take_while(|c| *c == ' ').count();
    line.chars().nth(column).filter(|c| *c == '\t').map(|_| (index + 1, column + 1))
}

/// Where a text ends whose last line has content and no line break, in characters. A block that ends there has no line
/// break at its end either, as in Go's libraries; the parser gives it one.
fn open_end(text: &str) -> Option<usize> {
    let last = text.rsplit(['\n', '\r']).next().unwrap_or_default();
    (!last.trim_start_matches(' ').is_empty()).then(|| text.chars().count())
}

struct Builder<'b> {
    dialect: Dialect,
    budget: &'b mut Budget,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Built>,
    root: Option<Node>,
    open_end: Option<usize>,
}

/// A map or list that is not closed yet.
struct Frame {
    content: Content,
    /// Whether it is in a flow collection.
    is_flow: bool,
    anchor: usize,
    nodes: usize,
    /// Bytes of keys and texts.
    bytes: usize,
    /// Levels inside, itself included.
    height: usize,
}

enum Content {
    Map { keys: Keys, merges: Vec<Map>, key: Option<Key> },
    List(Vec<Node>),
}

/// The entries of a map that is not closed yet, in the order in which they are written.
#[derive(Default)]
pub(super) struct Keys {
    entries: Vec<(Text, Node)>,
    is_unsorted: bool,
    /// The position of each key, once there are too many to scan.
    index: Option<HashMap<Text, usize>>,
}

impl Keys {
    /// Maps up to this size are searched from one end to the other.
    const LINEAR_MAX: usize = 24;

    pub(super) fn position(&mut self, key: &str) -> Option<usize> {
        if self.entries.last().is_none_or(|(last, _)| !self.is_unsorted && last.as_str() < key) {
            return None;
        }
        if self.entries.len() <= Self::LINEAR_MAX {
            return self.entries.iter().position(|(own, _)| own == key);
        }
        let index = self.index.get_or_insert_with(|| {
            self.entries.iter().enumerate().map(|(position, (key, _))| (key.clone(), position)).collect()
        });
        index.get(key).copied()
    }

    pub(super) fn set(&mut self, key: Text, node: Node) {
        if let Some(position) = self.position(&key) {
            self.entries[position].1 = node;
            return;
        }
        self.is_unsorted |= self.entries.last().is_some_and(|(last, _)| *last > key);
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), self.entries.len());
        }
        self.entries.push((key, node));
    }

    pub(super) fn into_map(mut self) -> Map {
        if self.is_unsorted {
            self.entries.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        }
        Map::from_sorted(self.entries)
    }
}

enum Key {
    Text(Text),
    Merge,
}

#[derive(Clone)]
struct Built {
    node: Node,
    nodes: usize,
    bytes: usize,
    height: usize,
}

impl Built {
    fn scalar(node: Node) -> Self {
        let bytes = node.scalar().map_or(0, str::len);
        Self { node, nodes: 1, bytes, height: 0 }
    }
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        match event {
            // The parser expands a missing value.
            Event::Scalar(text, style, anchor, tag)
                if span.start.index() == span.end.index() && text == "~" =>
            {
                self.scalar(Cow::Borrowed(""), style, anchor, tag.as_deref())
            }
            Event::Scalar(mut text, style, anchor, tag)
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
                    && self.open_end == Some(span.end.index())
                    && text.ends_with('\n') =>
            {
                text.to_mut().pop();
                self.scalar(text, style, anchor, tag.as_deref())
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref()),
            Event::SequenceStart(style, anchor, _) => self.open(Content::List(Vec::new()), style, anchor),
            Event::MappingStart(style, anchor, _) => self.open(
                Content::Map { keys: Keys::default(), merges: Vec::new(), key: None },
                style,
                anchor,
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor),
            _ => Ok(()),
        }
    }

    fn open(&mut self, content: Content, style: StructureStyle, anchor: usize) -> Result<(), String> {
        self.budget.write()?;
        if self.expects_key() {
            return Err("a map or list cannot be a key here".to_owned());
        }
        if self.frames.len() >= self.budget.depth_max {
            return Err(format!("nested deeper than {} levels", self.budget.depth_max));
        }
        let is_flow = style == StructureStyle::Flow || self.is_in_flow();
        self.frames.push(Frame { content, is_flow, anchor, nodes: 1, bytes: 0, height: 1 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let node = match frame.content {
            Content::List(items) => Node::Array(items),
            Content::Map { keys, merges, .. } => Node::Object(merged(keys.into_map(), merges)),
        };
        let built = Built { node, nodes: frame.nodes, bytes: frame.bytes, height: frame.height };
        self.finish(built, frame.anchor)
    }

    fn alias(&mut self, anchor: usize) -> Result<(), String> {
        let Some(built) = self.anchors.get(&anchor) else {
            return Err("alias refers to a value that contains it".to_owned());
        };
        self.budget.copy(built)?;
        let mut built = built.clone();
        if self.expects_key() {
            let Node::String(text) = built.node else {
                return Err("an alias that is a key must refer to a text".to_owned());
            };
            return self.set_key(Key::Text(text.text));
        }
        if self.frames.len() + built.height > self.budget.depth_max {
            return Err(format!("nested deeper than {} levels", self.budget.depth_max));
        }
        if self.is_in_flow() && self.dialect == Dialect::Objects {
            put_into_flow(&mut built.node);
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
        let mut meaning = meaning(&text, is_plain, tag, self.dialect)?;
        let is_in_flow = self.is_in_flow() && self.dialect == Dialect::Objects;
        if is_in_flow && is_plain && tag.is_none() && becomes_text_in_flow(&meaning, &text) {
            meaning = Meaning::Text(text.clone().into());
        }
        if self.expects_key() {
            let key = self.key(text, meaning)?;
            if let Key::Text(text) = &key
                && anchor != 0
            {
                self.anchors.insert(anchor, Built::scalar(Node::text(text.clone())));
            }
            return self.set_key(key);
        }
        let node = match meaning {
            Meaning::Text(text) => {
                let mut text = Str::new(text, !is_plain);
                text.is_folded = style == ScalarStyle::Folded;
                Node::String(text)
            }
            // An object keeps it as it is written until it is printed.
            Meaning::Binary(_) if self.dialect == Dialect::Objects => {
                let mut text = Str::new(text, !is_plain);
                text.is_binary = true;
                Node::String(text)
            }
            Meaning::Binary(text) => Node::String(Str::new(text, !is_plain)),
            Meaning::Null => Node::Null(match &*text {
                "" if is_in_flow && is_plain && tag.is_none() => Null::FlowEmpty,
                "" => Null::Empty,
                "~" => Null::Tilde,
                "Null" => Null::Capitalized,
                "NULL" => Null::Shouted,
                _ => Null::Word,
            }),
            Meaning::Plain(PlainKind::Time) if self.dialect == Dialect::Settings => Node::text(text),
            Meaning::Plain(kind) => Node::Plain(Plain::new(kind, text)),
            Meaning::Merge => Node::text(text),
        };
        self.finish(Built::scalar(node), anchor)
    }

    fn is_in_flow(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.is_flow)
    }

    fn expects_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }))
    }

    fn key(&self, text: Cow<'_, str>, meaning: Meaning) -> Result<Key, String> {
        match (meaning, self.dialect) {
            (Meaning::Text(text) | Meaning::Binary(text), _) => Ok(Key::Text(text)),
            (Meaning::Merge, _) => Ok(Key::Merge),
            (Meaning::Plain(PlainKind::Time), Dialect::Settings) => Ok(Key::Text(text.into())),
            (Meaning::Plain(kind), Dialect::Settings) => {
                let json = Plain::new(kind, text).to_json();
                Ok(Key::Text(json.to_string().into()))
            }
            (Meaning::Null | Meaning::Plain(_), _) => {
                Err(format!("key {text:?} is not a text: it needs quotes"))
            }
        }
    }

    fn set_key(&mut self, new: Key) -> Result<(), String> {
        let Some(Frame { content: Content::Map { keys, key, .. }, bytes, .. }) = self.frames.last_mut()
        else {
            return Err("a key outside of a map".to_owned());
        };
        if let Key::Text(text) = &new
            && self.dialect == Dialect::Objects
            && keys.position(text).is_some()
        {
            return Err(format!("mapping key {text:?} already defined"));
        }
        if let Key::Text(text) = &new {
            *bytes += text.len();
        }
        *key = Some(new);
        Ok(())
    }

    fn finish(&mut self, built: Built, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            self.budget.copy(&built)?;
            self.anchors.insert(anchor, built.clone());
        }
        self.place(built)
    }

    fn place(&mut self, built: Built) -> Result<(), String> {
        let Built { node, nodes, bytes, height } = built;
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.nodes += nodes;
        frame.bytes += bytes;
        frame.height = frame.height.max(height + 1);
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { keys, merges, key } => match key.take() {
                Some(Key::Text(text)) => keys.set(text, node),
                Some(Key::Merge) => add_merge(merges, node)?,
                None => return Err("a value without a key".to_owned()),
            },
        }
        Ok(())
    }
}

/// A colon between brackets is written in quotes, and what is in quotes is read as a text.
fn becomes_text_in_flow(meaning: &Meaning, text: &str) -> bool {
    matches!(meaning, Meaning::Plain(PlainKind::Time)) && text.contains(':')
}

/// The value of an alias, as it is read in a flow collection. The nesting is limited, and so is this recursion.
fn put_into_flow(node: &mut Node) {
    match node {
        Node::Array(items) => items.iter_mut().for_each(put_into_flow),
        Node::Object(map) => map.values_mut().for_each(put_into_flow),
        Node::String(text) => text.is_folded = false,
        Node::Null(null @ Null::Empty) => *null = Null::FlowEmpty,
        Node::Plain(plain) if plain.kind == PlainKind::Time && plain.text.contains(':') => {
            *node = Node::text(plain.text.clone());
        }
        Node::Null(_) | Node::Plain(_) => {}
    }
}

fn add_merge(merges: &mut Vec<Map>, node: Node) -> Result<(), String> {
    let reject = || Err("map merge requires map or sequence of maps as the value".to_owned());
    match node {
        Node::Object(map) => merges.push(map),
        Node::Array(items) => {
            for item in items {
                let Node::Object(map) = item else { return reject() };
                merges.push(map);
            }
        }
        Node::Null(_) | Node::Plain(_) | Node::String(_) => return reject(),
    }
    Ok(())
}

/// Keys that are written out win over merged ones, at any position; of two merges the earlier wins.
fn merged(map: Map, mut merges: Vec<Map>) -> Map {
    if merges.is_empty() {
        return map;
    }
    // The last entry of a key wins, so the strongest comes last.
    merges.reverse();
    merges.push(map);
    merges.into_iter().flatten().collect()
}

enum Meaning {
    Text(Text),
    /// A text that is written in base64.
    Binary(Text),
    Null,
    Plain(PlainKind),
    Merge,
}

fn meaning(text: &str, is_plain: bool, tag: Option<&Tag>, dialect: Dialect) -> Result<Meaning, String> {
    let own = || Meaning::Text(text.into());
    let Some(tag) = tag else {
        if !is_plain {
            return Ok(own());
        }
        return Ok(match resolve(text, dialect) {
            Scalar::Text => own(),
            Scalar::Null => Meaning::Null,
            Scalar::Plain(kind) => Meaning::Plain(kind),
            Scalar::Merge => Meaning::Merge,
            Scalar::NotFinite if dialect == Dialect::Objects => Meaning::Plain(PlainKind::Float),
            Scalar::NotFinite => return Err(format!("{text} is not a number that JSON can hold")),
        });
    };
    let Some(kind) = tag.suffix_in_namespace("tag:yaml.org,2002:") else {
        return Ok(own());
    };
    match (&*kind, resolve(text, dialect)) {
        ("binary", _) => decoded(text).map(|text| Meaning::Binary(text.into())),
        ("null", _) => Ok(Meaning::Null),
        ("int", Scalar::Plain(kind @ PlainKind::Integer))
        | ("bool", Scalar::Plain(kind @ PlainKind::Bool))
        | ("timestamp", Scalar::Plain(kind @ PlainKind::Time)) => Ok(Meaning::Plain(kind)),
        ("float", Scalar::Plain(PlainKind::Integer | PlainKind::Float)) => {
            Ok(Meaning::Plain(PlainKind::Float))
        }
        ("merge", Scalar::Merge) => Ok(Meaning::Merge),
        ("int" | "float" | "bool" | "timestamp", _) => Err(format!("the value cannot be read as a !!{kind}")),
        _ => Ok(own()),
    }
}

#[cfg(test)]
mod tests;
