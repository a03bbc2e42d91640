//! An OpenAPI document that `openapi` names: the patch strategies in it.

use std::collections::HashMap;

use plumb_filetree::RelPath;
use plumb_manifests::yaml::{self, Text};
use serde_json::Value;

use super::{Field, Merge, Schema};
use crate::error::BuildError;
use crate::reading::Reader;

/// How far a reference may lead to a reference.
const REFERENCES_MAX: usize = 16;
const REFERENCE: &str = "#/definitions/";

/// Parses a document. Built-in kinds are unknown then, unless it extends them.
pub(crate) fn read(reader: &Reader<'_>, file: &RelPath, is_over_builtin: bool) -> Result<Schema, BuildError> {
    let text = reader.text(file)?;
    let value = yaml::parse_settings(&text, &reader.limits().yaml);
    let value = value.map_err(|error| BuildError::yaml(file, &error))?;
    let reject = || {
        let message = "not an OpenAPI document: a map with `definitions` is expected";
        BuildError::invalid(message).in_file(file)
    };
    let definitions = value.get("definitions").unwrap_or(&Value::Null);
    let definitions = match definitions {
        Value::Object(definitions) => definitions,
        Value::Null if value.is_object() => return Ok(Schema { is_over_builtin, ..Schema::default() }),
        _ => return Err(reject()),
    };
    let mut schema = Schema { is_over_builtin, ..Schema::default() };
    for (name, definition) in definitions {
        let name = Text::from(name);
        for kind in definition.get(KINDS).and_then(Value::as_array).into_iter().flatten() {
            let part = |part: &str| kind.get(part).and_then(Value::as_str).unwrap_or_default();
            let row = format!("{}/{}/{}", part("group"), part("version"), part("kind"));
            schema.kinds.insert(row.into(), name.clone());
        }
        add(&mut schema, name, definition, definitions);
    }
    Ok(schema)
}

const KINDS: &str = "x-kubernetes-group-version-kind";

/// Adds the fields of a definition, and of the unnamed ones inside of it. The nesting is limited by the
/// parser, and so is this recursion.
fn add(schema: &mut Schema, name: Text, definition: &Value, all: &serde_json::Map<String, Value>) {
    let mut fields = HashMap::new();
    for (key, property) in definition.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let inner = Text::from(format!("{name}/{key}"));
        let (target, value) = resolve(inner, property, all);
        let (target, merge) = if let Some(items) = value.get("items") {
            let (target, items) = resolve(Text::from(format!("{target}/[]")), items, all);
            add_unnamed(schema, &target, items, all);
            (target, merge(property, value))
        } else {
            add_unnamed(schema, &target, value, all);
            (target, Merge::Whole)
        };
        fields.insert(Text::from(key), Field { merge, definition: Some(target) });
    }
    schema.definitions.insert(name, fields);
}

/// Adds the schema of a value inside of a definition. Others are added on their own.
fn add_unnamed(schema: &mut Schema, name: &Text, value: &Value, all: &serde_json::Map<String, Value>) {
    if value.get("properties").is_some() && !all.contains_key(name.as_str()) {
        add(schema, name.clone(), value, all);
    }
}

/// What a property is, its references followed.
fn resolve<'v>(own: Text, property: &'v Value, all: &'v serde_json::Map<String, Value>) -> (Text, &'v Value) {
    let (mut name, mut value) = (own, property);
    for _ in 0..REFERENCES_MAX {
        let target = value.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(REFERENCE));
        let Some(target) = target else { break };
        match all.get(target) {
            Some(definition) => (name, value) = (target.into(), definition),
            // Perhaps one of the built-in definitions.
            None => return (short(target), &Value::Null),
        }
    }
    (name, value)
}

/// Built-in definitions are known without the part of their names that all share.
fn short(name: &str) -> Text {
    const PREFIXES: [&str; 4] = [
        "io.k8s.api.",
        "io.k8s.apimachinery.pkg.apis.",
        "io.k8s.kube-aggregator.pkg.apis.",
        "io.k8s.apiextensions-apiserver.pkg.apis.",
    ];
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name).into()
}

/// How a list is merged: fields next to a reference count first, then its target.
fn merge(property: &Value, resolved: &Value) -> Merge {
    let text = |name: &str| property.get(name).or_else(|| resolved.get(name)).and_then(Value::as_str);
    let is_merged = text("x-kubernetes-patch-strategy")
        .is_some_and(|strategy| strategy.split(',').any(|part| part == "merge"));
    if !is_merged {
        return Merge::Whole;
    }
    let keys = property.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let keys: Vec<String> = keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    match (keys.is_empty(), text("x-kubernetes-patch-merge-key")) {
        (false, _) => Merge::Keys(keys),
        (true, Some(key)) => Merge::Keys(vec![key.to_owned()]),
        (true, None) => Merge::Set,
    }
}

#[cfg(test)]
mod tests {
    use plumb_filetree::{MemoryTree, TreeLimits};

    use super::*;
    use crate::identity::Gvk;
    use crate::limits::Limits;
    use crate::schema::Spot;

    fn schema(text: &str, is_over_builtin: bool) -> Result<Schema, BuildError> {
        let file = RelPath::parse("schema.yaml").unwrap();
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        builder.file(&file, text.to_owned().into(), false).unwrap();
        let (tree, limits) = (builder.build(), Limits::default());
        read(&Reader::new(&tree, &limits), &file, is_over_builtin)
    }

    const DOCUMENT: &str = r##"{"definitions": {
        "Foo": {"x-kubernetes-group-version-kind": [{"group": "e.com", "version": "v1", "kind": "Foo"}],
            "properties": {"spec": {"properties": {
                "parts": {"type": "array", "items": {"$ref": "#/definitions/Part"},
                    "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "id"},
                "pod": {"$ref": "#/definitions/io.k8s.api.core.v1.PodSpec"},
                "self": {"$ref": "#/definitions/Foo"}}}}},
        "Part": {"properties": {"tags": {"type": "array", "x-kubernetes-patch-strategy": "merge",
            "items": {"type": "string"}}}}}}"##;

    #[test]
    fn strategies_are_found_through_references_and_nested_properties() {
        let schema = schema(DOCUMENT, true).unwrap();
        let field = |path: &[&str]| {
            let foo = schema.of_kind(&Gvk::new("e.com/v1", "Foo"));
            path.iter()
                .try_fold(foo, |of: Spot<'_>, name| schema.field(of, name))
                .map(|spot| spot.merge.clone())
        };
        assert_eq!(field(&["spec", "parts"]), Some(Merge::Keys(vec!["id".to_owned()])));
        assert_eq!(field(&["spec", "parts", "tags"]), Some(Merge::Set));
        assert_eq!(field(&["spec", "self", "spec", "parts", "tags"]), Some(Merge::Set));
        assert_eq!(field(&["spec", "pod", "containers"]), Some(Merge::Keys(vec!["name".to_owned()])));
    }

    #[test]
    fn built_in_kinds_are_unknown_with_a_document_unless_it_extends_them() {
        let pod = Gvk::new("v1", "Pod");
        assert_eq!(schema(DOCUMENT, false).unwrap().of_kind(&pod).definition, None);
        assert_eq!(schema(DOCUMENT, true).unwrap().of_kind(&pod).definition, Some("core.v1.Pod"));
    }

    #[test]
    fn an_invalid_document_is_rejected_with_its_file() {
        let error = schema("[]", false).unwrap_err().to_string();
        assert_eq!(error, "/schema.yaml: not an OpenAPI document: a map with `definitions` is expected");
    }
}
