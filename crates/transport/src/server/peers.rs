//! How many connections each address has: one that opens many leaves places for the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections by address. Only read by key, never iterated. Clones share it.
#[derive(Clone)]
pub struct Peers {
    connections_max: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection of an address, until it is dropped.
pub struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    /// At most this many connections for each address.
    pub fn new(connections_max: usize) -> Self {
        Self { connections_max, counts: Arc::default() }
    }

    /// One more connection of this address, where it may have one.
    pub fn enter(&self, peer: IpAddr) -> Option<Place> {
        let mut counts = self.counts();
        let count = counts.entry(peer).or_default();
        if *count >= self.connections_max {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), peer })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_leaves_nothing_behind() {
        let peers = Peers::new(2);
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let places = [peers.enter(one), peers.enter(one), peers.enter(other)];
        assert!(places.iter().all(Option::is_some));
        assert!(peers.enter(one).is_none());
        assert!(peers.enter(other).is_some());
        drop(places);
        assert!(peers.enter(one).is_some());
        assert!(peers.counts().is_empty());
    }
}
