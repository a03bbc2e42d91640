//! Asks the other Kustomizations what they want, before this one prunes: their inventories, and where those may be out of
//! date what they would render. What is kept on their account is remembered, so that each side is reconciled when the other
//! one moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Resource as _;
use plumb_api::kustomize::Kustomization;
use plumb_api::meta::{Artifact, KUSTOMIZE_GROUP};
use plumb_apply::Pruned;
use plumb_cluster::NamespacedName;
use plumb_manifests::ObjectId;
use plumb_planning::claims::{ClaimFilter, Claimant, Claims};
use plumb_planning::ownership::{Owned, Owner};
use plumb_planning::plan::Planned;
use plumb_planning::prune::{Candidate, SkipReason};
use plumb_rendering::RenderError;
use plumb_runtime::{Priority, Visit};
use plumb_status::Detail;
use plumb_status::cadence::Backoff;
use serde_json::json;
use tokio::time::Instant;

use super::Context;
use super::build::{Build, build, build_for_ids, owner};
use super::error::KustomizationError;
use super::facts::is_ready;
use super::leaving::leaving;
use crate::kind::Kustomizations;
use crate::source_ref::SourceRef;

/// How long rendering other Kustomizations may take, all together. One that is not rendered by then may want anything.
const ASK_MAX: Duration = Duration::from_mins(2);
/// The pauses before a prune that was held is tried again, if no event requeues it sooner.
const HELD_BACKOFF: Backoff = Backoff { min: Duration::from_secs(2), max: Duration::from_mins(5) };
/// How many objects a message names.
const NAMED_MAX: usize = 5;

/// What is kept for others, by the Kustomization that would prune it.
#[derive(Default)]
pub struct Holds(Mutex<BTreeMap<NamespacedName, Held>>);

#[derive(Default)]
struct Held {
    /// Each object, the Kustomization that it waits for, and whether that one is known to want it.
    objects: Vec<(ObjectId, Option<NamespacedName>, bool)>,
    text: Option<String>,
    tries: u32,
}

impl Holds {
    /// The Kustomizations that hold a prune on account of this one.
    pub fn waiting_for(&self, key: &NamespacedName) -> Vec<NamespacedName> {
        let all = self.lock();
        let waits = |held: &Held| held.objects.iter().any(|(_, by, _)| by.as_ref() == Some(key));
        all.iter().filter(|(_, held)| waits(held)).map(|(key, _)| key.clone()).collect()
    }

    /// What this Kustomization is to apply although it did not change: the labels still name the old owner. An old owner
    /// that is not active (suspended) does not look again, so nothing is applied on its account at each attempt.
    pub fn handed_over_to(
        &self,
        key: &NamespacedName,
        is_active: impl Fn(&NamespacedName) -> bool,
    ) -> BTreeSet<ObjectId> {
        let all = self.lock();
        let active = all.iter().filter(|(holder, _)| is_active(holder));
        active
            .flat_map(|(_, held)| &held.objects)
            .filter(|(_, by, wanted)| *wanted && by.as_ref() == Some(key))
            .map(|(id, _, _)| id.clone())
            .collect()
    }

    /// Forgets a Kustomization.
    pub fn forget(&self, key: &NamespacedName) {
        self.lock().remove(key);
    }

    /// Notes what is held now. Whether that is different from before, and after what pause to try again.
    fn note(&self, key: &NamespacedName, held: Held) -> (bool, Option<Duration>) {
        let mut all = self.lock();
        let before = all.remove(key);
        let changed = before.as_ref().and_then(|before| before.text.as_ref()) != held.text.as_ref();
        if held.text.is_none() {
            return (changed, None);
        }
        let tries = if changed { 1 } else { before.map_or(1, |before| before.tries.saturating_add(1)) };
        all.insert(key.clone(), Held { tries, ..held });
        (changed, Some(HELD_BACKOFF.without_jitter(tries)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NamespacedName, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which Kustomizations this process watches; one outside of it is never seen.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The only namespace, if not all.
    pub namespace: Option<String>,
    /// Whether a label selector leaves some to other processes.
    pub sharded: bool,
}

impl Scope {
    fn covers(&self, namespace: &str) -> bool {
        !self.sharded && self.namespace.as_deref().is_none_or(|only| only == namespace)
    }
}

/// The others as they were asked.
pub struct Asked {
    /// What they want.
    pub claims: Claims,
    /// The version in which each was seen.
    seen: BTreeMap<NamespacedName, Option<String>>,
}

/// What is about to be pruned, and by whom.
pub struct Question<'a> {
    /// What left the desired state.
    pub candidates: &'a [Candidate],
    /// What the pruning Kustomization renders itself.
    pub rendered: &'a [Arc<Planned>],
    /// What of it the cluster has, or is about to have.
    pub applied: BTreeSet<&'a ObjectId>,
    /// The artifact that it works with.
    pub artifact: Option<&'a Artifact>,
}

/// Asks every other Kustomization that is known.
pub async fn check(question: Question<'_>, visit: &Visit<Kustomizations>, kind: &Kustomizations) -> Asked {
    let others = kind.others();
    // An empty store is no proof that nobody wants anything.
    others.synced().await;
    kind.context.sources.synced().await;
    let (object, own) = (visit.object(), owner(visit.object()));
    let deadline = Instant::now() + ASK_MAX;
    let all = others.all();
    let asked = |other: &Kustomization| {
        NamespacedName::of(other) != *visit.key() && is_asked(other, &own, question.candidates)
    };
    let mut family = leaving(object, question.candidates, &all, &BTreeSet::new());
    let filter = filter(question.candidates, &family);
    let mut claimants = unreadable(object, question.candidates, kind, &filter);
    let mut seen = BTreeMap::new();
    loop {
        for other in all.iter().filter(|other| asked(other)) {
            let key = NamespacedName::of(other.as_ref());
            if family.contains(&key) || seen.contains_key(&key) {
                continue;
            }
            seen.insert(key, other.metadata.resource_version.clone());
            let relation = Relation::of(object, other);
            let artifact = match relation {
                Relation::SameSource => question.artifact.cloned(),
                Relation::SameNamespace | Relation::Stranger => current_artifact(other, &kind.context),
            };
            claimants.push(claimant(other, relation, artifact.as_ref(), (kind, &filter), deadline).await);
        }
        // One that somebody else keeps does not go away: it is asked as all the others, and so is what it has applied.
        let rendered = question.rendered.iter().map(|planned| &planned.id);
        let claimed = claimants.iter().flat_map(|claimant| &claimant.ids).chain(rendered);
        let claimed =
            claimed.filter(|id| is_kustomization(id)).map(|id| NamespacedName::new(&id.namespace, &id.name));
        let rest = leaving(object, question.candidates, &all, &claimed.collect());
        if rest == family {
            break;
        }
        family = rest;
    }
    for other in
        all.iter().filter(|other| asked(other) && family.contains(&NamespacedName::of(other.as_ref())))
    {
        seen.insert(NamespacedName::of(other.as_ref()), other.metadata.resource_version.clone());
        claimants.push(claimant(other, Relation::Stranger, None, (kind, &filter), deadline).await);
    }
    // The watch may not show yet what was applied a moment ago.
    for pending in pending(question.rendered, kind).filter(|planned| question.applied.contains(&planned.id)) {
        let key = NamespacedName::new(&pending.id.namespace, &pending.id.name);
        let version = others.get(&key).and_then(|other| other.metadata.resource_version.clone());
        seen.insert(key, version);
        let owner = Owner { name: pending.id.name.clone(), namespace: pending.id.namespace.clone() };
        let because = "it was applied a moment ago and is not watched yet".to_owned();
        claimants.push(Claimant { owner, ids: Vec::new(), doubt: Some(because) });
    }
    let own = question.rendered.iter().map(|planned| &planned.id);
    Asked { claims: Claims::new(filter, claimants, own), seen }
}

/// What is asked about: the candidates, and the Kustomizations that go away with them.
fn filter(candidates: &[Candidate], family: &BTreeSet<NamespacedName>) -> ClaimFilter {
    let leaving: Vec<ObjectId> = family
        .iter()
        .map(|NamespacedName { namespace, name }| ObjectId {
            namespace: namespace.clone(),
            name: name.clone(),
            group: KUSTOMIZE_GROUP.to_owned(),
            kind: "Kustomization".to_owned(),
        })
        .collect();
    ClaimFilter::of(candidates.iter().map(|candidate| &candidate.id).chain(&leaving))
}

/// How another Kustomization is related to the one that prunes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// One commit can move an object from the one to the other: what it may want is waited for.
    SameSource,
    /// It is rendered where that is possible.
    SameNamespace,
    /// Only what is known of it already counts: no tenant holds the prunes of another by a broken Kustomization, and none that
    /// goes away with the candidates holds them by what it may want.
    Stranger,
}

impl Relation {
    /// How `other` is related to `object`.
    pub fn of(object: &Kustomization, other: &Kustomization) -> Self {
        if SourceRef::of(object) == SourceRef::of(other) {
            Self::SameSource
        } else if object.metadata.namespace == other.metadata.namespace {
            Self::SameNamespace
        } else {
            Self::Stranger
        }
    }
}

/// The artifact that the source of a Kustomization has now.
pub fn current_artifact(object: &Kustomization, context: &Context) -> Option<Artifact> {
    context.sources.get(&SourceRef::of(object)).artifact()
}

/// Whether a Kustomization has a say: not one that goes away, or that applies to another cluster.
fn is_asked(other: &Kustomization, own: &Owner, candidates: &[Candidate]) -> bool {
    let (meta, key) = (other.meta(), NamespacedName::of(other));
    let goes_too = || {
        candidates.iter().any(|all| names(&all.id, &key.namespace, &key.name))
            && own.of_labels(Some(&json!(meta.labels))) == Owned::Ours
    };
    meta.deletion_timestamp.is_none() && other.spec.kube_config.is_none() && !goes_too()
}

/// Whether an id names this Kustomization.
fn names(id: &ObjectId, namespace: &str, name: &str) -> bool {
    is_kustomization(id) && id.namespace == namespace && id.name == name
}

/// Whether an id is that of a Kustomization.
pub fn is_kustomization(id: &ObjectId) -> bool {
    id.kind == "Kustomization" && id.group == KUSTOMIZE_GROUP
}

/// What one of the others wants.
async fn claimant(
    other: &Kustomization,
    relation: Relation,
    artifact: Option<&Artifact>,
    (kind, filter): (&Kustomizations, &ClaimFilter),
    deadline: Instant,
) -> Claimant {
    let (context, key) = (kind.context.as_ref(), NamespacedName::of(other));
    let status = other.status.as_ref();
    let mut claimant = Claimant { owner: owner(other), ids: Vec::new(), doubt: None };
    match filter.entries(status.and_then(|status| status.inventory.as_ref())) {
        Ok(ids) => claimant.ids = ids,
        Err(error) if relation == Relation::SameSource => claimant.doubt = Some(error.to_string()),
        Err(_) => {}
    }
    let applied = status.and_then(|status| status.last_applied_revision.as_ref());
    if is_ready(other) && artifact.is_some_and(|artifact| applied == Some(&artifact.revision)) {
        return claimant;
    }
    // What it rendered last, at whatever revision.
    if let Some(built) = context.builds.newest(&key) {
        claimant.ids.extend(concerned(&built.planned, filter));
    }
    if relation == Relation::Stranger {
        return claimant;
    }
    let doubt = match artifact {
        Some(artifact) => {
            match tokio::time::timeout_at(deadline, rendering(other, artifact, context)).await {
                Ok(Ok(built)) => {
                    let planned = built.as_ref().map_or(&[][..], |built| &built.planned);
                    claimant.ids.extend(concerned(planned, filter));
                    let unmade = pending(planned, kind).next();
                    unmade.map(|planned| format!("it has not applied {} yet", planned.id))
                }
                Ok(Err(doubt)) => Some(doubt),
                Err(_) => Some(format!("{} was not built in time", artifact.revision)),
            }
        }
        // There is nothing newer than what it has applied.
        None => applied
            .is_none()
            .then(|| "it has not applied anything yet, and its source has no artifact".to_owned()),
    };
    if kind.others().get(&key).is_none() {
        context.builds.forget(&key);
    }
    if relation == Relation::SameSource {
        claimant.doubt = claimant.doubt.or(doubt);
    }
    claimant
}

/// What is rendered that concerns a candidate.
fn concerned<'a>(
    planned: &'a [Arc<Planned>],
    filter: &'a ClaimFilter,
) -> impl Iterator<Item = ObjectId> + use<'a> {
    planned.iter().map(|planned| &planned.id).filter(|id| filter.concerns(id)).cloned()
}

/// What Kustomizations want that cannot be read. They count as suspended: what they were known to want stays claimed, and
/// one that may have the same source may want more. One that was never read is taken for such in its own namespace only.
fn unreadable(
    object: &Kustomization,
    candidates: &[Candidate],
    kind: &Kustomizations,
    filter: &ClaimFilter,
) -> Vec<Claimant> {
    let own = owner(object);
    let because = || "it cannot be read".to_owned();
    let mut claimants = Vec::new();
    for (NamespacedName { namespace, name }, last) in kind.others().unreadable() {
        let claimed_by = Owner { name: name.clone(), namespace: namespace.clone() };
        let Some(last) = last else {
            let goes_too = candidates.iter().any(|all| names(&all.id, &namespace, &name));
            if namespace == own.namespace && claimed_by != own && !goes_too {
                claimants.push(Claimant { owner: claimed_by, ids: Vec::new(), doubt: Some(because()) });
            }
            continue;
        };
        if claimed_by == own || !is_asked(&last, &own, candidates) {
            continue;
        }
        let recorded = last.status.as_ref().and_then(|status| status.inventory.as_ref());
        let mut ids = filter.entries(recorded).unwrap_or_default();
        if let Some(built) = kind.context.builds.newest(&NamespacedName::new(&namespace, &name)) {
            ids.extend(concerned(&built.planned, filter));
        }
        let doubt = (Relation::of(object, &last) == Relation::SameSource).then(because);
        claimants.push(Claimant { owner: claimed_by, ids, doubt });
    }
    claimants
}

/// What a Kustomization renders from an artifact, or why that cannot be told. None: its directory is not there, so no object
/// is. Where only a variable or a key is missing, the objects are told apart without it: neither changes which objects
/// there are, unless a variable stands in a name.
async fn rendering(
    other: &Kustomization,
    artifact: &Artifact,
    context: &Context,
) -> Result<Option<Arc<Build>>, String> {
    let error = match build(other, artifact, context, None).await {
        Ok(built) => return Ok(Some(built)),
        Err(KustomizationError::Render(RenderError::Path { .. })) => return Ok(None),
        Err(error) => error,
    };
    let is_incomplete = matches!(
        error,
        KustomizationError::Variables(_)
            | KustomizationError::Render(RenderError::Substitute { .. } | RenderError::Object { .. })
    );
    if is_incomplete
        && let Ok(built) = build_for_ids(other, artifact, context).await
        && built.planned.iter().all(|planned| !has_variable(&planned.id))
    {
        return Ok(Some(Arc::new(built)));
    }
    Err(format!("{} cannot be built: {}", artifact.revision, Detail::of(&error).message))
}

fn has_variable(id: &ObjectId) -> bool {
    [&id.namespace, &id.name, &id.group, &id.kind].iter().any(|text| text.contains('$'))
}

/// Kustomizations among rendered objects that the cluster does not have, or has in a form that renders other objects.
fn pending<'p>(
    rendered: &'p [Arc<Planned>],
    kind: &Kustomizations,
) -> impl Iterator<Item = &'p Arc<Planned>> {
    let (others, scope) = (kind.others(), kind.context.scope.clone());
    rendered.iter().filter(move |planned| {
        let ObjectId { namespace, name, .. } = &planned.id;
        if !is_kustomization(&planned.id) || !planned.policy.corrects() || !scope.covers(namespace) {
            return false;
        }
        let Some(live) = others.get(&NamespacedName::new(namespace, name)) else { return true };
        let rendered = serde_json::from_value::<Kustomization>(planned.object.value().clone());
        rendered.is_ok_and(|rendered| !renders_alike(&live, &rendered))
    })
}

fn renders_alike(left: &Kustomization, right: &Kustomization) -> bool {
    let parts = |object: &Kustomization| {
        let spec = object.spec.clone();
        (
            spec.path,
            spec.source_ref,
            spec.target_namespace,
            spec.components,
            spec.name_prefix,
            spec.name_suffix,
        )
    };
    parts(left) == parts(right)
}

/// Remembers what a prune has left for others, and sees to it that both sides go on. What is to be said about it, and
/// whether that is news.
pub fn remember(
    pruned: &Pruned,
    asked: &Asked,
    visit: &Visit<Kustomizations>,
    kind: &Kustomizations,
) -> (Option<String>, bool) {
    let mut held = Held::default();
    for (id, why) in pruned.held() {
        let by = why.claimant().map(|owner| NamespacedName::new(&owner.namespace, &owner.name));
        held.objects.push((id.clone(), by, matches!(why, SkipReason::ClaimedBy(_))));
    }
    held.text = text(pruned);
    let said = held.text.clone();
    let by: BTreeSet<NamespacedName> = held.objects.iter().filter_map(|(_, by, _)| by.clone()).collect();
    let (changed, pause) = kind.context.holds.note(visit.key(), held);
    let Some(handle) = kind.handle.get() else { return (said, changed) };
    for other in &by {
        let now = handle.store.get(other).and_then(|other| other.metadata.resource_version.clone());
        if asked.seen.get(other).is_some_and(|then| *then != now) {
            // It moved while it was asked: its change was not seen as one to wait for.
            handle.queue.add(visit.key(), Priority::Revision);
        }
        if changed {
            handle.queue.add(other, Priority::Revision);
        }
    }
    if let Some(pause) = pause {
        handle.queue.add_after(visit.key(), pause, Priority::Interval);
    }
    (said, changed)
}

/// What is said of objects that are not deleted, or not yet.
fn text(pruned: &Pruned) -> Option<String> {
    let held: Vec<String> = pruned.held().map(|(id, why)| format!("{id} is kept: {why}")).collect();
    let going: Vec<String> = pruned.terminating().map(|id| format!("{id} is terminating")).collect();
    let all = [held, going].concat();
    if all.is_empty() {
        return None;
    }
    let more = all.len().saturating_sub(NAMED_MAX);
    let named = all[..all.len() - more].join("; ");
    Some(if more == 0 { named } else { format!("{named}; and {more} more") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(by: &str, text: Option<&str>) -> Held {
        let id = ObjectId::parse_inventory("prod_a__ConfigMap").unwrap();
        let objects = vec![(id, Some(NamespacedName::new("flux-system", by)), true)];
        Held { objects, text: text.map(str::to_owned), tries: 0 }
    }

    #[test]
    fn a_held_prune_is_tried_again_with_growing_pauses_until_something_changes() {
        let (holds, key) = (Holds::default(), NamespacedName::new("flux-system", "one"));
        let mut seconds = Vec::new();
        for _ in 0..10 {
            let (_, pause) = holds.note(&key, held("two", Some("a")));
            seconds.push(pause.unwrap().as_secs());
        }
        assert_eq!(seconds, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(holds.note(&key, held("two", Some("b"))), (true, Some(HELD_BACKOFF.min)));
        assert_eq!(holds.note(&key, held("two", Some("b"))), (false, Some(HELD_BACKOFF.min * 2)));
        assert_eq!(holds.note(&key, held("two", None)), (true, None));
        assert_eq!(holds.waiting_for(&NamespacedName::new("flux-system", "two")), []);
    }

    #[test]
    fn each_side_of_a_hold_finds_the_other() {
        let (holds, one, two) = (
            Holds::default(),
            NamespacedName::new("flux-system", "one"),
            NamespacedName::new("flux-system", "two"),
        );
        holds.note(&one, held("two", Some("a")));
        assert_eq!(holds.waiting_for(&two), std::slice::from_ref(&one));
        assert_eq!(holds.handed_over_to(&two, |holder| *holder == one).len(), 1);
        assert!(holds.handed_over_to(&one, |_| true).is_empty() && holds.waiting_for(&one).is_empty());
        assert!(holds.handed_over_to(&two, |_| false).is_empty(), "the holder is suspended");
        holds.forget(&one);
        assert!(holds.waiting_for(&two).is_empty() && holds.handed_over_to(&two, |_| true).is_empty());
    }

    #[test]
    fn only_what_is_watched_is_waited_for() {
        let all = Scope::default();
        let one = Scope { namespace: Some("apps".to_owned()), sharded: false };
        let sharded = Scope { namespace: None, sharded: true };
        assert_eq!([&all, &one, &sharded].map(|scope| scope.covers("apps")), [true, true, false]);
        assert_eq!([&all, &one, &sharded].map(|scope| scope.covers("infra")), [true, false, false]);
    }
}
