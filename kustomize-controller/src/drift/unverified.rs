//! Unverified: after a restart memory is gone. What an apply is about to overwrite is looked at before, so that it can be told.
//!
//! Where nothing is applied, the desk compares each object once, in its queue of looks without hurry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use plumb_apply::observe;
use plumb_cluster::{Budget, NamespacedName};
use plumb_manifests::{Object, ObjectId};
use plumb_planning::diff;
use plumb_planning::drift::Finding;
use plumb_planning::exclusion::Policy;
use plumb_planning::fields::FieldSet;
use plumb_planning::managed_fields::{self, Entry};
use plumb_planning::plan::Planned;
use tokio::time::Instant;

use super::book::Witnessed;
use super::desk::Shared;
use super::sitting::{State, Step};

/// Findings that are kept for an apply at most; more are not told one by one anyway.
const WITNESSED_MAX: usize = 1_000;

/// Looks of this kind at a time; what is over is compared when the attempt has ended.
const GLANCES_MAX: usize = 32;

/// How long one of them may take.
const GLANCE_MAX: Duration = Duration::from_secs(10);

/// A look at an object that somebody changed while an attempt holds the pen and may overwrite it.
pub(super) struct PreApplyRead {
    key: NamespacedName,
    id: ObjectId,
    /// What was applied: the change is told against this.
    planned: Arc<Planned>,
    epoch: u64,
    /// The version that the watch showed; a later one may be the attempt's own.
    version: Box<str>,
    seen: Timestamp,
}

impl Step<'_> {
    /// Asks for a look at what an attempt may be about to overwrite.
    pub fn glance(&mut self, key: &NamespacedName, id: &ObjectId, version: Box<str>) {
        let State { books, glances, glancing, .. } = &mut *self.state;
        let Some(kept) = books.get(key).and_then(|book| book.objects.get(id)) else { return };
        if !kept.is_watched() || *glancing + glances.len() >= GLANCES_MAX {
            return;
        }
        let (planned, epoch) = (kept.planned.clone(), kept.epoch);
        glances.push_back(PreApplyRead {
            key: key.clone(),
            id: id.clone(),
            planned,
            epoch,
            version,
            seen: self.now,
        });
    }
}

/// Looks, and keeps what it shows for the attempt's end, if that has not come meanwhile.
pub(super) async fn glance(shared: Arc<Shared>, glance: PreApplyRead) {
    let budget = Budget::new(Instant::now() + GLANCE_MAX, shared.deps.shutdown.clone());
    let found = changed(&shared, &glance, &budget).await;
    shared.sit(|sitting| {
        sitting.state.glancing = sitting.state.glancing.saturating_sub(1);
        let Some(book) = sitting.state.books.get_mut(&glance.key).filter(|book| book.holds > 0) else {
            return;
        };
        let current = book.objects.get(&glance.id).is_some_and(|kept| kept.epoch == glance.epoch);
        if let (Some(finding), true) = (found, current) {
            let witnessed = Witnessed { finding, version: Some(glance.version) };
            book.witnessed.insert(glance.id, witnessed);
        }
    });
}

async fn changed(shared: &Shared, glance: &PreApplyRead, budget: &Budget) -> Option<Finding> {
    let PreApplyRead { key: _, id, planned, epoch: _, version, seen } = glance;
    let cluster = &shared.deps.cluster;
    let live = observe::live(cluster, id, planned.object.version(), budget).await.ok()??;
    if live.text(&["metadata", "resourceVersion"]) != Some(version) {
        return None;
    }
    let expected = observe::dry_run(cluster, &planned.object, budget).await.ok()?;
    Finding::compare_foreign(&live, &expected, *seen)
}

/// Looks at live objects before an apply whose predecessor is not known.
pub(super) async fn witness(
    shared: &Arc<Shared>,
    key: &NamespacedName,
    objects: &[Planned],
    budget: &Budget,
) {
    // A loop and no closure over references: futures of those are not `Send` to the compiler.
    let mut looks = Vec::new();
    for planned in objects {
        if planned.policy.corrects() {
            looks.push(overwritten(shared, planned, budget));
        }
    }
    let looks = stream::iter(looks).buffer_unordered(shared.deps.concurrency.max(1));
    let found = looks.filter_map(std::future::ready).take(WITNESSED_MAX);
    let found: BTreeMap<ObjectId, Witnessed> =
        found.map(|(id, finding)| (id, Witnessed::before(finding))).collect().await;
    shared.sit(|sitting| sitting.book(key).witnessed = found);
}

/// What an apply will overwrite that others wrote. What our own entry holds is what we applied ourselves, and no news.
async fn overwritten(shared: &Shared, planned: &Planned, budget: &Budget) -> Option<(ObjectId, Finding)> {
    let cluster = &shared.deps.cluster;
    let seen = cluster.now();
    let live = observe::live(cluster, &planned.id, planned.object.version(), budget).await.ok()??;
    let entries = managed_fields::entries(live.at(&["metadata", "managedFields"]));
    // Never applied by us: taken over as a whole, which the change event says.
    let own = entries.iter().find(|entry| entry.is_own())?;
    let takeover = &shared.deps.takeover;
    let leftovers = entries.iter().any(|entry| takeover.takes_entry(entry));
    if !leftovers && !others_hold(&entries, own, &planned.object) {
        return None;
    }
    let expected = observe::dry_run(cluster, &planned.object, budget).await.ok()?;
    let mut changes = diff::changes(&live, &expected);
    changes.retain(|change| change.live.is_some() && !own.fields.contains(&change.path));
    if planned.policy != Policy::Merge {
        changes.extend(diff::extras(&live, &expected, takeover));
    }
    Some((planned.id.clone(), Finding::from_changes(changes, &live, seen)?))
}

fn others_hold(entries: &[Entry], own: &Entry, desired: &Object) -> bool {
    let wanted = FieldSet::of_desired(desired.value()).leaves();
    let others = entries.iter().filter(|entry| !entry.is_own() && !entry.is_status_only());
    let others: Vec<&Entry> = others.collect();
    wanted
        .iter()
        .filter(|path| !own.fields.contains(path))
        .any(|path| others.iter().any(|entry| entry.fields.touches(path)))
}
