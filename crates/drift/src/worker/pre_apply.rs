//! Reads of what an apply is about to overwrite, so that it can be reported: after a restart, when nothing is known, and when
//! another manager writes while an attempt runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use plumb_apply::observe;
use plumb_cluster::Budget;
use plumb_manifests::{Object, ObjectId};
use plumb_planning::diff;
use plumb_planning::exclusion::Policy;
use plumb_planning::fields::FieldSet;
use plumb_planning::managed_fields::{self, Entry};
use plumb_planning::plan::Planned;
use tokio::time::Instant;

use crate::drift_loop::Shared;
use crate::rules::Finding;
use crate::state::{Input, PreApplyRead};

/// Findings recorded for an apply, at most; more are aggregated in the report anyway.
const FINDINGS_MAX: usize = 1_000;
/// How long the read of one object may take.
const READ_MAX: Duration = Duration::from_secs(10);

/// Reads one object, and reports what was changed in it.
pub(crate) async fn read(shared: Arc<Shared>, mut read: PreApplyRead) {
    let budget = Budget::new(Instant::now() + READ_MAX, shared.deps.shutdown.clone());
    let found = changed(&shared, &mut read, &budget).await;
    shared.step(Input::Read(Box::new(read), found));
}

async fn changed(shared: &Shared, read: &mut PreApplyRead, budget: &Budget) -> Option<Finding> {
    let PreApplyRead { id, planned, version, seen, .. } = read;
    let cluster = &shared.deps.cluster;
    let live = observe::live(cluster, id, planned.object.version(), budget).await.ok()??;
    let read_version = live.text(&["metadata", "resourceVersion"])?;
    if **version.get_or_insert_with(|| read_version.into()) != *read_version {
        return None;
    }
    let expected = observe::dry_run(cluster, &planned.object, budget).await.ok()?;
    Finding::compare_foreign(&live, &expected, *seen)
}

/// What an apply of these objects will overwrite that others wrote.
pub(crate) async fn overwritten(
    shared: &Shared,
    objects: &[Arc<Planned>],
    budget: &Budget,
) -> BTreeMap<ObjectId, Finding> {
    // A loop and no closure over references: futures of those are not `Send` to the compiler.
    let mut reads = Vec::new();
    for planned in objects {
        if planned.policy.corrects() {
            reads.push(overwritten_of(shared, planned, budget));
        }
    }
    let reads = stream::iter(reads).buffer_unordered(shared.deps.concurrency.max(1));
    reads.filter_map(std::future::ready).take(FINDINGS_MAX).collect().await
}

/// Values of other managers that an apply will overwrite. Fields of our own entry were applied by us and are not reported.
async fn overwritten_of(shared: &Shared, planned: &Planned, budget: &Budget) -> Option<(ObjectId, Finding)> {
    let cluster = &shared.deps.cluster;
    let seen = shared.now();
    let live = observe::live(cluster, &planned.id, planned.object.version(), budget).await.ok()??;
    let entries = managed_fields::entries(live.at(&["metadata", "managedFields"]));
    // Never applied by us: taken over as a whole, which the change event reports.
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
