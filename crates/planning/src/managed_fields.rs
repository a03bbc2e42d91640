//! Managed fields: which manager wrote which fields, from `metadata.managedFields`.
//!
//! Reads only. An entry is a program's, not a person's; times have whole seconds, and entries through `/scale` have none.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::fields::{FieldPath, FieldSet};
use crate::fingerprint::Fingerprint;
use plumb_api::meta::KUSTOMIZE_MANAGER;

/// The operation of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Any other write.
    Update,
    /// A word that is not known.
    Other(String),
}

impl Operation {
    /// The word as the server writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One manager's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The program.
    pub manager: String,
    /// How it wrote.
    pub operation: Operation,
    /// Through which subresource; empty for the object itself.
    pub subresource: String,
    /// When; absent for writes through `/scale`.
    pub time: Option<Timestamp>,
    /// What.
    pub fields: FieldSet,
}

impl Entry {
    /// Whether this is the entry of our own apply.
    pub fn is_own(&self) -> bool {
        self.manager == KUSTOMIZE_MANAGER && self.operation == Operation::Apply && self.subresource.is_empty()
    }

    /// Whether the entry holds nothing but status.
    pub fn is_status_only(&self) -> bool {
        self.subresource == "status" || self.fields.clone().without_root("status").is_empty()
    }
}

/// Reads `metadata.managedFields`.
pub fn entries(managed_fields: Option<&Value>) -> Vec<Entry> {
    raw(managed_fields).map(read_entry).collect()
}

fn raw(managed_fields: Option<&Value>) -> impl Iterator<Item = &Value> {
    managed_fields.and_then(Value::as_array).into_iter().flatten()
}

pub(crate) fn read_entry(entry: &Value) -> Entry {
    let operation = match text(entry, "operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        other => Operation::Other(other.to_owned()),
    };
    Entry {
        manager: text(entry, "manager").to_owned(),
        operation,
        subresource: text(entry, "subresource").to_owned(),
        time: text(entry, "time").parse().ok(),
        fields: entry.get("fieldsV1").map(FieldSet::from_wire).unwrap_or_default(),
    }
}

fn text<'v>(entry: &'v Value, key: &str) -> &'v str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The fields of our own apply, where there is an entry of it.
pub fn own_fields(managed_fields: Option<&Value>) -> Option<FieldSet> {
    raw(managed_fields)
        .find(|entry| is_own(entry))
        .and_then(|entry| entry.get("fieldsV1"))
        .map(FieldSet::from_wire)
}

fn is_own(entry: &Value) -> bool {
    text(entry, "manager") == KUSTOMIZE_MANAGER
        && text(entry, "operation") == "Apply"
        && text(entry, "subresource").is_empty()
}

/// Entries that own a field, itself or with anything under or around it.
pub fn owners<'e>(entries: &'e [Entry], path: &FieldPath) -> Vec<&'e Entry> {
    entries.iter().filter(|entry| entry.fields.touches(path)).collect()
}

/// Hashes of the entries, by which a write is noticed without reading the object (drift.md §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hashes {
    /// Our own entry, its time included; all zero when there is none.
    pub own: Fingerprint,
    /// The entries of all other managers, without status.
    pub foreign: Fingerprint,
    /// All entries.
    pub all: Fingerprint,
}

impl Hashes {
    /// Hashes `metadata.managedFields`.
    pub fn of(managed_fields: Option<&Value>) -> Self {
        let mut own = String::new();
        let mut foreign = String::new();
        let mut all = String::new();
        for entry in raw(managed_fields) {
            let fields = entry.get("fieldsV1").unwrap_or(&Value::Null);
            push(&mut all, entry, fields);
            if is_own(entry) {
                push(&mut own, entry, fields);
            } else if text(entry, "subresource") != "status" {
                let mut rest = fields.clone();
                let had_status = rest.as_object_mut().is_some_and(|map| map.remove("f:status").is_some());
                if !(had_status && rest.as_object().is_some_and(serde_json::Map::is_empty)) {
                    push(&mut foreign, entry, &rest);
                }
            }
        }
        Self { own: hash(&own), foreign: hash(&foreign), all: hash(&all) }
    }
}

fn hash(text: &str) -> Fingerprint {
    if text.is_empty() { Fingerprint::default() } else { Fingerprint::of_bytes(text.as_bytes()) }
}

fn push(into: &mut String, entry: &Value, fields: &Value) {
    for key in ["manager", "operation", "subresource", "apiVersion"] {
        into.push_str(text(entry, key));
        into.push('\0');
    }
    // As a number: the same time is written in more than one way.
    let time =
        text(entry, "time").parse::<Timestamp>().map(|time| time.as_second().to_string()).unwrap_or_default();
    into.push_str(&time);
    into.push('\0');
    into.push_str(&fields.to_string());
    into.push('\n');
}
