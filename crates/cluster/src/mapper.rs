//! Mapper: from a kind to the path under which the server serves it, cached until it may be outdated.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use kube::Client;
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use plumb_manifests::Object;
use plumb_manifests::scope::Scope;
use serde_json::Value;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::discovery::Snapshot;
use crate::error::RequestError;
use crate::request::segment;

/// After a look at everything that is served, an unknown kind leads to another look no sooner than this.
const REFRESH_PAUSE: Duration = Duration::from_secs(2);
/// How long a kind is taken from its definition, while discovery may not show it yet.
const LEARNED_FOR: Duration = Duration::from_mins(1);
/// How many kinds are taken from definitions at a time.
const LEARNED_MAX: usize = 4096;

/// How a kind is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Mapping {
    /// The kind.
    pub fn kind(&self) -> GroupVersionKind {
        let ApiResource { group, version, kind, api_version: _, plural: _ } = &self.resource;
        GroupVersionKind::gvk(group, version, kind)
    }

    /// The path of an object of this kind.
    pub fn path(&self, namespace: &str, name: &str) -> String {
        let ApiResource { group, api_version, plural, version: _, kind: _ } = &self.resource;
        let root = if group.is_empty() { "api" } else { "apis" };
        let name = segment(name);
        if self.namespaced {
            format!("/{root}/{api_version}/namespaces/{}/{plural}/{name}", segment(namespace))
        } else {
            format!("/{root}/{api_version}/{plural}/{name}")
        }
    }
}

/// What one API server serves. Clones share the cache.
#[derive(Clone)]
pub struct Mapper(Arc<Shared>);

/// Group, version and kind.
type Names = (String, String, String);

struct Shared {
    client: Client,
    snapshot: ArcSwap<Snapshot>,
    /// Counts snapshots; 0 means that none was taken yet.
    epoch: AtomicU64,
    doubted: AtomicBool,
    learned: Mutex<BTreeMap<Names, (Arc<Mapping>, Instant)>>,
    gate: tokio::sync::Mutex<Option<Instant>>,
}

impl Mapper {
    /// Starts empty; discovers on first use.
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Shared {
            client,
            snapshot: ArcSwap::default(),
            epoch: AtomicU64::new(0),
            doubted: AtomicBool::new(true),
            learned: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
        }))
    }

    /// How a kind is served in this version. For an unknown kind discovery is repeated, at most once in two seconds.
    pub async fn resolve(
        &self,
        kind: &GroupVersionKind,
        budget: &Budget,
    ) -> Result<Arc<Mapping>, RequestError> {
        self.find(budget, |snapshot| {
            let GroupVersionKind { group, version, kind } = kind;
            match snapshot.exact(group, version, kind) {
                Some(mapping) => Ok(mapping.clone()),
                None if snapshot.is_stale(group, version) => {
                    Err(RequestError::StaleDiscovery { api_version: self::api_version(group, version) })
                }
                None => self.learned(group, version, kind).ok_or_else(|| RequestError::NoMatch {
                    kind: kind.clone(),
                    api_version: self::api_version(group, version),
                }),
            }
        })
        .await
    }

    /// How a kind is served in whatever version, preferably this one. Its absence is certain: discovery runs first.
    pub async fn resolve_any(
        &self,
        kind: &GroupVersionKind,
        budget: &Budget,
    ) -> Result<Arc<Mapping>, RequestError> {
        let look = |snapshot: &Snapshot| {
            let GroupVersionKind { group, version, kind } = kind;
            let served =
                snapshot.exact(group, version, kind).or_else(|| snapshot.versions(group, kind).first());
            match served {
                Some(mapping) => Ok(mapping.clone()),
                None if snapshot.has_stale(group) => {
                    Err(RequestError::StaleDiscovery { api_version: self::api_version(group, version) })
                }
                None => self.learned(group, version, kind).ok_or_else(|| RequestError::NoMatch {
                    kind: kind.clone(),
                    api_version: self::api_version(group, version),
                }),
            }
        };
        match self.find(budget, look).await {
            Err(RequestError::NoMatch { .. }) => {
                self.doubt();
                self.find(budget, look).await
            }
            found => found,
        }
    }

    /// The scope of a kind, in whatever version it is served. `None`: the server does not serve it, or discovery fails at the
    /// moment. Costs a request only while the kind is not known; an unreachable server is an error.
    pub async fn scope(
        &self,
        kind: &GroupVersionKind,
        budget: &Budget,
    ) -> Result<Option<Scope>, RequestError> {
        let GroupVersionKind { group, version, kind } = kind;
        let found = self.find(budget, |snapshot| {
            let served =
                snapshot.exact(group, version, kind).or_else(|| snapshot.versions(group, kind).first());
            served.cloned().or_else(|| self.learned(group, version, kind)).ok_or_else(|| {
                RequestError::NoMatch { kind: kind.clone(), api_version: self::api_version(group, version) }
            })
        });
        match found.await {
            Ok(mapping) if mapping.namespaced => Ok(Some(Scope::Namespaced)),
            Ok(_) => Ok(Some(Scope::Cluster)),
            Err(RequestError::NoMatch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How a kind is served, as far as it is known already.
    pub fn peek(&self, kind: &GroupVersionKind) -> Option<Arc<Mapping>> {
        let GroupVersionKind { group, version, kind } = kind;
        let known = self.0.snapshot.load().exact(group, version, kind).cloned();
        known.or_else(|| self.learned(group, version, kind))
    }

    /// `apiVersion` of every group that serves a kind of this name, as far as it is known already.
    pub fn api_versions_of(&self, kind: &str) -> Vec<String> {
        self.0.snapshot.load().api_versions_of(kind)
    }

    /// Marks the cache as outdated: the next lookup discovers again.
    pub fn doubt(&self) {
        self.0.doubted.store(true, Ordering::Release);
    }

    /// Takes the kinds of an established definition into account before discovery shows them.
    pub fn learn(&self, definition: &Object) {
        let until = Instant::now() + LEARNED_FOR;
        let mut learned = self.0.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.retain(|_, (_, until)| *until > Instant::now());
        for mapping in defined(definition) {
            if learned.len() >= LEARNED_MAX {
                break;
            }
            let ApiResource { group, version, kind, api_version: _, plural: _ } = &mapping.resource;
            learned.insert((group.clone(), version.clone(), kind.clone()), (Arc::new(mapping), until));
        }
        drop(learned);
        self.doubt();
    }

    /// The server does not serve this kind any more, even if a definition was applied a moment ago.
    pub fn forget(&self, kind: &GroupVersionKind) {
        let GroupVersionKind { group, version, kind } = kind;
        let mut learned = self.0.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.remove(&(group.clone(), version.clone(), kind.clone()));
        drop(learned);
        self.doubt();
    }

    fn learned(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Mapping>> {
        let learned = self.0.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (group.to_owned(), version.to_owned(), kind.to_owned());
        learned.get(&key).filter(|(_, until)| *until > Instant::now()).map(|(mapping, _)| mapping.clone())
    }

    async fn find(
        &self,
        budget: &Budget,
        look: impl Fn(&Snapshot) -> Result<Arc<Mapping>, RequestError>,
    ) -> Result<Arc<Mapping>, RequestError> {
        let epoch = self.0.epoch.load(Ordering::Acquire);
        if !self.0.doubted.load(Ordering::Acquire)
            && let Ok(mapping) = look(&self.0.snapshot.load())
        {
            return Ok(mapping);
        }
        self.refresh_after(epoch, budget).await?;
        look(&self.0.snapshot.load())
    }

    /// Runs discovery, unless another task did after `epoch`, or it ran a moment ago and the cache is not marked as outdated.
    async fn refresh_after(&self, epoch: u64, budget: &Budget) -> Result<(), RequestError> {
        let mut last = budget.run(self.0.gate.lock()).await?;
        if self.0.epoch.load(Ordering::Acquire) > epoch && !self.0.doubted.load(Ordering::Acquire) {
            return Ok(());
        }
        let doubted = self.0.doubted.swap(false, Ordering::AcqRel);
        let recent = last.is_some_and(|at| at.elapsed() < REFRESH_PAUSE);
        if recent && !doubted {
            return Ok(());
        }
        let snapshot = budget.run(Snapshot::read(&self.0.client)).await.and_then(|read| read);
        let snapshot = snapshot.inspect_err(|_| self.doubt())?;
        self.0.snapshot.store(Arc::new(snapshot));
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
        *last = Some(Instant::now());
        Ok(())
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The kinds that a definition defines, in each version that it serves.
fn defined(definition: &Object) -> Vec<Mapping> {
    let text = |path: &[&str]| definition.text(path).unwrap_or_default();
    let (group, kind) = (text(&["spec", "group"]), text(&["spec", "names", "kind"]));
    let plural = text(&["spec", "names", "plural"]);
    let namespaced = text(&["spec", "scope"]) == "Namespaced";
    let versions = definition.at(&["spec", "versions"]).and_then(Value::as_array);
    versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("served").and_then(Value::as_bool) == Some(true))
        .filter_map(|version| version.get("name").and_then(Value::as_str))
        .map(|version| {
            let gvk = GroupVersionKind::gvk(group, version, kind);
            Mapping { resource: ApiResource::from_gvk_with_plural(&gvk, plural), namespaced }
        })
        .collect()
}
