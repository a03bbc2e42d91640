//! Debounce: the first comparison of an object is immediate; further ones are joined to one a second. Reports of a Kustomization are
//! immediate while few objects drift, and joined to one a second when many do.

use std::time::Duration;

use jiff::Timestamp;

use crate::rules::contention::later;

/// The time between two comparisons of one object.
pub const STEP: Duration = Duration::from_secs(1);

/// When one object may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Debounce {
    last: Option<Timestamp>,
    planned: Option<Timestamp>,
}

/// What a trigger of an object leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Compare now.
    Now,
    /// Compare at this time.
    At(Timestamp),
    /// A comparison is planned already: this trigger joins it.
    Joined,
}

impl Debounce {
    /// A trigger.
    pub fn request(&mut self, now: Timestamp) -> Due {
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

/// Reports that are immediate before they are joined to one a second.
pub const REPORTS_AT_ONCE: u32 = 5;

/// When what drifts of one Kustomization may be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportPace {
    /// Reports that may be made at once.
    left: u32,
    /// The time up to which used slots were returned, one per second.
    refilled: Option<Timestamp>,
    planned: Option<Timestamp>,
}

impl Default for ReportPace {
    fn default() -> Self {
        Self { left: REPORTS_AT_ONCE, refilled: None, planned: None }
    }
}

impl ReportPace {
    /// There is something new to report.
    pub fn request(&mut self, now: Timestamp) -> Due {
        if self.planned.is_some() {
            return Due::Joined;
        }
        self.refill(now);
        if self.left > 0 {
            self.take(now);
            return Due::Now;
        }
        let next = later(self.refilled.unwrap_or(now), STEP);
        self.planned = Some(next);
        Due::At(next)
    }

    /// A planned report is made.
    pub fn begin(&mut self, now: Timestamp) {
        self.planned = None;
        self.refill(now);
        self.take(now);
    }

    fn refill(&mut self, now: Timestamp) {
        while self.left < REPORTS_AT_ONCE
            && let Some(refilled) = self.refilled
            && later(refilled, STEP) <= now
        {
            self.left += 1;
            self.refilled = Some(later(refilled, STEP));
        }
    }

    fn take(&mut self, now: Timestamp) {
        if self.left == REPORTS_AT_ONCE || self.refilled.is_none() {
            self.refilled = Some(now);
        }
        self.left = self.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plumb_planning::fixtures::at;

    #[test]
    fn a_few_reports_are_immediate_and_more_are_joined_to_one_a_second() {
        let mut pace = ReportPace::default();
        for _ in 0..REPORTS_AT_ONCE {
            assert_eq!(pace.request(at(0)), Due::Now);
        }
        assert_eq!(pace.request(at(0)), Due::At(at(1)));
        assert_eq!(pace.request(at(0)), Due::Joined);
        pace.begin(at(1));
        assert_eq!(pace.request(at(1)), Due::At(at(2)));
        pace.begin(at(2));
        assert_eq!(pace.request(at(3)), Due::Now, "one came back");
        assert_eq!(pace.request(at(3)), Due::At(at(4)));
        pace.begin(at(4));
        for _ in 0..REPORTS_AT_ONCE {
            assert_eq!(pace.request(at(100)), Due::Now, "all came back");
        }
        assert_eq!(pace.request(at(100)), Due::At(at(101)));
    }
}
