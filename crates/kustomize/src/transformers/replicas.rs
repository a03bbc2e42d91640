//! Replica counts of the objects of a name.

use plumb_manifests::yaml::Node;

use crate::error::BuildError;
use crate::field::{FieldSpec, Make, check_scalar, plain};
use crate::set::ResourceSet;
use crate::settings::ReplicaEntry;

/// Sets the count in every object that has or had the name and is of a kind with replicas.
pub(crate) fn set(
    set: &mut ResourceSet,
    entry: &ReplicaEntry,
    specs: &[FieldSpec],
) -> Result<(), BuildError> {
    let mut found = false;
    for spec in specs {
        for resource in set.iter_mut() {
            let is_meant =
                resource.all_ids().any(|id| id.name == entry.name && id.gvk.is_selected_by(&spec.gvk));
            if is_meant {
                found = true;
                spec.visit_resource(resource, Make::Scalar, &mut |field| {
                    check_scalar(field)?;
                    let count = entry.count.to_string();
                    *field = if field.is_quoted() { Node::quoted(count) } else { plain(&count) };
                    Ok(())
                })?;
            }
        }
    }
    if found {
        return Ok(());
    }
    let kinds: Vec<String> = specs.iter().map(|spec| spec.gvk.to_string()).collect();
    let message = format!(
        "resource with name {} does not match a config with the following GVK [{}]",
        entry.name,
        kinds.join(" ")
    );
    Err(BuildError::invalid(message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::resource::Resource;

    fn set_count(name: &str) -> Result<serde_json::Value, BuildError> {
        let mut resources = ResourceSet::default();
        let value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        resources.append(Resource::new(value, "")).unwrap();
        let entry = ReplicaEntry { name: name.to_owned(), count: 3 };
        set(&mut resources, &entry, &Config::builtin().replicas)?;
        Ok(resources.into_vec().remove(0).value.to_json())
    }

    #[test]
    fn the_count_is_set_where_there_was_none() {
        assert_eq!(set_count("web").unwrap()["spec"]["replicas"], 3);
    }

    #[test]
    fn a_name_that_no_object_has_is_rejected() {
        let error = set_count("nope").unwrap_err().to_string();
        assert!(
            error.starts_with("resource with name nope does not match a config with the following GVK [")
        );
    }
}
