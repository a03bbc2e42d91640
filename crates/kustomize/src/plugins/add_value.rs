//! One value for many fields, or for one part of the paths in them.

use plumb_filetree::RelPath;
use plumb_manifests::yaml::{self, Node};
use serde::Deserialize;
use serde_json::Value;

use super::decode::{SELECTOR, decode};
use crate::accumulate::Assembly;
use crate::error::BuildError;
use crate::field::{self, plain};
use crate::selector::Selector;
use crate::set::ResourceSet;
use crate::settings::SelectorEntry;
use crate::shape::{Fields, Keys, Shape};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    value: String,
    targets: Vec<Target>,
    target_file_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Target {
    selector: Option<SelectorEntry>,
    field_path: String,
    /// Where the value goes in a path, from 1; the whole field if 0.
    file_path_position: i64,
}

const TARGETS: Shape = Shape::List(&Shape::Record(&[
    ("selector", SELECTOR),
    ("fieldPath", Shape::Printed),
    ("filePathPosition", Shape::Integer),
]));
const FIELDS: Fields = &[("value", Shape::Printed), ("targets", TARGETS), ("targetFilePath", Shape::Printed)];

/// Adds the value to every target.
pub(super) fn run(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    config: &Value,
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    let Config { mut value, mut targets, target_file_path } = decode(config, FIELDS, Keys::AnyCase)?;
    if !target_file_path.is_empty() {
        let file = assembly.file(directory, &target_file_path)?;
        let text = assembly.reader.text(&file)?;
        let listed = yaml::parse_settings(&text, &assembly.reader.limits().yaml);
        let listed = listed.map_err(|error| BuildError::yaml(&file, &error))?;
        let more: Config = decode(&listed, FIELDS, Keys::AnyCase).map_err(|error| error.in_file(&file))?;
        targets.extend(more.targets);
    }
    check(&targets)?;
    if value.is_empty() {
        // kustomize takes the name of the directory, which the root of a tree does not have.
        let Some(name) = directory.file_name() else {
            let message =
                "fails configuration: value is empty, and the kustomization's directory has no name";
            return Err(BuildError::invalid(message));
        };
        name.clone_into(&mut value);
    }
    for target in &targets {
        let selector = target.selector.as_ref().map(Selector::new).transpose()?;
        let cost = value.len() + target.selector.as_ref().map_or(0, SelectorEntry::size);
        assembly.reader.spend(set.len(), cost)?;
        let steps = field::steps(&target.field_path);
        assembly.reader.spend(selector.as_ref().map_or(0, Selector::cost_to_compile), 0)?;
        for resource in set.iter_mut() {
            assembly.reader.spend(selector.as_ref().map_or(0, |selector| selector.cost(resource)), 0)?;
            if selector.as_ref().is_none_or(|selector| selector.selects(resource)) {
                let id = resource.current_id();
                let field = reach(&mut resource.value, &steps).and_then(|field| target.write(field, &value));
                field.map_err(|error| error.while_doing(format!("field {:?} of {id}", target.field_path)))?;
            }
        }
    }
    Ok(())
}

fn check(targets: &[Target]) -> Result<(), BuildError> {
    let reject = |message: &str| Err(BuildError::invalid(format!("fails configuration: {message}")));
    if targets.is_empty() {
        return reject("must specify at least one target");
    }
    for target in targets {
        if target.field_path.is_empty() {
            return reject("fieldPath cannot be empty");
        }
        if target.file_path_position < 0 {
            return reject("filePathPosition cannot be negative");
        }
    }
    Ok(())
}

/// The field at the end of a path, made where it is missing.
fn reach<'n>(value: &'n mut Node, steps: &[String]) -> Result<&'n mut Node, BuildError> {
    let mut at = value;
    for step in steps {
        if at.is_null() {
            *at = Node::object();
        }
        at = match at {
            Node::Object(map) => map.entry_or(step, Node::default),
            Node::Array(items) => {
                let index = step.parse::<usize>().ok();
                let item = index.and_then(|index| items.get_mut(index));
                item.ok_or_else(|| BuildError::invalid(format!("a list has no item {step:?}")))?
            }
            other => {
                let noun = other.noun();
                return Err(BuildError::invalid(format!("step {step:?} leads into {noun}")));
            }
        };
    }
    Ok(at)
}

impl Target {
    fn write(&self, field: &mut Node, value: &str) -> Result<(), BuildError> {
        let Some(old) = (if field.is_null() { Some("") } else { field.scalar() }) else {
            let noun = field.noun();
            return Err(BuildError::invalid(format!("wrong node kind: expected ScalarNode but got {noun}")));
        };
        let new = match usize::try_from(self.file_path_position) {
            Ok(0) | Err(_) => value.to_owned(),
            Ok(position) => in_path(old, position - 1, value),
        };
        // A name is a text, also if it looks like another type.
        *field = if self.field_path == "metadata/namespace" { Node::text(new) } else { plain(&new) };
        Ok(())
    }
}

/// A path with one more part in it.
fn in_path(path: &str, index: usize, part: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.insert(index.min(parts.len()), part);
    let start = if path.starts_with('/') { "/" } else { "" };
    format!("{start}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_put_into_a_path() {
        for (path, position, expect) in [
            ("a/b", 1, "V/a/b"),
            ("a/b", 2, "a/V/b"),
            ("a/b", 10, "a/b/V"),
            ("/a/b/c/", 3, "/a/b/V/c"),
            ("/a/b", 1, "/V/a/b"),
            ("a//b", 2, "a/V/b"),
            ("", 2, "V"),
        ] {
            assert_eq!(in_path(path, position - 1, "V"), expect, "{path} {position}");
        }
    }

    #[test]
    fn missing_fields_are_made_and_lists_are_entered_by_index() {
        let mut value = Node::from(serde_json::json!({"l": [{"a": 1}]}));
        for path in ["x/y", "l/0/a"] {
            *reach(&mut value, &field::steps(path)).unwrap() = "new".into();
        }
        assert_eq!(value, serde_json::json!({"l": [{"a": "new"}], "x": {"y": "new"}}));
        assert!(reach(&mut value, &field::steps("l/a")).is_err());
        assert!(reach(&mut value, &field::steps("x/y/z")).is_err());
    }
}
