//! An action at the n-th write of a controller.

/// When an action runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The write has arrived and is not forwarded yet.
    Before,
    /// The write has a response that is not delivered yet.
    After,
}

/// Waits for the n-th write.
pub(super) struct Trap {
    left: u32,
    moment: Moment,
    closes: bool,
    action: Box<dyn FnOnce() + Send>,
}

impl Trap {
    /// `number` counts from 1. With `closes`, nothing is forwarded afterwards.
    pub(super) fn new(number: u32, moment: Moment, closes: bool, action: Box<dyn FnOnce() + Send>) -> Self {
        Self { left: number.max(1), moment, closes, action }
    }

    /// Notes that a write has arrived; true if it is the n-th.
    pub(super) fn count(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    pub(super) fn moment(&self) -> Moment {
        self.moment
    }

    /// Whether nothing is forwarded after it.
    pub(super) fn closes(&self) -> bool {
        self.closes
    }

    /// Runs the action.
    pub(super) fn spring(self) {
        (self.action)();
    }
}
