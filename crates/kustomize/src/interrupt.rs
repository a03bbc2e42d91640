//! Interrupt: how the caller cancels a build and accounts for its memory. A build checks it before each file and each
//! step; nothing here waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::BuildError;

/// Ends a build from another thread. Clones are one interrupt.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Cancels the build. It ends at its next step.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the build was canceled.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// An error with [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted), if the build was canceled.
    pub fn check(&self) -> Result<(), BuildError> {
        if self.is_set() { Err(BuildError::interrupted()) } else { Ok(()) }
    }
}

/// Compares the current flags.
impl PartialEq for Interrupt {
    fn eq(&self, other: &Self) -> bool {
        self.is_set() == other.is_set()
    }
}

impl Eq for Interrupt {}

/// Reserves a number of bytes, or returns an error.
type Take = dyn Fn(u64) -> Result<(), String> + Send + Sync;

/// Is called with the number of bytes that a build is about to allocate, and may reject them. The default accepts any number.
#[derive(Clone, Default)]
pub struct Charge(Option<Arc<Take>>);

impl Charge {
    /// Charges this function; its error names the limit that was reached.
    pub fn new(take: impl Fn(u64) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(take)))
    }

    pub(crate) fn take(&self, bytes: usize) -> Result<(), BuildError> {
        match &self.0 {
            Some(take) => take(u64::try_from(bytes).unwrap_or(u64::MAX)).map_err(BuildError::over_limit),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Charge")
    }
}

/// Compares whether memory is charged.
impl PartialEq for Charge {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_some() == other.0.is_some()
    }
}

impl Eq for Charge {}
