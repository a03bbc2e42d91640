//! Labels: on metadata, in selectors, in templates.

use std::collections::BTreeMap;

use plumb_manifests::yaml::{Node, Share};

use crate::config::{Config, merge_specs};
use crate::error::BuildError;
use crate::field::{FieldSpec, Make, check_key, made_text};
use crate::identity::Gvk;
use crate::reading::Reader;
use crate::resource::Resource;
use crate::set::ResourceSet;
use crate::settings::LabelEntry;
use crate::shares::{self, Spread};

/// Where the labels of one entry go.
pub(crate) fn fields(entry: &LabelEntry, config: &Config) -> Result<Vec<FieldSpec>, BuildError> {
    let mut specs: Vec<FieldSpec> = entry.fields.iter().cloned().map(FieldSpec::from).collect();
    merge_specs(&mut specs, config.labels.clone())?;
    if entry.include_selectors {
        merge_specs(&mut specs, config.selector_labels.clone())?;
    } else {
        if entry.include_templates {
            merge_specs(&mut specs, config.template_labels.clone())?;
        }
        let metadata = FieldSpec::new(Gvk::default(), "metadata/labels", true);
        merge_specs(&mut specs, vec![metadata])?;
    }
    Ok(specs)
}

/// Sets texts in the map that each field holds.
pub(crate) fn set_all(
    set: &mut ResourceSet,
    texts: &BTreeMap<String, String>,
    specs: &[FieldSpec],
    reader: &Reader<'_>,
) -> Result<(), BuildError> {
    if texts.is_empty() {
        return Ok(());
    }
    let bytes = texts.iter().map(|(key, text)| key.len() + text.len()).sum();
    let mut spread = Vec::new();
    for resource in set.iter_mut() {
        let spreads = set_in_resource(resource, texts, specs, &|| reader.spend(1, bytes))?;
        if !spreads.is_empty() {
            spread.push((resource.current_id(), spreads));
        }
    }
    for (id, spreads) in spread {
        set.note_spreads(&id, spreads);
    }
    Ok(())
}

/// A value added to several fields is shared in kustomize: see [`shares`].
fn set_in_resource(
    resource: &mut Resource,
    texts: &BTreeMap<String, String>,
    specs: &[FieldSpec],
    spend: &dyn Fn() -> Result<(), BuildError>,
) -> Result<Vec<Spread>, BuildError> {
    let first = resource.shares.saturating_add(1);
    let mut added_to = 0_usize;
    for spec in specs {
        spec.visit_resource(resource, Make::Map, &mut |field| {
            spend()?;
            added_to += usize::from(set_in(field, texts, first)?);
            Ok(())
        })?;
    }
    if added_to > 0 {
        resource.shares =
            u32::try_from(texts.len()).map_or(u32::MAX, |count| resource.shares.saturating_add(count));
    }
    resource.has_shares |= added_to > 1;
    Ok(shares::settle(resource))
}

/// Sets texts in one map; whether a key is new there.
fn set_in(field: &mut Node, texts: &BTreeMap<String, String>, first: u32) -> Result<bool, BuildError> {
    let map = match field {
        Node::Object(map) => map,
        // Where nulls become maps, they have become maps on the way.
        Node::Null(_) => return Ok(false),
        other => {
            let noun = other.noun();
            return Err(BuildError::invalid(format!("wrong node kind: expected MappingNode but got {noun}")));
        }
    };
    let mut new = Vec::new();
    for (number, (key, text)) in (first..).zip(texts) {
        if let Some(old) = map.get_mut(key) {
            let is_quoted = old.is_quoted();
            old.write(if is_quoted { Node::quoted(text) } else { Node::text(text) });
            continue;
        }
        check_key(key)?;
        new.push((key.into(), made_text(text).shared(Share::new(number))));
    }
    let is_any_new = !new.is_empty();
    map.extend(new);
    Ok(is_any_new)
}

#[cfg(test)]
mod tests {
    use plumb_filetree::{MemoryTree, TreeLimits};
    use serde_json::{Value, json};

    use super::*;
    use crate::limits::Limits;

    fn labelled(entry: &LabelEntry) -> Value {
        let mut set = ResourceSet::default();
        let value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {"selector": {}, "template": {"spec": {}}}});
        set.append(Resource::new(value, "")).unwrap();
        let specs = fields(entry, Config::builtin()).unwrap();
        let (tree, limits) = (MemoryTree::builder(TreeLimits::DEFAULT).build(), Limits::default());
        set_all(&mut set, &entry.pairs, &specs, &Reader::new(&tree, &limits)).unwrap();
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
    fn labels_reach_templates_and_selectors_only_where_requested() {
        check(false, false, [true, false, false]);
        check(false, true, [true, true, false]);
        check(true, false, [true, true, true]);
    }

    #[test]
    fn keys_that_are_no_strings_are_rejected() {
        for (key, is_text) in [("yes", true), ("n", true), ("12:30", true), ("true", false), ("1.5", false)] {
            let texts = BTreeMap::from([(key.to_owned(), "v".to_owned())]);
            assert_eq!(set_in(&mut Node::object(), &texts, 1).is_ok(), is_text, "{key}");
        }
    }

    #[test]
    fn configured_labels_go_with_selectors_too() {
        let spec = |path: &str| FieldSpec::new(Gvk::default(), path, true);
        let config = Config { labels: vec![spec("spec/x")], ..Config::default() };
        let entry = LabelEntry { include_selectors: true, ..LabelEntry::default() };
        assert_eq!(fields(&entry, &config).unwrap(), [spec("spec/x")]);
    }

    #[test]
    fn a_scalar_in_the_place_of_labels_is_rejected() {
        let mut field = Node::text("text");
        let texts = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        assert!(set_in(&mut field, &texts, 1).is_err());
    }
}
