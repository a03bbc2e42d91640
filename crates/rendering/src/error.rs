//! Why rendering was refused.

use plumb_kustomize::BuildError;

/// A rendering that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// `spec.path` does not lead to a directory of the artifact.
    #[error("kustomization path {path:?} is not usable: {message}")]
    Path {
        /// As written.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file that the scan of a directory without a kustomization file found is not a manifest.
    #[error("failed to decode Kubernetes YAML from {file}: {message}")]
    Scan {
        /// With a leading slash.
        file: String,
        /// What is wrong with it, with its line where known.
        message: String,
    },
    /// kustomize refused.
    #[error("{0}")]
    Build(BuildError),
    /// A variable could not be put in.
    #[error("post build failed for {object}: {message}")]
    Substitute {
        /// Which object.
        object: String,
        /// What is wrong; never a value.
        message: String,
    },
}
