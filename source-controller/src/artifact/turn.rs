//! What a step of a source waits for: a slot, and a thread for work that takes a while.

use std::time::Duration;

use plumb_transport::{NoSlot, Slot, Slots};

/// How long an operation waits for a slot.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(30);

/// The controller is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operation was interrupted")]
pub struct Interrupted;

/// Waits until the namespace may begin another operation.
pub async fn slot(slots: &Slots, namespace: &str) -> Result<Slot, NoSlot> {
    slots.acquire_within(namespace, SLOT_WAIT_MAX).await
}

/// Runs work on a blocking thread, to its end also when the caller is dropped. A panic stays one.
pub async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Interrupted> {
    tokio::task::spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Interrupted,
    })
}
