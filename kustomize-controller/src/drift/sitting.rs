//! Sitting: one turn with the desk's state in hand: who is asked for, when, and what is to be told afterwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use plumb_manifests::ObjectId;
use plumb_planning::drift::{Due, Telling};
use plumb_planning::ownership::Owner;
use plumb_runtime::Key;
use plumb_status::Occurrence;
use tokio::time::Instant;

use super::book::{Book, Errand, Kind, Phase};
use super::desk::Shared;
use super::kinds::KindCounts;
use super::unverified::Glance;

/// A Kustomization, or one object of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub key: Key,
    pub id: Option<ObjectId>,
}

/// Namespace and name of objects of one kind, with who keeps them.
type Names = BTreeMap<(String, String), Key>;

/// Everything that the desk keeps. Each object stands at most once in each queue and has at most one time.
#[derive(Default)]
pub(super) struct State {
    pub books: BTreeMap<Key, Book>,
    /// By group and kind.
    pub index: BTreeMap<(String, String), Names>,
    pub ready: VecDeque<(Key, ObjectId)>,
    pub deferred: VecDeque<(Key, ObjectId)>,
    pub times: BTreeSet<(Instant, Place)>,
    pub running: usize,
    pub running_deferred: usize,
    /// Looks at what an attempt may be about to overwrite.
    pub glances: VecDeque<Glance>,
    pub glancing: usize,
    /// The kinds that are watched.
    pub kinds: KindCounts,
    /// Kinds that may not be watched.
    pub blind: BTreeSet<Kind>,
    /// Kinds that are not served.
    pub gone: BTreeSet<Kind>,
    /// Kustomizations that cannot be read: they are suspended whatever their last terms say.
    pub unreadable: BTreeSet<Key>,
}

/// What is passed on after a sitting.
#[derive(Default)]
pub(super) struct Post {
    pub occurrences: Vec<(Key, Occurrence)>,
    pub changed: BTreeSet<Key>,
}

pub(super) struct Sitting<'a> {
    pub shared: &'a Shared,
    pub state: &'a mut State,
    pub now: Timestamp,
    pub at: Instant,
    post: Post,
    /// Books of which something may have to be told.
    touched: BTreeSet<Key>,
}

impl State {
    /// Who keeps an object.
    pub fn keeper(&self, id: &ObjectId) -> Option<&Key> {
        let names = self.index.get(&(id.group.clone(), id.kind.clone()))?;
        names.get(&(id.namespace.clone(), id.name.clone()))
    }

    pub fn enter(&mut self, id: &ObjectId, key: &Key) {
        let names = self.index.entry((id.group.clone(), id.kind.clone())).or_default();
        names.insert((id.namespace.clone(), id.name.clone()), key.clone());
    }

    pub fn strike(&mut self, id: &ObjectId, key: &Key) {
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
    pub fn kept_of(&self, group: &str, kind: &str) -> Vec<(Key, ObjectId)> {
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

impl<'a> Sitting<'a> {
    pub fn new(shared: &'a Shared, state: &'a mut State) -> Self {
        let now = shared.deps.cluster.now();
        Self { shared, state, now, at: Instant::now(), post: Post::default(), touched: BTreeSet::new() }
    }

    /// What is to be passed on. Reports and times of touched books are looked at once, at the end.
    pub fn close(mut self) -> Post {
        for key in std::mem::take(&mut self.touched) {
            if self.may_review(&key) {
                self.review(&key);
            }
        }
        self.post
    }

    /// The book of a Kustomization, a new one if there is none.
    pub fn book(&mut self, key: &Key) -> &mut Book {
        let fresh = || Book { reported: Some((None, None)), ..Book::default() };
        self.state.books.entry(key.clone()).or_insert_with(fresh)
    }

    /// A book may have something to tell, or another time to wait for.
    pub fn touch(&mut self, key: &Key) {
        self.touched.insert(key.clone());
    }

    pub fn changed(&mut self, key: &Key) {
        self.post.changed.insert(key.clone());
    }

    /// Tells, many at once if there are many.
    pub fn tell(&mut self, key: &Key, tellings: Vec<Telling>) {
        let now = self.now;
        let Some(book) = self.state.books.get_mut(key) else { return };
        let occurrences = book.burst.offer(tellings, now);
        self.send(key, occurrences);
        self.touch(key);
    }

    /// Tells at once.
    pub fn send(&mut self, key: &Key, occurrences: Vec<Occurrence>) {
        let origin = self.state.books.get(key).and_then(|book| book.terms.origin_revision.clone());
        let signed = occurrences.into_iter().map(|occurrence| match &origin {
            Some(origin) => (key.clone(), occurrence.with("originRevision", origin)),
            None => (key.clone(), occurrence),
        });
        self.post.occurrences.extend(signed);
    }

    /// Asks for a look at an object. Further reasons join the look that is already to come.
    pub fn request(&mut self, key: &Key, id: &ObjectId, errand: Errand) {
        let Some(book) = self.state.books.get_mut(key) else { return };
        let held = book.holds > 0;
        let Some(kept) = book.objects.get_mut(id) else { return };
        if !kept.is_watched() && !errand.restore {
            return;
        }
        kept.errand = Some(Errand::joined(kept.errand.take(), errand));
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
            Phase::Idle | Phase::Deferred => match kept.pace.ask(self.now) {
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
    pub fn set_time(&mut self, key: &Key, id: &ObjectId, when: Timestamp) {
        let at = self.instant(when);
        let Some(kept) = self.state.books.get_mut(key).and_then(|book| book.objects.get_mut(id)) else {
            return;
        };
        let place = Place { key: key.clone(), id: Some(id.clone()) };
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
    pub fn clear_time(&mut self, key: &Key, id: &ObjectId) {
        let Some(kept) = self.state.books.get_mut(key).and_then(|book| book.objects.get_mut(id)) else {
            return;
        };
        if let Some(due) = kept.due.take() {
            self.state.times.remove(&(due, Place { key: key.clone(), id: Some(id.clone()) }));
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
pub(super) fn owner(key: &Key) -> Owner {
    Owner { name: key.name.clone(), namespace: key.namespace.clone() }
}
