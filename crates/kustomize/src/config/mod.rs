//! What the transformers write to: the defaults, and what `configurations` adds to them.

pub(crate) mod crds;
mod field_specs_table;
mod file;
mod gathered;
mod name_references_table;
mod var_references_table;

use std::collections::HashMap;
use std::sync::OnceLock;

use plumb_manifests::yaml::Text;

use crate::error::BuildError;
use crate::field::FieldSpec;
use crate::identity::Gvk;

pub(crate) use file::{FIELD_SPECS, SpecEntry, read};
pub(crate) use gathered::Gathered;

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

    /// The specifications of each transformer, as kustomize calls it.
    fn lists(&mut self) -> [(&'static str, &mut Vec<FieldSpec>); 10] {
        let Self {
            name_prefix,
            name_suffix,
            namespace,
            selector_labels,
            labels,
            template_labels,
            annotations,
            name_references: _,
            var_references,
            images,
            replicas,
        } = self;
        [
            ("namePrefix", name_prefix),
            ("nameSuffix", name_suffix),
            ("namespace", namespace),
            ("commonLabels", selector_labels),
            ("labels", labels),
            ("templateLabels", template_labels),
            ("commonAnnotations", annotations),
            ("varReference", var_references),
            ("images", images),
            ("replicas", replicas),
        ]
    }

    /// Takes in another configuration.
    pub(crate) fn merge(&mut self, mut other: Self) -> Result<(), BuildError> {
        for reference in std::mem::take(&mut other.name_references) {
            match self.name_references.iter_mut().find(|known| known.target == reference.target) {
                Some(known) => merge_specs(&mut known.fields, reference.fields)?,
                None => self.name_references.push(reference),
            }
            if self.name_references.len() > SPECS_MAX {
                return Err(BuildError::over_limit(format!("more than {SPECS_MAX} name references")));
            }
        }
        for ((_, known), (_, new)) in self.lists().into_iter().zip(other.lists()) {
            merge_specs(known, std::mem::take(new))?;
            // kustomize sorts them, and those for a single kind come first then.
            known.sort_by_key(breadth);
        }
        Ok(())
    }

    /// Merges the specifications into an empty list, as kustomize does: one for any kind is lost next to one for a single
    /// kind that has the same path.
    pub(crate) fn settle(&mut self) -> Result<Vec<String>, BuildError> {
        let mut lost = Vec::new();
        for (name, specs) in self.lists() {
            // The loss of one next to the same for a single version or group has no effect.
            for spec in settle(specs)?.into_iter().filter(|spec| spec.gvk.kind.is_empty()) {
                lost.push(format!(
                    "{name} no longer writes {} of {}: a configuration names that path for one kind; list every kind \
                     there",
                    spec.path, spec.gvk
                ));
            }
        }
        Ok(lost)
    }
}

/// More field specifications than this for one transformer are not a configuration.
const SPECS_MAX: usize = 5000;
/// So many new ones are each looked for among all.
const LINEAR_MAX: usize = 16;

/// How many kinds a specification is for, roughly.
fn breadth(spec: &FieldSpec) -> usize {
    let Gvk { group, version, kind } = &spec.gvk;
    [group, version, kind].into_iter().filter(|part| part.is_empty()).count()
}

/// Adds specifications that are not there yet, nor for a kind that they are for too; one that is there must agree about
/// creating.
pub(crate) fn merge_specs(known: &mut Vec<FieldSpec>, new: Vec<FieldSpec>) -> Result<(), BuildError> {
    let mut places = (new.len() > LINEAR_MAX).then(|| {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, spec) in known.iter().enumerate() {
            places.entry(spec.path.clone()).or_default().push(place);
        }
        places
    });
    for spec in new {
        let found = match &mut places {
            Some(places) => {
                let at = places.entry(spec.path.clone()).or_default();
                let is_there = is_known(at.iter().map(|&place| &known[place]), &spec)?;
                if !is_there {
                    at.push(known.len());
                }
                is_there
            }
            None => is_known(known.iter(), &spec)?,
        };
        if !found {
            known.push(spec);
        }
        if known.len() > SPECS_MAX {
            return Err(BuildError::over_limit(format!("more than {SPECS_MAX} field specifications")));
        }
    }
    Ok(())
}

fn is_known<'k>(
    known: impl IntoIterator<Item = &'k FieldSpec>,
    spec: &FieldSpec,
) -> Result<bool, BuildError> {
    match known.into_iter().find(|own| own.path == spec.path && own.gvk.is_selected_by(&spec.gvk)) {
        Some(own) if own.create != spec.create => {
            let message = format!(
                "conflicting fieldspecs: {} of {} and of {} differ in create",
                spec.path, own.gvk, spec.gvk
            );
            Err(BuildError::invalid(message))
        }
        found => Ok(found.is_some()),
    }
}

/// Removes those that are lost when the ones for fewer kinds come first.
fn settle(specs: &mut Vec<FieldSpec>) -> Result<Vec<FieldSpec>, BuildError> {
    specs.sort_by_key(breadth);
    let mut by_path: HashMap<&str, Vec<FieldSpec>> = HashMap::new();
    let (mut left, mut lost) = (Vec::with_capacity(specs.len()), Vec::new());
    for spec in &*specs {
        let kept = by_path.entry(&spec.path).or_default();
        if !is_known(&*kept, spec)? {
            kept.push(spec.clone());
            left.push(spec.clone());
        } else if !kept.contains(spec) {
            lost.push(spec.clone());
        }
    }
    *specs = left;
    Ok(lost)
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

    fn specs(texts: &[&str]) -> Vec<FieldSpec> {
        texts.iter().map(|text| row(text).unwrap()).collect()
    }

    #[track_caller]
    fn check(known: &[&str], new: &[&str], expect: Option<&[&str]>) {
        let mut known = specs(known);
        let merged = merge_specs(&mut known, specs(new)).and_then(|()| settle(&mut known));
        let sorted = |mut specs: Vec<FieldSpec>| {
            specs.sort();
            specs
        };
        assert_eq!(merged.ok().map(|_| sorted(known)), expect.map(|texts| sorted(specs(texts))));
    }

    #[test]
    fn a_specification_for_any_kind_is_lost_next_to_one_for_a_single_kind() {
        check(&["- * * * a"], &["- * * Foo a"], Some(&["- * * Foo a"]));
        check(&["- * * Foo a"], &["- * * * a"], Some(&["- * * Foo a"]));
        check(&["- * * * a"], &["- * * Foo b"], Some(&["- * * * a", "- * * Foo b"]));
        check(&["- * v1 Foo a"], &["- g * Foo a"], Some(&["- * v1 Foo a", "- g * Foo a"]));
    }

    #[test]
    fn specifications_that_differ_in_what_they_create_are_rejected() {
        check(&["+ * * * a"], &["- * * Foo a"], None);
        check(&["+ * * Foo a"], &["- * * * a"], None);
        check(&["+ * * Foo a"], &["- * * Bar a"], Some(&["+ * * Foo a", "- * * Bar a"]));
    }

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
