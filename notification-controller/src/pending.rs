//! Changes of Alerts on their way from the watch to the directory: their patterns are compiled by `matching`. Of several
//! changes of one Alert only the newest is taken in, so no more of them wait than there are Alerts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plumb_api::notification::Alert;
use plumb_cluster::{NamespacedName, ObjectEvent};

use crate::matching::Matching;

/// Takes a change in.
type TakeIn = Arc<dyn Fn(&ObjectEvent<Alert>) + Send + Sync>;

/// The changes that are not taken in yet. Clones share it.
#[derive(Clone)]
pub struct PendingAlerts {
    matching: Matching,
    take_in: TakeIn,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    newest: BTreeMap<NamespacedName, ObjectEvent<Alert>>,
    /// Those that wait and those that are being taken in.
    open: usize,
    /// Whether everything of the first list of the watch has been taken in once.
    was_filled: bool,
}

impl PendingAlerts {
    /// Takes changes in by `take_in`, on the threads of `matching`.
    pub fn new(matching: Matching, take_in: TakeIn) -> Self {
        Self { matching, take_in, state: Arc::default() }
    }

    /// An Alert changed.
    pub fn push(&self, change: &ObjectEvent<Alert>) {
        let key = match change {
            ObjectEvent::Applied { old: _, new } => NamespacedName::of(new.as_ref()),
            ObjectEvent::Deleted { old } => NamespacedName::of(old.as_ref()),
            ObjectEvent::Unreadable { key, message: _, raw: _ } => key.clone(),
        };
        let mut state = self.state();
        if state.newest.insert(key.clone(), change.clone()).is_some() {
            return;
        }
        state.open += 1;
        drop(state);
        let pending = self.clone();
        self.matching.push(&key.namespace.clone(), move || pending.take_in(&key));
    }

    /// Whether the directory has every Alert: `is_synced` says whether the watch has listed all of them. Once it is true it
    /// stays so.
    pub fn is_filled(&self, is_synced: bool) -> bool {
        let mut state = self.state();
        state.was_filled |= is_synced && state.open == 0;
        state.was_filled
    }

    fn take_in(&self, key: &NamespacedName) {
        let _open = Open(self);
        let newest = self.state().newest.remove(key);
        if let Some(change) = newest {
            (self.take_in)(&change);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change that is being taken in, also where that panics.
struct Open<'a>(&'a PendingAlerts);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use serde_json::json;

    use super::*;
    use crate::harness::alert;

    fn applied(name: &str, summary: &str) -> ObjectEvent<Alert> {
        let spec = json!({ "providerRef": { "name": "p" }, "eventSources": [], "summary": summary });
        ObjectEvent::Applied { old: None, new: Arc::new(alert(name, spec)) }
    }

    #[tokio::test]
    async fn only_the_newest_change_is_taken_in_and_readiness_waits_for_it() {
        let matching = Matching::new();
        let (release, held) = mpsc::channel::<()>();
        let (taken, seen) = mpsc::channel();
        let take_in: TakeIn = {
            let taken = Mutex::new(taken);
            Arc::new(move |change: &ObjectEvent<Alert>| {
                let ObjectEvent::Applied { old: _, new } = change else { panic!("applied") };
                taken.lock().unwrap().send(new.spec.summary.clone().unwrap()).unwrap();
            })
        };
        let pending = PendingAlerts::new(matching.clone(), take_in);
        assert!(!pending.is_filled(false));
        // Something of this namespace is under way: the changes wait.
        matching.push("prod", move || held.recv().unwrap());
        for summary in ["one", "two", "three"] {
            pending.push(&applied("a", summary));
        }
        pending.push(&applied("b", "other"));
        assert!(!pending.is_filled(true), "two are open");
        release.send(()).unwrap();
        matching.wait();
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["three", "other"]);
        assert!(pending.is_filled(true));
        assert!(pending.is_filled(false), "for good");
    }
}
