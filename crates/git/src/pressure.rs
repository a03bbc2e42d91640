//! A guard for memory that nothing can be charged for: while a pack is indexed, the library holds the bases of its deltas, and a pack
//! of a few kilobytes may chain more of them than the machine has memory. The process's own memory is measured, and the fetch is
//! interrupted before the container's limit ends all of them.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use plumb_memory::{MemoryPool, OverBudget};
use tokio::runtime::Handle;

use crate::bounds::Interrupt;

/// Interval of the measurement: a few megabytes are written in between.
const POLL: Duration = Duration::from_millis(2);
/// Memory of the process, in percent of its budget. The budget is 60 percent of the container's limit, unless a flag sets it
/// otherwise, so that this is three quarters of the limit.
const PERCENT_OF_BUDGET: u64 = 125;
/// What the process holds by itself. The process of the tests runs many of them at a time.
const OWN_BYTES: u64 = if cfg!(test) { 2 << 30 } else { 64 << 20 };
/// The size of a page, in which the kernel counts.
const PAGE_BYTES: u64 = 4096;

/// Watches memory until it is dropped, on a thread of its own: the workers of the runtime may all be busy.
pub(crate) struct PressureGuard {
    has_interrupted: Arc<AtomicBool>,
    bytes_max: u64,
    /// Ends the thread when it is dropped.
    _end: Sender<()>,
}

impl PressureGuard {
    /// Watches on a runtime, and raises the interrupt of an operation when the process holds too much.
    pub(crate) fn start(runtime: &Handle, pool: &MemoryPool, interrupt: Interrupt) -> Self {
        Self::start_beside(OWN_BYTES, runtime, pool, interrupt)
    }

    /// The same, in a process that holds so many bytes by itself.
    fn start_beside(own_bytes: u64, runtime: &Handle, pool: &MemoryPool, interrupt: Interrupt) -> Self {
        let bytes_max = pool.usage().bytes_max;
        let limit = (bytes_max / 100).saturating_mul(PERCENT_OF_BUDGET).saturating_add(own_bytes);
        let has_interrupted = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&has_interrupted);
        let (end, ended) = channel();
        runtime.spawn_blocking(move || {
            // Where the kernel does not report it, nothing is guarded.
            while let Some(held) = private_bytes() {
                if held > limit {
                    noted.store(true, Ordering::Relaxed);
                    interrupt.raise();
                    return;
                }
                if ended.recv_timeout(POLL) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        Self { has_interrupted, bytes_max, _end: end }
    }

    /// Why the operation was interrupted, if it was by this.
    pub(crate) fn verdict(&self) -> Option<OverBudget> {
        let bytes_max = self.bytes_max;
        let is_over = self.has_interrupted.load(Ordering::Relaxed);
        is_over.then_some(OverBudget::Pool {
            limit: "objects of a pack while its deltas are resolved",
            bytes_max,
        })
    }
}

/// Resident memory of this process without that of mapped files, in bytes.
fn private_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split(' ').skip(1).map_while(|field| field.trim().parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_operation_is_interrupted_when_the_process_uses_too_much_memory() {
        let interrupt = Interrupt::default();
        let held = vec![1_u8; 80 << 20];
        let (runtime, small) = (Handle::current(), MemoryPool::new(1000));
        let tight = PressureGuard::start_beside(64 << 20, &runtime, &small, interrupt.clone());
        interrupt.token().cancelled().await;
        assert!(tight.verdict().is_some_and(|over| over.is_transient()), "{}", held.len());
        let calm = Interrupt::default();
        let wide = PressureGuard::start(&Handle::current(), &MemoryPool::new(1 << 40), calm.clone());
        tokio::time::sleep(POLL * 3).await;
        assert!(wide.verdict().is_none() && !calm.flag().load(Ordering::Relaxed));
    }
}
