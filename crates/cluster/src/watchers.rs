//! Watchers: one metadata watch for each managed kind, with its own task and its own backoff. They keep nothing per object.
//!
//! What a event means is decided elsewhere (planning's drift); no body of an object is ever read here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use kube::Api;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::GroupVersionKind;
use kube::runtime::watcher::{self, Event};
use plumb_status::cadence::{Backoff, WATCH_SECONDS};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::budget::Budget;
use crate::cause::watch_cause;
use crate::cluster::Cluster;
use crate::error::RequestError;
use crate::mapper::Mapping;
use crate::watch::resumed;

/// How many events may wait for their reader; a full queue slows the watches down, it loses nothing.
pub const QUEUE_MAX: usize = 1024;
/// How many kinds are watched at most.
pub const KINDS_MAX: usize = 512;
/// How many objects one page of a list has.
const PAGE: u32 = 500;
/// The first and the longest pause before a kind that is not served is looked up again.
const GONE_BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_mins(1) };
/// How long one look-up of a kind may take.
const RESOLVE_MAX: Duration = Duration::from_secs(30);

/// What was seen of which kind.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchEvent {
    /// The kind.
    pub kind: GroupVersionKind,
    /// What was seen.
    pub change: WatchChange,
}

/// An event of the watched kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchChange {
    /// An object is there, or changed.
    Seen {
        /// Its `metadata`, without annotations.
        metadata: Value,
        /// Whether it comes from a list: then it may be older than what is known.
        listed: bool,
    },
    /// An object left the selection: it was deleted, or lost its owner labels.
    Deleted {
        /// Its last `metadata`, without annotations.
        metadata: Value,
    },
    /// A list is complete: what is not in it is not there.
    Relisted {
        /// Namespace and name of everything that is there.
        present: BTreeSet<(String, String)>,
    },
    /// The kind may not be watched; emitted once until it may.
    Denied {
        /// The server's message.
        message: String,
    },
    /// The kind is not served; emitted once until it is. The watch starts again with it.
    Gone,
}

/// Watches of the metadata of all objects that a label selector selects, one for each kind. Dropping it stops them all.
pub struct Watchers {
    cluster: Cluster,
    selector: Arc<str>,
    events: mpsc::Sender<WatchEvent>,
    tasks: Mutex<BTreeMap<(String, String, String), DropGuard>>,
    /// Counts signs that the set of served kinds changed.
    served: watch::Sender<u64>,
    end: CancellationToken,
    _guard: DropGuard,
}

impl Watchers {
    /// No watch yet, and the queue on which all of them will report objects with these labels.
    pub fn new(cluster: Cluster, selector: &str) -> (Arc<Self>, mpsc::Receiver<WatchEvent>) {
        let (events, receiver) = mpsc::channel(QUEUE_MAX);
        let end = CancellationToken::new();
        let watchers = Self {
            cluster,
            selector: selector.into(),
            events,
            tasks: Mutex::default(),
            served: watch::Sender::new(0),
            _guard: end.clone().drop_guard(),
            end,
        };
        (Arc::new(watchers), receiver)
    }

    /// Makes the watched kinds exactly these: starts missing watches, stops the others.
    /// Kinds over the limit are returned: they are not watched.
    pub fn watch(&self, kinds: &BTreeSet<(String, String, String)>) -> Vec<GroupVersionKind> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|kind, _| kinds.contains(kind));
        let mut refused = Vec::new();
        for key in kinds {
            let kind = GroupVersionKind::gvk(&key.0, &key.1, &key.2);
            if tasks.contains_key(key) {
                continue;
            }
            if tasks.len() >= KINDS_MAX {
                refused.push(kind);
                continue;
            }
            let stop = self.end.child_token();
            let task = Task {
                kind,
                cluster: self.cluster.clone(),
                selector: Arc::clone(&self.selector),
                events: self.events.clone(),
                served: self.served.subscribe(),
                silence: Silence::None,
            };
            let stopped = stop.clone();
            let running = Box::pin(task.run());
            tokio::spawn(async move { stopped.run_until_cancelled_owned(running).await });
            tasks.insert(key.clone(), stop.drop_guard());
        }
        refused
    }

    /// Group, version and kind of everything that is watched.
    pub fn watched(&self) -> BTreeSet<(String, String, String)> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The set of served kinds may have changed (a definition was seen): missing kinds are looked up at once.
    pub fn kinds_changed(&self) {
        self.cluster.mapper().doubt();
        self.served.send_modify(|count| *count += 1);
    }
}

/// What was emitted last, so that it is not emitted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    None,
    Denied,
    Gone,
}

/// Why a watch ended.
enum Break {
    /// The kind is not served any more.
    Gone,
    /// The receiver was dropped.
    Closed,
}

struct Task {
    kind: GroupVersionKind,
    cluster: Cluster,
    selector: Arc<str>,
    events: mpsc::Sender<WatchEvent>,
    served: watch::Receiver<u64>,
    silence: Silence,
}

impl Task {
    async fn run(mut self) {
        let mut misses = 0_u32;
        loop {
            // Before the look-up, so that a notification during it is not lost.
            self.served.mark_unchanged();
            match self.cluster.mapper().resolve(&self.kind, &Budget::lasting(RESOLVE_MAX)).await {
                Ok(mapping) => match self.follow(&mapping, &mut misses).await {
                    // Discovery may lag behind: the pause below keeps that from becoming a storm of questions.
                    Break::Gone => self.cluster.mapper().forget(&self.kind),
                    Break::Closed => return,
                },
                Err(RequestError::NoMatch { .. }) => {
                    if self.silence != Silence::Gone {
                        self.silence = Silence::Gone;
                        if self.send(WatchChange::Gone).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(kind = %self.kind.kind, error = %error, "failed to look up kind");
                }
            }
            misses = misses.saturating_add(1);
            tokio::select! {
                () = tokio::time::sleep(GONE_BACKOFF.without_jitter(misses)) => self.cluster.mapper().doubt(),
                changed = self.served.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn follow(&mut self, mapping: &Mapping, misses: &mut u32) -> Break {
        let api: Api<PartialObjectMeta<DynamicObject>> =
            Api::all_with(self.cluster.client().clone(), &mapping.resource);
        let config = watcher::Config::default().labels(&self.selector).timeout(WATCH_SECONDS).page_size(PAGE);
        let mut events = resumed(watcher::watcher(api, config), self.cluster.outages());
        let mut present = BTreeSet::new();
        while let Some(event) = events.next().await {
            let news = match event {
                Ok(event) => {
                    // The beginning of a list is no response yet.
                    if !matches!(event, Event::Init) {
                        self.silence = Silence::None;
                        *misses = 0;
                    }
                    read(event, &mut present)
                }
                Err(error) => match self.error_event(&error) {
                    Ok(news) => news,
                    Err(ended) => return ended,
                },
            };
            if let Some(news) = news
                && self.send(news).await.is_err()
            {
                return Break::Closed;
            }
        }
        Break::Gone
    }

    /// The event for an error of a watch, if any.
    fn error_event(&mut self, error: &watcher::Error) -> Result<Option<WatchChange>, Break> {
        let status = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
            other => {
                tracing::debug!(kind = %self.kind.kind, error = watch_cause(other), "watch failed, backing off");
                return Ok(None);
            }
        };
        match status.code {
            404 => Err(Break::Gone),
            401 | 403 if self.silence != Silence::Denied => {
                self.silence = Silence::Denied;
                Ok(Some(WatchChange::Denied { message: status.message.clone() }))
            }
            _ => Ok(None),
        }
    }

    async fn send(&self, news: WatchChange) -> Result<(), ()> {
        self.events.send(WatchEvent { kind: self.kind.clone(), change: news }).await.map_err(drop)
    }
}

fn read(
    event: Event<PartialObjectMeta<DynamicObject>>,
    present: &mut BTreeSet<(String, String)>,
) -> Option<WatchChange> {
    match event {
        Event::Init => {
            present.clear();
            None
        }
        Event::InitApply(object) => {
            let metadata = object.metadata;
            present.insert((
                metadata.namespace.clone().unwrap_or_default(),
                metadata.name.clone().unwrap_or_default(),
            ));
            strip(metadata).map(|metadata| WatchChange::Seen { metadata, listed: true })
        }
        Event::InitDone => Some(WatchChange::Relisted { present: std::mem::take(present) }),
        Event::Apply(object) => {
            strip(object.metadata).map(|metadata| WatchChange::Seen { metadata, listed: false })
        }
        Event::Delete(object) => strip(object.metadata).map(|metadata| WatchChange::Deleted { metadata }),
    }
}

/// Annotations can contain a whole manifest of a Secret, and are not needed here.
fn strip(mut metadata: kube::core::ObjectMeta) -> Option<Value> {
    metadata.annotations = None;
    metadata.owner_references = None;
    serde_json::to_value(metadata).ok()
}
