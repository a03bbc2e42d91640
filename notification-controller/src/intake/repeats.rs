//! Which events were seen lately: a repetition within the interval is refused. Clocks never enter: `now` is an
//! argument.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use plumb_alerting::incoming::DedupKey;

/// How many events are remembered; beyond that the oldest are forgotten.
const REMEMBERED_MAX: usize = 65_536;

/// The events of the last interval.
pub struct Repeats {
    interval: Duration,
    /// When each was first seen: only looked up by key, never iterated.
    seen: HashMap<DedupKey, Instant>,
    /// The same in the order of time, which is also the order in which they are forgotten.
    order: VecDeque<(Instant, DedupKey)>,
}

/// Whether an event is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    /// It was not seen within the interval.
    New,
    /// It was; it will count as new again after this time.
    Repeated {
        /// How long from now.
        again_in: Duration,
    },
}

impl Repeats {
    /// Remembers events for this long. Zero remembers nothing.
    pub fn new(interval: Duration) -> Self {
        Self { interval, seen: HashMap::new(), order: VecDeque::new() }
    }

    /// Whether the event is new; from now on it is not.
    pub fn note(&mut self, key: DedupKey, now: Instant) -> Novelty {
        self.forget(now);
        if let Some(first) = self.seen.get(&key) {
            let age = now.saturating_duration_since(*first);
            return Novelty::Repeated { again_in: self.interval.saturating_sub(age) };
        }
        if self.interval.is_zero() {
            return Novelty::New;
        }
        if self.order.len() >= REMEMBERED_MAX {
            self.forget_oldest();
        }
        self.order.push_back((now, key.clone()));
        self.seen.insert(key, now);
        Novelty::New
    }

    fn forget(&mut self, now: Instant) {
        let interval = self.interval;
        let is_old = |first: Instant| now.saturating_duration_since(first) >= interval;
        while self.order.front().is_some_and(|(first, _)| is_old(*first)) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.seen.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use plumb_api::event::Event;
    use serde_json::json;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn key(message: &str) -> DedupKey {
        let event: Event = serde_json::from_value(json!({
            "involvedObject": { "kind": "Bucket", "name": "n", "namespace": "ns" }, "severity": "info",
            "timestamp": "2026-11-25T06:30:00Z", "message": message, "reason": "r", "reportingController": "c"
        }))
        .unwrap();
        DedupKey::of(&event)
    }

    #[test]
    fn an_event_repeats_within_the_interval_and_is_new_after_it() {
        let start = Instant::now();
        let mut repeats = Repeats::new(5 * MINUTE);
        assert_eq!(repeats.note(key("a"), start), Novelty::New);
        assert_eq!(repeats.note(key("b"), start + MINUTE), Novelty::New);
        assert_eq!(repeats.note(key("a"), start + 2 * MINUTE), Novelty::Repeated { again_in: 3 * MINUTE });
        assert_eq!(repeats.note(key("a"), start + 5 * MINUTE), Novelty::New);
        assert_eq!(repeats.note(key("b"), start + 5 * MINUTE), Novelty::Repeated { again_in: MINUTE });
    }

    #[test]
    fn an_interval_of_zero_lets_everything_through() {
        let mut repeats = Repeats::new(Duration::ZERO);
        let now = Instant::now();
        assert_eq!(repeats.note(key("a"), now), Novelty::New);
        assert_eq!(repeats.note(key("a"), now), Novelty::New);
    }

    #[test]
    fn no_more_than_the_limit_is_remembered() {
        let mut repeats = Repeats::new(MINUTE);
        let now = Instant::now();
        for at in 0..=REMEMBERED_MAX {
            assert_eq!(repeats.note(key(&at.to_string()), now), Novelty::New);
        }
        assert_eq!(repeats.order.len(), REMEMBERED_MAX);
        assert_eq!(repeats.seen.len(), REMEMBERED_MAX);
        assert_eq!(repeats.note(key("0"), now), Novelty::New);
    }
}
