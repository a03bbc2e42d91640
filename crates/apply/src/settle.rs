//! Settle: waits until objects are healthy, by watches. Nothing is polled; per object only its verdict is stored.

mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use kube::Api;
use kube::api::DynamicObject;
use kube::core::GroupVersionKind;
use kube::runtime::watcher::{self, Event};
use plumb_cluster::watch::resumed;
use plumb_health::{Verdict, list};
use plumb_manifests::{Object, ObjectId};
use plumb_status::cadence::{Backoff, WATCH_SECONDS};
use tokio::time::Instant;

use plumb_cluster::Budget;
use plumb_cluster::Cluster;
use plumb_cluster::error::RequestError;
use plumb_cluster::mapper::Mapping;

pub use window::WATCHES_MAX;
use window::Window;

/// Up to so many objects of a kind in a namespace are watched one by one; more are watched together.
const SINGLE_WATCHES_MAX: usize = 4;
/// The first and the longest pause before a kind that is not served is looked up again.
const UNSERVED_BACKOFF: Backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(15) };

/// An object to wait for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Which object.
    pub id: ObjectId,
    /// The version in which it is read.
    pub version: String,
}

/// What is waited for, and for how long.
#[derive(Debug, Clone)]
pub struct Wait {
    /// The objects.
    pub targets: Vec<Target>,
    /// Those of them that are deleted after they finish: the wait does not require them once they are absent.
    pub vanishing: BTreeSet<ObjectId>,
    /// Whether one failed object ends the waiting.
    pub fail_fast: bool,
    /// Until when.
    pub budget: Budget,
}

/// How the waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All objects were healthy: at the same time, or, where there are more watches than [`WATCHES_MAX`], each when it
    /// was watched last.
    Healthy,
    /// An object failed, and that was enough.
    Failed,
    /// The time was up.
    TimedOut,
    /// Stopped, by a newer revision or by the end of the process.
    Cancelled,
}

/// What was seen last of each object.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The verdicts.
    pub verdicts: BTreeMap<ObjectId, Verdict>,
    /// How the waiting ended.
    pub end: End,
    /// How long it took.
    pub took: Duration,
}

impl Settled {
    /// Flux's message when objects are not healthy; `None` when they are, or when the wait was cancelled.
    pub fn error_summary(&self) -> Option<String> {
        match self.end {
            End::Healthy | End::Cancelled => None,
            End::Failed => {
                let failed = self.verdicts.iter().filter(|(_, verdict)| verdict.is_failed());
                Some(format!("failed early due to stalled resources: {}", list(failed)))
            }
            End::TimedOut => {
                let late = self.verdicts.iter().filter(|(_, verdict)| !verdict.is_current());
                Some(format!("timeout waiting for: {}", list(late)))
            }
        }
    }
}

/// Waits.
pub async fn settle(cluster: &Cluster, wait: Wait) -> Settled {
    let Wait { targets, vanishing, fail_fast, budget } = wait;
    let began = Instant::now();
    let mut waiting = Waiting::of(&targets, vanishing);
    let mut window = Window::new(cluster, &budget, groups(targets));
    let end = loop {
        if let Some(end) = waiting.end(fail_fast) {
            break end;
        }
        let alarm = waiting.alarm(cluster.now());
        let step = async {
            tokio::select! {
                event = window.next(&waiting) => Some(event),
                () = tokio::time::sleep(alarm.unwrap_or(Duration::MAX)), if alarm.is_some() => None,
            }
        };
        match budget.run(step).await {
            Ok(Some(event)) => {
                waiting.take(event, cluster);
                window.make_room(&waiting);
            }
            Ok(None) => waiting.ring(cluster),
            Err(RequestError::Cancelled) => break End::Cancelled,
            Err(_) => break End::TimedOut,
        }
    };
    Settled { verdicts: waiting.verdicts, end, took: began.elapsed() }
}

struct Waiting {
    verdicts: BTreeMap<ObjectId, Verdict>,
    /// How many are not current: read after every event, so it is counted.
    open: usize,
    failed: usize,
    vanishing: BTreeSet<ObjectId>,
}

impl Waiting {
    fn of(targets: &[Target], vanishing: BTreeSet<ObjectId>) -> Self {
        let unknown = || Verdict::unknown("not seen yet");
        let verdicts: BTreeMap<_, _> = targets.iter().map(|target| (target.id.clone(), unknown())).collect();
        Self { open: verdicts.len(), verdicts, failed: 0, vanishing }
    }

    fn end(&self, fail_fast: bool) -> Option<End> {
        if self.open == 0 {
            Some(End::Healthy)
        } else {
            (fail_fast && self.failed > 0).then_some(End::Failed)
        }
    }

    fn are_current(&self, ids: &[ObjectId]) -> bool {
        ids.iter().all(|id| self.verdicts.get(id).is_some_and(Verdict::is_current))
    }

    fn set(&mut self, id: &ObjectId, verdict: Verdict) {
        let Some(slot) = self.verdicts.get_mut(id) else { return };
        self.open = self.open - usize::from(!slot.is_current()) + usize::from(!verdict.is_current());
        self.failed = self.failed - usize::from(slot.is_failed()) + usize::from(verdict.is_failed());
        *slot = verdict;
    }

    fn set_all(&mut self, ids: &[ObjectId], verdict: &Verdict) {
        for id in ids {
            self.set(id, verdict.clone());
        }
    }

    fn take(&mut self, event: Sighting, cluster: &Cluster) {
        match event {
            Sighting::Is(id, object) => {
                let verdict = plumb_health::assess(&object, cluster.now());
                self.set(&id, verdict);
            }
            Sighting::IsNot(ids) => {
                for id in &ids {
                    let verdict = if self.vanishing.contains(id) {
                        Verdict::current("the object was removed after its TTL expired")
                    } else {
                        Verdict::not_found()
                    };
                    self.set(id, verdict);
                }
            }
            Sighting::Unreadable(ids, why) => self.set_all(&ids, &Verdict::unknown(why)),
        }
    }

    /// How long until an object counts as failed without changing.
    fn alarm(&self, now: jiff::Timestamp) -> Option<Duration> {
        let next = self.verdicts.values().filter_map(|verdict| verdict.fails_at).min()?;
        Some(Duration::try_from(next.duration_since(now)).unwrap_or_default())
    }

    fn ring(&mut self, cluster: &Cluster) {
        let now = cluster.now();
        let due = self.verdicts.iter().filter(|(_, verdict)| verdict.fails_at.is_some_and(|at| at <= now));
        let due: Vec<_> =
            due.map(|(id, verdict)| (id.clone(), Verdict::failed(verdict.message.clone()))).collect();
        for (id, verdict) in due {
            self.set(&id, verdict);
        }
    }
}

/// What a watch shows.
enum Sighting {
    Is(ObjectId, Box<Object>),
    IsNot(Vec<ObjectId>),
    Unreadable(Vec<ObjectId>, String),
}

/// Objects that one watch shows.
#[derive(Clone)]
struct Group {
    kind: GroupVersionKind,
    namespace: String,
    names: BTreeSet<String>,
}

fn groups(targets: Vec<Target>) -> Vec<Group> {
    let mut names: BTreeMap<(String, String, String, String), BTreeSet<String>> = BTreeMap::new();
    for Target { id, version } in targets {
        names.entry((id.group, version, id.kind, id.namespace)).or_default().insert(id.name);
    }
    let mut groups = Vec::new();
    for ((group, version, kind, namespace), names) in names {
        let kind = GroupVersionKind::gvk(&group, &version, &kind);
        if names.len() <= SINGLE_WATCHES_MAX {
            let single = |name: String| Group {
                kind: kind.clone(),
                namespace: namespace.clone(),
                names: BTreeSet::from([name]),
            };
            groups.extend(names.into_iter().map(single));
        } else {
            groups.push(Group { kind, namespace, names });
        }
    }
    groups
}

impl Group {
    fn id(&self, name: &str) -> ObjectId {
        ObjectId {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            group: self.kind.group.clone(),
            kind: self.kind.kind.clone(),
        }
    }

    fn ids(&self) -> Vec<ObjectId> {
        self.names.iter().map(|name| self.id(name)).collect()
    }

    fn watch(self, cluster: Cluster, budget: Budget) -> BoxStream<'static, Sighting> {
        let search = Search { group: self, cluster, budget, lookups: 0, following: None };
        stream::unfold(search, Search::step).boxed()
    }

    fn follow(
        &self,
        cluster: &Cluster,
        mapping: &Mapping,
    ) -> BoxStream<'static, Result<Event<DynamicObject>, watcher::Error>> {
        let (client, resource) = (cluster.client().clone(), &mapping.resource);
        let api: Api<DynamicObject> = if mapping.namespaced {
            Api::namespaced_with(client, &self.namespace, resource)
        } else {
            Api::all_with(client, resource)
        };
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let config = match self.names.first() {
            Some(name) if self.names.len() == 1 => config.fields(&format!("metadata.name={name}")),
            _ => config,
        };
        resumed(watcher::watcher(api, config), cluster.outages())
    }
}

/// A group on its way to being watched.
struct Search {
    group: Group,
    cluster: Cluster,
    budget: Budget,
    /// How often the kind was looked up.
    lookups: u32,
    following: Option<Following>,
}

struct Following {
    events: BoxStream<'static, Result<Event<DynamicObject>, watcher::Error>>,
    api_version: String,
    /// Names shown by the list that is running.
    listed: BTreeSet<String>,
}

impl Search {
    async fn step(mut self) -> Option<(Sighting, Self)> {
        loop {
            if let Some(following) = &mut self.following {
                while let Some(event) = following.events.next().await {
                    if let Some(event) = following.read(event, &self.group) {
                        return Some((event, self));
                    }
                }
                self.following = None;
            }
            if self.lookups > 0 {
                self.budget.pause(UNSERVED_BACKOFF.without_jitter(self.lookups)).await.ok()?;
            }
            self.lookups = self.lookups.saturating_add(1);
            match self.cluster.mapper().resolve(&self.group.kind, &self.budget).await {
                Ok(mapping) => {
                    let events = self.group.follow(&self.cluster, &mapping);
                    let api_version = mapping.resource.api_version.clone();
                    self.following = Some(Following { events, api_version, listed: BTreeSet::new() });
                }
                Err(RequestError::NoMatch { .. }) => return Some((Sighting::IsNot(self.group.ids()), self)),
                Err(error) => return Some((Sighting::Unreadable(self.group.ids(), error.to_string()), self)),
            }
        }
    }
}

impl Following {
    fn read(
        &mut self,
        event: Result<Event<DynamicObject>, watcher::Error>,
        group: &Group,
    ) -> Option<Sighting> {
        match event {
            Ok(Event::Init) => {
                self.listed.clear();
                None
            }
            Ok(Event::InitApply(object)) => {
                let name = object.metadata.name.clone().unwrap_or_default();
                let event = self.event(object, group);
                self.listed.insert(name);
                event
            }
            Ok(Event::InitDone) => {
                let missing = group.names.iter().filter(|name| !self.listed.contains(*name));
                let missing: Vec<_> = missing.map(|name| group.id(name)).collect();
                self.listed.clear();
                (!missing.is_empty()).then_some(Sighting::IsNot(missing))
            }
            Ok(Event::Apply(object)) => self.event(object, group),
            Ok(Event::Delete(object)) => {
                let name = object.metadata.name.filter(|name| group.names.contains(name))?;
                Some(Sighting::IsNot(vec![group.id(&name)]))
            }
            Err(error) => rejection_code(&error).map(|rejection| match rejection {
                404 => Sighting::IsNot(group.ids()),
                _ => Sighting::Unreadable(group.ids(), "the API server denies access to it".to_owned()),
            }),
        }
    }

    fn event(&self, object: DynamicObject, group: &Group) -> Option<Sighting> {
        let name = object.metadata.name.as_ref().filter(|name| group.names.contains(*name))?.clone();
        // A list names the kind once, not on each item.
        let unreadable = |why: String| Some(Sighting::Unreadable(vec![group.id(&name)], why));
        let mut value = match serde_json::to_value(object) {
            Ok(value) => value,
            Err(error) => return unreadable(error.to_string()),
        };
        value["apiVersion"] = self.api_version.clone().into();
        value["kind"] = group.kind.kind.clone().into();
        match Object::new(value) {
            // By the requested id: a cluster-scoped object has no namespace, whatever the request has.
            Ok(object) => Some(Sighting::Is(group.id(&name), Box::new(object))),
            Err(error) => unreadable(error.to_string()),
        }
    }
}

/// The status with which a list or watch was rejected; `None` for transient errors.
fn rejection_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 401 | 403 | 404).then_some(status.code)
        }
        _ => None,
    }
}
