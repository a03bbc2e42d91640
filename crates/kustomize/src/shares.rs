//! Scalars that are one and the same in several places of an object.
//!
//! Where kustomize adds a label to the metadata, the selector and the template of an object, it puts one value into all
//! three places, and a later patch of any of them changes them all. Only a JSON patch, which parses the object again,
//! separates them.

use std::collections::{BTreeMap, HashMap};

use plumb_manifests::yaml::{Node, Share};

use crate::resource::Resource;

/// What a write to one field did to others that hold the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spread {
    /// The field that was written.
    pub field: String,
    /// What was written.
    pub value: String,
    /// The fields that changed with it indirectly.
    pub others: Vec<String>,
}

/// Copies the value written to one shared scalar to the others. The last write, in the order in which
/// an object is walked, wins. Returns the indirect changes.
pub(crate) fn settle(resource: &mut Resource) -> Vec<Spread> {
    if !resource.has_shares {
        return Vec::new();
    }
    let mut written = HashMap::new();
    find(&resource.value, &mut written);
    if written.is_empty() {
        return Vec::new();
    }
    let mut spreads = Spreads::default();
    write_all(&mut resource.value, &written, &mut spreads);
    spreads.into_spreads()
}

/// Fields that changed with the value of one number.
#[derive(Debug, Default)]
struct Spreads {
    path: Vec<String>,
    /// By number: the field that was written with the value that holds, and those that changed.
    by_number: BTreeMap<u32, Spread>,
}

impl Spreads {
    fn see(&mut self, number: u32, old: &Node, new: &Node) {
        let path = || self.path.join(".");
        let spread = self.by_number.entry(number).or_insert_with(|| Spread {
            field: String::new(),
            value: new.scalar().unwrap_or_default().to_owned(),
            others: Vec::new(),
        });
        if old != new {
            spread.others.push(path());
        } else if old.share().is_written() && spread.field.is_empty() {
            spread.field = path();
        }
    }

    fn into_spreads(self) -> Vec<Spread> {
        self.by_number.into_values().filter(|spread| !spread.others.is_empty()).collect()
    }
}

/// The nesting is limited by the parser, and so is this recursion and those below.
fn find(node: &Node, written: &mut HashMap<u32, Node>) {
    match node {
        Node::Array(items) => items.iter().for_each(|item| find(item, written)),
        Node::Object(map) => map.values().for_each(|inner| find(inner, written)),
        Node::Null(_) => {}
        Node::Plain(_) | Node::String(_) => {
            let share = node.share();
            if let Some(number) = share.number().filter(|_| share.is_written()) {
                written.insert(number, node.clone().shared(Share::new(number)));
            }
        }
    }
}

fn write_all(node: &mut Node, written: &HashMap<u32, Node>, spreads: &mut Spreads) {
    match node {
        Node::Array(items) => {
            for (place, item) in items.iter_mut().enumerate() {
                spreads.path.push(place.to_string());
                write_all(item, written, spreads);
                spreads.path.pop();
            }
        }
        Node::Object(map) => {
            for (key, inner) in map.iter_mut() {
                spreads.path.push(key.to_owned());
                write_all(inner, written, spreads);
                spreads.path.pop();
            }
        }
        Node::Null(_) => {}
        Node::Plain(_) | Node::String(_) => {
            let number = node.share().number();
            if let Some((number, new)) = number.and_then(|number| Some((number, written.get(&number)?))) {
                spreads.see(number, node, new);
                node.clone_from(new);
            }
        }
    }
}

/// Makes every scalar of a copy its own.
pub(crate) fn part(node: &mut Node) {
    match node {
        Node::Array(items) => items.iter_mut().for_each(part),
        Node::Object(map) => map.values_mut().for_each(part),
        Node::Null(_) => {}
        Node::Plain(_) | Node::String(_) => *node = node.take().shared(Share::default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource() -> Resource {
        let mut resource = Resource::new(json!({"a": "x", "b": ["x", "x"], "c": "x"}), "");
        resource.has_shares = true;
        for (path, number) in [("a", 1), ("c", 1)] {
            let node = resource.value.get_mut(path).unwrap();
            *node = node.take().shared(Share::new(number));
        }
        resource
    }

    #[test]
    fn what_is_written_to_one_place_reaches_the_others_and_no_more() {
        let mut resource = resource();
        resource.value.get_mut("c").unwrap().write(Node::from(5));
        let spread = Spread { field: "c".to_owned(), value: "5".to_owned(), others: vec!["a".to_owned()] };
        assert_eq!(settle(&mut resource), [spread]);
        assert_eq!(resource.value, json!({"a": 5, "b": ["x", "x"], "c": 5}));
        resource.value.get_mut("a").unwrap().write(Node::text("z"));
        settle(&mut resource);
        assert_eq!(resource.value, json!({"a": "z", "b": ["x", "x"], "c": "z"}));
    }

    #[test]
    fn a_copy_that_was_parted_follows_no_one() {
        let mut resource = resource();
        part(&mut resource.value);
        resource.value.get_mut("c").unwrap().write(Node::from(5));
        assert_eq!(settle(&mut resource), []);
        assert_eq!(resource.value["a"], json!("x"));
    }

    #[test]
    fn a_value_that_is_written_to_all_places_or_is_the_same_spreads_to_none() {
        let mut resource = resource();
        for path in ["a", "c"] {
            resource.value.get_mut(path).unwrap().write(Node::from(5));
        }
        assert_eq!(settle(&mut resource), []);
        resource.value.get_mut("a").unwrap().write(Node::from(5));
        assert_eq!(settle(&mut resource), []);
    }
}
