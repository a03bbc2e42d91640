//! Fault × phase: one fault hits the requests of one phase of a run; when it is over, the end is that of a run without
//! it. No process ends, and nothing spins meanwhile.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use plumb_testkit::{
    controllers::{KUSTOMIZE, SOURCE},
    proxy::{Proxy, Rule, RuleId, Seen},
    wait::Wait,
};
use serde_json::{Value, json};

use super::{
    fixture::{Fixture, Snapshot, Variant},
    is_whole,
};

/// How long a fault continues after its first hit.
const FAULT_LASTS: Duration = Duration::from_millis(1500);
/// How long the first hit may take.
const HIT_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
/// How long a write without a response keeps its object from being pruned: the deadline that it was sent with (34 s),
/// and 5 s more. See docs/decisions/0008.
const WITHOUT_RESPONSE: Duration = Duration::from_secs(40);
/// How many requests one cell may have, both controllers together. A run has about twenty, one with conflicts eighty, a hot loop thousands.
const REQUESTS_MAX: u64 = 200;
/// A `Retry-After` that no one waits for, in seconds.
const RETRY_AFTER: u64 = 3600;
/// How many requests of a phase one such response may meet before it is over: each object is tried once, then skipped.
const REJECTED_MAX: u32 = 5;
/// What the status of a larger Kustomization would exceed, in bytes.
const STATUS_BYTES_MAX: usize = 64;

/// Which requests are hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The status of the source, after a commit.
    Fetch,
    /// The inventory, before the first apply.
    WriteAhead,
    Apply,
    Prune,
    Settle,
    /// The status at the end of a run.
    Status,
    Drift,
    /// The deletion of the objects of a Kustomization that is deleted.
    Teardown,
    /// Any write for a Kustomization that is deleted.
    Finalize,
}

/// What happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Delay,
    Hang,
    Conflict,
    /// One conflict alone, as after a write by another manager: no attempt fails for it.
    SingleConflict,
    Gone,
    TooManyRequests,
    InternalError,
    Unavailable,
    LostResponse,
    Reset,
    TooLarge,
    DroppedEvents,
    DuplicatedEvents,
    ReorderedEvents,
    /// All watches are cut and must list again.
    ExpiredWatch,
}

const FAULTS: [Fault; 15] = [
    Fault::Delay,
    Fault::Conflict,
    Fault::SingleConflict,
    Fault::Gone,
    Fault::TooManyRequests,
    Fault::InternalError,
    Fault::Unavailable,
    Fault::TooLarge,
    Fault::DroppedEvents,
    Fault::DuplicatedEvents,
    Fault::ReorderedEvents,
    Fault::ExpiredWatch,
    // Last, because they leave requests without a response.
    Fault::LostResponse,
    Fault::Reset,
    Fault::Hang,
];

impl Fault {
    /// The rule for the requests of a phase.
    fn rule(self, phase: Phase) -> Rule {
        use plumb_testkit::proxy::Fault as Proxied;
        let on = |fault| phase.rule(fault);
        let on_watches = |fault| Rule::new("GET", "/*", fault);
        match self {
            Self::Delay => on(Proxied::Delay(FAULT_LASTS)),
            Self::Hang => on(Proxied::Hang).times(1),
            Self::Conflict => on(Proxied::Respond(409)),
            Self::SingleConflict => on(Proxied::Respond(409)).times(1),
            Self::Gone => on(Proxied::Respond(410)),
            Self::TooManyRequests => on(Proxied::RetryAfter(429, RETRY_AFTER)),
            Self::InternalError => on(Proxied::Respond(500)),
            Self::Unavailable => on(Proxied::Respond(503)),
            Self::LostResponse => on(Proxied::LostResponse).times(1),
            Self::Reset => on(Proxied::Reset),
            Self::TooLarge => on(Proxied::RejectAbove(STATUS_BYTES_MAX)),
            Self::DroppedEvents => on_watches(Proxied::DropEvents),
            Self::DuplicatedEvents => on_watches(Proxied::DuplicateEvents),
            Self::ReorderedEvents => on_watches(Proxied::ReorderEvents),
            Self::ExpiredWatch => on_watches(Proxied::Respond(410)).when(Seen::is_watch).times(4),
        }
    }

    /// Whether it hits all watches of both controllers, in every phase.
    fn is_of_watches(self) -> bool {
        matches!(
            self,
            Self::DroppedEvents | Self::DuplicatedEvents | Self::ReorderedEvents | Self::ExpiredWatch
        )
    }

    /// Whether requests get no response while their connection is open: the result of a write is unknown. Where the
    /// connection ends, the retry gets a response, and the cell after that waits for nothing.
    fn has_no_response(self) -> bool {
        self == Self::Hang
    }

    /// Whether it makes sense in a phase: a read has no body, and is not written.
    fn is_of(self, phase: Phase) -> bool {
        !(phase == Phase::Settle && matches!(self, Self::TooLarge | Self::Conflict | Self::SingleConflict))
    }
}

impl Phase {
    fn rule(self, fault: plumb_testkit::proxy::Fault) -> Rule {
        const CORE: &str = "/api/v1/namespaces/*/*/*";
        const STATUS: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/*/kustomizations/*/status";
        const SOURCE_STATUS: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/*/gitrepositories/*/status";
        match self {
            Self::Fetch => Rule::new("PATCH", SOURCE_STATUS, fault),
            Self::WriteAhead => Rule::new("PATCH", STATUS, fault).when(|seen| names(&seen.json(), "_delta_")),
            Self::Apply | Self::Drift => Rule::new("PATCH", CORE, fault),
            Self::Prune | Self::Teardown => Rule::new("DELETE", CORE, fault),
            Self::Settle => Rule::new("GET", "/api/v1/namespaces/*/*", fault)
                .when(|seen| seen.path.ends_with("/configmaps") || seen.path.ends_with("/services")),
            Self::Status => Rule::new("PATCH", STATUS, fault).when(|seen| is_ready(&seen.json())),
            Self::Finalize => Rule::writes("/*", fault),
        }
    }

    /// The state that a cell begins with is always `Base`; the one that it ends with.
    fn ends_with(self) -> Option<Variant> {
        match self {
            Self::WriteAhead | Self::Apply | Self::Settle | Self::Status => Some(Variant::Update),
            Self::Prune => Some(Variant::Prune),
            Self::Fetch | Self::Drift => Some(Variant::Base),
            Self::Teardown | Self::Finalize => None,
        }
    }

    /// Whether the requests that are hit write managed objects.
    fn writes_objects(self) -> bool {
        matches!(self, Self::Apply | Self::Prune | Self::Drift | Self::Teardown | Self::Finalize)
    }

    fn proxy(self, fixture: &Fixture) -> &Proxy {
        if self == Self::Fetch { &fixture.source } else { &fixture.kustomize }
    }

    async fn begin(self, fixture: &Fixture, round: usize) -> Result<()> {
        match self {
            Self::WriteAhead | Self::Apply | Self::Settle | Self::Status => {
                fixture.switch(Variant::Update).await
            }
            Self::Prune => fixture.switch(Variant::Prune).await,
            Self::Fetch => {
                fixture.repository.write("round", &round.to_string())?;
                fixture.environment.commit(&fixture.repository, "a round").await.map(drop)
            }
            Self::Drift => {
                let edit = json!({"data": {"greeting": format!("edit-{round}")}});
                fixture.environment.edit("ConfigMap", "beta", &edit).await.map(drop)
            }
            Self::Teardown | Self::Finalize => fixture.environment.delete("Kustomization", "app").await,
        }
    }

    async fn end(self, fixture: &Fixture) -> Result<Snapshot> {
        if self == Self::Drift {
            fixture.corrected("beta").await?;
        }
        match self.ends_with() {
            Some(variant) => fixture.converged(variant).await,
            None => fixture.removed().await,
        }
    }
}

/// Whether the inventory of a status names an object.
fn names(patch: &Value, part: &str) -> bool {
    patch.pointer("/status/inventory").is_some_and(|inventory| inventory.to_string().contains(part))
}

fn is_ready(patch: &Value) -> bool {
    let conditions = patch.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// All faults of one phase, or those of the sample. A cell that fails does not end the row.
async fn row(test: &str, phase: Phase, sample: &[Fault]) -> Result<()> {
    let mut fixture = Fixture::new(test, &[]).await?;
    begin_with_base(&fixture, phase).await?;
    phase.begin(&fixture, 0).await?;
    let undisturbed = phase.end(&fixture).await?;
    let faults = if is_whole() { FAULTS.to_vec() } else { sample.to_vec() };
    let (mut failed, mut unanswered) = (Vec::new(), None);
    for (round, fault) in faults.into_iter().filter(|fault| fault.is_of(phase)).enumerate() {
        if let Some(since) = unanswered.take() {
            tokio::time::sleep(WITHOUT_RESPONSE.saturating_sub(Instant::elapsed(&since))).await;
        }
        let started = Instant::now();
        let done = cell(&mut fixture, phase, fault, round + 1, &undisturbed).await;
        let took = started.elapsed().as_secs_f32();
        fixture.source.heal();
        fixture.kustomize.heal();
        if fault.has_no_response() && phase.writes_objects() {
            unanswered = Some(Instant::now());
        }
        match done {
            Ok(count) => eprintln!("{fault:?} in {phase:?}: ok in {took:.1} s, {count} requests"),
            Err(error) => {
                eprintln!("{fault:?} in {phase:?}: FAILED in {took:.1} s");
                failed.push(format!("{fault:?} in {phase:?}: {error:#}"));
            }
        }
    }
    ensure!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n\n"));
    fixture.environment.close().await
}

/// One cell; the number of requests that both controllers made in it.
async fn cell(
    fixture: &mut Fixture,
    phase: Phase,
    fault: Fault,
    round: usize,
    undisturbed: &Snapshot,
) -> Result<u64> {
    begin_with_base(fixture, phase).await?;
    let known: BTreeMap<_, _> = fixture.uids().await?;
    let (failures, corrections) = (fixture.failures().await?, fixture.corrections());
    let requests = || fixture.source.requests() + fixture.kustomize.requests();
    let before = requests();
    let both = [&fixture.source, &fixture.kustomize];
    let hit = if fault.is_of_watches() { &both[..] } else { &[phase.proxy(fixture)] };
    let rules: Vec<_> = hit.iter().map(|proxy| (*proxy, proxy.add(fault.rule(phase)))).collect();
    if fault == Fault::ExpiredWatch {
        for proxy in both {
            proxy.cut_watches();
        }
    }
    phase.begin(fixture, round).await?;
    lasts(&rules).await?;
    let hits: u32 = rules.iter().map(|(proxy, rule)| proxy.hits(*rule)).sum();
    ensure!(
        fault != Fault::TooManyRequests || phase == Phase::Settle || hits <= REJECTED_MAX,
        "{hits} requests in {FAULT_LASTS:?} although the server requested {RETRY_AFTER} s: {}",
        fixture.evidence().await
    );
    for (proxy, _) in rules {
        proxy.heal();
    }
    let ended = phase.end(fixture).await?;
    fixture.check_ends_as(ended, undisturbed).await?;
    ensure!(
        fault != Fault::SingleConflict || fixture.failures().await? <= failures,
        "one conflict failed an attempt: {}",
        fixture.evidence().await
    );
    ensure!(
        phase == Phase::Drift || fixture.corrections() == corrections,
        "no object was edited, but drift was corrected: {}",
        fixture.evidence().await
    );
    let count = requests() - before;
    ensure!(count <= REQUESTS_MAX, "{count} requests, at most {REQUESTS_MAX}: {}", fixture.evidence().await);
    for name in [SOURCE, KUSTOMIZE] {
        ensure!(
            !fixture.environment.controllers.has_ended(name),
            "{name} has ended: {}",
            fixture.evidence().await
        );
    }
    if phase.ends_with().is_some() {
        fixture.check_stable(&known).await?;
    }
    Ok(count)
}

/// Waits for the first hit, and a while more.
async fn lasts(rules: &[(&Proxy, RuleId)]) -> Result<()> {
    let has_hit = || rules.iter().any(|(proxy, rule)| proxy.hits(*rule) > 0);
    Wait::until("the fault hits something", HIT_MAX).every(POLL).holds(has_hit).await?;
    tokio::time::sleep(FAULT_LASTS).await;
    Ok(())
}

async fn begin_with_base(fixture: &Fixture, phase: Phase) -> Result<()> {
    // An object that is edited again and again is corrected more and more slowly: each cell has a new one.
    if phase == Phase::Drift && fixture.environment.find("Kustomization", "app").await?.is_some() {
        fixture.environment.delete("Kustomization", "app").await?;
        fixture.removed().await?;
    }
    match fixture.environment.find("Kustomization", "app").await? {
        None => fixture.create(Variant::Base).await?,
        Some(_) => fixture.switch(Variant::Base).await?,
    }
    fixture.converged(Variant::Base).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_status_of_the_source() -> Result<()> {
    row("chaos-fetch", Phase::Fetch, &[Fault::LostResponse, Fault::TooManyRequests]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_inventory_before_the_apply() -> Result<()> {
    row("chaos-ahead", Phase::WriteAhead, &[Fault::TooLarge, Fault::LostResponse]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_apply() -> Result<()> {
    let sample = [
        Fault::TooManyRequests,
        Fault::Unavailable,
        Fault::InternalError,
        Fault::Reset,
        Fault::SingleConflict,
    ];
    row("chaos-apply", Phase::Apply, &sample).await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_prune() -> Result<()> {
    row("chaos-prune", Phase::Prune, &[Fault::LostResponse, Fault::InternalError, Fault::SingleConflict])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_wait_for_health() -> Result<()> {
    row("chaos-settle", Phase::Settle, &[Fault::Reset]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_last_status() -> Result<()> {
    row("chaos-status", Phase::Status, &[Fault::Conflict, Fault::LostResponse]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_correction_of_drift() -> Result<()> {
    row("chaos-drift", Phase::Drift, &[Fault::DroppedEvents, Fault::ReorderedEvents]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_finalization() -> Result<()> {
    row("chaos-finalize", Phase::Finalize, &[Fault::Gone, Fault::ExpiredWatch]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_deletion_of_everything() -> Result<()> {
    row("chaos-teardown", Phase::Teardown, &[Fault::InternalError]).await
}
