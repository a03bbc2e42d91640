//! The shares of the process's memory budget that this controller's inputs have. A share is bounded by itself, with half of
//! it for one namespace at most, and counts in the budget of the process as well.

use plumb_memory::{Limit, MemoryPool, MemoryReservation, OverBudget};

use crate::server::BodyAccount;

/// Shares in percent of the process's budget. What is left is for the objects that watches hold.
const NOTIFICATIONS_PERCENT: u64 = 40;
const BODIES_PERCENT: u64 = 25;
const PATTERNS_PERCENT: u64 = 20;

/// The shares.
#[derive(Debug, Clone)]
pub struct Budget {
    /// For notifications that wait.
    pub notifications: Share,
    /// For bodies of requests to both servers, and the events in them until they are matched.
    pub bodies: Share,
    /// For compiled patterns of Alerts.
    pub patterns: Share,
}

/// A part of the process's budget. Clones share it.
#[derive(Debug, Clone)]
pub struct Share {
    own: MemoryPool,
    process: MemoryPool,
}

/// Bytes that are held in a share. They return when it is dropped.
#[derive(Debug)]
pub struct Held {
    own: MemoryReservation,
    process: MemoryReservation,
}

impl Budget {
    /// The shares of this pool.
    pub fn of(process: &MemoryPool) -> Self {
        let share = |percent| Share {
            own: MemoryPool::new(process.usage().bytes_max / 100 * percent),
            process: process.clone(),
        };
        Self {
            notifications: share(NOTIFICATIONS_PERCENT),
            bodies: share(BODIES_PERCENT),
            patterns: share(PATTERNS_PERCENT),
        }
    }
}

impl Share {
    /// The beginning of an operation for a namespace (or whoever else has a part of the share): nothing is held yet.
    pub fn hold(&self, consumer: &str, limit: Limit) -> Held {
        Held {
            own: self.own.reservation(consumer, limit),
            process: self.process.reservation(consumer, limit),
        }
    }

    /// Bytes held now.
    #[cfg(test)]
    pub fn held(&self) -> u64 {
        self.own.usage().reserved
    }
}

impl BodyAccount for Held {
    fn try_grow(&mut self, bytes: u64) -> bool {
        Self::try_grow(self, bytes).is_ok()
    }
}

impl Held {
    /// Holds more bytes, before they are allocated. On an error nothing changes.
    pub fn try_grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        self.own.try_grow(bytes)?;
        self.process.try_grow(bytes).inspect_err(|_| self.own.shrink(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { name: "test", bytes_max: 1 << 30 };

    #[test]
    fn a_share_that_is_full_leaves_the_others_their_own() {
        let process = MemoryPool::new(100 << 20);
        let budget = Budget::of(&process);
        let mut held = Vec::new();
        for namespace in ["a", "b"] {
            let mut patterns = budget.patterns.hold(namespace, LIMIT);
            patterns.try_grow(10 << 20).expect("half of the share");
            assert!(patterns.try_grow(1).is_err(), "more than half");
            held.push(patterns);
        }
        assert!(budget.patterns.hold("c", LIMIT).try_grow(1).is_err(), "full");
        budget.bodies.hold("c", LIMIT).try_grow(10 << 20).expect("another share");
        assert_eq!(process.usage().reserved, 20 << 20);
        drop(held);
        assert_eq!((process.usage().reserved, budget.patterns.held()), (0, 0));
    }
}
