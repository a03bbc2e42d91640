//! Jobs per namespace: in order inside of one, one at a time, the namespaces in turn. Threads and clocks never enter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many events wait to be matched in one namespace; further ones are dropped.
pub const WAITING_PER_NAMESPACE_MAX: usize = 1024;

/// Jobs that wait.
pub struct FairQueue<J> {
    waiting: BTreeMap<String, VecDeque<J>>,
    /// Namespaces in which something waits and nothing runs, in the order in which they are served.
    turns: VecDeque<String>,
    running: BTreeSet<String>,
}

/// Too many jobs wait in this namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{WAITING_PER_NAMESPACE_MAX} events wait to be matched in this namespace")]
pub struct Full;

impl<J> FairQueue<J> {
    /// Nothing waits.
    pub fn new() -> Self {
        Self { waiting: BTreeMap::new(), turns: VecDeque::new(), running: BTreeSet::new() }
    }

    /// Puts a job at the end of a namespace's queue, if there is room.
    pub fn offer(&mut self, namespace: &str, job: J) -> Result<(), Full> {
        if self.waiting.get(namespace).is_some_and(|jobs| jobs.len() >= WAITING_PER_NAMESPACE_MAX) {
            return Err(Full);
        }
        self.push(namespace, job);
        Ok(())
    }

    /// Puts a job at the end of a namespace's queue, whatever waits there: for jobs that are bounded by themselves.
    pub fn push(&mut self, namespace: &str, job: J) {
        let jobs = self.waiting.entry(namespace.to_owned()).or_default();
        jobs.push_back(job);
        if jobs.len() == 1 && !self.running.contains(namespace) {
            self.turns.push_back(namespace.to_owned());
        }
    }

    /// The next job. Its namespace has no other until [`done`](Self::done).
    pub fn start(&mut self) -> Option<(String, J)> {
        let namespace = self.turns.pop_front()?;
        let jobs = self.waiting.get_mut(&namespace)?;
        let job = jobs.pop_front()?;
        if jobs.is_empty() {
            self.waiting.remove(&namespace);
        }
        self.running.insert(namespace.clone());
        Some((namespace, job))
    }

    /// The job of a namespace has ended.
    pub fn done(&mut self, namespace: &str) {
        if self.running.remove(namespace) && self.waiting.contains_key(namespace) {
            self.turns.push_back(namespace.to_owned());
        }
    }

    /// Whether something waits.
    #[cfg(test)]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_take_turns_and_keep_their_own_order() {
        let mut queue = FairQueue::new();
        for job in ["a1", "a2", "a3"] {
            queue.push("a", job);
        }
        queue.push("b", "b1");
        let start = |queue: &mut FairQueue<&'static str>| queue.start().map(|(_, job)| job);
        assert_eq!((start(&mut queue), start(&mut queue), start(&mut queue)), (Some("a1"), Some("b1"), None));
        queue.done("a");
        queue.push("c", "c1");
        assert_eq!((start(&mut queue), start(&mut queue)), (Some("a2"), Some("c1")));
        for namespace in ["a", "b", "c"] {
            queue.done(namespace);
        }
        assert_eq!(start(&mut queue), Some("a3"));
        queue.done("a");
        assert!(queue.is_idle());
    }

    #[test]
    fn a_full_namespace_refuses_and_the_others_do_not() {
        let mut queue = FairQueue::new();
        for job in 0..WAITING_PER_NAMESPACE_MAX {
            assert_eq!(queue.offer("a", job), Ok(()));
        }
        assert_eq!(queue.offer("a", 0), Err(Full));
        assert_eq!(queue.offer("b", 0), Ok(()));
        queue.push("a", 0);
    }
}
