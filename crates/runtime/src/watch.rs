//! One watch: a list, then its changes, for ever, with a backoff of its own. A fault of one watch, or of one object in
//! it, never disturbs another.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::core::{ApiResource, DynamicObject, NamespaceResourceScope};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use plumb_cluster::watch::resumed;
use plumb_cluster::{NamespacedName, ObjectCache, ObjectEvent, Outages};
use plumb_status::cadence::WATCH_SECONDS;
use plumb_status::message::cut;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::admin::ReadinessGate;

/// After this time of failures a watch makes the process unready; at once where its first list has not come.
const UNREADY_AFTER: Duration = Duration::from_secs(30);
/// After this time without a failure a watch that has seen nothing counts as healthy: longer than the longest pause
/// and the longest wait for an answer together.
const HEALTHY_AFTER: Duration = Duration::from_secs(90);

/// How many bytes of the reason are kept why an object cannot be read.
const PROBLEM_BYTES_MAX: usize = 1 << 10;

/// What can be watched.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<O> Watched for O where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Which objects are watched.
#[derive(Debug, Clone, Default)]
pub struct Watching {
    /// Only those with these labels; all if empty.
    pub labels: String,
    /// Only those in this namespace.
    pub namespace: Option<String>,
}

/// Who hears of changes.
pub type OnChange<O> = Arc<dyn Fn(&ObjectEvent<O>) + Send + Sync>;

/// A watch with its store. It ends only by being dropped.
pub(crate) struct Watch<O: Watched> {
    pub(crate) client: Client,
    pub(crate) outages: Outages,
    pub(crate) watching: Watching,
    pub(crate) store: ObjectCache<O>,
    pub(crate) on_change: OnChange<O>,
    pub(crate) health: WatchHealth,
}

/// Whether a watch works, as readiness hears of it.
pub(crate) struct WatchHealth {
    gate: ReadinessGate,
    /// Since when it fails, and when it failed last.
    failing: Option<(Instant, Instant)>,
}

impl WatchHealth {
    /// A watch that works until it fails.
    pub(crate) fn new(gate: ReadinessGate) -> Self {
        gate.open();
        Self { gate, failing: None }
    }

    fn worked(&mut self) {
        self.failing = None;
        self.gate.open();
    }

    fn failed(&mut self, is_synced: bool) {
        let now = Instant::now();
        let since = self.failing.map_or(now, |(since, _)| since);
        self.failing = Some((since, now));
        if !is_synced || now - since >= UNREADY_AFTER {
            self.gate.close();
        }
    }

    /// Resolves when a watch that failed has not failed for long enough. A quiet watch says nothing of its health.
    async fn healthy(&self) {
        match self.failing {
            Some((_, last)) => tokio::time::sleep_until(last + HEALTHY_AFTER).await,
            None => std::future::pending().await,
        }
    }
}

impl<O: Watched> Watch<O> {
    pub(crate) async fn run(mut self) {
        let resource = ApiResource::erase::<O>(&());
        let api: Api<DynamicObject> = match &self.watching.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let config = watcher::Config::default().labels(&self.watching.labels).timeout(WATCH_SECONDS);
        let mut events = resumed(watcher::watcher(api, config), &self.outages);
        let mut listed = BTreeSet::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.health.healthy() => {
                    self.health.worked();
                    continue;
                }
            };
            let Some(event) = event else { return };
            // The beginning of a list is no answer yet.
            match &event {
                Ok(Event::Init) => {}
                Ok(_) => self.health.worked(),
                Err(_) => self.health.failed(self.store.is_synced()),
            }
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.insert(NamespacedName::new(
                        object.namespace().unwrap_or_default(),
                        object.name_any(),
                    ));
                    self.applied(object);
                }
                Ok(Event::InitDone) => {
                    for key in self.store.missing(&std::mem::take(&mut listed)) {
                        self.deleted(&key);
                    }
                    self.store.note_synced();
                }
                Ok(Event::Apply(object)) => self.applied(object),
                Ok(Event::Delete(object)) => {
                    self.deleted(&NamespacedName::new(
                        object.namespace().unwrap_or_default(),
                        object.name_any(),
                    ));
                }
                Err(error) => {
                    let error = plumb_cluster::watch_cause(&error);
                    tracing::warn!(kind = %O::kind(&()), error, "watch failed, backing off");
                }
            }
        }
    }

    fn applied(&self, object: DynamicObject) {
        let key = NamespacedName::new(object.namespace().unwrap_or_default(), object.name_any());
        match read::<O>(&object) {
            Ok(read) => {
                if let Some(change) = self.store.put(read) {
                    (self.on_change)(&change);
                }
            }
            Err(message) => {
                tracing::error!(kind = %O::kind(&()), name = key.name, namespace = key.namespace, error = message, "failed to decode object");
                self.store.note_unreadable(&key);
                (self.on_change)(&ObjectEvent::Unreadable { key, message, raw: Box::new(object) });
            }
        }
    }

    fn deleted(&self, key: &NamespacedName) {
        if let Some(change) = self.store.remove(key) {
            (self.on_change)(&change);
        }
    }
}

/// Reads an object as its type.
pub(crate) fn read<O: DeserializeOwned>(object: &DynamicObject) -> Result<O, String> {
    let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    // The message quotes what it does not understand.
    serde_json::from_value(value).map_err(|error| cut(&error.to_string(), PROBLEM_BYTES_MAX))
}

#[cfg(test)]
mod tests;
