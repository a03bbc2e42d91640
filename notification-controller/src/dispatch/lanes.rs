//! What waits to be sent: a lane per Provider, so that one that hangs holds up only itself. The sending never enters.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// How many deliveries are under way at once.
pub const RUNNING_MAX: usize = 64;
/// How many deliveries to one Provider are under way at once.
pub const RUNNING_PER_LANE_MAX: usize = 4;
/// How many deliveries wait for one Provider; further ones are dropped.
pub const WAITING_PER_LANE_MAX: usize = 256;
/// How many bytes wait in all lanes together; further deliveries are dropped.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

/// A Provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for LaneId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

/// Deliveries that wait, in order, and how many are under way.
pub struct Lanes<T> {
    by_id: BTreeMap<LaneId, Lane<T>>,
    /// Lanes in which something waits, in the order in which they are served.
    turns: VecDeque<LaneId>,
    running: usize,
    waiting_bytes: usize,
}

struct Lane<T> {
    waiting: VecDeque<(T, usize)>,
    running: usize,
    queued: bool,
}

/// There is no room for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Too many wait for this Provider.
    Lane,
    /// Too many bytes wait in all.
    Bytes,
}

impl<T> Lanes<T> {
    /// Nothing waits.
    pub fn new() -> Self {
        Self { by_id: BTreeMap::new(), turns: VecDeque::new(), running: 0, waiting_bytes: 0 }
    }

    /// Puts a delivery of so many bytes at the end of a lane.
    pub fn offer(&mut self, id: &LaneId, item: T, bytes: usize) -> Result<(), Full> {
        if self.waiting_bytes + bytes > WAITING_BYTES_MAX {
            return Err(Full::Bytes);
        }
        let lane = self.by_id.entry(id.clone()).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            running: 0,
            queued: false,
        });
        if lane.waiting.len() >= WAITING_PER_LANE_MAX {
            return Err(Full::Lane);
        }
        lane.waiting.push_back((item, bytes));
        self.waiting_bytes += bytes;
        self.queue(id);
        Ok(())
    }

    /// The next delivery that may start, the lanes in turn. It is under way until [`done`](Self::done).
    pub fn start(&mut self) -> Option<(LaneId, T)> {
        if self.running >= RUNNING_MAX {
            return None;
        }
        let id = self.turns.pop_front()?;
        let lane = self.by_id.get_mut(&id)?;
        lane.queued = false;
        let (item, bytes) = lane.waiting.pop_front()?;
        lane.running += 1;
        self.running += 1;
        self.waiting_bytes -= bytes;
        self.queue(&id);
        Some((id, item))
    }

    /// A delivery of this lane is no longer under way.
    pub fn done(&mut self, id: &LaneId) {
        let Some(lane) = self.by_id.get_mut(id) else { return };
        lane.running -= 1;
        self.running -= 1;
        if lane.running == 0 && lane.waiting.is_empty() {
            self.by_id.remove(id);
        } else {
            self.queue(id);
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.by_id.values().map(|lane| lane.waiting.len()).sum()
    }

    /// Gives the lane a turn, where it can use one and has none yet.
    fn queue(&mut self, id: &LaneId) {
        let Some(lane) = self.by_id.get_mut(id) else { return };
        if !lane.queued && !lane.waiting.is_empty() && lane.running < RUNNING_PER_LANE_MAX {
            lane.queued = true;
            self.turns.push_back(id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str) -> LaneId {
        LaneId { namespace: "ns".into(), name: name.into() }
    }

    fn started(lanes: &mut Lanes<u32>) -> Vec<(String, u32)> {
        std::iter::from_fn(|| lanes.start()).map(|(id, item)| (id.name, item)).collect()
    }

    #[test]
    fn lanes_take_turns_and_none_holds_more_than_its_share() {
        let mut lanes = Lanes::new();
        for item in 0..6 {
            lanes.offer(&lane("hangs"), item, 1).unwrap();
        }
        lanes.offer(&lane("fine"), 9, 1).unwrap();
        let names: Vec<_> =
            started(&mut lanes).into_iter().map(|(name, item)| format!("{name}{item}")).collect();
        assert_eq!(names, ["hangs0", "fine9", "hangs1", "hangs2", "hangs3"]);
        lanes.done(&lane("fine"));
        assert_eq!(started(&mut lanes), []);
        lanes.done(&lane("hangs"));
        assert_eq!(started(&mut lanes), [("hangs".to_owned(), 4)]);
    }

    #[test]
    fn a_full_lane_refuses_and_the_others_do_not() {
        let mut lanes = Lanes::new();
        for item in 0..WAITING_PER_LANE_MAX {
            lanes.offer(&lane("a"), item, 1).unwrap();
        }
        assert_eq!(lanes.offer(&lane("a"), 0, 1), Err(Full::Lane));
        assert_eq!(lanes.offer(&lane("b"), 0, 1), Ok(()));
    }

    #[test]
    fn the_bytes_of_all_lanes_are_bounded() {
        let mut lanes = Lanes::new();
        lanes.offer(&lane("a"), 0, WAITING_BYTES_MAX).unwrap();
        assert_eq!(lanes.offer(&lane("b"), 0, 1), Err(Full::Bytes));
        assert!(lanes.start().is_some());
        assert_eq!(lanes.offer(&lane("b"), 0, 1), Ok(()));
    }

    #[test]
    fn no_more_than_the_limit_is_under_way_in_all() {
        let mut lanes = Lanes::new();
        for at in 0..=RUNNING_MAX {
            lanes.offer(&lane(&at.to_string()), at, 1).unwrap();
        }
        let mut count = 0;
        while lanes.start().is_some() {
            count += 1;
        }
        assert_eq!((count, lanes.waiting()), (RUNNING_MAX, 1));
    }

    #[test]
    fn an_empty_lane_leaves_nothing_behind() {
        let mut lanes = Lanes::new();
        lanes.offer(&lane("a"), 0, 7).unwrap();
        let (id, _) = lanes.start().unwrap();
        lanes.done(&id);
        assert!(lanes.by_id.is_empty());
        assert_eq!((lanes.running, lanes.waiting_bytes), (0, 0));
    }
}
