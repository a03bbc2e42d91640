//! The objects of a build in order, no two with the same id.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;

use plumb_manifests::yaml::{Map, Node};

use crate::error::BuildError;
use crate::field::{check_key, made_text};
use crate::identity::ResId;
use crate::provenance;
use crate::resource::{Behavior, Resource};
use crate::shares::{self, Spread};

#[derive(Debug, Clone, Default)]
pub(crate) struct ResourceSet {
    resources: Vec<Resource>,
    /// The positions of the objects that have or had an id; `None` after ids may have changed.
    index: Option<Index>,
    /// Whether an object may have been emptied.
    may_have_empties: bool,
    /// Indirect changes of objects since they were last reported; at most `SPREADS_MAX`.
    spreads: Vec<(ResId, Spread)>,
}

/// Recorded spreads until they are reported, at most.
const SPREADS_MAX: usize = 1000;

impl ResourceSet {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Resource> {
        self.index = None;
        self.may_have_empties = true;
        self.resources.iter_mut()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Resource> {
        self.resources.get(index)
    }

    /// The objects, for notes that change neither ids nor whether there is anything in them.
    pub(crate) fn notes_mut(&mut self) -> impl Iterator<Item = &mut Resource> {
        self.resources.iter_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.resources.len()
    }

    pub(crate) fn into_vec(self) -> Vec<Resource> {
        self.resources
    }

    /// Changes one object.
    pub(crate) fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Resource) -> R) -> R {
        let resource = &mut self.resources[index];
        let before = (resource.current_id(), resource.previous.len());
        let result = change(resource);
        let spreads = shares::settle(resource);
        if !spreads.is_empty() {
            let id = resource.current_id();
            self.note_spreads(&id, spreads);
        }
        let resource = &self.resources[index];
        self.may_have_empties |= !is_full(resource);
        if before != (resource.current_id(), resource.previous.len()) {
            self.index = None;
        }
        result
    }

    /// Records an indirect change of an object.
    pub(crate) fn note_spreads(&mut self, id: &ResId, spreads: Vec<Spread>) {
        let room = SPREADS_MAX.saturating_sub(self.spreads.len());
        self.spreads.extend(spreads.into_iter().take(room).map(|spread| (id.clone(), spread)));
    }

    /// What was noted since the last call.
    pub(crate) fn take_spreads(&mut self) -> Vec<(ResId, Spread)> {
        std::mem::take(&mut self.spreads)
    }

    /// Adds an object whose id is new.
    pub(crate) fn append(&mut self, resource: Resource) -> Result<(), BuildError> {
        let id = resource.current_id();
        let position = self.resources.len();
        self.fill_index();
        let positions = self.index.iter().flat_map(|index| index.at(&id));
        let is_same = |at: &usize| self.resources[*at].current_id().is_same(&id);
        let first = positions.filter(is_same).min();
        if let Some(at) = first {
            let (first, second) = (&self.resources[at].file, &resource.file);
            let places = if first == second {
                format!("twice in {first}")
            } else {
                format!("in {first} and in {second}")
            };
            let message = format!("may not add resource with an already registered id: {id}: it is {places}");
            return Err(BuildError::invalid(message));
        }
        if let Some(index) = &mut self.index {
            index.add(&resource, position);
        }
        self.resources.push(resource);
        Ok(())
    }

    pub(crate) fn append_all(&mut self, other: Self) -> Result<(), BuildError> {
        other.resources.into_iter().try_for_each(|resource| self.append(resource))
    }

    /// Adds what a generator made: new, merged into the object of the same id, or in its place.
    pub(crate) fn absorb(&mut self, new: Resource) -> Result<(), BuildError> {
        let id = new.current_id();
        let matches = self.indices_of_any(&id);
        match (matches.as_slice(), new.behavior) {
            ([], Behavior::Create) => self.append(new),
            ([], Behavior::Merge | Behavior::Replace) => {
                Err(BuildError::invalid(format!("id {id} does not exist; cannot merge or replace")))
            }
            ([_], Behavior::Create) => {
                Err(BuildError::invalid(format!("id {id} exists; behavior must be merge or replace")))
            }
            (&[index], Behavior::Merge | Behavior::Replace) => self.change(index, |old| {
                *old = replaced(old, new)?;
                Ok(())
            }),
            (many, _) => {
                let message = format!("found {} objects that could accept the merge of {id}", many.len());
                Err(BuildError::invalid(message))
            }
        }
    }

    /// The positions of objects that have or had an id.
    pub(crate) fn indices_of_any(&mut self, id: &ResId) -> Vec<usize> {
        self.fill_index();
        let positions = self.index.iter().flat_map(|index| index.at(id));
        let mut found: Vec<usize> =
            positions.filter(|&at| self.resources[at].all_ids().any(|own| own.is_same(id))).collect();
        found.dedup();
        found
    }

    fn fill_index(&mut self) {
        if self.index.is_none() {
            let mut index = Index::default();
            for (position, resource) in self.resources.iter().enumerate() {
                index.add(resource, position);
            }
            self.index = Some(index);
        }
    }

    /// Drops what patches and transformers have emptied.
    pub(crate) fn drop_empties(&mut self) {
        if self.may_have_empties {
            self.retain(is_full);
            self.may_have_empties = false;
        }
    }

    /// Drops what does not fit.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&Resource) -> bool) {
        if !self.resources.iter().all(&is_kept) {
            self.index = None;
            self.resources.retain(is_kept);
        }
    }

    /// The first id that two objects share.
    pub(crate) fn duplicate(&self) -> Option<ResId> {
        let mut seen = HashSet::with_capacity(self.resources.len());
        self.resources.iter().map(Resource::current_id).find(|id| !seen.insert(id.to_key()))
    }
}

/// The positions of objects, by the hashes of the ids that they have or had. Different ids may share one.
#[derive(Debug, Clone, Default)]
struct Index {
    hasher: RandomState,
    /// The first object of a hash; most have no other.
    first: HashMap<u64, usize>,
    further: HashMap<u64, Vec<usize>>,
}

impl Index {
    fn hash(&self, id: &ResId) -> u64 {
        self.hasher.hash_one((&id.gvk, &id.name, id.effective_namespace()))
    }

    /// In order, perhaps more than once.
    fn at(&self, id: &ResId) -> impl Iterator<Item = usize> {
        let hash = self.hash(id);
        let further = self.further.get(&hash).into_iter().flatten().copied();
        self.first.get(&hash).copied().into_iter().chain(further)
    }

    fn add(&mut self, resource: &Resource, position: usize) {
        for id in resource.all_ids() {
            let hash = self.hash(&id);
            match self.first.entry(hash) {
                Entry::Vacant(entry) => drop(entry.insert(position)),
                Entry::Occupied(entry) if *entry.get() == position => {}
                Entry::Occupied(_) => self.further.entry(hash).or_default().push(position),
            }
        }
    }
}

fn is_full(resource: &Resource) -> bool {
    resource.value.as_object().is_some_and(|map| !map.is_empty())
}

/// A generated object in the place of an old one: metadata are joined, the new one winning; name, namespace and
/// history stay. A merge joins the data too.
fn replaced(old: &Resource, mut new: Resource) -> Result<Resource, BuildError> {
    // The origin of a merged object is that of the first one.
    let kept_origin = if new.behavior == Behavior::Merge { provenance::origin(old) } else { None };
    for field in ["labels", "annotations"] {
        let path = ["metadata", field];
        let mut texts = old.texts(&path);
        // Values other than texts and numbers are lost.
        let lists = old.value.at(&path).and_then(Node::as_object).into_iter().flat_map(Map::iter);
        texts.extend(
            lists.filter(|(_, node)| !node.is_scalar()).map(|(key, _)| (key.to_owned(), String::new())),
        );
        texts.extend(new.texts(&path));
        texts.keys().try_for_each(|key| check_key(key))?;
        new.set_metadata_texts(field, texts);
    }
    new.set_name(old.name());
    new.set_namespace(old.namespace());
    if new.behavior == Behavior::Merge {
        for field in ["data", "binaryData"] {
            let mut texts = data(old, field);
            texts.extend(data(&new, field));
            texts.keys().try_for_each(|key| check_key(key))?;
            let map: Map = texts.into_iter().map(|(key, text)| (key.into(), made_text(text))).collect();
            if let Some(object) = new.value.as_object_mut() {
                if map.is_empty() {
                    object.remove(field);
                } else {
                    object.insert(field, map);
                }
            }
        }
    }
    if let Some(origin) = kept_origin {
        provenance::set_origin(&mut new, origin);
    }
    if new.behavior == Behavior::Merge {
        new.file.clone_from(&old.file);
    }
    new.trail = old.trail;
    new.previous.clone_from(&old.previous);
    new.prefixes.clone_from(&old.prefixes);
    new.suffixes.clone_from(&old.suffixes);
    new.vars.clone_from(&old.vars);
    new.needs_hash &= old.needs_hash;
    if old.is_generated {
        // What kustomize noted when it was made stays among its annotations.
        new.behavior = old.behavior;
    }
    new.is_generated |= old.is_generated;
    Ok(new)
}

/// The data that are scalars; for kustomize, what is null or no scalar is an empty text.
fn data(resource: &Resource, field: &str) -> BTreeMap<String, String> {
    let map = resource.value.get(field).and_then(Node::as_object);
    let text = |node: &Node| match node {
        Node::Plain(plain) => plain.text.to_string(),
        Node::String(text) => text.to_string(),
        Node::Null(_) | Node::Array(_) | Node::Object(_) => String::new(),
    };
    map.into_iter().flat_map(Map::iter).map(|(key, node)| (key.to_owned(), text(node))).collect()
}
