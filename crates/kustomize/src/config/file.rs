//! A file named in `configurations`.

use plumb_filetree::RelPath;
use plumb_manifests::yaml;
use serde::Deserialize;
use serde_json::Value;

use super::{Config, NameReference};
use crate::error::BuildError;
use crate::field::FieldSpec;
use crate::identity::Gvk;
use crate::reading::Reader;
use crate::shape::{Fields, Reading, Shape, fit, noun};

/// A field specification as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SpecEntry {
    group: String,
    version: String,
    kind: String,
    path: String,
    create: bool,
}

impl From<SpecEntry> for FieldSpec {
    fn from(entry: SpecEntry) -> Self {
        let SpecEntry { group, version, kind, path, create } = entry;
        Self::new(Gvk { group: group.into(), version: version.into(), kind: kind.into() }, path, create)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ConfigFile {
    name_prefix: Vec<SpecEntry>,
    name_suffix: Vec<SpecEntry>,
    namespace: Vec<SpecEntry>,
    common_labels: Vec<SpecEntry>,
    labels: Vec<SpecEntry>,
    template_labels: Vec<SpecEntry>,
    common_annotations: Vec<SpecEntry>,
    name_reference: Vec<ReferenceEntry>,
    var_reference: Vec<SpecEntry>,
    images: Vec<SpecEntry>,
    replicas: Vec<SpecEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ReferenceEntry {
    group: String,
    version: String,
    kind: String,
    field_specs: Vec<SpecEntry>,
}

/// A list of them.
pub(crate) const FIELD_SPECS: Shape = Shape::List(&Shape::Record(&[
    ("group", Shape::Text),
    ("version", Shape::Text),
    ("kind", Shape::Text),
    ("path", Shape::Text),
    ("create", Shape::Flag),
]));

const FIELDS: Fields = &[
    ("namePrefix", FIELD_SPECS),
    ("nameSuffix", FIELD_SPECS),
    ("namespace", FIELD_SPECS),
    ("commonLabels", FIELD_SPECS),
    ("labels", FIELD_SPECS),
    ("templateLabels", FIELD_SPECS),
    ("commonAnnotations", FIELD_SPECS),
    ("nameReference", Shape::List(&Shape::Record(REFERENCE))),
    ("varReference", FIELD_SPECS),
    ("images", FIELD_SPECS),
    ("replicas", FIELD_SPECS),
];

const REFERENCE: Fields =
    &[("group", Shape::Text), ("version", Shape::Text), ("kind", Shape::Text), ("fieldSpecs", FIELD_SPECS)];

/// Reads one file of configurations.
pub(crate) fn read(reader: &Reader<'_>, file: &RelPath) -> Result<Config, BuildError> {
    let text = reader.text(file)?;
    let value = yaml::parse_settings(&text, &reader.limits().yaml);
    let value = value.map_err(|error| BuildError::yaml(file, &error))?;
    let reject = |reason: String| {
        BuildError::invalid(format!("not a transformer configuration: {reason}")).in_file(file)
    };
    let fields = match value {
        Value::Null => return Ok(Config::default()),
        Value::Object(map) => {
            fit(map, FIELDS, Reading::SETTINGS).map_err(|misfit| reject(misfit.to_string()))?
        }
        other => return Err(reject(format!("json: cannot unmarshal {} into a map", noun(&other)))),
    };
    let parsed: ConfigFile =
        serde_json::from_value(Value::Object(fields)).map_err(|error| reject(error.to_string()))?;
    let specs = |entries: Vec<SpecEntry>| entries.into_iter().map(FieldSpec::from).collect();
    Ok(Config {
        name_prefix: specs(parsed.name_prefix),
        name_suffix: specs(parsed.name_suffix),
        namespace: specs(parsed.namespace),
        selector_labels: specs(parsed.common_labels),
        labels: specs(parsed.labels),
        template_labels: specs(parsed.template_labels),
        annotations: specs(parsed.common_annotations),
        name_references: parsed
            .name_reference
            .into_iter()
            .map(|ReferenceEntry { group, version, kind, field_specs }| NameReference {
                target: Gvk { group: group.into(), version: version.into(), kind: kind.into() },
                fields: specs(field_specs),
            })
            .collect(),
        var_references: specs(parsed.var_reference),
        images: specs(parsed.images),
        replicas: specs(parsed.replicas),
    })
}
