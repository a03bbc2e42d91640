//! When to look again: the interval with its jitter, and the backoff after failures. Chance is an argument.

use std::time::Duration;

/// The jitter of an interval where no flag says otherwise, in percent each way.
pub const JITTER_PERCENT: u8 = 5;
/// The first wait after a failure.
pub const BACKOFF_MIN: Duration = Duration::from_millis(750);
/// The longest wait after failures.
pub const BACKOFF_MAX: Duration = Duration::from_mins(15);
/// How much a backoff may be shortened so that objects that failed together do not return together, in percent.
const BACKOFF_SPREAD_PERCENT: u8 = 10;

/// The interval, up to `percent` shorter or longer by chance.
pub fn jittered(interval: Duration, percent: u8, seed: u64) -> Duration {
    let spread = share(interval, f64::from(percent.min(100)) / 100.0);
    let offset = share(spread, 2.0 * fraction(seed));
    (interval + offset).saturating_sub(spread)
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
    /// The wait after this many failures in a row: it doubles from `min` up to `max`, less a little by chance.
    pub fn after(self, failures: u32, seed: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.min.saturating_mul(1 << doublings).min(self.max);
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
