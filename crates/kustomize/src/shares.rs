//! Scalars that are one and the same in several places of an object.
//!
//! Where kustomize adds a label to the metadata, the selector and the template of an object, it puts one value into all
//! three places, and a later patch of any of them changes them all. Only a JSON patch, which reads the object anew,
//! parts them.

use std::collections::HashMap;

use plumb_manifests::yaml::{Node, Share};

use crate::resource::Resource;

/// Tells all scalars that are one what was written to one of them. The one that was written last, in the order in which
/// an object is walked through, has its way.
pub(crate) fn settle(resource: &mut Resource) {
    if !resource.has_shares {
        return;
    }
    let mut written = HashMap::new();
    find(&resource.value, &mut written);
    if !written.is_empty() {
        tell(&mut resource.value, &written);
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

fn tell(node: &mut Node, written: &HashMap<u32, Node>) {
    match node {
        Node::Array(items) => items.iter_mut().for_each(|item| tell(item, written)),
        Node::Object(map) => map.values_mut().for_each(|inner| tell(inner, written)),
        Node::Null(_) => {}
        Node::Plain(_) | Node::String(_) => {
            if let Some(new) = node.share().number().and_then(|number| written.get(&number)) {
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
        settle(&mut resource);
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
        settle(&mut resource);
        assert_eq!(resource.value["a"], json!("x"));
    }
}
