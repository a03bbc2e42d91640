//! JSON patches (RFC 6902), with the liberties that Go's library takes: `replace` adds what is missing, and indices
//! may count from the end.

use std::fmt;

use plumb_manifests::yaml::{DEPTH_MAX, Node, PlainKind, is_plain};
use serde_json::Value;

use crate::error::BuildError;
use crate::passage;
use crate::reordered::{Reordered, Touch, Watch};

/// The cost limit of one patch on one object: each value that is copied or moved, every eighth byte of it, and every
/// sixteenth item that is shifted.
const WORK_MAX: usize = 200_000;
const ITEMS_PER_WORK: usize = 16;
const BYTES_PER_WORK: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    act: Act,
    path: String,
    steps: Vec<String>,
    has_slash: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Act {
    Add(Node),
    Remove,
    Replace(Node),
    Move(Vec<String>),
    Copy(Vec<String>),
    Test(Node),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.act.name(), self.path)
    }
}

impl Operation {
    /// Whether its path, and that which it takes a value from, begins with a slash.
    pub(super) fn has_slash(&self) -> bool {
        self.has_slash
    }
}

impl Act {
    fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove => "remove",
            Self::Replace(_) => "replace",
            Self::Move(_) => "move",
            Self::Copy(_) => "copy",
            Self::Test(_) => "test",
        }
    }
}

/// The items of a JSON patch, if it is a list of maps.
pub(super) fn items(value: Value) -> Result<Vec<Value>, BuildError> {
    match value {
        Value::Array(items) if items.iter().all(|item| item.is_object() || item.is_null()) => Ok(items),
        _ => Err(BuildError::invalid("a JSON patch is a list of operations")),
    }
}

/// Reads the items of a JSON patch.
pub(super) fn operations(items: Vec<Value>) -> Result<Vec<Operation>, BuildError> {
    items.into_iter().enumerate().map(|(index, item)| operation(item, index)).collect()
}

fn operation(mut item: Value, index: usize) -> Result<Operation, BuildError> {
    let reject = |message: String| {
        BuildError::invalid(message).while_doing(format!("operation {index} of the JSON patch"))
    };
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    let (op, path, from) = (text("op").unwrap_or_default(), text("path"), text("from"));
    let Some(path) = path else {
        return Err(reject("path is missing".to_owned()));
    };
    let mut has_slash = path.is_empty() || path.starts_with('/');
    let mut from = || match &from {
        Some(from) => {
            has_slash &= from.is_empty() || from.starts_with('/');
            Ok(steps(from))
        }
        None => Err(reject("from is missing".to_owned())),
    };
    let value = Node::from(item.get_mut("value").map(Value::take).unwrap_or_default());
    let act = match op.as_str() {
        "add" => Act::Add(value),
        "remove" => Act::Remove,
        "replace" => Act::Replace(value),
        "move" => Act::Move(from()?),
        "copy" => Act::Copy(from()?),
        "test" => Act::Test(value),
        other => return Err(reject(format!("Unexpected kind: {other}"))),
    };
    let steps = steps(&path);
    Ok(Operation { act, path, steps, has_slash })
}

/// The keys and indices of a path. Text before the first slash is ignored, as in Go's library.
fn steps(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// Whether an operation reads the metadata, or takes them elsewhere.
pub(super) fn reads_metadata(operations: &[Operation]) -> bool {
    operations.iter().any(|operation| {
        let read = match &operation.act {
            Act::Move(from) | Act::Copy(from) => from,
            Act::Test(_) | Act::Remove => &operation.steps,
            Act::Add(_) | Act::Replace(_) => return false,
        };
        matches!(read.as_slice(), [first] if first == "metadata")
            || matches!(read.as_slice(), [first, second, ..] if first == "metadata" && second == "annotations")
    })
}

/// Effects of a JSON patch on an object beyond its operations.
#[derive(Debug)]
pub(super) struct Applied {
    /// The work that it took.
    pub work: usize,
    /// Integers that are others now, with their places.
    pub rounded: Vec<String>,
    /// Indices that lead to other items than before the patches in front.
    pub surprises: Vec<String>,
    /// The lists that are still in the order of the patches in front.
    pub reordered: Vec<Reordered>,
}

/// Applies all operations in order. After an error the value is half changed.
pub(super) fn apply(
    value: &mut Node,
    operations: &[Operation],
    reordered: Vec<Reordered>,
) -> Result<Applied, BuildError> {
    apply_within(value, operations, reordered, WORK_MAX)
}

fn apply_within(
    value: &mut Node,
    operations: &[Operation],
    reordered: Vec<Reordered>,
    max: usize,
) -> Result<Applied, BuildError> {
    // Go's library works on JSON, so every spelling that JSON does not have is lost here.
    passage::rewrite(value);
    passage::check_finite(value)?;
    *value = Node::from(value.to_json());
    let mut work = Work { done: 0, max };
    let mut watch = Watch::new(reordered);
    for operation in operations {
        operation.show(value, &mut watch);
        operation.apply(value, &mut work).map_err(|error| {
            let doing = format!("{} operation does not apply: {:?}", operation.act.name(), operation.path);
            error.while_doing(doing)
        })?;
    }
    let rounded = rounded(value);
    settle(value);
    let (reordered, surprises) = watch.finish();
    Ok(Applied { work: work.done, rounded, surprises, reordered })
}

/// Places of integers that are named; further ones are counted.
const PLACES_MAX: usize = 8;

/// The integers that change because kustomize makes floats of them.
fn rounded(value: &Node) -> Vec<String> {
    if !holds_inexact(value) {
        return Vec::new();
    }
    let mut places = Vec::new();
    find_inexact(value, &mut Vec::new(), &mut places);
    let count = places.len();
    places.truncate(PLACES_MAX);
    if count > PLACES_MAX {
        places.push(format!("{} more integers change", count - PLACES_MAX));
    }
    places
}

/// The nesting is limited by the reader, and so are these recursions.
fn holds_inexact(value: &Node) -> bool {
    match value {
        Node::Array(items) => items.iter().any(holds_inexact),
        Node::Object(map) => map.values().any(holds_inexact),
        scalar => inexact(scalar).is_some(),
    }
}

fn find_inexact(value: &Node, path: &mut Vec<String>, places: &mut Vec<String>) {
    let mut below = |key: String, value: &Node| {
        path.push(key);
        find_inexact(value, path, places);
        path.pop();
    };
    match value {
        Node::Array(items) => {
            items.iter().enumerate().for_each(|(place, item)| below(place.to_string(), item));
        }
        Node::Object(map) => map.iter().for_each(|(key, value)| below(key.to_owned(), value)),
        scalar => {
            if let Some((before, after)) = inexact(scalar) {
                places.push(format!("{} becomes {after} instead of {before}", path.join(".")));
            }
        }
    }
}

/// An integer that a float does not hold, and the float.
fn inexact(node: &Node) -> Option<(&str, String)> {
    let Node::Plain(plain) = node else { return None };
    if plain.kind != PlainKind::Integer || plain.text.len() < EXACT_DIGITS {
        return None;
    }
    let float = format!("{:.0}", plain.text.parse::<f64>().ok()?);
    (float != plain.text).then_some((plain.text.as_str(), float))
}

/// Integers of fewer digits are floats exactly.
const EXACT_DIGITS: usize = 16;

/// kustomize prints the result and reads it again: a text is quoted where its printer quotes it, and a number has
/// become a float on the way. The depth is limited by the reader, and so is this recursion.
fn settle(value: &mut Node) {
    match value {
        Node::Array(items) => items.iter_mut().for_each(settle),
        Node::Object(map) => map.values_mut().for_each(settle),
        Node::String(text) => text.is_quoted = !is_plain(text),
        Node::Plain(plain) if plain.kind == PlainKind::Integer && plain.text.len() >= EXPONENT_DIGITS => {
            if let Ok(float) = plain.text.parse::<f64>() {
                *value = Node::from(Value::from(float));
            }
        }
        Node::Null(_) | Node::Plain(_) => {}
    }
}

/// From so many digits on, the printer writes an exponent, which shows where the number ends up in a text.
const EXPONENT_DIGITS: usize = 7;

struct Work {
    done: usize,
    max: usize,
}

impl Work {
    fn spend_on(&mut self, value: &Node) -> Result<(), BuildError> {
        self.spend(value.count().saturating_add(value.bytes() / BYTES_PER_WORK))
    }

    fn spend(&mut self, amount: usize) -> Result<(), BuildError> {
        self.done = self.done.saturating_add(amount);
        if self.done > self.max {
            let message = format!("a JSON patch moves or copies more than {} values of one object", self.max);
            return Err(BuildError::over_limit(message));
        }
        Ok(())
    }
}

impl Operation {
    /// Shows where it leads before it is applied.
    fn show(&self, root: &Node, watch: &mut Watch) {
        let (before, touch) = match &self.act {
            Act::Add(_) => (None, Touch::Insert),
            Act::Remove => (None, Touch::Remove),
            Act::Replace(_) => (None, Touch::Use),
            Act::Move(from) => (Some((from, Touch::Remove)), Touch::Insert),
            Act::Copy(from) => (Some((from, Touch::Use)), Touch::Insert),
            Act::Test(_) => (None, Touch::Test),
        };
        if let Some((from, touch)) = before {
            watch.look(root, touch, from);
        }
        watch.look(root, touch, &self.steps);
    }

    fn apply(&self, root: &mut Node, work: &mut Work) -> Result<(), BuildError> {
        match &self.act {
            Act::Add(value) => self.add(root, value.clone(), work),
            Act::Remove => remove(root, &self.steps, work).map(drop),
            Act::Replace(value) => self.replace(root, value.clone(), work),
            Act::Move(from) => {
                let value = remove(root, from, work)?;
                work.spend_on(&value)?;
                self.add(root, value, work)
            }
            Act::Copy(from) => {
                let value = copied(root, from)?;
                work.spend_on(value)?;
                let value = value.clone();
                self.add(root, value, work)
            }
            Act::Test(value) => match get(root, &self.steps) {
                Some(found) if found == value => Ok(()),
                None if value.is_null() => Ok(()),
                _ => Err(BuildError::invalid("the value there is another")),
            },
        }
    }

    fn check_depth(&self, value: &Node) -> Result<(), BuildError> {
        if self.steps.len() + depth(value) > DEPTH_MAX {
            return Err(BuildError::over_limit(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(())
    }

    fn add(&self, root: &mut Node, value: Node, work: &mut Work) -> Result<(), BuildError> {
        self.put(root, value, work, |items, last, value, work| {
            let at = if last == "-" { items.len() } else { index(last, items.len() + 1)? };
            work.spend((items.len() - at) / ITEMS_PER_WORK)?;
            items.insert(at, value);
            Ok(())
        })
    }

    fn replace(&self, root: &mut Node, value: Node, work: &mut Work) -> Result<(), BuildError> {
        self.put(root, value, work, |items, last, value, _| {
            let at = index(last, items.len())?;
            items[at] = value;
            Ok(())
        })
    }

    /// Puts a value under the key of a map, or into a list.
    fn put(
        &self,
        root: &mut Node,
        value: Node,
        work: &mut Work,
        into_list: impl FnOnce(&mut Vec<Node>, &str, Node, &mut Work) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        self.check_depth(&value)?;
        let (parent, last) = parent(root, &self.steps)?;
        match parent {
            Node::Object(map) => {
                work.spend(map.len() / ITEMS_PER_WORK)?;
                map.insert(last.to_owned(), value);
                Ok(())
            }
            Node::Array(items) => into_list(items, last, value, work),
            _ => Err(missing_path()),
        }
    }
}

fn remove(root: &mut Node, steps: &[String], work: &mut Work) -> Result<Node, BuildError> {
    let (parent, last) = parent(root, steps)?;
    match parent {
        Node::Object(map) => {
            work.spend(map.len() / ITEMS_PER_WORK)?;
            let removed = map.remove(last);
            removed.ok_or_else(|| BuildError::invalid(format!("Unable to remove nonexistent key: {last}")))
        }
        Node::Array(items) => {
            let at = index(last, items.len())?;
            work.spend((items.len() - at) / ITEMS_PER_WORK)?;
            Ok(items.remove(at))
        }
        _ => Err(missing_path()),
    }
}

fn get<'v>(root: &'v Node, steps: &[String]) -> Option<&'v Node> {
    steps.iter().try_fold(root, |value, step| match value {
        Node::Object(map) => map.get(step),
        Node::Array(items) => items.get(index(step, items.len()).ok()?),
        _ => None,
    })
}

/// What is copied: nothing, where a map does not have the key.
fn copied<'v>(root: &'v Node, from: &[String]) -> Result<&'v Node, BuildError> {
    const NOTHING: &Node = &Node::NULL;
    let (last, way) = from.split_last().ok_or_else(missing_path)?;
    match get(root, way).ok_or_else(missing_path)? {
        Node::Object(map) => Ok(map.get(last).unwrap_or(NOTHING)),
        Node::Array(items) => Ok(&items[index(last, items.len())?]),
        _ => Err(missing_path()),
    }
}

fn parent<'v, 's>(root: &'v mut Node, steps: &'s [String]) -> Result<(&'v mut Node, &'s str), BuildError> {
    let (last, way) = steps.split_last().ok_or_else(missing_path)?;
    let parent = way.iter().try_fold(root, |value, step| match value {
        Node::Object(map) => map.get_mut(step),
        Node::Array(items) => {
            let at = index(step, items.len()).ok()?;
            items.get_mut(at)
        }
        _ => None,
    });
    Ok((parent.ok_or_else(missing_path)?, last))
}

/// An index below `length`; a negative one counts from the end.
fn index(step: &str, length: usize) -> Result<usize, BuildError> {
    let reject = || BuildError::invalid(format!("index {step:?} is not in the list"));
    let number: isize = step.parse().map_err(|_| reject())?;
    let at = if number < 0 {
        length.checked_sub(number.unsigned_abs())
    } else {
        Some(number.unsigned_abs()).filter(|&at| at < length)
    };
    at.ok_or_else(reject)
}

fn missing_path() -> BuildError {
    BuildError::invalid("doc is missing path")
}

/// Levels inside each other. The reader limits them, and so this recursion.
fn depth(value: &Node) -> usize {
    match value {
        Node::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Node::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: Value) -> Result<Value, BuildError> {
        let mut value = Node::from(json!({"a": {"b": 1}, "l": [1, 2, 3]}));
        apply(&mut value, &operations(items(patch)?)?, Vec::new())?;
        Ok(value.to_json())
    }

    #[track_caller]
    fn check(patch: Value, expect: &Value) {
        assert_eq!(&patched(patch).unwrap(), expect);
    }

    #[track_caller]
    fn reject(patch: Value, expect: &str) {
        assert_eq!(patched(patch).unwrap_err().to_string(), expect);
    }

    #[test]
    fn every_operation_has_its_effect() {
        check(
            json!([{"op": "add", "path": "/a/c", "value": 2}]),
            &json!({"a": {"b": 1, "c": 2}, "l": [1, 2, 3]}),
        );
        check(json!([{"op": "add", "path": "/l/-", "value": 4}]), &json!({"a": {"b": 1}, "l": [1, 2, 3, 4]}));
        check(json!([{"op": "add", "path": "/l/1", "value": 9}]), &json!({"a": {"b": 1}, "l": [1, 9, 2, 3]}));
        check(json!([{"op": "remove", "path": "/l/-1"}]), &json!({"a": {"b": 1}, "l": [1, 2]}));
        check(
            json!([{"op": "replace", "path": "/a/new", "value": 1}]),
            &json!({"a": {"b": 1, "new": 1}, "l": [1, 2, 3]}),
        );
        check(
            json!([{"op": "move", "from": "/a/b", "path": "/c"}]),
            &json!({"a": {}, "c": 1, "l": [1, 2, 3]}),
        );
        check(
            json!([{"op": "test", "path": "/a/b", "value": 1}, {"op": "copy", "from": "/l/0", "path": "/a/b"}]),
            &json!({"a": {"b": 1}, "l": [1, 2, 3]}),
        );
    }

    #[test]
    fn a_patch_that_does_not_apply_is_rejected_with_operation_and_path() {
        reject(
            json!([{"op": "remove", "path": "/x"}]),
            "remove operation does not apply: \"/x\": Unable to remove nonexistent key: x",
        );
        reject(
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            "add operation does not apply: \"/x/y\": doc is missing path",
        );
        reject(
            json!([{"op": "test", "path": "/a/b", "value": 2}]),
            "test operation does not apply: \"/a/b\": the value there is another",
        );
        reject(
            json!([{"op": "replace", "path": "/l/3", "value": 1}]),
            "replace operation does not apply: \"/l/3\": index \"3\" is not in the list",
        );
        reject(json!([{"op": "foo", "path": "/a"}]), "operation 0 of the JSON patch: Unexpected kind: foo");
    }

    #[test]
    fn copies_that_double_each_time_are_stopped() {
        let double = json!({"op": "copy", "from": "/l", "path": "/l/-"});
        let patch = operations(items(Value::Array(vec![double; 8])).unwrap()).unwrap();
        let object = || Node::from(json!({"l": [1, 2, 3]}));
        assert!(apply_within(&mut object(), &patch, Vec::new(), WORK_MAX).is_ok());
        let rejected = apply_within(&mut object(), &patch, Vec::new(), 200).unwrap_err();
        assert!(rejected.to_string().contains("more than 200 values"), "{rejected}");
    }
}
