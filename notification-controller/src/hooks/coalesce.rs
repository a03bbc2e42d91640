//! One patch per object and second: webhooks for one object that come together share a patch that began after they came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::annotate::{AnnotateError, Annotation};

/// The time between two patches of one object.
const PATCH_PAUSE: Duration = Duration::from_secs(1);
/// From so many objects on, those that need not be remembered any more are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// The last patch of each object. Only looked up by key, never iterated. Clones share it.
#[derive(Clone, Default)]
pub struct Coalescer(Arc<Mutex<HashMap<Annotation, Slot>>>);

/// When the last patch of an object began, and whether it succeeded. Whoever holds the lock patches.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, bool)>>>;

impl Coalescer {
    /// Patches an object by `patch`, or takes the outcome of a patch that began after this call.
    pub async fn patch<F>(&self, object: &Annotation, patch: impl FnOnce() -> F) -> Result<(), AnnotateError>
    where
        F: Future<Output = Result<(), AnnotateError>>,
    {
        let arrived = Instant::now();
        let slot = self.slot(object);
        let mut last = slot.lock().await;
        match *last {
            Some((began, true)) if began > arrived => return Ok(()),
            Some((began, false)) if began > arrived => {
                return Err(AnnotateError::Shared { object: object.to_string() });
            }
            Some((began, _)) => tokio::time::sleep_until(began + PATCH_PAUSE).await,
            None => {}
        }
        let began = Instant::now();
        let outcome = patch().await;
        *last = Some((began, outcome.is_ok()));
        outcome
    }

    fn slot(&self, object: &Annotation) -> Slot {
        let mut slots = self.slots();
        if slots.len() >= REMEMBERED_MAX {
            slots.retain(|_, slot| !is_over(slot));
        }
        Arc::clone(slots.entry(object.clone()).or_default())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Annotation, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody holds or awaits the slot, and its pause is over.
fn is_over(slot: &Slot) -> bool {
    Arc::strong_count(slot) == 1
        && slot.try_lock().is_ok_and(|last| last.is_none_or(|(began, _)| began.elapsed() >= PATCH_PAUSE))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    fn object(name: &str) -> Annotation {
        Annotation::of("buckets", "prod", name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_makes_one_patch_per_second_and_none_is_lost() {
        let (coalescer, patches) = (Coalescer::default(), AtomicUsize::new(0));
        let newest = Mutex::new(Instant::now());
        let patch = async || {
            patches.fetch_add(1, Ordering::SeqCst);
            *newest.lock().unwrap() = Instant::now();
            Ok(())
        };
        // 100 webhooks a second for five seconds.
        let calls = (0..500).map(|at| {
            let (coalescer, newest) = (coalescer.clone(), &newest);
            async move {
                tokio::time::sleep(Duration::from_millis(at * 10)).await;
                let came = Instant::now();
                coalescer.patch(&object("a"), patch).await.unwrap();
                assert!(*newest.lock().unwrap() >= came, "a patch began after it came");
            }
        });
        join_all(calls).await;
        assert_eq!(patches.load(Ordering::SeqCst), 6, "at 0, 1, 2, 3, 4 and 5 s");
    }

    #[tokio::test(start_paused = true)]
    async fn objects_do_not_wait_for_each_other_and_are_forgotten() {
        let coalescer = Coalescer::default();
        let began = Instant::now();
        for at in 0..REMEMBERED_MAX {
            coalescer.patch(&object(&at.to_string()), async || Ok(())).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        tokio::time::advance(PATCH_PAUSE).await;
        coalescer.patch(&object("new"), async || Ok(())).await.unwrap();
        assert_eq!(coalescer.slots().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_share_a_patch_share_its_failure() {
        let coalescer = Coalescer::default();
        let fails = async || Err(AnnotateError::TooMany { object: "x".into() });
        let object = object("a");
        coalescer.patch(&object, async || Ok(())).await.unwrap();
        let (one, other) = tokio::join!(coalescer.patch(&object, fails), coalescer.patch(&object, fails));
        assert!(matches!(one, Err(AnnotateError::TooMany { .. })));
        assert!(matches!(other, Err(AnnotateError::Shared { .. })));
    }
}
