//! The work queue: which object is visited next. A key runs at most once at a time, namespaces take turns, the more
//! urgent goes first, and no key is ever lost: what arrives while it runs is kept until after. The interval of a key
//! is kept through visits that come for other reasons. What a visit does never enters.

mod shares;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plumb_cluster::NamespacedName;
use plumb_status::cadence::Backoff;
use shares::{Grant, Holds, Shares};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How urgent a visit is; later variants go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Something to write that moves nothing but a revision.
    Bookkeeping,
    /// The interval has passed, or a retry is due.
    Interval,
    /// There is something new: a revision, a generation.
    Revision,
    /// It was requested.
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
    entries: BTreeMap<NamespacedName, Entry>,
    /// What may run now, and what runs.
    shares: Shares,
    /// What may run later.
    timers: BTreeSet<(Instant, NamespacedName, Timer)>,
    arrivals: u64,
}

/// Why a key is visited later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A retry, or a wait for something. Any visit ends it.
    Due,
    /// The interval. Only a visit that ends well after it has passed ends it.
    Interval,
}

#[derive(Default)]
struct Entry {
    /// Waiting for a worker, or, while running, to be run again.
    waiting: Option<(Priority, u64)>,
    due: Option<(Instant, Priority)>,
    /// When the interval has passed.
    interval: Option<Instant>,
    running: Option<Running>,
    holds: Holds,
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
    pub key: NamespacedName,
    /// How urgent it was.
    pub priority: Priority,
    /// How often the visits before this one failed in a row.
    pub failures: u32,
    /// Whether the interval has passed, whatever the priority says.
    pub interval_due: bool,
    running: Running,
}

/// When a key that was visited is visited again, if nothing else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// At once.
    Now,
    /// After the interval, which begins anew only if it had passed before this visit.
    Interval(Duration),
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
    pub fn add(&self, key: &NamespacedName, priority: Priority) {
        self.state().wait(key, priority);
        self.0.changed.notify_one();
    }

    /// The key is to be visited after this time; if it was to be visited sooner, that holds.
    pub fn add_after(&self, key: &NamespacedName, delay: Duration, priority: Priority) {
        self.state().schedule(key, Instant::now() + delay, priority);
        self.0.changed.notify_one();
    }

    /// Like [`Queue::add`]; a visit that runs is notified that something newer makes it pointless.
    pub fn supersede(&self, key: &NamespacedName, priority: Priority, by: impl Into<String>) {
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
    pub fn is_running(&self, key: &NamespacedName) -> bool {
        self.state().entries.get(key).is_some_and(|entry| entry.running.is_some())
    }

    /// How many keys wait for a worker.
    pub fn depth(&self) -> usize {
        self.state().shares.depth()
    }

    /// How many visits hold a worker.
    pub fn active(&self) -> usize {
        self.state().shares.workers()
    }

    /// How many visits wait for a peer without a worker.
    pub fn parked(&self) -> usize {
        self.state().shares.parked()
    }

    /// The next key, as soon as there is one. For one caller at a time.
    pub async fn next(&self) -> Taken {
        self.next_within(usize::MAX).await
    }

    /// The next key, as soon as there is one and one of so many workers is free for its namespace. For one caller at a
    /// time.
    pub async fn next_within(&self, workers: usize) -> Taken {
        loop {
            let changed = self.0.changed.notified();
            let wake = {
                let mut state = self.state();
                let now = Instant::now();
                state.ripen(now);
                if let Some(taken) = state.take(workers, now) {
                    return taken;
                }
                state.timers.first().map(|(due, ..)| *due)
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

    /// Gives the worker of a visit back; the visit goes on.
    pub fn park(&self, taken: &Taken) {
        self.state().hold(&taken.key, Holds::Parking);
        self.0.changed.notify_one();
    }

    /// Takes a worker again for a visit that was parked, before its namespace starts a further visit. Resolves at once where
    /// something newer makes the visit pointless: all that is left to it is to end.
    pub async fn resume(&self, taken: &Taken) {
        let (granted, grant) = oneshot::channel();
        self.state().shares.resume(&taken.key, granted);
        self.0.changed.notify_one();
        tokio::select! {
            biased;
            // The sender is dropped only by sending.
            _ = grant => {}
            _ = taken.superseded() => {}
        }
    }

    /// Visits that failed and wait to be made again are made now: what they failed for may be over. Their failures are
    /// counted on. Returns how many keys there are.
    pub fn retry_failed(&self) -> usize {
        let mut state = self.state();
        let waits = |entry: &Entry| entry.failures > 0 && entry.due.is_some();
        let failed: Vec<NamespacedName> =
            state.entries.iter().filter(|(_, entry)| waits(entry)).map(|(key, _)| key.clone()).collect();
        for key in &failed {
            state.wait(key, Priority::Interval);
        }
        drop(state);
        self.0.changed.notify_one();
        failed.len()
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
    fn wait(&mut self, key: &NamespacedName, priority: Priority) {
        let entry = self.entries.entry(key.clone()).or_default();
        if let Some((due, _)) = entry.due.take() {
            self.timers.remove(&(due, key.clone(), Timer::Due));
        }
        let arrival = match entry.waiting {
            Some((waiting, _)) if waiting >= priority => return,
            Some((waiting, arrival)) => {
                self.shares.remove(key, waiting, arrival);
                arrival
            }
            None => {
                self.arrivals += 1;
                self.arrivals
            }
        };
        entry.waiting = Some((priority, arrival));
        if entry.running.is_none() {
            self.shares.insert(key, priority, arrival);
        }
    }

    fn schedule(&mut self, key: &NamespacedName, due: Instant, priority: Priority) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.waiting.is_some() {
            return;
        }
        match entry.due {
            Some((sooner, _)) if sooner <= due => return,
            Some((later, _)) => {
                self.timers.remove(&(later, key.clone(), Timer::Due));
            }
            None => {}
        }
        entry.due = Some((due, priority));
        self.timers.insert((due, key.clone(), Timer::Due));
    }

    /// When the interval has passed; none where it never does.
    fn set_interval(&mut self, key: &NamespacedName, at: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(before) = std::mem::replace(&mut entry.interval, at) {
            self.timers.remove(&(before, key.clone(), Timer::Interval));
        }
        if let Some(at) = at {
            self.timers.insert((at, key.clone(), Timer::Interval));
        }
    }

    fn ripen(&mut self, now: Instant) {
        while let Some((due, key, timer)) = self.timers.first().cloned() {
            if due > now {
                return;
            }
            self.timers.pop_first();
            match timer {
                Timer::Due => {
                    let due = self.entries.get_mut(&key).and_then(|entry| entry.due.take());
                    if let Some((_, priority)) = due {
                        self.wait(&key, priority);
                    }
                }
                Timer::Interval => self.wait(&key, Priority::Interval),
            }
        }
    }

    fn take(&mut self, workers: usize, now: Instant) -> Option<Taken> {
        let (priority, key) = loop {
            match self.shares.take(workers)? {
                Grant::Start(priority, key) => break (priority, key),
                Grant::Resume(key, granted) => {
                    self.hold(&key, Holds::Worker);
                    // A visit that ended in this moment gives the worker back when it is done.
                    let _ = granted.send(());
                }
            }
        };
        let entry = self.entries.get_mut(&key)?;
        let running = Running { superseded: CancellationToken::new(), by: Arc::default() };
        entry.waiting = None;
        entry.running = Some(running.clone());
        let interval_due = entry.interval.is_some_and(|at| at <= now);
        let failures = entry.failures;
        self.hold(&key, Holds::Worker);
        Some(Taken { key, priority, failures, interval_due, running })
    }

    fn hold(&mut self, key: &NamespacedName, now: Holds) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let before = std::mem::replace(&mut entry.holds, now);
        self.shares.hold(&key.namespace, before, now);
    }

    fn finish(&mut self, taken: &Taken, again: Again, backoff: Backoff) {
        let key = &taken.key;
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.running = None;
        let interval = entry.interval;
        match again {
            Again::FailedAfter(_) | Again::Backoff { .. } => {
                entry.failures = entry.failures.saturating_add(1);
            }
            Again::Now => {}
            Again::Interval(_) | Again::After(_) | Again::Never | Again::Forget => entry.failures = 0,
        }
        let (failures, waiting) = (entry.failures, entry.waiting);
        self.hold(key, Holds::Nothing);
        match again {
            Again::Interval(delay) => {
                let next = Instant::now() + delay;
                // One that passes while others visit the key stays as it is: else frequent changes would put it off
                // for ever.
                if taken.interval_due || interval.is_none_or(|at| at > next) {
                    self.set_interval(key, Some(next));
                }
            }
            Again::Never | Again::Forget => self.set_interval(key, None),
            Again::Now | Again::After(_) | Again::FailedAfter(_) | Again::Backoff { .. } => {}
        }
        if let Some((priority, arrival)) = waiting {
            self.shares.insert(key, priority, arrival);
            return;
        }
        match again {
            Again::Interval(_) => {}
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
