//! Build threads: builds run on threads that nothing can stop from outside. Whoever gives a build up asks it to end, and the
//! slot of the build stays taken until its thread has ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plumb_kustomize::Interrupt;
use plumb_runtime::Metrics;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Semaphore;

use super::error::KustomizationError;

/// How long one build may take.
const BUILD_MAX: Duration = Duration::from_mins(5);

/// The slots of builds. Clones share them.
#[derive(Clone)]
pub struct BuildThreads(Arc<Shared>);

struct Shared {
    slots: Arc<Semaphore>,
    /// How many builds that were given up one namespace may have running.
    abandoned_max: usize,
    time_max: Duration,
    /// Builds that were given up and have not ended, by namespace.
    abandoned: Mutex<BTreeMap<String, usize>>,
    gauge: Gauge,
}

impl BuildThreads {
    /// So many builds at a time; half of them, but at least one, may be builds of one namespace that were given up.
    pub fn new(slots: usize) -> Self {
        Self::with_time(slots, BUILD_MAX)
    }

    fn with_time(slots: usize, time_max: Duration) -> Self {
        let slots = slots.max(1);
        Self(Arc::new(Shared {
            slots: Arc::new(Semaphore::new(slots)),
            abandoned_max: (slots / 2).max(1),
            time_max,
            abandoned: Mutex::default(),
            gauge: Gauge::default(),
        }))
    }

    /// Adds the gauge to what the process shows.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register(
            "plumb_build_abandoned_threads",
            "Number of threads of builds that were superseded or timed out",
            self.0.gauge.clone(),
        );
    }

    /// Runs a build for an object of this namespace on a thread of its own. When the future is dropped, or the build takes
    /// longer than five minutes, the build is asked to end.
    pub async fn run<T: Send + 'static>(
        &self,
        namespace: &str,
        build: impl FnOnce(&Interrupt) -> T + Send + 'static,
    ) -> Result<T, KustomizationError> {
        let shared = &self.0;
        let limit = shared.abandoned_max;
        if shared.abandoned().get(namespace).is_some_and(|count| *count >= limit) {
            return Err(KustomizationError::BuildsAbandoned { namespace: namespace.to_owned(), limit });
        }
        let slot = tokio::time::timeout(shared.time_max, shared.slots.clone().acquire_owned()).await;
        let slot = slot.map_err(|_| KustomizationError::BuildSlots { seconds: shared.time_max.as_secs() })?;
        // The semaphore is never closed.
        let slot = slot.map_err(|_| KustomizationError::BuildFault)?;
        let (interrupt, thread) = (Interrupt::default(), Arc::new(Thread::new(shared.clone(), namespace)));
        let guard = Guard { interrupt: interrupt.clone(), thread: thread.clone() };
        let running = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let _end = End(thread);
            build(&interrupt)
        });
        let ended = tokio::time::timeout(shared.time_max, running).await;
        drop(guard);
        match ended {
            Ok(result) => result.map_err(|_| KustomizationError::BuildFault),
            Err(_) => Err(KustomizationError::BuildTimeout { seconds: shared.time_max.as_secs() }),
        }
    }
}

impl Shared {
    fn abandoned(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One build's thread, as both sides know it.
struct Thread {
    shared: Arc<Shared>,
    namespace: String,
    /// Changed under the lock of `abandoned` only.
    has_ended: AtomicBool,
    is_abandoned: AtomicBool,
}

impl Thread {
    fn new(shared: Arc<Shared>, namespace: &str) -> Self {
        let namespace = namespace.to_owned();
        Self { shared, namespace, has_ended: AtomicBool::new(false), is_abandoned: AtomicBool::new(false) }
    }

    fn abandon(&self) {
        let mut abandoned = self.shared.abandoned();
        if !self.has_ended.load(Ordering::Acquire) {
            self.is_abandoned.store(true, Ordering::Release);
            *abandoned.entry(self.namespace.clone()).or_default() += 1;
            self.shared.gauge.inc();
        }
    }

    fn end(&self) {
        let mut abandoned = self.shared.abandoned();
        self.has_ended.store(true, Ordering::Release);
        if !self.is_abandoned.load(Ordering::Acquire) {
            return;
        }
        self.shared.gauge.dec();
        if let Some(count) = abandoned.get_mut(&self.namespace) {
            *count -= 1;
            if *count == 0 {
                abandoned.remove(&self.namespace);
            }
        }
    }
}

/// On the side of whoever waits: a build that nobody waits for is asked to end.
struct Guard {
    interrupt: Interrupt,
    thread: Arc<Thread>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.interrupt.set();
        self.thread.abandon();
    }
}

/// On the thread: also when the build panics.
struct End(Arc<Thread>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A build that ends when it is told to, whatever its interrupt says.
    fn stubborn() -> (mpsc::Sender<()>, impl FnOnce(&Interrupt) -> bool + Send) {
        let (release, wait) = mpsc::channel();
        (release, move |interrupt: &Interrupt| {
            let _ = wait.recv();
            interrupt.is_set()
        })
    }

    async fn until(threads: &BuildThreads, abandoned: i64) {
        let seen = tokio::time::timeout(Duration::from_secs(20), async {
            while threads.0.gauge.get() != abandoned {
                tokio::task::yield_now().await;
            }
        });
        seen.await.expect("the threads end");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_build_that_is_given_up_is_told_to_end_and_counted_until_it_has() {
        let threads = BuildThreads::new(2);
        let (told, hears) = mpsc::channel();
        let build = threads.clone();
        let attempt = tokio::spawn(async move {
            let endless = move |interrupt: &Interrupt| {
                let _ = told.send(());
                while !interrupt.is_set() {
                    std::thread::yield_now();
                }
            };
            build.run("team-a", endless).await
        });
        tokio::task::spawn_blocking(move || hears.recv()).await.unwrap().unwrap();
        attempt.abort();
        assert!(attempt.await.unwrap_err().is_cancelled());
        until(&threads, 0).await;
        assert!(threads.0.abandoned().is_empty());
        assert!(!threads.run("team-a", Interrupt::is_set).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_namespace_whose_builds_do_not_end_waits_and_no_other() {
        let threads = BuildThreads::with_time(4, Duration::from_millis(1));
        let (first, build) = stubborn();
        let error = threads.run("team-a", build).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the build took longer than 0 s and was stopped: split the Kustomization"
        );
        let (second, build) = stubborn();
        threads.run("team-a", build).await.unwrap_err();
        assert_eq!(threads.0.gauge.get(), 2);
        let refused = threads.run("team-a", |_| ()).await.unwrap_err().to_string();
        assert!(refused.contains("2 builds of namespace team-a"), "{refused}");
        let (_other, build) = stubborn();
        let error = threads.run("team-b", build).await.unwrap_err();
        assert!(matches!(error, KustomizationError::BuildTimeout { .. }), "{error}");
        first.send(()).unwrap();
        second.send(()).unwrap();
        until(&threads, 1).await;
        assert_eq!(threads.0.abandoned().get("team-a"), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_slot_of_a_build_is_held_until_its_thread_has_ended() {
        let threads = BuildThreads::with_time(1, Duration::from_millis(1));
        let (release, build) = stubborn();
        threads.run("team-a", build).await.unwrap_err();
        assert_eq!(threads.0.slots.available_permits(), 0);
        release.send(()).unwrap();
        until(&threads, 0).await;
        let _free = threads.0.slots.acquire().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_build_that_panics_frees_its_slot() {
        let threads = BuildThreads::new(1);
        let error = threads.run::<()>("team-a", |_| panic!("a fault")).await.unwrap_err();
        assert!(matches!(error, KustomizationError::BuildFault));
        let _free = threads.0.slots.acquire().await.unwrap();
        assert_eq!(threads.0.gauge.get(), 0);
    }
}
