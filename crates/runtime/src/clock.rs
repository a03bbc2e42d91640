//! Where the time comes from: the system, or a test. Waiting never enters: that is tokio's, which tests can pause.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

/// A source of the time of day. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Timestamp>>>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is set.
    pub fn standing(at: Timestamp) -> Self {
        Self(Some(Arc::new(Mutex::new(at))))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => Timestamp::now(),
            Some(standing) => *standing.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Sets a standing clock; the system's clock is left alone.
    pub fn set(&self, at: Timestamp) {
        if let Some(standing) = &self.0 {
            *standing.lock().unwrap_or_else(PoisonError::into_inner) = at;
        }
    }
}
