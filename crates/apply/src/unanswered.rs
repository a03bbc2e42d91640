//! Unanswered: writes that were sent, and of which no answer says whether they were carried out. The server may carry one out
//! until its own deadline has passed. Until then nothing is concluded from the object as it is, and an apply is repeated after.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plumb_manifests::ObjectId;
use tokio::time::Instant;

/// How long after its deadline the server may still carry a write out: the way to it, and one transaction of etcd.
const SETTLE: Duration = Duration::from_secs(5);
/// How long a write is remembered that nobody looks after.
const KEEP: Duration = Duration::from_hours(1);

/// The writes of one cluster that were not answered, by object. Clones share them. Bounded by the objects that are managed.
#[derive(Debug, Clone, Default)]
pub struct Unanswered(Arc<Mutex<BTreeMap<ObjectId, Instant>>>);

impl Unanswered {
    /// Those of the objects that were not verified since, each with the time until which its write may be carried out.
    pub fn among<'a>(&self, ids: impl IntoIterator<Item = &'a ObjectId>) -> BTreeMap<ObjectId, Instant> {
        let all = self.lock();
        if all.is_empty() {
            return BTreeMap::new();
        }
        ids.into_iter()
            .filter_map(|id| all.get_key_value(id))
            .map(|(id, until)| (id.clone(), *until))
            .collect()
    }

    /// Whether a write of this object may still be carried out.
    pub fn is_open(&self, id: &ObjectId) -> bool {
        self.lock().get(id).is_some_and(|until| *until > Instant::now())
    }

    /// The object was written or read by a request that began at this time: what it says is final if no earlier write could
    /// be carried out any more.
    pub(crate) fn verified(&self, id: &ObjectId, began: Instant) {
        let mut all = self.lock();
        if all.get(id).is_some_and(|until| *until <= began) {
            all.remove(id);
        }
    }

    /// A write is about to be sent that the server gives up after `deadline`.
    pub(crate) fn sending<'a>(&'a self, id: &'a ObjectId, deadline: Duration) -> Sending<'a> {
        Sending { all: self, id, began: Instant::now(), deadline, answered: false }
    }

    fn note(&self, id: &ObjectId, until: Instant) {
        let mut all = self.lock();
        let now = Instant::now();
        all.retain(|_, until| *until + KEEP > now);
        let known = all.entry(id.clone()).or_insert(until);
        *known = until.max(*known);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is in flight. Dropped without an answer, it counts as unanswered, also where whoever sent it is gone.
#[must_use]
pub(crate) struct Sending<'a> {
    all: &'a Unanswered,
    id: &'a ObjectId,
    began: Instant,
    deadline: Duration,
    answered: bool,
}

impl Sending<'_> {
    /// The server has said what became of it.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.answered {
            self.all.verified(self.id, self.began);
        } else {
            self.all.note(self.id, self.began + self.deadline + SETTLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_is_open_until_the_server_has_given_up_and_remembered_until_it_is_verified() {
        let (unanswered, id) =
            (Unanswered::default(), ObjectId::parse_inventory("prod_a__ConfigMap").unwrap());
        drop(unanswered.sending(&id, Duration::from_secs(10)));
        let other = ObjectId::parse_inventory("prod_b__ConfigMap").unwrap();
        assert!(unanswered.is_open(&id) && !unanswered.is_open(&other));
        unanswered.sending(&id, Duration::from_secs(1)).answered();
        assert!(unanswered.is_open(&id), "the first write may still come after the second one");
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(!unanswered.is_open(&id));
        assert_eq!(unanswered.among([&id, &other]).len(), 1, "nobody knows what became of it");
        unanswered.sending(&id, Duration::from_secs(1)).answered();
        assert_eq!(unanswered.among([&id, &other]).len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_looks_after_is_forgotten() {
        let (unanswered, id) =
            (Unanswered::default(), ObjectId::parse_inventory("prod_a__ConfigMap").unwrap());
        drop(unanswered.sending(&id, Duration::from_secs(10)));
        tokio::time::advance(KEEP * 2).await;
        let other = ObjectId::parse_inventory("prod_b__ConfigMap").unwrap();
        drop(unanswered.sending(&other, Duration::from_secs(10)));
        assert_eq!(unanswered.among([&id, &other]).into_keys().collect::<Vec<_>>(), [other]);
    }
}
