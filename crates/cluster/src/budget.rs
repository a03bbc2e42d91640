//! Budget: the deadline and the cancellation of a piece of work, and the time from which it waits for no slow response.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::RequestError;

/// A deadline and a way to stop earlier. Cheap to clone; children end with their parent.
#[derive(Debug, Clone)]
pub struct Budget {
    until: Instant,
    cancel: CancellationToken,
    hurry: Option<Hurry>,
}

/// From then on no response is awaited for long.
#[derive(Debug, Clone)]
struct Hurry {
    from: Instant,
    token: CancellationToken,
    /// What ends the work from outside; [`Budget::stop`] ends it from inside.
    outer: CancellationToken,
}

impl Budget {
    /// Work that ends at a time, or when the token is cancelled.
    pub fn new(until: Instant, cancel: CancellationToken) -> Self {
        Self { until, cancel, hurry: None }
    }

    /// Work that ends after a while, counted from now.
    pub fn lasting(time: Duration) -> Self {
        Self::new(Instant::now() + time, CancellationToken::new())
    }

    /// The same, but ending after `time` at the latest.
    #[must_use]
    pub fn at_most(&self, time: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + time), ..self.clone() }
    }

    /// The same, but from a time on, or once the token is cancelled, no response is awaited for long. The work continues as long
    /// as the server responds, and ends with the first request without a response.
    #[must_use]
    pub fn hurried(self, from: Instant, token: CancellationToken) -> Self {
        let outer = self.cancel;
        Self { cancel: outer.child_token(), hurry: Some(Hurry { from, token, outer }), ..self }
    }

    /// Whether no response is awaited for long any more.
    pub fn is_hurried(&self) -> bool {
        self.hurry.as_ref().is_some_and(|hurry| hurry.token.is_cancelled() || Instant::now() >= hurry.from)
    }

    /// Resolves when no response is to be awaited for long any more.
    pub async fn hurry(&self) {
        match &self.hurry {
            None => std::future::pending().await,
            Some(hurry) => tokio::select! {
                () = hurry.token.cancelled() => {}
                () = tokio::time::sleep_until(hurry.from) => {}
            },
        }
    }

    /// How long a request that begins now is awaited at most, if it may take `limit`, but only `hurried` once there is hurry,
    /// and `grace` longer than the budget.
    pub fn longest(&self, limit: Duration, hurried: Duration, grace: Duration) -> Duration {
        let now = Instant::now();
        let end = self.until.saturating_duration_since(now).saturating_add(grace);
        let soon = match &self.hurry {
            None => Duration::MAX,
            Some(hurry) if hurry.token.is_cancelled() => hurried,
            Some(hurry) => hurry.from.saturating_duration_since(now).saturating_add(hurried),
        };
        limit.min(end).min(soon)
    }

    /// Ends the work because a request got no response when there was hurry.
    pub fn stop(&self) {
        if self.hurry.is_some() {
            self.cancel.cancel();
        }
    }

    /// Whether the work ended because a request got no response when there was hurry.
    pub fn is_stopped(&self) -> bool {
        let outer = self.hurry.as_ref().map(|hurry| &hurry.outer);
        outer.is_some_and(|outer| self.cancel.is_cancelled() && !outer.is_cancelled())
    }

    /// When it ends.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// What ends it earlier.
    pub fn token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Whether nothing more may be started, and why.
    pub fn check(&self) -> Result<(), RequestError> {
        if self.cancel.is_cancelled() {
            Err(RequestError::Cancelled)
        } else if Instant::now() >= self.until {
            Err(RequestError::TimedOut)
        } else {
            Ok(())
        }
    }

    /// Runs work within the budget.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, RequestError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(RequestError::Cancelled),
            done = tokio::time::timeout_at(self.until, work) => done.map_err(|_| RequestError::TimedOut),
        }
    }

    /// The same for work that may be carried out although it is dropped: it is awaited for up to `grace` after the end
    /// of the budget.
    pub async fn finish<F: Future>(&self, work: F, grace: Duration) -> Result<F::Output, RequestError> {
        let mut work = std::pin::pin!(work);
        match self.run(work.as_mut()).await {
            Err(ended) => tokio::time::timeout(grace, work).await.map_err(|_| ended),
            done => done,
        }
    }

    /// Sleeps, if the budget allows it.
    pub async fn pause(&self, time: Duration) -> Result<(), RequestError> {
        self.run(tokio::time::sleep(time)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_ends_with_its_deadline() {
        let budget = Budget::lasting(Duration::from_secs(5));
        assert!(budget.pause(Duration::from_secs(4)).await.is_ok());
        assert!(matches!(budget.pause(Duration::from_secs(4)).await, Err(RequestError::TimedOut)));
        assert!(matches!(budget.check(), Err(RequestError::TimedOut)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_awaited_for_a_while_after_the_end() {
        let budget = Budget::lasting(Duration::from_secs(5));
        let write = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        budget.token().cancel();
        assert_eq!(budget.finish(write(2), Duration::from_secs(3)).await, Ok(()));
        assert_eq!(budget.finish(write(4), Duration::from_secs(3)).await, Err(RequestError::Cancelled));
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_when_it_is_cancelled() {
        let budget = Budget::lasting(Duration::from_secs(5));
        let token = budget.token().clone();
        let pause = tokio::spawn(async move {
            budget.at_most(Duration::from_secs(3)).pause(Duration::from_secs(9)).await
        });
        tokio::task::yield_now().await;
        token.cancel();
        assert!(matches!(pause.await.unwrap(), Err(RequestError::Cancelled)));
    }
}
