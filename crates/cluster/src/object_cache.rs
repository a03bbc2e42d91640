//! A cache of the objects of a kind: the newest known version of each, from a watch or from the response
//! to a write of our own. Sends no requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::Resource;
use kube::core::DynamicObject;
use tokio::sync::watch;

use crate::NamespacedName;

/// What changed.
#[derive(Debug, Clone)]
pub enum ObjectEvent<O> {
    /// An object is new, or is different from before.
    Applied {
        /// As it was before; none for a new one.
        old: Option<Arc<O>>,
        /// As it is now.
        new: Arc<O>,
    },
    /// An object was deleted.
    Deleted {
        /// As it was last.
        old: Arc<O>,
    },
    /// An object cannot be read as its type: the store does not show it any more, all others live on.
    Unreadable {
        /// Its name.
        key: NamespacedName,
        /// Why, with the field.
        message: String,
        /// As it was sent.
        raw: Box<DynamicObject>,
    },
}

/// The objects of a kind. Clones share it.
pub struct ObjectCache<O>(Arc<Inner<O>>);

struct Inner<O> {
    objects: RwLock<Objects<O>>,
    synced: watch::Sender<bool>,
}

struct Objects<O> {
    readable: BTreeMap<NamespacedName, Arc<O>>,
    /// Objects that are there but cannot be read as their type, as they were when they could be read last.
    unreadable: BTreeMap<NamespacedName, Option<Arc<O>>>,
}

impl<O> Default for Objects<O> {
    fn default() -> Self {
        Self { readable: BTreeMap::new(), unreadable: BTreeMap::new() }
    }
}

impl<O> Clone for ObjectCache<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O> Default for ObjectCache<O> {
    fn default() -> Self {
        Self(Arc::new(Inner { objects: RwLock::default(), synced: watch::Sender::new(false) }))
    }
}

impl<O: Resource> ObjectCache<O> {
    /// The object with this name.
    pub fn get(&self, key: &NamespacedName) -> Option<Arc<O>> {
        self.read().readable.get(key).cloned()
    }

    /// All objects, by name.
    pub fn all(&self) -> Vec<Arc<O>> {
        self.read().readable.values().cloned().collect()
    }

    /// Resolves when all objects that there were at the start are known.
    pub async fn synced(&self) {
        let mut synced = self.0.synced.subscribe();
        // The sender lives in the store itself, so it cannot be dropped.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Whether all objects that there were at the start are known.
    pub fn is_synced(&self) -> bool {
        *self.0.synced.borrow()
    }

    /// Notes that all objects that there were at the start are known.
    pub fn note_synced(&self) {
        self.0.synced.send_replace(true);
    }

    /// Takes in a version of an object, unless a newer or the same one is known.
    pub fn put(&self, mut object: O) -> Option<ObjectEvent<O>> {
        object.meta_mut().managed_fields = None;
        let key = NamespacedName::of(&object);
        let mut objects = self.write();
        let old = objects.readable.get(&key).cloned();
        if old.as_ref().is_some_and(|old| !is_newer(&object, old.as_ref())) {
            return None;
        }
        let new = Arc::new(object);
        objects.unreadable.remove(&key);
        objects.readable.insert(key, Arc::clone(&new));
        Some(ObjectEvent::Applied { old, new })
    }

    /// Removes an object.
    pub fn remove(&self, key: &NamespacedName) -> Option<ObjectEvent<O>> {
        let mut objects = self.write();
        let unreadable = objects.unreadable.remove(key).flatten();
        objects.readable.remove(key).or(unreadable).map(|old| ObjectEvent::Deleted { old })
    }

    /// An object exists but cannot be read: it is hidden until it can.
    pub fn note_unreadable(&self, key: &NamespacedName) {
        let mut objects = self.write();
        let last = objects.readable.remove(key);
        let known = objects.unreadable.entry(key.clone()).or_default();
        *known = last.or(known.take());
    }

    /// The objects that are there but cannot be read, as they were when they could be read last, if ever.
    pub fn unreadable(&self) -> Vec<(NamespacedName, Option<Arc<O>>)> {
        self.read().unreadable.iter().map(|(key, last)| (key.clone(), last.clone())).collect()
    }

    /// Whether the object with this name is there, but cannot be read.
    pub fn is_unreadable(&self, key: &NamespacedName) -> bool {
        self.read().unreadable.contains_key(key)
    }

    /// The objects that are known and were not listed.
    pub fn missing(&self, listed: &BTreeSet<NamespacedName>) -> Vec<NamespacedName> {
        let objects = self.read();
        let known = objects.readable.keys().chain(objects.unreadable.keys());
        known.filter(|key| !listed.contains(*key)).cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Objects<O>> {
        self.0.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects<O>> {
        self.0.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Versions are numbers that grow (Kubernetes promises it since 1.35, and it was so before). What is no number, and
/// a recreated object, counts as newer.
pub fn is_newer<O: Resource>(object: &O, known: &O) -> bool {
    if object.meta().uid != known.meta().uid {
        return true;
    }
    let version =
        |object: &O| object.meta().resource_version.as_deref().and_then(|text| text.parse::<u128>().ok());
    match (version(object), version(known)) {
        (Some(new), Some(old)) => new > old,
        _ => object.meta().resource_version != known.meta().resource_version,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(version: &str, uid: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some("settings".into());
        map.metadata.namespace = Some("apps".into());
        map.metadata.resource_version = Some(version.into());
        map.metadata.uid = Some(uid.into());
        map
    }

    #[test]
    fn an_older_version_never_replaces_a_newer_one() {
        let store = ObjectCache::default();
        assert!(matches!(store.put(map("9", "a")), Some(ObjectEvent::Applied { old: None, .. })));
        assert!(store.put(map("9", "a")).is_none());
        assert!(store.put(map("8", "a")).is_none());
        assert!(matches!(store.put(map("10", "a")), Some(ObjectEvent::Applied { old: Some(_), .. })));
        assert_eq!(
            store.get(&NamespacedName::new("apps", "settings")).unwrap().metadata.resource_version.as_deref(),
            Some("10")
        );
    }

    #[test]
    fn an_unreadable_object_is_hidden_until_it_can_be_read_and_its_deletion_is_reported() {
        let store = ObjectCache::default();
        let key = NamespacedName::new("apps", "settings");
        store.note_unreadable(&key);
        assert!(store.is_unreadable(&key) && store.remove(&key).is_none());
        store.put(map("9", "a"));
        store.note_unreadable(&key);
        store.note_unreadable(&key);
        assert!(store.get(&key).is_none() && store.is_unreadable(&key));
        assert_eq!(store.missing(&BTreeSet::new()), std::slice::from_ref(&key));
        // New for all subscribers: skipped events are compared again.
        assert!(matches!(store.put(map("10", "a")), Some(ObjectEvent::Applied { old: None, .. })));
        assert!(!store.is_unreadable(&key));
        store.note_unreadable(&key);
        assert!(matches!(store.remove(&key), Some(ObjectEvent::Deleted { .. })));
        assert!(!store.is_unreadable(&key));
    }

    #[test]
    fn a_recreated_object_replaces_the_old_one() {
        let store = ObjectCache::default();
        store.put(map("9", "a"));
        assert!(store.put(map("3", "b")).is_some());
    }

    #[tokio::test]
    async fn waiters_are_notified_when_the_cache_is_complete() {
        let store = ObjectCache::<ConfigMap>::default();
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.synced().await }
        });
        store.note_synced();
        waiting.await.unwrap();
        assert!(store.is_synced());
    }
}
