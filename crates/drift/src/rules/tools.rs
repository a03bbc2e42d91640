//! Tools: which managers are a person's tool and which a controller, by name.

use crate::rules::attribution::Writer;
use plumb_api::meta::KUSTOMIZE_MANAGER;

/// Managers of tools that users run, as patterns; `*` matches any text. One flag replaces them.
pub const PERSONS: [&str; 13] = [
    "kubectl*",
    "k9s*",
    "*lens*",
    "headlamp*",
    "mozilla*",
    "helm",
    "curl*",
    "python*",
    "node-fetch*",
    "okhttp*",
    "oc",
    "flux-client-side-apply",
    "plumb*",
];

/// Programs that write for reasons of their own.
const CONTROLLERS: [&str; 8] = [
    "kube-controller-manager",
    "*-controller-manager",
    "*autoscaler*",
    "keda*",
    "vpa-*",
    "*-controller",
    "*-operator",
    "kubelet",
];

/// Patterns in the flag, at most; its parser rejects more.
pub const PATTERNS_MAX: usize = 100;

/// The kind of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterKind {
    /// A person's tool.
    Person,
    /// A controller: its writes are corrected at the interval only.
    Controller,
    /// Neither by name: corrected at once.
    Other,
}

/// The names of people's tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    persons: Vec<String>,
}

impl Default for Tools {
    fn default() -> Self {
        Self::new(PERSONS)
    }
}

impl Tools {
    /// From patterns.
    pub fn new<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self { persons: patterns.into_iter().map(|pattern| pattern.into().to_lowercase()).collect() }
    }

    /// The kind of writer of a manager that wrote through a subresource (empty: the object itself).
    pub fn writer_kind(&self, manager: &str, subresource: &str) -> WriterKind {
        let name = manager.to_lowercase();
        if self.persons.iter().any(|pattern| fits(pattern, &name)) {
            return WriterKind::Person;
        }
        // A writer under our own manager name is not a controller whose fields are left to it.
        if name == KUSTOMIZE_MANAGER {
            return WriterKind::Other;
        }
        if subresource == "scale" || CONTROLLERS.iter().any(|pattern| fits(pattern, &name)) {
            WriterKind::Controller
        } else {
            WriterKind::Other
        }
    }

    /// The kind of writer of a field.
    pub fn kind_of(&self, writer: &Writer) -> WriterKind {
        self.writer_kind(&writer.manager, &writer.subresource)
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            let Some(at) = rest.find(middle) else { return false };
            rest = &rest[at + middle.len()..];
        }
    }
    match last {
        Some(end) => rest.ends_with(end),
        None => rest.is_empty(),
    }
}
