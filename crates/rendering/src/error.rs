//! Why rendering was rejected, and the consequence for the Kustomization.

use std::fmt;

use plumb_kustomize::{BuildError, ErrorKind};
use plumb_status::{Classify, Consequence, Reason};

/// A rejected rendering.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// `spec.path` does not lead to a directory of the artifact.
    #[error("kustomization path not found: {path:?}: {message}")]
    Path {
        /// As written.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file that the scan of a directory without a kustomization file found is not a manifest.
    #[error("failed to decode Kubernetes YAML from {0}")]
    Scan(BuildError),
    /// The directory cannot be scanned within the limits.
    #[error("failed to scan {directory}: {message}")]
    ScanLimit {
        /// With a leading slash.
        directory: String,
        /// Which limit.
        message: String,
    },
    /// kustomize rejected it.
    #[error("kustomize build failed: {0}")]
    Build(BuildError),
    /// A built object is none that could be applied.
    #[error("{file}: {object}: {message}")]
    Object {
        /// Which object.
        object: String,
        /// The file that it comes from, with a leading slash.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// Variables could not be put in.
    #[error("{}", listed(rejected, *more))]
    Substitute {
        /// The objects, in the order of the build; the first ones.
        rejected: Vec<Refused>,
        /// How many more there are.
        more: usize,
    },
    /// A variable has a name that no expression can have.
    #[error(
        "post build failed: envsubst error: '{name}' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'"
    )]
    VariableName {
        /// As written.
        name: String,
    },
}

/// An object into which variables could not be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which object.
    pub object: String,
    /// The file that it comes from, with a leading slash.
    pub file: String,
    /// What is wrong, with the field; never a value.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, file, message } = self;
        write!(out, "post build failed for '{object}' of {file}: {message}")
    }
}

/// One a line.
fn listed(rejected: &[Refused], more: usize) -> String {
    let mut lines: Vec<String> = rejected.iter().map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("post build failed for {more} more objects"));
    }
    lines.join("\n")
}

impl Classify for RenderError {
    fn reason(&self) -> Reason {
        match self {
            Self::Path { .. } => Reason::ArtifactFailed,
            Self::Scan(_)
            | Self::ScanLimit { .. }
            | Self::Build(_)
            | Self::Object { .. }
            | Self::VariableName { .. }
            | Self::Substitute { .. } => Reason::BuildFailed,
        }
    }

    /// The next commit may fix any of these.
    fn consequence(&self) -> Consequence {
        match self {
            Self::Path { .. }
            | Self::Scan(_)
            | Self::ScanLimit { .. }
            | Self::Build(_)
            | Self::Object { .. }
            | Self::VariableName { .. }
            | Self::Substitute { .. } => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Build(error) = self
            && let Some(field) = error.field()
            && error.kind() == ErrorKind::Invalid
        {
            return Some(format!("correct {field} of the Kustomization object"));
        }
        let text = match self {
            Self::Path { .. } => "set spec.path to a directory of the source",
            Self::Scan(_) => {
                "correct the file, exclude it with .sourceignore, or name the resources in a kustomization.yaml"
            }
            Self::ScanLimit { .. } => "set spec.path to a smaller directory",
            Self::Build(error) => match error.kind() {
                ErrorKind::Invalid => "correct the file and commit it",
                ErrorKind::Unsupported => "remove it, or commit the rendered manifests instead",
                ErrorKind::OverLimit => "split the kustomization",
                ErrorKind::Interrupted => "it is built again at the next attempt",
            },
            Self::Object { .. } => "correct the file and commit it",
            Self::VariableName { .. } => {
                "rename the variable in spec.postBuild or in what substituteFrom names"
            }
            Self::Substitute { .. } => {
                "set the variable in spec.postBuild, give it a default as in ${name:=default}, write $${name} where the \
                 text is meant, or switch substitution off for the object with kustomize.toolkit.fluxcd.io/substitute: \
                 disabled"
            }
        };
        Some(text.to_owned())
    }
}
