//! Annotations on metadata and in templates.

use std::collections::BTreeMap;

use super::labels;
use crate::error::BuildError;
use crate::field::FieldSpec;
use crate::reading::Reader;
use crate::set::ResourceSet;

/// Sets annotations in every field of the specifications.
pub(crate) fn set_all(
    set: &mut ResourceSet,
    annotations: &BTreeMap<String, String>,
    specs: &[FieldSpec],
    reader: &Reader<'_>,
) -> Result<(), BuildError> {
    labels::set_all(set, annotations, specs, reader)
}

#[cfg(test)]
mod tests {
    use plumb_filetree::{MemoryTree, TreeLimits};
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;
    use crate::limits::Limits;
    use crate::resource::Resource;

    #[test]
    fn annotations_reach_pod_templates() {
        let value = json!({"apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": {"name": "a", "annotations": {"k": "old", "own": "x"}}});
        let mut set = ResourceSet::default();
        set.append(Resource::new(value, "")).unwrap();
        let annotations = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let (tree, limits) = (MemoryTree::builder(TreeLimits::DEFAULT).build(), Limits::default());
        let reader = Reader::new(&tree, &limits);
        set_all(&mut set, &annotations, &Config::builtin().annotations, &reader).unwrap();
        let value: Value = set.into_vec().remove(0).value.to_json();
        assert_eq!(value["metadata"]["annotations"], json!({"k": "v", "own": "x"}));
        let template = "/spec/jobTemplate/spec/template/metadata/annotations";
        assert_eq!(value.pointer(template), Some(&json!({"k": "v"})));
    }
}
