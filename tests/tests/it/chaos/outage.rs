//! The API server is unreachable for both controllers at once: it rejects connections, or accepts them without a response.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use plumb_testkit::{
    controllers::{KUSTOMIZE, SOURCE},
    proxy::{Fault, Rule, Seen},
};
use serde_json::json;

use super::{
    fixture::{Fixture, Variant},
    is_whole,
};

/// How long the API server is away, and how long in a sample.
const OUTAGE: Duration = Duration::from_mins(2);
const OUTAGE_IN_SAMPLE: Duration = Duration::from_secs(5);
/// How soon after it is back everything is as it should be.
const HEALED_MAX: Duration = Duration::from_secs(30);
/// The same after a silent partition: a dead connection has to be noticed first.
const HEALED_AFTER_SILENCE_MAX: Duration = Duration::from_mins(1);
/// How many watches start too late, of each controller: each one at least once.
const EXPIRED: u32 = 8;
/// How many requests the controllers may try in a second of the outage, on average.
const REQUESTS_PER_SECOND_MAX: u64 = 40;

/// A user's change to an object while the API server is unreachable for the controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Edited,
    Deleted,
}

/// While the API server is unreachable a user edits or deletes an object, and the spec changes.
async fn away(test: &str, faults: &[Fault], meanwhile: Meanwhile, healed_max: Duration) -> Result<()> {
    let mut fixture = Fixture::new(test, &[]).await?;
    fixture.create(Variant::Base).await?;
    fixture.switch(Variant::Update).await?;
    let undisturbed = fixture.converged(Variant::Update).await?;
    fixture.switch(Variant::Base).await?;
    fixture.converged(Variant::Base).await?;
    let mut known = fixture.uids().await?;
    let requests = |fixture: &Fixture| fixture.source.requests() + fixture.kustomize.requests();
    let before = requests(&fixture);
    for proxy in [&fixture.source, &fixture.kustomize] {
        for fault in faults {
            proxy.add(Rule::new("*", "/*", *fault));
        }
        if !faults.iter().any(|fault| fault.is_of_events()) {
            proxy.cut_watches();
        }
    }
    match meanwhile {
        Meanwhile::Edited => {
            fixture.environment.edit("ConfigMap", "beta", &json!({"data": {"greeting": "edited"}})).await?;
        }
        Meanwhile::Deleted => {
            fixture.environment.delete("ConfigMap", "beta").await?;
            known.remove("ConfigMap/beta");
        }
    }
    fixture.switch(Variant::Update).await?;
    let outage = if is_whole() { OUTAGE } else { OUTAGE_IN_SAMPLE };
    tokio::time::sleep(outage).await;
    let tried = requests(&fixture) - before;
    for proxy in [&fixture.source, &fixture.kustomize] {
        proxy.heal();
        if meanwhile == Meanwhile::Deleted {
            // The events since then are compacted: only a new list shows what was deleted.
            proxy.add(Rule::new("GET", "/*", Fault::Respond(410)).when(Seen::is_watch).times(EXPIRED));
        }
    }
    let healed = Instant::now();
    let ended = fixture.converged(Variant::Update).await?;
    fixture.check_ends_as(ended, &undisturbed).await?;
    let took = healed.elapsed();
    ensure!(took <= healed_max, "it took {took:?} to converge, at most {healed_max:?}");
    ensure!(
        tried <= REQUESTS_PER_SECOND_MAX * outage.as_secs(),
        "{tried} requests in {outage:?}: {}",
        fixture.evidence().await
    );
    for name in [SOURCE, KUSTOMIZE] {
        ensure!(
            !fixture.environment.controllers.has_ended(name),
            "{name} has ended: {}",
            fixture.evidence().await
        );
    }
    fixture.check_stable(&known).await?;
    fixture.environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_the_controllers_converge() -> Result<()> {
    away("outage", &[Fault::Reset], Meanwhile::Edited, HEALED_MAX).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_silent_partition_the_controllers_converge() -> Result<()> {
    let faults = [Fault::DropEvents, Fault::Hang];
    away("partition", &faults, Meanwhile::Deleted, HEALED_AFTER_SILENCE_MAX).await
}
