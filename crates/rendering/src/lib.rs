//! Flux's layer over kustomize: what a Kustomization's spec adds to the files in Git.
//!
//! Pure: the variables come as an argument; reading ConfigMaps and Secrets is the caller's part.

mod error;
mod spec;

use std::collections::BTreeMap;

use plumb_filetree::FileTree;
pub use plumb_kustomize::{Built, ReadSet};

pub use error::RenderError;
pub use spec::{MissingComponents, RenderSpec, Unset, When};

/// How rendering is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// How kustomize builds.
    pub build: plumb_kustomize::Options,
    /// Strict substitution is the default, as in Flux.
    pub unset: Unset,
}

/// The objects that a Kustomization wants in the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// In the order of the build.
    pub objects: Vec<Built>,
    /// SHA-256 of the final YAML: `sha256:` and hexadecimal digits. As in Flux, commonMetadata is not part of it.
    pub digest: String,
    /// What of the tree the result depends on.
    pub reads: ReadSet,
    /// What was accepted but should be looked at.
    pub warnings: Vec<String>,
}

/// Builds the spec's directory of the tree, with the spec's own fields applied and variables put in. `vars` are those
/// of `substituteFrom`, already read, the later reference winning.
pub fn render(
    tree: &dyn FileTree,
    spec: &RenderSpec,
    vars: &BTreeMap<String, String>,
    options: &Options,
) -> Result<Rendered, RenderError> {
    let _ = (tree, vars, options);
    Err(RenderError::Path { path: spec.path.clone(), message: "not built".to_owned() })
}
