//! How long a watch waits after an error. kube's own backoff begins anew with every event, and a list that is refused
//! begins with one: it would be asked again every second for ever.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

/// The first pause, the longest, and the time without an error after which the first holds again.
const FIRST: Duration = Duration::from_millis(800);
const LONGEST: Duration = Duration::from_secs(30);
const CALM: Duration = Duration::from_mins(2);

/// Pauses that grow until nothing has failed for a while.
#[derive(Debug)]
pub(crate) struct Patience {
    next: Duration,
    last: Option<Instant>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { next: FIRST, last: None }
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.is_some_and(|last| last.elapsed() > CALM + self.next) {
            self.next = FIRST;
        }
        self.last = Some(Instant::now());
        let pause = self.next;
        self.next = (self.next * 2).min(LONGEST);
        Some(pause)
    }
}

impl Backoff for Patience {
    /// An event alone is no sign of health.
    fn reset(&mut self) {}
}
