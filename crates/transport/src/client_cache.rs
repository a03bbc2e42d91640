//! Clients that are kept from one use to the next, with the connections and TLS sessions that are pooled in them. A client is found by
//! all that determines it: what differs in certificates, proxy or credential never shares a connection.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Clients that are kept: of more, the one that was used longest ago goes first.
pub const CLIENTS_MAX: usize = 64;
/// How long a client is kept that nobody uses. One whose Secret has changed is of no use to anybody: it goes by this, too.
pub const CLIENT_IDLE_MAX: Duration = Duration::from_mins(10);

/// Clients by what determines them. Clones share them.
pub struct ClientCache<K, C>(Arc<Mutex<VecDeque<Kept<K, C>>>>);

struct Kept<K, C> {
    key: K,
    client: C,
    used: Instant,
}

impl<K, C> Clone for ClientCache<K, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, C> Default for ClientCache<K, C> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: PartialEq, C: Clone> ClientCache<K, C> {
    /// The client of a key, which is used at `now`: the one that is kept, or the one that `build` returns.
    ///
    /// # Errors
    /// That of `build`; then nothing is kept.
    pub fn get_or_build<E>(
        &self,
        key: K,
        now: Instant,
        build: impl FnOnce() -> Result<C, E>,
    ) -> Result<C, E> {
        if let Some(client) = self.find(&key, now) {
            return Ok(client);
        }
        // Without the lock: to build a client takes milliseconds. Of two that were built at once the later one stays.
        let client = build()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| other.key != key);
        if kept.len() >= CLIENTS_MAX {
            kept.pop_front();
        }
        kept.push_back(Kept { key, client: client.clone(), used: now });
        Ok(client)
    }

    /// Drops the clients that nobody has used for [`CLIENT_IDLE_MAX`] before `now`.
    pub fn sweep(&self, now: Instant) {
        drop_idle(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), now);
    }

    /// How many clients are kept.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, key: &K, now: Instant) -> Option<C> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop_idle(&mut kept, now);
        let at = kept.iter().position(|known| known.key == *key)?;
        let found = kept.remove(at)?;
        let client = found.client.clone();
        kept.push_back(Kept { used: now, ..found });
        Some(client)
    }
}

/// They are in the order of their last use.
fn drop_idle<K, C>(kept: &mut VecDeque<Kept<K, C>>, now: Instant) {
    while kept.front().is_some_and(|oldest| now.saturating_duration_since(oldest.used) >= CLIENT_IDLE_MAX) {
        kept.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    struct Fixture {
        cache: ClientCache<usize, &'static str>,
        now: Instant,
    }

    fn fixture() -> Fixture {
        Fixture { cache: ClientCache::default(), now: Instant::now() }
    }

    impl Fixture {
        fn get(&self, key: usize, built: &'static str) -> &'static str {
            let found = self.cache.get_or_build(key, self.now, || Ok::<_, Infallible>(built));
            found.unwrap_or_else(|never| match never {})
        }
    }

    #[test]
    fn a_client_is_kept_while_it_is_used_and_only_for_its_own_key() {
        let mut fixture = fixture();
        assert_eq!((fixture.get(1, "a"), fixture.get(1, "b"), fixture.get(2, "c")), ("a", "a", "c"));
        fixture.now += CLIENT_IDLE_MAX.saturating_sub(Duration::from_secs(1));
        assert_eq!(fixture.get(1, "d"), "a");
        fixture.now += Duration::from_secs(1);
        assert_eq!(
            (fixture.get(1, "d"), fixture.cache.len()),
            ("a", 1),
            "the other one was idle for too long"
        );
        fixture.now += CLIENT_IDLE_MAX;
        fixture.cache.sweep(fixture.now);
        assert!(fixture.cache.is_empty());
        assert_eq!(fixture.get(1, "d"), "d");
    }

    #[test]
    fn of_too_many_clients_the_one_that_was_used_longest_ago_goes() {
        let fixture = fixture();
        for key in 0..CLIENTS_MAX {
            fixture.get(key, "a");
        }
        fixture.get(0, "a");
        fixture.get(CLIENTS_MAX, "a");
        assert_eq!((fixture.cache.len(), fixture.get(0, "b"), fixture.get(1, "b")), (CLIENTS_MAX, "a", "b"));
    }

    #[test]
    fn a_client_that_cannot_be_built_is_not_kept() {
        let fixture = fixture();
        assert_eq!(fixture.cache.get_or_build(1, fixture.now, || Err("no")), Err("no"));
        assert!(fixture.cache.is_empty());
    }
}
