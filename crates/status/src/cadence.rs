//! When to look again: the interval with its jitter, the backoff after failures, and the range that every period from
//! outside is held in. Chance is an argument.

use std::time::Duration;

/// The jitter of an interval where no flag says otherwise, in percent each way.
pub const JITTER_PERCENT: u8 = 5;
/// The first wait after a failure.
pub const BACKOFF_MIN: Duration = Duration::from_millis(750);
/// The longest wait after failures.
pub const BACKOFF_MAX: Duration = Duration::from_mins(15);
/// How much a backoff may be shortened so that objects that failed together do not return together, in percent.
const BACKOFF_SPREAD_PERCENT: u8 = 10;

/// The shortest period that is honoured, whoever sets it: a shorter one would keep a worker, a remote or the log busy.
pub const PERIOD_MIN: Duration = Duration::from_secs(1);
/// The longest period that is honoured: ten years. Timers cannot hold every value that a duration can.
pub const PERIOD_MAX: Duration = Duration::from_hours(24 * 3_652);
/// The longest timeout of a source: one operation on a remote.
pub const SOURCE_TIMEOUT_MAX: Duration = Duration::from_hours(1);
/// The longest timeout of a Provider: one notification with its retries.
pub const PROVIDER_TIMEOUT_MAX: Duration = Duration::from_mins(10);
/// The shortest wait for health. Flux has the same.
pub const HEALTH_TIMEOUT_MIN: Duration = Duration::from_secs(30);
/// The longest wait for health.
pub const HEALTH_TIMEOUT_MAX: Duration = Duration::from_hours(24);
/// How soon an object that waits for another is looked at again where no flag says otherwise. Flux has the same.
pub const DEPENDENCY_WAIT: Duration = Duration::from_secs(30);
/// The shortest first pause of a backoff.
pub const BACKOFF_FLOOR: Duration = Duration::from_millis(100);

/// How long one watch request lasts, in seconds, before the server ends it and the next one goes on from the last
/// bookmark. A quiet watch is ended by the server after this time, so one that is still silent a few seconds later has
/// a dead connection: that is noticed in under a minute, and a healthy one is never listed again for it.
pub const WATCH_SECONDS: u32 = 40;

/// The range that a period from outside (a spec, a flag, a header) is held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodRange {
    /// The shortest period; shorter ones are raised to it.
    pub min: Duration,
    /// The longest; longer ones are lowered to it.
    pub max: Duration,
}

impl PeriodRange {
    /// Intervals, retries and every requeue.
    pub const REQUEUE: Self = Self { min: PERIOD_MIN, max: PERIOD_MAX };
    /// `spec.timeout` of a source.
    pub const SOURCE_TIMEOUT: Self = Self { min: PERIOD_MIN, max: SOURCE_TIMEOUT_MAX };
    /// `spec.timeout` of a Provider.
    pub const PROVIDER_TIMEOUT: Self = Self { min: PERIOD_MIN, max: PROVIDER_TIMEOUT_MAX };
    /// `spec.timeout` of a Kustomization.
    pub const HEALTH_TIMEOUT: Self = Self { min: HEALTH_TIMEOUT_MIN, max: HEALTH_TIMEOUT_MAX };
    /// The first and the longest pause of a backoff.
    pub const BACKOFF: Self = Self { min: BACKOFF_FLOOR, max: PERIOD_MAX };

    /// The nearest period inside the range.
    pub fn clamp(self, period: Duration) -> Duration {
        period.clamp(self.min, self.max)
    }
}

/// The interval, up to `percent` shorter or longer by chance.
pub fn jittered(interval: Duration, percent: u8, seed: u64) -> Duration {
    let spread = share(interval, f64::from(percent.min(100)) / 100.0);
    let offset = share(spread, 2.0 * fraction(seed));
    interval.saturating_add(offset).saturating_sub(spread)
}

/// How long to wait after failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: BACKOFF_MIN, max: BACKOFF_MAX }
    }
}

impl Backoff {
    /// A backoff whose pauses stay in [`PeriodRange::BACKOFF`], and whose longest is not below its first.
    pub fn held(min: Duration, max: Duration) -> Self {
        let min = PeriodRange::BACKOFF.clamp(min);
        Self { min, max: PeriodRange::BACKOFF.clamp(max).max(min) }
    }

    /// The wait after this many failures in a row, where nothing else waits with it: it doubles from `min` up to `max`.
    pub fn without_jitter(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.min.saturating_mul(1 << doublings).min(self.max)
    }

    /// The wait after this many failures in a row: [`Self::without_jitter`], less a little by chance.
    pub fn after(self, failures: u32, seed: u64) -> Duration {
        let whole = self.without_jitter(failures);
        whole.saturating_sub(share(whole, f64::from(BACKOFF_SPREAD_PERCENT) / 100.0 * fraction(seed)))
    }
}

/// A part of a duration; saturates where the product leaves the range.
fn share(whole: Duration, part: f64) -> Duration {
    Duration::try_from_secs_f64(whole.as_secs_f64() * part).unwrap_or(Duration::MAX)
}

/// A number in 0..1 from a seed: its bits are mixed, so neighbouring seeds give distant numbers.
fn fraction(seed: u64) -> f64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    let top = u32::try_from(bits >> 32).unwrap_or(u32::MAX);
    f64::from(top) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn backoff_doubles_from_its_minimum_and_ends_at_its_maximum() {
        let waits: Vec<_> = (1..=4).map(|n| Backoff::default().after(n, 7).as_millis()).collect();
        for (wait, whole) in waits.iter().zip([750u128, 1500, 3000, 6000]) {
            assert!(*wait <= whole && *wait >= whole * 9 / 10, "{wait} of {whole}");
        }
        assert!(Backoff::default().after(u32::MAX, 1) <= BACKOFF_MAX);
        assert!(Backoff::default().after(40, 1) >= BACKOFF_MAX * 9 / 10);
    }

    #[test]
    fn without_jitter_the_pauses_are_exact_and_end_at_the_maximum() {
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(6) };
        let waits = |counts: &[u32]| -> Vec<u64> {
            counts.iter().map(|failures| backoff.without_jitter(*failures).as_secs()).collect()
        };
        assert_eq!(waits(&[0, 1, 2, 3, 4, 5, u32::MAX]), [1, 1, 2, 4, 6, 6, 6]);
        let endless = Backoff { min: Duration::from_secs(1), max: Duration::MAX };
        assert_eq!(endless.without_jitter(u32::MAX), Duration::from_secs(1 << 31));
    }

    #[test]
    fn a_backoff_from_flags_never_waits_for_nothing() {
        for (min, max) in [(0, 0), (0, 1), (1, 0)] {
            let backoff = Backoff::held(Duration::from_nanos(min), Duration::from_nanos(max));
            assert!(backoff.after(1, 3) >= BACKOFF_FLOOR * 9 / 10, "{min} {max}");
            assert!(backoff.after(9, 3) >= BACKOFF_FLOOR * 9 / 10, "{min} {max}");
        }
        assert_eq!(Backoff::held(Duration::MAX, Duration::MAX).max, PERIOD_MAX);
        assert_eq!(Backoff::held(BACKOFF_MIN, BACKOFF_MAX), Backoff::default());
    }

    #[test]
    fn the_longest_period_with_all_of_its_jitter_is_still_a_time() {
        let now = std::time::Instant::now();
        assert!(now.checked_add(jittered(PERIOD_MAX, 100, u64::MAX)).is_some());
        assert_eq!(PeriodRange::REQUEUE.clamp(Duration::MAX), PERIOD_MAX);
        assert_eq!(PeriodRange::REQUEUE.clamp(Duration::ZERO), PERIOD_MIN);
    }

    #[test]
    fn no_jitter_leaves_the_interval_as_it_is() {
        assert_eq!(jittered(Duration::from_mins(1), 0, 99), Duration::from_mins(1));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_share(seed: u64, secs in 1u64..100_000) {
            let interval = Duration::from_secs(secs);
            let got = jittered(interval, 5, seed).as_secs_f64();
            let whole = interval.as_secs_f64();
            prop_assert!(got >= whole * 0.95 - 1e-6 && got <= whole * 1.05 + 1e-6);
        }
    }

    #[test]
    fn seeds_spread_over_the_whole_range() {
        let interval = Duration::from_secs(100);
        let all: Vec<_> = (0..1000).map(|seed| jittered(interval, 5, seed).as_secs_f64()).collect();
        assert!(all.iter().any(|s| *s < 96.0) && all.iter().any(|s| *s > 104.0));
        let mean = all.iter().sum::<f64>() / 1000.0;
        assert!((mean - 100.0).abs() < 0.5, "{mean}");
    }
}
