//! The part of a Kustomization's spec that decides what is rendered.

use std::collections::BTreeMap;

/// What to build and what to add to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenderSpec {
    /// `spec.path`: a directory of the artifact, `./` and a leading slash allowed.
    pub path: String,
    /// `spec.targetNamespace`.
    pub target_namespace: Option<String>,
    /// `spec.namePrefix`.
    pub name_prefix: Option<String>,
    /// `spec.nameSuffix`.
    pub name_suffix: Option<String>,
    /// `spec.images`.
    pub images: Vec<Image>,
    /// `spec.patches`.
    pub patches: Vec<Patch>,
    /// `spec.postBuild`.
    pub substitution: Substitution,
}

/// One entry of `spec.images`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Which image is replaced.
    pub name: String,
    /// The new name.
    pub new_name: Option<String>,
    /// The new tag.
    pub new_tag: Option<String>,
    /// The new digest.
    pub digest: Option<String>,
}

/// One entry of `spec.patches`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// A strategic merge patch or a JSON 6902 patch.
    pub patch: String,
    /// Which objects it is applied to.
    pub target: Option<Target>,
}

/// Which objects a patch is applied to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// API group.
    pub group: Option<String>,
    /// API version.
    pub version: Option<String>,
    /// Kind.
    pub kind: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Label selector.
    pub label_selector: Option<String>,
    /// Annotation selector.
    pub annotation_selector: Option<String>,
}

/// How variables are put into the built objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substitution {
    /// `spec.postBuild.substitute`: wins over the variables that the caller has read.
    pub inline: BTreeMap<String, String>,
    /// Whether a variable that is not set and has no default is an error.
    pub unset: Unset,
    /// When to substitute at all.
    pub when: When,
}

/// What a variable without a value and without a default leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unset {
    /// An error.
    #[default]
    Refused,
    /// The empty text.
    Empty,
}

/// When to substitute at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// If there is at least one variable.
    #[default]
    WithVariables,
    /// In every case.
    Always,
}

impl Default for Substitution {
    fn default() -> Self {
        Self { inline: BTreeMap::new(), unset: Unset::default(), when: When::default() }
    }
}
