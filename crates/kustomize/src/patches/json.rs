//! JSON patches (RFC 6902), with the liberties that Go's library takes: `replace` adds what is missing, and indices
//! may count from the end.

use plumb_manifests::yaml::{DEPTH_MAX, Node, is_plain};
use serde_json::Value;

use crate::error::BuildError;

/// What one patch may cost on one object: each value that is copied or moved, every eighth byte of it, and every
/// sixteenth item that makes room.
const WORK_MAX: usize = 200_000;
const ITEMS_PER_WORK: usize = 16;
const BYTES_PER_WORK: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    act: Act,
    path: String,
    steps: Vec<String>,
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

/// Reads a list of operations.
pub(super) fn operations(value: Value) -> Result<Vec<Operation>, BuildError> {
    let Value::Array(items) = value else {
        return Err(BuildError::invalid("a JSON patch is a list of operations"));
    };
    items.into_iter().enumerate().map(|(index, item)| operation(item, index)).collect()
}

fn operation(mut item: Value, index: usize) -> Result<Operation, BuildError> {
    let doing = |error: BuildError| error.while_doing(format!("operation {index} of the JSON patch"));
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    let (op, path, from) = (text("op").unwrap_or_default(), text("path"), text("from"));
    let Some(path) = path else {
        return Err(doing(BuildError::invalid("path is missing")));
    };
    let steps = steps(&path).map_err(doing)?;
    let from = || match &from {
        Some(from) => self::steps(from).map_err(doing),
        None => Err(doing(BuildError::invalid("from is missing"))),
    };
    let value = Node::from(item.get_mut("value").map(Value::take).unwrap_or_default());
    let act = match op.as_str() {
        "add" => Act::Add(value),
        "remove" => Act::Remove,
        "replace" => Act::Replace(value),
        "move" => Act::Move(from()?),
        "copy" => Act::Copy(from()?),
        "test" => Act::Test(value),
        other => return Err(doing(BuildError::invalid(format!("Unexpected kind: {other}")))),
    };
    Ok(Operation { act, path, steps })
}

fn steps(path: &str) -> Result<Vec<String>, BuildError> {
    let mut parts = path.split('/');
    if parts.next() != Some("") {
        return Err(BuildError::invalid(format!("path {path:?} does not begin with a slash")));
    }
    Ok(parts.map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

/// Applies all operations in order, and gives the work that it took. After an error the value is half changed.
pub(super) fn apply(value: &mut Node, operations: &[Operation]) -> Result<usize, BuildError> {
    // Go's library works on JSON, so every spelling that JSON does not have is lost here.
    *value = Node::from(value.to_json());
    let mut work = Work(0);
    for operation in operations {
        operation.apply(value, &mut work).map_err(|error| {
            let doing = format!("{} operation does not apply: {:?}", operation.act.name(), operation.path);
            error.while_doing(doing)
        })?;
    }
    settle(value);
    Ok(work.0)
}

/// kustomize prints the result and reads it again: a text is in quotes where its printer wants them. The depth is
/// limited by the reader, and so is this recursion.
fn settle(value: &mut Node) {
    match value {
        Node::Array(items) => items.iter_mut().for_each(settle),
        Node::Object(map) => map.values_mut().for_each(settle),
        Node::String(text) => text.is_quoted = !is_plain(text),
        Node::Null(_) | Node::Plain(_) => {}
    }
}

struct Work(usize);

impl Work {
    fn spend_on(&mut self, value: &Node) -> Result<(), BuildError> {
        self.spend(value.count().saturating_add(value.bytes() / BYTES_PER_WORK))
    }

    fn spend(&mut self, amount: usize) -> Result<(), BuildError> {
        self.0 = self.0.saturating_add(amount);
        if self.0 > WORK_MAX {
            let message = format!("a JSON patch moves or copies more than {WORK_MAX} values of one object");
            return Err(BuildError::over_limit(message));
        }
        Ok(())
    }
}

impl Operation {
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
                let value = get(root, from).ok_or_else(missing_path)?;
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
        self.check_depth(&value)?;
        let (parent, last) = parent(root, &self.steps)?;
        match parent {
            Node::Object(map) => {
                work.spend(map.len() / ITEMS_PER_WORK)?;
                map.insert(last.to_owned(), value);
                Ok(())
            }
            Node::Array(items) if last == "-" => {
                items.push(value);
                Ok(())
            }
            Node::Array(items) => {
                let at = index(last, items.len() + 1)?;
                work.spend((items.len() - at) / ITEMS_PER_WORK)?;
                items.insert(at, value);
                Ok(())
            }
            _ => Err(missing_path()),
        }
    }

    fn replace(&self, root: &mut Node, value: Node, work: &mut Work) -> Result<(), BuildError> {
        self.check_depth(&value)?;
        let (parent, last) = parent(root, &self.steps)?;
        match parent {
            Node::Object(map) => {
                work.spend(map.len() / ITEMS_PER_WORK)?;
                map.insert(last.to_owned(), value);
                Ok(())
            }
            Node::Array(items) => {
                let at = index(last, items.len())?;
                items[at] = value;
                Ok(())
            }
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
    let refuse = || BuildError::invalid(format!("index {step:?} is not in the list"));
    let number: isize = step.parse().map_err(|_| refuse())?;
    let at = if number < 0 {
        length.checked_sub(number.unsigned_abs())
    } else {
        Some(number.unsigned_abs()).filter(|&at| at < length)
    };
    at.ok_or_else(refuse)
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
        apply(&mut value, &operations(patch)?)?;
        Ok(value.to_json())
    }

    #[track_caller]
    fn check(patch: Value, expect: &Value) {
        assert_eq!(&patched(patch).unwrap(), expect);
    }

    #[track_caller]
    fn refuse(patch: Value, expect: &str) {
        assert_eq!(patched(patch).unwrap_err().to_string(), expect);
    }

    #[test]
    fn every_operation_does_what_it_says() {
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
    fn what_does_not_apply_is_refused_with_operation_and_path() {
        refuse(
            json!([{"op": "remove", "path": "/x"}]),
            "remove operation does not apply: \"/x\": Unable to remove nonexistent key: x",
        );
        refuse(
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            "add operation does not apply: \"/x/y\": doc is missing path",
        );
        refuse(
            json!([{"op": "test", "path": "/a/b", "value": 2}]),
            "test operation does not apply: \"/a/b\": the value there is another",
        );
        refuse(
            json!([{"op": "replace", "path": "/l/3", "value": 1}]),
            "replace operation does not apply: \"/l/3\": index \"3\" is not in the list",
        );
        refuse(json!([{"op": "foo", "path": "/a"}]), "operation 0 of the JSON patch: Unexpected kind: foo");
    }

    #[test]
    fn copies_that_double_each_time_are_stopped() {
        let double = json!({"op": "copy", "from": "/l", "path": "/l/-"});
        let patch = Value::Array(vec![double; 60]);
        assert!(patched(patch).unwrap_err().to_string().contains("more than 200000 values"));
    }
}
