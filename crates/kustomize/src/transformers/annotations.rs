//! Annotations on metadata and in templates.

use std::collections::BTreeMap;

use super::labels;
use crate::error::BuildError;
use crate::field::FieldSpec;
use crate::set::ResourceSet;

/// Sets annotations in every field of the specifications.
pub(crate) fn set_all(
    set: &mut ResourceSet,
    annotations: &BTreeMap<String, String>,
    specs: &[FieldSpec],
) -> Result<(), BuildError> {
    labels::set_all(set, annotations, specs)
}
