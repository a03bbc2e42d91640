//! Diff: which of the fields that we apply differ between the live object and the server's result for our desired object.
//!
//! The server compares, not we: both sides come from it (live, and the response to an apply or a dry run), so defaults,
//! quantities and webhooks are already in both. Values leave this module shortened and masked; raw ones are not stored.

use plumb_api::meta::RESTARTED_AT;
use plumb_manifests::Object;
use serde_json::Value;

use crate::fields::{FieldPath, FieldSet, Step};
use crate::fingerprint;
use crate::managed_fields;
use crate::takeover::Takeover;

/// Characters of a value that are shown.
pub const VALUE_CHARS_MAX: usize = 80;

/// Placeholder for a secret value.
pub const SENSITIVE: &str = "(sensitive)";

/// The annotation in which kubectl keeps what it applied: a whole manifest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One field that differs. Values are short and masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Which field.
    pub path: FieldPath,
    /// The desired value; absent where Git has none.
    pub desired: Option<String>,
    /// The value that is live; absent where the field is missing.
    pub live: Option<String>,
}

/// The fields that we own in `expected` (the response to our apply or dry run) and that differ in `live`.
pub fn changes(live: &Object, expected: &Object) -> Vec<FieldChange> {
    let owned = managed_fields::own_fields(expected.at(&["metadata", "managedFields"]))
        .unwrap_or_else(|| FieldSet::of_desired(expected.value()));
    changes_in(&owned, live, expected)
}

/// The fields of `owned` that differ.
pub fn changes_in(owned: &FieldSet, live: &Object, expected: &Object) -> Vec<FieldChange> {
    let mut walk = Walk { secret: fingerprint::is_secret(expected), found: Vec::new() };
    walk.visit(owned, &FieldPath::default(), Some(live.value()), Some(expected.value()));
    walk.found
}

/// What other tools, whose fields become ours, added to what we apply (drift.md §2, `extra`): in `expected`, the
/// response to our apply or dry run, we do not own it. A list item counts as one.
pub fn extras(live: &Object, expected: &Object, takeover: &Takeover) -> Vec<FieldChange> {
    let owned = managed_fields::own_fields(expected.at(&["metadata", "managedFields"])).unwrap_or_default();
    let mut walk = Walk { secret: fingerprint::is_secret(expected), found: Vec::new() };
    for entry in managed_fields::entries(live.at(&["metadata", "managedFields"])) {
        if takeover.takes_entry(&entry) {
            walk.beside(&entry.fields, Some(&owned), &FieldPath::default(), live.value());
        }
    }
    walk.found
}

/// Those of [`extras`] that an apply has removed.
pub fn swept(live: &Object, response: &Object, takeover: &Takeover) -> Vec<FieldChange> {
    let mut removed = extras(live, response, takeover);
    removed.retain(|change| change.path.resolve(response.value()).is_none());
    removed
}

struct Walk {
    secret: bool,
    found: Vec<FieldChange>,
}

impl Walk {
    fn compare(&mut self, path: &FieldPath, live: Option<&Value>, expected: Option<&Value>) {
        if is_passed_over(path) {
            return;
        }
        let masked = self.secret && (path.is_under(&["data"]) || path.is_under(&["stringData"]))
            || path.last_field() == Some(LAST_APPLIED);
        let show = |value: &Value| if masked { SENSITIVE.to_owned() } else { shown(value) };
        self.found.push(FieldChange {
            path: path.clone(),
            desired: expected.map(show),
            live: live.map(show),
        });
    }

    fn beside(&mut self, node: &FieldSet, owned: Option<&FieldSet>, path: &FieldPath, live: &Value) {
        for (step, below) in node.children() {
            let (next, ours) = (path.then(step.clone()), owned.and_then(|owned| owned.child(step)));
            let Some(value) = step.get(live) else { continue };
            if is_passed_over(&next) || next.last_field() == Some(LAST_APPLIED) {
                continue;
            }
            let whole = below.is_leaf() || matches!(step, Step::Key(_) | Step::Item(_));
            match ours {
                Some(ours) if ours.is_leaf() => {}
                None if whole => {
                    if !self.found.iter().any(|change| change.path == next) {
                        self.compare(&next, Some(value), None);
                    }
                }
                Some(_) | None => self.beside(below, ours, &next, value),
            }
        }
    }

    fn visit(&mut self, node: &FieldSet, path: &FieldPath, live: Option<&Value>, expected: Option<&Value>) {
        if live == expected || is_passed_over(path) {
            return;
        }
        if node.is_leaf() || live.is_none() || expected.is_none() {
            self.compare(path, live, expected);
            return;
        }
        for (step, below) in node.children() {
            let next = path.then(step.clone());
            self.visit(
                below,
                &next,
                live.and_then(|value| step.get(value)),
                expected.and_then(|value| step.get(value)),
            );
        }
    }
}

/// What is never drift: status, and a restart that a user requested.
fn is_passed_over(path: &FieldPath) -> bool {
    path.is_under(&["status"]) || path.last_field() == Some(RESTARTED_AT)
}

/// A value in a few characters: strings as they are where that is unmistakable, else as JSON.
pub fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => value.to_string(),
    };
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    let mut cut: String = text.chars().take(VALUE_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control() || letter == '"')
}

#[cfg(test)]
mod tests;
