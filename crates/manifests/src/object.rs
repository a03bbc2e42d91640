//! One Kubernetes object as it is written: JSON, with accessors for common fields.
//!
//! No schema and no defaults: missing fields stay missing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::id::{ObjectId, VersionedId};

/// A Kubernetes object: a JSON map that has a kind and a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    value: Value,
}

/// Why a value is not a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnObject {
    /// The value is a scalar or a list.
    #[error("not a map but {found}")]
    NotAMap {
        /// The value found instead.
        found: &'static str,
    },
    /// A field that identifies the object is missing, empty or not a string.
    #[error("missing {field}")]
    Missing {
        /// The path of the field.
        field: &'static str,
    },
}

impl Object {
    /// Takes a value that has `kind` and `metadata.name`.
    pub fn new(value: Value) -> Result<Self, NotAnObject> {
        if !value.is_object() {
            return Err(NotAnObject::NotAMap { found: noun(&value) });
        }
        let object = Self { value };
        if object.kind().is_empty() {
            return Err(NotAnObject::Missing { field: "kind" });
        }
        if object.name().is_empty() {
            return Err(NotAnObject::Missing { field: "metadata.name" });
        }
        Ok(object)
    }

    /// `apiVersion`, or the empty string.
    pub fn api_version(&self) -> &str {
        self.text(&["apiVersion"]).unwrap_or_default()
    }

    /// `kind`, or the empty string.
    pub fn kind(&self) -> &str {
        self.text(&["kind"]).unwrap_or_default()
    }

    /// The group of `apiVersion`; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// The version of `apiVersion`, without its group.
    pub fn version(&self) -> &str {
        let text = self.api_version();
        text.split_once('/').map_or(text, |(_, version)| version)
    }

    /// `metadata.name`, or the empty string.
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"]).unwrap_or_default()
    }

    /// `metadata.namespace`, if it is set and not empty.
    pub fn namespace(&self) -> Option<&str> {
        self.text(&["metadata", "namespace"]).filter(|text| !text.is_empty())
    }

    /// Which object this is, its version left out.
    pub fn id(&self) -> ObjectId {
        ObjectId {
            namespace: self.namespace().unwrap_or_default().to_owned(),
            name: self.name().to_owned(),
            group: self.group().to_owned(),
            kind: self.kind().to_owned(),
        }
    }

    /// Which object this is, with the version that it is written in.
    pub fn versioned_id(&self) -> VersionedId {
        VersionedId { id: self.id(), version: self.version().to_owned() }
    }

    /// The value under a path of map keys.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |value, key| value.get(key))
    }

    /// The text under a path of map keys.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path).and_then(Value::as_str)
    }

    /// One label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.text(&["metadata", "labels", key])
    }

    /// One annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.text(&["metadata", "annotations", key])
    }

    /// All labels that are strings.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.strings(&["metadata", "labels"])
    }

    /// All annotations that are strings.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.strings(&["metadata", "annotations"])
    }

    /// Sets one label, making the maps on the way.
    pub fn set_label(&mut self, key: &str, text: &str) {
        self.metadata_map("labels").insert(key.to_owned(), text.into());
    }

    /// Sets one annotation, making the maps on the way.
    pub fn set_annotation(&mut self, key: &str, text: &str) {
        self.metadata_map("annotations").insert(key.to_owned(), text.into());
    }

    /// Sets `metadata.namespace`.
    pub fn set_namespace(&mut self, namespace: &str) {
        self.metadata().insert("namespace".to_owned(), namespace.into());
    }

    /// Sets `metadata.name`.
    pub fn set_name(&mut self, name: &str) {
        self.metadata().insert("name".to_owned(), name.into());
    }

    /// The whole object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The whole object, to change. What identifies it must stay.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.value
    }

    /// The whole object, given away.
    pub fn into_value(self) -> Value {
        self.value
    }

    fn strings(&self, path: &[&str]) -> BTreeMap<String, String> {
        let map = self.at(path).and_then(Value::as_object);
        let texts = map.into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?)));
        texts.map(|(key, text)| (key.clone(), text.to_owned())).collect()
    }

    fn metadata(&mut self) -> &mut Map<String, Value> {
        map_under(&mut self.value, "metadata")
    }

    fn metadata_map(&mut self, key: &str) -> &mut Map<String, Value> {
        let metadata = map_under(&mut self.value, "metadata");
        let entry = metadata.entry(key).or_insert_with(|| Value::Object(Map::new()));
        as_map(entry)
    }
}

impl TryFrom<Value> for Object {
    type Error = NotAnObject;

    fn try_from(value: Value) -> Result<Self, NotAnObject> {
        Self::new(value)
    }
}

fn map_under<'v>(value: &'v mut Value, key: &str) -> &'v mut Map<String, Value> {
    as_map(as_map(value).entry(key).or_insert_with(|| Value::Object(Map::new())))
}

/// The map at a path, replacing any other value there.
fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made a map on the line above")
}

/// What a value is, in words.
pub fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn group_and_version_are_split_at_the_first_slash() {
        let object = |api: &str| {
            Object::new(json!({"apiVersion": api, "kind": "K", "metadata": {"name": "n"}})).unwrap()
        };
        assert_eq!((object("v1").group(), object("v1").version()), ("", "v1"));
        assert_eq!((object("apps/v1").group(), object("apps/v1").version()), ("apps", "v1"));
        assert_eq!((object("a/b/c").group(), object("a/b/c").version()), ("a", "b/c"));
    }

    #[test]
    fn an_object_without_kind_or_name_is_rejected_by_field() {
        let reject = |value| Object::new(value).unwrap_err().to_string();
        assert_eq!(reject(json!(1)), "not a map but a number");
        assert_eq!(reject(json!({"metadata": {"name": "n"}})), "missing kind");
        assert_eq!(reject(json!({"kind": "K", "metadata": {"name": ""}})), "missing metadata.name");
    }

    #[test]
    fn labels_are_set_where_there_were_none_or_null() {
        let mut object =
            Object::new(json!({"kind": "K", "metadata": {"name": "n", "labels": null}})).unwrap();
        object.set_label("a", "b");
        object.set_annotation("c", "d");
        assert_eq!(object.label("a"), Some("b"));
        assert_eq!(object.annotation("c"), Some("d"));
        assert_eq!(object.labels().len(), 1);
    }
}
