//! Obstruction: foreign list items that stand in the way of an apply (drift.md §4).
//!
//! When a list item's merge key was edited, the server keeps both the edited item and ours, and then refuses the pair (a
//! Service with two ports of one name). Exactly such items are removed, nothing else.

use plumb_manifests::Object;
use serde_json::{Value, json};

use crate::fields::{key_of, matches_key};
use crate::fields_table;

/// Fields that are unique within a list, though they are not its merge key.
const UNIQUE: [&str; 3] = ["name", "nodePort", "mountPath"];

/// How deep objects are searched.
const DEPTH_MAX: usize = 32;

/// The JSON patch, bound to the live resourceVersion, that removes the items in the way; `None` when there is none.
pub fn patch(desired: &Object, live: &Object) -> Option<Value> {
    let mut removals = Vec::new();
    search(desired.value(), live.value(), "", 0, &mut removals);
    if removals.is_empty() {
        return None;
    }
    // From the back, so that positions stay valid.
    removals.reverse();
    let mut operations = Vec::new();
    if let Some(version) = live.at(&["metadata", "resourceVersion"]) {
        operations.push(json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
    }
    operations.extend(removals.into_iter().map(|path| json!({"op": "remove", "path": path})));
    Some(Value::Array(operations))
}

fn search(desired: &Value, live: &Value, pointer: &str, depth: usize, removals: &mut Vec<String>) {
    if depth >= DEPTH_MAX {
        return;
    }
    let (Some(wanted), Some(present)) = (desired.as_object(), live.as_object()) else { return };
    for (name, value) in wanted {
        let Some(there) = present.get(name) else { continue };
        let next = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        match (value.as_array(), there.as_array()) {
            (Some(wanted), Some(present)) => list(name, wanted, present, &next, depth, removals),
            (None, _) | (_, None) => search(value, there, &next, depth + 1, removals),
        }
    }
}

fn list(
    name: &str,
    wanted: &[Value],
    present: &[Value],
    pointer: &str,
    depth: usize,
    removals: &mut Vec<String>,
) {
    let Some(keys) = fields_table::merge_keys(name, wanted) else { return };
    for (at, item) in present.iter().enumerate() {
        let ours = wanted.iter().find(|want| matches_key(item, &key_of(want, keys)));
        match ours {
            Some(want) => search(want, item, &format!("{pointer}/{at}"), depth + 1, removals),
            None if wanted.iter().any(|want| collides(want, item, keys)) => {
                removals.push(format!("{pointer}/{at}"));
            }
            None => {}
        }
    }
}

fn collides(want: &Value, item: &Value, keys: &[&str]) -> bool {
    UNIQUE
        .iter()
        .filter(|field| !keys.contains(field))
        .any(|field| want.get(field).is_some_and(|value| item.get(field) == Some(value)))
}
