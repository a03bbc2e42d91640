//! Reading: single fields of a live object. What is absent or of another type is absent.

use plumb_manifests::Object;
use serde_json::Value;

/// One condition of `status.conditions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition<'o> {
    /// Its type.
    pub type_: &'o str,
    /// `True`, `False` or `Unknown`.
    pub status: &'o str,
    /// Its reason; empty when there is none.
    pub reason: &'o str,
    /// Its message; empty when there is none.
    pub message: &'o str,
}

impl Condition<'_> {
    /// Whether it is of this type and True.
    pub fn is_true(&self, type_: &str) -> bool {
        self.type_ == type_ && self.status == "True"
    }

    /// Whether it is of this type and False.
    pub fn is_false(&self, type_: &str) -> bool {
        self.type_ == type_ && self.status == "False"
    }
}

/// A whole number, or what the API means by its absence.
pub fn number(object: &Object, path: &[&str], absent: i64) -> i64 {
    object.at(path).and_then(Value::as_i64).unwrap_or(absent)
}

/// The conditions, in the order of the object.
pub fn conditions(object: &Object) -> impl Iterator<Item = Condition<'_>> {
    let list = object.at(&["status", "conditions"]).and_then(Value::as_array);
    list.into_iter().flatten().map(|entry| Condition {
        type_: text(entry, "type"),
        status: text(entry, "status"),
        reason: text(entry, "reason"),
        message: text(entry, "message"),
    })
}

/// A text of a map, or the empty text.
pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
