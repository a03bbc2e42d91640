//! Which groups of objects are watched now: a bounded number in one wait and in the whole process. A group whose objects
//! are healthy frees its slot for the next one; where none is, the one that was watched longest does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{AbortHandle, BoxStream, SelectAll};
use futures_util::{StreamExt, stream};
use plumb_cluster::{Budget, Cluster};
use plumb_manifests::ObjectId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{Group, Sighting, Waiting};

/// How many watches one wait has at a time; each is a connection.
pub const WATCHES_MAX: usize = 64;
/// How long a group is watched before it frees its slot for one that waits.
const ROTATION: Duration = Duration::from_secs(15);

/// The groups of one wait.
pub(super) struct Window {
    cluster: Cluster,
    budget: Budget,
    slots: Arc<Semaphore>,
    waiting: VecDeque<Group>,
    watched: VecDeque<Watched>,
    events: SelectAll<BoxStream<'static, Sighting>>,
    rotates: Instant,
}

struct Watched {
    group: Group,
    ids: Vec<ObjectId>,
    stop: AbortHandle,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.abort();
    }
}

impl Window {
    pub(super) fn new(cluster: &Cluster, budget: &Budget, groups: Vec<Group>) -> Self {
        let mut window = Self {
            cluster: cluster.clone(),
            budget: budget.clone(),
            slots: Arc::clone(cluster.watch_slots()),
            waiting: groups.into(),
            watched: VecDeque::new(),
            events: SelectAll::new(),
            rotates: Instant::now() + ROTATION,
        };
        window.fill();
        window
    }

    /// What a watch shows next. Never resolves where there is none.
    pub(super) async fn next(&mut self, verdicts: &Waiting) -> Sighting {
        loop {
            let rotates = !self.waiting.is_empty();
            tokio::select! {
                Some(event) = self.events.next() => return event,
                () = tokio::time::sleep_until(self.rotates), if rotates => self.rotate(verdicts),
                else => std::future::pending().await,
            }
        }
    }

    /// Groups whose objects are all healthy free their slots, where others wait.
    pub(super) fn make_room(&mut self, verdicts: &Waiting) {
        if self.waiting.is_empty() {
            return;
        }
        self.watched.retain(|watched| !verdicts.are_current(&watched.ids));
        self.fill();
    }

    fn rotate(&mut self, verdicts: &Waiting) {
        self.rotates = Instant::now() + ROTATION;
        self.make_room(verdicts);
        // As many as wait: each of them is watched before a group is watched a second time.
        for _ in 0..self.waiting.len().min(self.watched.len()) {
            if let Some(longest) = self.watched.pop_front() {
                self.waiting.push_back(longest.group.clone());
            }
        }
        self.fill();
    }

    fn fill(&mut self) {
        while self.watched.len() < WATCHES_MAX {
            let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
            // The first one needs no slot: no wait is blocked because others use up the cluster's slots.
            if slot.is_none() && !self.watched.is_empty() {
                return;
            }
            let Some(group) = self.waiting.pop_front() else { return };
            let events = group.clone().watch(self.cluster.clone(), self.budget.clone());
            let (events, stop) = stream::abortable(events);
            self.events.push(events.boxed());
            self.watched.push_back(Watched { ids: group.ids(), group, stop, _slot: slot });
        }
    }
}
