//! Unverified: after a restart memory is gone. What an apply is about to overwrite is looked at before, so that it can be told.
//!
//! Where nothing is applied, the desk compares each object once, in its queue of looks without hurry.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use plumb_apply::{Budget, observe};
use plumb_manifests::{Object, ObjectId};
use plumb_planning::diff;
use plumb_planning::drift::Finding;
use plumb_planning::fields::FieldSet;
use plumb_planning::managed_fields::{self, Entry};
use plumb_planning::plan::Planned;
use plumb_runtime::Key;

use super::desk::Shared;

/// Findings that are kept for an apply at most; more are not told one by one anyway.
const WITNESSED_MAX: usize = 1_000;

/// Looks at live objects before an apply whose predecessor is not known.
pub(super) async fn witness(shared: &Arc<Shared>, key: &Key, objects: &[Planned], budget: &Budget) {
    // A loop and no closure over references: futures of those are not `Send` to the compiler.
    let mut looks = Vec::new();
    for planned in objects {
        if planned.policy.corrects() {
            looks.push(overwritten(shared, planned, budget));
        }
    }
    let looks = stream::iter(looks).buffer_unordered(shared.deps.concurrency.max(1));
    let found: BTreeMap<ObjectId, Finding> =
        looks.filter_map(std::future::ready).take(WITNESSED_MAX).collect().await;
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
    if !others_hold(&entries, own, &planned.object) {
        return None;
    }
    let expected = observe::dry_run(cluster, &planned.object, budget).await.ok()?;
    let mut changes = diff::changes(&live, &expected);
    changes.retain(|change| change.live.is_some() && !own.fields.contains(&change.path));
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
