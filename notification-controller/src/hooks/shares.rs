//! What the bodies of webhooks hold: a share per path, known or not, so that a full one reveals nothing, and for a known path
//! the memory budget of its Receiver's namespace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plumb_alerting::receiver::{WEBHOOK_BYTES_MAX, path_digest};

use crate::budget::Held;
use crate::server::BodyAccount;

/// How many bytes of bodies to one path are under way at once.
pub const PATH_BYTES_MAX: u64 = 4 * WEBHOOK_BYTES_MAX as u64;

/// Bytes under way by digest of the path. Only looked up by key, never iterated; as many entries as connections at most. Clones
/// share it.
#[derive(Clone, Default)]
pub struct PathShares(Arc<Mutex<HashMap<[u8; 32], u64>>>);

/// The bytes of one body.
pub struct WebhookAccount {
    shares: PathShares,
    path: [u8; 32],
    bytes: u64,
    /// None for a path that no Receiver has: the body is not kept.
    budget: Option<Held>,
}

impl PathShares {
    /// The beginning of a body to this path: nothing is counted yet.
    pub fn open(&self, path: &str, budget: Option<Held>) -> WebhookAccount {
        WebhookAccount { shares: self.clone(), path: path_digest(path), bytes: 0, budget }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<[u8; 32], u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BodyAccount for WebhookAccount {
    fn try_grow(&mut self, bytes: u64) -> bool {
        if let Some(held) = &mut self.budget
            && held.try_grow(bytes).is_err()
        {
            return false;
        }
        let mut counts = self.shares.counts();
        let count = counts.entry(self.path).or_default();
        if *count + bytes > PATH_BYTES_MAX {
            return false;
        }
        *count += bytes;
        self.bytes += bytes;
        true
    }

    fn keeps_body(&self) -> bool {
        self.budget.is_some()
    }
}

impl Drop for WebhookAccount {
    fn drop(&mut self) {
        let mut counts = self.shares.counts();
        if let Some(count) = counts.get_mut(&self.path) {
            *count -= self.bytes;
            if *count == 0 {
                counts.remove(&self.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use plumb_memory::{Limit, MemoryPool};

    use super::*;
    use crate::budget::Budget;

    #[test]
    fn a_path_has_its_share_whether_it_is_known_or_not_and_others_have_their_own() {
        let shares = PathShares::default();
        let bodies = Budget::of(&MemoryPool::new(1 << 30)).bodies;
        let limit = Limit { name: "body of a webhook", bytes_max: PATH_BYTES_MAX * 2 };
        for known in [true, false] {
            let open = |path: &str| shares.open(path, known.then(|| bodies.hold("prod", limit)));
            let mut full = open("/hook/a");
            assert_eq!(full.keeps_body(), known);
            assert!(full.try_grow(PATH_BYTES_MAX));
            assert!(!open("/hook/a").try_grow(1));
            assert!(open("/hook/b").try_grow(PATH_BYTES_MAX));
            drop(full);
            assert!(open("/hook/a").try_grow(1));
        }
        assert!(shares.counts().is_empty());
        assert_eq!(bodies.held(), 0);
    }
}
