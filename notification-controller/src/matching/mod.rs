//! Where patterns of Alerts are compiled and matched: on a few blocking threads, never on the runtime's workers, fair per
//! namespace. What a pattern costs there delays its own namespace alone. What is matched never enters.

mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use queue::FairQueue;

pub use queue::Full;
#[cfg(test)]
pub use queue::WAITING_PER_NAMESPACE_MAX;

/// How many namespaces have their patterns compiled or matched at once.
pub const THREADS_MAX: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs of namespaces. Clones share it.
#[derive(Clone)]
pub struct Matching(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Notified when nothing waits and nothing runs any more.
    idle: Condvar,
}

struct State {
    queue: FairQueue<Job>,
    threads: usize,
}

impl Matching {
    /// Nothing to do yet.
    pub fn new() -> Self {
        let state = Mutex::new(State { queue: FairQueue::new(), threads: 0 });
        Self(Arc::new(Inner { state, idle: Condvar::new() }))
    }

    /// Runs a job after those of the same namespace that came before, if there is room for it to wait.
    pub fn offer(&self, namespace: &str, job: impl FnOnce() + Send + 'static) -> Result<(), Full> {
        self.state().queue.offer(namespace, Box::new(job))?;
        self.pump();
        Ok(())
    }

    /// As [`offer`](Self::offer), however many wait: the caller bounds how many of its jobs wait at once.
    pub fn push(&self, namespace: &str, job: impl FnOnce() + Send + 'static) {
        self.state().queue.push(namespace, Box::new(job));
        self.pump();
    }

    /// Whether a job waits.
    #[cfg(test)]
    pub fn has_waiting(&self) -> bool {
        self.state().queue.has_waiting()
    }

    /// Blocks until nothing waits and nothing runs.
    #[cfg(test)]
    pub fn wait(&self) {
        let mut state = self.state();
        while !state.queue.is_idle() {
            state = self.0.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Another thread, where one may begin and has something to do.
    fn pump(&self) {
        let mut state = self.state();
        if state.threads >= THREADS_MAX {
            return;
        }
        if let Some((namespace, job)) = state.queue.start() {
            state.threads += 1;
            let matching = self.clone();
            tokio::task::spawn_blocking(move || matching.work(namespace, job));
        }
    }

    /// Works until nothing is to be done. A job that panics ends alone.
    fn work(self, namespace: String, job: Job) {
        let mut next = Some((namespace, job));
        while let Some((namespace, job)) = next {
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!(%namespace, "event matching panicked");
            }
            let mut state = self.state();
            state.queue.done(&namespace);
            next = state.queue.start();
            if next.is_none() {
                state.threads -= 1;
            }
            if state.queue.is_idle() {
                self.0.idle.notify_all();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Ends the test where something never comes.
    const HANG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_namespace_whose_job_never_ends_holds_up_no_other() {
        let matching = Matching::new();
        let (release, held) = mpsc::channel::<()>();
        let (reported, heard) = mpsc::channel();
        for _ in 0..THREADS_MAX {
            // All of them in one namespace: one runs, the others wait.
            let reported = reported.clone();
            matching.push("hostile", move || reported.send("hostile").unwrap());
        }
        matching.push("hangs", move || held.recv().unwrap());
        for at in 0..10 {
            let reported = reported.clone();
            matching.push(&format!("honest-{}", at % 3), move || reported.send("honest").unwrap());
        }
        // The runtime has one worker, which this test holds: the jobs run beside it.
        let mut heard: Vec<_> = (0..THREADS_MAX + 10).map(|_| heard.recv_timeout(HANG).unwrap()).collect();
        heard.sort_unstable();
        assert_eq!(heard.iter().filter(|who| **who == "honest").count(), 10);
        release.send(()).unwrap();
        matching.wait();
    }

    #[tokio::test]
    async fn jobs_of_a_namespace_run_in_order_and_a_panic_ends_one() {
        let matching = Matching::new();
        let (reported, heard) = mpsc::channel();
        for at in 0..100 {
            let reported = reported.clone();
            matching.push("a", move || {
                assert!(at != 50, "a job that fails");
                reported.send(at).unwrap();
            });
        }
        matching.wait();
        drop(reported);
        assert_eq!(heard.iter().collect::<Vec<_>>(), (0..100).filter(|at| *at != 50).collect::<Vec<_>>());
    }
}
