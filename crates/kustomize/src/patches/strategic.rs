//! Strategic merge patches as kustomize merges them: maps by their keys, lists of built-in kinds by the keys of their
//! items, everything else replaced.
//!
//! The depth of both sides is limited by the reader, and so is the recursion here.

use std::collections::HashSet;

use plumb_manifests::yaml::{Map, Node, Null, Str, Text};

use super::keyed::KeyedList;
use crate::error::BuildError;
use crate::identity::Gvk;
use crate::reordered::{Reordered, Step, written};
use crate::resource::scalar_text;
use crate::schema::{Merge, Schema, Spot, newer};

pub(super) const DIRECTIVE: &str = "$patch";

/// The directive of a map or an item of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    Merge,
    Replace,
    Delete,
}

impl Directive {
    fn parse(node: &Node) -> Option<Self> {
        match node.as_str() {
            Some("merge") => Some(Self::Merge),
            Some("replace") => Some(Self::Replace),
            Some("delete") => Some(Self::Delete),
            _ => None,
        }
    }

    /// Takes the directive out of a map.
    pub(super) fn take(map: &mut Map) -> Result<Self, BuildError> {
        match map.remove(DIRECTIVE) {
            None => Ok(Self::Merge),
            Some(node) => Self::parse(&node).ok_or_else(|| {
                let message = format!("unknown patch strategy {:?}", scalar_text(&node));
                BuildError::invalid(message)
            }),
        }
    }
}

/// Whether a patch replaces the whole object.
pub(super) fn replaces_all(patch: &Node) -> bool {
    patch.get(DIRECTIVE).and_then(Directive::parse) == Some(Directive::Replace)
}

/// Merges one patch into one object, and records what was lost.
pub(super) struct Merger<'s> {
    schema: &'s Schema,
    /// What is patched.
    gvk: Gvk,
    /// Where the merge is, for the notes.
    pub path: Vec<Step>,
    /// How many maps and lists there are around it that the object did not have.
    added_around: usize,
    /// What kustomize drops without a word.
    pub losses: Vec<String>,
    /// The lists whose items have other places now.
    pub reordered: Vec<Reordered>,
    /// How many pairs of items it compared.
    pub pairs: usize,
}

impl<'s> Merger<'s> {
    pub(super) fn new(schema: &'s Schema, gvk: Gvk) -> Self {
        let (path, losses, reordered) = (Vec::new(), Vec::new(), Vec::new());
        Self { schema, gvk, path, added_around: 0, losses, reordered, pairs: 0 }
    }

    /// Merges a patch into an object of a kind; `None` if the patch deletes it.
    pub(super) fn merge(&mut self, object: Node, patch: Node) -> Result<Option<Node>, BuildError> {
        let root = self.schema.of_kind(&self.gvk);
        self.value(object, patch, Some(root))
    }

    pub(super) fn value(
        &mut self,
        old: Node,
        patch: Node,
        field: Option<Spot<'s>>,
    ) -> Result<Option<Node>, BuildError> {
        // Maps nest deeply, so their stack frames are separate from the others.
        match (old, patch) {
            (Node::Object(old), Node::Object(mut patch)) => match Directive::take(&mut patch) {
                Ok(Directive::Merge) => self.map(old, patch, field),
                Ok(Directive::Replace) => self.added(Node::Object(patch), field),
                Ok(Directive::Delete) => Ok(None),
                Err(error) => Err(error),
            },
            (old, patch) => self.others(old, patch, field),
        }
    }

    fn others(
        &mut self,
        old: Node,
        patch: Node,
        field: Option<Spot<'s>>,
    ) -> Result<Option<Node>, BuildError> {
        match (old, patch) {
            (_, Node::Null(_)) => Ok(None),
            (Node::Null(_), patch) => self.added(patch, field),
            (Node::Array(old), Node::Array(patch)) => self.list(old, patch, field),
            (mut old, patch) if old.is_scalar() && patch.is_scalar() => {
                let new = replaced(&old, patch);
                old.write(new);
                Ok(Some(old))
            }
            (old, patch) => {
                let message =
                    format!("wrong node kind: expected {} but got {}", node_kind(&old), node_kind(&patch));
                Err(BuildError::invalid(message))
            }
        }
    }

    fn map(&mut self, old: Map, mut patch: Map, field: Option<Spot<'s>>) -> Result<Option<Node>, BuildError> {
        check_keys(&patch)?;
        let mut changing = Box::new(Changing { old, new: Vec::new(), gone: HashSet::new() });
        self.sweep_map(&mut changing.old, &patch, field)?;
        let field = self.own_type(&changing.old, &patch).or(field);
        for (key, node) in patch.iter_mut() {
            let inner = self.enter(key, field);
            if let (Some(Node::Array(old)), Node::Array(new)) = (changing.old.get(key), &*node) {
                self.note_newer(key, field, inner, (old, new));
            }
            match self.value(changing.take(key), node.take(), inner) {
                Ok(merged) => changing.put(key, merged),
                Err(error) => return Err(error.while_doing(key)),
            }
            self.path.pop();
        }
        Ok(Some(changing.finish()))
    }

    fn enter(&mut self, key: &str, field: Option<Spot<'s>>) -> Option<Spot<'s>> {
        self.path.push(Step::Field(key.into()));
        field.and_then(|field| self.schema.field(field, key))
    }

    /// The kind of a map that has one: a manifest inside of another object is merged by its own kind.
    fn own_type(&self, old: &Map, patch: &Map) -> Option<Spot<'s>> {
        [old, patch].into_iter().find_map(|map| {
            let text = |key: &str| map.get(key).and_then(Node::as_str);
            let spot = self.schema.of_kind(&Gvk::new(text("apiVersion")?, text("kind")?));
            spot.definition.is_some().then_some(spot)
        })
    }

    /// What a patch does to a part of the object that it does not mention: kustomize visits all of it, drops what is
    /// null because nothing is written, and joins items with the same key. False if nothing is left.
    pub(super) fn sweep(&mut self, node: &mut Node, field: Option<Spot<'s>>) -> Result<bool, BuildError> {
        match node {
            Node::Null(Null::Empty | Null::FlowEmpty) => Ok(false),
            Node::Null(_) | Node::Plain(_) | Node::String(_) => Ok(true),
            Node::Object(map) => self.sweep_map(map, &Map::new(), field).map(|()| true),
            Node::Array(_) if keyed(field).is_none() => Ok(true),
            Node::Array(items) => {
                let items = std::mem::take(items);
                match self.list(items, Vec::new(), field)? {
                    Some(swept) => {
                        *node = swept;
                        Ok(true)
                    }
                    None => Ok(false),
                }
            }
        }
    }

    fn sweep_map(&mut self, map: &mut Map, patch: &Map, field: Option<Spot<'s>>) -> Result<(), BuildError> {
        check_keys(map)?;
        let field = self.own_type(map, patch).or(field);
        let mut has_gone = false;
        for (key, node) in map.iter_mut() {
            if matches!(node, Node::Plain(_)) || patch.contains_key(key) {
                continue;
            }
            if let Node::String(text) = node {
                settle(text);
                continue;
            }
            let inner = field.and_then(|field| self.schema.field(field, key));
            self.path.push(Step::Field(key.into()));
            let is_left = self.sweep(node, inner);
            self.path.pop();
            if !is_left.map_err(|error| error.while_doing(key))? {
                *node = Node::Null(Null::Empty);
                has_gone = true;
            }
        }
        if has_gone {
            map.retain(|key, node| {
                !matches!(node, Node::Null(Null::Empty | Null::FlowEmpty)) || patch.contains_key(key)
            });
        }
        Ok(())
    }

    /// The value of a patch where there was none: nulls are removed, known directives are no content.
    pub(super) fn added(&mut self, patch: Node, field: Option<Spot<'s>>) -> Result<Option<Node>, BuildError> {
        match patch {
            Node::Null(_) => Ok(None),
            Node::Object(mut map) => {
                let directive = match map.get(DIRECTIVE).and_then(Directive::parse) {
                    // kustomize leaves an unknown directive at this level, but not further down.
                    None if self.added_around == 0 => Directive::Merge,
                    _ => Directive::take(&mut map)?,
                };
                if directive == Directive::Delete {
                    return Ok(None);
                }
                self.inside_added(|merger| merger.map(Map::new(), map, field))
            }
            Node::Array(items) => self.added_list(items, field),
            mut scalar => {
                if let Node::String(text) = &mut scalar {
                    settle(text);
                }
                Ok(Some(scalar))
            }
        }
    }

    fn added_list(
        &mut self,
        mut items: Vec<Node>,
        field: Option<Spot<'s>>,
    ) -> Result<Option<Node>, BuildError> {
        let Some(merge) = keyed(field) else {
            return Ok(Some(Node::Array(items)));
        };
        // As with maps: kustomize applies directives for a list only further down.
        if self.added_around > 0 && take_list_directive(&mut items)? == Directive::Delete {
            return Ok(None);
        }
        match merge {
            Merge::Keys(keys) => self.inside_added(|merger| merger.keyed(keys, field).add(items)).map(Some),
            _ => set(Vec::new(), items).map(Some),
        }
    }

    fn inside_added<T>(&mut self, add: impl FnOnce(&mut Self) -> T) -> T {
        self.added_around += 1;
        let added = add(self);
        self.added_around -= 1;
        added
    }

    fn list(
        &mut self,
        old: Vec<Node>,
        mut patch: Vec<Node>,
        field: Option<Spot<'s>>,
    ) -> Result<Option<Node>, BuildError> {
        let Some(merge) = keyed(field) else {
            return Ok(Some(Node::Array(patch)));
        };
        match take_list_directive(&mut patch)? {
            Directive::Delete => return Ok(None),
            Directive::Replace => return self.added(Node::Array(patch), field),
            Directive::Merge => {}
        }
        match merge {
            Merge::Keys(keys) => self.keyed(keys, field).merge(old, patch).map(Some),
            _ => set(old, patch).map(Some),
        }
    }

    fn keyed<'m>(&'m mut self, keys: &'s [String], field: Option<Spot<'s>>) -> KeyedList<'m, 's> {
        KeyedList { merger: self, keys, item: Spot::of(field.and_then(|field| field.definition)) }
    }

    /// Notes that kustomize loses something here.
    pub(super) fn lose(&mut self, what: &str) {
        self.losses.push(format!("{}: {what}", written(&self.path)));
    }

    /// Notes that a list is replaced that Kubernetes merges by now, if that loses an item.
    fn note_newer(
        &mut self,
        name: &str,
        parent: Option<Spot<'s>>,
        field: Option<Spot<'s>>,
        (old, new): (&[Node], &[Node]),
    ) {
        if keyed(field).is_some() {
            return;
        }
        let of_definition = parent.and_then(|parent| newer::of_definition(parent.definition?, name));
        let Some(key) = of_definition.or_else(|| self.newer_of_kind()) else { return };
        let text = |item: &Node| item.get(key).and_then(Node::scalar).unwrap_or_default().to_owned();
        let kept: HashSet<String> = new.iter().map(text).collect();
        let is_meant = new.iter().any(|item| item.get(DIRECTIVE).is_some());
        let lost: Vec<String> = old.iter().map(text).filter(|text| !kept.contains(text)).collect();
        if !lost.is_empty() && !is_meant {
            self.lose(&format!(
                "kustomize knows the lists of Kubernetes 1.21 and replaces this one, where the API server would add to it: \
                 {} with {key} {} gone; repeat in the patch what is to stay",
                if lost.len() == 1 { "the item" } else { "the items" },
                if lost.len() == 1 { format!("{:?} is", lost[0]) } else { format!("{} are", lost.join(", ")) },
            ));
        }
    }

    fn newer_of_kind(&self) -> Option<&'static str> {
        let fields = self.path.iter().filter_map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            Step::Item(_) => None,
        });
        newer::of_kind(&self.gvk.group, &self.gvk.kind, &fields.collect::<Vec<_>>())
    }
}

/// A map that is being merged. Each insertion and removal moves all that follows, so they are done at once.
struct Changing {
    old: Map,
    new: Vec<(Text, Node)>,
    gone: HashSet<Text>,
}

impl Changing {
    /// Looked up in place: most patches change few of many keys.
    fn take(&mut self, key: &str) -> Node {
        self.old.get_mut(key).map(Node::take).unwrap_or_default()
    }

    fn put(&mut self, key: &str, merged: Option<Node>) {
        match (self.old.get_mut(key), merged) {
            (Some(place), Some(merged)) => *place = merged,
            (None, Some(merged)) => self.new.push((key.into(), merged)),
            (Some(_), None) => drop(self.gone.insert(key.into())),
            (None, None) => {}
        }
    }

    fn finish(self) -> Node {
        let Self { mut old, new, gone } = self;
        if !gone.is_empty() {
            old.retain(|key, _| !gone.contains(key));
        }
        old.extend(new);
        Node::Object(old)
    }
}

/// How the items of a list are identified, if they are.
fn keyed(field: Option<Spot<'_>>) -> Option<&Merge> {
    field.map(|field| field.merge).filter(|merge| **merge != Merge::Whole)
}

/// A text that YAML 1.1 reads as a boolean is quoted after any patch, and stays a text from then on.
fn settle(text: &mut Str) {
    text.is_quoted |= is_old_boolean(text);
}

fn is_old_boolean(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "on"
            | "On"
            | "ON"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "off"
            | "Off"
            | "OFF"
    )
}

fn check_keys(map: &Map) -> Result<(), BuildError> {
    if map.contains_key("") {
        return Err(BuildError::invalid("a map with an empty key cannot be merged: remove the key"));
    }
    Ok(())
}

/// A new scalar in the place of an old one, whose quotes it keeps.
fn replaced(old: &Node, patch: Node) -> Node {
    let is_folded = matches!(old, Node::String(text) if text.is_folded);
    match (old.is_quoted(), patch.scalar()) {
        (true, Some(text)) if is_folded => {
            let mut text = Str::new(text, true);
            text.is_folded = true;
            Node::String(text)
        }
        (true, Some(text)) => Node::quoted(text),
        (false, Some(text)) if patch.is_quoted() => Node::text(text),
        _ => patch,
    }
}

/// An item that is nothing but a directive is about the whole list.
fn take_list_directive(items: &mut Vec<Node>) -> Result<Directive, BuildError> {
    let is_directive =
        |item: &Node| item.as_object().is_some_and(|map| map.len() == 1 && map.contains_key(DIRECTIVE));
    let mut directive = Directive::Merge;
    let mut rejected = None;
    items.retain_mut(|item| {
        if !is_directive(item) {
            return true;
        }
        match item.as_object_mut().map(Directive::take) {
            Some(Ok(new)) => directive = new,
            Some(Err(error)) => rejected = Some(error),
            None => {}
        }
        false
    });
    rejected.map_or(Ok(directive), Err)
}

/// Scalars, each once: those of the patch first.
fn set(old: Vec<Node>, patch: Vec<Node>) -> Result<Node, BuildError> {
    let mut seen = std::collections::HashSet::new();
    let mut items = Vec::with_capacity(old.len() + patch.len());
    for item in patch.into_iter().chain(old).filter(|item| !item.is_null()) {
        let Some(text) = item.scalar() else {
            let message = format!("wrong node kind: expected ScalarNode but got {}", node_kind(&item));
            return Err(BuildError::invalid(message));
        };
        if seen.insert(text.to_owned()) {
            items.push(item);
        }
    }
    Ok(Node::Array(items))
}

pub(super) fn node_kind(node: &Node) -> &'static str {
    match node {
        Node::Object(_) => "MappingNode",
        Node::Array(_) => "SequenceNode",
        Node::Null(_) | Node::Plain(_) | Node::String(_) => "ScalarNode",
    }
}

#[cfg(test)]
mod tests;
