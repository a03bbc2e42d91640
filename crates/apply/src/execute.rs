//! Execute: applies the waves of a plan, one after the other, each in parallel.
//!
//! A rejected object lets its wave finish; later waves do not start. What was applied stays, and is reported.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use kube::discovery::ApiResource;
use plumb_cluster::error::{Attempt, Failure, RequestError};
use plumb_cluster::{Budget, Cluster};
use plumb_health::Verdict;
use plumb_manifests::{Object, ObjectId};
use plumb_planning::fingerprint::Fingerprint;
use plumb_planning::plan::Planned;
use plumb_planning::record::Record;
use plumb_planning::stage::{self, Wave};
use plumb_planning::takeover::Takeover;

use crate::establish;
use crate::observe::outline;
use crate::write::{self, Action, Written};

/// How an apply is carried out.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// How many objects at a time (`--concurrent-ssa`); at least one.
    pub concurrency: usize,
    /// Whose fields become ours.
    pub takeover: Takeover,
    /// What was last seen of objects, as far as anything was.
    pub known: BTreeMap<ObjectId, Record>,
    /// Until when.
    pub budget: Budget,
}

/// What was done to one object.
#[derive(Debug, Clone)]
pub struct ObjectChange {
    /// Which object.
    pub id: ObjectId,
    /// The version in which it was applied.
    pub version: String,
    /// What was done.
    pub action: Action,
    /// Its desired content (D, and from now on A).
    pub digest: Fingerprint,
    /// Identity, labels and managers from the server's response; no content, no annotations.
    pub live: Object,
    /// Its health according to the response.
    pub verdict: Verdict,
    /// How its kind is served.
    pub resource: ApiResource,
}

impl ObjectChange {
    /// `Kind/ns/name created`, as Flux writes it.
    pub fn line(&self) -> String {
        format!("{} {}", self.id, self.action)
    }
}

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every wave was carried out.
    Complete,
    /// Objects were rejected; later waves were not started.
    Rejected,
    /// The time was up.
    TimedOut,
    /// It was stopped.
    Cancelled,
}

/// What an execution did.
#[derive(Debug, Clone)]
pub struct Applied {
    /// What was done, in the order of the plan.
    pub changes: Vec<ObjectChange>,
    /// What could not be done, in the order of the plan.
    pub failures: Vec<Failure>,
    /// How it ended.
    pub ended: Ended,
    /// How many objects were not begun.
    pub untouched: usize,
}

impl Applied {
    /// Whether all is applied, so that pruning may follow.
    pub fn is_complete(&self) -> bool {
        self.ended == Ended::Complete
    }

    /// The lines of the change event: what was created or configured.
    pub fn lines(&self) -> Vec<String> {
        self.changes.iter().filter(|change| change.action.changes()).map(ObjectChange::line).collect()
    }

    /// Every failure, one a line.
    pub fn error_summary(&self) -> Option<String> {
        let lines: Vec<String> = self.failures.iter().map(ToString::to_string).collect();
        match (lines.is_empty(), self.ended) {
            (true, Ended::Complete) => None,
            (true, Ended::Cancelled) => Some("apply cancelled".to_owned()),
            (true, _) => Some("apply did not finish in time".to_owned()),
            (false, _) => Some(lines.join("\n")),
        }
    }
}

/// Carries out waves.
pub async fn execute(cluster: &Cluster, waves: &[Wave], order: &ApplyOptions) -> Applied {
    let mut applied =
        Applied { changes: Vec::new(), failures: Vec::new(), ended: Ended::Complete, untouched: 0 };
    for wave in waves {
        if applied.ended == Ended::Complete
            && let Err(error) = order.budget.check()
        {
            applied.ended = ended_by(&error);
        }
        if applied.ended == Ended::Complete {
            carry_out(cluster, wave, order, &mut applied).await;
        } else {
            applied.untouched += wave.objects.len();
        }
    }
    applied
}

async fn carry_out(cluster: &Cluster, wave: &Wave, order: &ApplyOptions, applied: &mut Applied) {
    // A loop and no closure over references: futures of those are not `Send` to the compiler.
    let mut writes = Vec::with_capacity(wave.objects.len());
    for (place, planned) in wave.objects.iter().enumerate() {
        writes.push(async move { (place, apply(cluster, planned, order).await) });
    }
    let mut outcomes: Vec<_> =
        stream::iter(writes).buffer_unordered(order.concurrency.max(1)).collect().await;
    outcomes.sort_by_key(|(place, _)| *place);
    for (_, outcome) in outcomes {
        match outcome {
            Ok(change) => applied.changes.push(change),
            Err(failure) if failure.error.is_cut_short() => {
                applied.ended = ended_by(&failure.error);
                applied.untouched += 1;
            }
            Err(failure) => applied.failures.push(failure),
        }
    }
    if wave.defines_kinds() && applied.failures.is_empty() && applied.ended == Ended::Complete {
        let failures = establish::wait(cluster, &unestablished(applied), &order.budget).await;
        match failures.iter().find(|failure| failure.error.is_cut_short()) {
            Some(failure) => applied.ended = ended_by(&failure.error),
            None => applied.failures.extend(failures),
        }
    }
    if !applied.failures.is_empty() {
        applied.ended = Ended::Rejected;
    }
}

async fn apply(cluster: &Cluster, planned: &Planned, order: &ApplyOptions) -> Result<ObjectChange, Failure> {
    let id = &planned.id;
    let failed = |error| Failure { id: id.clone(), attempt: Attempt::Apply, error };
    order.budget.check().map_err(failed)?;
    let known = order.known.get(id);
    let written =
        write::write(cluster, planned, known, &order.takeover, &order.budget).await.map_err(failed)?;
    let Written { action, live, mapping } = written;
    if stage::is_definition(id) {
        cluster.mapper().learn(&live);
    }
    let verdict = plumb_health::assess(&live, cluster.now());
    let outline =
        outline(&live).ok_or_else(|| failed(RequestError::Garbled { cause: "no metadata".to_owned() }))?;
    Ok(ObjectChange {
        id: id.clone(),
        version: planned.object.version().to_owned(),
        action,
        digest: planned.digest,
        live: outline,
        verdict,
        resource: mapping.resource.clone(),
    })
}

fn unestablished(applied: &Applied) -> BTreeMap<ObjectId, String> {
    let pending = applied
        .changes
        .iter()
        .filter(|change| stage::is_definition(&change.id) && !change.verdict.is_current());
    pending.map(|change| (change.id.clone(), change.version.clone())).collect()
}

fn ended_by(error: &RequestError) -> Ended {
    if *error == RequestError::Cancelled { Ended::Cancelled } else { Ended::TimedOut }
}
