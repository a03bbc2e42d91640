//! Exclusion: what an object's own annotations or labels forbid us to do with it (flux-api.md §2.12).
//!
//! A key counts in annotations or in labels; values are compared without case.

use plumb_manifests::Object;

const GROUP: &str = "kustomize.toolkit.fluxcd.io";

/// How an object wants to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Apply and take over what other tools left behind.
    #[default]
    Override,
    /// Apply, and leave other managers' entries alone.
    Merge,
    /// Create when absent, never touch afterwards.
    IfNotPresent,
    /// Neither apply nor delete (`ssa: Ignore`).
    Ignore,
    /// Neither apply nor delete (`reconcile: disabled`).
    Disabled,
}

impl Policy {
    /// What this object asks for.
    pub fn of(object: &Object) -> Self {
        if says(object, "reconcile", "disabled") {
            return Self::Disabled;
        }
        match () {
            () if says(object, "ssa", "Ignore") => Self::Ignore,
            () if says(object, "ssa", "IfNotPresent") => Self::IfNotPresent,
            () if says(object, "ssa", "Merge") => Self::Merge,
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

/// Whether the object asks to be kept when it leaves Git.
pub fn keeps_from_prune(object: &Object) -> bool {
    says(object, "prune", "disabled")
}

/// Whether the object asks to be recreated where a change is not allowed in place.
pub fn forces(object: &Object) -> bool {
    says(object, "force", "enabled")
}

fn says(object: &Object, name: &str, expected: &str) -> bool {
    let key = format!("{GROUP}/{name}");
    ["annotations", "labels"].iter().any(|place| {
        object
            .at(&["metadata", place, &key])
            .and_then(serde_json::Value::as_str)
            .is_some_and(|value| value.eq_ignore_ascii_case(expected))
    })
}
