//! A replacement, as it is written in a kustomization file or in a file of its own.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::BuildError;
use crate::settings::SelectorEntry;

/// One replacement: a value, and where it goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplacementEntry {
    /// A file with the rest.
    pub path: String,
    pub source: Option<SourceEntry>,
    pub source_value: Option<String>,
    pub targets: Vec<TargetEntry>,
}

/// The field of one object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SourceEntry {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub field_path: String,
    pub options: Option<FieldOptions>,
}

/// Fields of some objects.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TargetEntry {
    pub select: Option<SelectorEntry>,
    pub reject: Vec<SelectorEntry>,
    pub field_paths: Vec<String>,
    pub options: Option<FieldOptions>,
}

/// Which part of a field is meant.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FieldOptions {
    pub delimiter: String,
    pub index: i64,
    /// Accepted and ignored, as in kustomize.
    pub encoding: String,
    pub create: bool,
}

/// The entries of a file, which is read more loosely than a kustomization file: keys that are not known are passed
/// over, and numbers and booleans are taken as texts.
pub(super) fn entries(value: Value) -> Result<Vec<ReplacementEntry>, BuildError> {
    let items = match value {
        Value::Array(items) => items,
        map @ Value::Object(_) => vec![map],
        other => {
            let noun = match other {
                Value::String(_) => "string",
                Value::Null => "invalid",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            let message = format!("unsupported replacement type encountered within replacement path: {noun}");
            return Err(BuildError::invalid(message));
        }
    };
    let entry = |item: Value| {
        serde_json::from_value(entry(item))
            .map_err(|error| BuildError::invalid(format!("not a replacement: {error}")))
    };
    items.into_iter().map(entry).collect()
}

fn entry(value: Value) -> Value {
    loosen(value, &|key, value| match key {
        "path" | "sourceValue" => Some(text(value)),
        "source" => Some(loosen(value, &|key, value| match key {
            "group" | "version" | "kind" | "name" | "namespace" | "fieldPath" => Some(text(value)),
            "options" => Some(options(value)),
            _ => None,
        })),
        "targets" => Some(each(value, target)),
        _ => None,
    })
}

fn target(value: Value) -> Value {
    loosen(value, &|key, value| match key {
        "select" => Some(selector(value)),
        "reject" => Some(each(value, selector)),
        "fieldPaths" => Some(each(value, text)),
        "options" => Some(options(value)),
        _ => None,
    })
}

fn selector(value: Value) -> Value {
    loosen(value, &|key, value| match key {
        "group" | "version" | "kind" | "name" | "namespace" | "labelSelector" | "annotationSelector" => {
            Some(text(value))
        }
        _ => None,
    })
}

fn options(value: Value) -> Value {
    loosen(value, &|key, value| match key {
        "delimiter" | "encoding" => Some(text(value)),
        "index" | "create" => Some(value),
        _ => None,
    })
}

/// Every key that a list of ours may hold, as it is spelled.
const KEYS: &[&str] = &[
    "annotationSelector",
    "create",
    "delimiter",
    "encoding",
    "fieldPath",
    "fieldPaths",
    "group",
    "index",
    "kind",
    "labelSelector",
    "name",
    "namespace",
    "options",
    "path",
    "reject",
    "select",
    "source",
    "sourceValue",
    "targets",
    "version",
];

type Keep<'k> = dyn Fn(&str, Value) -> Option<Value> + 'k;

fn loosen(value: Value, keep: &Keep<'_>) -> Value {
    let Value::Object(map) = value else {
        return value;
    };
    let mut kept = Map::new();
    for (key, value) in map {
        let known = KEYS.iter().find(|known| known.eq_ignore_ascii_case(&key));
        if let Some(key) = known
            && !value.is_null()
            && let Some(value) = keep(key, value)
        {
            kept.insert((*key).to_owned(), value);
        }
    }
    Value::Object(kept)
}

fn each(value: Value, change: impl Fn(Value) -> Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(change).collect()),
        other => other,
    }
}

fn text(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Bool(flag) => Value::String(flag.to_string()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_contains_a_list_or_one_map_and_may_have_unknown_fields() {
        let one = entries(json!({"SourceValue": 5, "foo": 1, "targets": [{"fieldpaths": [true]}]})).unwrap();
        assert_eq!(one[0].source_value.as_deref(), Some("5"));
        assert_eq!(one[0].targets[0].field_paths, ["true"]);
        assert_eq!(entries(json!([{"path": "x"}, {}])).unwrap().len(), 2);
    }

    #[test]
    fn neither_a_list_nor_a_map_is_rejected() {
        for (value, noun) in [(json!(null), "invalid"), (json!("x"), "string")] {
            let error = entries(value).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("unsupported replacement type encountered within replacement path: {noun}")
            );
        }
        assert!(entries(json!({"targets": [{"options": {"index": "1"}}]})).is_err());
    }
}
