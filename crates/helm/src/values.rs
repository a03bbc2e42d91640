//! The default values of a chart, composed of several files: maps are merged key by key, anything else is replaced. Read and written
//! by the rules of the Go libraries that Helm and Flux use.

use plumb_manifests::yaml::{Dialect, json_number, json_to_string, parse_as, parse_settings};
use plumb_memory::{MemoryReservation, OverBudget};
use serde_json::{Map, Value};

use crate::metadata::yaml_limits;

/// The file of the default values.
pub const VALUES_FILE: &str = "values.yaml";
/// Bytes of a tree of values in memory for each byte of its text, at most about that many.
pub const TREE_FACTOR: u64 = 32;

/// Why values files cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// A file does not exist.
    #[error("no values file found at path '{path}'")]
    Missing {
        /// The path, as the spec has it.
        path: String,
    },
    /// A file is not a map in YAML.
    #[error("unmarshaling values from '{path}' failed: {problem}")]
    Malformed {
        /// The path, as the spec has it.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The chart has no default values that could be replaced.
    #[error("failed to locate values file: {VALUES_FILE}")]
    NoDefaults,
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

/// Values, and what they are charged to.
#[derive(Debug)]
pub struct Values<'a> {
    merged: Map<String, Value>,
    memory: &'a mut MemoryReservation,
}

impl<'a> Values<'a> {
    /// No values yet.
    pub fn new(memory: &'a mut MemoryReservation) -> Self {
        Self { merged: Map::new(), memory }
    }

    /// Merges the values of a file: of its first document.
    pub fn merge_file(&mut self, path: &str, text: &[u8]) -> Result<(), ValuesError> {
        let malformed = |problem| ValuesError::Malformed { path: path.to_owned(), problem };
        self.charge(text)?;
        let text = utf8(text).map_err(malformed)?;
        let value = parse_settings(text, &yaml_limits(text.len()));
        let value = value.map_err(|error| malformed(error.to_string()))?;
        merge(&mut self.merged, map(value).map_err(malformed)?);
        Ok(())
    }

    /// Merges the default values of a chart: of all documents of the file.
    pub fn merge_defaults(&mut self, path: &str, text: &[u8]) -> Result<(), ValuesError> {
        let malformed = |problem| ValuesError::Malformed { path: path.to_owned(), problem };
        self.charge(text)?;
        let text = utf8(text).map_err(malformed)?;
        let documents = parse_as(text, Dialect::Settings, &yaml_limits(text.len()));
        let mut defaults = Map::new();
        for document in documents.map_err(|error| malformed(error.to_string()))? {
            merge(&mut defaults, map(document.node.to_json()).map_err(malformed)?);
        }
        merge(&mut self.merged, defaults);
        Ok(())
    }

    /// The text of `values.yaml`: nothing where there are no values.
    pub fn to_yaml(&self) -> String {
        if self.merged.is_empty() { String::new() } else { json_to_string(&self.merged.clone().into()) }
    }

    fn charge(&mut self, text: &[u8]) -> Result<(), OverBudget> {
        self.memory.try_grow(TREE_FACTOR.saturating_mul(text.len() as u64))
    }
}

fn utf8(text: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())
}

/// The map that a document is; nothing is an empty one.
fn map(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => {
            Ok(fields.into_iter().map(|(key, value)| (key, with_floats(value))).collect())
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err("the file is not a map".to_owned())
        }
    }
}

/// Go reads every number as a float of 64 bits.
fn with_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().and_then(json_number).unwrap_or(Value::Number(number)),
        Value::Array(items) => items.into_iter().map(with_floats).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key, with_floats(value))).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other,
    }
}

/// Later values replace earlier ones, also by null; two maps are merged.
fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            (Some(place), value) => *place = value,
            (None, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use plumb_memory::{Limit, MemoryPool};

    use super::*;

    fn memory(bytes_max: u64) -> MemoryReservation {
        MemoryPool::new(1 << 30).reservation("apps", Limit { name: "values", bytes_max })
    }

    #[track_caller]
    fn check(files: &[&str], expect: &str) {
        let mut memory = memory(1 << 30);
        let mut values = Values::new(&mut memory);
        for file in files {
            values.merge_file("values.yaml", file.as_bytes()).unwrap();
        }
        assert_eq!(values.to_yaml(), expect);
    }

    #[test]
    fn maps_are_merged_and_anything_else_is_replaced() {
        check(
            &["a: {b: 1, c: [1, 2]}", "a: {c: [3], d: x}\ne: yes"],
            "a:\n  b: 1\n  c:\n  - 3\n  d: x\ne: true\n",
        );
        check(&["a: {b: 1}", "a: 1"], "a: 1\n");
        check(&["a: 1", "a: {b: 1}"], "a:\n  b: 1\n");
        check(&["a: {b: 1}", "a: ~"], "a: null\n");
        check(&["a: {}", "a: {}"], "a: {}\n");
    }

    #[test]
    fn values_are_written_as_go_writes_them() {
        check(
            &["b: 'yes'\na10: '1'\na2: 0x10\nc: 1.0\nd: 9007199254740993\ne: 1e21\nf: \"x: y\""],
            "a2: 16\na10: \"1\"\nb: \"yes\"\nc: 1\nd: 9007199254740992\ne: 1e+21\nf: 'x: y'\n",
        );
        check(&["1: one\ntrue: b"], "\"1\": one\n\"true\": b\n");
        check(&["", "# nothing"], "");
        check(&["a: 1\n---\nb: 2\n"], "a: 1\n");
    }

    #[test]
    fn all_documents_of_the_defaults_count() {
        let mut memory = memory(1 << 30);
        let mut values = Values::new(&mut memory);
        values.merge_defaults("values.yaml", b"a: 1\nb: {c: 1}\n---\nb: {d: 2}\n").unwrap();
        assert_eq!(values.to_yaml(), "a: 1\nb:\n  c: 1\n  d: 2\n");
    }

    #[test]
    fn what_is_no_map_is_rejected_and_memory_is_charged() {
        let mut small = memory(1 << 10);
        let mut values = Values::new(&mut small);
        for text in ["[1]", "text", "a: b: c", "\u{0}"] {
            let error = values.merge_file("x.yaml", text.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("unmarshaling values from 'x.yaml' failed: "), "{error}");
        }
        assert!(values.merge_file("x.yaml", b"\xff").is_err());
        let large = format!("a: {}", "x".repeat(1 << 10));
        assert!(matches!(values.merge_file("x.yaml", large.as_bytes()), Err(ValuesError::OverBudget(_))));
    }
}
