//! Labels: on metadata, in selectors, in templates.

use std::collections::BTreeMap;

use plumb_manifests::yaml::{Node, Text};

use crate::config::{Config, merge_specs};
use crate::error::BuildError;
use crate::field::{FieldSpec, Make};
use crate::identity::Gvk;
use crate::set::ResourceSet;
use crate::settings::LabelEntry;

/// Where the labels of one entry go.
pub(crate) fn fields(entry: &LabelEntry, config: &Config) -> Result<Vec<FieldSpec>, BuildError> {
    let mut specs: Vec<FieldSpec> = entry.fields.iter().cloned().map(FieldSpec::from).collect();
    if entry.include_selectors {
        merge_specs(&mut specs, config.selector_labels.clone())?;
        return Ok(specs);
    }
    if entry.include_templates {
        merge_specs(&mut specs, config.template_labels.clone())?;
    }
    merge_specs(&mut specs, config.labels.clone())?;
    let metadata = FieldSpec::new(Gvk::default(), "metadata/labels", true);
    merge_specs(&mut specs, vec![metadata])?;
    Ok(specs)
}

/// Sets texts in the map that each field holds.
pub(crate) fn set_all(
    set: &mut ResourceSet,
    texts: &BTreeMap<String, String>,
    specs: &[FieldSpec],
) -> Result<(), BuildError> {
    if texts.is_empty() {
        return Ok(());
    }
    for resource in set.iter_mut() {
        for spec in specs {
            spec.visit_resource(resource, Make::Map, &mut |field| set_in(field, texts))?;
        }
    }
    Ok(())
}

fn set_in(field: &mut Node, texts: &BTreeMap<String, String>) -> Result<(), BuildError> {
    let entries = || texts.iter().map(|(key, text)| (Text::from(key), Node::text(text)));
    match field {
        Node::Object(map) => {
            map.extend(entries());
            Ok(())
        }
        Node::Null => {
            *field = Node::Object(entries().collect());
            Ok(())
        }
        other => {
            let noun = other.noun();
            Err(BuildError::invalid(format!("wrong node kind: expected MappingNode but got {noun}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::resource::Resource;

    fn labelled(entry: &LabelEntry) -> Value {
        let mut set = ResourceSet::default();
        let value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"selector": {}, "template": {"spec": {}}}});
        set.append(Resource::new(value, "")).unwrap();
        let specs = fields(entry, Config::builtin()).unwrap();
        set_all(&mut set, &entry.pairs, &specs).unwrap();
        set.into_vec().remove(0).value.to_json()
    }

    #[track_caller]
    fn check(include_selectors: bool, include_templates: bool, expect: [bool; 3]) {
        let pairs = BTreeMap::from([("k".to_owned(), "1".to_owned())]);
        let value =
            labelled(&LabelEntry { pairs, include_selectors, include_templates, ..LabelEntry::default() });
        let places =
            ["/metadata/labels/k", "/spec/template/metadata/labels/k", "/spec/selector/matchLabels/k"];
        assert_eq!(places.map(|place| value.pointer(place) == Some(&json!("1"))), expect);
    }

    #[test]
    fn labels_reach_templates_and_selectors_only_where_asked() {
        check(false, false, [true, false, false]);
        check(false, true, [true, true, false]);
        check(true, false, [true, true, true]);
    }

    #[test]
    fn a_scalar_in_the_place_of_labels_is_refused() {
        let mut field = Node::text("text");
        let texts = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        assert!(set_in(&mut field, &texts).is_err());
    }
}
