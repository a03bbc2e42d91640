//! Trees by the digest of their archive. The content of a digest cannot change, so an entry is never stale; the least recently used is
//! evicted first when the bytes run out. The origin of a tree is irrelevant here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use plumb_filetree::MemoryTree;
use plumb_memory::{Limit, MemoryPool, MemoryReservation};

/// Memory of an entry in addition to the bytes of its files: paths, maps, headers.
const ENTRY_OVERHEAD_BYTES: u64 = 256;

/// The owner that trees of the cache are charged to: they belong to no namespace.
const CONSUMER: &str = "(artifact cache)";

/// The files of an artifact, with what they are charged to.
#[derive(Debug)]
pub struct ArtifactTree {
    tree: MemoryTree,
    /// Returns when the last user of the tree was dropped.
    _memory: MemoryReservation,
}

impl ArtifactTree {
    /// The files.
    pub fn as_tree(&self) -> &MemoryTree {
        &self.tree
    }

    /// A tree that stays charged to this as long as it is held.
    pub(crate) fn new(tree: MemoryTree, memory: MemoryReservation) -> Self {
        Self { tree, _memory: memory }
    }
}

impl std::ops::Deref for ArtifactTree {
    type Target = MemoryTree;

    fn deref(&self) -> &MemoryTree {
        &self.tree
    }
}

pub(crate) struct Cache {
    memory: MemoryPool,
    bytes_max: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    trees: BTreeMap<String, Held>,
    bytes: u64,
    uses: u64,
    gates: BTreeMap<String, Weak<tokio::sync::Mutex<()>>>,
}

struct Held {
    tree: Arc<ArtifactTree>,
    bytes: u64,
    last_use: u64,
}

impl Cache {
    pub(crate) fn new(bytes_max: u64, memory: MemoryPool) -> Self {
        Self { memory, bytes_max, inner: Mutex::default() }
    }

    /// What a tree is charged to from now on, if it may be cached: the cache instead of the namespace that fetched it.
    pub(crate) fn take_over(&self, tree: MemoryTree, memory: MemoryReservation) -> ArtifactTree {
        let limit = Limit { name: "cached artifacts", bytes_max: self.bytes_max };
        let mut cached = self.memory.reservation(CONSUMER, limit);
        match cached.try_grow(cost(&tree)) {
            Ok(()) => ArtifactTree::new(tree, cached),
            Err(_) => ArtifactTree::new(tree, memory),
        }
    }

    /// Drops everything, to free memory.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        inner.trees.clear();
        inner.bytes = 0;
    }

    pub(crate) fn get(&self, digest: &str) -> Option<Arc<ArtifactTree>> {
        let mut inner = self.lock();
        inner.uses += 1;
        let now = inner.uses;
        let held = inner.trees.get_mut(digest)?;
        held.last_use = now;
        Some(Arc::clone(&held.tree))
    }

    pub(crate) fn put(&self, digest: &str, tree: &Arc<ArtifactTree>) {
        let bytes = cost(tree);
        if bytes > self.bytes_max {
            return;
        }
        let mut inner = self.lock();
        inner.uses += 1;
        let held = Held { tree: Arc::clone(tree), bytes, last_use: inner.uses };
        inner.bytes += bytes;
        if let Some(old) = inner.trees.insert(digest.to_owned(), held) {
            inner.bytes -= old.bytes;
        }
        while inner.bytes > self.bytes_max {
            let oldest =
                inner.trees.iter().min_by_key(|(_, held)| held.last_use).map(|(digest, _)| digest.clone());
            let Some(old) = oldest.and_then(|digest| inner.trees.remove(&digest)) else { break };
            inner.bytes -= old.bytes;
        }
    }

    /// One download per digest at a time: the second waits and then finds the tree here.
    pub(crate) fn gate(&self, digest: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut inner = self.lock();
        inner.gates.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = inner.gates.get(digest).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::new(tokio::sync::Mutex::new(()));
        inner.gates.insert(digest.to_owned(), Arc::downgrade(&gate));
        gate
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Each change of the maps is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(tree: &MemoryTree) -> u64 {
    tree.bytes()
        + ENTRY_OVERHEAD_BYTES * u64::try_from(tree.len() + 1).unwrap_or(u64::MAX / ENTRY_OVERHEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plumb_filetree::{RelPath, TreeLimits};

    use super::*;

    fn tree(bytes: usize) -> Arc<ArtifactTree> {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        builder.file(&RelPath::parse("a").unwrap(), Bytes::from(vec![0; bytes]), false).unwrap();
        let limit = Limit { name: "files", bytes_max: 1 << 20 };
        Arc::new(ArtifactTree::new(builder.build(), MemoryPool::new(1 << 20).reservation("a", limit)))
    }

    #[test]
    fn a_cached_tree_is_charged_to_the_cache_and_returns_with_its_last_user() {
        let pool = MemoryPool::new(1 << 20);
        let cache = Cache::new(100_000, pool.clone());
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        builder.file(&RelPath::parse("a").unwrap(), Bytes::from(vec![0; 50_000]), false).unwrap();
        let mut reservation = pool.reservation("team-a", Limit { name: "files", bytes_max: 1 << 20 });
        reservation.try_grow(300_000).unwrap();
        let used = Arc::new(cache.take_over(builder.build(), reservation));
        cache.put("a", &used);
        assert!((50_000..200_000).contains(&pool.usage().reserved), "{:?}", pool.usage());
        cache.clear();
        assert!(cache.get("a").is_none() && pool.usage().reserved > 0, "it is still used");
        drop(used);
        assert_eq!(pool.usage().reserved, 0);
    }

    #[test]
    fn the_least_recently_used_tree_goes_first() {
        let cache = Cache::new(4000, MemoryPool::new(1 << 20));
        cache.put("a", &tree(1000));
        cache.put("b", &tree(1000));
        assert!(cache.get("a").is_some());
        cache.put("c", &tree(1000));
        assert!(cache.get("b").is_none());
        assert!(cache.get("a").is_some() && cache.get("c").is_some());
        cache.put("d", &tree(9000));
        assert!(cache.get("d").is_none() && cache.get("a").is_some());
    }
}
