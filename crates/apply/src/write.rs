//! Write: applies one object, takes over fields of other tools, removes conflicting items, and reports what changed.
//!
//! An unchanged object costs one request. Whether it was changed is read from the response, not from an earlier read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use jiff::SignedDuration;
use plumb_api::meta::KUSTOMIZE_MANAGER;
use plumb_cluster::error::{Absent, RequestError};
use plumb_cluster::mapper::Mapping;
use plumb_cluster::request::{self, Request, Response};
use plumb_cluster::{Budget, Cluster};
use plumb_manifests::Object;
use plumb_planning::exclusion::Policy;
use plumb_planning::managed_fields::{self, Hashes};
use plumb_planning::obstruction;
use plumb_planning::plan::Planned;
use plumb_planning::prune::SkipReason;
use plumb_planning::record::Record;
use plumb_planning::takeover::Takeover;
use serde_json::Value;
use tokio::time::Instant;

use crate::observe::{self, WriteMode};

/// How often a write is tried that others keep overtaking.
const ATTEMPTS_MAX: usize = 5;
/// The pause between two such tries.
const PAUSE: Duration = Duration::from_millis(50);
/// How far the time of an entry may be before the response that contains it: both have whole seconds.
const SAME_WRITE: SignedDuration = SignedDuration::from_secs(2);

/// What was done to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It was not there.
    Created,
    /// It was there, and is different now.
    Configured,
    /// It was as desired.
    Unchanged,
    /// It was skipped.
    Skipped(SkipReason),
}

impl Action {
    /// Whether the cluster is different now.
    pub fn changes(&self) -> bool {
        matches!(self, Self::Created | Self::Configured)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Skipped(_) => "skipped",
        })
    }
}

/// The outcome of one write.
#[derive(Debug, Clone)]
pub struct Written {
    /// What was done.
    pub action: Action,
    /// The whole live object from the server's response.
    pub live: Object,
    /// How its kind is served.
    pub mapping: Arc<Mapping>,
}

/// Applies one object. `known` is what was last seen of it, if anything: it makes "unchanged" exact.
pub async fn write(
    cluster: &Cluster,
    planned: &Planned,
    known: Option<&Record>,
    takeover: &Takeover,
    budget: &Budget,
) -> Result<Written, RequestError> {
    let bound = None;
    Writer { cluster, planned, takeover, budget, bound }.run(known).await
}

/// Applies one object over exactly the state that was read. If it has changed since, the server's 409 is returned: what
/// is overwritten is then always what was seen.
pub async fn write_over(
    cluster: &Cluster,
    planned: &Planned,
    seen: &Object,
    takeover: &Takeover,
    budget: &Budget,
) -> Result<Written, RequestError> {
    let bound = seen.text(&["metadata", "resourceVersion"]);
    Writer { cluster, planned, takeover, budget, bound }.run(None).await
}

struct Writer<'a> {
    cluster: &'a Cluster,
    planned: &'a Planned,
    takeover: &'a Takeover,
    budget: &'a Budget,
    /// The resourceVersion over which the first patch may go; any, if none.
    bound: Option<&'a str>,
}

impl Writer<'_> {
    async fn run(&self, known: Option<&Record>) -> Result<Written, RequestError> {
        let Self { cluster, planned, budget, .. } = *self;
        let mapping = cluster.mapper().resolve(&observe::kind_of(&planned.object), budget).await?;
        let began = Instant::now();
        if planned.policy == Policy::IfNotPresent
            && let Some(live) = self.metadata(&mapping).await?
        {
            cluster.unanswered().verified(&planned.id, began);
            return Ok(Written { action: Action::Skipped(SkipReason::Present), live, mapping });
        }
        let began = Instant::now();
        let (mapping, response, cleared) = self.apply(mapping).await?;
        let action = match response.code {
            StatusCode::CREATED => Action::Created,
            _ if cleared => Action::Configured,
            _ => action_of(&response, known, planned, began.elapsed()),
        };
        let live = observe::object(response)?;
        match self.take_over(&mapping, &live).await? {
            None => Ok(Written { action, live, mapping }),
            Some(live) => {
                let action = if action == Action::Created { action } else { Action::Configured };
                Ok(Written { action, live, mapping })
            }
        }
    }

    /// Applies, and where the server rejects the object because of items that others left, removes those and applies again.
    async fn apply(&self, mut mapping: Arc<Mapping>) -> Result<(Arc<Mapping>, Response, bool), RequestError> {
        let mut cleared = false;
        for _ in 0..ATTEMPTS_MAX {
            let bound = self.bound.filter(|_| !cleared);
            let error = match self.patch(&mapping, bound).await {
                Ok(response) => return Ok((mapping, response, cleared)),
                Err(error) => error,
            };
            let Some(rejection) = error.rejection() else { return Err(error) };
            match (rejection.code, rejection.absent) {
                // A definition is established a moment before its path is served everywhere.
                (404, Some(Absent::Kind)) => {
                    self.cluster.mapper().doubt();
                    let kind = observe::kind_of(&self.planned.object);
                    self.budget.pause(PAUSE * 4).await?;
                    mapping = self.cluster.mapper().resolve(&kind, self.budget).await?;
                }
                // Only where an item conflicts with its own successor: an object that is rejected for anything else changes
                // nothing.
                (422, _) if !cleared && rejection.duplicate => {
                    // Later errors are ignored: the server's first message about the object is more useful.
                    cleared = self.clear(&mapping).await.unwrap_or(false);
                    if !cleared {
                        return Err(error);
                    }
                }
                (409, _) if !rejection.immutable && bound.is_none() => self.budget.pause(PAUSE).await?,
                _ => return Err(error),
            }
        }
        Err(RequestError::Contended { attempts: ATTEMPTS_MAX })
    }

    /// Removes the items that conflict with an apply; false when none is found.
    async fn clear(&self, mapping: &Arc<Mapping>) -> Result<bool, RequestError> {
        let mut cleared = false;
        for _ in 0..ATTEMPTS_MAX {
            let Some(live) = observe::live_as(self.cluster, mapping, &self.planned.id, self.budget).await?
            else {
                return Ok(cleared);
            };
            let patch =
                self.takeover.patch(&live).or_else(|| obstruction::patch(&self.planned.object, &live));
            let Some(patch) = patch else { return Ok(cleared) };
            cleared |= self.json_patch(mapping, &patch).await?.is_some();
        }
        Ok(cleared)
    }

    /// Takes over the fields of other tools and applies again, so that fields that are not in Git are removed. `None`: there were none.
    async fn take_over(
        &self,
        mapping: &Arc<Mapping>,
        response: &Object,
    ) -> Result<Option<Object>, RequestError> {
        let mut live = response.clone();
        for _ in 0..ATTEMPTS_MAX {
            let Some(patch) = self.takeover.patch(&live) else { return Ok(None) };
            if self.json_patch(mapping, &patch).await?.is_some() {
                return self.patch(mapping, None).await.and_then(observe::object).map(Some);
            }
            match observe::live_as(self.cluster, mapping, &self.planned.id, self.budget).await? {
                Some(newer) => live = newer,
                // Deleted meanwhile: the next event of it is a drift.
                None => return Ok(None),
            }
        }
        Err(RequestError::Contended { attempts: ATTEMPTS_MAX })
    }

    async fn patch(&self, mapping: &Arc<Mapping>, bound: Option<&str>) -> Result<Response, RequestError> {
        let object = &self.planned.object;
        let Some(version) = bound else {
            return observe::patch(self.cluster, mapping, object, WriteMode::Real, self.budget).await;
        };
        let mut object = object.clone();
        if let Some(metadata) = object.value_mut().get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), version.into());
        }
        observe::patch(self.cluster, mapping, &object, WriteMode::Real, self.budget).await
    }

    async fn metadata(&self, mapping: &Arc<Mapping>) -> Result<Option<Object>, RequestError> {
        observe::metadata(self.cluster, mapping, &self.planned.id, self.budget).await
    }

    /// A patch bound to a version; `None` when the object has moved on.
    async fn json_patch(
        &self,
        mapping: &Arc<Mapping>,
        patch: &Value,
    ) -> Result<Option<Object>, RequestError> {
        let id = &self.planned.id;
        let target = format!("{}?fieldManager={KUSTOMIZE_MANAGER}", mapping.path(&id.namespace, &id.name));
        let request = Request::write(
            Method::PATCH,
            target,
            "application/json-patch+json",
            patch,
            observe::is_secret(id),
        );
        match request::write(self.cluster, id, &request, self.budget).await {
            Ok(response) => observe::object(response).map(Some),
            Err(error) => match error.rejection().map(|rejection| (rejection.code, rejection.immutable)) {
                // 422 is a test of the patch that failed, unless it names an immutable field.
                Some((409, _) | (422, false)) => Ok(None),
                Some((404, _)) if error.is_absence() => Ok(None),
                _ => Err(error),
            },
        }
    }
}

/// Whether an apply that did not create changed anything. The server moves the time of our entry exactly when it did.
fn action_of(response: &Response, known: Option<&Record>, planned: &Planned, took: Duration) -> Action {
    let metadata = response.body.get("metadata").unwrap_or(&Value::Null);
    let managers = metadata.get("managedFields");
    if let Some(known) = known {
        let version = metadata.get("resourceVersion").and_then(Value::as_str).unwrap_or_default();
        let uid = metadata.get("uid").and_then(Value::as_str).unwrap_or_default();
        if *known.version == *version && *known.uid == *uid {
            return Action::Unchanged;
        }
        let generation =
            metadata.get("generation").and_then(Value::as_i64).filter(|generation| *generation > 0);
        let same_entry = Hashes::of(managers).own == known.hashes.own && generation == known.generation;
        if same_entry && *known.uid == *uid && known.applied == planned.digest {
            return Action::Unchanged;
        }
    }
    let entry = managed_fields::entries(managers).into_iter().find(managed_fields::Entry::is_own);
    let (Some(entry), Some(date)) = (entry.and_then(|entry| entry.time), response.date) else {
        return Action::Configured;
    };
    let took = SignedDuration::try_from(took).unwrap_or(SignedDuration::MAX).saturating_add(SAME_WRITE);
    if date.duration_since(entry) <= took { Action::Configured } else { Action::Unchanged }
}
