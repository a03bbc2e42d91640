//! The objects of a build in order, no two with the same id.

use std::collections::HashSet;

use crate::error::BuildError;
use crate::identity::ResId;
use crate::resource::{Behavior, Resource};

#[derive(Debug, Clone, Default)]
pub(crate) struct ResourceSet {
    resources: Vec<Resource>,
    /// Keys of the ids at hand; `None` after resources may have changed.
    keys: Option<HashSet<ResId>>,
}

impl ResourceSet {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Resource> {
        self.keys = None;
        self.resources.iter_mut()
    }

    pub(crate) fn as_slice(&self) -> &[Resource] {
        &self.resources
    }

    pub(crate) fn at_mut(&mut self, index: usize) -> &mut Resource {
        self.keys = None;
        &mut self.resources[index]
    }

    pub(crate) fn len(&self) -> usize {
        self.resources.len()
    }

    pub(crate) fn into_vec(self) -> Vec<Resource> {
        self.resources
    }

    pub(crate) fn from_vec(resources: Vec<Resource>) -> Self {
        Self { resources, keys: None }
    }

    /// Adds an object whose id is new.
    pub(crate) fn append(&mut self, resource: Resource) -> Result<(), BuildError> {
        let id = resource.current_id();
        let resources = &self.resources;
        let keys = self
            .keys
            .get_or_insert_with(|| resources.iter().map(|known| known.current_id().to_key()).collect());
        if !keys.insert(id.to_key()) {
            let message = format!("may not add resource with an already registered id: {id}");
            return Err(BuildError::invalid(message));
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
            (&[index], Behavior::Merge | Behavior::Replace) => {
                let old = self.at_mut(index);
                *old = replaced(old, new);
                Ok(())
            }
            (many, _) => {
                let message = format!("found {} objects that could accept the merge of {id}", many.len());
                Err(BuildError::invalid(message))
            }
        }
    }

    /// Where objects stand that have or had an id.
    pub(crate) fn indices_of_any(&self, id: &ResId) -> Vec<usize> {
        let having = self.resources.iter().enumerate().filter(|(_, resource)| resource.had_id(id));
        having.map(|(index, _)| index).collect()
    }

    /// Drops what patches and transformers have emptied.
    pub(crate) fn drop_empties(&mut self) {
        let is_full = |resource: &Resource| resource.value.as_object().is_some_and(|map| !map.is_empty());
        if !self.resources.iter().all(is_full) {
            self.keys = None;
            self.resources.retain(is_full);
        }
    }

    /// The first id that two objects share.
    pub(crate) fn duplicate(&self) -> Option<ResId> {
        let mut seen = HashSet::new();
        self.resources.iter().map(Resource::current_id).find(|id| !seen.insert(id.to_key()))
    }
}

/// A generated object in the place of an old one: metadata are joined, the new one winning; name, namespace and
/// history stay. A merge joins the data too.
fn replaced(old: &Resource, mut new: Resource) -> Resource {
    for field in ["labels", "annotations"] {
        let pointer = format!("/metadata/{field}");
        let mut texts = old.texts(&pointer);
        texts.extend(new.texts(&pointer));
        new.set_metadata_texts(field, texts);
    }
    new.set_name(old.name());
    new.set_namespace(old.namespace());
    if new.behavior == Behavior::Merge {
        for field in ["data", "binaryData"] {
            let pointer = format!("/{field}");
            let mut texts = old.texts(&pointer);
            texts.extend(new.texts(&pointer));
            let map: serde_json::Map<_, _> = texts.into_iter().map(|(key, text)| (key, text.into())).collect();
            if let Some(object) = new.value.as_object_mut() {
                if map.is_empty() {
                    object.remove(field);
                } else {
                    object.insert(field.to_owned(), map.into());
                }
            }
        }
        new.origin = old.origin.clone().or(new.origin);
    }
    new.previous.clone_from(&old.previous);
    new.prefixes.clone_from(&old.prefixes);
    new.suffixes.clone_from(&old.suffixes);
    new.needs_hash &= old.needs_hash;
    new.transformations.clone_from(&old.transformations);
    new
}
