//! Contention: two writers that fight over an object are slowed down, and told once; never endless writes, never silence.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

/// Corrections of one object that are immediate within [`WINDOW`].
pub const CORRECTIONS_MAX: usize = 3;

/// The time over which corrections are counted.
pub const WINDOW: Duration = Duration::from_mins(10);

/// The first delay; each further one is twice the one before, up to the interval.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The corrections of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contention {
    corrections: VecDeque<Timestamp>,
    delay: Option<Duration>,
    until: Option<Timestamp>,
    total: u64,
}

/// When a drifted object may be corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Now.
    Now,
    /// Not before this time. `begins`: the fight was noticed just now, and is told.
    Later {
        /// The time.
        at: Timestamp,
        /// Whether this is the first delay of the fight.
        begins: bool,
        /// Corrections so far in this fight.
        count: u64,
    },
}

impl Contention {
    /// Asks for a correction; `interval` bounds the delay.
    pub fn ask(&mut self, now: Timestamp, interval: Duration) -> Turn {
        self.calm_down(now);
        if let Some(at) = self.until {
            if now >= at {
                self.until = None;
                return Turn::Now;
            }
            return Turn::Later { at, begins: false, count: self.total };
        }
        if self.corrections.len() < CORRECTIONS_MAX {
            return Turn::Now;
        }
        let begins = self.delay.is_none();
        let delay =
            self.delay.map_or(FIRST_DELAY, |last| last.saturating_mul(2)).min(interval.max(FIRST_DELAY));
        self.delay = Some(delay);
        let at = later(now, delay);
        self.until = Some(at);
        Turn::Later { at, begins, count: self.total }
    }

    /// A correction was made.
    pub fn corrected(&mut self, now: Timestamp) {
        self.until = None;
        self.total = self.total.saturating_add(1);
        self.corrections.push_back(now);
        while self.corrections.len() > CORRECTIONS_MAX {
            self.corrections.pop_front();
        }
    }

    /// Whether a fight goes on.
    pub fn is_fighting(&self) -> bool {
        self.delay.is_some()
    }

    /// Whether nothing is remembered, so that the value may be dropped.
    pub fn is_calm(&mut self, now: Timestamp) -> bool {
        self.calm_down(now);
        self.corrections.is_empty() && self.delay.is_none()
    }

    fn calm_down(&mut self, now: Timestamp) {
        let quiet_after = self.delay.map_or(WINDOW, |delay| WINDOW.max(delay.saturating_mul(2)));
        let last = self.corrections.back().copied();
        if self.delay.is_some() {
            if last.is_some_and(|last| later(last, quiet_after) <= now)
                && self.until.is_none_or(|at| at <= now)
            {
                *self = Self::default();
            }
            return;
        }
        while self.corrections.front().is_some_and(|first| later(*first, WINDOW) <= now) {
            self.corrections.pop_front();
        }
        if self.corrections.is_empty() {
            self.total = 0;
        }
    }
}

/// A time after another, held at the end of time.
pub(crate) fn later(from: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
