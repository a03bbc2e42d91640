//! Fields: sets of field paths, as the API server stores them per manager (`fieldsV1`), and paths as it prints them.
//!
//! Only structure is here; no values and no decision.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::fields_table;

/// How deep a field set is followed; deeper parts count as one field.
const DEPTH_MAX: usize = 64;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A field of a map.
    Field(String),
    /// An item of a keyed list: key fields with their values as JSON text.
    Key(Vec<(String, String)>),
    /// An item of a set, as JSON text.
    Item(String),
    /// An item by position.
    Index(usize),
}

/// A path to a field, printed as server-side apply does: `.spec.containers[name="web"].image`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldPath(pub Vec<Step>);

/// A set of field paths, as a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSet {
    /// Whether the path to this node is itself in the set.
    member: bool,
    children: BTreeMap<Step, FieldSet>,
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => {
                let fields: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Key(fields.into_iter().map(|(name, value)| (name, value.to_string())).collect()))
            }
            "v" => Some(Self::Item(serde_json::from_str::<Value>(rest).ok()?.to_string())),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    fn to_wire(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let parts: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())))
                    .collect();
                format!("k:{{{}}}", parts.join(","))
            }
            Self::Item(value) => format!("v:{value}"),
            Self::Index(at) => format!("i:{at}"),
        }
    }

    /// The value one step down.
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match self {
            Self::Field(name) => value.get(name),
            Self::Key(fields) => value.as_array()?.iter().find(|item| matches_key(item, fields)),
            Self::Item(text) => value.as_array()?.iter().find(|item| reads(item, text)),
            Self::Index(at) => value.get(at),
        }
    }
}

/// Whether a list item carries these key fields.
pub fn matches_key(item: &Value, fields: &[(String, String)]) -> bool {
    fields.iter().all(|(name, text)| item.get(name).is_some_and(|value| reads(value, text)))
}

fn reads(value: &Value, text: &str) -> bool {
    let written = value.to_string();
    written == text
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={value}", if at == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Item(value) => write!(f, "[={value}]"),
            Self::Index(at) => write!(f, "[{at}]"),
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| step.fmt(f))
    }
}

impl FieldPath {
    /// A path of plain field names.
    pub fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|name| Step::Field((*name).to_owned())).collect())
    }

    /// This path, one step longer.
    #[must_use]
    pub fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Whether the path begins with these field names.
    pub fn is_under(&self, names: &[&str]) -> bool {
        names.len() <= self.0.len()
            && names
                .iter()
                .zip(&self.0)
                .all(|(name, step)| matches!(step, Step::Field(field) if field == name))
    }

    /// The value at this path.
    pub fn resolve<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |at, step| step.get(at))
    }

    /// The last step, where it is a field of a map.
    pub fn last_field(&self) -> Option<&str> {
        match self.0.last() {
            Some(Step::Field(name)) => Some(name),
            Some(Step::Key(_) | Step::Item(_) | Step::Index(_)) | None => None,
        }
    }
}

impl FieldSet {
    /// Reads `fieldsV1`. Keys of a form that is not known are passed over.
    pub fn from_wire(value: &Value) -> Self {
        let mut set = Self::read(value, 0);
        set.member = false;
        set
    }

    fn read(value: &Value, depth: usize) -> Self {
        let Some(map) = value.as_object() else { return Self { member: true, children: BTreeMap::new() } };
        if map.is_empty() || depth >= DEPTH_MAX {
            return Self { member: true, children: BTreeMap::new() };
        }
        let children = map
            .iter()
            .filter(|(key, _)| *key != ".")
            .filter_map(|(key, below)| Some((Step::parse(key)?, Self::read(below, depth + 1))))
            .collect();
        Self { member: map.contains_key("."), children }
    }

    /// The wire form.
    pub fn to_wire(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, below) in &self.children {
            map.insert(step.to_wire(), below.to_wire());
        }
        Value::Object(map)
    }

    /// The set that an apply of this object would own, as far as it is known without the server's schema: lists whose
    /// merge keys are known are followed, all others count as one field.
    pub fn of_desired(object: &Value) -> Self {
        let mut root = Self::default();
        let Some(map) = object.as_object() else { return root };
        for (name, value) in map {
            match name.as_str() {
                "apiVersion" | "kind" | "status" => {}
                "metadata" => {
                    let below = Self::of_metadata(value);
                    if !below.children.is_empty() {
                        root.children.insert(Step::Field(name.clone()), below);
                    }
                }
                _ => {
                    root.children.insert(Step::Field(name.clone()), Self::of_value(name, value, 1));
                }
            }
        }
        root
    }

    fn of_metadata(metadata: &Value) -> Self {
        let mut set = Self::default();
        for (name, value) in metadata.as_object().into_iter().flatten() {
            if !matches!(name.as_str(), "name" | "namespace" | "generateName") {
                set.children.insert(Step::Field(name.clone()), Self::of_value(name, value, 2));
            }
        }
        set
    }

    fn of_value(name: &str, value: &Value, depth: usize) -> Self {
        let leaf = Self { member: true, children: BTreeMap::new() };
        if depth >= DEPTH_MAX || fields_table::is_atomic(name) {
            return leaf;
        }
        match value {
            Value::Object(map) if !map.is_empty() => {
                let children = map
                    .iter()
                    .map(|(field, below)| {
                        (Step::Field(field.clone()), Self::of_value(field, below, depth + 1))
                    })
                    .collect();
                Self { member: false, children }
            }
            Value::Array(items) if !items.is_empty() => {
                let Some(keys) = fields_table::merge_keys(name, items) else { return leaf };
                let children = items
                    .iter()
                    .map(|item| (Step::Key(key_of(item, keys)), Self::of_item(item, depth + 1)))
                    .collect();
                Self { member: false, children }
            }
            Value::Object(_)
            | Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => leaf,
        }
    }

    fn of_item(item: &Value, depth: usize) -> Self {
        let mut set = Self::of_value("", item, depth);
        set.member = true;
        set
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Whether the node has no children: the field is owned as a whole.
    pub fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// Whether the path to this node is itself in the set.
    pub fn is_member(&self) -> bool {
        self.member
    }

    /// The nodes one step down.
    pub fn children(&self) -> impl Iterator<Item = (&Step, &Self)> {
        self.children.iter()
    }

    /// The node one step down.
    pub fn child(&self, step: &Step) -> Option<&Self> {
        self.children.get(step)
    }

    /// Whether the field is owned: itself, or as a part of something owned as a whole.
    pub fn contains(&self, path: &FieldPath) -> bool {
        let mut node = self;
        for step in &path.0 {
            match node.children.get(step) {
                Some(below) => node = below,
                None => return node.member && node.children.is_empty(),
            }
        }
        node.member
    }

    /// Whether the field or anything under it is owned.
    pub fn touches(&self, path: &FieldPath) -> bool {
        let mut node = self;
        for step in &path.0 {
            match node.children.get(step) {
                Some(below) => node = below,
                None => return node.member && node.children.is_empty(),
            }
        }
        !node.is_empty()
    }

    /// Every field that is owned as a whole.
    pub fn leaves(&self) -> Vec<FieldPath> {
        let mut found = Vec::new();
        self.collect_leaves(&FieldPath::default(), &mut found);
        found
    }

    fn collect_leaves(&self, path: &FieldPath, found: &mut Vec<FieldPath>) {
        if self.children.is_empty() {
            if self.member {
                found.push(path.clone());
            }
            return;
        }
        for (step, below) in &self.children {
            below.collect_leaves(&path.then(step.clone()), found);
        }
    }

    /// Whether every field of `other` is in this set.
    pub fn covers(&self, other: &Self) -> bool {
        if self.member && self.children.is_empty() {
            return true;
        }
        (!other.member || self.member)
            && other
                .children
                .iter()
                .all(|(step, below)| self.children.get(step).is_some_and(|ours| ours.covers(below)))
    }

    /// Adds every field of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, below) in &other.children {
            self.children.entry(step.clone()).or_default().extend(below);
        }
    }

    /// Removes one name everywhere, and returns the set of what was removed.
    #[must_use]
    pub fn take_named(&mut self, name: &str) -> Self {
        let mut taken = Self::default();
        let mut emptied = Vec::new();
        for (step, below) in &mut self.children {
            if matches!(step, Step::Field(field) if field == name) {
                taken.children.insert(step.clone(), below.clone());
                emptied.push(step.clone());
                continue;
            }
            let was_empty = below.is_empty();
            let mut part = below.take_named(name);
            if !part.is_empty() {
                // A map of which nothing else is left goes with it.
                if below.children.is_empty() {
                    part.member |= std::mem::take(&mut below.member);
                }
                taken.children.insert(step.clone(), part);
            }
            if below.is_empty() && !was_empty {
                emptied.push(step.clone());
            }
        }
        for step in emptied {
            self.children.remove(&step);
        }
        taken
    }

    /// Takes one field of the top level out (`status`).
    #[must_use]
    pub fn without_root(mut self, name: &str) -> Self {
        self.children.remove(&Step::Field(name.to_owned()));
        self
    }
}

/// The key fields of a list item, as a step names them.
pub fn key_of(item: &Value, keys: &[&str]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = keys
        .iter()
        .map(|key| {
            let value =
                item.get(key).cloned().or_else(|| fields_table::key_default(key)).unwrap_or(Value::Null);
            ((*key).to_owned(), value.to_string())
        })
        .collect();
    fields.sort();
    fields
}
