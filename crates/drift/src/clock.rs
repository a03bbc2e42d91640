//! A clock that never goes back.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that never runs backward. Where the wall clock is set back, it continues from its last value, as fast as time passes,
/// until the wall clock has caught up: no timer fires later than planned.
#[derive(Debug, Default)]
pub(crate) struct MonotonicClock(Mutex<Option<(Timestamp, Instant)>>);

impl MonotonicClock {
    /// The current time, given the wall clock `wall`.
    pub fn now(&self, wall: Timestamp) -> Timestamp {
        let at = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = last.map(|(time, then)| {
            let passed = SignedDuration::try_from(at.duration_since(then)).unwrap_or(SignedDuration::ZERO);
            time.saturating_add(passed).unwrap_or(time)
        });
        let now = passed.map_or(wall, |passed| passed.max(wall));
        *last = Some((now, at));
        now
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_back_does_not_stop_time_and_one_that_is_set_forward_is_followed() {
        let noon: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let clock = MonotonicClock::default();
        let after = |seconds| noon + SignedDuration::from_secs(seconds);
        assert_eq!(clock.now(noon), noon);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now(after(-3600)), after(10), "set back by an hour");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(after(-3595)), after(15));
        assert_eq!(clock.now(after(7200)), after(7200), "set forward");
        assert_eq!(clock.now(after(20)), after(7200));
    }
}
