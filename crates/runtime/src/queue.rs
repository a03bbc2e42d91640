//! The work queue: which object is visited next. A key runs at most once at a time, the more urgent goes first, and
//! no key is ever lost: what arrives while it runs is kept until after. What a visit does never enters.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plumb_status::cadence::Backoff;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Key;

/// How urgent a visit is; later variants go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Something to write that moves nothing but a revision.
    Bookkeeping,
    /// The interval has passed, or a retry is due.
    Interval,
    /// There is something new: a revision, a generation.
    Revision,
    /// Someone asked for it.
    Forced,
    /// The object is to be torn down.
    Deletion,
}

/// A queue of keys. Clones share it.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: Notify,
    backoff: Backoff,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    /// What may run now: the most urgent first, then first come, first served.
    ready: BTreeSet<(Reverse<Priority>, u64, Key)>,
    /// What may run later.
    timers: BTreeSet<(Instant, Key)>,
    arrivals: u64,
}

#[derive(Default)]
struct Entry {
    /// Waiting for a worker, or, while running, to be run again.
    waiting: Option<(Priority, u64)>,
    due: Option<(Instant, Priority)>,
    running: Option<Running>,
    failures: u32,
}

#[derive(Clone)]
struct Running {
    superseded: CancellationToken,
    by: Arc<Mutex<Option<String>>>,
}

/// A key that was taken out to be visited. It must be given back with [`Queue::done`].
#[derive(Clone)]
pub struct Taken {
    /// The key.
    pub key: Key,
    /// How urgent it was.
    pub priority: Priority,
    /// How often the visits before this one failed in a row.
    pub failures: u32,
    running: Running,
}

/// When a key that was visited is visited again, if nothing else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// At once.
    Now,
    /// After this time.
    After(Duration),
    /// After this time, and it failed: failures are counted on.
    FailedAfter(Duration),
    /// It failed: later and later.
    Backoff {
        /// The chance in the wait.
        seed: u64,
    },
    /// Only when something happens.
    Never,
    /// The object is gone: its failures are forgotten too.
    Forget,
}

impl Queue {
    /// An empty queue.
    pub fn new(backoff: Backoff) -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), changed: Notify::new(), backoff }))
    }

    /// The key is to be visited now. If it waits already, the higher priority holds; if it runs, it runs again after.
    pub fn add(&self, key: &Key, priority: Priority) {
        self.state().wait(key, priority);
        self.0.changed.notify_one();
    }

    /// The key is to be visited after this time; if it was to be visited sooner, that holds.
    pub fn add_after(&self, key: &Key, delay: Duration, priority: Priority) {
        self.state().schedule(key, Instant::now() + delay, priority);
        self.0.changed.notify_one();
    }

    /// Like [`Queue::add`]; a visit that runs is told that something newer makes it pointless.
    pub fn supersede(&self, key: &Key, priority: Priority, by: impl Into<String>) {
        let running = {
            let mut state = self.state();
            state.wait(key, priority);
            state.entries.get(key).and_then(|entry| entry.running.clone())
        };
        if let Some(running) = running {
            running.stop(by.into());
        }
        self.0.changed.notify_one();
    }

    /// Tells every visit that runs to stop.
    pub fn stop_all(&self, by: &str) {
        let running: Vec<_> =
            self.state().entries.values().filter_map(|entry| entry.running.clone()).collect();
        for visit in running {
            visit.stop(by.to_owned());
        }
    }

    /// Whether a visit of this key runs.
    pub fn is_running(&self, key: &Key) -> bool {
        self.state().entries.get(key).is_some_and(|entry| entry.running.is_some())
    }

    /// How many keys wait for a worker.
    pub fn depth(&self) -> usize {
        self.state().ready.len()
    }

    /// The next key, as soon as there is one. For one caller at a time.
    pub async fn next(&self) -> Taken {
        loop {
            let changed = self.0.changed.notified();
            let wake = {
                let mut state = self.state();
                state.ripen(Instant::now());
                if let Some(taken) = state.take() {
                    return taken;
                }
                state.timers.first().map(|(due, _)| *due)
            };
            match wake {
                Some(due) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Gives a key back after its visit.
    pub fn done(&self, taken: &Taken, again: Again) {
        self.state().finish(taken, again, self.0.backoff);
        self.0.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Resolves when something newer makes the visit pointless.
    pub async fn superseded(&self) -> String {
        self.running.superseded.cancelled().await;
        self.running.by.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Cancelled when something newer makes the visit pointless.
    pub fn token(&self) -> CancellationToken {
        self.running.superseded.clone()
    }

    /// By whom the visit was made pointless; empty if it was not.
    pub fn superseded_by(&self) -> String {
        self.running.by.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Whether something newer makes the visit pointless.
    pub fn is_superseded(&self) -> bool {
        self.running.superseded.is_cancelled()
    }
}

impl Running {
    fn stop(&self, by: String) {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(by);
        self.superseded.cancel();
    }
}

impl State {
    fn wait(&mut self, key: &Key, priority: Priority) {
        let entry = self.entries.entry(key.clone()).or_default();
        if let Some((due, _)) = entry.due.take() {
            self.timers.remove(&(due, key.clone()));
        }
        let arrival = match entry.waiting {
            Some((waiting, _)) if waiting >= priority => return,
            Some((waiting, arrival)) => {
                self.ready.remove(&(Reverse(waiting), arrival, key.clone()));
                arrival
            }
            None => {
                self.arrivals += 1;
                self.arrivals
            }
        };
        entry.waiting = Some((priority, arrival));
        if entry.running.is_none() {
            self.ready.insert((Reverse(priority), arrival, key.clone()));
        }
    }

    fn schedule(&mut self, key: &Key, due: Instant, priority: Priority) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.waiting.is_some() {
            return;
        }
        match entry.due {
            Some((sooner, _)) if sooner <= due => return,
            Some((later, _)) => {
                self.timers.remove(&(later, key.clone()));
            }
            None => {}
        }
        entry.due = Some((due, priority));
        self.timers.insert((due, key.clone()));
    }

    fn ripen(&mut self, now: Instant) {
        while let Some((due, key)) = self.timers.first().cloned() {
            if due > now {
                return;
            }
            self.timers.pop_first();
            let due = self.entries.get_mut(&key).and_then(|entry| entry.due.take());
            if let Some((_, priority)) = due {
                self.wait(&key, priority);
            }
        }
    }

    fn take(&mut self) -> Option<Taken> {
        let (Reverse(priority), _, key) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        let running = Running { superseded: CancellationToken::new(), by: Arc::default() };
        entry.waiting = None;
        entry.running = Some(running.clone());
        Some(Taken { priority, failures: entry.failures, running, key })
    }

    fn finish(&mut self, taken: &Taken, again: Again, backoff: Backoff) {
        let key = &taken.key;
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.running = None;
        match again {
            Again::FailedAfter(_) | Again::Backoff { .. } => {
                entry.failures = entry.failures.saturating_add(1);
            }
            Again::Now => {}
            Again::After(_) | Again::Never | Again::Forget => entry.failures = 0,
        }
        let failures = entry.failures;
        if let Some((priority, arrival)) = entry.waiting {
            self.ready.insert((Reverse(priority), arrival, key.clone()));
            return;
        }
        match again {
            Again::Now => self.wait(key, taken.priority),
            Again::After(delay) | Again::FailedAfter(delay) => {
                self.schedule(key, Instant::now() + delay, Priority::Interval);
            }
            Again::Backoff { seed } => {
                self.schedule(key, Instant::now() + backoff.after(failures, seed), Priority::Interval);
            }
            Again::Never | Again::Forget => {
                if self.entries.get(key).is_some_and(|entry| entry.due.is_none()) {
                    self.entries.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
