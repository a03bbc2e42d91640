//! The entrance: from a directory of a tree to the objects that it stands for.

use plumb_filetree::{FileTree, RelPath};
use plumb_manifests::{Object, yaml};

use crate::error::BuildError;
use crate::limits::Limits;
use crate::reading::ReadSet;

/// How a build is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Which files a kustomization may name.
    pub reach: Reach,
    /// What a build may ask for.
    pub limits: Limits,
}

/// Which files a kustomization may name. Directories are free in both: they are kustomizations of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Every file of the tree, as Flux builds.
    #[default]
    Tree,
    /// Files in and below its own directory, as the kustomize command builds.
    OwnDirectory,
}

/// One object of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The finished object.
    pub object: Object,
    /// The file that it was read from, or whose generator made it; with a leading slash.
    pub origin: String,
}

/// A finished build.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Build {
    /// The objects, in the order in which they are printed.
    pub objects: Vec<Built>,
    /// What the result depends on.
    pub reads: ReadSet,
    /// What was accepted but should be looked at.
    pub warnings: Vec<String>,
}

impl Build {
    /// The bytes that `kustomize build` prints.
    pub fn to_yaml(&self) -> String {
        let documents: Vec<String> =
            self.objects.iter().map(|built| yaml::to_string(built.object.value())).collect();
        documents.join("---\n")
    }
}

/// Builds the kustomization in a directory of the tree.
pub fn build(tree: &dyn FileTree, path: &RelPath, options: &Options) -> Result<Build, BuildError> {
    let _ = (tree, path, options);
    Err(BuildError::unsupported("building"))
}
