//! Exclusion: what an object's own annotations or labels forbid us to do with it (flux-api.md §2.12).
//!
//! A key counts in annotations or in labels; values are compared without case.

use plumb_api::meta::{DISABLED, PRUNE, RECONCILE, SSA};
use plumb_manifests::Object;

/// The apply policy of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Apply and take over what other tools left behind.
    #[default]
    Override,
    /// Apply, and leave other managers' entries alone.
    Merge,
    /// Create when absent, never change afterwards.
    IfNotPresent,
    /// Neither apply nor delete (`ssa: Ignore`).
    Ignore,
    /// Neither apply nor delete (`reconcile: disabled`).
    Disabled,
}

impl Policy {
    /// The policy of this object.
    pub fn of(object: &Object) -> Self {
        if has_value(object, RECONCILE, DISABLED) {
            return Self::Disabled;
        }
        match () {
            () if has_value(object, SSA, "Ignore") => Self::Ignore,
            () if has_value(object, SSA, "IfNotPresent") => Self::IfNotPresent,
            () if has_value(object, SSA, "Merge") => Self::Merge,
            () => Self::Override,
        }
    }

    /// Whether drift of such an object may be corrected.
    pub fn corrects(self) -> bool {
        match self {
            Self::Override | Self::Merge => true,
            Self::IfNotPresent | Self::Ignore | Self::Disabled => false,
        }
    }
}

/// Whether pruning of the object is disabled.
pub fn keeps_from_prune(object: &Object) -> bool {
    has_value(object, PRUNE, DISABLED)
}

fn has_value(object: &Object, key: &str, expected: &str) -> bool {
    ["annotations", "labels"].iter().any(|place| {
        object
            .at(&["metadata", place, key])
            .and_then(serde_json::Value::as_str)
            .is_some_and(|value| value.eq_ignore_ascii_case(expected))
    })
}
