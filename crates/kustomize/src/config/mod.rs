//! What the transformers write to: the defaults, and what `configurations` adds to them.

pub(crate) mod crds;
mod field_specs_table;
mod file;
mod name_references_table;
mod var_references_table;

use std::collections::HashMap;
use std::sync::OnceLock;

use plumb_manifests::yaml::Text;

use crate::error::BuildError;
use crate::field::FieldSpec;
use crate::identity::Gvk;

pub(crate) use file::{SpecEntry, read};

/// The fields of each transformer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Config {
    pub name_prefix: Vec<FieldSpec>,
    pub name_suffix: Vec<FieldSpec>,
    pub namespace: Vec<FieldSpec>,
    /// For selectors and everything that they select.
    pub selector_labels: Vec<FieldSpec>,
    /// For labels that are only metadata, beyond `metadata/labels`.
    pub labels: Vec<FieldSpec>,
    pub template_labels: Vec<FieldSpec>,
    pub annotations: Vec<FieldSpec>,
    pub name_references: Vec<NameReference>,
    pub var_references: Vec<FieldSpec>,
    pub images: Vec<FieldSpec>,
    pub replicas: Vec<FieldSpec>,
}

/// The fields in which objects of a kind are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameReference {
    /// The kind that is named; empty parts mean any.
    pub target: Gvk,
    pub fields: Vec<FieldSpec>,
}

impl Config {
    /// kustomize's defaults.
    pub(crate) fn builtin() -> &'static Self {
        static BUILTIN: OnceLock<Config> = OnceLock::new();
        BUILTIN.get_or_init(Self::from_tables)
    }

    fn from_tables() -> Self {
        use field_specs_table as table;
        let mut selector_labels = rows(table::SELECTORS);
        selector_labels.extend(rows(table::METADATA_LABELS));
        Self {
            name_prefix: rows(table::NAME_PREFIX),
            name_suffix: rows(table::NAME_SUFFIX),
            namespace: rows(table::NAMESPACE),
            selector_labels,
            labels: Vec::new(),
            template_labels: rows(table::TEMPLATE_LABELS),
            annotations: rows(table::ANNOTATIONS),
            name_references: references(name_references_table::NAME_REFERENCES),
            var_references: rows(var_references_table::VAR_REFERENCES),
            images: rows(table::IMAGES),
            replicas: rows(table::REPLICAS),
        }
    }

    /// How many field specifications there are.
    pub(crate) fn len(&self) -> usize {
        let Self {
            name_prefix,
            name_suffix,
            namespace,
            selector_labels,
            labels,
            template_labels,
            annotations,
            name_references,
            var_references,
            images,
            replicas,
        } = self;
        let lists = [
            name_prefix,
            name_suffix,
            namespace,
            selector_labels,
            labels,
            template_labels,
            annotations,
            var_references,
            images,
            replicas,
        ];
        let references: usize = name_references.iter().map(|reference| 1 + reference.fields.len()).sum();
        lists.map(Vec::len).iter().sum::<usize>() + references
    }

    /// Takes in another configuration.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), BuildError> {
        let Self {
            name_prefix,
            name_suffix,
            namespace,
            selector_labels,
            labels,
            template_labels,
            annotations,
            name_references,
            var_references,
            images,
            replicas,
        } = other;
        merge_specs(&mut self.name_prefix, name_prefix)?;
        merge_specs(&mut self.name_suffix, name_suffix)?;
        merge_specs(&mut self.namespace, namespace)?;
        merge_specs(&mut self.selector_labels, selector_labels)?;
        merge_specs(&mut self.labels, labels)?;
        merge_specs(&mut self.template_labels, template_labels)?;
        merge_specs(&mut self.annotations, annotations)?;
        merge_specs(&mut self.var_references, var_references)?;
        merge_specs(&mut self.images, images)?;
        merge_specs(&mut self.replicas, replicas)?;
        for reference in name_references {
            match self.name_references.iter_mut().find(|known| known.target == reference.target) {
                Some(known) => merge_specs(&mut known.fields, reference.fields)?,
                None => self.name_references.push(reference),
            }
            if self.name_references.len() > SPECS_MAX {
                return Err(BuildError::over_limit(format!("more than {SPECS_MAX} name references")));
            }
        }
        Ok(())
    }
}

/// More field specifications than this for one transformer are not a configuration.
const SPECS_MAX: usize = 5000;
/// So many new ones are each looked for among all.
const LINEAR_MAX: usize = 16;

/// Adds specifications that are not there yet; one that is there must agree about creating.
pub(crate) fn merge_specs(known: &mut Vec<FieldSpec>, new: Vec<FieldSpec>) -> Result<(), BuildError> {
    let key = |spec: &FieldSpec| (spec.gvk.clone(), spec.path.clone());
    let is_large = new.len() > LINEAR_MAX;
    let mut places: HashMap<_, usize> = HashMap::new();
    if is_large {
        places = known.iter().enumerate().map(|(place, spec)| (key(spec), place)).collect();
    }
    for spec in new {
        let place = if is_large {
            places.get(&key(&spec)).copied()
        } else {
            known.iter().position(|own| own.gvk == spec.gvk && own.path == spec.path)
        };
        match place.map(|place| &known[place]) {
            Some(own) if own.create != spec.create => {
                let message = format!("conflicting fieldspecs for {} of {}", spec.path, spec.gvk);
                return Err(BuildError::invalid(message));
            }
            Some(_) => {}
            None => {
                if is_large {
                    places.insert(key(&spec), known.len());
                }
                known.push(spec);
            }
        }
        if known.len() > SPECS_MAX {
            return Err(BuildError::over_limit(format!("more than {SPECS_MAX} field specifications")));
        }
    }
    Ok(())
}

fn rows(table: &str) -> Vec<FieldSpec> {
    table.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<FieldSpec> {
    let (create, rest) = line.split_once(' ')?;
    let (group, rest) = rest.split_once(' ')?;
    let (version, rest) = rest.split_once(' ')?;
    let (kind, path) = rest.split_once(' ')?;
    Some(FieldSpec::new(pattern(group, version, kind), path, create == "+"))
}

fn references(table: &str) -> Vec<NameReference> {
    let mut references: Vec<NameReference> = Vec::new();
    for line in table.lines() {
        if let Some(target) = line.strip_prefix("> ") {
            let parts: Vec<&str> = target.split(' ').collect();
            if let [group, version, kind] = parts[..] {
                references.push(NameReference { target: pattern(group, version, kind), fields: Vec::new() });
            }
        } else if let (Some(spec), Some(last)) = (row(line), references.last_mut()) {
            last.fields.push(spec);
        }
    }
    references
}

fn pattern(group: &str, version: &str, kind: &str) -> Gvk {
    let part = |text: &str| if text == "*" { Text::default() } else { text.into() };
    Gvk { group: part(group), version: part(version), kind: part(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_tables_is_read() {
        let config = Config::builtin();
        assert_eq!(config.selector_labels.len(), 32);
        assert_eq!(config.template_labels.len(), 10);
        assert_eq!(config.annotations.len(), 9);
        assert_eq!(config.var_references.len(), 72);
        assert_eq!(config.name_references.len(), 16);
        assert_eq!(config.name_references.iter().map(|reference| reference.fields.len()).sum::<usize>(), 167);
    }
}
