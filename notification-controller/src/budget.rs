//! The shares of the process's memory budget that this controller's inputs have. A share is bounded by itself, with half of
//! it for one namespace at most, and counts in the budget of the process as well.

use plumb_memory::{Limit, MemoryPool, MemoryReservation, OverBudget};

/// Share in percent of the process's budget.
const NOTIFICATIONS_PERCENT: u64 = 40;

/// The shares.
#[derive(Debug, Clone)]
pub struct Budget {
    /// For notifications that wait.
    pub notifications: Share,
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
        Self { notifications: share(NOTIFICATIONS_PERCENT) }
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
    fn a_share_is_bounded_by_itself_and_counts_in_the_process() {
        let process = MemoryPool::new(100 << 20);
        let budget = Budget::of(&process);
        let mut held = Vec::new();
        for namespace in ["a", "b"] {
            let mut part = budget.notifications.hold(namespace, LIMIT);
            part.try_grow(20 << 20).expect("half of the share");
            assert!(part.try_grow(1).is_err(), "more than half");
            held.push(part);
        }
        assert!(budget.notifications.hold("c", LIMIT).try_grow(1).is_err(), "full");
        assert_eq!(process.usage().reserved, 40 << 20);
        drop(held);
        assert_eq!((process.usage().reserved, budget.notifications.held()), (0, 0));
    }
}
