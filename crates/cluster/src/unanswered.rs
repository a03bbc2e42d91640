//! Unanswered: writes that were sent without a response that shows whether they were carried out. The server may carry one out
//! until its own deadline has passed. Until then nothing is concluded from the object as it is, and an apply is repeated after.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plumb_manifests::ObjectId;
use tokio::time::Instant;

/// How long after its deadline the server may still carry a write out: the way to it, and one transaction of etcd.
const SETTLE: Duration = Duration::from_secs(5);
/// How long a write without a follow-up is recorded.
const KEEP: Duration = Duration::from_hours(1);

/// What a write does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It may create it.
    Applies,
    /// It is bound to the version that was read, so it changes nothing for another deletion.
    Deletes,
}

/// The writes of one cluster without a response, by object. Clones share them. Bounded by the objects that are managed.
#[derive(Debug, Clone, Default)]
pub struct Unanswered(Arc<Mutex<BTreeMap<ObjectId, Open>>>);

/// The writes of one object.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Until when one may be carried out.
    until: Instant,
    /// The same for those that may create the object; none: all are deletions.
    created_until: Option<Instant>,
}

impl Unanswered {
    /// Those of the objects that were not verified since, each with the time until which its write may be carried out.
    pub fn among<'a>(&self, ids: impl IntoIterator<Item = &'a ObjectId>) -> BTreeMap<ObjectId, Instant> {
        let all = self.lock();
        if all.is_empty() {
            return BTreeMap::new();
        }
        ids.into_iter()
            .filter_map(|id| all.get_key_value(id))
            .map(|(id, open)| (id.clone(), open.until))
            .collect()
    }

    /// Whether an apply of this object may still be carried out, and create it.
    pub fn may_be_created(&self, id: &ObjectId) -> bool {
        let until = self.lock().get(id).and_then(|open| open.created_until);
        until.is_some_and(|until| until > Instant::now())
    }

    /// The object was written or read by a request that began at this time: its content is final if no earlier write can
    /// be carried out any more.
    pub fn verified(&self, id: &ObjectId, began: Instant) {
        let mut all = self.lock();
        if all.get(id).is_some_and(|open| open.until <= began) {
            all.remove(id);
        }
    }

    /// A write is about to be sent whose server timeout ends at `deadline`.
    pub fn sending<'a>(&'a self, id: &'a ObjectId, effect: Effect, deadline: Duration) -> Sending<'a> {
        let began = Instant::now();
        Sending { all: self, id, effect, began, until: Some(began + deadline + SETTLE) }
    }

    fn note(&self, id: &ObjectId, effect: Effect, until: Instant) {
        let mut all = self.lock();
        let now = Instant::now();
        all.retain(|_, open| open.until + KEEP > now);
        let open = all.entry(id.clone()).or_insert(Open { until, created_until: None });
        open.until = open.until.max(until);
        if effect == Effect::Applies {
            open.created_until = open.created_until.max(Some(until));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectId, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is in flight. Dropped without a response, it counts as unanswered, also where its sender was dropped.
#[must_use]
pub struct Sending<'a> {
    all: &'a Unanswered,
    id: &'a ObjectId,
    effect: Effect,
    began: Instant,
    /// Until when it may be carried out if there is no response; none: it got one.
    until: Option<Instant>,
}

impl Sending<'_> {
    /// The response shows the result.
    pub fn responded(mut self) {
        self.until = None;
    }

    /// The connection ended before the response: the server aborts the request then, if it has not carried it out.
    pub fn lost(mut self) {
        self.until = Some(Instant::now());
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        match self.until {
            None => self.all.verified(self.id, self.began),
            Some(until) => self.all.note(self.id, self.effect, until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_is_open_until_the_server_timed_out_and_recorded_until_it_is_verified() {
        let (unanswered, id) =
            (Unanswered::default(), ObjectId::parse_inventory("prod_a__ConfigMap").unwrap());
        drop(unanswered.sending(&id, Effect::Applies, Duration::from_secs(10)));
        let other = ObjectId::parse_inventory("prod_b__ConfigMap").unwrap();
        assert!(unanswered.may_be_created(&id) && !unanswered.may_be_created(&other));
        unanswered.sending(&id, Effect::Applies, Duration::from_secs(1)).responded();
        assert!(unanswered.may_be_created(&id), "the first write may still come after the second one");
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(!unanswered.may_be_created(&id));
        assert_eq!(unanswered.among([&id, &other]).len(), 1, "its result is unknown");
        unanswered.sending(&id, Effect::Applies, Duration::from_secs(1)).responded();
        assert_eq!(unanswered.among([&id, &other]).len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn unused_entries_are_dropped() {
        let (unanswered, id) =
            (Unanswered::default(), ObjectId::parse_inventory("prod_a__ConfigMap").unwrap());
        drop(unanswered.sending(&id, Effect::Applies, Duration::from_secs(10)));
        tokio::time::advance(KEEP * 2).await;
        let other = ObjectId::parse_inventory("prod_b__ConfigMap").unwrap();
        drop(unanswered.sending(&other, Effect::Applies, Duration::from_secs(10)));
        assert_eq!(unanswered.among([&id, &other]).into_keys().collect::<Vec<_>>(), [other]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_creates_nothing_and_a_connection_that_ended_ends_its_requests() {
        let (unanswered, id) =
            (Unanswered::default(), ObjectId::parse_inventory("prod_a__ConfigMap").unwrap());
        drop(unanswered.sending(&id, Effect::Deletes, Duration::from_secs(10)));
        assert!(!unanswered.may_be_created(&id));
        assert_eq!(unanswered.among([&id])[&id], Instant::now() + Duration::from_secs(15));
        let other = ObjectId::parse_inventory("prod_b__ConfigMap").unwrap();
        unanswered.sending(&other, Effect::Applies, Duration::from_secs(10)).lost();
        assert!(!unanswered.may_be_created(&other) && unanswered.among([&other]).len() == 1);
        unanswered.sending(&other, Effect::Applies, Duration::from_secs(10)).responded();
        assert_eq!(unanswered.among([&other]).len(), 0, "the retry got a response");
    }
}
