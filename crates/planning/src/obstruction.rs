//! Obstruction: foreign list items that conflict with an apply (drift.md §4).
//!
//! When a list item's merge key was edited, the server keeps both the edited item and ours, and then rejects the pair (a
//! Service with two ports of one name). Exactly such items are removed, nothing else.

use plumb_manifests::Object;
use serde_json::{Value, json};

use crate::fields::{key_of, matches_key};
use crate::fields_table;

/// Fields that are unique within a list, though they are not its merge key.
const UNIQUE: [&str; 3] = ["name", "nodePort", "mountPath"];

/// How deep objects are searched.
const DEPTH_MAX: usize = 32;

/// The JSON patch, bound to the live resourceVersion, that removes the conflicting items; `None` when there is none. The first
/// of them becomes the wanted item again, since a list that must not be empty could not lose its last one.
pub fn patch(desired: &Object, live: &Object) -> Option<Value> {
    let mut found = Vec::new();
    search(desired.value(), live.value(), "", 0, &mut found);
    if found.is_empty() {
        return None;
    }
    let mut operations = Vec::new();
    if let Some(version) = live.at(&["metadata", "resourceVersion"]) {
        operations.push(json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
    }
    // From the back, so that positions stay valid.
    operations.extend(found.into_iter().rev().map(|obstacle| match obstacle.becomes {
        Some(value) => json!({"op": "replace", "path": obstacle.path, "value": value}),
        None => json!({"op": "remove", "path": obstacle.path}),
    }));
    Some(Value::Array(operations))
}

/// An item in the way.
struct Obstacle {
    path: String,
    /// What it becomes; nothing: it is removed.
    becomes: Option<Value>,
}

fn search(desired: &Value, live: &Value, pointer: &str, depth: usize, found: &mut Vec<Obstacle>) {
    if depth >= DEPTH_MAX {
        return;
    }
    let (Some(desired_items), Some(present)) = (desired.as_object(), live.as_object()) else { return };
    for (name, value) in desired_items {
        let Some(there) = present.get(name) else { continue };
        let next = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        match (value.as_array(), there.as_array()) {
            (Some(desired_items), Some(present)) => list(name, desired_items, present, &next, depth, found),
            (None, _) | (_, None) => search(value, there, &next, depth + 1, found),
        }
    }
}

fn list(
    name: &str,
    desired_items: &[Value],
    present: &[Value],
    pointer: &str,
    depth: usize,
    found: &mut Vec<Obstacle>,
) {
    let Some(keys) = fields_table::merge_keys(name, desired_items) else { return };
    // Desired items without a live item.
    let mut absent: Vec<&Value> = desired_items
        .iter()
        .filter(|desired_item| !present.iter().any(|item| matches_key(item, &key_of(desired_item, keys))))
        .collect();
    for (at, item) in present.iter().enumerate() {
        let path = format!("{pointer}/{at}");
        if let Some(desired_item) =
            desired_items.iter().find(|desired_item| matches_key(item, &key_of(desired_item, keys)))
        {
            search(desired_item, item, &path, depth + 1, found);
        } else if let Some(place) = absent.iter().position(|desired_item| collides(desired_item, item, keys))
        {
            let becomes = Some(overlaid(item, absent.remove(place), keys));
            found.push(Obstacle { path, becomes });
        } else if desired_items.iter().any(|desired_item| collides(desired_item, item, keys)) {
            found.push(Obstacle { path, becomes: None });
        }
    }
}

/// The live item with the desired fields; fields that the server allocated are preserved.
fn overlaid(item: &Value, desired_item: &Value, keys: &[&str]) -> Value {
    let mut merged = item.clone();
    for (field, value) in desired_item.as_object().into_iter().flatten() {
        merged[field] = value.clone();
    }
    for key in keys.iter().filter(|key| desired_item.get(key).is_none()) {
        if let Some(value) = fields_table::key_default(key) {
            merged[*key] = value;
        }
    }
    merged
}

fn collides(desired_item: &Value, item: &Value, keys: &[&str]) -> bool {
    UNIQUE
        .iter()
        .filter(|field| !keys.contains(field))
        .any(|field| desired_item.get(field).is_some_and(|value| item.get(field) == Some(value)))
}
