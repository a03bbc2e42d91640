//! Bounds of an operation on a blocking thread: a deadline for all of it, and an interrupt that is raised when its caller is
//! dropped. All slow code checks here: reads of the network wait for both, loops check both.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::error::GitError;

/// Raised once; loops and gix check the flag, the token ends waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    flag: Arc<AtomicBool>,
    token: CancellationToken,
}

/// Raises the interrupt when it is dropped.
pub(crate) struct InterruptOnDrop(pub(crate) Interrupt);

/// The bounds of one operation. Clones share the interrupt.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// What is attempted, as errors print it: `"fetch from"`.
    pub(crate) action: &'static str,
    /// The repository, as errors name it.
    pub(crate) url: String,
    /// How long the operation may take in all.
    pub(crate) timeout: Duration,
    /// When it has to be over.
    pub(crate) deadline: Instant,
    pub(crate) interrupt: Interrupt,
}

impl Interrupt {
    pub(crate) fn raise(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.token.cancel();
    }

    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

impl Bounds {
    /// The bounds of an operation that begins now.
    pub(crate) fn new(action: &'static str, url: String, timeout: Duration) -> Self {
        let deadline = Instant::now() + timeout;
        Self { action, url, timeout, deadline, interrupt: Interrupt::default() }
    }

    /// The same bounds, with the whole timeout left.
    pub(crate) fn restarted(self) -> Self {
        Self { deadline: Instant::now() + self.timeout, ..self }
    }

    /// An error if the operation has to end.
    pub(crate) fn check(&self) -> Result<(), GitError> {
        if self.interrupt.flag().load(Ordering::Relaxed) {
            return Err(self.interrupted());
        }
        if Instant::now() >= self.deadline {
            return Err(self.timed_out());
        }
        Ok(())
    }

    pub(crate) fn interrupted(&self) -> GitError {
        GitError::Interrupted { action: self.action, url: self.url.clone() }
    }

    pub(crate) fn timed_out(&self) -> GitError {
        GitError::TimedOut { action: self.action, url: self.url.clone(), seconds: self.timeout.as_secs() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_ends_at_its_deadline_or_when_its_caller_is_dropped() {
        let open = Bounds::new("fetch from", "http://x".into(), Duration::from_mins(1));
        open.check().unwrap();
        drop(InterruptOnDrop(open.interrupt.clone()));
        assert!(matches!(open.check(), Err(GitError::Interrupted { .. })));
        let late = Bounds::new("fetch from", "http://x".into(), Duration::ZERO);
        assert!(matches!(late.check(), Err(GitError::TimedOut { .. })));
        let waited = Bounds { timeout: Duration::from_mins(1), ..late };
        waited.restarted().check().unwrap();
    }
}
