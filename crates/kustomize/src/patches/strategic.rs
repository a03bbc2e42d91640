//! Strategic merge patches as kustomize merges them: maps by their keys, lists of built-in kinds by the keys of their
//! items, everything else replaced.
//!
//! Where kustomize loses data in silence (items with the same key, or without one), this is an error. The depth of
//! both sides is limited by the reader, and so is the recursion here.

use plumb_manifests::yaml::{Map, Node};

use crate::error::BuildError;
use crate::identity::Gvk;
use crate::resource::scalar_text;
use crate::schema::{self, Field, Merge};

const DIRECTIVE: &str = "$patch";

/// Pairs of items that are compared to merge one list.
const PAIRS_MAX: usize = 20_000_000;

/// Merges a patch into an object of a kind; `None` if the patch deletes it.
pub(super) fn merge(object: Node, patch: Node, gvk: &Gvk) -> Result<Option<Node>, BuildError> {
    let root = Field { merge: Merge::Whole, definition: schema::definition(gvk) };
    merge_value(object, patch, Some(&root))
}

/// What a map or an item of a list says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn take_directive(map: &mut Map) -> Result<Directive, BuildError> {
    match map.remove(DIRECTIVE) {
        None => Ok(Directive::Merge),
        Some(value) => match value.as_str() {
            Some("merge") => Ok(Directive::Merge),
            Some("replace") => Ok(Directive::Replace),
            Some("delete") => Ok(Directive::Delete),
            _ => Err(BuildError::invalid(format!("unknown patch strategy {:?}", scalar_text(&value)))),
        },
    }
}

fn merge_value(old: Node, patch: Node, field: Option<&Field>) -> Result<Option<Node>, BuildError> {
    match (old, patch) {
        (_, Node::Null) => Ok(None),
        (Node::Null, patch) => added(patch, field),
        (Node::Object(old), Node::Object(mut patch)) => match take_directive(&mut patch)? {
            Directive::Delete => Ok(None),
            Directive::Replace => added(Node::Object(patch), field),
            Directive::Merge => merge_map(old, patch, field).map(Some),
        },
        (Node::Array(old), Node::Array(patch)) => merge_list(old, patch, field),
        (old, patch) if is_scalar(&old) && is_scalar(&patch) => Ok(Some(patch)),
        (old, patch) => {
            let message =
                format!("wrong node kind: expected {} but got {}", node_kind(&old), node_kind(&patch));
            Err(BuildError::invalid(message))
        }
    }
}

fn merge_map(mut old: Map, patch: Map, field: Option<&Field>) -> Result<Node, BuildError> {
    let definition = field.and_then(|field| field.definition);
    for (key, value) in patch {
        let inner = schema::field(definition, &key);
        let before = old.remove(&key).unwrap_or_default();
        let merged = merge_value(before, value, inner).map_err(|error| deeper(error, &key))?;
        if let Some(merged) = merged {
            old.insert(key, merged);
        }
    }
    Ok(Node::Object(old))
}

/// What a patch says where there was nothing: nulls mean nothing, directives are not content.
fn added(patch: Node, field: Option<&Field>) -> Result<Option<Node>, BuildError> {
    match patch {
        Node::Null => Ok(None),
        Node::Object(mut map) => {
            if take_directive(&mut map)? == Directive::Delete {
                return Ok(None);
            }
            merge_map(Map::new(), map, field).map(Some)
        }
        Node::Array(items) => merge_list(Vec::new(), items, field),
        scalar => Ok(Some(scalar)),
    }
}

fn merge_list(
    old: Vec<Node>,
    mut patch: Vec<Node>,
    field: Option<&Field>,
) -> Result<Option<Node>, BuildError> {
    let merge = field.map_or(&Merge::Whole, |field| &field.merge);
    if merge == &Merge::Whole {
        return Ok(Some(Node::Array(patch)));
    }
    match take_list_directive(&mut patch)? {
        Directive::Delete => return Ok(None),
        Directive::Replace => return merge_items(Vec::new(), patch, merge, field).map(Some),
        Directive::Merge => {}
    }
    merge_items(old, patch, merge, field).map(Some)
}

/// An item that is nothing but a directive is about the whole list.
fn take_list_directive(items: &mut Vec<Node>) -> Result<Directive, BuildError> {
    let mut directive = Directive::Merge;
    let mut kept = Vec::with_capacity(items.len());
    for mut item in std::mem::take(items) {
        match item.as_object_mut() {
            Some(map) if map.len() == 1 && map.contains_key(DIRECTIVE) => directive = take_directive(map)?,
            _ => kept.push(item),
        }
    }
    *items = kept;
    Ok(directive)
}

fn merge_items(
    old: Vec<Node>,
    patch: Vec<Node>,
    merge: &Merge,
    field: Option<&Field>,
) -> Result<Node, BuildError> {
    if (old.len() + patch.len()).saturating_mul(patch.len()) > PAIRS_MAX {
        let message = format!("{} and {} items are too many to be merged", old.len(), patch.len());
        return Err(BuildError::over_limit(message));
    }
    match merge {
        Merge::Whole => Ok(Node::Array(patch)),
        Merge::Set => {
            let mut items: Vec<Node> = Vec::with_capacity(old.len() + patch.len());
            for item in patch.into_iter().chain(old) {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            Ok(Node::Array(items))
        }
        Merge::Keys(keys) => KeyedList { keys, definition: field.and_then(|field| field.definition) }
            .merge(old, patch)
            .map(Node::Array),
    }
}

/// A list whose items are told apart by some of their fields.
struct KeyedList<'k> {
    keys: &'k [&'static str],
    definition: Option<&'static str>,
}

/// The texts of the key fields of an item, in the order of the keys.
type ItemKey = Vec<Option<String>>;

/// An item of the object, until a patch has deleted or moved it.
type Slot = (ItemKey, Option<Node>);

impl KeyedList<'_> {
    /// Where one key tells items apart, those of the patch come first, in its order. Where it takes more, items of the
    /// object keep their places, and new ones come first.
    fn merge(&self, old: Vec<Node>, patch: Vec<Node>) -> Result<Vec<Node>, BuildError> {
        let item_field = Field { merge: Merge::Whole, definition: self.definition };
        let mut slots: Vec<Slot> = Vec::with_capacity(old.len());
        for item in old {
            slots.push((self.key_of(&item, "the object")?, Some(item)));
        }
        let mut patches: Vec<(ItemKey, Node)> = Vec::with_capacity(patch.len());
        for item in patch {
            let key = self.key_of(&item, "the patch")?;
            if patches.iter().any(|(known, _)| known == &key) {
                return Err(self.twice(&key, "the patch"));
            }
            if item.get(DIRECTIVE).and_then(Node::as_str) == Some("replace") {
                let item = self.describe(&key);
                let message =
                    format!("{item}: kustomize replaces maps and lists, but no single item of a list");
                return Err(BuildError::invalid(message));
            }
            patches.push((key, item));
        }
        let has_more = |key: &ItemKey| key.iter().skip(1).any(Option::is_some);
        let keeps_places =
            slots.iter().map(|(key, _)| key).chain(patches.iter().map(|(key, _)| key)).any(has_more);
        let mut front = Vec::with_capacity(patches.len());
        for (key, item) in patches {
            let at = self.find(&slots, &key, &item, keeps_places)?;
            let before = at.and_then(|at| slots[at].1.take()).unwrap_or_default();
            let merged = merge_value(before, item, Some(&item_field))
                .map_err(|error| deeper(error, &self.describe(&key)))?
                .filter(|item| item.as_object().is_none_or(|map| !map.is_empty()));
            match (at, keeps_places) {
                (Some(at), true) => slots[at].1 = merged,
                _ => front.extend(merged),
            }
        }
        front.extend(slots.into_iter().filter_map(|(_, item)| item));
        Ok(front)
    }

    fn key_of(&self, item: &Node, whose: &str) -> Result<ItemKey, BuildError> {
        let part = |name: &&'static str| item.get(*name).filter(|part| !part.is_null()).map(scalar_text);
        let key: ItemKey = self.keys.iter().map(part).collect();
        if key.iter().all(Option::is_none) {
            let names = self.keys.join(", ");
            return Err(BuildError::invalid(format!("an item of the list in {whose} lacks {names}")));
        }
        Ok(key)
    }

    /// Where the item stands that a key of the patch means.
    fn find(
        &self,
        slots: &[Slot],
        key: &ItemKey,
        item: &Node,
        is_strict: bool,
    ) -> Result<Option<usize>, BuildError> {
        let mut equal = slots.iter().enumerate().filter(|(_, (own, _))| own == key).map(|(at, _)| at);
        let found = equal.next();
        if equal.next().is_some() {
            return Err(self.twice(key, "the object"));
        }
        if !is_strict {
            return Ok(found);
        }
        // kustomize drops an item of the patch in silence if an item with other keys resembles it.
        let similar = slots.iter().position(|(own, _)| own != key && resembles(own, key));
        let Some(similar) = similar else {
            return Ok(found);
        };
        let meant = found.unwrap_or(similar);
        if slots[meant].1.as_ref().is_some_and(|own| says_all(own, item)) {
            return Ok(Some(meant));
        }
        let (own, theirs) = (self.describe(&slots[similar].0), self.describe(key));
        let keys = self.keys.join(", ");
        let message = format!("the object has {own}, the patch {theirs}: write {keys} in both");
        Err(BuildError::invalid(message))
    }

    fn twice(&self, key: &ItemKey, whose: &str) -> BuildError {
        let item = self.describe(key);
        BuildError::invalid(format!(
            "more than one item {item} in {whose}: which one is patched is not clear"
        ))
    }

    fn describe(&self, key: &ItemKey) -> String {
        let parts = self.keys.iter().zip(key);
        let stated: Vec<String> =
            parts.filter_map(|(name, text)| text.as_ref().map(|text| format!("{name}={text}"))).collect();
        format!("[{}]", stated.join(","))
    }
}

/// Whether two keys agree in a part and contradict each other in none.
fn resembles(one: &ItemKey, other: &ItemKey) -> bool {
    let is_shared = one.iter().zip(other).any(|(one, other)| one.is_some() && one == other);
    let is_contrary =
        one.iter().zip(other).any(|(one, other)| one.is_some() && other.is_some() && one != other);
    is_shared && !is_contrary
}

/// Whether a patch changes nothing in an item.
fn says_all(item: &Node, patch: &Node) -> bool {
    match (item.as_object(), patch.as_object()) {
        (Some(item), Some(patch)) => patch.iter().all(|(key, value)| item.get(key) == Some(value)),
        _ => false,
    }
}

fn deeper(error: BuildError, step: &str) -> BuildError {
    error.while_doing(step)
}

fn is_scalar(value: &Node) -> bool {
    !value.is_array() && !value.is_object()
}

fn node_kind(value: &Node) -> &'static str {
    match value {
        Node::Object(_) => "MappingNode",
        Node::Array(_) => "SequenceNode",
        Node::Null | Node::Plain(_) | Node::String(_) => "ScalarNode",
    }
}

#[cfg(test)]
mod tests;
