//! The kustomization file: found, read, and refused where it says something that is not understood.

mod decode;

use std::collections::BTreeMap;

use plumb_filetree::{EntryKind, RelPath};
use plumb_manifests::yaml;
use serde::Deserialize;

use crate::config::SpecEntry;
use crate::error::BuildError;
use crate::reading::Reader;

/// The names under which a kustomization file is looked for.
pub(crate) const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Whether a file is a kustomization of its own or a part of the one that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Role {
    #[default]
    Kustomization,
    Component,
}

/// Everything that a kustomization file can say.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub role: Role,
    pub resources: Vec<String>,
    pub components: Vec<String>,
    pub crds: Vec<String>,
    pub openapi: BTreeMap<String, String>,
    pub name_prefix: String,
    pub name_suffix: String,
    pub namespace: String,
    pub common_labels: BTreeMap<String, String>,
    pub labels: Vec<LabelEntry>,
    pub common_annotations: BTreeMap<String, String>,
    pub patches: Vec<PatchEntry>,
    pub patches_strategic_merge: Vec<String>,
    pub patches_json6902: Vec<PatchEntry>,
    pub images: Vec<ImageEntry>,
    pub replicas: Vec<ReplicaEntry>,
    pub replacements: Vec<ReplacementEntry>,
    pub vars: Vec<VarEntry>,
    pub config_maps: Vec<GeneratorEntry>,
    pub secrets: Vec<GeneratorEntry>,
    pub generator_options: GeneratorOptions,
    pub configurations: Vec<String>,
    pub generators: Vec<String>,
    pub transformers: Vec<String>,
    pub validators: Vec<String>,
    pub build_metadata: Vec<String>,
    pub sort_options: Option<SortOptions>,
    /// Notes about old fields, for the caller's warnings.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LabelEntry {
    pub pairs: BTreeMap<String, String>,
    pub include_selectors: bool,
    pub include_templates: bool,
    pub fields: Vec<SpecEntry>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PatchEntry {
    pub path: String,
    pub patch: String,
    pub target: Option<SelectorEntry>,
    pub options: BTreeMap<String, bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SelectorEntry {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub label_selector: String,
    pub annotation_selector: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ImageEntry {
    pub name: String,
    pub new_name: String,
    pub new_tag: String,
    pub tag_suffix: String,
    pub digest: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplicaEntry {
    pub name: String,
    pub count: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplacementEntry {
    pub path: String,
    pub source: Option<ReplacementSource>,
    pub source_value: Option<String>,
    pub targets: Vec<ReplacementTarget>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplacementSource {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub field_path: String,
    pub options: Option<ReplacementOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplacementTarget {
    pub select: Option<SelectorEntry>,
    pub reject: Vec<SelectorEntry>,
    pub field_paths: Vec<String>,
    pub options: Option<ReplacementOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplacementOptions {
    pub delimiter: String,
    pub index: i64,
    pub encoding: String,
    pub create: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VarEntry {
    pub name: String,
    pub objref: VarObject,
    pub fieldref: VarField,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VarObject {
    pub api_version: String,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VarField {
    pub field_path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GeneratorEntry {
    pub name: String,
    pub namespace: String,
    pub behavior: String,
    pub literals: Vec<String>,
    pub files: Vec<String>,
    pub envs: Vec<String>,
    pub env: String,
    pub options: Option<GeneratorOptions>,
    #[serde(rename = "type")]
    pub secret_type: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GeneratorOptions {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub disable_name_suffix_hash: bool,
    pub immutable: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SortOptions {
    pub order: String,
    pub legacy_sort_options: Option<LegacySortOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LegacySortOptions {
    pub order_first: Vec<String>,
    pub order_last: Vec<String>,
}

/// The kustomization file of a directory; there must be exactly one.
pub(crate) fn find(reader: &Reader<'_>, directory: &RelPath) -> Result<RelPath, BuildError> {
    let mut found = Vec::new();
    for name in FILE_NAMES {
        let file = directory.child(name).map_err(|error| BuildError::invalid(error.to_string()))?;
        if reader.kind(&file) == Some(EntryKind::File) {
            found.push(file);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(BuildError::invalid(format!(
            "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory \
             '/{directory}'"
        ))),
        _ => Err(BuildError::invalid(format!("Found multiple kustomization files under: /{directory}"))),
    }
}

/// Reads a kustomization file.
pub(crate) fn read(reader: &Reader<'_>, file: &RelPath) -> Result<Settings, BuildError> {
    let text = reader.text(file)?;
    let value = yaml::parse_settings(&text, &reader.limits().yaml);
    let value = value.map_err(|error| BuildError::yaml(file, error))?;
    decode::settings(value, &text, file)
}
