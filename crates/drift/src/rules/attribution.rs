//! Attribution: which program changed a field, by which operation and when, and how sure that is.
//!
//! A manager is a program, not a person: its name is reported unchanged. `managedFields` does not show who deleted an object.

use jiff::Timestamp;
use plumb_api::kustomize::Confidence;

use plumb_planning::fields::FieldPath;
use plumb_planning::managed_fields::{Entry, Operation};

/// The manager that changed a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// The program; empty when unknown.
    pub manager: String,
    /// `Apply` or `Update`; empty when unknown.
    pub operation: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// When it was written; absent where the server keeps no time.
    pub time: Option<Timestamp>,
    /// When the change arrived here.
    pub seen: Timestamp,
    /// How sure this is.
    pub confidence: Confidence,
}

impl Writer {
    /// The manager is unknown.
    pub fn unknown(seen: Timestamp) -> Self {
        Self {
            manager: String::new(),
            operation: String::new(),
            subresource: String::new(),
            time: None,
            seen,
            confidence: Confidence::Unknown,
        }
    }

    fn of(entry: &Entry, seen: Timestamp, confidence: Confidence) -> Self {
        Self {
            manager: entry.manager.clone(),
            operation: entry.operation.as_str().to_owned(),
            subresource: entry.subresource.clone(),
            time: entry.time,
            seen,
            confidence,
        }
    }
}

/// The manager that changed the field at this path, from the entries of the live object.
pub fn attribute(entries: &[Entry], path: &FieldPath, seen: Timestamp) -> Writer {
    let holder = entries
        .iter()
        .filter(|entry| entry.subresource != "status" && entry.fields.touches(path))
        .max_by_key(|entry| newest(entry));
    if let Some(entry) = holder {
        return Writer::of(entry, seen, Confidence::Exact);
    }
    // A write older than our own last one cannot have taken a field that we held then.
    let ours = entries.iter().find(|entry| entry.is_own()).and_then(|entry| entry.time);
    entries
        .iter()
        .filter(|entry| !entry.is_own() && !entry.is_status_only() && entry.operation == Operation::Update)
        .filter(|entry| entry.time.is_some() && entry.time >= ours)
        .max_by_key(|entry| newest(entry))
        .map_or_else(|| Writer::unknown(seen), |entry| Writer::of(entry, seen, Confidence::Probable))
}

/// Others before ours at the same time; an entry without a time is a write through `/scale`, taken as the newest.
fn newest(entry: &Entry) -> (bool, Option<Timestamp>, bool) {
    (entry.time.is_none(), entry.time, !entry.is_own())
}
