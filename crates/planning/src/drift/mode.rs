//! Mode: whether drift is corrected, only told, or not looked for (drift.md §1).
//!
//! A word that is not known is an error, never read as `enabled`.

use std::fmt;

use plumb_manifests::{Object, ObjectId};
use plumb_status::{Classify, Consequence, Reason};
use serde_json::Value;

/// Annotation on a Kustomization (wins over the field) or on a managed object (wins for that object, read from Git).
pub const MODE_ANNOTATION: &str = "kustomize.toolkit.fluxcd.io/drift-detection";

/// What is done about drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Seen at once, corrected at once.
    #[default]
    Enabled,
    /// Seen at once, told, left as it is.
    Warn,
    /// Neither seen nor told; corrected at the interval.
    Disabled,
}

/// A mode that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("drift detection mode {word:?} in {place} is not one of enabled, warn, disabled")]
pub struct InvalidMode {
    /// The word as it stands.
    pub word: String,
    /// Where it stands.
    pub place: Place,
}

/// Where a mode was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The Kustomization's annotation.
    Annotation,
    /// The Kustomization's field.
    Field,
    /// A managed object's annotation.
    Object(ObjectId),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation => write!(f, "the annotation {MODE_ANNOTATION}"),
            Self::Field => f.write_str("spec.driftDetection.mode"),
            Self::Object(id) => write!(f, "the annotation {MODE_ANNOTATION} of {id}"),
        }
    }
}

impl Classify for InvalidMode {
    fn reason(&self) -> Reason {
        Reason::InvalidDriftDetection
    }

    fn consequence(&self) -> Consequence {
        Consequence::Stall
    }
}

impl Mode {
    /// The word as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Warn => "warn",
            Self::Disabled => "disabled",
        }
    }

    fn parse(word: &str, place: Place) -> Result<Self, InvalidMode> {
        [Self::Enabled, Self::Warn, Self::Disabled]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(word))
            .ok_or_else(|| InvalidMode { word: word.to_owned(), place })
    }

    /// The mode of a Kustomization: its annotation, else its field, else `enabled`. Both are checked.
    pub fn resolve(annotation: Option<&str>, field: Option<&str>) -> Result<Self, InvalidMode> {
        let field = field.map(|word| Self::parse(word, Place::Field)).transpose()?;
        let annotation = annotation.map(|word| Self::parse(word, Place::Annotation)).transpose()?;
        Ok(annotation.or(field).unwrap_or_default())
    }

    /// The mode of one managed object, from its manifest in Git.
    pub fn of_object(self, desired: &Object) -> Result<Self, InvalidMode> {
        match desired.at(&["metadata", "annotations", MODE_ANNOTATION]).and_then(Value::as_str) {
            Some(word) => Self::parse(word, Place::Object(desired.id())),
            None => Ok(self),
        }
    }
}
