//! A value, put where the path of a target leads.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use plumb_manifests::yaml::{DEPTH_MAX, Dialect, Map, Node, Plain, PlainKind, Scalar, Str, Text, resolve};

use super::entry::FieldOptions;
use super::path::{Step, TargetPath, no_pair, wrong_kind};
use super::structured;
use crate::error::BuildError;
use crate::field::check_key;
use crate::reading::Reader;
use crate::selector::Pattern;
use crate::shares;

/// One key on the way to a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Field(Text),
    Index(usize),
}

/// Fields created by replacements, by the position of the object. Their type follows from their text, so
/// that it changes with the text.
pub(super) type Made = HashSet<(usize, Vec<Key>)>;

/// Side effects while a value was put into an object.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Fields that were found or made.
    pub found: usize,
    /// Whether a field of another type now contains a text.
    pub is_odd: bool,
    pub notes: BTreeSet<Note>,
}

/// What was done as kustomize does it, and is hardly meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Note {
    /// A list or a map went into a scalar.
    Lost,
    /// The way ended at a field without a value.
    EndsInNull,
    /// A text that holds other values could not be written again, and was left as it is.
    Unwritable,
    /// A structured text was not parsed: it is inside another such text, or a pattern led to it.
    PassedOver,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "a list or map was copied into a scalar, which leaves it empty",
            Self::EndsInNull => "the path goes on behind a field that holds null, so nothing was written",
            Self::Unwritable => "the text could not be written again with the value in it, so nothing was written",
            Self::PassedOver => {
                "the text holds other values, but was not looked into, so nothing was written: give list items by their \
                 exact text, and do not nest such texts"
            }
        })
    }
}

pub(super) struct Change<'c> {
    pub value: &'c Node,
    pub options: &'c FieldOptions,
    pub reader: &'c Reader<'c>,
    /// The position of the object.
    pub position: usize,
    pub made: &'c mut Made,
    pub outcome: Outcome,
    trail: Vec<Key>,
    way: Way,
    /// Whether the path continues in a text.
    is_inside: bool,
}

/// The path so far, which decides whether it can continue in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By names, indexes and exact texts: it continues in texts.
    Exact,
    /// By a pattern: kustomize looks up the text with the pattern as a literal, does not find it, and reports
    /// nothing.
    ByPattern,
    /// By all items of a list: it ends before texts.
    ByAll,
}

impl<'c> Change<'c> {
    pub(super) fn new(
        value: &'c Node,
        options: &'c FieldOptions,
        reader: &'c Reader<'c>,
        position: usize,
        made: &'c mut Made,
    ) -> Self {
        let (outcome, trail) = (Outcome::default(), Vec::new());
        Self { value, options, reader, position, made, outcome, trail, way: Way::Exact, is_inside: false }
    }

    /// Puts the value where the path leads in an object.
    pub(super) fn apply(mut self, node: &mut Node, path: &TargetPath) -> Result<Outcome, BuildError> {
        let doing = || {
            let verb = if self.options.create { "find or create" } else { "find" };
            format!("unable to {verb} field {:?} in replacement target", path.written)
        };
        let missing = doing();
        match self.walk(node, &path.steps) {
            Ok(()) if self.outcome.found == 0 => Err(BuildError::invalid(missing)),
            Ok(()) => Ok(self.outcome),
            Err(Failure::Walk(error)) => Err(error.while_doing(missing)),
            Err(Failure::Other(error)) => Err(error),
        }
    }

    /// The number of steps is limited, and so is this recursion.
    fn walk(&mut self, node: &mut Node, steps: &[Step]) -> Result<(), Failure> {
        let Some((step, rest)) = steps.split_first() else {
            self.outcome.found += 1;
            return self.put(node);
        };
        self.reader.spend(1, 0)?;
        if let Node::Null(_) = node {
            if self.options.create {
                self.outcome.found += 1;
                self.outcome.notes.insert(Note::EndsInNull);
            }
            return Ok(());
        }
        if let Node::String(text) = node
            && self.way != Way::ByAll
            && !text.is_empty()
        {
            return self.inside(node, steps);
        }
        match step {
            Step::Field(name) => self.field(node, name, rest),
            Step::Index(index) => self.index(node, *index, rest),
            Step::All => self.all(node, rest),
            Step::Matching { key, text, pattern } => {
                self.matching(node, &Condition { key, text, pattern }, rest)
            }
            Step::NoPair => Err(Failure::Walk(no_pair())),
        }
    }

    fn field(&mut self, node: &mut Node, name: &Text, rest: &[Step]) -> Result<(), Failure> {
        let Node::Object(map) = node else {
            return Err(Failure::Walk(wrong_kind("MappingNode", node)));
        };
        if name.is_empty() {
            // kustomize looks for a scalar of this text, which a map is not.
            return Err(Failure::Walk(wrong_kind("ScalarNode", node)));
        }
        self.trail.push(Key::Field(name.clone()));
        if let Some(field) = map.get_mut(name) {
            self.walk(field, rest)?;
        } else if self.options.create {
            check_key(name).map_err(Failure::Other)?;
            let mut field = self.make(rest);
            self.walk(&mut field, rest)?;
            map.insert(name.clone(), field);
        }
        self.trail.pop();
        Ok(())
    }

    fn index(&mut self, node: &mut Node, index: usize, rest: &[Step]) -> Result<(), Failure> {
        let Node::Array(items) = node else {
            return Err(Failure::Walk(wrong_kind("SequenceNode", node)));
        };
        self.trail.push(Key::Index(index));
        let count = items.len();
        match items.get_mut(index) {
            Some(item) => self.walk(item, rest)?,
            None if self.options.create && index == count => {
                let mut item = self.make(rest);
                self.walk(&mut item, rest)?;
                items.push(item);
            }
            None => {
                let message = format!("index {index} specified but only {count} elements found");
                return Err(Failure::Walk(BuildError::invalid(message)));
            }
        }
        self.trail.pop();
        Ok(())
    }

    fn all(&mut self, node: &mut Node, rest: &[Step]) -> Result<(), Failure> {
        let Node::Array(items) = node else {
            return Err(Failure::Walk(wrong_kind("SequenceNode", node)));
        };
        let way = std::mem::replace(&mut self.way, Way::ByAll);
        for (index, item) in items.iter_mut().enumerate() {
            self.reader.spend(1, 0)?;
            self.trail.push(Key::Index(index));
            self.walk(item, rest)?;
            self.trail.pop();
        }
        self.way = way;
        Ok(())
    }

    fn matching(&mut self, node: &mut Node, condition: &Condition<'_>, rest: &[Step]) -> Result<(), Failure> {
        let Node::Array(items) = node else {
            return Err(Failure::Walk(wrong_kind("SequenceNode", node)));
        };
        // The way ends at an item that is found by its own text; kustomize looks no further.
        let rest = if condition.key.is_empty() { &[] } else { rest };
        let before = self.outcome.found;
        let (mut fitting, mut exact) = (0_usize, 0_usize);
        let way = self.way;
        for (index, item) in items.iter_mut().enumerate() {
            if self.fits(item, condition)? {
                fitting += 1;
                exact += usize::from(condition.is_exactly(item));
                if way == Way::Exact && !(exact == 1 && condition.is_exactly(item)) {
                    self.way = Way::ByPattern;
                }
                self.trail.push(Key::Index(index));
                self.walk(item, rest)?;
                self.trail.pop();
                self.way = way;
            }
        }
        if fitting > 0 || !self.options.create {
            return Ok(());
        }
        debug_assert_eq!(before, self.outcome.found, "nothing fits, so nothing was found");
        if !condition.matches_its_own_result() {
            let message =
                format!("a list item made for [{}={}] would not match it", condition.key, condition.text);
            return Err(Failure::Walk(BuildError::over_limit(format!(
                "{message}, and more would be made without end; name the item in the pattern without anchors"
            ))));
        }
        let text = meaning(condition.text);
        let mut item = match condition.key.as_str() {
            "" => text,
            key => Node::Object(Map::from_iter([(Text::from(key), text)])),
        };
        let key = Key::Index(items.len());
        if condition.key.is_empty() {
            let made = self.trail.iter().cloned().chain([key.clone()]).collect();
            self.made.insert((self.position, made));
        }
        self.trail.push(key);
        self.walk(&mut item, rest)?;
        self.trail.pop();
        items.push(item);
        Ok(())
    }

    fn fits(&self, item: &Node, condition: &Condition<'_>) -> Result<bool, Failure> {
        let field = if condition.key.is_empty() { Some(item) } else { item.get(condition.key) };
        let Some(field) = field else {
            self.reader.spend(1, 0)?;
            return Ok(false);
        };
        let written;
        let text = if let Some(text) = field.scalar() {
            text
        } else {
            written = plumb_manifests::yaml::json_to_string(&field.to_json());
            &written
        };
        self.reader.spend(condition.pattern.cost(), text.len())?;
        Ok(condition.pattern.is_match(text))
    }

    /// The new value at a missing field before the path continues.
    fn make(&mut self, rest: &[Step]) -> Node {
        match rest.first() {
            None => {
                if self.value.is_scalar() {
                    self.made.insert((self.position, self.trail.clone()));
                    return Node::text("");
                }
                Node::object()
            }
            Some(Step::Index(_) | Step::Matching { .. } | Step::NoPair) => Node::Array(Vec::new()),
            Some(Step::Field(_) | Step::All) => Node::object(),
        }
    }

    fn put(&mut self, node: &mut Node) -> Result<(), Failure> {
        let FieldOptions { delimiter, index, .. } = self.options;
        if !node.is_scalar() {
            if !delimiter.is_empty() {
                let message = "delimiter option can only be used with scalar nodes";
                return Err(Failure::Other(BuildError::invalid(message)));
            }
            return self.copy(node);
        }
        if !self.value.is_scalar() {
            self.outcome.notes.insert(Note::Lost);
        }
        let new = self.value.scalar().unwrap_or("");
        let old = node.scalar().unwrap_or_default();
        let text = if delimiter.is_empty() {
            self.reader.spend(1, new.len())?;
            Text::from(new)
        } else {
            self.reader.spend(1, old.len() + new.len())?;
            let text_max = self.reader.limits().file_bytes_max;
            if old.len() + new.len() > text_max {
                let message = format!("a text would have more than {text_max} bytes");
                return Err(Failure::Other(BuildError::over_limit(message)));
            }
            joined(old, new, delimiter, *index).into()
        };
        let is_made = !self.made.is_empty() && self.made.contains(&(self.position, self.trail.clone()));
        let put = match with_text(node, text.clone()) {
            _ if is_made && !(text.is_empty() && self.is_below(&["annotations"])) => meaning(&text),
            _ if is_made => Node::text(text),
            _ if node.is_bare() => meaning(&text).bare(),
            Err(_) if self.is_inside => {
                self.outcome.notes.insert(Note::Unwritable);
                return Ok(());
            }
            Ok(put) if !is_odd(&put) => put,
            // An annotation becomes a text when it is printed, of any type before.
            _ if !self.is_inside && self.is_below(&["annotations"]) => Node::text(text),
            put => put?,
        };
        self.outcome.is_odd |= is_odd(&put);
        node.write(put);
        Ok(())
    }

    /// Whether the way leads through one of these fields of the metadata of the object itself.
    fn is_below(&self, fields: &[&str]) -> bool {
        match &self.trail[..] {
            [Key::Field(first), Key::Field(second), _, ..] => {
                first == "metadata" && fields.contains(&second.as_str())
            }
            _ => false,
        }
    }

    fn copy(&mut self, node: &mut Node) -> Result<(), Failure> {
        if !self.value.is_scalar() {
            self.reader.admit(self.value)?;
            self.reader.spend(self.value.count(), 0)?;
            if self.trail.len() + depth(self.value) > DEPTH_MAX {
                let message = format!("more than {DEPTH_MAX} maps and lists inside each other");
                return Err(Failure::Other(BuildError::over_limit(message)));
            }
        }
        let mut copy = self.value.clone();
        shares::part(&mut copy);
        node.write(copy);
        Ok(())
    }

    /// Continues in the value inside a text.
    fn inside(&mut self, node: &mut Node, steps: &[Step]) -> Result<(), Failure> {
        let Node::String(text) = &*node else {
            return Ok(());
        };
        // It is read twice and written once.
        self.reader.spend(STEPS_PER_TEXT, text.len())?;
        let limits = &self.reader.limits().yaml;
        let Some(mut inner) = structured::Inner::parse(text, limits).map_err(Failure::Walk)? else {
            return Err(Failure::Walk(wrong_kind("MappingNode", node)));
        };
        // Delimiters do not reach into texts.
        if steps.len() > structured::TEXT_DEPTH_MAX {
            let message = format!("more than {} steps lead into a text", structured::TEXT_DEPTH_MAX);
            return Err(Failure::Other(BuildError::over_limit(message)));
        }
        if self.way == Way::ByPattern {
            self.outcome.found += 1;
            self.outcome.notes.insert(Note::PassedOver);
            return Ok(());
        }
        let options = FieldOptions { create: self.options.create, ..FieldOptions::default() };
        let mut made = Made::new();
        let mut change = Change::new(self.value, &options, self.reader, 0, &mut made);
        // Texts inside of texts are passed over.
        (change.way, change.is_inside) = (Way::ByPattern, true);
        change.walk(inner.node_mut(), steps)?;
        let Outcome { found, is_odd: _, notes } = change.outcome;
        self.outcome.found += found;
        let is_unwritable = notes.contains(&Note::Unwritable);
        self.outcome.notes.extend(notes);
        if found == 0 || is_unwritable {
            return Ok(());
        }
        match inner.write().map_err(Failure::Walk)? {
            Some(text) => {
                self.reader.spend(1, text.len())?;
                *node = Node::text(text);
            }
            None => {
                self.outcome.notes.insert(Note::Unwritable);
            }
        }
        Ok(())
    }
}

/// The cost of parsing a text, relative to writing it.
const STEPS_PER_TEXT: usize = 8;

struct Condition<'m> {
    key: &'m Text,
    text: &'m Text,
    pattern: &'m Pattern,
}

impl Condition<'_> {
    fn is_exactly(&self, item: &Node) -> bool {
        item.get(self.key).and_then(Node::scalar) == Some(self.text)
    }

    /// Whether an item that is made for the condition is found by it. kustomize 5.8.1 makes items until its memory is
    /// used up where it is not.
    fn matches_its_own_result(&self) -> bool {
        self.pattern.is_match(self.text)
    }
}

/// Why a path was not followed to its end.
pub(super) enum Failure {
    /// Because of the value there.
    Walk(BuildError),
    /// Because of something else.
    Other(BuildError),
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::Other(error)
    }
}

/// The part of a text between delimiters, replaced; before the first or behind the last, added.
fn joined(old: &str, new: &str, delimiter: &str, index: i64) -> String {
    let Ok(index) = usize::try_from(index) else {
        return format!("{new}{delimiter}{old}");
    };
    match old.split(delimiter).nth(index) {
        Some(part) => {
            let start = part.as_ptr() as usize - old.as_ptr() as usize;
            format!("{}{new}{}", &old[..start], &old[start + part.len()..])
        }
        None => format!("{old}{delimiter}{new}"),
    }
}

/// What a plain scalar of this text means.
pub(super) fn meaning(text: &str) -> Node {
    match resolve(text, Dialect::Objects) {
        Scalar::Null => Node::NULL,
        Scalar::Plain(kind) => Node::Plain(Plain::new(kind, text)),
        Scalar::NotFinite => Node::Plain(Plain::new(PlainKind::Float, text)),
        Scalar::Text | Scalar::Merge => Node::text(text),
    }
}

/// A scalar of the kind of another one, with a text of its own.
pub(super) fn with_text(node: &Node, text: Text) -> Result<Node, BuildError> {
    match node {
        Node::Null(_) if resolve(&text, Dialect::Objects) == Scalar::Null => Ok(Node::NULL),
        Node::Null(_) => {
            let message = "cannot decode the text as a !!null: a value goes into a field that holds null; leave the \
                           field out and set `create`";
            Err(BuildError::invalid(message))
        }
        Node::Plain(plain) => {
            // A whole number is a float, too.
            let is_whole = resolve(&text, Dialect::Objects) == Scalar::Plain(PlainKind::Integer);
            let kind =
                if plain.kind == PlainKind::Float && is_whole { PlainKind::Integer } else { plain.kind };
            Ok(Node::Plain(Plain::new(kind, text)))
        }
        Node::String(old) => {
            let mut new = Str::new(text, old.is_quoted);
            new.is_binary = old.is_binary;
            Ok(Node::String(new))
        }
        Node::Array(_) | Node::Object(_) => Ok(Node::text(text)),
    }
}

/// Whether a scalar holds a text that is not of its kind.
pub(super) fn is_odd(node: &Node) -> bool {
    match node {
        Node::Plain(plain) => resolve(&plain.text, Dialect::Objects) != Scalar::Plain(plain.kind),
        Node::String(text) => text.is_unreadable(),
        Node::Null(_) | Node::Array(_) | Node::Object(_) => false,
    }
}

/// How many maps and lists are inside each other. The depth of every object is limited, and so is this recursion.
fn depth(node: &Node) -> usize {
    match node {
        Node::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Node::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        Node::Null(_) | Node::Plain(_) | Node::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_with_an_anchor_does_not_match_its_result() {
        let is_met = |text: &str| {
            let (key, text, pattern) = (Text::from("k"), Text::from(text), Pattern::compile(text).unwrap());
            Condition { key: &key, text: &text, pattern: &pattern }.matches_its_own_result()
        };
        assert!(is_met("x") && is_met("y.z"));
        assert!(!is_met("^x$"));
    }
}
