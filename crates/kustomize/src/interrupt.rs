//! Interrupt: how whoever started a build ends it, and hears of what it takes. A build looks at it before each file and each
//! step; nothing here waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::BuildError;

/// Ends a build from another thread. Clones are one interrupt.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks the build to end. It does so at its next step.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the build was asked to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// An error with [`Refusal::Interrupted`](crate::Refusal::Interrupted), if the build was asked to end.
    pub fn check(&self) -> Result<(), BuildError> {
        if self.is_set() { Err(BuildError::interrupted()) } else { Ok(()) }
    }
}

/// Compares what they say now.
impl PartialEq for Interrupt {
    fn eq(&self, other: &Self) -> bool {
        self.is_set() == other.is_set()
    }
}

impl Eq for Interrupt {}

/// Takes a number of bytes, or says why not.
type Take = dyn Fn(u64) -> Result<(), String> + Send + Sync;

/// Hears how many bytes a build is about to hold, and may reject them. The default takes any number.
#[derive(Clone, Default)]
pub struct Charge(Option<Arc<Take>>);

impl Charge {
    /// Charges this function; its error says which limit was reached.
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

/// Compares whether anybody is charged.
impl PartialEq for Charge {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_some() == other.0.is_some()
    }
}

impl Eq for Charge {}
