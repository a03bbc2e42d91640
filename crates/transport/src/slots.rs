//! How many operations run at a time, shared fairly: a namespace holds half of the slots at most, so that one that waits for silent
//! servers leaves slots for the others, and a free slot goes to the namespace that has the fewest.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

/// A number of slots for operations that wait for a peer. Clones share them.
#[derive(Clone)]
pub struct Slots(Arc<Inner>);

struct Inner {
    max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    held: BTreeMap<Arc<str>, usize>,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    consumer: Arc<str>,
    grant: oneshot::Sender<Slot>,
}

/// A slot that a namespace holds until it is dropped.
pub struct Slot {
    slots: Slots,
    consumer: Arc<str>,
}

/// No slot became free in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "no slot was free within {} s: namespace '{namespace}' may have {max} of these operations at a time",
    .waited.as_secs()
)]
pub struct NoSlot {
    /// The namespace.
    pub namespace: String,
    /// How many it may have.
    pub max: usize,
    /// How long was waited.
    pub waited: Duration,
}

impl Slots {
    /// So many slots.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Inner { max, state: Mutex::default() }))
    }

    /// How many there are.
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// How many a namespace may hold: half, and one at least.
    pub fn consumer_max(&self) -> usize {
        (self.0.max / 2).max(1)
    }

    /// How many are held.
    pub fn used(&self) -> usize {
        self.state().used
    }

    /// Waits for a slot. Dropping the future leaves the queue.
    pub async fn acquire(&self, consumer: &str) -> Slot {
        loop {
            let (grant, granted) = oneshot::channel();
            self.state().waiting.push_back(Waiter { consumer: consumer.into(), grant });
            self.hand_out();
            if let Ok(slot) = granted.await {
                return slot;
            }
        }
    }

    /// Waits for a slot, no longer than `wait_max`.
    pub async fn acquire_within(&self, namespace: &str, wait_max: Duration) -> Result<Slot, NoSlot> {
        tokio::time::timeout(wait_max, self.acquire(namespace)).await.map_err(|_| NoSlot {
            namespace: namespace.to_owned(),
            max: self.consumer_max(),
            waited: wait_max,
        })
    }

    /// Assigns free slots: to the namespace that has the fewest first, then to the longest wait.
    fn hand_out(&self) {
        loop {
            let Some((waiter, slot)) = self.next() else { return };
            // A waiter that has left returns the slot, outside of the lock: dropping it assigns again.
            if let Err(unused) = waiter.grant.send(slot) {
                drop(unused);
            }
        }
    }

    fn next(&self) -> Option<(Waiter, Slot)> {
        let mut state = self.state();
        let State { used, held, waiting } = &mut *state;
        waiting.retain(|waiter| !waiter.grant.is_closed());
        if *used >= self.0.max {
            return None;
        }
        let holds = |waiter: &Waiter| held.get(&waiter.consumer).copied().unwrap_or_default();
        let (at, held_now) = waiting
            .iter()
            .map(holds)
            .enumerate()
            .min_by_key(|(at, held)| (*held, *at))
            .filter(|(_, held)| *held < self.consumer_max())?;
        let waiter = waiting.remove(at)?;
        *used += 1;
        held.insert(Arc::clone(&waiter.consumer), held_now + 1);
        let slot = Slot { slots: self.clone(), consumer: Arc::clone(&waiter.consumer) };
        Some((waiter, slot))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is whole before anything can panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut state = self.slots.state();
            state.used = state.used.saturating_sub(1);
            if let Some(held) = state.held.get_mut(&self.consumer) {
                *held = held.saturating_sub(1);
                if *held == 0 {
                    state.held.remove(&self.consumer);
                }
            }
        }
        self.slots.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// A slot if there is one at once.
    fn try_acquire(slots: &Slots, consumer: &str) -> Option<Slot> {
        slots.acquire(consumer).now_or_never()
    }

    #[test]
    fn a_namespace_uses_half_and_others_continue() {
        let slots = Slots::new(4);
        let hoard: Vec<_> = (0..4).filter_map(|_| try_acquire(&slots, "a")).collect();
        assert_eq!(hoard.len(), 2);
        let other = try_acquire(&slots, "b").expect("room for another namespace");
        drop(hoard);
        assert!(try_acquire(&slots, "a").is_some());
        drop(other);
        assert_eq!(slots.state().used, 0, "what is dropped returns");
        assert!(slots.state().held.is_empty());
    }

    #[tokio::test]
    async fn a_free_slot_goes_to_the_namespace_that_holds_the_fewest() {
        let slots = Slots::new(4);
        let mut held: Vec<_> =
            ["b", "b", "a", "c"].iter().filter_map(|who| try_acquire(&slots, who)).collect();
        let order = Arc::new(Mutex::new(Vec::new()));
        let waits: Vec<_> = ["b", "a", "d"]
            .into_iter()
            .map(|who| {
                let (slots, order) = (slots.clone(), Arc::clone(&order));
                tokio::spawn(async move {
                    let slot = slots.acquire(who).await;
                    order.lock().unwrap().push(who);
                    std::mem::forget(slot);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        for expected in [vec!["d"], vec!["d", "a"]] {
            held.pop();
            tokio::task::yield_now().await;
            assert_eq!(*order.lock().unwrap(), expected);
        }
        for wait in waits {
            wait.abort();
        }
    }

    #[test]
    fn a_waiter_that_left_the_queue_costs_no_slot() {
        let slots = Slots::new(2);
        let held = [try_acquire(&slots, "a"), try_acquire(&slots, "b")];
        assert!(try_acquire(&slots, "c").is_none());
        drop(held);
        let again = [try_acquire(&slots, "c"), try_acquire(&slots, "d")];
        assert!(again.iter().all(Option::is_some));
    }
}
