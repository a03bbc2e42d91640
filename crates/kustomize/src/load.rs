//! From a text to the objects in it.

use plumb_filetree::RelPath;
use plumb_manifests::yaml::Node;
use plumb_manifests::yaml::{self, Document};

use crate::error::BuildError;
use crate::limits::Limits;
use crate::passage;
use crate::resource::Resource;

/// The objects of a file, lists taken apart. Those out of a list come after all others, as in kustomize.
pub(crate) fn resources(text: &str, file: &RelPath, limits: &Limits) -> Result<Vec<Resource>, BuildError> {
    let documents = yaml::parse(text, &limits.yaml).map_err(|error| BuildError::yaml(file, &error))?;
    of_documents(documents, Some(file), limits)
}

/// The objects of an inline text of a kustomization file.
pub(crate) fn inline(text: &str, origin: &str, limits: &Limits) -> Result<Vec<Resource>, BuildError> {
    let documents =
        yaml::parse(text, &limits.yaml).map_err(|error| BuildError::invalid(error.to_string()))?;
    objects(placed(documents), origin, limits).map_err(|(_, error)| error)
}

/// The objects of documents that have been read, from a file or from a kustomization file.
pub(crate) fn of_documents(
    documents: Vec<Document>,
    file: Option<&RelPath>,
    limits: &Limits,
) -> Result<Vec<Resource>, BuildError> {
    let Some(file) = file else {
        return objects(placed(documents), "", limits).map_err(|(_, error)| error);
    };
    objects(placed(documents), &format!("/{file}"), limits)
        .map_err(|(line, error)| if line == 0 { error.in_file(file) } else { error.at_line(file, line) })
}

fn placed(documents: Vec<Document>) -> Vec<Placed> {
    documents.into_iter().map(|Document { node, line }| (node, line)).collect()
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
    let is_alone = pending.len() == 1;
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
        match take_items(value, is_alone && opened == 1).map_err(|error| (line, error))? {
            Ok(items) => pending.extend(items.into_iter().map(|item| (item, line))),
            Err(mut value) => {
                // kustomize takes its notes out of the metadata of lists, and makes metadata for that.
                if let Some(map) = is_list(&value).then(|| value.as_object_mut()).flatten() {
                    map.entry_or("metadata", Node::object);
                }
                let resource = Resource::new(value, origin);
                resource.check_named().map_err(|error| (line, error))?;
                check_notes(&resource).map_err(|error| (line, error))?;
                resources.push(resource);
            }
        }
    }
    Ok(resources)
}

/// Each former name is compared wherever names are, so the annotations in which users may write them are limited.
fn check_notes(resource: &Resource) -> Result<(), BuildError> {
    const NOTES_MAX: usize = 1000;
    let Resource { previous, prefixes, suffixes, .. } = resource;
    if [previous.len(), prefixes.len(), suffixes.len()].iter().any(|count| *count > NOTES_MAX) {
        let message = format!("more than {NOTES_MAX} former names or affixes in annotations");
        return Err(BuildError::over_limit(message));
    }
    Ok(())
}

fn is_list(value: &Node) -> bool {
    value.get("kind").and_then(Node::as_str).is_some_and(|kind| kind.ends_with("List"))
}

/// The items of a list of objects; anything else is given back.
fn take_items(mut value: Node, is_alone: bool) -> Result<Result<Vec<Node>, Node>, BuildError> {
    let is_list = is_list(&value);
    let stays_as_read =
        is_alone && matches!(value.get("kind").and_then(Node::as_str), Some("List" | "ResourceList"));
    match value.get_mut("items") {
        Some(Node::Array(items)) if is_list => {
            let items = std::mem::take(items).into_iter();
            // Only a list by that name that is alone in its file is taken apart as it was read.
            let items = items.map(|item| if stays_as_read { Ok(item) } else { passage::through_json(&item) });
            items.collect::<Result<_, _>>().map(Ok)
        }
        Some(Node::Null(_)) if is_list => Ok(Ok(Vec::new())),
        Some(other) if is_list => {
            let message = format!("expected array in items, but found {}", other.noun());
            Err(BuildError::invalid(message))
        }
        _ => Ok(Err(value)),
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
    fn items_of_lists_come_after_all_other_documents() {
        let text =
            "kind: List\nitems:\n- kind: A\n  metadata: {name: a}\n---\nkind: B\nmetadata: {name: b}\n";
        assert_eq!(names(text), ["b", "a"]);
        assert!(names("kind: FooList\nitems: []\n---\n# nothing\n---\n{}\n").is_empty());
    }

    #[test]
    fn lists_without_items_are_objects_with_metadata() {
        let file = RelPath::parse("a.yaml").unwrap();
        let read = |text: &str| resources(text, &file, &Limits::default());
        let list = read("kind: FooList\n").unwrap().remove(0);
        assert_eq!(list.value, serde_json::json!({"kind": "FooList", "metadata": {}}));
        assert!(read("kind: FooList\nitems: {}\n").is_err());
    }

    #[test]
    fn items_go_through_json_unless_their_list_is_alone() {
        let file = RelPath::parse("a.yaml").unwrap();
        let scalar = |text: &str| {
            let mut read = resources(text, &file, &Limits::default()).unwrap();
            read.remove(read.len() - 1).value.get("a").and_then(Node::scalar).map(str::to_owned)
        };
        let list = "kind: List\nitems: [{kind: A, metadata: {name: a}, a: 1.50}]\n";
        assert_eq!(scalar(list).as_deref(), Some("1.50"));
        assert_eq!(scalar(&list.replace("List", "AList")).as_deref(), Some("1.5"));
        assert_eq!(scalar(&format!("kind: B\nmetadata: {{name: b}}\n---\n{list}")).as_deref(), Some("1.5"));
    }

    #[test]
    fn objects_without_a_name_are_rejected_with_their_line() {
        let file = RelPath::parse("dir/a.yaml").unwrap();
        let reject = |text: &str| resources(text, &file, &Limits::default()).unwrap_err().to_string();
        assert_eq!(
            reject("kind: A\nmetadata: {name: a}\n---\nkind: B\nmetadata: {}\n"),
            "/dir/a.yaml:4:1: missing metadata.name in object"
        );
        assert_eq!(reject("kind: A\n"), "/dir/a.yaml:1:1: missing Resource metadata");
        assert_eq!(reject("- a\n"), "/dir/a.yaml:1:1: a Kubernetes object is expected, not a list");
        assert_eq!(reject("a: b: c\n").split(' ').next(), Some("/dir/a.yaml:1:5:"));
    }
}
