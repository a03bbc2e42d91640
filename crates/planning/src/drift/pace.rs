//! Pace: the first comparison of an object is immediate; further ones are joined to one a second.

use std::time::Duration;

use jiff::Timestamp;

use crate::drift::contention::later;

/// The time between two comparisons of one object.
pub const STEP: Duration = Duration::from_secs(1);

/// When one object may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    last: Option<Timestamp>,
    planned: Option<Timestamp>,
}

/// What a wake of an object leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Compare now.
    Now,
    /// Compare at this time.
    At(Timestamp),
    /// A comparison is planned already: this wake is part of it.
    Joined,
}

impl Pace {
    /// A wake.
    pub fn ask(&mut self, now: Timestamp) -> Due {
        if self.planned.is_some() {
            return Due::Joined;
        }
        match self.last.map(|last| later(last, STEP)) {
            Some(next) if next > now => {
                self.planned = Some(next);
                Due::At(next)
            }
            Some(_) | None => {
                self.last = Some(now);
                Due::Now
            }
        }
    }

    /// A planned comparison begins.
    pub fn begin(&mut self, now: Timestamp) {
        self.planned = None;
        self.last = Some(now);
    }
}
