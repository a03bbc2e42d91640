//! YAML with Go's rules: what kustomize, kubectl and Flux read from a text, and how they print a value.
//!
//! Two dialects because Go programs use two libraries, which disagree about `yes` and `1e3`. Comments, styles and
//! key order do not survive: nothing that Plumb prints needs them.

mod base64;
mod build;
mod chunks;
mod emit;
mod escape;
mod node;
mod number;
mod order;
mod plain;
mod quick;
mod resolve;

use serde_json::Value;

pub use emit::{json_to_string, to_string, to_string_with_quotes, write};
pub use escape::escaped;
pub use node::{Map, Node, Null, Plain, PlainKind, Share, Str, Text};
pub use number::json_number;
pub use order::natural;
pub use plain::is_plain;
pub use resolve::{Scalar, resolve};

/// Which library of Go reads the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// go-yaml v3: Kubernetes objects. `yes` is text; a repeated key is rejected.
    Objects,
    /// go-yaml v2 by way of JSON: kustomization files and JSON patches. `yes` is true; the last key wins.
    Settings,
}

/// Limits of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes_max: usize,
    /// Documents in one text.
    pub documents_max: usize,
    /// Maps and lists inside each other.
    pub depth_max: usize,
    /// Values in one text, keys among them.
    pub nodes_max: usize,
    /// Values that aliases may add beyond ten times those written.
    pub alias_allowance: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            documents_max: 100_000,
            depth_max: DEPTH_MAX,
            nodes_max: 5_000_000,
            alias_allowance: 100_000,
        }
    }
}

/// Deeper nesting than this is never a manifest.
pub const DEPTH_MAX: usize = 500;

/// One document of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its content; `Null` for an empty one.
    pub node: Node,
    /// The line on which it begins, from 1.
    pub line: usize,
}

/// A text that is not YAML, or is too much of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct YamlError {
    /// From 1; 0 when the error is about the whole text.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads every document of a text of Kubernetes objects. Empty documents are `Null`.
pub fn parse(text: &str, limits: &Limits) -> Result<Vec<Document>, YamlError> {
    parse_as(text, Dialect::Objects, limits)
}

/// Reads every document of a text in a dialect.
pub fn parse_as(text: &str, dialect: Dialect, limits: &Limits) -> Result<Vec<Document>, YamlError> {
    if text.len() > limits.bytes_max {
        let message = format!("{} bytes of YAML are over the limit of {}", text.len(), limits.bytes_max);
        return Err(YamlError { line: 1, column: 1, message });
    }
    let mut budget = build::Budget::new(limits, text);
    let mut documents = Vec::new();
    for chunk in chunks::split(text)? {
        if documents.len() == limits.documents_max {
            let message = format!("more than {} documents", limits.documents_max);
            return Err(YamlError { line: chunk.line, column: 1, message });
        }
        let node = build::first_document(&chunk, dialect, &mut budget)?;
        documents.push(Document { node, line: chunk.line });
    }
    Ok(documents)
}

/// Reads the first document of a text of settings, as Go's JSON conversion does; later ones are ignored.
pub fn parse_settings(text: &str, limits: &Limits) -> Result<Value, YamlError> {
    if text.len() > limits.bytes_max {
        let message = format!("{} bytes of YAML are over the limit of {}", text.len(), limits.bytes_max);
        return Err(YamlError { line: 1, column: 1, message });
    }
    let chunk = chunks::Chunk { text, line: 1 };
    let node = build::first_document(&chunk, Dialect::Settings, &mut build::Budget::new(limits, text))?;
    Ok(node.to_json())
}
