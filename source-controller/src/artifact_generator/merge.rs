//! One YAML file merged into another, as Helm merges values: maps by key, everything else replaced. Pure.

use plumb_manifests::yaml::{Dialect, Limits, json_to_string, parse_as};
use serde_json::{Map, Value};

/// Bytes of a YAML file that is merged.
pub const MERGED_BYTES_MAX: usize = 4 << 20;
/// What is charged for a byte of YAML while its values are held.
pub const MEMORY_FACTOR: u64 = 24;
/// Values of a YAML file that is merged.
const NODES_MAX: usize = 400_000;

/// Files cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// One of them is no text.
    #[error("the file is not UTF-8")]
    NotText,
    /// One of them is no YAML, or too much of it.
    #[error("cannot unmarshal YAML document: {0}")]
    Yaml(String),
    /// A document is not a map.
    #[error("YAML document in line {line} is not a map")]
    NotAMap {
        /// Where it begins.
        line: usize,
    },
}

/// The text of `base` with the values of `overlay` in it. Several documents of one text are merged first.
pub fn merge(base: &[u8], overlay: &[u8]) -> Result<String, MergeError> {
    let mut merged = read(base)?;
    merge_map(&mut merged, read(overlay)?);
    Ok(json_to_string(&Value::Object(merged)))
}

fn read(bytes: &[u8]) -> Result<Map<String, Value>, MergeError> {
    let limits = Limits { bytes_max: MERGED_BYTES_MAX, nodes_max: NODES_MAX, ..Limits::default() };
    let text = std::str::from_utf8(bytes).map_err(|_| MergeError::NotText)?;
    let documents =
        parse_as(text, Dialect::Settings, &limits).map_err(|error| MergeError::Yaml(error.to_string()))?;
    let mut all = Map::new();
    for document in documents {
        match document.node.to_json() {
            Value::Object(map) => merge_map(&mut all, map),
            Value::Null => {}
            _ => return Err(MergeError::NotAMap { line: document.line }),
        }
    }
    Ok(all)
}

fn merge_map(base: &mut Map<String, Value>, overlay: Map<String, Value>) {
    for (key, value) in overlay {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(value)) => merge_map(below, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, overlay: &str, expect: &str) {
        assert_eq!(
            merge(base.as_bytes(), overlay.as_bytes()).unwrap_or_else(|error| error.to_string()),
            expect
        );
    }

    #[test]
    fn maps_are_merged_and_everything_else_is_replaced() {
        check("a: 1\nb:\n  c: 1\n  d: 2\n", "b:\n  c: 3\n", "a: 1\nb:\n  c: 3\n  d: 2\n");
        check("l: [1, 2]\n", "l: [3]\n", "l:\n- 3\n");
        check("a:\n  b: 1\n", "a: x\n", "a: x\n");
        check("a: x\n", "a:\n  b: 1\n", "a:\n  b: 1\n");
        check("a: 1\n", "a: null\n", "a: null\n");
        check("a: 1\n---\nb: 2\n", "---\nc: 3\n---\nc: 4\n", "a: 1\nb: 2\nc: 4\n");
        check("", "a: 1\n", "a: 1\n");
    }

    #[test]
    fn what_is_no_map_is_named() {
        check("a: 1\n", "- x\n", "YAML document in line 1 is not a map");
        check("a: 1\n", "a: [\n", &merge(b"a: 1\n", b"a: [\n").unwrap_err().to_string());
        assert_eq!(merge(b"\xff", b""), Err(MergeError::NotText));
        assert!(matches!(merge(&vec![b'#'; MERGED_BYTES_MAX + 1], b""), Err(MergeError::Yaml(_))));
    }
}
