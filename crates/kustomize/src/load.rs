//! From a text to the objects in it.

use plumb_filetree::RelPath;
use plumb_manifests::yaml::Node;
use plumb_manifests::yaml::{self, Document};

use crate::error::BuildError;
use crate::limits::Limits;
use crate::resource::Resource;

/// The objects of a file, lists taken apart. Those out of a list stand behind all others, as kustomize puts them.
pub(crate) fn resources(text: &str, file: &RelPath, limits: &Limits) -> Result<Vec<Resource>, BuildError> {
    let documents = yaml::parse(text, &limits.yaml).map_err(|error| BuildError::yaml(file, &error))?;
    let origin = format!("/{file}");
    let documents = documents.into_iter().map(|Document { node, line }| (node, line)).collect();
    objects(documents, &origin, limits)
        .map_err(|(line, error)| if line == 0 { error.in_file(file) } else { error.at_line(file, line) })
}

/// The objects of a text that stands in a kustomization file.
pub(crate) fn inline(text: &str, origin: &str, limits: &Limits) -> Result<Vec<Resource>, BuildError> {
    let documents =
        yaml::parse(text, &limits.yaml).map_err(|error| BuildError::invalid(error.to_string()))?;
    let documents = documents.into_iter().map(|Document { node, line }| (node, line)).collect();
    objects(documents, origin, limits).map_err(|(_, error)| error)
}

type Placed = (Node, usize);

fn objects(
    documents: Vec<Placed>,
    origin: &str,
    limits: &Limits,
) -> Result<Vec<Resource>, (usize, BuildError)> {
    let mut resources = Vec::new();
    let mut pending = std::collections::VecDeque::from(documents);
    let mut opened = 0_usize;
    while let Some((value, line)) = pending.pop_front() {
        if value.is_null() || value.as_object().is_some_and(plumb_manifests::yaml::Map::is_empty) {
            continue;
        }
        if !value.is_object() {
            let noun = value.noun();
            return Err((line, BuildError::invalid(format!("a Kubernetes object is expected, not {noun}"))));
        }
        opened += 1;
        if opened > limits.objects_max {
            let message = format!("more than {} objects", limits.objects_max);
            return Err((line, BuildError::over_limit(message)));
        }
        match take_items(value) {
            Ok(items) => pending.extend(items.into_iter().map(|item| (item, line))),
            Err(value) => {
                let resource = Resource::new(value, origin);
                resource.check_named().map_err(|error| (line, error))?;
                check_notes(&resource).map_err(|error| (line, error))?;
                resources.push(resource);
            }
        }
    }
    Ok(resources)
}

/// Each former name is looked at wherever names are, so the annotations in which users may write them are limited.
fn check_notes(resource: &Resource) -> Result<(), BuildError> {
    const NOTES_MAX: usize = 1000;
    let Resource { previous, prefixes, suffixes, .. } = resource;
    if [previous.len(), prefixes.len(), suffixes.len()].iter().any(|count| *count > NOTES_MAX) {
        let message = format!("more than {NOTES_MAX} former names or affixes in annotations");
        return Err(BuildError::over_limit(message));
    }
    Ok(())
}

/// The items of a list of objects; anything else is given back.
fn take_items(mut value: Node) -> Result<Vec<Node>, Node> {
    let is_list = value.get("kind").and_then(Node::as_str).is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items") {
        Some(Node::Array(items)) if is_list => Ok(std::mem::take(items)),
        Some(Node::Null(_)) if is_list => Ok(Vec::new()),
        _ => Err(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let file = RelPath::parse("a.yaml").unwrap();
        let resources = resources(text, &file, &Limits::default()).unwrap();
        resources.iter().map(|resource| resource.name().to_owned()).collect()
    }

    #[test]
    fn items_of_lists_stand_behind_all_other_documents() {
        let text =
            "kind: List\nitems:\n- kind: A\n  metadata: {name: a}\n---\nkind: B\nmetadata: {name: b}\n";
        assert_eq!(names(text), ["b", "a"]);
        assert!(names("kind: FooList\nitems: []\n---\n# nothing\n---\n{}\n").is_empty());
    }

    #[test]
    fn objects_without_a_name_are_refused_with_their_line() {
        let file = RelPath::parse("dir/a.yaml").unwrap();
        let refuse = |text: &str| resources(text, &file, &Limits::default()).unwrap_err().to_string();
        assert_eq!(
            refuse("kind: A\nmetadata: {name: a}\n---\nkind: B\nmetadata: {}\n"),
            "/dir/a.yaml:4:1: missing metadata.name in object"
        );
        assert_eq!(refuse("kind: A\n"), "/dir/a.yaml:1:1: missing Resource metadata");
        assert_eq!(refuse("- a\n"), "/dir/a.yaml:1:1: a Kubernetes object is expected, not a list");
        assert_eq!(refuse("a: b: c\n").split(' ').next(), Some("/dir/a.yaml:1:5:"));
    }
}
