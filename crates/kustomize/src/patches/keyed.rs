//! Lists whose items are identified by keys, as kustomize merges them.
//!
//! Where every item of both lists has the same keys and no two of a list are equal, the result is the usual
//! one, and computed in one pass. Everything else follows kustomize's algorithm step by step, which loses and
//! doubles items; such losses are noted.

use std::collections::HashMap;

use plumb_manifests::yaml::{Node, Null, Text};

use super::strategic::{DIRECTIVE, Merger, node_kind};
use crate::error::BuildError;
use crate::reordered::{Reordered, Step};
use crate::schema::Spot;

/// Pairs of items that are compared to merge the lists of one object step by step.
const PAIRS_MAX: usize = 4_000_000;

/// The texts of the key fields of an item, in the order of the keys; empty where there is none.
type ItemKey = Vec<Text>;

pub(super) struct KeyedList<'m, 's> {
    pub merger: &'m mut Merger<'s>,
    pub keys: &'s [String],
    /// What an item is.
    pub item: Spot<'s>,
}

impl KeyedList<'_, '_> {
    /// Merges the list of a patch into that of an object.
    pub(super) fn merge(mut self, old: Vec<Node>, patch: Vec<Node>) -> Result<Node, BuildError> {
        if old.is_empty() && patch.is_empty() {
            return Ok(Node::Array(old));
        }
        if let Some(keys) = self.regular_keys(&old, &patch) {
            return self.merge_regular(old, patch, keys).map(Node::Array);
        }
        let (dest, patches) = (0..old.len(), old.len()..old.len() + patch.len());
        let arena = old.into_iter().chain(patch).collect();
        self.step_by_step(arena, dest.collect(), patches.collect(), true)
    }

    /// What the list of a patch becomes where the object has none: for kustomize it is both lists at once.
    pub(super) fn add(mut self, patch: Vec<Node>) -> Result<Node, BuildError> {
        if let Some(keys) = self.regular_keys(&[], &patch) {
            return self.merge_regular(Vec::new(), patch, keys).map(Node::Array);
        }
        let all: Vec<usize> = (0..patch.len()).collect();
        self.step_by_step(patch, all.clone(), all, false)
    }

    fn key_of(&self, item: &Node) -> ItemKey {
        self.keys.iter().map(|key| item.get(key).map(key_text).unwrap_or_default()).collect()
    }

    /// The keys of all items, first those of the object, if the lists hold nothing that kustomize stumbles over.
    fn regular_keys(&self, old: &[Node], patch: &[Node]) -> Option<Vec<ItemKey>> {
        let mut keys: Vec<ItemKey> = Vec::with_capacity(old.len() + patch.len());
        for list in [old, patch] {
            let start = keys.len();
            for item in list {
                if !item.is_object() || item.get(DIRECTIVE).and_then(Node::as_str) == Some("replace") {
                    return None;
                }
                keys.push(self.key_of(item));
            }
            let mut seen = std::collections::HashSet::with_capacity(list.len());
            if !keys[start..].iter().all(|key| seen.insert(key)) {
                return None;
            }
        }
        let states = |key: &ItemKey| key.iter().map(|text| !text.is_empty()).collect::<Vec<_>>();
        let first = states(keys.first()?);
        let is_regular = first.contains(&true) && keys.iter().all(|key| states(key) == first);
        is_regular.then_some(keys)
    }

    /// Where one key identifies items, those of the patch come first, in its order. Where it takes more, items of the
    /// object keep their positions, and new ones come first.
    fn merge_regular(
        &mut self,
        old: Vec<Node>,
        patch: Vec<Node>,
        mut keys: Vec<ItemKey>,
    ) -> Result<Vec<Node>, BuildError> {
        let stated = keys.first().into_iter().flatten().filter(|text| !text.is_empty()).count();
        let patch_keys = keys.split_off(old.len());
        let places: HashMap<&ItemKey, usize> =
            keys.iter().enumerate().map(|(place, key)| (key, place)).collect();
        let mut slots: Vec<Option<Node>> = old.into_iter().map(Some).collect();
        let mut front = Vec::with_capacity(patch.len());
        let (mut is_merged, mut deleted) =
            (std::collections::HashSet::new(), std::collections::HashSet::new());
        for (key, item) in patch_keys.iter().zip(patch) {
            let place = places.get(key).copied();
            let before = place.and_then(|place| slots[place].take()).unwrap_or_default();
            self.enter(key);
            let merged = self
                .merger
                .value(before, item, Some(self.item))
                .map_err(|error| error.while_doing(self.step_to(key)))?
                .filter(|item| item.as_object().is_none_or(|map| !map.is_empty()));
            self.merger.path.pop();
            if merged.is_none() {
                deleted.extend(place);
            }
            is_merged.extend(place);
            match place {
                Some(place) if stated > 1 => slots[place] = merged,
                _ => front.extend(merged),
            }
        }
        for (place, slot) in slots.into_iter().enumerate() {
            let Some(mut item) = slot else { continue };
            if !is_merged.contains(&place) {
                self.enter(&keys[place]);
                self.merger.sweep(&mut item, Some(self.item))?;
                self.merger.path.pop();
            }
            if !is_nothing(&item) {
                front.push(item);
            }
        }
        let before = keys.into_iter().enumerate().filter(|(place, _)| !deleted.contains(place));
        self.note_order(before.map(|(_, key)| key).collect(), &front);
        Ok(front)
    }

    /// Notes whether items that were there have other places now.
    fn note_order(&mut self, before: Vec<ItemKey>, items: &[Node]) {
        let keys = self.keys.iter().map(Text::from).collect();
        let mut order = Reordered { list: Vec::new(), keys, before };
        // The way is copied for the few lists that are reordered only.
        if order.moves(items) {
            order.list.clone_from(&self.merger.path);
            self.merger.reordered.push(order);
        }
    }

    fn enter(&mut self, key: &ItemKey) {
        let step = self.step_to(key);
        self.merger.path.push(step);
    }

    fn step_to(&self, key: &ItemKey) -> Step {
        let stated = self.keys.iter().zip(key).filter(|(_, text)| !text.is_empty());
        Step::Item(stated.map(|(name, text)| (name.into(), text.clone())).collect())
    }

    fn step_by_step(
        &mut self,
        arena: Vec<Node>,
        dest: Vec<usize>,
        patch: Vec<usize>,
        is_merge: bool,
    ) -> Result<Node, BuildError> {
        let total = dest.len() + patch.len();
        self.merger.pairs = self.merger.pairs.saturating_add(total.saturating_mul(total));
        if self.merger.pairs > PAIRS_MAX {
            let message =
                format!("{total} items are too many to be merged where keys are missing or repeated");
            return Err(BuildError::over_limit(message));
        }
        let mut wanted: Vec<Node> = patch.iter().map(|&at| arena[at].clone()).collect();
        if !is_merge {
            // Where there is nothing to replace, only the directive is lost.
            for item in wanted.iter_mut().filter_map(Node::as_object_mut) {
                item.remove(DIRECTIVE);
            }
        }
        let kept: Vec<ItemKey> =
            if is_merge { dest.iter().map(|&at| self.key_of(&arena[at])).collect() } else { Vec::new() };
        let mut tuples: Vec<ItemKey> = Vec::new();
        for &at in patch.iter().chain(&dest) {
            let key = self.key_of(&arena[at]);
            if !tuples.contains(&key) {
                tuples.push(key);
            }
        }
        if self.keys.len() > 1 {
            unify(&mut tuples);
        }
        let stated = self.stated(&tuples);
        let mut steps = Steps { arena, dest, patch, items: Vec::new(), is_one_list: !is_merge };
        for tuple in &tuples {
            self.enter(tuple);
            self.step(&mut steps, tuple, &stated)?;
            self.merger.path.pop();
        }
        steps.close(&stated)?;
        let Steps { mut arena, items, .. } = steps;
        // An item may be there more than once.
        let result: Vec<Node> = items.iter().map(|&at| arena[at].clone()).collect();
        arena.clear();
        self.note_losses(&wanted, &kept, &result);
        let remains = |key: &ItemKey| result.iter().any(|item| self.key_of(item) == *key);
        let before = kept.into_iter().filter(remains).collect();
        self.note_order(before, &result);
        Ok(Node::Array(result))
    }

    /// The keys that at least one item states; all, if none does.
    fn stated(&self, tuples: &[ItemKey]) -> Vec<(usize, String)> {
        let all = || self.keys.iter().cloned().enumerate();
        let is_stated = |index: usize| tuples.iter().any(|tuple| !tuple[index].is_empty());
        let stated: Vec<_> = all().filter(|&(index, _)| is_stated(index)).collect();
        if stated.is_empty() { all().collect() } else { stated }
    }

    /// Merges the items of one key, and puts the result where kustomize puts it.
    fn step(
        &mut self,
        steps: &mut Steps,
        tuple: &ItemKey,
        stated: &[(usize, String)],
    ) -> Result<(), BuildError> {
        let criteria: Vec<(&str, &str)> =
            stated.iter().map(|(index, name)| (name.as_str(), tuple[*index].as_str())).collect();
        // Items are looked up by the values of the tuple; without values, by keys that are present and empty.
        let says: Vec<_> = criteria.iter().copied().filter(|(_, text)| !text.is_empty()).collect();
        let wanted_values = if says.is_empty() { &criteria } else { &says };
        let (old, new) = (steps.find(&steps.dest, wanted_values), steps.find(&steps.patch, wanted_values));
        let merged = match (old, new) {
            (None, None) => None,
            (Some(old), None) => {
                self.merger.sweep(&mut steps.arena[old], Some(self.item))?;
                Some(old)
            }
            (old, Some(new)) => {
                let patch = steps.arena[new].clone();
                let is_replaced = patch.get(DIRECTIVE).and_then(Node::as_str) == Some("replace");
                let before = old.map(|old| steps.arena[old].clone()).unwrap_or_default();
                let before = if old == Some(new) { Node::NULL } else { before };
                let merged = self.merger.value(before, patch, Some(self.item))?;
                match (merged, old) {
                    (None, _) => None,
                    (Some(node), Some(old)) if !is_replaced || old == new => {
                        steps.arena[old] = node;
                        Some(old)
                    }
                    (Some(node), _) => {
                        steps.arena.push(node);
                        Some(steps.arena.len() - 1)
                    }
                }
            }
        };
        let merged = merged.filter(|&at| !is_nothing(&steps.arena[at]));
        if merged.is_some() {
            return set_in(&steps.arena, &mut steps.items, &criteria, merged);
        }
        set_in(&steps.arena, &mut steps.dest, &criteria, None)?;
        if steps.is_one_list {
            steps.patch.clone_from(&steps.dest);
        }
        Ok(())
    }

    /// Compares the items of a patch with the result.
    fn note_losses(&mut self, wanted: &[Node], kept: &[ItemKey], result: &[Node]) {
        let is_there = |item: &Node| match item.as_object() {
            None => true,
            Some(map) if map.contains_key(DIRECTIVE) => {
                map.get(DIRECTIVE).and_then(Node::as_str) != Some("replace")
            }
            Some(map) => result.iter().any(|other| {
                map.iter()
                    .all(|(key, node)| !node.is_scalar() || node.is_null() || other.get(key) == Some(node))
            }),
        };
        let lost = wanted.iter().filter(|item| !is_there(item)).count();
        if lost > 0 {
            let names = self.keys.join(", ");
            self.merger.lose(&format!(
                "kustomize drops {lost} of the patch's items without a word: write {names} in every item of both \
                 lists, each once"
            ));
        }
        let remains = |key: &ItemKey| result.iter().any(|item| &self.key_of(item) == key);
        let gone = kept.iter().filter(|key| !remains(key)).count();
        if gone > wanted.iter().filter(|item| item.get(DIRECTIVE).is_some()).count() {
            self.merger.lose(&format!("kustomize drops {gone} of the object's items without a word"));
        }
    }
}

/// The lists that kustomize works on. An item is its place in the arena: the object's list and the result share items.
struct Steps {
    arena: Vec<Node>,
    dest: Vec<usize>,
    patch: Vec<usize>,
    items: Vec<usize>,
    /// Whether the object's list and that of the patch are the same one.
    is_one_list: bool,
}

impl Steps {
    /// The first item whose fields have these values.
    fn find(&self, list: &[usize], criteria: &[(&str, &str)]) -> Option<usize> {
        let says = |item: &Node| {
            criteria.iter().all(|(name, text)| item.get(name).is_some_and(|field| value_text(field) == *text))
        };
        list.iter().copied().find(|&at| self.arena[at].is_object() && says(&self.arena[at]))
    }

    /// Puts the items of the object behind, or in the place of, what the steps have gathered.
    fn close(&mut self, stated: &[(usize, String)]) -> Result<(), BuildError> {
        for at in std::mem::take(&mut self.dest) {
            let mut texts = Vec::new();
            for (_, name) in stated {
                let item = &self.arena[at];
                if item.is_scalar() && !item.is_null() || item.is_array() {
                    let message =
                        format!("wrong node kind: expected MappingNode but got {}", node_kind(item));
                    return Err(BuildError::invalid(message));
                }
                match item.get(name) {
                    // A null that is written has a text, and does not count as missing here.
                    None | Some(Node::Null(Null::Empty | Null::FlowEmpty)) => self.items.push(at),
                    Some(field) => texts.push(value_text(field).to_owned()),
                }
            }
            let names = stated.iter().map(|(_, name)| name.as_str());
            let criteria: Vec<(&str, &str)> = names.zip(texts.iter().map(String::as_str)).collect();
            if stated.len() > 1 {
                set_in(&self.arena, &mut self.items, &criteria, None)?;
            }
            set_in(&self.arena, &mut self.items, &criteria, Some(at))?;
        }
        Ok(())
    }
}

/// Replaces the items of a list with these values, or appends where there is none; without a new item they are removed. An
/// empty text matches every present field. Nulls and empty maps are removed too, and without values,
/// everything is.
fn set_in(
    arena: &[Node],
    list: &mut Vec<usize>,
    criteria: &[(&str, &str)],
    new: Option<usize>,
) -> Result<(), BuildError> {
    let seeks_maps = criteria.first().is_some_and(|(_, text)| !text.is_empty());
    let mut is_found = false;
    let mut kept = Vec::with_capacity(list.len() + 1);
    for &at in &*list {
        let item = &arena[at];
        if is_nothing(item) {
            continue;
        }
        if !item.is_object() {
            if !seeks_maps {
                let message = format!("wrong node kind: expected MappingNode but got {}", node_kind(item));
                return Err(BuildError::invalid(message));
            }
            kept.push(at);
            continue;
        }
        let fits = |(name, text): &(&str, &str)| {
            item.get(name).is_some_and(|field| text.is_empty() || value_text(field) == *text)
        };
        if criteria.is_empty() {
            continue;
        }
        if criteria.iter().all(fits) {
            is_found = true;
            kept.extend(new);
        } else {
            kept.push(at);
        }
    }
    *list = kept;
    if let Some(new) = new
        && !is_found
        && !arena[new].is_null()
    {
        list.push(new);
    }
    Ok(())
}

/// Tuples that share a part and differ in none become the same. Each is compared as it was before its own
/// step, so one with few values ends up as the last of those that it matches.
fn unify(tuples: &mut [ItemKey]) {
    for one in 0..tuples.len() {
        let before = tuples[one].clone();
        for other in 0..tuples.len() {
            if let Some(both) = joined(&before, &tuples[other]) {
                tuples[one].clone_from(&both);
                tuples[other] = both;
            }
        }
    }
}

fn joined(one: &ItemKey, other: &ItemKey) -> Option<ItemKey> {
    let is_shared = one.iter().zip(other).any(|(one, other)| one == other);
    let parts = one.iter().zip(other).map(|(one, other)| match (one.is_empty(), other.is_empty()) {
        (true, _) => Some(other.clone()),
        (false, true) => Some(one.clone()),
        (false, false) => (one == other).then(|| one.clone()),
    });
    let joined: Option<ItemKey> = parts.collect();
    joined.filter(|_| is_shared)
}

fn is_nothing(node: &Node) -> bool {
    node.is_null() || node.as_object().is_some_and(plumb_manifests::yaml::Map::is_empty)
}

/// The text of a key field; null counts as none.
fn key_text(node: &Node) -> Text {
    if node.is_null() { Text::default() } else { value_text(node).into() }
}

/// A scalar as it is spelled; maps and lists have no text.
fn value_text(node: &Node) -> &str {
    node.scalar().unwrap_or_default()
}
