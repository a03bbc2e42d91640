//! Where in an object a substitution fails, or changes more than a text. Only looked for after the fact: most objects pass.

use std::collections::BTreeSet;

use plumb_manifests::yaml;
use serde_json::{Value, json};

use super::evaluate::{self, Variables};
use super::template;

/// Failures of one object that are named.
const FAILURES_MAX: usize = 10;

/// A text of an object that cannot be substituted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The way to it: `data.key`, `spec.containers[0].image`.
    pub field: String,
    pub message: String,
}

/// Tries each text of an object by itself, values and keys.
pub(super) fn failures(object: &Value, variables: &Variables) -> Vec<Failure> {
    let mut found = Vec::new();
    each_text(object, &mut String::new(), &mut |field, text| {
        if found.len() < FAILURES_MAX
            && let Err(message) =
                template::parse(text).and_then(|parts| evaluate::evaluate(&parts, variables))
        {
            found.push(Failure { field: field.to_owned(), message });
        }
    });
    found
}

/// The texts that are not YAML once they are substituted, each with its variables.
pub(super) fn unreadable(object: &Value, variables: &Variables) -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    each_text(object, &mut String::new(), &mut |field, text| {
        if found.len() < FAILURES_MAX
            && let Ok(parts) = template::parse(&yaml::json_to_string(&json!({ "k": text })))
            && let Ok(done) = evaluate::evaluate(&parts, variables)
            && !is_one_value(&done)
        {
            let mut names = BTreeSet::new();
            template::names(&parts, &mut names);
            found.push((field.to_owned(), names));
        }
    });
    found
}

/// Whether a text is a map with the one key that it had before.
fn is_one_value(text: &str) -> bool {
    yaml::parse_settings(text, &yaml::Limits::default())
        .is_ok_and(|value| value.as_object().is_some_and(|map| map.len() == 1 && map.contains_key("k")))
}

/// A text that is none any more: `${n}` became a number, a boolean or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retyped {
    /// The object, as errors of an apply name it: `Kind/namespace/name`.
    pub object: String,
    /// The way to the field, without the items of lists: `.spec.containers.env.value`.
    pub field: String,
    /// The variables in the text.
    pub variables: Vec<String>,
}

/// Recorded retyped fields of one object, at most.
const RETYPED_MAX: usize = 100;

/// The texts of an object that a substitution has turned into something else.
pub(super) fn retyped(object: &str, before: &Value, after: &Value) -> Vec<Retyped> {
    let mut found = Vec::new();
    compare(before, after, &mut String::new(), &mut |field, text| {
        let mut names = BTreeSet::new();
        if found.len() < RETYPED_MAX
            && let Ok(parts) = template::parse(text)
        {
            template::names(&parts, &mut names);
            let variables = names.into_iter().collect();
            found.push(Retyped { object: object.to_owned(), field: field.to_owned(), variables });
        }
    });
    found
}

/// Goes through both as far as they have the same keys and lengths. The nesting is limited by the reader, and so is this
/// recursion and that below.
fn compare(before: &Value, after: &Value, field: &mut String, report: &mut dyn FnMut(&str, &str)) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, old) in old {
                let Some(new) = new.get(key) else { continue };
                let length = field.len();
                field.push('.');
                field.push_str(key);
                compare(old, new, field, report);
                field.truncate(length);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            old.iter().zip(new).for_each(|(old, new)| compare(old, new, field, report));
        }
        (Value::String(text), new) if !new.is_string() && text.contains("${") => report(field, text),
        _ => {}
    }
}

fn each_text(value: &Value, field: &mut String, report: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let length = field.len();
                if !field.is_empty() {
                    field.push('.');
                }
                field.push_str(key);
                if key.contains("${") {
                    report(field, key);
                }
                each_text(value, field, report);
                field.truncate(length);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                let length = field.len();
                field.extend(["[", &place.to_string(), "]"]);
                each_text(item, field, report);
                field.truncate(length);
            }
        }
        Value::String(text) if text.contains("${") => report(field, text),
        _ => {}
    }
}
