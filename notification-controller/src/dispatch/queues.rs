//! What waits to be sent, in which order, and when a service that fails is left alone. Fair per namespace and, inside of one,
//! per Provider; notifications of one object to one Provider keep their order. The sending never enters, nor does a clock:
//! `now` is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use plumb_api::meta::NamespacedName;
use plumb_status::cadence::Backoff;
use tokio::time::Instant;

/// How many sends are under way at once.
pub const RUNNING_MAX: usize = 128;
/// Sends beyond this count are for namespaces that have none under way, so that no few namespaces hold all.
pub const RUNNING_SHARED_MAX: usize = 64;
/// How many sends of one namespace are under way at once.
pub const RUNNING_PER_NAMESPACE_MAX: usize = 16;
/// How many sends to one Provider are under way at once.
pub const RUNNING_PER_PROVIDER_MAX: usize = 4;
/// How many notifications wait for one Provider; further ones are dropped.
pub const WAITING_PER_PROVIDER_MAX: usize = 256;
/// How many notifications wait in one namespace; further ones are dropped.
pub const WAITING_PER_NAMESPACE_MAX: usize = 2048;
/// After so many notifications in a row that did not arrive, a service is left alone for a while.
pub const FAILURES_MAX: u32 = 3;
/// How long a service is left alone then, and after each further failure.
const BREAKER_BACKOFF: Backoff = Backoff { min: Duration::from_secs(10), max: Duration::from_mins(5) };

/// Notifications that wait, and how many are under way.
pub struct ProviderQueues<T> {
    namespaces: BTreeMap<String, NamespaceQueue<T>>,
    /// Namespaces in which something may start, in the order in which they are served.
    turns: VecDeque<String>,
    running: usize,
}

struct NamespaceQueue<T> {
    providers: BTreeMap<String, ProviderQueue<T>>,
    /// Providers for which something may start.
    turns: VecDeque<String>,
    running: usize,
    waiting: usize,
    has_turn: bool,
}

struct ProviderQueue<T> {
    waiting: VecDeque<Waiting<T>>,
    /// The objects of which a notification is under way.
    running: BTreeSet<String>,
    breaker: Breaker,
    has_turn: bool,
}

/// A notification that waits.
pub struct Waiting<T> {
    /// The object that it is about: the next one about it waits for this one.
    pub object: String,
    /// What is sent.
    pub item: T,
    /// It does not start before.
    not_before: Option<Instant>,
}

/// Whether a service answers.
#[derive(Default)]
struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
}

/// There is no room for a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Too many wait for this Provider.
    #[error("{WAITING_PER_PROVIDER_MAX} notifications wait for this Provider")]
    Provider,
    /// Too many wait in this namespace.
    #[error("{WAITING_PER_NAMESPACE_MAX} notifications wait in this namespace")]
    Namespace,
}

/// What a send says about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered, be it with a rejection.
    Answers,
    /// It did not answer, or answered that it cannot.
    Fails,
    /// It was not called.
    Unknown,
}

impl<T> ProviderQueues<T> {
    /// Nothing waits.
    pub fn new() -> Self {
        Self { namespaces: BTreeMap::new(), turns: VecDeque::new(), running: 0 }
    }

    /// Puts a notification about an object at the end of a Provider's queue.
    pub fn offer(&mut self, id: &NamespacedName, object: String, item: T) -> Result<(), Full> {
        let namespace = self.namespaces.entry(id.namespace.clone()).or_insert_with(NamespaceQueue::new);
        if namespace.waiting >= WAITING_PER_NAMESPACE_MAX {
            return Err(Full::Namespace);
        }
        let provider = namespace.providers.entry(id.name.clone()).or_insert_with(ProviderQueue::new);
        if provider.waiting.len() >= WAITING_PER_PROVIDER_MAX {
            return Err(Full::Provider);
        }
        provider.waiting.push_back(Waiting { object, item, not_before: None });
        namespace.waiting += 1;
        self.give_turn(id);
        Ok(())
    }

    /// The next notification that may start. It is under way until [`done`](Self::done) or [`retry`](Self::retry).
    pub fn start(&mut self, now: Instant) -> Option<(NamespacedName, Waiting<T>)> {
        for _ in 0..self.turns.len() {
            if self.running >= RUNNING_MAX {
                return None;
            }
            let name = self.turns.pop_front()?;
            let Some(namespace) = self.namespaces.get_mut(&name) else { continue };
            let has_room = namespace.running < RUNNING_PER_NAMESPACE_MAX
                && (self.running < RUNNING_SHARED_MAX || namespace.running == 0);
            let started = if has_room { namespace.start(now) } else { None };
            if namespace.turns.is_empty() {
                namespace.has_turn = false;
            } else {
                self.turns.push_back(name.clone());
            }
            if let Some((provider, waiting)) = started {
                self.running += 1;
                return Some((NamespacedName::new(name, provider), waiting));
            }
        }
        None
    }

    /// A notification is no longer under way. Returns for how long the service is left alone, where that begins now.
    pub fn done(
        &mut self,
        id: &NamespacedName,
        object: &str,
        health: Health,
        now: Instant,
    ) -> Option<Duration> {
        let provider = self.ended(id, object)?;
        let pause = provider.breaker.note(health, now);
        self.wake(id, now);
        pause
    }

    /// A notification is no longer under way and is to start once more, not before this time: ahead of the later ones about
    /// the same object.
    pub fn retry(&mut self, id: &NamespacedName, object: String, item: T, not_before: Instant) {
        let Some(provider) = self.ended(id, &object) else { return };
        provider.waiting.push_front(Waiting { object, item, not_before: Some(not_before) });
        if let Some(namespace) = self.namespaces.get_mut(&id.namespace) {
            namespace.waiting += 1;
        }
        self.give_turn(id);
    }

    /// Something about a Provider changed, or a time has come: gives it a turn, or forgets it where nothing is known of it
    /// any more.
    pub fn wake(&mut self, id: &NamespacedName, now: Instant) {
        self.give_turn(id);
        let Some(namespace) = self.namespaces.get_mut(&id.namespace) else { return };
        if namespace.providers.get(&id.name).is_some_and(|provider| provider.is_idle(now)) {
            namespace.providers.remove(&id.name);
        }
        if namespace.providers.is_empty() {
            self.namespaces.remove(&id.namespace);
        }
    }
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.namespaces.values().map(|namespace| namespace.waiting).sum()
    }

    /// How many are under way.
    pub fn running(&self) -> usize {
        self.running
    }

    fn ended(&mut self, id: &NamespacedName, object: &str) -> Option<&mut ProviderQueue<T>> {
        let namespace = self.namespaces.get_mut(&id.namespace)?;
        let provider = namespace.providers.get_mut(&id.name)?;
        provider.running.remove(object).then_some(())?;
        namespace.running -= 1;
        self.running -= 1;
        Some(provider)
    }

    fn give_turn(&mut self, id: &NamespacedName) {
        let Some(namespace) = self.namespaces.get_mut(&id.namespace) else { return };
        let Some(provider) = namespace.providers.get_mut(&id.name) else { return };
        if provider.waiting.is_empty() {
            return;
        }
        if !provider.has_turn {
            provider.has_turn = true;
            namespace.turns.push_back(id.name.clone());
        }
        if !namespace.has_turn {
            namespace.has_turn = true;
            self.turns.push_back(id.namespace.clone());
        }
    }
}

impl<T> NamespaceQueue<T> {
    fn new() -> Self {
        let (providers, turns) = (BTreeMap::new(), VecDeque::new());
        Self { providers, turns, running: 0, waiting: 0, has_turn: false }
    }

    fn start(&mut self, now: Instant) -> Option<(String, Waiting<T>)> {
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let Some(provider) = self.providers.get_mut(&name) else { continue };
            let started = provider.start(now);
            // One that has nothing to start gets its next turn when it is woken.
            if started.is_some() && !provider.waiting.is_empty() {
                self.turns.push_back(name.clone());
            } else {
                provider.has_turn = false;
            }
            if let Some(waiting) = started {
                self.running += 1;
                self.waiting -= 1;
                return Some((name, waiting));
            }
        }
        None
    }
}

impl<T> ProviderQueue<T> {
    fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            running: BTreeSet::new(),
            breaker: Breaker::default(),
            has_turn: false,
        }
    }

    /// The first notification whose object has no earlier one under way or waiting for its next try.
    fn start(&mut self, now: Instant) -> Option<Waiting<T>> {
        if self.running.len() >= self.breaker.running_max(now) {
            return None;
        }
        let mut held: BTreeSet<&str> = self.running.iter().map(String::as_str).collect();
        let at = self.waiting.iter().position(|waiting| {
            let is_due = waiting.not_before.is_none_or(|time| time <= now);
            held.insert(&waiting.object) && is_due
        })?;
        let waiting = self.waiting.remove(at)?;
        self.running.insert(waiting.object.clone());
        Some(waiting)
    }

    /// Whether nothing waits, nothing is under way, and the service is not left alone.
    fn is_idle(&self, now: Instant) -> bool {
        let is_open = self.breaker.open_until.is_some_and(|until| until > now);
        self.waiting.is_empty() && self.running.is_empty() && !is_open
    }
}

impl Breaker {
    /// How many sends may be under way: after failures, one that finds out.
    fn running_max(&self, now: Instant) -> usize {
        match self.open_until {
            None => RUNNING_PER_PROVIDER_MAX,
            Some(until) if until <= now => 1,
            Some(_) => 0,
        }
    }

    fn note(&mut self, health: Health, now: Instant) -> Option<Duration> {
        match health {
            Health::Unknown => None,
            Health::Answers => {
                *self = Self::default();
                None
            }
            Health::Fails => {
                self.failures = self.failures.saturating_add(1);
                // Sends that began before it opened do not prolong the pause.
                let is_open = self.open_until.is_some_and(|until| until > now);
                if self.failures < FAILURES_MAX || is_open {
                    return None;
                }
                let pause = BREAKER_BACKOFF.without_jitter(self.failures - FAILURES_MAX + 1);
                self.open_until = Some(now + pause);
                Some(pause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: &str, name: &str) -> NamespacedName {
        NamespacedName::new(namespace, name)
    }

    /// Everything that may start now: `namespace/provider object`.
    fn started(queues: &mut ProviderQueues<u32>, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queues.start(now))
            .map(|(id, waiting)| format!("{id} {}", waiting.object))
            .collect()
    }

    fn fill(queues: &mut ProviderQueues<u32>, id: &NamespacedName, count: usize) {
        for at in 0..count {
            queues.offer(id, format!("o{at}"), 0).expect("room");
        }
    }

    #[test]
    fn sixteen_providers_of_one_namespace_hold_no_send_of_another() {
        let (mut queues, now) = (ProviderQueues::new(), Instant::now());
        for provider in 0..16 {
            fill(&mut queues, &id("hostile", &provider.to_string()), 100);
        }
        assert_eq!(started(&mut queues, now).len(), RUNNING_PER_NAMESPACE_MAX);
        fill(&mut queues, &id("honest", "p"), 1);
        assert_eq!(started(&mut queues, now), ["honest/p o0"]);
    }

    #[test]
    fn many_namespaces_that_hang_leave_a_send_for_each_further_one() {
        let (mut queues, now) = (ProviderQueues::new(), Instant::now());
        for namespace in 0..40 {
            fill(&mut queues, &id(&format!("hostile-{namespace}"), "a"), 100);
            fill(&mut queues, &id(&format!("hostile-{namespace}"), "b"), 100);
        }
        let running = started(&mut queues, now).len();
        assert!((RUNNING_SHARED_MAX..RUNNING_MAX).contains(&running), "{running}");
        fill(&mut queues, &id("honest", "p"), 5);
        assert_eq!(started(&mut queues, now), ["honest/p o0"], "one at a time while it is crowded");
        assert_eq!(queues.done(&id("honest", "p"), "o0", Health::Answers, now), None);
        assert_eq!(started(&mut queues, now), ["honest/p o1"]);
    }

    #[test]
    fn namespaces_and_providers_take_turns() {
        let (mut queues, now) = (ProviderQueues::new(), Instant::now());
        fill(&mut queues, &id("a", "x"), 3);
        fill(&mut queues, &id("a", "y"), 1);
        fill(&mut queues, &id("b", "z"), 2);
        let order = ["a/x o0", "b/z o0", "a/y o0", "b/z o1", "a/x o1", "a/x o2"];
        assert_eq!(started(&mut queues, now), order);
    }

    #[test]
    fn a_provider_has_no_more_than_its_share_under_way() {
        let (mut queues, now) = (ProviderQueues::new(), Instant::now());
        fill(&mut queues, &id("a", "x"), 6);
        assert_eq!(started(&mut queues, now).len(), RUNNING_PER_PROVIDER_MAX);
        queues.done(&id("a", "x"), "o2", Health::Answers, now);
        assert_eq!(started(&mut queues, now), ["a/x o4"]);
    }

    #[test]
    fn notifications_of_one_object_keep_their_order_also_over_retries() {
        let (mut queues, now) = (ProviderQueues::new(), Instant::now());
        let provider = id("a", "x");
        for (object, item) in [("one", 1), ("one", 2), ("two", 3), ("one", 4)] {
            queues.offer(&provider, object.into(), item).expect("room");
        }
        let items = |queues: &mut ProviderQueues<u32>, now| -> Vec<u32> {
            std::iter::from_fn(|| queues.start(now)).map(|(_, waiting)| waiting.item).collect()
        };
        assert_eq!(items(&mut queues, now), [1, 3]);
        let later = now + Duration::from_secs(2);
        queues.retry(&provider, "one".into(), 1, later);
        assert_eq!(items(&mut queues, now), [0; 0], "the later ones wait for the retry");
        queues.wake(&provider, later);
        assert_eq!(items(&mut queues, later), [1]);
        queues.done(&provider, "one", Health::Answers, later);
        assert_eq!(items(&mut queues, later), [2]);
        queues.done(&provider, "one", Health::Answers, later);
        assert_eq!(items(&mut queues, later), [4]);
    }

    #[test]
    fn a_failing_service_backs_off_and_is_probed_once() {
        let (mut queues, mut now) = (ProviderQueues::new(), Instant::now());
        let provider = id("a", "x");
        fill(&mut queues, &provider, 50);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let Some((_, waiting)) = queues.start(now) else { panic!("a send may start") };
            if let Some(pause) = queues.done(&provider, &waiting.object, Health::Fails, now) {
                pauses.push(pause.as_secs());
                assert!(queues.start(now).is_none(), "left alone");
                now += pause;
                queues.wake(&provider, now);
                let Some((_, probe)) = queues.start(now) else { panic!("one send finds out") };
                assert!(queues.start(now).is_none(), "and no other");
                queues.retry(&provider, probe.object, 0, now);
            }
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300, 300, 300]);
        let Some((_, waiting)) = queues.start(now) else { panic!("a send may start") };
        queues.done(&provider, &waiting.object, Health::Answers, now);
        assert_eq!(started(&mut queues, now).len(), RUNNING_PER_PROVIDER_MAX);
    }

    #[test]
    fn a_full_queue_refuses_and_the_others_do_not() {
        let mut queues = ProviderQueues::new();
        fill(&mut queues, &id("a", "x"), WAITING_PER_PROVIDER_MAX);
        assert_eq!(queues.offer(&id("a", "x"), "o".into(), 0), Err(Full::Provider));
        for provider in 1..WAITING_PER_NAMESPACE_MAX / WAITING_PER_PROVIDER_MAX {
            fill(&mut queues, &id("a", &provider.to_string()), WAITING_PER_PROVIDER_MAX);
        }
        assert_eq!(queues.offer(&id("a", "y"), "o".into(), 0), Err(Full::Namespace));
        assert_eq!(queues.offer(&id("b", "x"), "o".into(), 0), Ok(()));
    }

    #[test]
    fn an_empty_queue_leaves_nothing_behind() {
        let (mut queues, now) = (ProviderQueues::new(), Instant::now());
        fill(&mut queues, &id("a", "x"), 1);
        assert_eq!(started(&mut queues, now), ["a/x o0"]);
        queues.done(&id("a", "x"), "o0", Health::Answers, now);
        assert!(
            queues.running() == 0
                && queues.waiting() == 0
                && queues.namespaces.is_empty()
                && queues.turns.is_empty()
        );
    }
}
