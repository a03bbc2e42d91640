//! Prefixes and suffixes of names.

use serde_json::Value;

use crate::error::BuildError;
use crate::field::{FieldSpec, Make};
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
) -> Result<(), BuildError> {
    if text.is_empty() {
        return Ok(());
    }
    for resource in set.iter_mut() {
        add_to(resource, affix, text, specs)?;
    }
    Ok(())
}

fn add_to(resource: &mut Resource, affix: Affix, text: &str, specs: &[FieldSpec]) -> Result<(), BuildError> {
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
                Affix::Prefix => resource.prefixes.push(text.to_owned()),
                Affix::Suffix => resource.suffixes.push(text.to_owned()),
            }
            resource.remember_id();
        }
        spec.visit_resource(resource, Make::Scalar, &mut |field| {
            let old = if field.is_null() { String::new() } else { scalar_text(field) };
            *field = Value::String(match affix {
                Affix::Prefix => format!("{text}{old}"),
                Affix::Suffix => format!("{old}{text}"),
            });
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
