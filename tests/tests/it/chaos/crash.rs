//! kustomize-controller is killed (-9) before or after its n-th write, or the response to that write is lost. A run has
//! one action; the end of each run is compared with the end of one without a fault.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use plumb_testkit::{
    controllers::{KUSTOMIZE, SOURCE},
    proxy::{Fault, Moment, Rule},
    wait::Wait,
};
use serde_json::json;
use tokio::task::block_in_place;

use super::{
    fixture::{Fixture, Snapshot, Variant},
    is_whole,
};
use crate::e2e::seen::is_ready;

/// How long the n-th write may take to come. A run that has fewer writes ends earlier.
const WRITE_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
/// By how many writes runs may differ: two Kustomizations at a time may combine their status writes differently.
const SPARE: u32 = 3;
/// No run has more writes than this; more is a busy loop.
const WRITES_MAX: u32 = 40;

/// How many moments are tried, and how many of them in a sample.
const MOMENTS: u64 = 200;
const MOMENTS_IN_SAMPLE: u64 = 4;
/// A run takes about 150 ms.
const KILLED_WITHIN_MICROS: u64 = 200_000;
/// What the seeded runs change to, in turn.
const CYCLE: [Variant; 3] = [Variant::Base, Variant::Update, Variant::Prune];

/// The Kustomization that objects move to.
const OTHER: &str = "other";

/// What a run does.
#[derive(Clone, Copy, Debug)]
enum Action {
    Create,
    Update,
    Prune,
    Finalize,
    /// An update that is taken back as soon as it is cut short: what it made must be known, or it stays for ever.
    Revert,
    /// Two objects move to another Kustomization.
    Move(Order),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    NewOwnerFirst,
    /// The new owner is suspended until the old one has changed.
    OldOwnerFirst,
}

/// What goes wrong at the n-th write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accident {
    Kill(Moment),
    LostResponse,
}

const BEFORE: Accident = Accident::Kill(Moment::Before);
const AFTER: Accident = Accident::Kill(Moment::After);
const LOST: Accident = Accident::LostResponse;

impl Action {
    /// Brings about the state that the run begins with.
    async fn prepare(self, fixture: &Fixture) -> Result<()> {
        if fixture.environment.find("Kustomization", OTHER).await?.is_some() {
            fixture.environment.delete("Kustomization", OTHER).await?;
            fixture.environment.gone("Kustomization", OTHER).await?;
        }
        let found = fixture.environment.find("Kustomization", "app").await?;
        match (self, found) {
            (Self::Create, None) => {}
            (Self::Create, Some(_)) => {
                fixture.environment.delete("Kustomization", "app").await?;
                fixture.removed().await?;
            }
            (_, None) => {
                fixture.create(Variant::Base).await?;
                fixture.converged(Variant::Base).await?;
            }
            (_, Some(_)) => {
                fixture.switch(Variant::Base).await?;
                fixture.converged(Variant::Base).await?;
            }
        }
        Ok(())
    }

    async fn begin(self, fixture: &Fixture) -> Result<()> {
        match self {
            Self::Create => fixture.create(Variant::Base).await,
            Self::Update | Self::Revert => fixture.switch(Variant::Update).await,
            Self::Prune => fixture.switch(Variant::Prune).await,
            Self::Finalize => fixture.environment.delete("Kustomization", "app").await,
            Self::Move(Order::NewOwnerFirst) => {
                fixture.create_with(OTHER, Variant::Moved, false).await?;
                fixture.switch(Variant::Prune).await
            }
            Self::Move(Order::OldOwnerFirst) => {
                fixture.create_with(OTHER, Variant::Moved, true).await?;
                fixture.switch(Variant::Prune).await?;
                let resumed = json!({"spec": {"suspend": false}});
                fixture.environment.edit("Kustomization", OTHER, &resumed).await.map(drop)
            }
        }
    }

    /// What follows once the run is cut short, before the controller is started again.
    async fn follow(self, fixture: &Fixture) -> Result<()> {
        if matches!(self, Self::Revert) { fixture.switch(Variant::Base).await } else { Ok(()) }
    }

    async fn end(self, fixture: &Fixture) -> Result<Snapshot> {
        match self {
            Self::Create | Self::Revert => fixture.converged(Variant::Base).await,
            Self::Update => fixture.converged(Variant::Update).await,
            Self::Prune => fixture.converged(Variant::Prune).await,
            Self::Finalize => fixture.removed().await,
            Self::Move(_) => fixture.all_converged(&[("app", Variant::Prune), (OTHER, Variant::Moved)]).await,
        }
    }
}

/// Runs the action without a fault, then once for each point of the sample, or of the whole sweep.
async fn sweep(test: &str, action: Action, sample: &[(u32, Accident)]) -> Result<()> {
    let mut fixture = Fixture::new(test, &[]).await?;
    action.prepare(&fixture).await?;
    fixture.kustomize.forget();
    action.begin(&fixture).await?;
    if matches!(action, Action::Revert) {
        fixture.converged(Variant::Update).await?;
    } else {
        action.end(&fixture).await?;
    }
    let total = u32::try_from(fixture.kustomize.writes().len())?;
    ensure!((1..WRITES_MAX).contains(&total), "an undisturbed run has {total} writes");
    for (at, record) in fixture.kustomize.writes().iter().enumerate() {
        eprintln!("{action:?} {}: {record}", at + 1);
    }
    action.follow(&fixture).await?;
    let undisturbed = action.end(&fixture).await?;
    let accidents = |number| [BEFORE, AFTER, LOST].map(|accident| (number, accident));
    let points = if is_whole() { (1..=total).flat_map(accidents).collect() } else { sample.to_vec() };
    for (number, accident) in points {
        let what = || format!("{action:?}, {accident:?} at write {number} of {total}");
        let ended = run(&mut fixture, action, (number, total), accident).await.with_context(what)?;
        fixture.check_ends_as(ended, &undisturbed).await.with_context(what)?;
    }
    fixture.environment.close().await
}

async fn run(
    fixture: &mut Fixture,
    action: Action,
    (number, total): (u32, u32),
    accident: Accident,
) -> Result<Snapshot> {
    action.prepare(fixture).await?;
    let mut known = fixture.uids().await?;
    fixture.kustomize.forget();
    match accident {
        Accident::LostResponse => {
            let rule = Rule::writes("/*", Fault::LostResponse).after(number - 1).times(1);
            let rule = fixture.kustomize.add(rule);
            action.begin(fixture).await?;
            let has_come = come(fixture, |fixture| fixture.kustomize.hits(rule) > 0).await;
            ensure!(has_come || number + SPARE > total, "the run has fewer writes");
            action.follow(fixture).await?;
        }
        Accident::Kill(moment) => {
            let process =
                fixture.environment.controllers.id(KUSTOMIZE).context("kustomize-controller does not run")?;
            fixture.kustomize.kill_at_write(number, moment, process);
            action.begin(fixture).await?;
            let has_come = come(fixture, |fixture| fixture.kustomize.has_sprung()).await;
            ensure!(has_come || number + SPARE > total, "the run has fewer writes");
            if has_come {
                fixture.environment.controllers.kill(KUSTOMIZE);
                known.extend(fixture.uids().await?);
                action.follow(fixture).await?;
                fixture.kustomize.open();
                block_in_place(|| fixture.environment.controllers.restart(KUSTOMIZE))?;
            } else {
                action.follow(fixture).await?;
            }
        }
    }
    let ended = action.end(fixture).await?;
    fixture.kustomize.open();
    fixture.kustomize.heal();
    if !matches!(action, Action::Finalize) {
        fixture.check_stable(&known).await?;
    }
    ensure!(
        !fixture.environment.controllers.has_ended(KUSTOMIZE),
        "kustomize-controller has ended by itself"
    );
    Ok(ended)
}

/// Waits for the accident; false if the run has too few writes.
async fn come(fixture: &Fixture, has_come: impl Fn(&Fixture) -> bool) -> bool {
    Wait::until("the accident has come", WRITE_MAX).every(POLL).holds(|| has_come(fixture)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_create_ends_in_the_same_state() -> Result<()> {
    sweep("crash-create", Action::Create, &[(2, AFTER), (4, BEFORE), (3, LOST)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_update_ends_in_the_same_state() -> Result<()> {
    sweep("crash-update", Action::Update, &[(1, AFTER), (3, AFTER), (2, LOST)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_and_reverted_update_leaves_no_orphan() -> Result<()> {
    sweep("crash-revert", Action::Revert, &[(1, AFTER), (3, AFTER), (4, BEFORE)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_prune_ends_in_the_same_state() -> Result<()> {
    sweep("crash-prune", Action::Prune, &[(2, BEFORE), (1, AFTER), (2, LOST)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_finalization_leaves_no_orphan() -> Result<()> {
    sweep("crash-finalize", Action::Finalize, &[(1, AFTER), (2, BEFORE), (2, LOST)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_cut_short_recreates_nothing() -> Result<()> {
    sweep("crash-move", Action::Move(Order::NewOwnerFirst), &[(3, AFTER), (5, BEFORE), (4, LOST)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_move_that_the_old_owner_observes_first_recreates_nothing() -> Result<()> {
    sweep("crash-moved", Action::Move(Order::OldOwnerFirst), &[(2, AFTER), (4, BEFORE), (3, LOST)]).await
}

/// The moment of a kill after a change, by a linear congruential generator: the same in each run.
fn moment(seed: u64) -> Duration {
    let mixed =
        seed.wrapping_add(1).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    Duration::from_micros((mixed >> 33) % KILLED_WITHIN_MICROS)
}

/// kustomize-controller, at moments that no write marks.
#[tokio::test(flavor = "multi_thread")]
async fn kills_at_seeded_moments_end_in_the_same_state() -> Result<()> {
    let mut fixture = Fixture::new("crash-seeded", &[]).await?;
    fixture.create(Variant::Base).await?;
    let mut undisturbed = Vec::new();
    for variant in CYCLE {
        fixture.switch(variant).await?;
        undisturbed.push(fixture.converged(variant).await?);
    }
    let rounds = if is_whole() { MOMENTS } else { MOMENTS_IN_SAMPLE };
    for seed in 0..rounds {
        let at = usize::try_from(seed)? % CYCLE.len();
        let what = || format!("a kill {:?} after the change to {:?}", moment(seed), CYCLE[at]);
        let mut known = fixture.uids().await?;
        fixture.switch(CYCLE[at]).await?;
        tokio::time::sleep(moment(seed)).await;
        fixture.environment.controllers.kill(KUSTOMIZE);
        known.extend(fixture.uids().await?);
        block_in_place(|| fixture.environment.controllers.restart(KUSTOMIZE))?;
        let ended = fixture.converged(CYCLE[at]).await.with_context(what)?;
        fixture.check_ends_as(ended, &undisturbed[at]).await.with_context(what)?;
        fixture.check_stable(&known).await.with_context(what)?;
    }
    fixture.environment.close().await
}

/// source-controller, at its n-th write after a commit.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_fetch_ends_in_the_same_state() -> Result<()> {
    let mut fixture = Fixture::new("crash-fetch", &[]).await?;
    fixture.create(Variant::Base).await?;
    let undisturbed = fixture.converged(Variant::Base).await?;
    let points = if is_whole() {
        (1..=3).flat_map(|number| [BEFORE, AFTER, LOST].map(|accident| (number, accident))).collect()
    } else {
        vec![(1, BEFORE), (1, AFTER), (1, LOST)]
    };
    for (round, (number, accident)) in points.into_iter().enumerate() {
        let known: BTreeMap<_, _> = fixture.uids().await?;
        match accident {
            Accident::LostResponse => {
                fixture.source.add(Rule::writes("/*", Fault::LostResponse).after(number - 1).times(1));
            }
            Accident::Kill(moment) => {
                let process =
                    fixture.environment.controllers.id(SOURCE).context("source-controller does not run")?;
                fixture.source.kill_at_write(number, moment, process);
            }
        }
        fixture.repository.write("round", &round.to_string())?;
        fixture.environment.commit(&fixture.repository, "a round").await?;
        if matches!(accident, Accident::Kill(_))
            && come(&fixture, |fixture| fixture.source.has_sprung()).await
        {
            fixture.environment.controllers.kill(SOURCE);
            fixture.source.open();
            block_in_place(|| fixture.environment.controllers.restart(SOURCE))?;
        }
        let what = || format!("{accident:?} at write {number} of source-controller");
        let ended = fixture.converged(Variant::Base).await.with_context(what)?;
        fixture.check_ends_as(ended, &undisturbed).await.with_context(what)?;
        fixture.environment.until("GitRepository", "app", "is ready", is_ready).await?;
        fixture.source.open();
        fixture.source.heal();
        fixture.check_stable(&known).await.with_context(what)?;
    }
    fixture.environment.close().await
}
