//! Prefixes and suffixes of names.

use crate::error::BuildError;
use crate::field::{FieldSpec, Make, check_scalar, overwrite};
use crate::reading::Reader;
use crate::resource::{Resource, scalar_text};
use crate::set::ResourceSet;

/// On which side of a name the text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affix {
    Prefix,
    Suffix,
}

const NAME_PATH: &str = "metadata/name";

/// Adds a text to the names of all objects but those whose name is part of what they are.
pub(crate) fn add(
    set: &mut ResourceSet,
    affix: Affix,
    text: &str,
    specs: &[FieldSpec],
    reader: &Reader<'_>,
) -> Result<(), BuildError> {
    for resource in set.iter_mut() {
        add_to(resource, affix, text, specs, reader)?;
    }
    Ok(())
}

fn add_to(
    resource: &mut Resource,
    affix: Affix,
    text: &str,
    specs: &[FieldSpec],
    reader: &Reader<'_>,
) -> Result<(), BuildError> {
    let original = resource.original_id();
    if keeps_name(&original.gvk.group, &original.gvk.kind) {
        return Ok(());
    }
    for spec in specs {
        if !original.gvk.is_selected_by(&spec.gvk) {
            continue;
        }
        if spec.path == NAME_PATH {
            match affix {
                // An empty text counts as a renaming, but as no prefix.
                _ if text.is_empty() => {}
                Affix::Prefix => resource.prefixes.push(text.into()),
                Affix::Suffix => resource.suffixes.push(text.into()),
            }
            resource.record_id();
        }
        spec.visit_resource(resource, Make::Scalar, &mut |field| {
            check_scalar(field)?;
            reader.spend(1, text.len())?;
            let old = scalar_text(field);
            let new = match affix {
                Affix::Prefix => format!("{text}{old}"),
                Affix::Suffix => format!("{old}{text}"),
            };
            overwrite(field, &new);
            Ok(())
        })?;
    }
    Ok(())
}

fn keeps_name(group: &str, kind: &str) -> bool {
    match kind {
        "CustomResourceDefinition" | "Namespace" => true,
        "APIService" => group == "apiregistration.k8s.io",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    #[track_caller]
    fn check(api_version: &str, kind: &str, name: &Value, expect: &Value) {
        let mut set = ResourceSet::default();
        let value = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
        set.append(Resource::new(value, "")).unwrap();
        let tree = plumb_filetree::MemoryTree::builder(plumb_filetree::TreeLimits::DEFAULT).build();
        let limits = crate::limits::Limits::default();
        let reader = Reader::new(&tree, &limits);
        add(&mut set, Affix::Prefix, "p-", &Config::builtin().name_prefix, &reader).unwrap();
        add(&mut set, Affix::Suffix, "-s", &Config::builtin().name_suffix, &reader).unwrap();
        assert_eq!(set.into_vec()[0].value["metadata"]["name"], *expect);
    }

    #[test]
    fn names_get_both_but_those_that_mean_something_stay() {
        check("v1", "ConfigMap", &json!("a"), &json!("p-a-s"));
        check("v1", "ConfigMap", &json!(123), &json!("p-123-s"));
        check("v1", "Namespace", &json!("a"), &json!("a"));
        check("apiextensions.k8s.io/v1", "CustomResourceDefinition", &json!("a"), &json!("a"));
        check("apiregistration.k8s.io/v1", "APIService", &json!("a"), &json!("a"));
        check("example.com/v1", "APIService", &json!("a"), &json!("p-a-s"));
    }

    #[test]
    fn the_former_names_are_recorded() {
        let mut set = ResourceSet::default();
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        set.append(Resource::new(value, "")).unwrap();
        let tree = plumb_filetree::MemoryTree::builder(plumb_filetree::TreeLimits::DEFAULT).build();
        let limits = crate::limits::Limits::default();
        let reader = Reader::new(&tree, &limits);
        add(&mut set, Affix::Prefix, "p-", &Config::builtin().name_prefix, &reader).unwrap();
        let resource = set.into_vec().remove(0);
        assert_eq!(resource.original_id().name, "a");
        assert_eq!(resource.prefixes, ["p-"]);
    }
}
