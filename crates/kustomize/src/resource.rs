//! An object on its way through the build, with what kustomize remembers of it: former names, prefixes, whether its
//! name gets a hash.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::BuildError;
use crate::identity::{Gvk, ResId};

/// What happens if a generated object is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Behavior {
    #[default]
    Create,
    Merge,
    Replace,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    pub value: Value,
    /// Former ids, the first one first.
    pub previous: Vec<ResId>,
    pub prefixes: Vec<String>,
    pub suffixes: Vec<String>,
    pub behavior: Behavior,
    pub needs_hash: bool,
    /// The file that it was read from or whose generator made it.
    pub file: String,
}

/// The annotations in which kustomize keeps its notes; users may write them too.
const NOTES: &str = "internal.config.kubernetes.io/";
const READER_NOTES: [&str; 3] =
    ["config.kubernetes.io/index", "config.kubernetes.io/path", "config.kubernetes.io/id"];

impl Resource {
    /// Takes an object as it was read, and the notes out of its annotations.
    pub(crate) fn new(value: Value, file: &str) -> Self {
        let mut resource = Self {
            value,
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            behavior: Behavior::default(),
            needs_hash: false,
            file: file.to_owned(),
        };
        resource.take_notes();
        resource
    }

    fn take_notes(&mut self) {
        let gvk = self.gvk();
        let Some(annotations) =
            self.value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
        else {
            return;
        };
        let mut take = |name: &str| -> Vec<String> {
            match annotations.remove(&format!("{NOTES}{name}")) {
                Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
                _ => Vec::new(),
            }
        };
        let (names, spaces, kinds) =
            (take("previousNames"), take("previousNamespaces"), take("previousKinds"));
        let (prefixes, suffixes) = (take("prefixes"), take("suffixes"));
        let needs_hash = take("needsHashSuffix") == ["enabled"];
        annotations.retain(|key, _| !key.starts_with(NOTES) && !READER_NOTES.contains(&key.as_str()));
        let ids = names.into_iter().zip(spaces).zip(kinds).map(|((name, namespace), kind)| ResId {
            gvk: Gvk { kind, ..gvk.clone() },
            name,
            namespace,
        });
        self.previous = ids.collect();
        self.needs_hash = needs_hash;
        (self.prefixes, self.suffixes) = (prefixes, suffixes);
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub(crate) fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    pub(crate) fn gvk(&self) -> Gvk {
        Gvk::new(self.text("/apiVersion"), self.kind())
    }

    pub(crate) fn current_id(&self) -> ResId {
        ResId { gvk: self.gvk(), name: self.name().to_owned(), namespace: self.namespace().to_owned() }
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

    /// Former ids, then the one at hand.
    pub(crate) fn all_ids(&self) -> impl Iterator<Item = ResId> {
        self.previous_ids().chain(std::iter::once(self.current_id()))
    }

    /// Notes the id at hand before it changes.
    pub(crate) fn remember_id(&mut self) {
        let current = self.current_id();
        let namespace = current.effective_namespace().to_owned();
        self.previous.push(ResId { namespace, ..current });
    }

    pub(crate) fn set_name(&mut self, name: &str) {
        self.metadata().insert("name".to_owned(), name.into());
    }

    pub(crate) fn set_namespace(&mut self, namespace: &str) {
        if namespace.is_empty() {
            self.metadata().remove("namespace");
        } else {
            self.metadata().insert("namespace".to_owned(), namespace.into());
        }
    }

    /// The labels or annotations that are texts or can be written as such.
    pub(crate) fn texts(&self, pointer: &str) -> BTreeMap<String, String> {
        let map = self.value.pointer(pointer).and_then(Value::as_object);
        map.into_iter().flatten().map(|(key, value)| (key.clone(), scalar_text(value))).collect()
    }

    pub(crate) fn set_metadata_texts(&mut self, field: &str, texts: BTreeMap<String, String>) {
        if texts.is_empty() {
            self.metadata().remove(field);
            return;
        }
        let map: Map<String, Value> = texts.into_iter().map(|(key, text)| (key, text.into())).collect();
        self.metadata().insert(field.to_owned(), map.into());
    }

    fn metadata(&mut self) -> &mut Map<String, Value> {
        if !self.value["metadata"].is_object() {
            self.value["metadata"] = Value::Object(Map::new());
        }
        self.value["metadata"].as_object_mut().expect("made a map two lines above")
    }

    /// What is printed: annotations are texts, and an empty map of them is not there.
    pub(crate) fn into_finished(mut self) -> Value {
        let Some(metadata) = self.value.get_mut("metadata").and_then(Value::as_object_mut) else {
            return self.value;
        };
        match metadata.get_mut("annotations") {
            Some(Value::Object(map)) if map.is_empty() => {
                metadata.remove("annotations");
            }
            Some(Value::Null) => {
                metadata.remove("annotations");
            }
            Some(Value::Object(map)) => {
                for value in map.values_mut().filter(|value| !value.is_string()) {
                    *value = scalar_text(value).into();
                }
            }
            _ => {}
        }
        self.value
    }

    /// Refuses what cannot be named.
    pub(crate) fn check_named(&self) -> Result<(), BuildError> {
        let kind = self.kind();
        if kind.is_empty() {
            return Err(BuildError::invalid("missing Resource metadata: kind is missing or not a text"));
        }
        if self.value.get("metadata").is_none_or(Value::is_null) && !kind.ends_with("List") {
            return Err(BuildError::invalid("missing Resource metadata"));
        }
        if self.name().is_empty() && !kind.ends_with("List") {
            return Err(BuildError::invalid("missing metadata.name in object"));
        }
        Ok(())
    }
}

/// A scalar as text; lists and maps as JSON.
pub(crate) fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
