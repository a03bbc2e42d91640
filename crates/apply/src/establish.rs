//! Establish: after definitions were applied, waits by watch until the server serves what they define.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plumb_cluster::error::{Attempt, Failure, RequestError};
use plumb_cluster::{Budget, Cluster};
use plumb_manifests::ObjectId;

use crate::settle::{self, Target, Wait};

/// How long definitions may take to become established.
pub const ESTABLISHED_WITHIN: Duration = Duration::from_mins(1);

/// Waits for definitions; those that are not established in time, or never will be, are failures.
pub async fn wait(
    cluster: &Cluster,
    definitions: &BTreeMap<ObjectId, String>,
    budget: &Budget,
) -> Vec<Failure> {
    let budget = budget.at_most(ESTABLISHED_WITHIN);
    let targets =
        definitions.iter().map(|(id, version)| Target { id: id.clone(), version: version.clone() }).collect();
    let settled = settle::settle(
        cluster,
        Wait { targets, vanishing: BTreeSet::new(), fail_fast: true, budget: budget.clone() },
    )
    .await;
    if let Err(error @ RequestError::Cancelled) = budget.check() {
        return failures(definitions.keys().cloned().map(|id| (id, error.clone())));
    }
    failures(settled.verdicts.into_iter().filter(|(_, verdict)| !verdict.is_current()).map(
        |(id, verdict)| {
            let cause = format!("{} ({})", verdict.message, verdict.status);
            (id, RequestError::NotEstablished { cause })
        },
    ))
}

fn failures(errors: impl Iterator<Item = (ObjectId, RequestError)>) -> Vec<Failure> {
    errors.map(|(id, error)| Failure { id, attempt: Attempt::Apply, error }).collect()
}
