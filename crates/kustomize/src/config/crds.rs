//! Files named in `crds`: descriptions of types with the fields that contain names, labels or annotations.

use std::collections::BTreeMap;

use plumb_filetree::RelPath;
use plumb_manifests::yaml;
use serde::Deserialize;
use serde_json::Value;

use super::{Config, NameReference};
use crate::error::BuildError;
use crate::field::FieldSpec;
use crate::identity::Gvk;
use crate::reading::Reader;

/// Fields that are read in one file, at most: types may refer to each other in many ways.
const FIELDS_MAX: usize = 20_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Type {
    #[serde(alias = "schema")]
    #[serde(rename = "Schema")]
    schema: Schema,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Schema {
    properties: BTreeMap<String, Value>,
}

/// Reads one file: what its types add to the configuration.
pub(crate) fn read(reader: &Reader<'_>, file: &RelPath) -> Result<Config, BuildError> {
    let text = reader.text(file)?;
    let value = yaml::parse_settings(&text, &reader.limits().yaml);
    let value = value.map_err(|error| BuildError::yaml(file, &error))?;
    if value.is_null() {
        return Ok(Config::default());
    }
    let types: BTreeMap<String, Type> = serde_json::from_value(value).map_err(|error| {
        let message = format!(
            "loading CRDs: unable to parse open API definition: {error}: a map of type names to `Schema` is \
             expected, not a CustomResourceDefinition"
        );
        BuildError::invalid(message).in_file(file)
    })?;
    walked(&types, FIELDS_MAX).map_err(|error| error.in_file(file))
}

/// What the types add to the configuration, with a limit on the fields that are read.
fn walked(types: &BTreeMap<String, Type>, fields_max: usize) -> Result<Config, BuildError> {
    let mut walk = Walk { types, config: Config::default(), fields: 0, fields_max };
    for (name, found) in types {
        let is_object = ["apiVersion", "kind", "metadata"]
            .iter()
            .all(|field| found.schema.properties.contains_key(*field));
        if is_object {
            walk.go(&gvk(name), found, &mut vec![name], &mut Vec::new())?;
        }
    }
    Ok(walk.config)
}

/// The kind in the name of a type, `example.com/pkg/v1.Foo`. kustomize takes no notice of the version there, but
/// without one it is no kind.
fn gvk(name: &str) -> Gvk {
    Gvk { kind: name.rsplit('.').next().unwrap_or(name).into(), ..Gvk::default() }
}

struct Walk<'t> {
    types: &'t BTreeMap<String, Type>,
    config: Config,
    fields: usize,
    fields_max: usize,
}

impl<'t> Walk<'t> {
    /// A type refers to others but never to one on the way to it, so the depth is at most the number of types; each
    /// step needs a type of its own in a file of limited size.
    fn go(
        &mut self,
        object: &Gvk,
        found: &'t Type,
        chain: &mut Vec<&'t str>,
        path: &mut Vec<&'t str>,
    ) -> Result<(), BuildError> {
        for (name, property) in &found.schema.properties {
            self.fields += 1;
            if self.fields > self.fields_max || chain.len() > CHAIN_MAX {
                let fields_max = self.fields_max;
                let message = format!("more than {fields_max} fields or {CHAIN_MAX} types inside each other");
                return Err(BuildError::over_limit(message));
            }
            path.push(name);
            self.add(object, property, &path.join("/"));
            let target = property.get("$ref").and_then(Value::as_str);
            if let Some((name, target)) = target.and_then(|name| self.types.get_key_value(name))
                && !chain.contains(&name.as_str())
            {
                chain.push(name);
                self.go(object, target, chain, path)?;
                chain.pop();
            }
            path.pop();
        }
        Ok(())
    }

    fn add(&mut self, object: &Gvk, property: &Value, path: &str) {
        let says = |extension: &str| property.get(format!("x-kubernetes-{extension}"));
        let text = |extension: &str| says(extension).and_then(Value::as_str);
        let spec = |path: &str| FieldSpec::new(object.clone(), path, false);
        if says("annotation").is_some() {
            self.config.annotations.push(spec(path));
        }
        if says("label-selector").is_some() {
            self.config.selector_labels.push(spec(path));
        }
        if says("identity").is_some() {
            self.config.name_prefix.push(spec(path));
        }
        if let (Some(version), Some(kind)) = (text("object-ref-api-version"), text("object-ref-kind")) {
            let key = text("object-ref-name-key").unwrap_or("name");
            let target = Gvk { group: "".into(), version: version.into(), kind: kind.into() };
            let fields = vec![spec(&format!("{path}/{key}"))];
            self.config.name_references.push(NameReference { target, fields });
        }
    }
}

/// Types inside each other.
const CHAIN_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use plumb_filetree::{MemoryTree, TreeLimits};

    use super::*;
    use crate::limits::Limits;

    fn config(text: &str) -> Result<Config, BuildError> {
        let file = RelPath::parse("crd.json").unwrap();
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        builder.file(&file, text.to_owned().into(), false).unwrap();
        let (tree, limits) = (builder.build(), Limits::default());
        read(&Reader::new(&tree, &limits), &file)
    }

    const TYPES: &str = r#"{
        "e.com/pkg/v1.Foo": {"Schema": {"properties": {
            "apiVersion": {}, "kind": {}, "metadata": {}, "spec": {"$ref": "e.com/pkg/v1.FooSpec"}}}},
        "e.com/pkg/v1.FooSpec": {"Schema": {"properties": {
            "id": {"x-kubernetes-identity": ""}, "sel": {"x-kubernetes-label-selector": ""},
            "an": {"x-kubernetes-annotation": ""},
            "ref": {"x-kubernetes-object-ref-api-version": "v1", "x-kubernetes-object-ref-kind": "Secret"},
            "key": {"x-kubernetes-object-ref-api-version": "v1", "x-kubernetes-object-ref-kind": "Secret",
                "x-kubernetes-object-ref-name-key": "k"}}}}}"#;

    #[test]
    fn marked_fields_are_found_through_references() {
        let config = config(TYPES).unwrap();
        let paths = |specs: &[FieldSpec]| specs.iter().map(|spec| spec.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&config.name_prefix), ["spec/id"]);
        assert_eq!(paths(&config.selector_labels), ["spec/sel"]);
        assert_eq!(paths(&config.annotations), ["spec/an"]);
        let references: Vec<_> = config.name_references.iter().flat_map(|one| paths(&one.fields)).collect();
        assert_eq!(references, ["spec/key/k", "spec/ref/name"]);
        assert_eq!(config.name_prefix[0].gvk, Gvk::new("", "Foo"));
    }

    /// As values, not as a file: kustomize 5.8.1 follows types that lead back until its stack overflows.
    #[test]
    fn a_type_is_not_entered_again_on_the_way_through_it() {
        let property = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let mut properties: BTreeMap<String, Value> =
            ["apiVersion", "kind", "metadata"].map(|name| (name.to_owned(), Value::Null)).into();
        properties.insert("again".to_owned(), property(r#"{"$ref": "T"}"#));
        properties.insert("id".to_owned(), property(r#"{"x-kubernetes-identity": ""}"#));
        let types = BTreeMap::from([("T".to_owned(), Type { schema: Schema { properties } })]);
        let config = walked(&types, FIELDS_MAX).unwrap();
        assert_eq!(config.name_prefix.len(), 1);
    }

    #[test]
    fn types_that_are_reached_in_many_ways_are_looked_at_up_to_a_limit() {
        let types: BTreeMap<String, Type> = (0..5)
            .map(|level| {
                let next = || serde_json::json!({ "$ref": format!("T{}", level + 1) });
                let mut properties = BTreeMap::from([("a".to_owned(), next()), ("b".to_owned(), next())]);
                for name in ["apiVersion", "kind", "metadata"] {
                    properties.insert(name.to_owned(), Value::Null);
                }
                (format!("T{level}"), Type { schema: Schema { properties } })
            })
            .collect();
        assert!(walked(&types, FIELDS_MAX).is_ok());
        let rejected = walked(&types, 100).unwrap_err();
        assert!(rejected.to_string().contains("more than 100 fields"), "{rejected}");
    }

    #[test]
    fn a_custom_resource_definition_is_rejected_with_what_is_expected() {
        let error = config("apiVersion: v1\nkind: CustomResourceDefinition\n").unwrap_err().to_string();
        assert!(error.starts_with("/crd.json: loading CRDs: unable to parse open API definition"), "{error}");
    }
}
