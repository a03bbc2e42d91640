//! Replica counts of the objects of a name.

use crate::error::BuildError;
use crate::field::{FieldSpec, Make};
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
                    *field = entry.count.into();
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
