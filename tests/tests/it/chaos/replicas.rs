//! Two replicas of kustomize-controller, each behind a proxy of its own: the old leader writes nothing after its lease
//! is lost, whether it was stopped or cut off from its lease.

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use anyhow::{Context as _, Result, ensure};
use plumb_plane::process;
use plumb_testkit::{
    controllers::{Controllers, ControllersOptions, KUSTOMIZE},
    proxy::{Fault, Moment, Proxy, Record, Rule},
    wait::Wait,
};
use serde_json::json;
use tokio::task::block_in_place;

use super::fixture::{CONVERGED_MAX, Fixture, Variant, shown};
use crate::e2e::environment::Environment;

/// A lease that expires quickly. The deadline leaves a margin of a second, as Flux's defaults leave five.
const FLAGS: [&str; 4] = [
    "--enable-leader-election=true",
    "--leader-election-lease-duration=4s",
    "--leader-election-renew-deadline=3s",
    "--leader-election-retry-period=500ms",
];
/// How long the old leader is watched after it runs again.
const WATCHED: Duration = Duration::from_secs(5);
/// How long a terminated leader may take to end; a pod has 30 s.
const GRACE: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(10);
/// How often a user edits an object while the leader is cut off from its lease.
const EDIT: Duration = Duration::from_millis(150);

/// The fixture's controller leads; this one waits for the lease.
struct Standby {
    proxy: Proxy,
    controllers: Controllers,
}

impl Standby {
    fn start(environment: &Environment) -> Result<Self> {
        let plane = plumb_testkit::plane();
        let proxy = Proxy::to_plane(plane, KUSTOMIZE)?;
        let options = ControllersOptions {
            names: vec![KUSTOMIZE],
            namespace: Some(environment.namespace.clone()),
            kubeconfigs: BTreeMap::from([(KUSTOMIZE, proxy.kubeconfig().to_owned())]),
            flags: BTreeMap::from([(KUSTOMIZE, FLAGS.map(str::to_owned).to_vec())]),
            ..ControllersOptions::with_sink(environment.sink.address())
        };
        Ok(Self { controllers: Controllers::start(plane, &Controllers::binaries()?, &options)?, proxy })
    }

    /// Waits until this replica writes.
    async fn leads(&self) -> Result<Record> {
        let wait = Wait::until("the second replica leads", CONVERGED_MAX).every(POLL);
        let first = wait.poll(async || {
            let first = self.proxy.writes().into_iter().next();
            Ok(first.map_or(ControlFlow::Continue("no write"), ControlFlow::Break))
        });
        first.await.with_context(|| self.controllers.last_lines())
    }
}

/// Stops the leader after the response to its n-th write, and lets it run again when another replica has done its work.
async fn stopped_at(write: u32) -> Result<()> {
    let mut fixture = Fixture::new("replicas-stop", &FLAGS).await?;
    fixture.create(Variant::Base).await?;
    fixture.converged(Variant::Base).await?;
    let known = fixture.uids().await?;
    let standby = block_in_place(|| Standby::start(&fixture.environment))?;
    let leader = fixture.environment.controllers.id(KUSTOMIZE).context("the leader does not run")?;
    // The response reaches a stopped process: it is the first one that the process receives when it runs again.
    fixture.kustomize.at_write(write, Moment::After, move || process::pause(leader));
    fixture.switch(Variant::Update).await?;
    let first = standby.leads().await;
    let ended = fixture.converged(Variant::Update).await;
    let resumed = fixture.kustomize.now();
    process::resume(leader);
    first?;
    ended?;
    ensure!(fixture.kustomize.has_sprung(), "the leader was not stopped");
    tokio::time::sleep(WATCHED).await;
    let late: Vec<_> = fixture.kustomize.writes().into_iter().filter(|one| one.at >= resumed).collect();
    ensure!(
        late.is_empty(),
        "the old leader wrote:\n{}\n{}",
        shown(&late),
        fixture.environment.controllers.last_lines()
    );
    ensure!(fixture.environment.controllers.has_ended(KUSTOMIZE), "the old leader did not end");
    fixture.check_stable(&known).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_before_the_apply_writes_nothing_after_its_lease_is_lost() -> Result<()> {
    stopped_at(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_in_an_apply_writes_nothing_after_its_lease_is_lost() -> Result<()> {
    stopped_at(3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_renew_stops_before_another_one_writes() -> Result<()> {
    let fixture = Fixture::new("replicas-cut", &FLAGS).await?;
    fixture.create(Variant::Base).await?;
    fixture.converged(Variant::Base).await?;
    let standby = block_in_place(|| Standby::start(&fixture.environment))?;
    // Requests for the lease get no response; all others do.
    fixture.kustomize.add(Rule::new("*", "/apis/coordination.k8s.io/*", Fault::Hang));
    let mut round = 0;
    let corrects = Wait::until("the second replica corrects", CONVERGED_MAX).every(EDIT).poll(async || {
        let edit = json!({"data": {"greeting": format!("edit-{round}")}});
        fixture.environment.edit("ConfigMap", "beta", &edit).await?;
        round += 1;
        let writes = standby.proxy.writes().len();
        Ok(if writes > 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(format!("{writes} writes"))
        })
    });
    corrects.await.with_context(|| standby.controllers.last_lines())?;
    // Both clocks at the same moment.
    let (old_now, new_now) = (fixture.kustomize.now(), standby.proxy.now());
    let first = standby.leads().await?;
    let since = new_now.saturating_sub(first.at);
    let late: Vec<_> =
        fixture.kustomize.writes().into_iter().filter(|one| old_now.saturating_sub(one.at) < since).collect();
    ensure!(!fixture.kustomize.writes().is_empty(), "the first replica wrote nothing");
    ensure!(late.is_empty(), "two replicas wrote at a time:\n{}\nsince {first}", shown(&late));
    fixture.corrected("beta").await?;
    fixture.environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_conflicts_on_the_lease_ends_no_leader() -> Result<()> {
    let mut fixture = Fixture::new("replicas-storm", &FLAGS).await?;
    fixture.create(Variant::Base).await?;
    fixture.converged(Variant::Base).await?;
    for code in [409, 500] {
        let storm = fixture
            .kustomize
            .add(Rule::new("PUT", "/apis/coordination.k8s.io/*", Fault::Respond(code)).times(3));
        let renews = Wait::until("the lease is renewed", CONVERGED_MAX).every(POLL);
        renews.holds(|| fixture.kustomize.hits(storm) >= 3).await?;
        fixture.switch(Variant::Update).await?;
        fixture.converged(Variant::Update).await?;
        fixture.switch(Variant::Base).await?;
        fixture.converged(Variant::Base).await?;
        ensure!(
            !fixture.environment.controllers.has_ended(KUSTOMIZE),
            "the leader has ended:\n{}",
            fixture.environment.controllers.last_lines()
        );
    }
    fixture.environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_terminated_in_an_apply_releases_its_lease_after_its_last_write() -> Result<()> {
    let mut fixture = Fixture::new("replicas-term", &FLAGS).await?;
    fixture.create(Variant::Base).await?;
    fixture.converged(Variant::Base).await?;
    let known = fixture.uids().await?;
    let standby = block_in_place(|| Standby::start(&fixture.environment))?;
    let leader = fixture.environment.controllers.id(KUSTOMIZE).context("the leader does not run")?;
    fixture.kustomize.at_write(2, Moment::Before, move || process::terminate(leader));
    fixture.switch(Variant::Update).await?;
    let ends = Wait::until("the leader has ended", GRACE).every(POLL);
    let ended = ends.holds(|| fixture.environment.controllers.has_ended(KUSTOMIZE)).await;
    ended.with_context(|| fixture.environment.controllers.last_lines())?;
    let records = fixture.kustomize.records();
    let last = |fits: &dyn Fn(&Record) -> bool| records.iter().rfind(|one| fits(one)).map(|one| one.at);
    let write = last(&|one| one.write && one.took_effect());
    let release = last(&|one| one.method == "PUT" && one.path.contains("/leases/") && one.took_effect());
    ensure!(release > write, "the lease was released at {release:?}, the last write was at {write:?}");
    standby.leads().await?;
    fixture.converged(Variant::Update).await?;
    for (name, uid) in fixture.uids().await? {
        ensure!(known.get(&name).is_none_or(|known| *known == uid), "{name} was recreated");
    }
    fixture.environment.close().await
}
