//! One bounded wait: a state is probed again and again, until it is as expected or the time is up.

use std::{
    fmt::{self, Debug},
    ops::ControlFlow,
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use tokio::time::Instant;

/// The pause between two probes, unless [`Wait::every`] says otherwise.
const PAUSE: Duration = Duration::from_millis(20);

/// What is waited for, how long at most, and how often it is probed.
///
/// A probe returns [`ControlFlow::Break`] with what the wait returns, or [`ControlFlow::Continue`] with the state, which the
/// error at the end shows. There is one probe at least.
#[derive(Clone, Debug)]
pub struct Wait {
    what: String,
    limit: Duration,
    pause: Duration,
}

impl Wait {
    /// Waits until this is true (`"app is Ready"`), at most so long.
    pub fn until(what: impl Into<String>, limit: Duration) -> Self {
        Self { what: what.into(), limit, pause: PAUSE }
    }

    /// With this pause between two probes.
    #[must_use]
    pub fn every(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Probes until the probe breaks. An error of the probe ends the wait.
    ///
    /// # Errors
    /// That of the probe, or, when the time is up, one that names what was waited for and the last state.
    pub async fn poll<T, S: Debug>(
        self,
        mut probe: impl AsyncFnMut() -> Result<ControlFlow<T, S>>,
    ) -> Result<T> {
        let end = Instant::now() + self.limit;
        loop {
            match probe().await? {
                ControlFlow::Break(found) => return Ok(found),
                ControlFlow::Continue(state) if Instant::now() >= end => return self.too_late(&state),
                ControlFlow::Continue(_) => tokio::time::sleep(self.pause).await,
            }
        }
    }

    /// Probes until the condition holds.
    ///
    /// # Errors
    /// When the time is up.
    pub async fn holds(self, mut condition: impl FnMut() -> bool) -> Result<()> {
        self.poll(async || {
            Ok(if condition() { ControlFlow::Break(()) } else { ControlFlow::Continue(Unmet) })
        })
        .await
    }

    /// Probes for the whole time whether the state is as expected all along: the probe continues with a state that is, and
    /// breaks with one that is not. Returns the last state.
    ///
    /// # Errors
    /// That of the probe, or, when it breaks, one that names what was expected and the state.
    pub async fn stays<S: Debug>(
        self,
        mut probe: impl AsyncFnMut() -> Result<ControlFlow<S, S>>,
    ) -> Result<S> {
        let end = Instant::now() + self.limit;
        loop {
            match probe().await? {
                ControlFlow::Break(state) => bail!("not always {}; the state is {state:#?}", self.what),
                ControlFlow::Continue(state) if Instant::now() >= end => return Ok(state),
                ControlFlow::Continue(_) => tokio::time::sleep(self.pause).await,
            }
        }
    }

    /// As [`Wait::poll`], outside of a runtime: blocks the thread.
    ///
    /// # Errors
    /// As [`Wait::poll`].
    pub fn poll_blocking<T, S: Debug>(
        self,
        mut probe: impl FnMut() -> Result<ControlFlow<T, S>>,
    ) -> Result<T> {
        let end = std::time::Instant::now() + self.limit;
        loop {
            match probe()? {
                ControlFlow::Break(found) => return Ok(found),
                ControlFlow::Continue(state) if std::time::Instant::now() >= end => {
                    return self.too_late(&state);
                }
                ControlFlow::Continue(_) => thread::sleep(self.pause),
            }
        }
    }

    /// As [`Wait::holds`], outside of a runtime: blocks the thread.
    ///
    /// # Errors
    /// When the time is up.
    pub fn holds_blocking(self, mut condition: impl FnMut() -> bool) -> Result<()> {
        self.poll_blocking(|| {
            Ok(if condition() { ControlFlow::Break(()) } else { ControlFlow::Continue(Unmet) })
        })
    }

    fn too_late<T>(&self, state: &impl Debug) -> Result<T> {
        bail!("waited in vain for {:?}: {}; the last state is {state:#?}", self.limit, self.what)
    }
}

/// The state where a condition does not hold.
struct Unmet;

impl Debug for Unmet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("that it is not so")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_what_the_probe_found() {
        let (mut probes, began) = (0, Instant::now());
        let wait = Wait::until("there are three", LIMIT).every(Duration::from_secs(1));
        let found = wait.poll(async || {
            probes += 1;
            Ok(if probes == 3 { ControlFlow::Break("three") } else { ControlFlow::Continue(probes) })
        });
        assert_eq!(found.await.unwrap(), "three");
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_too_long_names_what_it_waited_for_and_the_last_state() {
        let began = Instant::now();
        let wait = Wait::until("app is Ready", LIMIT);
        let found = wait.poll(async || Ok(ControlFlow::<(), _>::Continue("Unknown"))).await;
        let message = found.unwrap_err().to_string();
        assert_eq!(message, "waited in vain for 60s: app is Ready; the last state is \"Unknown\"");
        assert!(began.elapsed() >= LIMIT && began.elapsed() < LIMIT * 2, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_ends_the_wait_at_once() {
        let began = Instant::now();
        let wait = Wait::until("app is Ready", LIMIT);
        let found = wait.poll::<(), ()>(async || bail!("the server is away")).await;
        assert_eq!(found.unwrap_err().to_string(), "the server is away");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_state_that_stays_is_probed_for_the_whole_time() {
        let (began, wait) = (Instant::now(), Wait::until("app is Ready", LIMIT));
        let stays = |last: u32| {
            let mut probes = 0;
            wait.clone().stays(async move || {
                probes += 1;
                Ok(if probes == last { ControlFlow::Break(probes) } else { ControlFlow::Continue(probes) })
            })
        };
        assert!(stays(0).await.unwrap() > 1_000);
        assert!(began.elapsed() >= LIMIT);
        let message = stays(7).await.unwrap_err().to_string();
        assert_eq!(message, "not always app is Ready; the state is 7");
    }

    #[test]
    fn a_blocked_thread_waits_the_same_way() {
        let wait = Wait::until("it holds", Duration::from_millis(5)).every(Duration::from_millis(1));
        let mut probes = 0;
        let counted = wait.clone().holds_blocking(|| {
            probes += 1;
            probes == 2
        });
        assert!(counted.is_ok());
        let message = wait.holds_blocking(|| false).unwrap_err().to_string();
        assert_eq!(message, "waited in vain for 5ms: it holds; the last state is that it is not so");
    }
}
