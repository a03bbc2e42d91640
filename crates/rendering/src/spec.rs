//! The part of a Kustomization's spec that decides what is rendered.

use std::collections::BTreeMap;

use plumb_api::kustomize::{CommonMetadata, Image, KustomizationSpec, Patch, SubstituteStrategy};

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
    /// `spec.components`.
    pub components: Vec<String>,
    /// `spec.ignoreMissingComponents`.
    pub missing_components: MissingComponents,
    /// `spec.buildMetadata`.
    pub build_metadata: Vec<String>,
    /// `spec.commonMetadata`.
    pub common_metadata: CommonMetadata,
    /// `spec.postBuild.substitute`: wins over the variables that the caller has read.
    pub substitute: BTreeMap<String, String>,
    /// `spec.postBuild.substituteStrategy`, and whether there is a `spec.postBuild` at all.
    pub when: When,
}

/// What a component that is not there leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingComponents {
    /// An error.
    #[default]
    Refused,
    /// Nothing: it is passed over.
    Ignored,
}

/// When to substitute variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// Never: the spec has no `postBuild`.
    #[default]
    Never,
    /// If there is at least one variable.
    WithVariables,
    /// In every case.
    Always,
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

impl RenderSpec {
    /// Takes what rendering needs from a spec. The caller rejects unsupported fields.
    pub fn from_spec(spec: &KustomizationSpec) -> Self {
        let post_build = spec.post_build.as_ref();
        let when = match post_build.map(|post_build| post_build.substitute_strategy) {
            None => When::Never,
            Some(None | Some(SubstituteStrategy::WithVariables)) => When::WithVariables,
            Some(Some(SubstituteStrategy::Always)) => When::Always,
        };
        Self {
            path: spec.path.clone().unwrap_or_default(),
            target_namespace: spec.target_namespace.clone(),
            name_prefix: spec.name_prefix.clone(),
            name_suffix: spec.name_suffix.clone(),
            images: spec.images.clone(),
            patches: spec.patches.clone(),
            components: spec.components.clone(),
            missing_components: if spec.ignore_missing_components {
                MissingComponents::Ignored
            } else {
                MissingComponents::Refused
            },
            build_metadata: spec.build_metadata.iter().map(|one| one.as_str().to_owned()).collect(),
            common_metadata: spec.common_metadata.clone().unwrap_or_default(),
            substitute: post_build.map(|post_build| post_build.substitute.clone()).unwrap_or_default(),
            when,
        }
    }
}
