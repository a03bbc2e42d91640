//! Trees by the digest of their archive. What the digest names cannot change, so an entry never goes stale; the oldest use is
//! given up first when the bytes run out. Where a tree came from plays no part here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use plumb_filetree::MemoryTree;

/// What an entry costs beside the bytes of its files: paths, maps, headers.
const ENTRY_OVERHEAD_BYTES: u64 = 256;

pub(crate) struct Cache {
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
    tree: Arc<MemoryTree>,
    bytes: u64,
    last_use: u64,
}

impl Cache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, inner: Mutex::default() }
    }

    pub(crate) fn get(&self, digest: &str) -> Option<Arc<MemoryTree>> {
        let mut inner = self.lock();
        inner.uses += 1;
        let now = inner.uses;
        let held = inner.trees.get_mut(digest)?;
        held.last_use = now;
        Some(Arc::clone(&held.tree))
    }

    pub(crate) fn put(&self, digest: &str, tree: &Arc<MemoryTree>) {
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

    /// One download per digest at a time: whoever comes second waits and then finds the tree here.
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

    fn tree(bytes: usize) -> Arc<MemoryTree> {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        builder.file(&RelPath::parse("a").unwrap(), Bytes::from(vec![0; bytes]), false).unwrap();
        Arc::new(builder.build())
    }

    #[test]
    fn the_least_recently_used_tree_goes_first() {
        let cache = Cache::new(4000);
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
