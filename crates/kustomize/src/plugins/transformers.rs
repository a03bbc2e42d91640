//! The transformers. Their field specifications are their own: none is added to those of the
//! configuration.

use std::collections::BTreeMap;

use plumb_filetree::RelPath;
use plumb_manifests::yaml;
use serde::Deserialize;
use serde_json::Value;

use super::decode::{FIELD_SPECS, SELECTOR, decode};
use super::{Plugin, add_value, spend_on_walk};
use crate::accumulate::Assembly;
use crate::config::SpecEntry;
use crate::error::BuildError;
use crate::field::FieldSpec;
use crate::patches::{self, Remembers};
use crate::replacements::{self, ReplacementEntry};
use crate::set::ResourceSet;
use crate::settings::{ImageEntry, PatchEntry, ReplicaEntry};
use crate::shape::{Fields, Keys, Shape};
use crate::transformers::names::Affix;
use crate::transformers::namespace::{Present, Setting, Subjects};
use crate::transformers::{annotations, hash, images, labels, names, namespace, replicas};

/// Runs one transformer over everything that there is.
pub(super) fn run(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    plugin: &Plugin,
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    let config = &plugin.config;
    spend_on_walk(assembly, set)?;
    match plugin.id.gvk.kind.as_str() {
        "AnnotationsTransformer" => set_annotations(assembly, config, set),
        "HashTransformer" => {
            hash::add(set);
            Ok(())
        }
        "ImageTagTransformer" => replace_image(assembly, config, set),
        "LabelTransformer" => set_labels(assembly, config, set),
        "NamespaceTransformer" => set_namespace(assembly, plugin, set),
        "PatchJson6902Transformer" => apply_json(assembly, directory, config, set),
        "PatchStrategicMergeTransformer" => apply_strategic(assembly, directory, config, set),
        "PatchTransformer" => {
            let entry: PatchEntry = decode(config, PATCH, Keys::AnyCase)?;
            patches::run_trimmed(assembly, directory, &entry, set)
        }
        "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer" => {
            add_affixes(assembly, plugin, set)
        }
        "ReplacementTransformer" => {
            let entries = config.get("replacements").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
            let entries: Vec<ReplacementEntry> = serde_json::from_value(entries)
                .map_err(|error| BuildError::invalid(format!("fails configuration: {error}")))?;
            replacements::run(assembly, directory, &entries, set)
        }
        "ReplicaCountTransformer" => set_replicas(assembly, config, set),
        "ValueAddTransformer" => add_value::run(assembly, directory, config, set),
        other => Err(BuildError::unsupported(format!("transformer {other}"))),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Texts {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    field_specs: Vec<SpecEntry>,
}

fn specs(entries: Vec<SpecEntry>) -> Vec<FieldSpec> {
    entries.into_iter().map(FieldSpec::from).collect()
}

fn size(texts: &BTreeMap<String, String>) -> usize {
    texts.iter().map(|(key, text)| key.len() + text.len()).sum()
}

/// Takes from the budget what it costs to write into every field of every object.
fn spend(
    assembly: &Assembly<'_>,
    set: &ResourceSet,
    specs: &[FieldSpec],
    bytes: usize,
) -> Result<(), BuildError> {
    assembly.reader.spend(set.len().saturating_mul(specs.len().max(1)), bytes)
}

fn set_labels(assembly: &Assembly<'_>, config: &Value, set: &mut ResourceSet) -> Result<(), BuildError> {
    const FIELDS: Fields = &[("labels", Shape::PrintedTexts), ("fieldSpecs", FIELD_SPECS)];
    let Texts { labels, field_specs, .. } = decode(config, FIELDS, Keys::AnyCase)?;
    let specs = specs(field_specs);
    spend(assembly, set, &specs, size(&labels))?;
    labels::set_all(set, &labels, &specs, assembly.reader)
}

fn set_annotations(assembly: &Assembly<'_>, config: &Value, set: &mut ResourceSet) -> Result<(), BuildError> {
    const FIELDS: Fields = &[("annotations", Shape::PrintedTexts), ("fieldSpecs", FIELD_SPECS)];
    let Texts { annotations, field_specs, .. } = decode(config, FIELDS, Keys::AnyCase)?;
    let specs = specs(field_specs);
    spend(assembly, set, &specs, size(&annotations))?;
    annotations::set_all(set, &annotations, &specs, assembly.reader)
}

fn set_namespace(assembly: &Assembly<'_>, plugin: &Plugin, set: &mut ResourceSet) -> Result<(), BuildError> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Config {
        field_specs: Vec<SpecEntry>,
        unset_only: bool,
        set_role_binding_subjects: String,
    }
    const FIELDS: Fields = &[
        ("fieldSpecs", FIELD_SPECS),
        ("unsetOnly", Shape::Flag),
        ("setRoleBindingSubjects", Shape::Printed),
    ];
    let Config { field_specs, unset_only, set_role_binding_subjects } =
        decode(&plugin.config, FIELDS, Keys::AnyCase)?;
    let subjects = match set_role_binding_subjects.as_str() {
        "" | "defaultOnly" => Subjects::Default,
        "allServiceAccounts" => Subjects::ServiceAccounts,
        "none" => Subjects::None,
        other => {
            let message = format!(
                "fails configuration: invalid value {other:?} for setRoleBindingSubjects: must be one of \
                 \"defaultOnly\", \"none\" or \"allServiceAccounts\""
            );
            return Err(BuildError::invalid(message));
        }
    };
    let specs = specs(field_specs);
    let present = if unset_only { Present::Kept } else { Present::Replaced };
    // The namespace is that of the configuration itself.
    let setting = Setting { namespace: &plugin.id.namespace, subjects, present };
    spend(assembly, set, &specs, setting.namespace.len())?;
    let moved = namespace::apply(set, &setting, &specs, assembly.reader)?;
    assembly.warn_moved(setting.namespace, moved);
    Ok(())
}

fn add_affixes(assembly: &Assembly<'_>, plugin: &Plugin, set: &mut ResourceSet) -> Result<(), BuildError> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Config {
        prefix: String,
        suffix: String,
        field_specs: Option<Vec<SpecEntry>>,
    }
    const LOOSE_SPECS: Shape = Shape::List(&Shape::Record(&[
        ("group", Shape::Printed),
        ("version", Shape::Printed),
        ("kind", Shape::Printed),
        ("path", Shape::Printed),
        ("create", Shape::Flag),
    ]));
    const FIELDS: Fields =
        &[("prefix", Shape::Printed), ("suffix", Shape::Printed), ("fieldSpecs", LOOSE_SPECS)];
    // These three read their configuration with another library, which is case-sensitive.
    let Config { prefix, suffix, field_specs } = decode(&plugin.config, FIELDS, Keys::Exact)?;
    let Some(field_specs) = field_specs else {
        return Err(BuildError::invalid("fails configuration: fieldSpecs is not expected to be nil"));
    };
    let specs = specs(field_specs);
    spend(assembly, set, &specs, prefix.len() + suffix.len())?;
    let (has_prefix, has_suffix) = match plugin.id.gvk.kind.as_str() {
        "PrefixTransformer" => (true, false),
        "SuffixTransformer" => (false, true),
        _ => (!prefix.is_empty() || suffix.is_empty(), !suffix.is_empty()),
    };
    if has_prefix {
        names::add(set, Affix::Prefix, &prefix, &specs, assembly.reader)?;
    }
    if has_suffix {
        names::add(set, Affix::Suffix, &suffix, &specs, assembly.reader)?;
    }
    Ok(())
}

fn replace_image(assembly: &Assembly<'_>, config: &Value, set: &mut ResourceSet) -> Result<(), BuildError> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Config {
        image_tag: ImageEntry,
        field_specs: Vec<SpecEntry>,
    }
    const IMAGE: Shape = Shape::Record(&[
        ("name", Shape::Printed),
        ("newName", Shape::Printed),
        ("newTag", Shape::Printed),
        ("tagSuffix", Shape::Printed),
        ("digest", Shape::Printed),
    ]);
    const FIELDS: Fields = &[("imageTag", IMAGE), ("fieldSpecs", FIELD_SPECS)];
    let Config { image_tag: entry, field_specs } = decode(config, FIELDS, Keys::AnyCase)?;
    let specs = specs(field_specs);
    spend(assembly, set, &specs, entry.new_name.len() + entry.new_tag.len() + entry.digest.len())?;
    images::replace(set, &entry, &specs, assembly.reader)
}

fn set_replicas(assembly: &Assembly<'_>, config: &Value, set: &mut ResourceSet) -> Result<(), BuildError> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Config {
        replica: ReplicaEntry,
        field_specs: Vec<SpecEntry>,
    }
    const REPLICA: Shape = Shape::Record(&[("name", Shape::Printed), ("count", Shape::Integer)]);
    const FIELDS: Fields = &[("replica", REPLICA), ("fieldSpecs", FIELD_SPECS)];
    let Config { replica, field_specs } = decode(config, FIELDS, Keys::AnyCase)?;
    let specs = specs(field_specs);
    spend(assembly, set, &specs, 0)?;
    replicas::set(set, &replica, &specs)
}

const PATCH: Fields =
    &[("path", Shape::Printed), ("patch", Shape::Printed), ("target", SELECTOR), ("options", Shape::Any)];

fn apply_strategic(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    config: &Value,
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Config {
        paths: Vec<String>,
        patches: String,
    }
    const FIELDS: Fields = &[("paths", Shape::List(&Shape::Printed)), ("patches", Shape::Printed)];
    let Config { mut paths, patches } = decode(config, FIELDS, Keys::AnyCase)?;
    if paths.is_empty() && patches.is_empty() {
        let message = "fails configuration: empty file path and empty patch content";
        return Err(BuildError::invalid(message));
    }
    if !patches.is_empty() {
        paths.push(patches);
    }
    patches::run_strategic(assembly, directory, &paths, set)
}

fn apply_json(
    assembly: &Assembly<'_>,
    directory: &RelPath,
    config: &Value,
    set: &mut ResourceSet,
) -> Result<(), BuildError> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Config {
        target: crate::settings::SelectorEntry,
        path: String,
        json_op: String,
    }
    const FIELDS: Fields = &[("target", SELECTOR), ("path", Shape::Printed), ("jsonOp", Shape::Printed)];
    let Config { target, path, json_op } = decode(config, FIELDS, Keys::AnyCase)?;
    let reject = |message: String| BuildError::invalid(format!("fails configuration: {message}"));
    if target.name.is_empty() {
        return Err(reject("must specify the target name".to_owned()));
    }
    let text = match (path.is_empty(), json_op.is_empty()) {
        (true, true) => return Err(reject("empty file path and empty jsonOp".to_owned())),
        (false, false) => {
            return Err(reject("must specify a file path or jsonOp, not both".to_owned()));
        }
        (true, false) => json_op,
        (false, true) => assembly.reader.text(&assembly.file(directory, &path)?)?,
    };
    let operations = if text.starts_with('[') {
        serde_json::from_str(&text).map_err(|error| reject(format!("decoding the JSON patch: {error}")))?
    } else {
        yaml::parse_settings(&text, &assembly.reader.limits().yaml)
            .map_err(|error| reject(format!("decoding the JSON patch: line {error}")))?
    };
    let is_empty = match &operations {
        Value::Array(operations) => operations.is_empty(),
        Value::Null => true,
        other => {
            let kind = match other {
                Value::Object(_) => "object",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            let message = format!("json: cannot unmarshal {kind} into Go value of type jsonpatch.Patch");
            return Err(reject(format!("the JSON patch is not a list of operations: {message}")));
        }
    };
    if is_empty {
        return Err(reject(format!("patch appears to be empty; file={path}")));
    }
    let entry = PatchEntry { patch: operations.to_string(), target: Some(target), ..PatchEntry::default() };
    patches::run_entry(assembly, directory, &entry, Remembers::Nothing, set)
}
