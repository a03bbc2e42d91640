//! Which objects a replacement takes from and writes to.

use std::collections::HashMap;

use plumb_manifests::yaml::Text;

use super::entry::{SourceEntry, TargetEntry};
use crate::error::BuildError;
use crate::identity::ResId;
use crate::reading::Reader;
use crate::resource::Resource;
use crate::selector::{Selector, anchored};
use crate::set::ResourceSet;
use crate::settings::SelectorEntry;

/// Objects by the names and kinds that they have or had, so that not every replacement visits all of them.
#[derive(Default)]
pub(super) struct Index {
    by_name: HashMap<Text, Vec<usize>>,
    by_kind: HashMap<Text, Vec<usize>>,
    count: usize,
}

impl Index {
    pub(super) fn new(set: &ResourceSet, reader: &Reader<'_>) -> Result<Self, BuildError> {
        reader.spend(set.len(), 0)?;
        let mut index = Self { count: set.len(), ..Self::default() };
        let add = |map: &mut HashMap<Text, Vec<usize>>, key: Text, position: usize| {
            let positions = map.entry(key).or_default();
            if positions.last() != Some(&position) {
                positions.push(position);
            }
        };
        for (position, resource) in set.iter().enumerate() {
            for id in resource.all_ids() {
                add(&mut index.by_name, id.name, position);
                add(&mut index.by_kind, id.gvk.kind, position);
            }
        }
        Ok(index)
    }

    /// The positions of the objects that may be meant; empty texts mean any.
    fn candidates(&self, name: &str, kind: &str) -> Vec<usize> {
        let positions = match (name, kind) {
            ("", "") => return (0..self.count).collect(),
            ("", kind) => self.by_kind.get(kind),
            (name, _) => self.by_name.get(name),
        };
        positions.cloned().unwrap_or_default()
    }
}

/// The only object that a source means.
pub(super) fn source(
    entry: &SourceEntry,
    set: &ResourceSet,
    index: &Index,
    reader: &Reader<'_>,
) -> Result<usize, BuildError> {
    let candidates = index.candidates(&entry.name, &entry.kind);
    reader.spend(candidates.len(), 0)?;
    let is_meant = |position: &usize| {
        set.get(*position).is_some_and(|resource| resource.all_ids().any(|id| is_named(entry, &id)))
    };
    let mut meant = candidates.into_iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(position), None) => Ok(position),
        (Some(_), Some(_)) => {
            Err(BuildError::invalid(format!("multiple matches for selector {}", name(entry))))
        }
        (None, _) => Err(BuildError::invalid(format!("nothing selected by {}", name(entry)))),
    }
}

fn is_named(entry: &SourceEntry, id: &ResId) -> bool {
    let fits = |part: &str, own: &str| part.is_empty() || part == own;
    let namespace = |text: &str| if text.is_empty() { "default".to_owned() } else { text.to_owned() };
    fits(&entry.name, &id.name)
        && fits(&entry.kind, &id.gvk.kind)
        && fits(&entry.group, &id.gvk.group)
        && fits(&entry.version, &id.gvk.version)
        && (entry.namespace.is_empty() || namespace(&entry.namespace) == namespace(&id.namespace))
}

/// A source in kustomize's notation, with its field.
pub(super) fn name(entry: &SourceEntry) -> String {
    let id = object_name(entry);
    match entry.field_path.as_str() {
        "" => id,
        path => format!("{id}:{path}"),
    }
}

/// The object of a source in kustomize's notation.
pub(super) fn object_name(entry: &SourceEntry) -> String {
    let SourceEntry { group, version, kind, name, namespace, .. } = entry;
    let gvk = crate::identity::Gvk { group: group.into(), version: version.into(), kind: kind.into() };
    ResId { gvk, name: name.into(), namespace: namespace.into() }.to_string()
}

/// The objects of a target.
pub(super) struct Choice {
    select: Matcher,
    reject: Vec<Matcher>,
    /// The name and the kind, if they are plain texts; else empty.
    name: String,
    kind: String,
}

impl Choice {
    pub(super) fn new(entry: &TargetEntry, reader: &Reader<'_>) -> Result<Self, BuildError> {
        let Some(select) = &entry.select else {
            return Err(BuildError::invalid("target must specify resources to select"));
        };
        let doing = |error: BuildError| error.while_doing("error creating target selector");
        let reject = entry.reject.iter().map(|reject| Matcher::new(reject, reader).map_err(doing));
        let literal = |text: &str| if is_literal(text) { text.to_owned() } else { String::new() };
        Ok(Self {
            select: Matcher::new(select, reader).map_err(doing)?,
            reject: reject.collect::<Result<_, _>>()?,
            name: literal(&select.name),
            kind: literal(&select.kind),
        })
    }

    /// The positions of the objects that are selected and not rejected.
    pub(super) fn positions(
        &self,
        set: &ResourceSet,
        index: &Index,
        reader: &Reader<'_>,
    ) -> Result<Vec<usize>, BuildError> {
        let candidates = index.candidates(&self.name, &self.kind);
        reader.spend(candidates.len(), 0)?;
        let mut chosen = Vec::new();
        for position in candidates {
            let Some(resource) = set.get(position) else { continue };
            reader.spend(self.select.cost(resource), 0)?;
            if self.select.selects(resource) {
                reader.spend(self.reject.iter().map(|reject| reject.cost(resource)).sum(), 0)?;
                if !self.reject.iter().any(|reject| reject.rejects(resource)) {
                    chosen.push(position);
                }
            }
        }
        Ok(chosen)
    }
}

/// Patterns of ids, and label selectors.
struct Matcher {
    group: Pattern,
    version: Pattern,
    kind: Pattern,
    name: Pattern,
    namespace: Pattern,
    /// None if there are no conditions on labels and annotations.
    metadata: Option<Selector>,
    is_about_ids: bool,
}

enum Pattern {
    Any,
    Text(String),
    Regex(crate::selector::Pattern),
}

impl Pattern {
    fn new(text: &str, reader: &Reader<'_>) -> Result<Self, BuildError> {
        if is_literal(text) {
            return Ok(if text.is_empty() { Self::Any } else { Self::Text(text.to_owned()) });
        }
        let Some(pattern) = anchored(text)? else {
            return Ok(Self::Any);
        };
        reader.spend(pattern.cost_to_compile(), 0)?;
        Ok(Self::Regex(pattern))
    }

    fn cost(&self) -> usize {
        match self {
            Self::Any | Self::Text(_) => 0,
            Self::Regex(pattern) => pattern.cost(),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Text(own) => own == text,
            Self::Regex(pattern) => pattern.is_match(text),
        }
    }
}

fn is_literal(text: &str) -> bool {
    !text.contains(['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'])
}

impl Matcher {
    fn new(entry: &SelectorEntry, reader: &Reader<'_>) -> Result<Self, BuildError> {
        let SelectorEntry { group, version, kind, name, namespace, label_selector, annotation_selector } =
            entry;
        let has_metadata = !(label_selector.is_empty() && annotation_selector.is_empty());
        let only_metadata = || SelectorEntry {
            label_selector: label_selector.clone(),
            annotation_selector: annotation_selector.clone(),
            ..SelectorEntry::default()
        };
        Ok(Self {
            group: Pattern::new(group, reader)?,
            version: Pattern::new(version, reader)?,
            kind: Pattern::new(kind, reader)?,
            name: Pattern::new(name, reader)?,
            namespace: Pattern::new(namespace, reader)?,
            metadata: has_metadata.then(|| Selector::new(&only_metadata())).transpose()?,
            is_about_ids: [group, version, kind, name, namespace].iter().any(|part| !part.is_empty()),
        })
    }

    /// The steps that it takes to look at a resource.
    fn cost(&self, resource: &Resource) -> usize {
        const BYTES_PER_STEP: usize = 64;
        let patterns = [&self.group, &self.version, &self.kind, &self.name, &self.namespace];
        let patterns: usize = patterns.map(Pattern::cost).iter().sum();
        let bytes = resource.name().len() + resource.namespace().len() + resource.kind().len();
        let ids = 1 + resource.previous.len();
        let metadata = self.metadata.as_ref().map_or(0, |selector| selector.cost(resource));
        ids * (1 + patterns * (bytes / BYTES_PER_STEP) + patterns / 2) + metadata
    }

    fn selects(&self, resource: &Resource) -> bool {
        self.fits_an_id(resource)
            && self.metadata.as_ref().is_none_or(|selector| selector.selects_metadata(resource))
    }

    /// Either is enough for a rejection: the id, or the labels and annotations.
    fn rejects(&self, resource: &Resource) -> bool {
        self.metadata.as_ref().is_some_and(|selector| selector.selects_metadata(resource))
            || (self.is_about_ids && self.fits_an_id(resource))
    }

    fn fits_an_id(&self, resource: &Resource) -> bool {
        resource.all_ids().any(|id| {
            self.kind.fits(&id.gvk.kind)
                && self.name.fits(&id.name)
                && self.namespace.fits(&id.namespace)
                && self.group.fits(&id.gvk.group)
                && self.version.fits(&id.gvk.version)
        })
    }
}
