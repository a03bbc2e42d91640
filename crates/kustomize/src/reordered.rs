//! Lists that a strategic merge patch has put into another order. kustomize puts the items that a patch mentions in front,
//! so a later path with an index may lead to another item than its author expected.

use std::collections::BTreeSet;
use std::fmt;

use plumb_manifests::yaml::{Node, Text};

/// Recorded lists of one object, at most; further ones are ignored.
const LISTS_MAX: usize = 64;

/// A part of the way to a list: a field, or the item whose fields have these values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Field(Text),
    Item(Vec<(Text, Text)>),
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => out.write_str(name),
            Self::Item(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(name, text)| format!("{name}={text}")).collect();
                write!(out, "[{}]", pairs.join(","))
            }
        }
    }
}

/// A way in kustomize's notation: `spec.containers.[name=web].env`.
pub(crate) fn written(way: &[Step]) -> String {
    way.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

/// A list whose items have other places than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reordered {
    /// The way to it.
    pub list: Vec<Step>,
    /// The fields that identify its items.
    pub keys: Vec<Text>,
    /// Their values in the original order; without items that the patch has deleted.
    pub before: Vec<Vec<Text>>,
}

impl Reordered {
    /// Whether any item that was there has another place now.
    pub(crate) fn moves(&self, items: &[Node]) -> bool {
        let mut places = self.before.iter().enumerate();
        places.any(|(place, before)| items.get(place).is_none_or(|item| self.key_of(item) != *before))
    }

    /// Adds the changes of a patch to those of earlier ones: the author of a later one expects the oldest order.
    pub(crate) fn note(all: &mut Vec<Self>, new: Vec<Self>) {
        for one in new {
            if all.len() < LISTS_MAX && all.iter().all(|old| old.list != one.list) {
                all.push(one);
            }
        }
    }

    fn key_of(&self, item: &Node) -> Vec<Text> {
        self.keys.iter().map(|key| text(item.get(key))).collect()
    }

    /// The list, and the steps of a JSON pointer to it. Each visited item is counted.
    fn find<'v>(&self, root: &'v Node, looks: &mut usize) -> Option<(Vec<String>, &'v [Node])> {
        let mut steps = Vec::with_capacity(self.list.len());
        let mut at = root;
        for step in &self.list {
            at = match step {
                Step::Field(name) => {
                    steps.push(name.to_string());
                    at.get(name)?
                }
                Step::Item(pairs) => {
                    let fits = |item: &Node| pairs.iter().all(|(name, value)| text(item.get(name)) == *value);
                    let items = at.as_array()?;
                    let place = items.iter().position(fits)?;
                    *looks = looks.saturating_add(place);
                    steps.push(place.to_string());
                    &items[place]
                }
            };
        }
        Some((steps, at.as_array()?))
    }

    /// What an index means now, and what it meant before, if that is another item.
    fn surprise(&self, items: &[Node], place: usize) -> Option<String> {
        let (before, now) = (self.before.get(place)?, self.key_of(items.get(place)?));
        let named = |values: &[Text]| {
            Step::Item(self.keys.iter().cloned().zip(values.iter().cloned()).collect()).to_string()
        };
        (now != *before).then(|| {
            format!(
                "item {place} of {} is {} since a strategic merge patch has put items in front, and was {} before it: \
                 name the item in a strategic merge patch, or test its name first",
                written(&self.list),
                named(&now),
                named(before)
            )
        })
    }
}

fn text(node: Option<&Node>) -> Text {
    node.and_then(Node::scalar).unwrap_or_default().into()
}

/// What an operation does where its path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// It tests: an author who tests an item knows its position.
    Test,
    /// It reads or replaces.
    Use,
    /// It inserts a new item.
    Insert,
    Remove,
}

/// Checks the paths of one JSON patch, operation by operation.
pub(crate) struct Watch {
    lists: Vec<(Reordered, BTreeSet<usize>)>,
    surprises: Vec<String>,
    looks: usize,
}

/// Items and lists that one patch visits, at most; further ones are not checked.
const LOOKS_MAX: usize = 200_000;
/// Indices of one patch that are reported.
const SURPRISES_MAX: usize = 16;

impl Watch {
    pub(crate) fn new(lists: Vec<Reordered>) -> Self {
        let lists = lists.into_iter().map(|list| (list, BTreeSet::new())).collect();
        Self { lists, surprises: Vec::new(), looks: 0 }
    }

    /// Before an operation is applied to the object. A list whose positions it changes is not checked any more.
    pub(crate) fn look(&mut self, root: &Node, touch: Touch, path: &[String]) {
        let Self { lists, surprises, looks } = self;
        lists.retain_mut(|(list, known)| {
            *looks = looks.saturating_add(1);
            if *looks > LOOKS_MAX || surprises.len() >= SURPRISES_MAX {
                return false;
            }
            let Some((steps, items)) = list.find(root, looks) else { return false };
            let Some(below) = path.strip_prefix(steps.as_slice()).filter(|below| !below.is_empty()) else {
                return touch == Touch::Test || !steps.starts_with(path);
            };
            let (is_item, place) = (below.len() == 1, below[0].parse::<usize>());
            let Ok(place) = place else { return true };
            match touch {
                Touch::Test => drop(known.insert(place)),
                Touch::Insert if is_item => return false,
                Touch::Insert | Touch::Use | Touch::Remove => {
                    let surprise = if known.insert(place) { list.surprise(items, place) } else { None };
                    surprises.extend(surprise);
                }
            }
            !(is_item && touch == Touch::Remove)
        });
    }

    /// The lists that are still in the order of the patches, and what was found.
    pub(crate) fn finish(self) -> (Vec<Reordered>, Vec<String>) {
        (self.lists.into_iter().map(|(list, _)| list).collect(), self.surprises)
    }
}

/// What a path with an index leads to, if that is another item than before the patches.
pub(crate) fn surprise(lists: &[Reordered], root: &Node, path: &[String]) -> Option<String> {
    lists.iter().find_map(|list| {
        let (steps, items) = list.find(root, &mut 0)?;
        let below = path.strip_prefix(steps.as_slice())?;
        list.surprise(items, below.first()?.parse().ok()?)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list() -> Reordered {
        let text = |text: &str| vec![Text::from(text)];
        let list = vec![Step::Field("spec".into()), Step::Field("c".into())];
        Reordered { list, keys: vec!["name".into()], before: vec![text("a"), text("b")] }
    }

    fn object() -> Node {
        Node::from(json!({"spec": {"c": [{"name": "b"}, {"name": "a", "x": 1}, {"name": "new"}]}}))
    }

    fn steps(path: &str) -> Vec<String> {
        path.split('/').skip(1).map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(operations: &[(Touch, &str)], expect: usize) {
        let mut watch = Watch::new(vec![list()]);
        for (touch, path) in operations {
            watch.look(&object(), *touch, &steps(path));
        }
        let (_, surprises) = watch.finish();
        assert_eq!(surprises.len(), expect, "{operations:?}: {surprises:?}");
    }

    #[test]
    fn an_index_that_leads_to_another_item_is_found() {
        check(&[(Touch::Use, "/spec/c/0/image")], 1);
        check(&[(Touch::Remove, "/spec/c/1")], 1);
        check(&[(Touch::Insert, "/spec/c/1/env")], 1);
        check(&[(Touch::Use, "/spec/c/0/image"), (Touch::Use, "/spec/c/0/x")], 1);
        let mut watch = Watch::new(vec![list()]);
        watch.look(&object(), Touch::Use, &steps("/spec/c/0/image"));
        let (_, surprises) = watch.finish();
        assert!(
            surprises[0]
                .starts_with("item 0 of spec.c is [name=b] since a strategic merge patch has put items"),
            "{surprises:?}"
        );
    }

    #[test]
    fn no_warning_for_a_patch_that_tests_its_item_or_changes_the_positions_itself() {
        check(&[(Touch::Test, "/spec/c/0/name"), (Touch::Use, "/spec/c/0/image")], 0);
        check(&[(Touch::Insert, "/spec/c/-")], 0);
        check(&[(Touch::Insert, "/spec/c/0"), (Touch::Use, "/spec/c/1/image")], 0);
        check(&[(Touch::Use, "/spec"), (Touch::Use, "/spec/c/1/image")], 0);
        check(&[(Touch::Use, "/spec/other/0/image")], 0);
        check(&[(Touch::Use, "/spec/c/2/image")], 0);
    }

    #[test]
    fn lists_inside_of_items_are_found_by_the_names_of_the_items() {
        let mut list = list();
        list.list = vec![
            Step::Field("c".into()),
            Step::Item(vec![("name".into(), "w".into())]),
            Step::Field("e".into()),
        ];
        let root =
            Node::from(json!({"c": [{"name": "v"}, {"name": "w", "e": [{"name": "b"}, {"name": "a"}]}]}));
        assert!(surprise(std::slice::from_ref(&list), &root, &steps("/c/1/e/0/value")).is_some());
        assert!(surprise(std::slice::from_ref(&list), &root, &steps("/c/0/e/0/value")).is_none());
        assert_eq!(written(&list.list), "c.[name=w].e");
    }
}
