//! An object during the build, with its recorded former names and prefixes, and whether its
//! name gets a hash.

use std::collections::BTreeMap;

use plumb_manifests::yaml::{Dialect, Map, Node, Scalar, Text, resolve};

use crate::error::BuildError;
use crate::field::{made_text, overwrite};
use crate::identity::{Gvk, ResId};
use crate::provenance::Trail;
use crate::reordered::Reordered;

/// What happens if a generated object is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Behavior {
    #[default]
    Create,
    Merge,
    Replace,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a note of its own; none excludes another")]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    pub value: Node,
    /// Former ids, the first one first.
    pub previous: Vec<ResId>,
    pub prefixes: Vec<Text>,
    pub suffixes: Vec<Text>,
    pub behavior: Behavior,
    pub needs_hash: bool,
    pub is_generated: bool,
    /// Numbers given to scalars that are one and the same in several places.
    pub shares: u32,
    /// Whether there are such.
    pub has_shares: bool,
    /// Lists that patches have put into another order.
    pub reordered: Vec<Reordered>,
    /// Whether replacements may have put texts into fields of another kind.
    pub may_be_odd: bool,
    /// The vars whose values it holds.
    pub vars: Vec<Text>,
    /// The file that it was read from or whose generator made it.
    pub file: String,
    /// The transformers that it went through.
    pub trail: Trail,
}

/// The annotations in which kustomize keeps its notes; users may write them too.
const NOTES: &str = "internal.config.kubernetes.io/";
const READER_NOTES: [&str; 3] =
    ["config.kubernetes.io/index", "config.kubernetes.io/path", "config.kubernetes.io/id"];

impl Resource {
    /// Takes an object as it was read, and the notes out of its annotations.
    pub(crate) fn new(value: impl Into<Node>, file: &str) -> Self {
        let mut resource = Self {
            value: value.into(),
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            behavior: Behavior::default(),
            needs_hash: false,
            is_generated: false,
            shares: 0,
            has_shares: false,
            reordered: Vec::new(),
            may_be_odd: false,
            vars: Vec::new(),
            file: file.to_owned(),
            trail: Trail::default(),
        };
        resource.take_notes();
        resource
    }

    fn take_notes(&mut self) {
        let Some(annotations) = self.value.at(&["metadata", "annotations"]).and_then(Node::as_object) else {
            return;
        };
        if !annotations.keys().any(is_note) {
            return;
        }
        let gvk = self.gvk();
        let Some(annotations) = self.value.at_mut(&["metadata", "annotations"]).and_then(Node::as_object_mut)
        else {
            return;
        };
        let mut take = |name: &str| -> Vec<Text> {
            match annotations.remove(&format!("{NOTES}{name}")) {
                Some(Node::String(text)) => text.split(',').map(Text::from).collect(),
                _ => Vec::new(),
            }
        };
        let (names, spaces, kinds) =
            (take("previousNames"), take("previousNamespaces"), take("previousKinds"));
        let (prefixes, suffixes) = (take("prefixes"), take("suffixes"));
        let needs_hash = take("needsHashSuffix") == ["enabled"];
        annotations.retain(|key, _| !is_note(key));
        let ids = names.into_iter().zip(spaces).zip(kinds).map(|((name, namespace), kind)| ResId {
            gvk: Gvk { kind, ..gvk.clone() },
            name,
            namespace,
        });
        self.previous = ids.collect();
        self.needs_hash = needs_hash;
        (self.prefixes, self.suffixes) = (prefixes, suffixes);
    }

    /// Whether kustomize keeps a note of it among the annotations, which are there then.
    pub(crate) fn has_own_notes(&self) -> bool {
        let Self { previous, prefixes, suffixes, needs_hash, is_generated, behavior, .. } = self;
        !(previous.is_empty() && prefixes.is_empty() && suffixes.is_empty())
            || *needs_hash
            || *is_generated && *behavior == Behavior::Create
    }

    /// Writes kustomize's notes into the annotations, for transformers that read them.
    pub(crate) fn write_notes(&mut self) {
        let ids =
            |part: fn(&ResId) -> &Text| -> Vec<Text> { self.previous.iter().map(part).cloned().collect() };
        let mut notes = vec![
            ("previousNames", ids(|id| &id.name)),
            ("previousNamespaces", ids(|id| &id.namespace)),
            ("previousKinds", ids(|id| &id.gvk.kind)),
            ("prefixes", self.prefixes.clone()),
            ("suffixes", self.suffixes.clone()),
        ];
        if self.needs_hash {
            notes.push(("needsHashSuffix", vec!["enabled".into()]));
        }
        let annotations = self.annotations();
        for (name, texts) in notes.into_iter().filter(|(_, texts)| !texts.is_empty()) {
            annotations.insert(format!("{NOTES}{name}"), texts.join(","));
        }
    }

    /// Makes a map of texts of the annotations, as kustomize does when it writes its notes into them: a list of scalars
    /// is keys and values in turn, and any other type counts as empty.
    pub(crate) fn settle_annotations(&mut self) -> Result<(), BuildError> {
        let Some(annotations) = self.value.at_mut(&["metadata", "annotations"]) else { return Ok(()) };
        let text = |node: &Node| node.scalar().unwrap_or_default().to_owned();
        if let Node::Array(items) = annotations {
            if items.len() % 2 == 1 {
                return Err(BuildError::invalid("metadata.annotations is a list, not a map"));
            }
            let pairs = items.chunks(2).filter(|pair| pair[0].is_scalar());
            let map: Map = pairs.map(|pair| (Text::from(text(&pair[0])), pair[1].clone())).collect();
            *annotations = Node::Object(map);
        }
        let is_key = |key: &str| resolve(key, Dialect::Objects) == Scalar::Text;
        let nulls =
            annotations.as_object().into_iter().flat_map(Map::iter).filter(|(_, node)| node.is_null());
        if let Some((key, _)) = nulls.into_iter().find(|(key, _)| !is_key(key)) {
            let message =
                format!("metadata.annotations: kustomize takes the key {key:?} of null for no text");
            return Err(BuildError::invalid(message));
        }
        for node in annotations.make_object().values_mut().filter(|node| !node.is_string()) {
            *node = Node::quoted(text(node));
        }
        Ok(())
    }

    /// Takes the notes out again; true if some have got elsewhere, where they stay.
    pub(crate) fn erase_notes(&mut self) -> bool {
        let annotations = self.value.at_mut(&["metadata", "annotations"]).and_then(Node::as_object_mut);
        if let Some(annotations) = annotations {
            annotations.retain(|key, _| !is_note(key));
        }
        has_notes(&self.value)
    }

    /// A scalar as it is spelled; empty where there is none.
    fn text(&self, path: &[&str]) -> &str {
        self.value.at(path).filter(|node| !node.is_null()).and_then(Node::scalar).unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.text(&["kind"])
    }

    pub(crate) fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    pub(crate) fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"])
    }

    /// Whether it is of a kind of Kubernetes itself.
    pub(crate) fn is_builtin(&self) -> bool {
        plumb_manifests::scope::builtin(self.text(&["apiVersion"]), self.kind()).is_some()
    }

    pub(crate) fn gvk(&self) -> Gvk {
        Gvk::new(self.text(&["apiVersion"]), self.kind())
    }

    pub(crate) fn current_id(&self) -> ResId {
        ResId { gvk: self.gvk(), name: self.name().into(), namespace: self.namespace().into() }
    }

    /// The id that the object had first.
    pub(crate) fn original_id(&self) -> ResId {
        self.previous_ids().next().unwrap_or_else(|| self.current_id())
    }

    /// Former ids, the first one first. Their groups and versions are those of today, as in kustomize.
    pub(crate) fn previous_ids(&self) -> impl Iterator<Item = ResId> {
        let Gvk { group, version, .. } = self.gvk();
        self.previous.iter().map(move |id| ResId {
            gvk: Gvk { group: group.clone(), version: version.clone(), kind: id.gvk.kind.clone() },
            ..id.clone()
        })
    }

    /// Former ids, then the current one.
    pub(crate) fn all_ids(&self) -> impl Iterator<Item = ResId> {
        self.previous_ids().chain(std::iter::once(self.current_id()))
    }

    /// Whether kustomize keeps notes about this object among its annotations, so that there are some.
    pub(crate) fn has_notes(&self) -> bool {
        self.is_generated || self.needs_hash || !self.previous.is_empty()
    }

    /// Records the current id before it changes.
    pub(crate) fn record_id(&mut self) {
        let current = self.current_id();
        let namespace = current.effective_namespace().into();
        self.previous.push(ResId { namespace, ..current });
    }

    pub(crate) fn set_name(&mut self, name: &str) {
        self.metadata().insert("name", name);
    }

    pub(crate) fn set_namespace(&mut self, namespace: &str) {
        if namespace.is_empty() {
            self.metadata().remove("namespace");
        } else {
            self.metadata().insert("namespace", namespace);
        }
    }

    /// Writes a name or namespace over the one that is there, as kustomize does even if it is the same.
    pub(crate) fn rewrite(&mut self, field: &str, text: &str) {
        match (field, text) {
            // Only lists have none.
            ("name", "") => drop(self.metadata().insert("name", Node::NULL)),
            (_, "") => drop(self.metadata().remove(field)),
            _ => {
                let node = self.metadata().entry_or(field, || Node::text(""));
                // A text that reads as a number was put there in quotes.
                if node.as_str().is_some_and(|old| resolve(old, Dialect::Objects) != Scalar::Text) {
                    *node = Node::quoted(text);
                } else {
                    overwrite(node, text);
                }
            }
        }
    }

    /// The labels or annotations that are texts or can be written as such.
    pub(crate) fn texts(&self, path: &[&str]) -> BTreeMap<String, String> {
        let map = self.value.at(path).and_then(Node::as_object);
        map.into_iter().flat_map(Map::iter).map(|(key, node)| (key.to_owned(), scalar_text(node))).collect()
    }

    pub(crate) fn set_metadata_texts(&mut self, field: &str, texts: BTreeMap<String, String>) {
        if texts.is_empty() {
            self.metadata().remove(field);
            return;
        }
        let map: Map = texts.into_iter().map(|(key, text)| (key.into(), made_text(text))).collect();
        self.metadata().insert(field, map);
    }

    /// Adds the label `managed-by` with the version of kustomize that this engine implements.
    pub(crate) fn set_managed_by(&mut self) -> Result<(), BuildError> {
        let labels = self.metadata().entry_or("labels", Node::object);
        if !labels.is_object() && !labels.is_null() {
            let message =
                format!("metadata.labels is {}: wrong node kind: expected MappingNode", labels.noun());
            return Err(BuildError::invalid(message));
        }
        labels.make_object().insert("app.kubernetes.io/managed-by", "kustomize-v5.8.1");
        Ok(())
    }

    pub(crate) fn annotations(&mut self) -> &mut Map {
        self.metadata().entry_or("annotations", Node::object).make_object()
    }

    fn metadata(&mut self) -> &mut Map {
        self.value.make_object().entry_or("metadata", Node::object).make_object()
    }

    /// What is printed: annotations are texts, and an empty map of them is not there.
    pub(crate) fn into_finished(mut self) -> Node {
        let Some(metadata) = self.value.get_mut("metadata").and_then(Node::as_object_mut) else {
            return self.value;
        };
        let Some(annotations) = metadata.get_mut("annotations") else {
            return self.value;
        };
        match annotations {
            Node::Object(map) if !map.is_empty() => {
                for node in map.values_mut() {
                    match node {
                        // They are written as new texts, in no style of their own.
                        Node::String(text) => (text.is_folded, text.is_binary) = (false, false),
                        other => *other = Node::text(other.scalar().unwrap_or_default()),
                    }
                }
            }
            // Any other value there is not printed by kustomize.
            _ => drop(metadata.remove("annotations")),
        }
        self.value
    }

    /// Rejects an object that has lost its kind or its name.
    pub(crate) fn check_complete(&self) -> Result<(), BuildError> {
        let missing = match self.kind() {
            "" => "kind",
            kind if self.name().is_empty() && !kind.ends_with("List") => "metadata.name",
            _ => return Ok(()),
        };
        let origin = self.original_id();
        let message =
            format!("missing {missing} in object: {origin} has lost it, which now is {}", self.current_id());
        Err(BuildError::invalid(message))
    }

    /// Rejects an object without a name.
    pub(crate) fn check_named(&self) -> Result<(), BuildError> {
        let kind = self.kind();
        if kind.is_empty() {
            return Err(BuildError::invalid("missing Resource metadata: kind is missing or not a text"));
        }
        if self.value.get("metadata").is_none_or(Node::is_null) && !kind.ends_with("List") {
            return Err(BuildError::invalid("missing Resource metadata"));
        }
        if self.name().is_empty() && !kind.ends_with("List") {
            return Err(BuildError::invalid("missing metadata.name in object"));
        }
        Ok(())
    }
}

fn is_note(key: &str) -> bool {
    key.starts_with(NOTES) || READER_NOTES.contains(&key)
}

/// The depth is limited by the reader, and so is this recursion.
fn has_notes(node: &Node) -> bool {
    match node {
        Node::Object(map) => map.iter().any(|(key, inner)| key.starts_with(NOTES) || has_notes(inner)),
        Node::Array(items) => items.iter().any(has_notes),
        Node::Null(_) | Node::Plain(_) | Node::String(_) => false,
    }
}

/// A scalar as it is spelled; lists and maps as JSON.
pub(crate) fn scalar_text(node: &Node) -> String {
    match node.scalar() {
        Some(text) => text.to_owned(),
        None => node.to_json().to_string(),
    }
}
