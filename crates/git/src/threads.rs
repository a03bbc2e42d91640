//! Blocking threads whose caller was dropped. A thread cannot be ended from outside: it checks its interrupt and ends by itself,
//! and keeps its slot until then. Here they are counted.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicUsize, Ordering},
};

const RUNNING: u8 = 0;
const LEFT: u8 = 1;
const ENDED: u8 = 2;

/// Number of blocking threads that continue after their caller was dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct AbandonedThreads(Arc<AtomicUsize>);

/// Held by the caller of a thread.
pub(crate) struct Waiting(Shared);

/// Held by the thread.
pub(crate) struct Running(Shared);

#[derive(Clone)]
struct Shared {
    count: AbandonedThreads,
    phase: Arc<AtomicU8>,
}

impl AbandonedThreads {
    /// The two ends of a thread that is about to start.
    pub(crate) fn watch(&self) -> (Waiting, Running) {
        let shared = Shared { count: self.clone(), phase: Arc::new(AtomicU8::new(RUNNING)) };
        (Waiting(shared.clone()), Running(shared))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0.phase.swap(LEFT, Ordering::AcqRel) == RUNNING {
            self.0.count.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.phase.swap(ENDED, Ordering::AcqRel) == LEFT {
            self.0.count.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_counts_from_when_its_waiter_leaves_until_it_ends() {
        let threads = AbandonedThreads::default();
        let (waiting, running) = threads.watch();
        let (awaited, done) = threads.watch();
        drop(done);
        drop(awaited);
        assert_eq!(threads.count(), 0, "it ended first");
        drop(waiting);
        assert_eq!(threads.count(), 1);
        drop(running);
        assert_eq!(threads.count(), 0);
    }
}
