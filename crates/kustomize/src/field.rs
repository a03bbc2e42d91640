//! A field specification: which field of which kinds, and the walk to it.

use std::collections::BTreeMap;

use plumb_manifests::yaml::{self, Dialect, Node, Plain, Scalar, Str, Text, is_plain};

use crate::error::BuildError;
use crate::identity::Gvk;
use crate::resource::Resource;

/// Which field of which kinds a transformer writes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FieldSpec {
    /// Empty parts mean any.
    pub gvk: Gvk,
    /// As written: `spec/template/metadata/labels`.
    pub path: String,
    /// Whether missing maps on the way are made.
    pub create: bool,
    steps: Vec<Step>,
}

/// One key on the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    name: Text,
    /// Whether the path requires a list there.
    is_list: bool,
}

/// What is made at the end of a path that leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Nothing,
    Scalar,
    Map,
}

/// Longer paths than this lead to no field of a manifest.
const PATH_STEPS_MAX: usize = 100;

type Visit<'v> = dyn FnMut(&mut Node) -> Result<(), BuildError> + 'v;

impl FieldSpec {
    pub(crate) fn new(gvk: Gvk, path: impl Into<String>, create: bool) -> Self {
        let path = path.into();
        let step = |step: String| match step.strip_suffix("[]") {
            Some(name) => Step { name: name.into(), is_list: true },
            None => Step { name: step.into(), is_list: false },
        };
        let steps = steps(&path).into_iter().map(step).collect();
        Self { gvk, path, create, steps }
    }

    /// Calls `visit` with every field that the path leads to.
    fn walk(&self, value: &mut Node, make: Make, visit: &mut Visit<'_>) -> Result<(), BuildError> {
        if self.steps.len() > PATH_STEPS_MAX {
            let message = format!("a field path has more than {PATH_STEPS_MAX} steps");
            return Err(BuildError::over_limit(message));
        }
        if self.steps.is_empty() {
            return Err(BuildError::invalid("cannot set or create an empty field name"));
        }
        let walk = Walk { create: self.create && make != Make::Nothing, make };
        walk.go(value, &self.steps, visit)
    }

    /// Calls `visit` with every field of a resource, if its kind is meant, naming field and object in errors.
    pub(crate) fn visit_resource(
        &self,
        resource: &mut Resource,
        make: Make,
        visit: &mut Visit<'_>,
    ) -> Result<(), BuildError> {
        if resource.gvk().is_selected_by(&self.gvk) {
            self.visit_resource_of_any_kind(resource, make, visit)
        } else {
            Ok(())
        }
    }

    /// The same for every kind of resource.
    pub(crate) fn visit_resource_of_any_kind(
        &self,
        resource: &mut Resource,
        make: Make,
        visit: &mut Visit<'_>,
    ) -> Result<(), BuildError> {
        // kustomize's notes are annotations, so there are some, even if a patch replaced them.
        let has_notes = self.path.starts_with("metadata/annotations") && resource.has_notes();
        let own = resource.value.at(&["metadata", "annotations"]);
        let is_bare = has_notes && own.is_none_or(|own| !own.is_object());
        if is_bare {
            resource.annotations();
        }
        let walked = self.walk(&mut resource.value, make, visit);
        if is_bare && resource.annotations().is_empty() {
            resource.set_metadata_texts("annotations", BTreeMap::new());
        }
        walked.map_err(|error| {
            let field = format!("considering field '{}' of object {}", self.path, resource.current_id());
            error.while_doing(field)
        })
    }
}

struct Walk {
    create: bool,
    make: Make,
}

impl Walk {
    /// The depth of lists is limited by the reader, and so is this recursion.
    fn go(&self, value: &mut Node, steps: &[Step], visit: &mut Visit<'_>) -> Result<(), BuildError> {
        let Some((step, rest)) = steps.split_first() else {
            return visit(value);
        };
        match value {
            Node::Null(_) => Ok(()),
            Node::Array(items) => items.iter_mut().try_for_each(|item| self.go(item, steps, visit)),
            Node::Object(map) => {
                if self.create && !step.is_list {
                    let is_scalar = rest.is_empty() && self.make == Make::Scalar;
                    // What is made is empty, and what is null is not: kustomize puts a prefix before `null`.
                    let made = || if is_scalar { Node::text("") } else { Node::object() };
                    let field = map.entry_or(&step.name, made);
                    if field.is_null() && !is_scalar {
                        *field = Node::object();
                    }
                    return self.go(field, rest, visit);
                }
                match map.get_mut(&step.name) {
                    Some(field) => {
                        if step.is_list && field.is_null() {
                            *field = Node::Array(Vec::new());
                        }
                        if step.is_list && field.is_array() && rest.is_empty() {
                            return visit(field);
                        }
                        self.go(field, rest, visit)
                    }
                    None => Ok(()),
                }
            }
            Node::Plain(_) | Node::String(_) => Err(BuildError::invalid("expected sequence or mapping node")),
        }
    }
}

/// The paths of many specifications, those that begin alike walked together.
#[derive(Debug, Default)]
pub(crate) struct FieldTree {
    branches: Vec<(Step, FieldTree)>,
    /// The numbers of the specifications that end here.
    ends: Vec<usize>,
}

impl FieldTree {
    /// Adds the path of a specification, which is called by this number from here on.
    pub(crate) fn add(&mut self, spec: &FieldSpec, number: usize) {
        let mut tree = self;
        for step in spec.steps.iter().take(PATH_STEPS_MAX) {
            let at = tree.branches.iter().position(|(own, _)| own == step).unwrap_or_else(|| {
                tree.branches.push((step.clone(), Self::default()));
                tree.branches.len() - 1
            });
            tree = &mut tree.branches[at].1;
        }
        tree.ends.push(number);
    }

    /// Calls `visit` with every field that a path leads to, and the numbers of those that do. Nothing is made on the
    /// way. An error comes with the number of a specification that led to it.
    pub(crate) fn visit(
        &self,
        value: &mut Node,
        visit: &mut dyn FnMut(usize, &mut Node) -> Result<(), BuildError>,
    ) -> Result<(), (usize, BuildError)> {
        for &number in &self.ends {
            visit(number, value).map_err(|error| (number, error))?;
        }
        self.descend(value, visit)
    }

    /// The depth of lists is limited by the reader, and that of the tree by its paths, and so is this recursion.
    fn descend(
        &self,
        value: &mut Node,
        visit: &mut dyn FnMut(usize, &mut Node) -> Result<(), BuildError>,
    ) -> Result<(), (usize, BuildError)> {
        if self.branches.is_empty() {
            return Ok(());
        }
        match value {
            Node::Null(_) => Ok(()),
            Node::Array(items) => items.iter_mut().try_for_each(|item| self.descend(item, visit)),
            Node::Object(map) => self.branches.iter().try_for_each(|(step, branch)| {
                let Some(field) = map.get_mut(&step.name) else { return Ok(()) };
                if step.is_list && field.is_null() {
                    *field = Node::Array(Vec::new());
                }
                branch.visit(field, visit)
            }),
            Node::Plain(_) | Node::String(_) => {
                Err((self.any_end(), BuildError::invalid("expected sequence or mapping node")))
            }
        }
    }

    fn any_end(&self) -> usize {
        let mut tree = self;
        loop {
            match (tree.ends.first(), tree.branches.first()) {
                (Some(&number), _) => return number,
                (None, Some((_, branch))) => tree = branch,
                (None, None) => return 0,
            }
        }
    }
}

/// Cuts a path at its slashes; `\/` is a slash in a name.
pub(crate) fn steps(path: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut characters = path.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, steps.last_mut()) {
            ('\\', Some(last)) if characters.peek() == Some(&'/') => {
                last.push('/');
                characters.next();
            }
            ('/', _) => steps.push(String::new()),
            (_, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    steps.retain(|step| !step.is_empty());
    steps
}

/// A text that kustomize writes where there was none: in quotes if YAML 1.1 reads it as anything but a text, and then a
/// number that a patch puts in its place becomes a text, too.
pub(crate) fn made_text(text: impl Into<Text>) -> Node {
    let text = text.into();
    let is_quoted = !is_read_as_text(&text);
    Node::String(Str::new(text, is_quoted))
}

/// What is not YAML at all counts as a text; several lines are written as a block, which is like quotes.
fn is_read_as_text(text: &str) -> bool {
    /// A longer text is no number, and is not read.
    const READ_BYTES_MAX: usize = 1024;
    if text.contains('\n') {
        return false;
    }
    text.is_empty()
        || text.len() > READ_BYTES_MAX
        || is_plain(text)
        || yaml::resolve(text, Dialect::Settings) != Scalar::NotFinite
            && yaml::parse_settings(text, &yaml::Limits::default()).map_or(true, |value| value.is_string())
}

/// Writes a text over a scalar: in quotes it stays a text, else it is what it means, and so is what replaces it.
pub(crate) fn overwrite(field: &mut Node, text: &str) {
    *field = if field.is_quoted() { Node::quoted(text) } else { plain(text).bare() };
}

/// Rejects a list or map instead of a scalar.
pub(crate) fn check_scalar(field: &Node) -> Result<(), BuildError> {
    let noun = match field {
        Node::Array(_) => "SequenceNode",
        Node::Object(_) => "MappingNode",
        Node::Null(_) | Node::Plain(_) | Node::String(_) => return Ok(()),
    };
    Err(BuildError::invalid(format!("wrong node kind: expected ScalarNode but got {noun}")))
}

/// Rejects a key that kustomize would write without quotes, and that is no string then.
pub(crate) fn check_key(key: &str) -> Result<(), BuildError> {
    if yaml::resolve(key, Dialect::Objects) == Scalar::Text {
        return Ok(());
    }
    let message = format!("key {key:?} is no text for kustomize, and JSON has no other keys: choose another");
    Err(BuildError::invalid(message))
}

/// The value of a text without quotes.
pub(crate) fn plain(text: &str) -> Node {
    match yaml::resolve(text, Dialect::Objects) {
        Scalar::Plain(kind) => Node::Plain(Plain::new(kind, text)),
        Scalar::Null => Node::NULL,
        Scalar::Text | Scalar::NotFinite | Scalar::Merge => Node::text(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(path: &str, create: bool, make: Make, before: Value, expect: &Value) {
        let spec = FieldSpec::new(Gvk::default(), path, create);
        let mut value = Node::from(before);
        spec.walk(&mut value, make, &mut |field| {
            *field = "new".into();
            Ok(())
        })
        .unwrap();
        assert_eq!(value, *expect);
    }

    #[test]
    fn lists_are_walked_through_whether_marked_or_not() {
        let before = json!({"a": [{"b": 1}, {"c": 1}]});
        check("a/b", false, Make::Scalar, before.clone(), &json!({"a": [{"b": "new"}, {"c": 1}]}));
        check("a[]/b", false, Make::Scalar, before, &json!({"a": [{"b": "new"}, {"c": 1}]}));
    }

    #[test]
    fn missing_maps_are_created_only_where_requested() {
        check("a/b", true, Make::Scalar, json!({}), &json!({"a": {"b": "new"}}));
        check("a/b", true, Make::Scalar, json!({"a": null}), &json!({"a": {"b": "new"}}));
        check("a/b", true, Make::Nothing, json!({}), &json!({}));
        check("a[]/b", true, Make::Scalar, json!({}), &json!({}));
        check("a/b", false, Make::Scalar, json!({}), &json!({}));
        check("a[]/b", false, Make::Nothing, json!({"a": null}), &json!({"a": []}));
    }

    #[test]
    fn slashes_in_names_are_escaped() {
        assert_eq!(steps("a/b\\/c"), ["a", "b/c"]);
    }
}
