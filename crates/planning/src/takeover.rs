//! Takeover: the patch by which fields of other tools become ours, so that the next apply can remove them (flux-api.md §2.12).
//!
//! `kubectl rollout restart` survives: its annotation stays with its manager (drift.md §2).

use plumb_api::meta::{KUSTOMIZE_MANAGER, REMOVED_ANNOTATIONS, REMOVED_LABELS, RESTARTED_AT};
use plumb_manifests::Object;
use serde_json::{Value, json};

use crate::exclusion::Policy;
use crate::fields::FieldSet;
use crate::managed_fields::{self, Entry};

/// Managers whose entries are taken over, in addition to those fixed by Flux.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Takeover {
    /// Each `--override-manager`: taken over whether it applied or updated.
    pub overrides: Vec<String>,
}

impl Takeover {
    /// Whether an entry of this manager becomes ours. Names are matched by their beginning.
    pub fn takes(&self, manager: &str, operation: &str, subresource: &str) -> bool {
        if !subresource.is_empty() {
            return false;
        }
        let applies = operation == "Apply";
        let updates = operation == "Update";
        let fixed = (applies || updates) && manager.starts_with("kubectl")
            || updates
                && (manager.starts_with("before-first-apply") || manager.starts_with(KUSTOMIZE_MANAGER));
        fixed || (applies || updates) && self.overrides.iter().any(|name| manager.starts_with(name.as_str()))
    }

    /// The same for an entry that was read. One that holds nothing but a restart is not taken.
    pub fn takes_entry(&self, entry: &Entry) -> bool {
        if entry.is_own() || !self.takes(&entry.manager, entry.operation.as_str(), &entry.subresource) {
            return false;
        }
        let mut rest = entry.fields.clone();
        let restart = rest.take_named(RESTARTED_AT);
        restart.is_empty() || !rest.is_empty()
    }

    /// Whether anything of `metadata.managedFields` is to be taken over.
    pub fn has_leftovers(&self, managed_fields: Option<&Value>) -> bool {
        let entries = managed_fields.and_then(Value::as_array).into_iter().flatten();
        entries
            .filter(|entry| {
                self.takes(word(entry, "manager"), word(entry, "operation"), word(entry, "subresource"))
            })
            .any(|entry| !is_ours(entry) && self.takes_entry(&managed_fields::read_entry(entry)))
    }

    /// The JSON patch for a live object, bound to its resourceVersion; `None` when nothing is to be taken over.
    /// The object should be applied again afterwards: only then are fields removed that are not in Git.
    pub fn patch(&self, live: &Object) -> Option<Value> {
        if Policy::of(live) == Policy::Merge {
            return None;
        }
        let mut operations = Vec::new();
        if let Some(entries) = self.merged(live.at(&["metadata", "managedFields"])) {
            operations.push(json!({"op": "replace", "path": "/metadata/managedFields", "value": entries}));
        }
        for (place, keys) in [("annotations", REMOVED_ANNOTATIONS), ("labels", REMOVED_LABELS)] {
            for key in keys.iter().filter(|key| live.at(&["metadata", place, **key]).is_some()) {
                let pointer = format!("/metadata/{place}/{}", escape(key));
                operations.push(json!({"op": "remove", "path": pointer}));
            }
        }
        if operations.is_empty() {
            return None;
        }
        if let Some(version) = live.at(&["metadata", "resourceVersion"]) {
            let bound = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
            operations.insert(0, bound);
        }
        Some(Value::Array(operations))
    }

    fn merged(&self, managed_fields: Option<&Value>) -> Option<Vec<Value>> {
        let entries = managed_fields?.as_array()?;
        let mut ours: Option<Value> = entries.iter().find(|entry| is_ours(entry)).cloned();
        let mut remaining = Vec::new();
        let mut moved = false;
        for entry in entries.iter().filter(|entry| !is_ours(entry)) {
            if !self.takes(word(entry, "manager"), word(entry, "operation"), word(entry, "subresource")) {
                remaining.push(entry.clone());
                continue;
            }
            let mut theirs = entry.get("fieldsV1").map(FieldSet::from_wire).unwrap_or_default();
            let restart = theirs.take_named(RESTARTED_AT);
            if !restart.is_empty() {
                let mut rest = entry.clone();
                rest["fieldsV1"] = restart.to_wire();
                remaining.push(rest);
            }
            if theirs.is_empty() && !restart.is_empty() {
                continue;
            }
            moved = true;
            ours = Some(absorb(ours, entry, &theirs));
        }
        if !moved {
            return None;
        }
        remaining.extend(ours);
        Some(remaining)
    }
}

fn absorb(ours: Option<Value>, entry: &Value, theirs: &FieldSet) -> Value {
    let mut fields =
        ours.as_ref().and_then(|own| own.get("fieldsV1")).map(FieldSet::from_wire).unwrap_or_default();
    fields.extend(theirs);
    let mut merged = ours.unwrap_or_else(|| {
        let mut first = entry.clone();
        first["manager"] = Value::from(KUSTOMIZE_MANAGER);
        first["operation"] = Value::from("Apply");
        first
    });
    merged["fieldsV1"] = fields.to_wire();
    merged
}

fn is_ours(entry: &Value) -> bool {
    word(entry, "manager") == KUSTOMIZE_MANAGER
        && word(entry, "operation") == "Apply"
        && word(entry, "subresource").is_empty()
}

fn word<'v>(entry: &'v Value, key: &str) -> &'v str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
