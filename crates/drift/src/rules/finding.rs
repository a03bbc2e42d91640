//! Finding: the result of a comparison: the class of drift, the fields, and their managers.
//!
//! A finding of drift shows at least one field, or that the object is missing: nothing else is drift.

use std::time::Duration;

use jiff::Timestamp;
use plumb_api::kustomize::DriftClass;
use plumb_manifests::Object;

use crate::rules::attribution::{self, Writer};
use crate::rules::contention::later;
use plumb_api::meta::{OWNER_NAME_LABEL, OWNER_NAMESPACE_LABEL};
use plumb_planning::diff::{self, FieldChange};
use plumb_planning::managed_fields;

/// How long before it is seen an apply of our own may have been: the times in managedFields have no parts of a second.
const OWN_APPLY_WINDOW: Duration = Duration::from_secs(2);

/// A field that differs, and the manager that changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDrift {
    /// What differs; values are short and masked.
    pub change: FieldChange,
    /// The manager.
    pub writer: Writer,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which class.
    pub class: DriftClass,
    /// Which fields; none where the object is missing or could not be compared.
    pub fields: Vec<FieldDrift>,
    /// Why it could not be compared; empty otherwise.
    pub obstacle: String,
    /// When the change arrived here.
    pub seen: Timestamp,
}

impl Finding {
    /// Compares the live object, as it was before a correction, with the result of applying the desired one: the response to
    /// our apply, or to a dry run of it. `None`: no difference.
    pub fn compare(live: &Object, expected: &Object, seen: Timestamp) -> Option<Self> {
        Self::from_changes(diff::changes(live, expected), live, seen)
    }

    /// Like [`Finding::compare`], of what others changed alone: an apply of our own may have come in between, and what it wrote
    /// is no drift.
    pub fn compare_foreign(live: &Object, expected: &Object, seen: Timestamp) -> Option<Self> {
        let entries = managed_fields::entries(live.at(&["metadata", "managedFields"]));
        let mut changes = diff::changes(live, expected);
        if let Some(own) = entries.iter().find(|entry| entry.is_own()) {
            let applied_just_now = own.time.is_some_and(|time| later(time, OWN_APPLY_WINDOW) >= seen);
            changes.retain(|change| match change.live {
                Some(_) => !own.fields.contains(&change.path),
                // No manager is reported for a removed field.
                None => !applied_just_now,
            });
        }
        Self::from_changes(changes, live, seen)
    }

    /// A finding from fields that differ.
    pub fn from_changes(changes: Vec<FieldChange>, live: &Object, seen: Timestamp) -> Option<Self> {
        if changes.is_empty() {
            return None;
        }
        let entries = managed_fields::entries(live.at(&["metadata", "managedFields"]));
        let fields: Vec<FieldDrift> = changes
            .into_iter()
            .map(|change| {
                let writer = attribution::attribute(&entries, &change.path, seen);
                FieldDrift { change, writer }
            })
            .collect();
        let class = if fields.iter().any(is_owner_label) {
            DriftClass::Disowned
        } else if fields.iter().all(|field| field.change.desired.is_none()) {
            DriftClass::Extra
        } else {
            DriftClass::Drifted
        };
        Some(Self { class, fields, obstacle: String::new(), seen })
    }

    /// The object was deleted.
    pub fn missing(seen: Timestamp) -> Self {
        Self { class: DriftClass::Missing, fields: Vec::new(), obstacle: String::new(), seen }
    }

    /// The object could not be compared.
    pub fn unknown(obstacle: impl Into<String>, seen: Timestamp) -> Self {
        Self { class: DriftClass::Unknown, fields: Vec::new(), obstacle: obstacle.into(), seen }
    }

    /// The paths, as text, sorted: a finding with the same class and paths is the same drift.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.fields.iter().map(|field| field.change.path.to_string()).collect();
        paths.sort();
        paths
    }

    /// The managers that are known, sorted, each once.
    pub fn managers(&self) -> Vec<&str> {
        let mut managers: Vec<&str> = self
            .fields
            .iter()
            .map(|field| field.writer.manager.as_str())
            .filter(|name| !name.is_empty())
            .collect();
        managers.sort_unstable();
        managers.dedup();
        managers
    }
}

fn is_owner_label(field: &FieldDrift) -> bool {
    let path = &field.change.path;
    let whole = path.is_under(&["metadata", "labels"]) && path.0.len() == 2;
    whole
        || path.is_under(&["metadata", "labels", OWNER_NAME_LABEL])
        || path.is_under(&["metadata", "labels", OWNER_NAMESPACE_LABEL])
}

/// Whether our entry in the live object lacks a field that an apply would own: then an apply that changes no value owns it
/// again, and until then more events trigger a comparison.
pub fn lacks_fields(live: &Object, expected: &Object) -> bool {
    let fields = |object: &Object| managed_fields::own_fields(object.at(&["metadata", "managedFields"]));
    match (fields(live), fields(expected)) {
        (Some(ours), Some(wanted)) => !ours.covers(&wanted),
        (None, Some(_)) => true,
        (Some(_) | None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use plumb_planning::fixtures::at;

    fn map(data: &Value, entries: &[(&str, &str, i64, &[&str])]) -> Object {
        let entries: Vec<Value> = entries
            .iter()
            .map(|(manager, operation, second, keys)| {
                let fields: serde_json::Map<String, Value> =
                    keys.iter().map(|key| (format!("f:{key}"), json!({}))).collect();
                json!({
                    "manager": manager, "operation": operation, "apiVersion": "v1", "time": at(*second).to_string(),
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:data": fields},
                })
            })
            .collect();
        let value = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"name": "settings", "namespace": "prod", "managedFields": entries},
        });
        Object::new(value).unwrap()
    }

    fn paths(live: &Object, seen: i64) -> Vec<String> {
        // What was applied before: a=1, b=1.
        let expected = map(&json!({"a": "1", "b": "1"}), &[]);
        let finding = Finding::compare_foreign(live, &expected, at(seen));
        let paths = finding.map(|finding| finding.paths()).unwrap_or_default();
        paths.into_iter().filter(|path| path.starts_with(".data")).collect()
    }

    #[test]
    fn our_own_apply_is_no_drift_and_an_edit_next_to_it_is() {
        let ours = ("kustomize-controller", "Apply", 100, &["a", "b"][..]);
        let pushed = map(&json!({"a": "2", "b": "1"}), &[ours]);
        assert_eq!(paths(&pushed, 100), Vec::<String>::new(), "a new value");
        let removed = map(&json!({"a": "1"}), &[("kustomize-controller", "Apply", 100, &["a"])]);
        assert_eq!(paths(&removed, 101), Vec::<String>::new(), "a field that Git does not have any more");
        let both =
            [("kustomize-controller", "Apply", 100, &["a"][..]), ("kubectl-edit", "Update", 100, &["b"])];
        assert_eq!(paths(&map(&json!({"a": "2", "b": "x"}), &both), 100), [".data.b"]);
    }

    #[test]
    fn what_others_change_or_remove_is_drift() {
        let edit =
            [("kustomize-controller", "Apply", 10, &["b"][..]), ("kubectl-edit", "Update", 100, &["a"])];
        assert_eq!(paths(&map(&json!({"a": "x", "b": "1"}), &edit), 100), [".data.a"]);
        let removed = [("kustomize-controller", "Apply", 10, &["a"][..])];
        assert_eq!(paths(&map(&json!({"a": "1"}), &removed), 100), [".data.b"]);
        assert_eq!(
            paths(&map(&json!({"a": "x", "b": "1"}), &[]), 100),
            [".data.a"],
            "our entry was stripped"
        );
    }
}
