//! How long a watch waits after an error. kube's own backoff resets with every event, and a list that is rejected
//! begins with one: it would be retried every second for ever.

use std::time::Duration;

use kube::runtime::watcher;
use plumb_status::cadence::Backoff;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(800);
/// How the pauses grow while the API server rejects the watch: that seldom ends soon.
const REJECTED: Backoff = Backoff { min: FIRST, max: Duration::from_secs(30) };
/// How the pauses grow while it does not respond, or is overloaded: with 512 watches, about 50 requests a second that
/// without effect.
const AWAY: Backoff = Backoff { min: FIRST, max: Duration::from_secs(10) };
/// After so long without an error the first pause holds again.
const CALM: Duration = Duration::from_mins(2);

/// Pauses that grow until nothing has failed for a while.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    failures: u32,
    last: Option<Instant>,
}

impl Pauses {
    /// How long to wait after this error. What was seen since the last one is no sign of health.
    pub(crate) fn after(&mut self, error: &watcher::Error) -> Duration {
        if self.last.is_some_and(|last| last.elapsed() > CALM + REJECTED.max) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = Some(Instant::now());
        let backoff = if is_rejection(error) { REJECTED } else { AWAY };
        backoff.after(self.failures, u64::from(self.failures))
    }
}

/// Whether the API server responded, and would respond the same to the next request.
fn is_rejection(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code,
        _ => return false,
    };
    code < 500 && code != 429
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn responded(code: u16) -> watcher::Error {
        let status = Status::failure("no", "Forbidden").with_code(code).boxed();
        watcher::Error::InitialListFailed(kube::Error::Api(status))
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_shrink_after_calm() {
        let (mut pauses, rejected) = (Pauses::default(), responded(403));
        let grown: Vec<_> = (0..7).map(|_| pauses.after(&rejected)).collect();
        assert!(grown.windows(2).take(5).all(|pair| pair[0] < pair[1]), "{grown:?}");
        assert!(grown[0] <= FIRST && grown[6] > REJECTED.max * 8 / 10, "{grown:?}");
        tokio::time::sleep(CALM + REJECTED.max + FIRST).await;
        assert_eq!(pauses.after(&rejected), grown[0]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_server_is_retried_more_often_than_one_that_rejects() {
        for (error, longest) in [
            (responded(403), REJECTED.max),
            (responded(404), REJECTED.max),
            (responded(429), AWAY.max),
            (responded(503), AWAY.max),
            (watcher::Error::NoResourceVersion, AWAY.max),
        ] {
            let mut pauses = Pauses::default();
            let last = (0..9).map(|_| pauses.after(&error)).max().unwrap();
            assert!(last <= longest && last > longest * 8 / 10, "{error:?}: {last:?}");
        }
    }
}
