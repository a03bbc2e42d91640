//! The pool and its reservations. Three bounds hold at once: of one operation (its [`Limit`]), of one consumer (a
//! namespace: half of the pool, so that no tenant takes all of it), and of the process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A reservation takes from the pool in steps of this size, so that many small growths do not contend for its lock.
const STEP_BYTES: u64 = 64 << 10;

/// The memory that input may claim in this process, in bytes. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reserved: u64,
    peak: u64,
    rejections: u64,
    consumers: BTreeMap<Arc<str>, u64>,
}

/// What one operation may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is limited, as an error names it: `"files of an artifact"`.
    pub name: &'static str,
    /// At most this many bytes.
    pub bytes_max: u64,
}

/// Bytes that one operation holds. They return to the pool when it is dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    pool: MemoryPool,
    consumer: Arc<str>,
    limit: Limit,
    used: u64,
    taken: u64,
}

/// Figures of a pool for its metrics, in bytes and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The size of the pool.
    pub bytes_max: u64,
    /// Reserved now.
    pub reserved: u64,
    /// The most that was ever reserved at a time.
    pub peak: u64,
    /// How many growths were rejected.
    pub rejections: u64,
}

/// Why bytes were not reserved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// The operation is larger than any may be; trying again does not help.
    #[error("{limit} exceed the limit of {bytes_max} bytes")]
    Operation {
        /// The name of the limit.
        limit: &'static str,
        /// The limit.
        bytes_max: u64,
    },
    /// Other operations of the same namespace hold its share.
    #[error(
        "{limit}: namespace {consumer:?} holds its share of the memory budget ({bytes_max} bytes; --memory-budget)"
    )]
    Consumer {
        /// The name of the operation's limit.
        limit: &'static str,
        /// The namespace.
        consumer: String,
        /// Its share.
        bytes_max: u64,
    },
    /// The process holds all that it may.
    #[error("{limit}: the memory budget of {bytes_max} bytes is in use (--memory-budget)")]
    Pool {
        /// The name of the operation's limit.
        limit: &'static str,
        /// The size of the pool.
        bytes_max: u64,
    },
}

impl OverBudget {
    /// Whether the same operation may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Operation { .. } => false,
            Self::Consumer { .. } | Self::Pool { .. } => true,
        }
    }
}

impl MemoryPool {
    /// A pool of this many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self(Arc::new(Inner { bytes_max, state: Mutex::default() }))
    }

    /// The beginning of an operation of a consumer: nothing is reserved yet. `consumer` is the namespace of the object
    /// that the operation works for.
    pub fn reservation(&self, consumer: &str, limit: Limit) -> MemoryReservation {
        MemoryReservation { pool: self.clone(), consumer: consumer.into(), limit, used: 0, taken: 0 }
    }

    /// Figures for metrics.
    pub fn usage(&self) -> Usage {
        let state = self.state();
        Usage {
            bytes_max: self.0.bytes_max,
            reserved: state.reserved,
            peak: state.peak,
            rejections: state.rejections,
        }
    }

    /// What one consumer may hold: half of the pool.
    pub fn consumer_bytes_max(&self) -> u64 {
        self.0.bytes_max / 2
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, consumer: &Arc<str>, limit: Limit, bytes: u64) -> Result<(), OverBudget> {
        let mut state = self.state();
        let held = state.consumers.get(consumer).copied().unwrap_or_default();
        let bytes_max = self.0.bytes_max;
        let rejected = if state.reserved.saturating_add(bytes) > bytes_max {
            Some(OverBudget::Pool { limit: limit.name, bytes_max })
        } else if held.saturating_add(bytes) > self.consumer_bytes_max() {
            let (consumer, bytes_max) = (consumer.to_string(), self.consumer_bytes_max());
            Some(OverBudget::Consumer { limit: limit.name, consumer, bytes_max })
        } else {
            None
        };
        if let Some(rejected) = rejected {
            return Err(rejected);
        }
        state.reserved += bytes;
        state.peak = state.peak.max(state.reserved);
        *state.consumers.entry(Arc::clone(consumer)).or_default() += bytes;
        Ok(())
    }

    fn give_back(&self, consumer: &Arc<str>, bytes: u64) {
        let mut state = self.state();
        state.reserved = state.reserved.saturating_sub(bytes);
        if let Some(held) = state.consumers.get_mut(consumer) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                state.consumers.remove(consumer);
            }
        }
    }
}

impl MemoryReservation {
    /// Reserves more bytes, before they are allocated. On an error nothing changes.
    pub fn try_grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        let grown = self.grow(bytes);
        if grown.is_err() {
            self.pool.state().rejections += 1;
        }
        grown
    }

    fn grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        let used = self.used.saturating_add(bytes);
        if used > self.limit.bytes_max {
            return Err(OverBudget::Operation { limit: self.limit.name, bytes_max: self.limit.bytes_max });
        }
        if used > self.taken {
            let missing = used - self.taken;
            // A whole step where it fits; exactly what is missing where the pool is nearly full.
            let step = missing.max(STEP_BYTES.min(self.limit.bytes_max - self.taken));
            match self.pool.take(&self.consumer, self.limit, step) {
                Ok(()) => self.taken += step,
                Err(_) if step > missing => {
                    self.pool.take(&self.consumer, self.limit, missing)?;
                    self.taken += missing;
                }
                Err(rejected) => return Err(rejected),
            }
        }
        self.used = used;
        Ok(())
    }

    /// Gives bytes back that are no longer held.
    pub fn shrink(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        let keep = self.used.saturating_add(STEP_BYTES);
        if self.taken > keep {
            self.pool.give_back(&self.consumer, self.taken - keep);
            self.taken = keep;
        }
    }

    /// The bytes that the operation has reserved.
    pub fn bytes(&self) -> u64 {
        self.used
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.pool.give_back(&self.consumer, self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: Limit = Limit { name: "files of an artifact", bytes_max: 600 << 10 };
    const KIB: u64 = 1 << 10;

    #[test]
    fn an_operation_over_its_own_limit_is_rejected_for_good_and_keeps_what_it_had() {
        let pool = MemoryPool::new(1 << 30);
        let mut files = pool.reservation("team-a", FILES);
        files.try_grow(600 * KIB).expect("within the limit");
        let rejected = files.try_grow(1).expect_err("over the limit");
        assert_eq!(rejected.to_string(), "files of an artifact exceed the limit of 614400 bytes");
        assert!(!rejected.is_transient());
        assert_eq!((files.bytes(), pool.usage().reserved), (600 * KIB, 600 * KIB));
    }

    #[test]
    fn a_namespace_uses_half_at_most_and_others_continue() {
        let pool = MemoryPool::new(1000 * KIB);
        let mut hoard = pool.reservation("team-a", FILES);
        hoard.try_grow(500 * KIB).expect("half");
        let rejected = pool.reservation("team-a", FILES).try_grow(1).expect_err("over the share");
        assert!(matches!(rejected, OverBudget::Consumer { .. }), "{rejected}");
        assert!(rejected.to_string().contains("--memory-budget"), "{rejected}");
        assert!(rejected.is_transient());
        pool.reservation("team-b", FILES).try_grow(400 * KIB).expect("another namespace has room");
    }

    #[test]
    fn a_full_pool_rejects_until_bytes_return() {
        let pool = MemoryPool::new(1000 * KIB);
        let (mut a, mut b) = (pool.reservation("a", FILES), pool.reservation("b", FILES));
        a.try_grow(500 * KIB).expect("half");
        b.try_grow(500 * KIB).expect("the other half");
        let mut c = pool.reservation("c", FILES);
        let rejected = c.try_grow(1).expect_err("full");
        assert!(rejected.to_string().contains("--memory-budget"), "{rejected}");
        drop(a);
        c.try_grow(1).expect("room again");
        assert_eq!(pool.usage().rejections, 1);
    }

    #[test]
    fn what_is_dropped_or_shrunk_returns() {
        let pool = MemoryPool::new(10 << 20);
        let mut files = pool.reservation("a", Limit { name: "files", bytes_max: 5 << 20 });
        for _ in 0..1000 {
            files.try_grow(KIB).expect("fits");
        }
        files.shrink(900 * KIB);
        assert!(pool.usage().reserved <= 100 * KIB + STEP_BYTES, "{:?}", pool.usage());
        drop(files);
        assert_eq!(pool.usage().reserved, 0);
        assert!(pool.usage().peak >= 1000 * KIB);
    }
}
