//! How long a watch waits after an error. kube's own backoff begins anew with every event, and a list that is refused
//! begins with one: it would be asked again every second for ever.

use std::time::Duration;

use kube::runtime::utils;
use plumb_status::cadence::Backoff;
use tokio::time::Instant;

/// How the pauses grow.
const PAUSES: Backoff = Backoff { min: Duration::from_millis(800), max: Duration::from_secs(30) };
/// After so long without an error the first pause holds again.
const CALM: Duration = Duration::from_mins(2);

/// Pauses that grow until nothing has failed for a while.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
    last: Option<Instant>,
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.is_some_and(|last| last.elapsed() > CALM + PAUSES.max) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = Some(Instant::now());
        Some(PAUSES.after(self.failures, u64::from(self.failures)))
    }
}

impl utils::Backoff for Patience {
    /// An event alone is no sign of health.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use kube::runtime::utils::Backoff as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_through_events_and_shrink_after_calm() {
        let mut patience = Patience::default();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            patience.reset();
            pauses.extend(patience.next());
        }
        assert!(pauses.windows(2).take(5).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        assert!(pauses[0] <= PAUSES.min && pauses[6] > PAUSES.max * 8 / 10, "{pauses:?}");
        tokio::time::sleep(CALM + PAUSES.max + PAUSES.min).await;
        assert_eq!(patience.next(), Some(pauses[0]));
    }
}
