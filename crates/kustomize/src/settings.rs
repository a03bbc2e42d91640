//! The kustomization file: found, parsed, and rejected where it has unknown content.

mod decode;
mod fields;

use std::collections::BTreeMap;

use plumb_filetree::{EntryKind, RelPath};
use plumb_manifests::yaml;
use serde::Deserialize;

use crate::config::SpecEntry;
use crate::error::BuildError;
use crate::reading::Reader;
use crate::replacements::ReplacementEntry;
use crate::vars::VarEntry;

pub(crate) use fields::{CONFIG_MAP, SECRET};

/// The names under which a kustomization file is looked for.
pub const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Whether a file is a kustomization of its own or a part of the one that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Role {
    #[default]
    Kustomization,
    Component,
}

/// All fields of a kustomization file.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub role: Role,
    pub resources: Vec<String>,
    pub components: Vec<String>,
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
    pub crds: Vec<String>,
    pub openapi: OpenApiEntry,
    pub generators: Vec<String>,
    pub transformers: Vec<String>,
    pub validators: Vec<String>,
    pub build_metadata: Vec<String>,
    pub sort_options: Option<SortOptions>,
    /// Notes about old fields, for the caller's warnings.
    pub warnings: Vec<String>,
    /// Where the caller has written something in.
    pub fields: AddedFields,
}

/// The name in errors of fields that the caller added; empty for fields of the file.
#[derive(Debug, Default)]
pub(crate) struct AddedFields {
    pub namespace: String,
    pub name_prefix: String,
    pub name_suffix: String,
    /// One for each component from `components_start` on.
    pub components: Vec<String>,
    pub components_start: usize,
}

impl AddedFields {
    /// That of the component at a place in the list; empty for those of the file.
    pub(crate) fn component(&self, index: usize) -> &str {
        let added = index.checked_sub(self.components_start);
        added.and_then(|index| self.components.get(index)).map_or("", String::as_str)
    }
}

/// Where the schema of the objects comes from; other keys mean nothing to kustomize.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OpenApiEntry {
    pub path: Option<String>,
    pub version: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LabelEntry {
    pub pairs: BTreeMap<String, String>,
    pub include_selectors: bool,
    pub include_templates: bool,
    pub fields: Vec<SpecEntry>,
}

/// A patch: its text or the file that contains it, and its target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchEntry {
    /// The file, from the directory of the kustomization.
    pub path: String,
    /// The text, where it is not in a file.
    pub patch: String,
    /// The objects; without it, the one that the patch names.
    pub target: Option<SelectorEntry>,
    /// `allowNameChange` and `allowKindChange`.
    pub options: BTreeMap<String, bool>,
    /// Its name in errors, where it is not in a kustomization file.
    #[serde(skip)]
    pub label: String,
}

/// Which objects are meant: those that fit everything that is not empty. Kinds, names and namespaces are patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectorEntry {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Name, of the beginning or of today.
    pub name: String,
    /// Namespace, of the beginning or of today.
    pub namespace: String,
    /// Label selector.
    pub label_selector: String,
    /// The same for annotations.
    pub annotation_selector: String,
}

impl std::fmt::Display for SelectorEntry {
    /// The description of the object: `kind=ConfigMap, name=a`.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { group, version, kind, name, namespace, label_selector, annotation_selector } = self;
        let parts = [
            ("group", group),
            ("version", version),
            ("kind", kind),
            ("name", name),
            ("namespace", namespace),
            ("labelSelector", label_selector),
            ("annotationSelector", annotation_selector),
        ];
        let said = parts.iter().filter(|(_, text)| !text.is_empty());
        let said: Vec<String> = said.map(|(name, text)| format!("{name}={text}")).collect();
        out.write_str(if said.is_empty() { "any object" } else { "" })?;
        out.write_str(&said.join(", "))
    }
}

impl SelectorEntry {
    /// Bytes of all its texts.
    pub(crate) fn size(&self) -> usize {
        let Self { group, version, kind, name, namespace, label_selector, annotation_selector } = self;
        let texts = [group, version, kind, name, namespace, label_selector, annotation_selector];
        texts.map(String::len).iter().sum()
    }
}

/// An image to replace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageEntry {
    /// As the manifests name it, without a tag.
    pub name: String,
    /// The new name.
    pub new_name: String,
    /// The new tag.
    pub new_tag: String,
    /// What is put behind the tag.
    pub tag_suffix: String,
    /// The new digest.
    pub digest: String,
    /// Its name in errors, where it is not in a kustomization file.
    #[serde(skip)]
    pub label: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplicaEntry {
    pub name: String,
    pub count: i64,
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

/// The error for an empty kustomization file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blank {
    /// An error, as in kustomize.
    #[default]
    Refused,
    /// Nothing, as in Flux.
    Allowed,
}

/// Reads a kustomization file.
pub(crate) fn read(reader: &Reader<'_>, file: &RelPath, blank: Blank) -> Result<Settings, BuildError> {
    let text = reader.text(file)?;
    let value = yaml::parse_settings(&text, &reader.limits().yaml);
    let value = value.map_err(|error| BuildError::yaml(file, &error))?;
    decode::settings(value, &text, file, blank)
}
