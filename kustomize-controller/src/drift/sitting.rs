//! Sitting: one turn with the desk's state in hand: who is asked for, when, and what is to be told afterwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use plumb_cluster::NamespacedName;
use plumb_manifests::ObjectId;
use plumb_planning::drift::{DriftEvent, Due};
use plumb_planning::ownership::Owner;
use plumb_status::EventDraft;
use tokio::time::Instant;

use super::book::{CompareRequest, Kind, KustomizationState, Phase};
use super::desk::Shared;
use super::kinds::KindCounts;
use super::unverified::PreApplyRead;

/// A Kustomization, or one object of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub key: NamespacedName,
    pub id: Option<ObjectId>,
}

/// Namespace and name of objects of one kind, with who keeps them.
type Names = BTreeMap<(String, String), NamespacedName>;

/// Everything that the desk keeps. Each object stands at most once in each queue and has at most one time.
#[derive(Default)]
pub(super) struct State {
    pub books: BTreeMap<NamespacedName, KustomizationState>,
    /// By group and kind.
    pub index: BTreeMap<(String, String), Names>,
    pub ready: VecDeque<(NamespacedName, ObjectId)>,
    pub deferred: VecDeque<(NamespacedName, ObjectId)>,
    pub times: BTreeSet<(Instant, Timer)>,
    pub running: usize,
    pub running_deferred: usize,
    /// Looks at what an attempt may be about to overwrite.
    pub glances: VecDeque<PreApplyRead>,
    pub glancing: usize,
    /// The kinds that are watched.
    pub kinds: KindCounts,
    /// Kinds that may not be watched.
    pub blind: BTreeSet<Kind>,
    /// Kinds that are not served.
    pub gone: BTreeSet<Kind>,
    /// Kustomizations that cannot be read: they are suspended whatever their last terms say.
    pub unreadable: BTreeSet<NamespacedName>,
}

/// What is passed on after a sitting.
#[derive(Default)]
pub(super) struct Effects {
    pub events: Vec<(NamespacedName, EventDraft)>,
    pub changed: BTreeSet<NamespacedName>,
}

pub(super) struct Step<'a> {
    pub shared: &'a Shared,
    pub state: &'a mut State,
    pub now: Timestamp,
    pub at: Instant,
    post: Effects,
    /// Books of which something may have to be told.
    touched: BTreeSet<NamespacedName>,
}

impl State {
    /// Who keeps an object.
    pub fn keeper(&self, id: &ObjectId) -> Option<&NamespacedName> {
        let names = self.index.get(&(id.group.clone(), id.kind.clone()))?;
        names.get(&(id.namespace.clone(), id.name.clone()))
    }

    pub fn enter(&mut self, id: &ObjectId, key: &NamespacedName) {
        let names = self.index.entry((id.group.clone(), id.kind.clone())).or_default();
        names.insert((id.namespace.clone(), id.name.clone()), key.clone());
    }

    pub fn strike(&mut self, id: &ObjectId, key: &NamespacedName) {
        let kind = (id.group.clone(), id.kind.clone());
        let Some(names) = self.index.get_mut(&kind) else { return };
        let name = (id.namespace.clone(), id.name.clone());
        if names.get(&name) == Some(key) {
            names.remove(&name);
        }
        if names.is_empty() {
            self.index.remove(&kind);
        }
    }

    /// All kept objects of a group and kind.
    pub fn kept_of(&self, group: &str, kind: &str) -> Vec<(NamespacedName, ObjectId)> {
        let names = self.index.get(&(group.to_owned(), kind.to_owned()));
        names
            .into_iter()
            .flatten()
            .map(|((namespace, name), key)| {
                let id = ObjectId {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    group: group.to_owned(),
                    kind: kind.to_owned(),
                };
                (key.clone(), id)
            })
            .collect()
    }
}

impl<'a> Step<'a> {
    pub fn new(shared: &'a Shared, state: &'a mut State) -> Self {
        let now = shared.deps.cluster.now();
        Self { shared, state, now, at: Instant::now(), post: Effects::default(), touched: BTreeSet::new() }
    }

    /// What is to be passed on. Reports and times of touched books are looked at once, at the end.
    pub fn close(mut self) -> Effects {
        for key in std::mem::take(&mut self.touched) {
            if self.may_review(&key) {
                self.review(&key);
            }
        }
        self.post
    }

    /// The book of a Kustomization, a new one if there is none.
    pub fn book(&mut self, key: &NamespacedName) -> &mut KustomizationState {
        let fresh = || KustomizationState { reported: Some((None, None)), ..KustomizationState::default() };
        self.state.books.entry(key.clone()).or_insert_with(fresh)
    }

    /// A book may have something to tell, or another time to wait for.
    pub fn touch(&mut self, key: &NamespacedName) {
        self.touched.insert(key.clone());
    }

    pub fn changed(&mut self, key: &NamespacedName) {
        self.post.changed.insert(key.clone());
    }

    /// Tells, many at once if there are many.
    pub fn tell(&mut self, key: &NamespacedName, tellings: Vec<DriftEvent>) {
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key) else { return };
        let events = book.burst.offer(tellings, now);
        self.send(key, events);
        self.touch(key);
    }

    /// Tells at once.
    pub fn send(&mut self, key: &NamespacedName, events: Vec<EventDraft>) {
        let origin = self.state.books.get(key).and_then(|book| book.terms.origin_revision.clone());
        let signed = events.into_iter().map(|event| match &origin {
            Some(origin) => (key.clone(), event.with("originRevision", origin)),
            None => (key.clone(), event),
        });
        self.post.events.extend(signed);
    }

    /// Asks for a look at an object. Further reasons join the look that is already to come.
    pub fn request(&mut self, key: &NamespacedName, id: &ObjectId, errand: CompareRequest) {
        let Some(book) = self.state.books.get_mut(key) else { return };
        let held = book.holds > 0;
        let Some(kept) = book.objects.get_mut(id) else { return };
        if !kept.is_watched() && !errand.restore {
            return;
        }
        kept.errand = Some(CompareRequest::joined(kept.errand.take(), errand));
        if held {
            return;
        }
        match kept.phase {
            Phase::Running | Phase::Queued => {}
            Phase::Idle if errand.background => {
                kept.phase = Phase::Deferred;
                self.state.deferred.push_back((key.clone(), id.clone()));
            }
            Phase::Deferred if errand.background => {}
            Phase::Idle | Phase::Deferred => match kept.pace.request(self.now) {
                Due::Now => {
                    kept.phase = Phase::Queued;
                    self.state.ready.push_back((key.clone(), id.clone()));
                }
                Due::At(when) => self.set_time(key, id, when),
                Due::Joined => {}
            },
        }
    }

    /// An object is looked at again at this time, or earlier.
    pub fn set_time(&mut self, key: &NamespacedName, id: &ObjectId, when: Timestamp) {
        let at = self.instant(when);
        let Some(kept) = self.state.books.get_mut(key).and_then(|book| book.objects.get_mut(id)) else {
            return;
        };
        let place = Timer { key: key.clone(), id: Some(id.clone()) };
        match kept.due {
            Some(due) if due <= at => return,
            Some(due) => {
                self.state.times.remove(&(due, place.clone()));
            }
            None => {}
        }
        kept.due = Some(at);
        self.state.times.insert((at, place));
    }

    /// An object waits for no time any more.
    pub fn clear_time(&mut self, key: &NamespacedName, id: &ObjectId) {
        let Some(kept) = self.state.books.get_mut(key).and_then(|book| book.objects.get_mut(id)) else {
            return;
        };
        if let Some(due) = kept.due.take() {
            self.state.times.remove(&(due, Timer { key: key.clone(), id: Some(id.clone()) }));
        }
    }

    /// A time on the clock of the runtime.
    pub fn instant(&self, when: Timestamp) -> Instant {
        let wait = Duration::try_from(when.duration_since(self.now)).unwrap_or_default();
        self.at.checked_add(wait).unwrap_or(self.at + FAR)
    }
}

/// Stands for a time that will not come.
const FAR: Duration = Duration::from_hours(24 * 365);

/// A Kustomization as the owner of objects.
pub(super) fn owner(key: &NamespacedName) -> Owner {
    Owner { name: key.name.clone(), namespace: key.namespace.clone() }
}
