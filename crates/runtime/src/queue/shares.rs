//! Which namespace is served next: each has its turn, none holds every worker, none fills the room for parked visits.
//! Timers, and what a visit does, never enter.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use plumb_cluster::NamespacedName;
use tokio::sync::oneshot;

use super::Priority;

/// Every so many visits the namespace that waits longest is served, whatever the priorities of the others.
const FAIR_TURN: u64 = 4;
/// How many parked visits one namespace has before no further visit of it starts.
pub(crate) const PARKED_PER_NAMESPACE_MAX: usize = 256;
/// How many parked visits there are before only namespaces without one start further visits.
pub(crate) const PARKED_SHARED_MAX: usize = 1024;
/// How many parked visits there are before no further visit starts.
pub(crate) const PARKED_MAX: usize = 2 * PARKED_SHARED_MAX;
/// How many workers beside the configured ones serve other namespaces while one namespace holds all of those. Not with
/// a single worker: whoever configures that wants one visit at a time.
const RESERVE: usize = 1;

/// What a visit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Holds {
    /// It does not run.
    #[default]
    Nothing,
    /// A worker.
    Worker,
    /// A place among those that wait for a peer without a worker.
    Parking,
}

/// Who gets a worker.
pub(super) enum Grant {
    /// A key, with its priority.
    Start(Priority, NamespacedName),
    /// A visit that was parked; it waits for this.
    Resume(NamespacedName, oneshot::Sender<()>),
}

/// Whom a worker is free for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Free {
    All,
    /// Namespaces that hold no worker.
    Others,
    Nobody,
}

impl Free {
    fn is_for(self, share: &Share) -> bool {
        match self {
            Self::All => true,
            Self::Others => share.workers == 0,
            Self::Nobody => false,
        }
    }
}

/// The shares of all namespaces that have something to do.
#[derive(Default)]
pub(super) struct Shares {
    namespaces: BTreeMap<String, Share>,
    /// Grows with every visit, and with every namespace that comes to wait.
    turn: u64,
    visits: u64,
    workers: usize,
    parked: usize,
}

#[derive(Default)]
struct Share {
    /// The most urgent first, then first come, first served.
    ready: BTreeSet<(Reverse<Priority>, u64, NamespacedName)>,
    /// Visits that were parked and wait for a worker; at most one for each parked visit.
    resuming: VecDeque<(NamespacedName, oneshot::Sender<()>)>,
    /// The turn when it was served last, or came to wait.
    served: u64,
    workers: usize,
    parked: usize,
}

impl Shares {
    /// A key may run.
    pub(super) fn insert(&mut self, key: &NamespacedName, priority: Priority, arrival: u64) {
        self.share(&key.namespace).ready.insert((Reverse(priority), arrival, key.clone()));
    }

    /// A key may not run any more.
    pub(super) fn remove(&mut self, key: &NamespacedName, priority: Priority, arrival: u64) {
        self.share(&key.namespace).ready.remove(&(Reverse(priority), arrival, key.clone()));
        self.tidy(&key.namespace);
    }

    /// A parked visit waits for a worker.
    pub(super) fn resume(&mut self, key: &NamespacedName, granted: oneshot::Sender<()>) {
        self.share(&key.namespace).resuming.push_back((key.clone(), granted));
    }

    /// How many keys may run.
    pub(super) fn depth(&self) -> usize {
        self.namespaces.values().map(|share| share.ready.len()).sum()
    }

    /// How many visits hold a worker.
    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// How many visits are parked.
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Whose turn it is, if one of so many workers is free for it.
    pub(super) fn take(&mut self, workers: usize) -> Option<Grant> {
        loop {
            let name = self.turn_of(workers)?;
            let share = self.namespaces.get_mut(&name)?;
            let resumed = share.resuming.pop_front();
            if resumed.as_ref().is_some_and(|(_, granted)| granted.is_closed()) {
                // That visit has ended meanwhile.
                self.tidy(&name);
                continue;
            }
            self.visits += 1;
            self.turn += 1;
            share.served = self.turn;
            if let Some((key, granted)) = resumed {
                return Some(Grant::Resume(key, granted));
            }
            let (Reverse(priority), _, key) = share.ready.pop_first()?;
            return Some(Grant::Start(priority, key));
        }
    }

    /// The namespace that is served next.
    fn turn_of(&self, workers: usize) -> Option<String> {
        let fair = self.visits % FAIR_TURN == FAIR_TURN - 1;
        let last = self.workers > 0 && self.workers.saturating_add(1) == workers;
        let free = self.free_for(workers);
        if free == Free::Nobody {
            return None;
        }
        let waiting = self.namespaces.iter().filter_map(|(name, share)| {
            let urgent = self.most_urgent(share)?;
            free.is_for(share).then(|| {
                // The last worker goes to the namespace that holds all others only if nobody else waits.
                let holds_others = last && share.workers == self.workers;
                (holds_others, (!fair).then_some(Reverse(urgent)), share.served, name)
            })
        });
        waiting.min().map(|(.., name)| name.clone())
    }

    /// The priority of what a namespace waits with; none if it waits with nothing that may run.
    fn most_urgent(&self, share: &Share) -> Option<Priority> {
        let room = share.parked < PARKED_PER_NAMESPACE_MAX
            && (self.parked < PARKED_SHARED_MAX || (share.parked == 0 && self.parked < PARKED_MAX));
        let ready = share.ready.first().filter(|_| room).map(|(Reverse(priority), ..)| *priority);
        let resuming = (!share.resuming.is_empty()).then_some(Priority::Revision);
        ready.max(resuming)
    }

    /// For which namespaces a worker is free. Computed once per turn, so that a turn is linear in their number.
    fn free_for(&self, workers: usize) -> Free {
        if self.workers < workers {
            return Free::All;
        }
        let reserve = workers > 1 && self.workers < workers.saturating_add(RESERVE);
        let one_holds_all = || self.namespaces.values().any(|other| other.workers == self.workers);
        if reserve && one_holds_all() { Free::Others } else { Free::Nobody }
    }

    /// A visit of this namespace holds something else than before.
    pub(super) fn hold(&mut self, namespace: &str, before: Holds, now: Holds) {
        let count = |holds: Holds, one: Holds| usize::from(holds == one);
        let moved = |held: usize, what: Holds| (held + count(now, what)).saturating_sub(count(before, what));
        let share = self.share(namespace);
        share.workers = moved(share.workers, Holds::Worker);
        share.parked = moved(share.parked, Holds::Parking);
        self.workers = moved(self.workers, Holds::Worker);
        self.parked = moved(self.parked, Holds::Parking);
        self.tidy(namespace);
    }

    /// The share of a namespace. One that comes to wait takes its place behind those that wait already.
    fn share(&mut self, namespace: &str) -> &mut Share {
        if !self.namespaces.contains_key(namespace) {
            self.turn += 1;
            let share = Share { served: self.turn, ..Share::default() };
            self.namespaces.insert(namespace.to_owned(), share);
        }
        self.namespaces.entry(namespace.to_owned()).or_default()
    }

    /// A namespace with nothing to do leaves no trace.
    fn tidy(&mut self, namespace: &str) {
        let idle = |share: &Share| {
            share.ready.is_empty() && share.resuming.is_empty() && share.workers == 0 && share.parked == 0
        };
        if self.namespaces.get(namespace).is_some_and(idle) {
            self.namespaces.remove(namespace);
        }
    }
}
